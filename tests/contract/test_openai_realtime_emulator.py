"""The stand-in for OpenAI's Realtime transcription: wrong clients fail in it as in the world, right ones are heard."""

import asyncio
import base64
import json
import re
import signal
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest
from click.testing import CliRunner

from openclaw_voicecall.testing.emulators import openai_vad
from openclaw_voicecall.testing.emulators.__main__ import EMULATORS, main
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

KEY = "sk-emulated"
QUIET = b"\xff" * 8000
ORDER, ADDRESS = "a table for two please", "number five main street"
CONFIGURED = "session.audio.input"
HEARD = "conversation.item.input_audio_transcription"


class Client:
    """Sends and reads events; knows nothing else of the protocol."""

    def __init__(self, socket):
        self.socket = socket

    async def send(self, kind, **fields):
        await self.socket.send_json({"type": kind, **fields})

    async def say(self, audio, size=160):
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

    async def configure(self, model="gpt-4o-transcribe", **changes):
        await self.send("session.update", event_id="cfg-1", session=session(model, **changes))
        return (await self.until("session.updated"))[-1]["session"]

    async def refusal(self, kind, **fields):
        """The `error` that answers a message."""
        await self.send(kind, **fields)
        answer = await self.next()
        assert answer["type"] == "error", answer
        return answer["error"]

    async def closing(self):
        """The close code, after whatever is still said."""
        while (await self.socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        return self.socket.close_code


def session(model="gpt-4o-transcribe", transcription=(), **changes):
    settings = {
        "format": {"type": "audio/pcmu"},
        "transcription": {"model": model, **dict(transcription)},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
        **changes,
    }
    return {"type": "transcription", "audio": {"input": settings}}


@asynccontextmanager
async def connected(emulator, query="?intent=transcription", *, key=KEY, **headers):
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{emulator.url}/v1/realtime{query}", headers=headers) as socket,
    ):
        yield Client(socket)


@pytest.fixture
def book():
    return ClipBook()


@pytest.fixture
async def vendor(book):
    async with OpenAIRealtimeEmulator(recognizer=book) as emulator:
        yield emulator


@pytest.fixture
async def client(vendor):
    async with connected(vendor) as opened:
        created = await opened.next()
        assert (created["type"], created["session"]["type"]) == ("session.created", "transcription")
        yield opened


@pytest.fixture
def spoken(book):
    """Two sentences with enough silence after each for the turn to be over."""
    return [book.add(text, babble(text)) + QUIET for text in (ORDER, ADDRESS)]


async def test_a_configured_session_hears_every_word_and_tells_each_step(vendor, client, spoken):
    effective = await client.configure()
    assert effective["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 300,
    }
    await client.say(QUIET + spoken[0])
    seen = await client.until(f"{HEARD}.completed")
    deltas = [event["delta"] for event in seen if event["type"] == f"{HEARD}.delta"]
    assert [event["type"] for event in seen if event["type"] != f"{HEARD}.delta"] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{HEARD}.completed",
    ]
    assert "".join(deltas) == seen[-1]["transcript"] == ORDER
    assert seen[-1]["usage"]["type"] == "tokens"
    assert {event["item_id"] for event in seen if "item_id" in event} == {seen[0]["item_id"]}
    assert vendor.refusals == []
    assert vendor.sessions[0].audio == QUIET + spoken[0]


async def test_speech_is_placed_in_time_with_its_padding_and_its_silence(client, spoken):
    await client.configure()
    await client.say(QUIET + spoken[0])
    started, stopped = (await client.until("input_audio_buffer.committed"))[:2]
    assert started["audio_start_ms"] == 1000 - 300
    assert stopped["audio_end_ms"] == 1000 + len(babble(ORDER)) // 8 + 300


async def test_each_turn_names_the_one_before_it(client, spoken):
    await client.configure()
    await client.say(b"".join(spoken))
    seen = await client.until(f"{HEARD}.completed") + await client.until(f"{HEARD}.completed")
    first, second = [event for event in seen if event["type"] == "input_audio_buffer.committed"]
    assert first["previous_item_id"] is None
    assert second["previous_item_id"] == first["item_id"]
    assert [event["transcript"] for event in seen if "transcript" in event] == [ORDER, ADDRESS]


async def test_lost_audio_is_missing_in_the_transcript(client, spoken):
    await client.configure()
    audio = spoken[0]
    await client.say(audio[: len(audio) // 5 // 160 * 160] + audio[len(audio) // 3 // 160 * 160 :])
    transcript = (await client.until(f"{HEARD}.completed"))[-1]["transcript"]
    assert transcript != ORDER
    assert set(transcript.split()) < set(ORDER.split())


async def test_without_turn_detection_the_client_commits(vendor, client, spoken):
    effective = await client.configure("gpt-realtime-whisper", turn_detection=None)
    assert effective["audio"]["input"]["turn_detection"] is None
    await client.say(spoken[0])
    await client.send("input_audio_buffer.commit")
    seen = await client.until(f"{HEARD}.completed")
    assert seen[0]["type"] == "input_audio_buffer.committed"
    assert seen[-1]["transcript"] == ORDER
    assert seen[-1]["usage"] == {"type": "duration", "seconds": len(spoken[0]) // 8000 + 1}
    assert vendor.sessions[0].commits == 1
    assert vendor.refusals == []


async def test_a_commit_in_the_middle_of_speech_ends_the_turn_that_was_announced(client, spoken):
    await client.configure()
    await client.say(spoken[0].removesuffix(QUIET))
    started = await client.next()
    await client.send("input_audio_buffer.commit")
    seen = await client.until(f"{HEARD}.completed")
    assert seen[0]["type"] == "input_audio_buffer.committed"
    assert seen[0]["item_id"] == started["item_id"]
    assert seen[-1]["transcript"] == ORDER


async def test_cleared_audio_is_not_transcribed(client, spoken):
    await client.configure("gpt-live-transcribe", turn_detection=None)
    await client.say(spoken[0])
    await client.send("input_audio_buffer.clear")
    assert (await client.next())["type"] == "input_audio_buffer.cleared"
    await client.say(spoken[1])
    await client.send("input_audio_buffer.commit")
    completed = (await client.until(f"{HEARD}.completed"))[-1]
    assert completed["transcript"] == ADDRESS
    assert completed["languages"] == [{"code": "en"}]


async def test_scripted_words_are_given_in_order_to_speech_and_none_to_silence():
    async with (
        OpenAIRealtimeEmulator(transcripts=["one two", "three"]) as vendor,
        connected(vendor) as client,
    ):
        await client.configure("whisper-1", turn_detection=None)
        heard = []
        for audio in (babble("first"), QUIET, babble("second"), babble("third")):
            await client.say(audio)
            await client.send("input_audio_buffer.commit")
            heard.append(await client.until(f"{HEARD}.completed"))
        assert [seen[-1]["transcript"] for seen in heard] == ["one two", "", "three", ""]
        assert [event["delta"] for event in heard[0] if "delta" in event] == ["one two"]


async def test_an_update_changes_only_what_it_names(client):
    await client.configure(transcription={"language": "en"}, noise_reduction={"type": "near_field"})
    changes = {"transcription": {"prompt": "names: Clawdbot"}, "noise_reduction": None}
    await client.send("session.update", session={"type": "transcription", "audio": {"input": changes}})
    after = (await client.until("session.updated"))[-1]["session"]["audio"]["input"]
    assert after["format"] == {"type": "audio/pcmu"}
    assert after["transcription"] == {
        "model": "gpt-4o-transcribe",
        "language": "en",
        "prompt": "names: Clawdbot",
    }
    assert after["noise_reduction"] is None
    assert after["turn_detection"]["silence_duration_ms"] == 300


async def test_log_probabilities_come_when_they_are_included(client, spoken):
    wanted = {**session(), "include": ["item.input_audio_transcription.logprobs"]}
    await client.send("session.update", session=wanted)
    await client.until("session.updated")
    await client.say(spoken[0])
    completed = (await client.until(f"{HEARD}.completed"))[-1]
    assert "".join(each["token"] for each in completed["logprobs"]) == ORDER


MISPLACED = {"type": "transcription", "input_audio_format": "g711_ulaw"}
REFUSED_UPDATES = {
    "nothing nested": ({"audio": {}}, "Missing required parameter: 'session'.", "session"),
    "no type": ({"session": {"audio": {}}}, "Missing required parameter: 'session.type'.", "session.type"),
    "null session": (
        {"session": None},
        "Invalid type for 'session': expected an object, but got null instead.",
        "session",
    ),
    "other session": (
        {"session": {**session(), "type": "realtime"}},
        "Passing a realtime session update event to a transcription session is not allowed.",
        "session.type",
    ),
    "beta name": (
        {"session": MISPLACED},
        "Unknown parameter: 'session.input_audio_format'.",
        "session.input_audio_format",
    ),
    "voice": (
        {"session": {**session(), "voice": "alloy"}},
        "Unknown parameter: 'session.voice'.",
        "session.voice",
    ),
    "beside the session": ({"session": session(), "model": "x"}, "Unknown parameter: 'model'.", "model"),
    "null format": (
        {"session": session(format=None)},
        f"Invalid type for '{CONFIGURED}.format': expected an object, but got null instead.",
        f"{CONFIGURED}.format",
    ),
    "beta format": (
        {"session": session(format="g711_ulaw")},
        f"Invalid type for '{CONFIGURED}.format': expected an object, but got a string instead.",
        f"{CONFIGURED}.format",
    ),
    "rate with mu-law": (
        {"session": session(format={"type": "audio/pcmu", "rate": 8000})},
        f"Unknown parameter: '{CONFIGURED}.format.rate'.",
        f"{CONFIGURED}.format.rate",
    ),
    "PCM without rate": (
        {"session": session(format={"type": "audio/pcm"})},
        f"Missing required parameter: '{CONFIGURED}.format.rate'.",
        f"{CONFIGURED}.format.rate",
    ),
    "PCM at 8 kHz": (
        {"session": session(format={"type": "audio/pcm", "rate": 8000})},
        f"Invalid '{CONFIGURED}.format.rate': integer below minimum value. Expected a value >= 24000, "
        "but got 8000 instead.",
        f"{CONFIGURED}.format.rate",
    ),
    "unknown model": (
        {"session": session("gpt-5-ears")},
        "Invalid value: 'gpt-5-ears'. Supported values are: 'whisper-1', ",
        f"{CONFIGURED}.transcription.model",
    ),
    "no model": (
        {"session": session(transcription={"language": "en"}) | {"audio": {"input": {"transcription": {}}}}},
        f"Missing required parameter: '{CONFIGURED}.transcription.model'.",
        f"{CONFIGURED}.transcription.model",
    ),
    "server VAD where there is none": (
        {"session": session("gpt-live-transcribe")},
        "Turn detection is not supported for this transcription model.",
        f"{CONFIGURED}.turn_detection",
    ),
    "semantic VAD where there is none": (
        {"session": session("gpt-realtime-whisper", turn_detection={"type": "semantic_vad"})},
        "Turn detection is not supported for this transcription model.",
        f"{CONFIGURED}.turn_detection",
    ),
    "beta way to switch VAD off": (
        {"session": session(turn_detection={"type": "none"})},
        "Invalid value: 'none'. Supported values are: 'server_vad' and 'semantic_vad'.",
        f"{CONFIGURED}.turn_detection.type",
    ),
    "threshold above one": (
        {"session": session(turn_detection={"type": "server_vad", "threshold": 50})},
        f"Invalid '{CONFIGURED}.turn_detection.threshold': decimal above maximum value.",
        f"{CONFIGURED}.turn_detection.threshold",
    ),
    "null in turn detection": (
        {"session": session(turn_detection={"type": "server_vad", "create_response": None})},
        f"Invalid type for '{CONFIGURED}.turn_detection.create_response': expected a boolean, but got null instead.",
        f"{CONFIGURED}.turn_detection.create_response",
    ),
    "half a millisecond": (
        {"session": session(turn_detection={"type": "server_vad", "silence_duration_ms": 499.5})},
        f"Invalid type for '{CONFIGURED}.turn_detection.silence_duration_ms': expected an integer, "
        "but got a decimal instead.",
        f"{CONFIGURED}.turn_detection.silence_duration_ms",
    ),
    "eagerness of server VAD": (
        {"session": session(turn_detection={"type": "server_vad", "eagerness": "high"})},
        f"Unknown parameter: '{CONFIGURED}.turn_detection.eagerness'.",
        f"{CONFIGURED}.turn_detection.eagerness",
    ),
    "prompt for whisper": (
        {"session": session("gpt-realtime-whisper", {"prompt": "names"}, turn_detection=None)},
        "'prompt' is not supported for this transcription model.",
        f"{CONFIGURED}.transcription.prompt",
    ),
    "endless prompt": (
        {"session": session(transcription={"prompt": "x" * 1025})},
        f"Invalid '{CONFIGURED}.transcription.prompt': string too long. Expected a string with maximum length 1024",
        f"{CONFIGURED}.transcription.prompt",
    ),
    "no languages": (
        {"session": session("gpt-transcribe", {"languages": []})},
        f"Invalid '{CONFIGURED}.transcription.languages': empty array.",
        f"{CONFIGURED}.transcription.languages",
    ),
    "null languages": (
        {"session": session("gpt-transcribe", {"languages": None})},
        f"Invalid type for '{CONFIGURED}.transcription.languages': expected an array, but got null instead.",
        f"{CONFIGURED}.transcription.languages",
    ),
    "languages for an old model": (
        {"session": session(transcription={"languages": ["en"]})},
        "'languages' is not supported for this transcription model.",
        f"{CONFIGURED}.transcription.languages",
    ),
    "keywords for an old model": (
        {"session": session(transcription={"keywords": ["Clawdbot"]})},
        "'keywords' is not supported for this transcription model.",
        f"{CONFIGURED}.transcription.keywords",
    ),
    "delay for a VAD model": (
        {"session": session(transcription={"delay": "low"})},
        "'delay' is not supported for this transcription model.",
        f"{CONFIGURED}.transcription.delay",
    ),
    "a locale for a language": (
        {"session": session(transcription={"language": "en-US"})},
        "Invalid language 'en-US'. Language parameter must be specified in ISO-639-1 format.",
        f"{CONFIGURED}.transcription.language",
    ),
    "unknown noise reduction": (
        {"session": session(noise_reduction={"type": "auto"})},
        "Invalid value: 'auto'. Supported values are: 'near_field' and 'far_field'.",
        f"{CONFIGURED}.noise_reduction.type",
    ),
    "unknown include": (
        {"session": {**session(), "include": ["everything"]}},
        "Invalid value: 'everything'. Supported values are: 'item.input_audio_transcription.logprobs'.",
        "session.include[0]",
    ),
}


@pytest.mark.parametrize("case", REFUSED_UPDATES)
async def test_a_wrong_update_is_refused_in_the_vendors_words_and_nothing_of_it_applies(vendor, client, case):
    fields, message, param = REFUSED_UPDATES[case]
    before = json.dumps(vendor.sessions[0].config)
    error = await client.refusal("session.update", event_id="cfg-7", **fields)
    assert error["message"].startswith(message)
    assert error["param"] == param
    assert error["event_id"] == "cfg-7"
    assert error["type"] == "invalid_request_error"
    assert [refusal.where for refusal in vendor.refusals] == ["session.update"]
    assert json.dumps(vendor.sessions[0].config) == before
    assert not vendor.sessions[0].ready


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("nothing nested", "missing_required_parameter"),
        ("other session", "invalid_parameter"),
        ("beta name", "unknown_parameter"),
        ("null format", "invalid_type"),
        ("PCM at 8 kHz", "integer_below_min_value"),
        ("server VAD where there is none", "invalid_value"),
    ],
)
async def test_refusals_have_the_vendors_codes(client, case, code):
    assert (await client.refusal("session.update", **REFUSED_UPDATES[case][0]))["code"] == code


async def test_a_session_lives_on_after_a_refusal(vendor, client, spoken):
    await client.configure()
    await client.refusal("session.update", session=session(format=None, turn_detection=None))
    await client.say(spoken[0])
    assert (await client.until(f"{HEARD}.completed"))[-1]["transcript"] == ORDER


async def test_the_beta_event_is_an_unknown_word(vendor, client):
    fields = {"session": {"input_audio_format": "g711_ulaw"}}
    error = await client.refusal("transcription_session.update", **fields)
    assert error["message"].startswith(
        "Invalid value: 'transcription_session.update'. Supported values are: "
    )
    assert (error["code"], error["param"]) == ("invalid_value", "type")
    assert len(vendor.refusals) == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_json"),
        ("{}", "missing_required_parameter"),
        ('{"type": "session.update", "event_id": 7}', "invalid_type"),
        ('{"type": "response.create"}', "invalid_value"),
    ],
)
async def test_what_is_no_event_is_refused(client, text, code):
    await client.socket.send_str(text)
    assert (await client.next())["error"]["code"] == code


async def test_binary_messages_are_refused(client):
    await client.configure()
    await client.socket.send_bytes(QUIET)
    assert (await client.next())["error"]["code"] == "invalid_event"


@pytest.mark.parametrize("audio", ["no base64!", "abc", None])
async def test_audio_that_is_no_base64_is_refused(vendor, client, audio):
    await client.configure()
    error = await client.refusal("input_audio_buffer.append", audio=audio, event_id="a-1")
    assert (error["param"], error["event_id"]) == ("audio", "a-1")
    assert not vendor.sessions[0].audio


async def test_audio_before_the_session_is_ready_is_lost_and_held_against_the_client(vendor, client, spoken):
    await client.say(spoken[0])
    await client.configure()
    await client.say(spoken[1])
    assert (await client.until(f"{HEARD}.completed"))[-1]["transcript"] == ADDRESS
    assert [refusal.why for refusal in vendor.refusals] == ["audio before session.updated"]
    assert vendor.sessions[0].early == len(spoken[0])


async def test_mu_law_sent_to_a_session_of_another_format_is_not_heard(vendor, client, spoken):
    await client.configure(format={"type": "audio/pcm", "rate": 24000})
    await client.say(spoken[0][:160])
    await vendor.until(lambda: bool(vendor.refusals))
    assert not vendor.sessions[0].audio


@pytest.mark.parametrize(("size", "had"), [(0, "0.00"), (400, "50.00"), (799, "99.88")])
async def test_a_commit_of_next_to_nothing_is_refused(vendor, client, size, had):
    await client.configure(turn_detection=None)
    await client.say(b"\xff" * size)
    error = await client.refusal("input_audio_buffer.commit", event_id="commit-1")
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert error["event_id"] == "commit-1"
    assert error["message"].endswith(
        f"Expected at least 100ms of audio, but buffer only has {had}ms of audio."
    )


@pytest.mark.parametrize("key", [None, "sk-other"])
async def test_without_the_right_key_there_is_no_socket(vendor, key):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with connected(vendor, key=key):
            pass
    assert refused.value.status == 401
    assert vendor.sessions == []


async def test_the_handshake_refusal_has_the_vendors_error_shape_and_not_the_key(vendor):
    headers = {"Authorization": "Bearer sk-other"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.get(f"{vendor.url}/v1/realtime") as answer,
    ):
        error = (await answer.json())["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert "sk-other" not in error["message"]


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?intent=transcription", {"OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled"),
        ("?intent=transcription&model=gpt-4o-transcribe", {}, "invalid_model"),
        ("?model=gpt-4o-transcribe", {}, "invalid_model"),
        ("", {}, "missing_model"),
    ],
)
async def test_a_wrong_address_or_dialect_is_told_and_the_socket_closed(vendor, query, headers, code):
    async with connected(vendor, query, **headers) as client:
        assert (await client.next())["error"]["code"] == code
        message = await client.socket.receive()
        assert (message.data, message.extra) == (4000, f"invalid_request_error.{code}")
    assert len(vendor.refusals) == 1


async def test_a_conversation_socket_takes_no_transcription_settings(vendor):
    async with connected(vendor, "?model=gpt-realtime") as client:
        assert (await client.next())["session"]["type"] == "realtime"
        error = await client.refusal("session.update", session=session())
    assert (
        error["message"]
        == "Passing a transcription session update event to a realtime session is not allowed."
    )
    assert error["code"] == "invalid_parameter"


@pytest.mark.parametrize("path", ["sessions", "transcription_sessions"])
async def test_the_beta_addresses_are_gone(vendor, path):
    async with aiohttp.ClientSession() as http, http.post(f"{vendor.url}/v1/realtime/{path}") as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "beta_api_shape_disabled"


@pytest.mark.parametrize(("fault", "status"), [("http-401", 401), ("http-429", 429), ("http-500", 500)])
async def test_a_handshake_fault_refuses_one_connection(vendor, fault, status):
    vendor.fail_next(fault)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with connected(vendor):
            pass
    assert refused.value.status == status
    assert ("Retry-After" in refused.value.headers) is (status == 429)
    async with connected(vendor) as client:
        await client.configure()
    assert vendor.refusals == []


async def test_fault_a_wrong_key_is_told_only_after_the_handshake(vendor):
    vendor.fail_next("auth-in-band")
    async with connected(vendor) as client:
        assert (await client.next())["error"]["code"] == "invalid_api_key"
        assert await client.closing() == 3000


async def test_fault_a_right_update_is_refused_once(vendor, client):
    vendor.fail_next("refuse-session")
    error = await client.refusal("session.update", event_id="cfg-1", session=session())
    assert error["message"] == "Missing required parameter: 'session'."
    assert error["event_id"] == "cfg-1"
    await client.configure()
    assert vendor.refusals == []


@pytest.mark.parametrize("kind", ["session.update", "transcription_session.update"])
async def test_fault_a_half_migrated_server_refuses_either_dialect(vendor, kind):
    vendor.fail_next("beta-half-migrated")
    async with connected(vendor) as client:
        await client.next()
        for _ in range(2):
            error = await client.refusal(kind, event_id="cfg-1", session=session())
            assert error["message"] == "Missing required parameter: 'session'."
            assert error["event_id"] is None


async def test_fault_the_session_is_ready_late_and_what_came_before_is_lost(vendor, client, spoken):
    vendor.fail_next("slow-start", seconds=0.05)
    await client.send("session.update", session=session())
    await client.say(spoken[0][:160])
    await vendor.until(lambda: vendor.sessions[0].early == 160)
    assert (await client.next())["type"] == "session.updated"
    await client.say(spoken[1])
    assert (await client.until(f"{HEARD}.completed"))[-1]["transcript"] == ADDRESS


async def test_fault_the_session_is_never_ready(vendor, client, spoken):
    vendor.fail_next("no-session-updated")
    await client.send("session.update", session=session())
    await client.say(spoken[0][:160])
    error = await client.refusal("input_audio_buffer.commit")
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert not vendor.sessions[0].ready


async def test_fault_a_quiet_server_takes_everything_and_tells_nothing(vendor, spoken):
    vendor.fail_next("quiet")
    async with connected(vendor) as client:
        await client.configure()
        await client.say(spoken[0])
        await client.send("input_audio_buffer.commit")
        seen = await client.until("conversation.item.done")
        assert seen[0]["type"] == "input_audio_buffer.committed"
        await client.send("input_audio_buffer.clear")
        assert (await client.next())["type"] == "input_audio_buffer.cleared"
    assert vendor.sessions[0].audio == spoken[0]


@pytest.mark.parametrize(
    ("options", "code"),
    [({"seconds": 0}, 1006), ({"appends": 3}, 1006), ({"appends": 1, "code": 1011}, 1011)],
)
async def test_fault_the_connection_breaks(vendor, options, code):
    vendor.fail_next("close", **options)
    async with connected(vendor) as client:
        if "appends" in options:
            await client.configure()
            await client.say(QUIET[: 160 * options["appends"]])
        assert await client.closing() == code
    await vendor.until(lambda: vendor.sessions[0].closed != "")
    assert vendor.sessions[0].closed == ("broken off" if code == 1006 else "server 1011: server error")
    assert vendor.sessions[0].appends == options.get("appends", 0)


async def test_fault_the_connection_breaks_between_speech_and_transcript(vendor, client, spoken):
    vendor.fail_next("close-after-speech-started")
    await client.configure()
    await client.say(spoken[0][:1600])
    assert (await client.next())["type"] == "input_audio_buffer.speech_started"
    assert await client.closing() == 1006
    assert vendor.sessions[0].transcripts == []


@pytest.mark.parametrize("told", [True, False])
async def test_fault_the_hour_is_over(vendor, told):
    vendor.fail_next("expire", appends=2, error=told)
    async with connected(vendor) as client:
        await client.configure()
        await client.say(QUIET[:320])
        if told:
            assert (await client.next())["error"]["code"] == "session_expired"
        message = await client.socket.receive()
        assert (message.data, message.extra) == (1001, "Your session hit the maximum duration of 60 minutes.")


async def test_fault_one_transcription_fails_and_the_next_does_not(vendor, client, spoken):
    vendor.fail_next("failed-item")
    await client.configure()
    await client.say(b"".join(spoken))
    seen = await client.until(f"{HEARD}.completed")
    failed = next(event for event in seen if event["type"] == f"{HEARD}.failed")
    assert failed["error"]["message"] == "The audio could not be transcribed."
    assert failed["item_id"] != seen[-1]["item_id"]
    assert seen[-1]["transcript"] == ADDRESS


async def test_fault_transcripts_come_in_the_wrong_order_and_commits_in_the_right_one(vendor, client, spoken):
    vendor.fail_next("out-of-order")
    await client.configure()
    await client.say(b"".join(spoken))
    seen = await client.until(f"{HEARD}.completed") + await client.until(f"{HEARD}.completed")
    assert [event["transcript"] for event in seen if "transcript" in event] == [ADDRESS, ORDER]
    committed = [event["item_id"] for event in seen if event["type"] == "input_audio_buffer.committed"]
    completed = [event["item_id"] for event in seen if event["type"] == f"{HEARD}.completed"]
    assert completed == committed[::-1]


async def test_fault_speech_without_words(vendor, client, spoken):
    vendor.fail_next("empty-transcript")
    await client.configure()
    await client.say(spoken[0])
    seen = await client.until(f"{HEARD}.completed")
    assert seen[-1]["transcript"] == ""
    assert not [event for event in seen if event["type"] == f"{HEARD}.delta"]


async def test_fault_a_transcript_without_deltas(vendor, client, spoken):
    vendor.fail_next("drop-deltas")
    await client.configure()
    await client.say(spoken[0])
    seen = await client.until(f"{HEARD}.completed")
    assert seen[-1]["transcript"] == ORDER
    assert not [event for event in seen if event["type"] == f"{HEARD}.delta"]


async def test_a_transcript_can_take_its_time(book, spoken):
    async with OpenAIRealtimeEmulator(recognizer=book, delay=0.1) as vendor, connected(vendor) as client:
        await client.configure()
        await client.say(spoken[0])
        await client.until("conversation.item.done")
        began = asyncio.get_running_loop().time()
        await client.until(f"{HEARD}.completed")
        assert asyncio.get_running_loop().time() - began > 0.05


async def test_what_was_seen_can_be_asked_for(vendor, client, spoken):
    await client.configure()
    await client.say(spoken[0])
    await client.until(f"{HEARD}.completed")
    await client.socket.close()
    await vendor.until(lambda: vendor.sessions[0].closed != "")
    async with aiohttp.ClientSession() as http, http.get(f"{vendor.url}/_emulator") as answer:
        seen = (await answer.json())["sessions"][0]
    assert seen["transcripts"] == [ORDER]
    assert seen["heard_bytes"] == len(spoken[0])
    assert seen["closed"] == "client 1000"


async def test_leaving_closes_open_sessions(book):
    async with OpenAIRealtimeEmulator(recognizer=book) as vendor:
        opened = connected(vendor)
        client = await opened.__aenter__()
        await client.configure()
    assert await client.closing() == 1001
    await opened.__aexit__(None, None, None)


def test_louder_than_the_threshold_is_speech_and_quieter_is_not():
    audio = babble(ORDER)
    assert -30 < openai_vad.dbfs(audio) < -10
    assert openai_vad.dbfs(QUIET) == openai_vad.dbfs(b"") == -96
    assert openai_vad.has_speech(audio)
    assert not openai_vad.has_speech(audio, threshold=1.5)
    assert not openai_vad.has_speech(QUIET + audio[:160] + QUIET)


def test_a_pause_shorter_than_the_silence_does_not_end_the_utterance():
    vad = openai_vad.ServerVad(silence_duration_ms=500)
    audio = babble("one") + QUIET[:3840] + babble("two")
    assert [edge.speaking for edge in vad.push(audio)] == [True]
    assert [(edge.speaking, edge.at) for edge in vad.push(QUIET)] == [(False, len(audio) + 4000)]


async def test_by_hand_it_serves_what_it_was_told_until_it_is_terminated():
    command = [sys.executable, "-m", "openclaw_voicecall.testing.emulators", "openai-realtime"]
    more = ["--say", "hello", "--fault", "http-500", "--fault", "drop-deltas:2"]
    process = await asyncio.create_subprocess_exec(*command, *more, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(20):
            told = json.loads(await process.stdout.readline())
            assert told["vendor"] == "openai-realtime"
            async with aiohttp.ClientSession() as http, http.get(f"{told['url']}/_emulator") as answer:
                faults = (await answer.json())["faults"]
            assert [(fault["name"], fault["times"]) for fault in faults] == [
                ("http-500", 1),
                ("drop-deltas", 2),
            ]
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


def test_by_hand_a_fault_that_is_not_known_is_told_with_those_that_are():
    done = CliRunner().invoke(main, ["openai-realtime", "--fault", "nonsense"])
    assert done.exit_code == 2
    assert "drop-deltas" in re.sub(r"[\s│]+", "", done.output)


def test_the_names_on_the_command_line_lead_to_modules_of_the_same_name():
    assert all(EMULATORS[name].partition(":")[0] == name.replace("-", "_") for name in EMULATORS)
