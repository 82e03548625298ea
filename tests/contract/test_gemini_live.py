"""The model `google` against a strict stand-in for Gemini Live: what a caller hears, and no failure is silent."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from pydantic import SecretStr

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.errors import (
    ConfigError,
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import google
from openclaw_voicecall.providers.google.account import account
from openclaw_voicecall.providers.google.config import GoogleRealtimeConfig
from openclaw_voicecall.providers.google.model import PATH, GeminiLiveModel
from openclaw_voicecall.providers.google.sound import ModelSound
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.gemini_live import GeminiLiveEmulator
from openclaw_voicecall.testing.emulators.gemini_live_sound import spoken
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

KEY = "AIza-emulated"
SILENCE = b"\xff" * 160
WEATHER = r.ModelTool(
    name="weather",
    description="Tells the weather.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": ["string", "null"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
HANG_UP = r.ModelTool(
    name="end_call", description="Ends the call.", parameters={"type": "object", "properties": {}}
)


class RealClock:
    def monotonic(self):
        return asyncio.get_running_loop().time()

    def wall(self):
        return 1.8e9


def config(url, **settings):
    return GoogleRealtimeConfig(**{"base_url": url, "api_key": SecretStr(KEY)} | settings)


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
        async with asyncio.timeout(5):
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
async def talking(emulator, *, model="gemini-3.8-live", ready_limit=2.0, settings=None, **request):
    chosen = config(emulator.url, model=model, **(settings or {}))
    live = GeminiLiveModel(account(chosen), chosen, RealClock(), ready_limit=ready_limit)
    asked = r.RealtimeRequest(call_id="c1", **{"instructions": "You answer the phone."} | request)
    async with live.open_session(asked) as session:
        talk = Talk(session)
        try:
            yield talk
        finally:
            talk.reader.cancel()
            await asyncio.gather(talk.reader, return_exceptions=True)


def as_heard(text, voice="Kore"):
    sound = ModelSound()
    return sound.push(spoken(text, voice)) + sound.finish()


async def test_a_greeting_is_said_word_for_word_in_the_configured_voice():
    async with GeminiLiveEmulator(pace=0) as emulator, talking(emulator, voice="Puck") as talk:
        talk.session.say('Hello, "Clawd" here.', asked="greeting")
        ended = await talk.ended("greeting")
        assert emulator.refusals == []
    assert ended.status == "completed"
    assert talk.of(r.ReplyBegan) == [r.ReplyBegan(ended.reply, "greeting")]
    assert talk.text(ended.reply) == "Hello, 'Clawd' here."
    assert talk.heard(ended.reply) == as_heard("Hello, 'Clawd' here.", "Puck")
    assert isinstance(talk.events[0], r.SessionReady)


@pytest.mark.parametrize("model", ["gemini-3.8-live", "gemini-2.5-flash-native-audio-preview-12-2025"])
async def test_every_generation_of_models_gets_texts_in_the_way_it_takes_them(model):
    async with GeminiLiveEmulator(pace=0) as emulator, talking(emulator, model=model) as talk:
        talk.session.say("Hello.", asked="a")
        talk.session.say("Goodbye.", asked="b")
        assert (await talk.ended("b")).status == "completed"
        assert emulator.sessions[0].said == [("Hello.", "Kore"), ("Goodbye.", "Kore")]
        assert emulator.refusals == []


async def test_the_caller_is_heard_to_the_sample_and_answered():
    book = ClipBook()
    order = book.add("a table for two please", babble("a table for two please"))
    async with GeminiLiveEmulator(recognizer=book, replies=["For when?"], pace=0) as emulator:
        async with talking(emulator) as talk:
            talk.speak(order)
            await talk.until(lambda: talk.of(r.ReplyEnded))
        assert emulator.refusals == []
    said = talk.of(r.CallerSaid)
    assert said[-1] == r.CallerSaid("caller_1", "a table for two please", True)
    assert [each.final for each in said] == [False] * 5 + [True]
    assert talk.of(SpeechEdge) == [SpeechEdge(True), SpeechEdge(False)]
    assert talk.text(talk.of(r.ReplyEnded)[0].reply) == "For when?"


async def test_two_functions_are_called_and_their_results_go_back_together():
    replies = [
        Reply("One moment.", (ToolUse("weather", {"city": "Rome"}), ToolUse("weather", {"city": "Oslo"}))),
        "Rome is sunny and Oslo is not.",
    ]
    emulator = GeminiLiveEmulator(transcripts=["and the weather"], replies=replies, pace=0)
    async with emulator, talking(emulator, tools=(WEATHER, HANG_UP)) as talk:
        talk.speak(babble("and the weather"))
        await talk.until(lambda: len(talk.of(r.ToolCalled)) == 2)
        first, second = talk.of(r.ToolCalled)
        talk.session.give_result(second.call, "rain", asked="result")
        assert emulator.sessions[0].results == []
        talk.session.give_result(first.call, "sun", asked="result")
        ended = await talk.ended("result")
        assert emulator.refusals == []
        assert [each["response"] for each in emulator.sessions[0].results] == [
            {"output": "rain"},
            {"output": "sun"},
        ]
    assert json.loads(first.arguments) == {"city": "Rome"}
    assert first.reply == second.reply == talk.of(r.ReplyBegan)[0].reply
    assert talk.text(ended.reply) == "Rome is sunny and Oslo is not."


async def test_a_result_that_nobody_wants_to_hear_of_is_not_heard_of():
    emulator = GeminiLiveEmulator(replies=[Reply("", (ToolUse("end_call"),)), "Ended."], pace=0)
    async with emulator, talking(emulator, tools=(HANG_UP,)) as talk:
        talk.session.answer("Goodbye then", asked="a")
        await talk.until(lambda: talk.of(r.ToolCalled))
        talk.session.give_result(talk.of(r.ToolCalled)[0].call, "done", answer=False)
        talk.session.say("Goodbye.", asked="b")
        ended = await talk.ended("b")
    assert talk.text(ended.reply) == "Goodbye."
    assert [each.asked for each in talk.of(r.ReplyBegan)] == ["a", "b"]


async def test_talking_over_the_model_breaks_its_reply_off():
    emulator = GeminiLiveEmulator(transcripts=["stop"], replies=["Yes?"])
    async with emulator, talking(emulator) as talk:
        talk.session.say("This is a very long greeting that nobody wants to hear.", asked="greeting")
        await talk.until(lambda: talk.of(r.ReplyAudio))
        talk.speak(babble("stop it now"))
        ended = await talk.ended("greeting")
        talk.session.cut(ended.reply, [(talk.of(r.ReplyAudio)[0].item, 1000)])
        await talk.until(lambda: len(talk.of(r.ReplyEnded)) == 2)
        talk.session.say("Goodbye.", asked="b")
        await talk.ended("b")
        assert emulator.sessions[0].interruptions == 1
        assert "heard only this: 'This is a very'" in emulator.sessions[0].texts[-1]
        assert emulator.sessions[0].said[-1][0] == "Goodbye."
        assert emulator.refusals == []
    assert ended.status == "cancelled"
    before = talk.events[: talk.events.index(ended)]
    assert before[-1] == SpeechEdge(True)


async def test_a_reply_that_is_cut_is_not_heard_any_more_and_the_next_text_breaks_it_off():
    emulator = GeminiLiveEmulator(pace=1.0)
    async with emulator, talking(emulator) as talk:
        talk.session.say("This is a very long greeting.", asked="greeting")
        await talk.until(lambda: talk.of(r.ReplyAudio))
        reply = talk.of(r.ReplyBegan)[0].reply
        talk.session.cut(reply, [])
        talk.session.say("No.", asked="b")
        ended = await talk.ended("b")
    assert talk.text(ended.reply) == "No."
    assert talk.of(r.ReplyEnded)[0] == r.ReplyEnded(reply, "cancelled", "", "greeting")
    assert talk.of(SpeechEdge) == []


async def test_a_function_that_the_caller_talks_over_is_called_off():
    replies = [Reply("", (ToolUse("weather", {"city": "Rome"}),)), "Never mind."]
    emulator = GeminiLiveEmulator(replies=replies, pace=0)
    async with emulator, talking(emulator, tools=(WEATHER,)) as talk:
        talk.session.answer("weather?", asked="a")
        await talk.until(lambda: talk.of(r.ToolCalled))
        talk.speak(babble("forget it"))
        await talk.until(lambda: len(talk.of(r.ReplyEnded)) == 2)
        talk.session.give_result(talk.of(r.ToolCalled)[0].call, "sun", asked="late")
        assert (await talk.ended("late")).status == "cancelled"
        assert emulator.sessions[0].results == []
        assert emulator.refusals == []


async def test_a_word_of_patience_while_a_function_takes_its_time_does_not_lose_its_result():
    replies = [Reply("", (ToolUse("weather", {"city": "Rome"}),)), "It is sunny."]
    async with GeminiLiveEmulator(replies=replies, pace=0) as emulator:
        async with talking(emulator, tools=(WEATHER,)) as talk:
            talk.session.answer("weather?", asked="a")
            await talk.until(lambda: talk.of(r.ToolCalled))
            talk.session.say("One moment.", asked="b")
            await talk.ended("b")
            talk.session.give_result(talk.of(r.ToolCalled)[0].call, "sun", asked="c")
            ended = await talk.ended("c")
        assert emulator.refusals == []
        assert "weather has given this: sun" in emulator.sessions[0].texts[-1]
    assert talk.text(ended.reply) == "It is sunny."
    assert talk.of(SpeechEdge) == []


async def test_a_reply_ends_before_it_was_played():
    async with GeminiLiveEmulator(pace=100) as emulator, talking(emulator) as talk:
        talk.session.say("Hello.", asked="a")
        talk.session.say("Goodbye.", asked="b")
        assert (await talk.ended("b")).status == "completed"
        assert emulator.sessions[0].interruptions == 1
        assert talk.of(SpeechEdge) == []


async def test_a_caller_who_is_not_attended_to_is_not_heard():
    async with GeminiLiveEmulator(pace=0) as emulator, talking(emulator) as talk:
        await talk.until(lambda: talk.of(r.SessionReady))
        talk.session.attend(False)
        talk.speak(babble("hello hello"))
        talk.session.attend(True)
        talk.session.say("Hello.", asked="a")
        await talk.ended("a")
        assert set(emulator.sessions[0].audio) == {0xFF}
    assert talk.of(r.CallerSaid) == []


async def test_history_and_settings_are_in_the_set_up():
    settings = {"temperature": 0.5, "silence_duration_ms": 700, "start_sensitivity": "low"}
    history = (Line("caller", "I am Ann"), Line("agent", "Hello Ann"))
    async with GeminiLiveEmulator() as emulator:
        async with talking(
            emulator, settings=settings, history=history, language="de", tools=(WEATHER, HANG_UP)
        ) as talk:
            await talk.until(lambda: talk.of(r.SessionReady))
        setup = emulator.sessions[0].setup
        assert emulator.refusals == []
    text = setup["systemInstruction"]["parts"][0]["text"]
    assert "caller: I am Ann\nagent: Hello Ann" in text
    assert "de" in text
    assert setup["realtimeInputConfig"]["automaticActivityDetection"] == {
        "silenceDurationMs": 700,
        "startOfSpeechSensitivity": "START_SENSITIVITY_LOW",
    }
    weather, hang_up = setup["tools"][0]["functionDeclarations"]
    assert weather["parameters"]["properties"] == {"city": {"type": "STRING", "nullable": True}}
    assert "parameters" not in hang_up


async def test_the_end_of_a_session_is_announced():
    async with GeminiLiveEmulator() as emulator, talking(emulator) as talk:
        emulator.fail_next("go-away", seconds=9.5)
        await talk.until(lambda: talk.of(r.SessionReady))
        talk.session.send(SILENCE)
        await talk.until(lambda: talk.of(r.SessionExpiring))
    assert talk.of(r.SessionExpiring) == [r.SessionExpiring(9.5)]


@pytest.mark.parametrize(
    ("fault", "options", "kind"),
    [
        ("http-401", {}, VendorAuthError),
        ("http-429", {}, VendorRateLimited),
        ("http-503", {}, VendorUnavailable),
        ("quota", {}, VendorRateLimited),
        ("close", {}, VendorUnavailable),
        ("close", {"code": 1000}, VendorUnavailable),
        ("close", {"code": 1011}, VendorUnavailable),
        ("close", {"code": 1007}, VendorRejected),
    ],
)
async def test_every_failure_ends_the_iteration_with_its_kind_of_error(fault, options, kind):
    async with GeminiLiveEmulator() as emulator:
        emulator.fail_next(fault, **options)
        async with talking(emulator) as talk:
            talk.session.send(SILENCE)
            error = await talk.failed()
    assert type(error) is kind
    assert error.vendor == "google"


async def test_a_session_that_is_never_confirmed_is_given_up():
    async with GeminiLiveEmulator() as emulator:
        emulator.fail_next("no-setup-complete")
        async with talking(emulator, ready_limit=0.2) as talk:
            assert type(await talk.failed()) is VendorTimeout


async def test_words_before_a_slow_confirmation_are_not_lost():
    book = ClipBook()
    hello = book.add("hello anybody there", babble("hello anybody there"))
    async with GeminiLiveEmulator(recognizer=book, pace=0) as emulator:
        emulator.fail_next("slow-start", seconds=0.2)
        async with talking(emulator) as talk:
            talk.speak(hello)
            await talk.until(lambda: any(each.final for each in talk.of(r.CallerSaid)))
        assert emulator.refusals == []
    assert talk.of(r.CallerSaid)[-1].text == "hello anybody there"


async def test_a_model_that_says_nothing_is_told_of():
    async with GeminiLiveEmulator() as emulator:
        emulator.fail_next("no-response")
        async with talking(emulator) as talk:
            talk.session.say("Hello.", asked="a")
            assert (await talk.ended("a")).status == "incomplete"


async def test_messages_that_are_none_are_passed_over():
    async with GeminiLiveEmulator(pace=0) as emulator:
        emulator.fail_next("gibberish")
        async with talking(emulator) as talk:
            talk.session.send(SILENCE)
            talk.session.say("Hello.", asked="a")
            assert (await talk.ended("a")).status == "completed"


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"api_key": SecretStr("AIza-wrong")}, VendorAuthError),
        ({"model": "gemini-2.0-flash-live-001"}, VendorRejected),
        ({"voice": "Nobody"}, VendorRejected),
    ],
)
async def test_wrong_settings_are_refused_with_googles_reason(wrong, kind):
    async with GeminiLiveEmulator() as emulator:
        chosen = config(emulator.url, **wrong)
        request = r.RealtimeRequest(call_id="c1", instructions="")
        async with GeminiLiveModel(account(chosen), chosen, RealClock()).open_session(request) as session:
            with pytest.raises(kind) as caught:
                await anext(aiter(session))
        assert len(emulator.refusals) == 1
    assert "AIza" not in str(caught.value)


async def test_the_key_is_checked_and_the_model_looked_for():
    registered = []
    google.voicecall_register_realtime_models(registered.append)
    [spec] = registered
    async with GeminiLiveEmulator() as emulator:
        assert await spec.check(config(emulator.url), None) == (
            "the key is good, and the account has gemini-3.8-live"
        )
        assert "does not list" in await spec.check(config(emulator.url, model="gemini-9-live"), None)
        with pytest.raises(VendorRejected, match="API key not valid"):
            await spec.check(config(emulator.url, api_key=SecretStr("x")), None)
    with pytest.raises(ConfigError, match="GEMINI_API_KEY"):
        account(config("", api_key=None))
    assert spec.describe(config("")) == "Google gemini-3.8-live, voice Kore"


GOOD = {"setup": {"model": "models/gemini-3.8-live", "generationConfig": {"responseModalities": ["AUDIO"]}}}
SOUND = {"data": base64.b64encode(bytes(640)).decode(), "mimeType": "audio/pcm;rate=16000"}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"setup": GOOD["setup"] | {"generation_config": {}}}], "Unknown name"),
        ([{"setup": {"model": "models/gemini-3.8-live", "generationConfig": {}}}], "invalid argument"),
        ([{"setup": GOOD["setup"] | {"model": "gemini-3.8-live"}}], "is not found for API version"),
        ([{"realtimeInput": {"audio": SOUND}}], "setup must be the first"),
        ([GOOD, GOOD], "setup must be the first"),
        ([GOOD, {"realtimeInput": {"audio": SOUND | {"mimeType": "audio/pcmu"}}}], "Unsupported input audio"),
        ([GOOD, {"realtimeInput": {"audio": SOUND | {"data": "*"}}}], "TYPE_BYTES"),
        ([GOOD, {"realtimeInput": {"audio": SOUND, "text": "both"}}], "invalid argument"),
        ([GOOD, {"clientContent": {"turns": [], "turnComplete": True}}], "invalid argument"),
        ([GOOD, {"response.create": {}}], "Unknown name"),
        (
            [GOOD, {"toolResponse": {"functionResponses": [{"id": "x", "name": "y", "response": {}}]}}],
            "entity was not found",
        ),
    ],
)
async def test_a_wrong_client_fails_on_the_stand_in(messages, reason):
    async with GeminiLiveEmulator() as emulator, aiohttp.ClientSession() as client:
        async with client.ws_connect(emulator.url + PATH, headers={"x-goog-api-key": KEY}) as socket:
            for message in messages:
                await socket.send_json(message)
                if message is GOOD and message is not messages[-1]:
                    with suppress(TimeoutError):
                        await socket.receive(1)
            async with asyncio.timeout(2):
                while (last := await socket.receive()).type != aiohttp.WSMsgType.CLOSE:
                    pass
        assert last.data in (1007, 1008)
        assert reason in last.extra
        assert len(emulator.refusals) == 1


async def test_a_client_that_does_not_wait_for_the_confirmation_fails_on_the_stand_in():
    async with GeminiLiveEmulator() as emulator, aiohttp.ClientSession() as client:
        emulator.fail_next("slow-start", seconds=5)
        async with client.ws_connect(emulator.url + PATH, headers={"x-goog-api-key": KEY}) as socket:
            await socket.send_json(GOOD)
            await socket.send_json({"realtimeInput": {"audio": SOUND}})
            assert (await socket.receive(2)).data == 1007
        assert emulator.refusals[0].why == "before setupComplete"
