"""OpenAI's speech model over a WebSocket, against a stand-in: in the right voice, with its tools, and never silent."""

import pytest
from openai.types.realtime import realtime_client_event_param as sdk
from openai_rig import KEY, reading, request
from pydantic import SecretStr, ValidationError

from openclaw_voicecall.api.realtime import (
    CallerSaid,
    ModelTool,
    ReplyBegan,
    ReplyEnded,
    SessionExpiring,
    SessionReady,
    ToolCalled,
    VendorComplained,
)
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.errors import (
    ConfigError,
    VendorAuthError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import openai as plugin
from openclaw_voicecall.providers.openai.accept_check import sdk_problems
from openclaw_voicecall.providers.openai.account import account
from openclaw_voicecall.providers.openai.realtime import OpenAIRealtimeModel
from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig
from openclaw_voicecall.providers.openai.voice_line import VoiceLimits
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.scripted import CountingIds, LoopClock

pytestmark = pytest.mark.contract

PAUSE = b"\xff" * 8000
QUESTION = "what time is it please"
LONG = "a long story that goes on and on " * 12


class Hand:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def wall(self):
        return self.now


@pytest.fixture
def book():
    return ClipBook()


@pytest.fixture
async def vendor(book):
    async with OpenAIVoiceEmulator(key=KEY, recognizer=book, delta_interval=0.001) as emulator:
        yield emulator


def model(vendor, *, key=KEY, clock=None, limits=None, **settings):
    owner = account(SecretStr(key), f"{vendor.url}/v1", section="realtime.providers.openai")
    config = OpenAIVoiceConfig.model_validate(settings)
    return OpenAIRealtimeModel(owner, config, clock or LoopClock(), limits)


def talk(vendor, *, asks=None, **settings):
    return reading(model(vendor, **settings).open_session(asks or request()))


def speak(reader, audio):
    for at in range(0, len(audio), 160):
        reader.session.send(audio[at : at + 160].ljust(160, b"\xff"))


async def test_the_greeting_comes_in_the_configured_voice_and_after_the_set_up(vendor):
    async with talk(vendor, voice="cedar", tracing={"metadata": {"tenant": "x"}}) as reader:
        reader.session.say('Good morning, this is "Sam".', asked="greeting")
        await reader.until(lambda: reader.ended("greeting"))
    assert reader.events[0] == SessionReady()
    assert reader.told(ReplyBegan)[0].asked == "greeting"
    assert reader.sound() == babble("Good morning, this is 'Sam'.", seed="cedar")
    (session,) = vendor.sessions
    assert session.config["tracing"]["group_id"] == "c1"
    assert [tool["name"] for tool in session.config["tools"]] == ["look_up"]
    assert session.errors == []
    assert vendor.refusals == []
    assert session.closed.startswith("client 1000")


async def test_every_message_fits_the_types_of_the_sdk(vendor, book):
    vendor.brain.add(Reply(calls=(ToolUse("look_up", {"what": "time"}),)), LONG)
    async with talk(vendor, asks=request(history=(Line("caller", "Hi."), Line("agent", "Hello.")))) as reader:
        speak(reader, book.add(QUESTION, babble(QUESTION)) + PAUSE)
        await reader.until(lambda: reader.told(ToolCalled))
        reader.session.give_result(reader.told(ToolCalled)[0].call, "noon", asked="time")
        await reader.until(lambda: len(reader.sound()) > 8000)
        reply = reader.told(ReplyBegan)[-1].reply
        reader.session.cut(reply, [(reader.events[-1].item, 500)])
        reader.session.attend(False)
        reader.session.answer("12#", asked="keys")
        await reader.until(lambda: reader.ended("keys"))
    (session,) = vendor.sessions
    kinds = {event["type"] for event in session.received}
    assert kinds == {
        "session.update",
        "conversation.item.create",
        "conversation.item.truncate",
        "input_audio_buffer.append",
        "response.create",
        "response.cancel",
    }
    assert [
        problem for event in session.received for problem in sdk_problems(sdk.RealtimeClientEventParam, event)
    ] == []
    assert vendor.refusals == []


async def test_the_caller_is_answered_and_what_both_say_is_told(vendor, book):
    vendor.brain.add("It is noon.")
    async with talk(vendor) as reader:
        speak(reader, book.add(QUESTION, babble(QUESTION)) + PAUSE)
        await reader.until(
            lambda: reader.told(ReplyEnded) and any(each.final for each in reader.told(CallerSaid))
        )
    assert [each.text for each in reader.told(CallerSaid) if each.final] == [QUESTION]
    assert reader.sound() == babble("It is noon.", seed="marin")
    assert vendor.sessions[0].early == 0
    assert reader.told(ReplyBegan)[0].asked == ""


async def test_two_tools_of_a_reply_are_answered_by_one_reply(vendor):
    vendor.brain.add(
        Reply(calls=(ToolUse("look_up", {"what": "a"}), ToolUse("look_up", {"what": "b"}))), "Both are done."
    )
    async with talk(vendor) as reader:
        reader.session.answer("go", asked="first")
        await reader.until(lambda: len(reader.told(ToolCalled)) == 2)
        for call in reader.told(ToolCalled):
            reader.session.give_result(call.call, "done", asked="second")
        await reader.until(lambda: reader.ended("second"))
    assert reader.sound() == babble("Both are done.", seed="marin")
    assert vendor.brain.cues[-1].results == ("done", "done")
    assert vendor.refusals == []


async def test_a_cut_reply_is_known_by_the_model_only_as_far_as_it_was_heard(vendor):
    async with talk(vendor) as reader:
        reader.session.say(LONG, asked="story")
        await reader.until(lambda: len(reader.sound()) > 16000)
        begun = reader.told(ReplyBegan)[0].reply
        item = reader.events[-1].item
        reader.session.cut(begun, [(item, 1480)])
        await reader.until(lambda: reader.ended("story"))
        await vendor.until(lambda: vendor.sessions[0].items[-1].truncated_ms is not None)
    assert reader.ended("story").status == "cancelled"
    assert vendor.sessions[0].items[-1].truncated_ms == 1480


async def test_late_sound_of_a_cut_reply_is_not_heard(vendor):
    vendor.fail_next("late-deltas", count=3)
    async with talk(vendor) as reader:
        reader.session.say(LONG, asked="story")
        await reader.until(lambda: len(reader.sound()) > 8000)
        reader.session.cut(reader.told(ReplyBegan)[0].reply, [])
        heard = len(reader.sound())
        reader.session.say("Yes?", asked="next")
        await reader.until(lambda: reader.ended("next"))
    assert reader.sound()[heard:] == babble("Yes?", seed="marin")


async def test_a_refused_set_up_is_an_error_with_the_vendors_words(vendor):
    vendor.fail_next(
        "refuse-update", message="Invalid value: 'x'.", param="session.audio.input", code="invalid_value"
    )
    async with talk(vendor) as reader:
        reader.session.say("Hello.", asked="a")
        error = await reader.failure()
    assert isinstance(error, VendorRejected)
    assert "Invalid value: 'x'." in str(error)
    assert "session.audio.input" in str(error)
    assert vendor.sessions[0].responses == []


async def test_a_refused_later_update_is_told_and_made_good(vendor):
    async with talk(vendor) as reader:
        await reader.until(lambda: reader.events)
        vendor.fail_next("refuse-update")
        reader.session.attend(False)
        await reader.until(lambda: reader.told(VendorComplained))
        await vendor.until(lambda: len(vendor.sessions[0].updates) == 3)
        reader.session.say("Hello.", asked="a")
        await reader.until(lambda: reader.ended("a"))
    detection = vendor.sessions[0].config["audio"]["input"]["turn_detection"]
    assert detection["create_response"] is False
    assert reader.sound() == babble("Hello.", seed="marin")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("http-401", VendorAuthError), ("http-429", VendorRateLimited), ("http-500", VendorUnavailable)],
)
async def test_a_refused_handshake_has_its_own_error(vendor, fault, kind):
    vendor.fail_next(fault)
    async with talk(vendor) as reader:
        assert isinstance(await reader.failure(), kind)


async def test_a_set_up_that_is_never_granted_fails_in_time(vendor):
    vendor.fail_next("no-session-updated")
    async with talk(vendor, limits=VoiceLimits(ready=0.2)) as reader:
        reader.session.say("Hello.", asked="a")
        assert isinstance(await reader.failure(), VendorTimeout)


@pytest.mark.parametrize("code", [None, 1000, 1001, 1011])
async def test_a_socket_that_closes_in_mid_sentence_is_an_error_whatever_its_code(vendor, code):
    vendor.fail_next("mid-sentence-close", **({} if code is None else {"code": code}))
    async with talk(vendor) as reader:
        reader.session.say(LONG, asked="story")
        error = await reader.failure()
    assert isinstance(error, VendorUnavailable)
    assert error.retryable


@pytest.mark.parametrize("told", [True, False])
async def test_the_end_of_the_hour_is_an_error_that_can_be_tried_again(vendor, told):
    async with talk(vendor) as reader:
        await reader.until(lambda: reader.events)
        vendor.fail_next("expire", error=told)
        reader.session.say("Hello.", asked="a")
        error = await reader.failure()
    assert isinstance(error, VendorUnavailable)
    assert "60 minutes" in str(error)


async def test_the_end_of_the_hour_is_announced_three_minutes_before(vendor):
    clock = Hand()
    async with talk(vendor, clock=clock) as reader:
        await reader.until(lambda: reader.events)
        clock.now = 3600 - 180
        reader.session.say("Hello.", asked="a")
        await reader.until(lambda: reader.told(SessionExpiring))
    assert reader.told(SessionExpiring) == [SessionExpiring(180.0)]


async def test_a_reply_that_fails_has_ended_and_says_why(vendor):
    vendor.fail_next("response-failed", message="You exceeded your quota.", code="insufficient_quota")
    async with talk(vendor) as reader:
        reader.session.say("Hello.", asked="a")
        await reader.until(lambda: reader.ended("a"))
    assert reader.ended("a").status == "failed"
    assert "You exceeded your quota." in reader.ended("a").detail


@pytest.mark.parametrize("fault", ["unknown-events", "gibberish"])
async def test_what_nobody_knows_is_passed_over(vendor, fault):
    async with talk(vendor) as reader:
        await reader.until(lambda: reader.events)
        vendor.fail_next(fault)
        reader.session.say("Hello.", asked="a")
        await reader.until(lambda: reader.ended("a"))
    assert reader.sound() == babble("Hello.", seed="marin")


async def test_an_interrupted_transcription_leaves_an_empty_line(vendor, book):
    vendor.fail_next("transcription-failed")
    async with talk(vendor) as reader:
        speak(reader, book.add(QUESTION, babble(QUESTION)) + PAUSE)
        await reader.until(lambda: any(each.final for each in reader.told(CallerSaid)))
    assert [each.text for each in reader.told(CallerSaid) if each.final] == [""]


async def test_a_tool_that_cannot_be_is_refused_before_anything_is_sent(vendor):
    wrong = ModelTool(name="look up", description="", parameters={"type": "object"})
    async with talk(vendor, asks=request(tools=(wrong,))) as reader:
        error = await reader.failure()
    assert isinstance(error, VendorRejected)
    assert "session.tools[0].name" in str(error)
    assert vendor.sessions == []


async def test_the_plugin_registers_a_model_that_opens_and_can_be_checked(vendor, tmp_path):
    specs = {}
    plugin.voicecall_register_realtime_models(lambda spec: specs.update({spec.name: spec}))
    spec = specs["openai"]
    config = spec.config.model_validate({"apiKey": KEY, "baseUrl": f"{vendor.url}/v1"})
    runtime = Runtime(clock=LoopClock(), ids=CountingIds(), state_dir=tmp_path, webhook_url=lambda name: "")
    assert spec.describe(config) == "OpenAI gpt-realtime-2.1, voice marin"
    assert await spec.check(config, runtime) == "the key is good, and the account has gpt-realtime-2.1"
    async with spec.open(config, runtime) as opened, reading(opened.open_session(request())) as reader:
        await reader.until(lambda: reader.events)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        async with spec.open(spec.config(), runtime):
            pass
    with pytest.raises(ValidationError):
        spec.config.model_validate({"voice": "nobody"})
