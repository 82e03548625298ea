"""GPT-Live against a strict stand-in: what a caller hears, what OpenAI's own types say, and no failure is silent."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from openai.types.live.client_event_param import ClientEventParam
from pydantic import ConfigDict, SecretStr, TypeAdapter

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers.openai.account import account
from openclaw_voicecall.providers.openai.live_model import GptLiveModel
from openclaw_voicecall.providers.openai.live_settings import Pauses
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.gpt_live import GptLiveEmulator
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

KEY = "sk-emulated"
SILENCE = b"\xff" * 160
SPEED = 8
"""How many times faster than on the phone the model talks here, and the caller waits."""
PAUSES = Pauses(caller=0.8 / SPEED, reply=1.0 / SPEED, cut=0.4 / SPEED)
WEATHER = r.ModelTool(
    name="weather",
    description="Tells the weather.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
SENT = TypeAdapter(ClientEventParam, config=ConfigDict(extra="forbid"))


def assert_openai_knows(event):
    """Nothing but what the SDK's types have, all the way down: what is iterable is checked when it is iterated."""
    left = [SENT.validate_python(event)]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += each.values()
        elif isinstance(each, list | tuple) or type(each).__name__ == "ValidatorIterator":
            left += list(each)


class Clock:
    def monotonic(self):
        return asyncio.get_running_loop().time()

    def wall(self):
        return 4102444800 - 3600


@dataclass
class Config:
    model: str = "gpt-live-1"
    voice_name: str = "willow"


class Talk:
    """A session and what came out of it."""

    def __init__(self, session):
        self.session = session
        self.events = []
        self.error = None
        self.changed = asyncio.Event()
        self.reader = asyncio.create_task(self._read())

    async def _read(self):
        try:
            async for event in self.session:
                self.events.append(event)
                self.changed.set()
        except VendorError as error:
            self.error = error
        self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(6):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    async def ended(self, asked):
        await self.until(lambda: any(each.asked == asked for each in self.of(r.ReplyEnded)))
        return next(each for each in self.of(r.ReplyEnded) if each.asked == asked)

    async def failed(self):
        await self.until(lambda: self.error is not None)
        return self.error

    def heard(self, reply):
        return b"".join(each.audio for each in self.of(r.ReplyAudio) if each.reply == reply)

    def text(self, reply):
        return "".join(each.text for each in self.of(r.ReplyText) if each.reply == reply)

    def speak(self, audio):
        """All at once, in frames; and then enough silence to end the turn."""
        audio += SILENCE * 30
        for at in range(0, len(audio), 160):
            self.session.send(audio[at : at + 160].ljust(160, b"\xff"))


@asynccontextmanager
async def talking(emulator, *, voice=None, key=KEY, ready_limit=2.0, model="gpt-live-1", **request):
    owner = account(SecretStr(key), f"{emulator.url}/v1", section="realtime.providers.openai")
    live = GptLiveModel(
        owner, Config(model, voice or "willow"), Clock(), pauses=PAUSES, ready_limit=ready_limit
    )
    asked = r.RealtimeRequest(call_id="c1", **{"instructions": "You answer the phone."} | request)
    async with live.open_session(asked) as session:
        talk = Talk(session)
        try:
            yield talk
        finally:
            talk.reader.cancel()
            await asyncio.gather(talk.reader, return_exceptions=True)


@asynccontextmanager
async def emulating(**options):
    """An emulator whose traffic is looked at afterwards: every message is one that OpenAI's SDK could send."""
    async with GptLiveEmulator(**{"pace": 1 / SPEED} | options) as emulator:
        yield emulator
        for session in emulator.sessions:
            for event in session.events:
                assert_openai_knows(event)


async def test_a_greeting_is_said_word_for_word_in_the_configured_voice():
    async with emulating() as emulator:
        async with talking(emulator, voice="quartz") as talk:
            talk.session.say('Hello, "Clawd" here.', asked="greeting")
            ended = await talk.ended("greeting")
        assert emulator.refusals == []
        await emulator.until(lambda: emulator.sessions[0].closed)
        assert emulator.sessions[0].events[-1]["type"] == "session.close"
    assert ended.status == "completed"
    assert talk.of(r.ReplyBegan) == [r.ReplyBegan(ended.reply, "greeting")]
    assert talk.text(ended.reply) == "Hello, 'Clawd' here."
    assert talk.heard(ended.reply).startswith(babble("Hello, 'Clawd' here.", seed="quartz"))
    assert talk.events[:2] == [r.SessionReady(), r.SessionExpiring(3600)]


async def test_the_caller_is_heard_to_the_sample_and_answered_and_nothing_else_tells_where_turns_are():
    book = ClipBook()
    order = book.add("a table for two please", babble("a table for two please"))
    async with emulating(recognizer=book, replies=["For when?"]) as emulator:
        async with talking(emulator) as talk:
            talk.speak(order)
            await talk.until(lambda: talk.of(r.ReplyEnded) and talk.of(r.CallerSaid)[-1].final)
        assert emulator.refusals == []
        assert bytes(emulator.sessions[0].audio).startswith(order)
    assert talk.of(r.CallerSaid)[-1] == r.CallerSaid("caller_1", "a table for two please", True)
    assert [each.speaking for each in talk.of(SpeechEdge)] == [True, False]
    assert talk.text(talk.of(r.ReplyEnded)[0].reply) == "For when?"


async def test_two_functions_are_called_and_the_talk_goes_on_when_both_results_are_there():
    replies = [
        Reply("One moment.", (ToolUse("weather", {"city": "Rome"}), ToolUse("weather", {"city": "Oslo"}))),
        "Rome is sunny and Oslo is not.",
    ]
    async with emulating(transcripts=["and the weather"], replies=replies) as emulator:
        async with talking(emulator, tools=(WEATHER,)) as talk:
            talk.speak(babble("and the weather"))
            await talk.until(lambda: len(talk.of(r.ToolCalled)) == 2)
            first, second = talk.of(r.ToolCalled)
            talk.session.give_result(second.call, "rain", asked="result")
            talk.session.give_result(first.call, "sun", asked="result")
            ended = await talk.ended("result")
        assert emulator.refusals == []
        assert emulator.sessions[0].results == {first.call: "sun", second.call: "rain"}
    assert json.loads(first.arguments) == {"city": "Rome"}
    assert first.reply == second.reply
    assert talk.text(ended.reply) == "Rome is sunny and Oslo is not."


async def test_a_result_that_nobody_wants_to_hear_of_does_not_set_the_backend_going():
    async with emulating(replies=[Reply("", (ToolUse("weather", {"city": "Rome"}),))]) as emulator:
        async with talking(emulator, tools=(WEATHER,)) as talk:
            talk.session.answer("weather?", asked="a")
            await talk.until(lambda: talk.of(r.ToolCalled))
            talk.session.give_result(talk.of(r.ToolCalled)[0].call, "sun", answer=False)
            await emulator.until(lambda: emulator.sessions[0].results)
        await emulator.until(lambda: emulator.sessions[0].closed)
        assert "response.create" not in [each["type"] for each in emulator.sessions[0].events]
        assert emulator.refusals == []


async def test_the_model_stops_when_the_caller_talks_and_learns_what_was_heard():
    async with emulating(transcripts=["stop"], replies=["Yes?"]) as emulator:
        async with talking(emulator) as talk:
            talk.session.say("This is a very long greeting that nobody wants to hear.", asked="greeting")
            await talk.until(lambda: len(talk.of(r.ReplyAudio)) > 8)
            talk.speak(babble("stop it now"))
            await talk.until(lambda: talk.of(SpeechEdge))
            reply = talk.of(r.ReplyBegan)[0].reply
            talk.session.cut(reply, [(talk.of(r.ReplyAudio)[0].item, 480)])
            ended = await talk.ended("greeting")
            talk.session.say("Goodbye.", asked="b")
            await talk.until(lambda: len(talk.of(r.ReplyEnded)) > 1)
        assert emulator.refusals == []
        [known] = emulator.sessions[0].known
    assert "This is" in known or "nothing of it" in known
    assert ended.status == "cancelled"
    assert len(talk.heard(reply)) < len(babble("This is a very long greeting that nobody wants to hear."))


async def test_a_reply_that_is_cut_is_not_heard_any_more_and_the_next_one_is():
    async with emulating() as emulator:
        async with talking(emulator) as talk:
            talk.session.say("This is a long greeting.", asked="greeting")
            await talk.until(lambda: talk.of(r.ReplyAudio))
            talk.session.cut(talk.of(r.ReplyBegan)[0].reply, [])
            told = len(talk.of(r.ReplyAudio))
            talk.session.say("Goodbye.", asked="b")
            ended = await talk.ended("b")
        assert emulator.refusals == []
    assert talk.text(ended.reply) == "Goodbye."
    assert {each.reply for each in talk.of(r.ReplyAudio)[told:]} == {ended.reply}


async def test_a_caller_who_is_not_attended_to_is_muted_also_when_it_was_asked_for_early():
    async with emulating() as emulator:
        async with talking(emulator) as talk:
            talk.session.attend(False)
            talk.speak(babble("hello hello"))
            talk.session.attend(True)
            talk.session.say("Hello.", asked="a")
            await talk.ended("a")
            talk.session.attend(False)
            talk.session.attend(False)
            talk.speak(babble("hello hello"))
            await emulator.until(lambda: emulator.sessions[0].muted)
        kinds = [each["type"] for each in emulator.sessions[0].events]
        assert kinds.count("session.input_audio.mute") == 1
        assert emulator.refusals == []


async def test_history_and_tools_are_in_the_first_message():
    history = (Line("caller", "I am Ann"), Line("agent", "Hello Ann"))
    async with emulating() as emulator:
        async with talking(emulator, history=history, language="de", tools=(WEATHER,)) as talk:
            await talk.until(lambda: talk.of(r.SessionReady))
        config = emulator.sessions[0].config
        assert emulator.refusals == []
    assert config["audio"] == {
        "format": {"type": "audio/pcmu", "rate": 8000},
        "output": {"voice": "willow"},
    }
    assert [(each["role"], each["content"][0]["text"]) for each in config["input"]] == [
        ("user", "I am Ann"),
        ("assistant", "Hello Ann"),
    ]
    assert config["delegation"]["responses"]["tools"][0]["name"] == "weather"


@pytest.mark.parametrize(
    ("fault", "options", "kind"),
    [
        ("http-401", {}, VendorAuthError),
        ("http-429", {}, VendorRateLimited),
        ("http-500", {}, VendorUnavailable),
        ("refuse-session", {}, VendorUnavailable),
        ("other-voice", {}, VendorRejected),
        ("close", {}, VendorUnavailable),
        ("close", {"code": 1000}, VendorUnavailable),
        ("close", {"code": 1008}, VendorRejected),
        ("ended", {"reason": "expired"}, VendorUnavailable),
        ("ended", {"reason": "connection_lost"}, VendorUnavailable),
        ("ended", {"reason": "content"}, VendorRejected),
    ],
)
async def test_every_failure_ends_the_iteration_with_its_kind_of_error(fault, options, kind):
    async with emulating() as emulator:
        emulator.fail_next(fault, **options)
        async with talking(emulator) as talk:
            talk.session.send(SILENCE)
            error = await talk.failed()
    assert type(error) is kind
    assert error.vendor == "openai"


async def test_a_session_that_never_starts_is_given_up():
    async with emulating() as emulator:
        emulator.fail_next("no-session-started")
        async with talking(emulator, ready_limit=0.2) as talk:
            assert type(await talk.failed()) is VendorTimeout


@pytest.mark.parametrize("wrong", [{"key": "sk-wrong"}, {"model": "gpt-live-9"}, {"voice": "nobody"}])
async def test_wrong_settings_are_refused(wrong):
    async with GptLiveEmulator() as emulator:
        async with talking(emulator, **wrong) as talk:
            error = await talk.failed()
        assert isinstance(error, VendorRejected)
        assert len(emulator.refusals) == 1


async def test_a_refused_wish_is_told_of_and_the_next_one_is_granted():
    async with emulating() as emulator:
        emulator.fail_next("refuse-commentary")
        async with talking(emulator) as talk:
            talk.session.say("Hello.", asked="a")
            talk.session.say("Goodbye.", asked="b")
            assert (await talk.ended("a")).status == "failed"
            assert (await talk.ended("b")).status == "completed"
    assert [each.what for each in talk.of(r.VendorComplained)] == ["say"]


async def test_an_error_and_messages_that_are_none_do_not_end_the_talk():
    async with emulating() as emulator:
        emulator.fail_next("gibberish")
        emulator.fail_next("error-event")
        async with talking(emulator) as talk:
            talk.session.send(SILENCE)
            talk.session.send(SILENCE)
            talk.session.say("Hello.", asked="a")
            assert (await talk.ended("a")).status == "completed"
    assert len(talk.of(r.VendorComplained)) == 1


START = {"type": "session.start", "session": {"model": "gpt-live-1"}}
SAY = {"type": "session.commentary.append", "delegation_id": None, "content": "Hello."}
SOUND = {"type": "session.input_audio.append", "audio": base64.b64encode(SILENCE).decode()}


def start(**session):
    return START | {"session": START["session"] | session}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([SOUND], "has not started"),
        ([start(temperature=1)], "session.temperature"),
        ([start(audio={"format": {"type": "audio/pcmu"}})], "rate"),
        ([start(audio={"format": {"type": "g711_ulaw"}})], "g711_ulaw"),
        ([start(audio={"output": {"voice": "nobody"}})], "nobody"),
        ([start(delegation={"type": "responses"})], "responses"),
        ([start(tools=[])], "session.tools"),
        ([START, {"type": "response.create"}], "requires Responses delegation"),
        ([START, {"type": "response.cancel"}], "response.cancel"),
        ([START, {"type": "session.commentary.append", "content": "x"}], "delegation_id"),
        ([START, SAY | {"content": "x" * 2001}], "too long"),
        ([START, SOUND | {"audio": "*"}], "base64"),
        ([START, START], "session.start"),
    ],
)
async def test_a_wrong_client_fails_on_the_stand_in(messages, reason):
    async with GptLiveEmulator() as emulator, aiohttp.ClientSession() as client:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with client.ws_connect(f"{emulator.url}/v1/live/sessions", headers=headers) as socket:
            for message in messages:
                await socket.send_json(message)
                answer = await socket.receive_json(timeout=2)
        assert answer["type"] == "error"
        assert reason in answer["error"]["message"]
        assert len(emulator.refusals) == 1


async def test_the_sip_side_takes_right_bodies_and_refuses_wrong_ones():
    async with GptLiveEmulator() as emulator, aiohttp.ClientSession() as client:
        call = emulator.sip.ring()
        address = f"{emulator.url}/v1/live/sessions"
        client.headers["Authorization"] = f"Bearer {KEY}"

        async def post(path, body=None):
            async with client.post(f"{address}/{path}", json=body) as answer:
                return answer.status

        live = {"type": "live", "model": "gpt-live-1", "audio": {"output": {"voice": "willow"}}}
        pcmu = {"format": {"type": "audio/pcmu", "rate": 8000}}
        assert await post("nobody/accept", {"session": live}) == 404
        assert await post(f"{call}/accept", live) == 400
        assert await post(f"{call}/accept", {"session": {"model": "gpt-live-1"}}) == 400
        assert await post(f"{call}/accept", {"session": live | {"audio": pcmu}}) == 400
        assert await post(f"{call}/refer", {"target_uri": "tel:+15550002222"}) == 400
        assert await post(f"{call}/reject", {}) == 400
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            await client.ws_connect(f"{address}/{call}/attach")
        assert await post(f"{call}/accept", {"session": live}) == 200
        assert await post(f"{call}/accept", {"session": live}) == 400
        async with client.ws_connect(f"{address}/{call}/attach?graceful_close=true") as sideband:
            await sideband.send_json(SAY | {"event_id": "say-1"})
            assert (await sideband.receive_json(timeout=2))["client_event_id"] == "say-1"
            await sideband.send_json(SOUND)
            assert (await sideband.receive_json(timeout=2))["type"] == "error"
            await emulator.sip.press(call, "5")
            assert (await sideband.receive_json(timeout=2))["event"] == "5"
            assert await post(f"{call}/refer", {"target_uri": "tel:+15550002222"}) == 200
            assert await post(f"{call}/refer", {"target_uri": " "}) == 400
            await emulator.sip.caller_leaves(call)
            assert (await sideband.receive_json(timeout=2))["reason"] == "remote_hangup"
        assert await post(f"{call}/hangup") == 404
        other = emulator.sip.ring()
        assert await post(f"{other}/reject", {"status_code": 486}) == 200
        assert emulator.sip.calls[other].status == 486
        assert emulator.sip.calls[call].refers == ["tel:+15550002222"]
        emulator.fail_next("sip-500")
        assert await post(f"{emulator.sip.ring()}/hangup") == 500
