"""The stand-in for OpenAI's speech-to-speech: wrong clients fail in it as in the world, right ones hold a talk."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.openai_replies import FALLBACK, Reply, ToolUse
from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

KEY = "sk-emulated"
MODEL = "gpt-realtime-2.1"
QUIET = b"\xff" * 8000
ORDER = "a table for two please"
GREETING = "Hello, this is the harbour grill."
PCMU = {"type": "audio/pcmu"}
BOOK_TABLE = {
    "type": "function",
    "name": "book_table",
    "description": "Books.",
    "parameters": {"type": "object"},
}
SERVER_EVENT = TypeAdapter(RealtimeServerEvent)


class Client:
    """Sends and reads events; knows nothing else of the protocol."""

    def __init__(self, socket):
        self.socket = socket

    async def send(self, kind, **fields):
        await self.socket.send_json({"type": kind, **fields})

    async def say(self, audio, size=800):
        for at in range(0, len(audio), size):
            encoded = base64.b64encode(audio[at : at + size]).decode()
            await self.send("input_audio_buffer.append", audio=encoded)

    async def next(self):
        message = await self.socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, (message, self.socket.close_code)
        return json.loads(message.data)

    async def until(self, kind):
        seen = [await self.next()]
        while seen[-1]["type"] != kind:
            seen.append(await self.next())
        return seen

    async def configure(self, **changes):
        await self.send("session.update", event_id="cfg-1", session=session(**changes))
        return (await self.until("session.updated"))[-1]["session"]

    async def refusal(self, kind, **fields):
        """The `error` that answers a message."""
        await self.send(kind, event_id="wrong-1", **fields)
        error = (await self.until("error"))[-1]["error"]
        assert error["event_id"] == "wrong-1"
        return error

    async def respond(self, **response):
        await self.send("response.create", response=response)
        return await self.until("response.done")

    async def closing(self):
        """The close code, after whatever is still said."""
        while (await self.socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        return self.socket.close_code


def session(turn=(), **changes):
    return {
        "type": "realtime",
        "instructions": "You answer the phone.",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": PCMU,
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 300, **dict(turn)},
                "noise_reduction": {"type": "near_field"},
            },
            "output": {"format": PCMU, "voice": "marin"},
        },
        "tools": [BOOK_TABLE],
        "tool_choice": "auto",
        **changes,
    }


def exactly(text):
    return {
        "instructions": f'Say exactly this, word for word, and nothing else: "{text}"',
        "tool_choice": "none",
    }


def sound(events):
    """The audio in some events."""
    deltas = (event["delta"] for event in events if event["type"] == "response.output_audio.delta")
    return b"".join(base64.b64decode(delta) for delta in deltas)


def of(events, kind):
    return [event for event in events if event["type"] == kind]


@asynccontextmanager
async def connected(emulator, query=f"model={MODEL}", headers=()):
    async with aiohttp.ClientSession() as http:
        headers = {"Authorization": f"Bearer {KEY}", **dict(headers)}
        async with http.ws_connect(f"{emulator.url}/v1/realtime?{query}", headers=headers) as socket:
            async with asyncio.timeout(5):
                yield Client(socket)


@asynccontextmanager
async def talking(emulator, **changes):
    async with connected(emulator) as client:
        await client.until("session.created")
        await client.configure(**changes)
        yield client


@pytest.fixture
async def emulator():
    book = ClipBook()
    book.add(ORDER, babble(ORDER))
    async with OpenAIVoiceEmulator(recognizer=book, delta_interval=0) as emulator:
        yield emulator


async def test_a_right_client_greets_hears_books_and_answers(emulator):
    emulator.brain.add(Reply("One moment.", (ToolUse("book_table", {"people": 2}),)), "The table is yours.")
    async with connected(emulator) as client:
        assert (await client.next())["session"]["audio"]["output"]["voice"] == "alloy"
        assert (await client.configure())["audio"]["output"] == {
            "format": PCMU,
            "voice": "marin",
            "speed": 1.0,
        }
        greeting = await client.respond(**exactly(GREETING), metadata={"kind": "greeting"})
        assert sound(greeting) == babble(GREETING, seed="marin")
        await client.say(babble(ORDER) + QUIET)
        answer = await client.until("response.done")
        assert [event["type"] for event in answer if "buffer" in event["type"]] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
        ]
        said, called = answer[-1]["response"]["output"]
        assert said["content"] == [{"type": "output_audio", "transcript": "One moment."}]
        assert json.loads(called["arguments"]) == {"people": 2}
        output = {"type": "function_call_output", "call_id": called["call_id"], "output": "booked"}
        await client.send("conversation.item.create", item=output)
        assert sound(await client.respond()) == babble("The table is yours.", seed="marin")
    seen = emulator.sessions[0]
    assert seen.heard == seen.transcripts == [ORDER]
    assert emulator.brain.cues[-1].results == ("booked",)
    assert [response.status for response in seen.responses] == ["completed"] * 3
    assert emulator.refusals == []


async def test_all_events_of_a_talk_are_events_of_the_sdk(emulator):
    emulator.brain.add(Reply("One moment.", (ToolUse("book_table", {"people": 2}),)))
    async with talking(emulator) as client:
        await client.say(babble(ORDER) + QUIET)
        await client.until("response.done")
    for event in emulator.sessions[0].sent:
        assert SERVER_EVENT.validate_python(event).type == event["type"]
    kinds = [event["type"] for event in emulator.sessions[0].sent if event["type"].startswith("response.")]
    in_order = [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.done",
    ]
    assert list(dict.fromkeys(kinds)) == in_order


async def test_a_greeting_before_the_voice_is_in_force_is_alloy_and_locks_it(emulator):
    async with connected(emulator) as client:
        await client.until("session.created")
        events = await client.respond(**exactly("Hello."))
        assert len(sound(events)) == 6 * len(babble("Hello."))  # 24 kHz PCM
        assert emulator.sessions[0].responses[0].voice == "alloy"
        error = await client.refusal("session.update", session=session())
        assert error["code"] == "cannot_update_voice"
        assert emulator.sessions[0].config["instructions"] != "You answer the phone."
        error = await client.refusal("response.create", response={"audio": {"output": {"voice": "cedar"}}})
        assert error["code"] == "cannot_update_voice"


WRONG_UPDATES = [
    ({"type": None}, "invalid_type", "session.type"),
    ({"type": "transcription"}, "invalid_parameter", "session.type"),
    ({"temperature": 0.8}, "unknown_parameter", "session.temperature"),
    ({"voice": "marin"}, "unknown_parameter", "session.voice"),
    ({"modalities": ["audio"]}, "unknown_parameter", "session.modalities"),
    ({"input_audio_format": "g711_ulaw"}, "unknown_parameter", "session.input_audio_format"),
    ({"instructions": None}, "invalid_type", "session.instructions"),
    ({"audio": {"input": {"format": None}}}, "invalid_type", "session.audio.input.format"),
    ({"audio": {"output": {"format": None}}}, "invalid_type", "session.audio.output.format"),
    (
        {"audio": {"output": {"format": {**PCMU, "rate": 8000}}}},
        "unknown_parameter",
        "session.audio.output.format.rate",
    ),
    (
        {"audio": {"output": {"format": {"type": "audio/pcm"}}}},
        "missing_required_parameter",
        "session.audio.output.format.rate",
    ),
    (
        {"audio": {"input": {"format": {"type": "g711_ulaw"}}}},
        "invalid_value",
        "session.audio.input.format.type",
    ),
    ({"audio": {"output": {"voice": "nova"}}}, "invalid_value", "session.audio.output.voice"),
    ({"audio": {"output": {"speed": 3}}}, "decimal_above_max_value", "session.audio.output.speed"),
    ({"audio": {"input": {"voice": "marin"}}}, "unknown_parameter", "session.audio.input.voice"),
    ({"output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
    ({"tools": [{"type": "web_search"}]}, "invalid_value", "session.tools[0].type"),
    (
        {"tools": [{"type": "function", "function": {"name": "x"}}]},
        "unknown_parameter",
        "session.tools[0].function",
    ),
    ({"tools": [{"type": "function", "name": "book table"}]}, "invalid_value", "session.tools[0].name"),
    ({"tools": [BOOK_TABLE, BOOK_TABLE]}, "invalid_value", "session.tools"),
    ({"tool_choice": {"type": "function", "name": "other"}}, "invalid_value", "session.tool_choice"),
    ({"tool_choice": "any"}, "invalid_value", "session.tool_choice"),
    ({"max_output_tokens": 0}, "integer_below_min_value", "session.max_output_tokens"),
    ({"max_output_tokens": "all"}, "invalid_value", "session.max_output_tokens"),
    ({"prompt": {"id": "pmpt_1"}}, None, "session.prompt"),
    ({"model": "gpt-realtime"}, "invalid_value", "session.model"),
    ({"tracing": {"metadata": None}}, "invalid_type", "session.tracing.metadata"),
    (
        {"truncation": {"type": "retention_ratio"}},
        "missing_required_parameter",
        "session.truncation.retention_ratio",
    ),
]


@pytest.mark.parametrize(("wrong", "code", "param"), WRONG_UPDATES, ids=[each[2] for each in WRONG_UPDATES])
async def test_a_wrong_update_is_refused_and_nothing_of_it_applies(emulator, wrong, code, param):
    async with connected(emulator) as client:
        created = (await client.next())["session"]
        error = await client.refusal("session.update", session={**session(), **wrong})
        assert (error["code"], error["param"]) == (code, param)
        assert emulator.sessions[0].config == created
        assert len(emulator.refusals) == 1


async def test_an_update_needs_a_session_and_its_type(emulator):
    async with connected(emulator) as client:
        error = await client.refusal("session.update", instructions="x")
        assert error["message"] == "Missing required parameter: 'session'."
        error = await client.refusal("session.update", session={"instructions": "x"})
        assert error["message"] == "Missing required parameter: 'session.type'."


async def test_updates_are_patches_and_null_switches_off(emulator):
    async with talking(emulator) as client:
        off = {"transcription": None, "turn_detection": None, "noise_reduction": None}
        update = {"type": "realtime", "audio": {"input": off}, "tracing": None}
        await client.send("session.update", session=update)
        config = (await client.until("session.updated"))[-1]["session"]
        assert config["audio"]["input"] == {"format": PCMU, **off}
        assert config["audio"]["output"]["voice"] == "marin"
        await client.say(babble(ORDER))
        await client.send("input_audio_buffer.commit")
        await client.until("conversation.item.done")
        assert emulator.sessions[0].heard == [ORDER]
        assert not of(emulator.sessions[0].sent, "response.created")


async def test_tracing_is_fixed_once_it_is_on(emulator):
    async with talking(emulator, tracing="auto") as client:
        error = await client.refusal(
            "session.update", session={"type": "realtime", "tracing": {"group_id": "1"}}
        )
        assert error["param"] == "session.tracing"


async def test_a_model_without_turn_detection_may_transcribe_beside_it(emulator):
    words = {"format": PCMU, "transcription": {"model": "gpt-realtime-whisper", "delay": "low"}}
    async with connected(emulator) as client:
        config = await client.configure(audio={"input": words})
        assert config["audio"]["input"]["turn_detection"]["create_response"] is True


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("model=gpt-4o-realtime-preview", {}, "model_not_found"),
        ("model=gpt-4o-transcribe", {}, "invalid_model"),
        ("", {}, "missing_model"),
        (f"model={MODEL}", {"OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled"),
    ],
)
async def test_a_wrong_address_is_told_of_and_closed(emulator, query, headers, code):
    async with connected(emulator, query, headers) as client:
        assert (await client.next())["error"]["code"] == code
        assert await client.closing() == 4000


async def test_a_wrong_key_and_a_vendor_in_trouble_refuse_the_handshake(emulator):
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        async with connected(emulator, headers={"Authorization": "Bearer sk-other"}):
            pass
    for status in ("401", "429", "500"):
        emulator.fail_next(f"http-{status}")
        with pytest.raises(aiohttp.WSServerHandshakeError, match=status):
            async with connected(emulator):
                pass


async def test_speech_interrupts_the_model_and_its_reply_can_be_truncated_to_what_was_heard(emulator):
    emulator.delta_interval = 0.005
    async with talking(emulator) as client:
        await client.send("response.create", response=exactly("a very long story " * 40))
        delta = (await client.until("response.output_audio.delta"))[-1]
        await client.say(babble(ORDER))
        response = (await client.until("response.done"))[-1]["response"]
        assert response["status"] == "cancelled"
        assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        place = {"item_id": delta["item_id"], "content_index": 0}
        error = await client.refusal("conversation.item.truncate", **place, audio_end_ms=600_000)
        assert "already shorter than 600000ms" in error["message"]
        await client.send("conversation.item.truncate", **place, audio_end_ms=90)
        assert (await client.until("conversation.item.truncated"))[-1]["audio_end_ms"] == 90
        item = emulator.sessions[0].items[0]
        assert (item.truncated_ms, item.believed, item.status) == (90, "a", "incomplete")
        await client.send("conversation.item.retrieve", item_id=item.id)
        assert (
            "transcript" not in (await client.until("conversation.item.retrieved"))[-1]["item"]["content"][0]
        )


async def test_speech_does_not_interrupt_where_it_is_not_to(emulator):
    emulator.delta_interval = 0.002
    async with talking(emulator, turn={"interrupt_response": False, "create_response": False}) as client:
        await client.send("response.create", response=exactly("a story " * 8))
        await client.until("response.output_audio.delta")
        await client.say(babble(ORDER) + QUIET)
        assert (await client.until("response.done"))[-1]["response"]["status"] == "completed"
        await emulator.until(lambda: emulator.sessions[0].transcripts == [ORDER])
        assert len(emulator.sessions[0].responses) == 1


async def test_one_response_at_a_time_and_none_to_cancel_after_it(emulator):
    emulator.delta_interval = 1
    async with talking(emulator) as client:
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        error = await client.refusal("response.create")
        assert error["message"].startswith("Conversation already has an active response in progress: resp_")
        await client.send("response.cancel")
        done = (await client.until("response.done"))[-1]["response"]
        assert done["status_details"]["reason"] == "client_cancelled"
        assert (await client.refusal("response.cancel"))["code"] == "response_cancel_not_active"


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("response.create", {"instructions": "x"}, "unknown_parameter"),
        ("response.create", {"response": {"temperature": 1}}, "unknown_parameter"),
        ("response.create", {"response": {"voice": "marin"}}, "unknown_parameter"),
        ("response.create", {"response": {"output_modalities": None}}, "invalid_type"),
        ("response.create", {"response": {"conversation": "x"}}, "invalid_value"),
        ("response.create", {"response": {"input": [{"type": "message", "role": "x"}]}}, "invalid_value"),
        ("conversation.item.create", {}, "missing_required_parameter"),
        (
            "conversation.item.create",
            {"item": {"type": "function_call_output"}},
            "missing_required_parameter",
        ),
        (
            "conversation.item.create",
            {"item": {"type": "function_call_output", "call_id": "call_x", "output": "x"}},
            "invalid_tool_call_id",
        ),
        (
            "conversation.item.create",
            {"item": {"type": "function_call_output", "call_id": "call_x", "output": {"a": 1}}},
            "invalid_type",
        ),
        (
            "conversation.item.create",
            {
                "item": {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "input_text", "text": "x"}],
                }
            },
            "invalid_value",
        ),
        ("conversation.item.truncate", {"item_id": "item_x"}, "missing_required_parameter"),
        (
            "conversation.item.truncate",
            {"item_id": "item_x", "content_index": 0, "audio_end_ms": 0},
            "item_truncate_invalid_item_id",
        ),
        (
            "conversation.item.truncate",
            {"item_id": "item_x", "content_index": 0, "audio_end_ms": 1.5},
            "invalid_type",
        ),
        ("conversation.item.delete", {"item_id": "item_x"}, "item_delete_invalid_item_id"),
        ("input_audio_buffer.commit", {}, "input_audio_buffer_commit_empty"),
        ("input_audio_buffer.append", {"audio": "?"}, "invalid_value"),
        ("output_audio_buffer.clear", {}, "invalid_value"),
        ("transcription_session.update", {"session": {}}, "invalid_value"),
    ],
)
async def test_a_wrong_event_is_refused(emulator, kind, fields, code):
    async with talking(emulator) as client:
        assert (await client.refusal(kind, **fields))["code"] == code


async def test_messages_can_be_put_into_the_conversation_and_taken_out(emulator):
    async with talking(emulator) as client:
        for role, part in (("system", "input_text"), ("user", "input_text"), ("assistant", "output_text")):
            item = {"type": "message", "role": role, "content": [{"type": part, "text": f"I am {role}"}]}
            await client.send("conversation.item.create", item=item)
            await client.until("conversation.item.done")
        items = emulator.sessions[0].items
        assert [item.text for item in items] == ["I am system", "I am user", "I am assistant"]
        await client.send("conversation.item.delete", item_id=items[0].id)
        await client.until("conversation.item.deleted")
        assert len(items) == 2


async def test_audio_before_the_session_is_updated_is_lost_and_noted(emulator):
    async with connected(emulator) as client:
        await client.say(babble(ORDER) + QUIET)
        await client.configure()
        assert emulator.sessions[0].early == len(babble(ORDER) + QUIET)
        assert [refusal.why for refusal in emulator.refusals] == ["audio before session.updated"]


async def test_silence_of_the_caller_is_answered_where_that_is_wanted(emulator):
    async with talking(emulator, turn={"idle_timeout_ms": 5000}) as client:
        await client.respond(**exactly("Hello."))
        await client.say(QUIET * 6, size=8000)
        assert of(await client.until("response.done"), "input_audio_buffer.timeout_triggered")
        assert emulator.sessions[0].responses[-1].why == "idle"


async def test_a_response_is_cut_at_its_limit_of_tokens(emulator):
    async with talking(emulator) as client:
        events = await client.respond(**exactly(GREETING), max_output_tokens=10)
        assert events[-1]["response"]["status_details"] == {
            "type": "incomplete",
            "reason": "max_output_tokens",
        }
        assert 0 < len(sound(events)) < len(babble(GREETING))


async def test_what_is_said_aside_is_not_in_the_conversation(emulator):
    async with talking(emulator) as client:
        events = await client.respond(conversation="none", input=[], output_modalities=["text"])
        assert of(events, "response.output_text.done")[0]["text"] == FALLBACK
        assert emulator.sessions[0].items == []


async def test_a_script_does_not_call_what_the_model_was_not_told_of(emulator):
    emulator.brain.add(Reply("", (ToolUse("other"),)), Reply("", (ToolUse("book_table"),)))
    async with talking(emulator) as client:
        for changes in ({}, {"tool_choice": "none"}):
            output = (await client.respond(**changes))[-1]["response"]["output"]
            assert [item["type"] for item in output] == ["message"]


async def test_the_models_and_the_state_are_told(emulator):
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{emulator.url}/v1/models") as answer:
            assert answer.status == 401
        headers = {"Authorization": f"Bearer {KEY}"}
        async with http.get(f"{emulator.url}/v1/models", headers=headers) as answer:
            assert MODEL in {model["id"] for model in (await answer.json())["data"]}
        async with talking(emulator) as client:
            await client.respond(**exactly("Hello."))
            async with http.get(f"{emulator.url}/_emulator") as answer:
                assert (await answer.json())["sessions"][0]["responses"][0]["voice"] == "marin"


async def test_updates_may_be_refused_ignored_or_late(emulator):
    emulator.fail_next("refuse-update", param="session.audio.input.format", message="Invalid type")
    emulator.fail_next("no-session-updated")
    emulator.fail_next("slow-start", seconds=0.01)
    async with connected(emulator) as client:
        error = await client.refusal("session.update", session=session())
        assert (error["message"], error["param"]) == ("Invalid type", "session.audio.input.format")
        await client.send("session.update", session=session())
        assert emulator.sessions[0].ready is False
        await client.configure()
    assert emulator.taken == ["refuse-update", "no-session-updated", "slow-start"]
    assert emulator.refusals == []


async def test_a_turn_may_be_unheard_unanswered_or_come_without_words(emulator):
    for fault in ("quiet", "no-response", "transcription-failed"):
        emulator.fail_next(fault)
    async with talking(emulator) as client:
        await client.say((babble(ORDER) + QUIET) * 2)
        events = await client.until("conversation.item.input_audio_transcription.failed")
        assert len(of(events, "input_audio_buffer.speech_started")) == 1
        assert not of(events, "response.created")
        emulator.fail_next("transcription-late", seconds=0.2)
        await client.say(babble(ORDER) + QUIET)
        events = await client.until("conversation.item.input_audio_transcription.completed")
        assert of(events, "response.done")


async def test_a_response_may_fail_be_noise_or_come_twice(emulator):
    emulator.fail_next("response-failed", type="rate_limit_error", code="rate_limit_exceeded")
    emulator.fail_next("static")
    emulator.fail_next("double-response")
    async with talking(emulator) as client:
        details = (await client.respond(**exactly(GREETING)))[-1]["response"]["status_details"]
        assert details["error"]["code"] == "rate_limit_exceeded"
        noise = sound(await client.respond(**exactly(GREETING)))
        assert len(noise) == len(babble(GREETING))
        assert noise != babble(GREETING, seed="marin")
        await client.respond(**exactly(GREETING))
        assert sound(await client.until("response.done")) == babble(GREETING, seed="marin")


async def test_sound_of_a_cancelled_reply_may_come_late(emulator):
    emulator.delta_interval = 0.02
    emulator.fail_next("late-deltas", count=3)
    async with talking(emulator) as client:
        await client.send("response.create", response=exactly("a long story " * 10))
        await client.until("response.output_audio.delta")
        await client.send("response.cancel")
        await client.until("response.done")
        for _ in range(3):
            await client.until("response.output_audio.delta")


async def test_a_reply_may_stall_until_it_is_cancelled(emulator):
    emulator.fail_next("stall")
    async with talking(emulator) as client:
        await client.send("response.create", response=exactly(GREETING))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.until("response.done")


@pytest.mark.parametrize("code", [None, 1000, 1001, 1011])
async def test_the_connection_may_end_in_the_middle_of_a_reply(emulator, code):
    emulator.fail_next("mid-sentence-close", code=code)
    async with talking(emulator) as client:
        await client.send("response.create", response=exactly(GREETING))
        assert await client.closing() == (code or 1006)


async def test_the_hour_may_be_over(emulator):
    emulator.fail_next("expire")
    async with connected(emulator) as client:
        await client.send("response.create")
        assert (await client.until("error"))[-1]["error"]["code"] == "session_expired"
        assert await client.closing() == 1001
    emulator.fail_next("expire", seconds=0.01, error=False)
    async with connected(emulator) as client:
        assert await client.closing() == 1001


async def test_an_open_session_may_get_what_it_does_not_know(emulator):
    async with talking(emulator) as client:
        for fault in ("unknown-events", "gibberish"):
            emulator.fail_next(fault)
        await client.send("input_audio_buffer.clear")
        await client.until("response.audio.delta")
        await client.until("input_audio_buffer.cleared")
        await client.send("input_audio_buffer.clear")
        assert (await client.socket.receive()).data == "{no JSON"
