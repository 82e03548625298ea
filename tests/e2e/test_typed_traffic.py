"""Every message that OpenAI gets fits the types of its SDK: sessions with everything on, and a check that is strict."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from pydantic import SecretStr
from typed_traffic import require_typed, traffic_problems

from openclaw_voicecall.api.carrier import LegRef
from openclaw_voicecall.api.realtime import (
    ModelTool,
    RealtimeRequest,
    ReplyAudio,
    ReplyBegan,
    SessionReady,
    ToolCalled,
)
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import CallIsGone, VendorError
from openclaw_voicecall.providers.openai.account import account
from openclaw_voicecall.providers.openai.live_model import GptLiveModel
from openclaw_voicecall.providers.openai.live_settings import Pauses
from openclaw_voicecall.providers.openai.realtime import OpenAIRealtimeModel
from openclaw_voicecall.providers.openai.sip_carrier import SipLimits, open_openai_sip
from openclaw_voicecall.providers.openai.sip_config import OpenAISipConfig
from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.gpt_live import GptLiveEmulator
from openclaw_voicecall.testing.emulators.gpt_live_connection import LiveSession
from openclaw_voicecall.testing.emulators.gpt_live_sip import SipCall
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.emulators.openai_sip import Call
from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.sip_trunk import TrunkPhone
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.scripted import CountingIds, LoopClock

pytestmark = pytest.mark.e2e

SETTINGS = {
    "voice": "cedar",
    "speed": 1.1,
    "turnDetection": "semantic_vad",
    "eagerness": "high",
    "noiseReduction": "near_field",
    "transcriptionModel": "gpt-4o-transcribe",
    "reasoningEffort": "low",
    "maxOutputTokens": 4096,
    "tracing": {"workflowName": "phone", "metadata": {"tenant": "x"}},
}
TOOLS = tuple(
    ModelTool(
        name=name,
        description="Looks something up.",
        parameters={"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
    )
    for name in ("look_up", "look_down")
)
HISTORY = (Line("caller", "Hi."), Line("agent", "Hello."), Line("caller", "What time is it?"))
QUESTION = "what time is it please"
LONG = "a long story that goes on and on " * 12
PAUSE = b"\xff" * 8000
LOOKS = Reply("Let me see.", (ToolUse("look_up", {"what": "time"}), ToolUse("look_down", {"what": "date"})))


def request(**changes):
    fields = {"call_id": "c1", "instructions": "You answer the phone.", "language": "en-GB", "tools": TOOLS}
    return RealtimeRequest(**{**fields, **changes})


class Talk:
    """A session and what it told."""

    def __init__(self, session):
        self.session = session
        self.events = []
        self.error = None
        self._news = asyncio.Event()
        self.reader = asyncio.create_task(self._read())

    async def _read(self):
        try:
            async for event in self.session:
                self.events.append(event)
                self._news.set()
        except VendorError as error:
            self.error = error
        self._news.set()

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                assert self.error is None, self.error
                self._news.clear()
                await self._news.wait()

    async def began(self, asked):
        """The reply that was asked for has begun; its id."""
        await self.until(lambda: any(each.asked == asked for each in self.told(ReplyBegan)))
        return next(each.reply for each in self.told(ReplyBegan) if each.asked == asked)

    async def sounds(self, asked):
        """A reply that was asked for is heard; gives its id and the item that sounds."""
        reply = await self.began(asked)
        await self.until(lambda: any(each.reply == reply for each in self.told(ReplyAudio)))
        return reply, next(each.item for each in self.told(ReplyAudio) if each.reply == reply)

    def speak(self, audio):
        for at in range(0, len(audio), 160):
            self.session.send(audio[at : at + 160].ljust(160, b"\xff"))

    async def failure(self):
        async with asyncio.timeout(10):
            await self.reader
        return self.error


@asynccontextmanager
async def talking(opened):
    async with opened as session:
        talk = Talk(session)
        try:
            yield talk
        finally:
            talk.reader.cancel()
            await asyncio.wait([talk.reader])


def owner(vendor):
    return account(SecretStr(vendor.key), f"{vendor.url}/v1", section="realtime.providers.openai")


def kinds(events):
    return {event["type"] for event in events}


async def test_a_session_with_everything_on_and_the_one_that_takes_over_send_only_what_the_sdk_knows():
    book = ClipBook()
    async with OpenAIVoiceEmulator(recognizer=book, delta_interval=0.001, replies=(LOOKS,)) as vendor:
        model = OpenAIRealtimeModel(owner(vendor), OpenAIVoiceConfig.model_validate(SETTINGS), LoopClock())
        async with talking(model.open_session(request())) as talk:
            talk.session.say('Good morning, this is "Sam".', asked="greeting")
            await talk.sounds("greeting")
            talk.speak(book.add(QUESTION, babble(QUESTION)) + PAUSE)
            await talk.until(lambda: len(talk.told(ToolCalled)) == 2)
            for called in talk.told(ToolCalled):
                talk.session.give_result(called.call, "noon", asked="time")
            await talk.began("time")
            talk.session.attend(False)
            talk.session.say(LONG, asked="story")
            reply, item = await talk.sounds("story")
            talk.session.cut(reply, [(item, 60)])
            talk.session.attend(True)
            talk.session.answer("The caller pressed 12#.", asked="keys")
            await talk.began("keys")
            vendor.fail_next("mid-sentence-close")
            talk.session.say(LONG, asked="more")
            assert await talk.failure() is not None
        async with talking(model.open_session(request(history=HISTORY))) as talk:
            talk.session.answer(asked="again")
            await talk.sounds("again")
        await vendor.until(lambda: all(session.closed for session in vendor.sessions))
        first, second = vendor.sessions
        assert kinds(first.received) == {
            "session.update",
            "conversation.item.create",
            "conversation.item.truncate",
            "input_audio_buffer.append",
            "response.create",
            "response.cancel",
        }
        assert len(first.updates) == 3
        assert [item.text for item in second.items[: len(HISTORY)]] == [line.text for line in HISTORY]
        assert vendor.refusals == []
        require_typed(vendor)


async def test_calls_over_sip_with_everything_on_send_only_what_the_sdk_knows(tmp_path):
    async with OpenAIVoiceEmulator(delta_interval=0.001, accept_delay=0.01) as vendor:
        keys = {"apiKey": vendor.key, "baseUrl": f"{vendor.url}/v1", "projectId": vendor.project}
        config = OpenAISipConfig.model_validate({**SETTINGS, **keys, "webhookSecret": vendor.webhook_secret})
        runtime = Runtime(clock=LoopClock(), ids=CountingIds(), state_dir=tmp_path, webhook_url=lambda _: "")
        limits = SipLimits(ready=3.0, transfer=0.4, look=0.1, pauses=(0.05, 0.1, 0.2))
        async with open_openai_sip(config, runtime, limits) as carrier:
            async with ringing(vendor) as leg:
                await carrier.refuse(leg, EndReason.REJECTED)
            async with ringing(vendor) as leg, talking(carrier.open_session(leg, request())) as talk:
                await talk.until(lambda: talk.told(SessionReady))
                talk.session.say(LONG, asked="story")
                talk.session.cut(await talk.began("story"), [])
                talk.session.attend(False)
                talk.session.answer("The caller pressed 5.", asked="keys")
                await talk.began("keys")
                await carrier.transfer(leg, "+15550003333")
                assert isinstance(await talk.failure(), CallIsGone)
            async with ringing(vendor) as leg, talking(carrier.open_session(leg, request())) as talk:
                await talk.until(lambda: talk.told(SessionReady))
                await carrier.hang_up(leg)
        sent = [action for call in vendor.calls.all for action, _ in call.bodies]
        assert sent == ["reject", "accept", "refer", "accept", "hangup"]
        assert kinds(vendor.sessions[0].received) == {
            "session.update",
            "conversation.item.create",
            "output_audio_buffer.clear",
            "response.create",
            "response.cancel",
        }
        assert vendor.refusals == []
        require_typed(vendor)


@asynccontextmanager
async def ringing(vendor):
    """Somebody calls over the trunk; gives the leg."""
    async with TrunkPhone(f"{vendor.url.replace('http', 'ws', 1)}/_sip/{vendor.project}") as phone:
        known = len(vendor.calls.all)
        dialling = asyncio.create_task(phone.dial())
        async with asyncio.timeout(5):
            await vendor.until(lambda: len(vendor.calls.all) > known)
        try:
            yield LegRef(call_id="c1", carrier_call_id=vendor.calls.all[-1].id)
        finally:
            phone.hang_up()
            dialling.cancel()
            await asyncio.wait([dialling])


class LiveSettings:
    """What the model needs of the settings."""

    model = "gpt-live-1"
    voice_name = "quartz"


async def test_a_gpt_live_session_with_everything_on_sends_only_what_the_sdk_knows():
    book, pauses = ClipBook(), Pauses(caller=0.1, reply=0.15, cut=0.05)
    async with GptLiveEmulator(recognizer=book, pace=1 / 8, replies=(LOOKS, "It is noon.")) as vendor:
        model = GptLiveModel(owner(vendor), LiveSettings(), LoopClock(), pauses=pauses)
        async with talking(model.open_session(request(history=HISTORY))) as talk:
            talk.session.say('Good morning, this is "Sam".', asked="greeting")
            await talk.sounds("greeting")
            talk.speak(book.add(QUESTION, babble(QUESTION)) + PAUSE)
            await talk.until(lambda: len(talk.told(ToolCalled)) == 2)
            for called in talk.told(ToolCalled):
                talk.session.give_result(called.call, "noon", asked="time")
            await talk.sounds("time")
            talk.session.attend(False)
            talk.session.attend(True)
            talk.session.say(LONG, asked="story")
            reply, item = await talk.sounds("story")
            talk.session.cut(reply, [(item, 60)])
            talk.session.answer("The caller pressed 12#.", asked="keys")
            await talk.began("keys")
        await vendor.until(lambda: vendor.sessions[0].closed)
        assert kinds(vendor.sessions[0].events) == {
            "session.start",
            "session.input_audio.append",
            "session.input_audio.mute",
            "session.input_audio.unmute",
            "session.commentary.append",
            "session.thinking.append",
            "response.item.create",
            "response.create",
            "session.close",
        }
        assert vendor.refusals == []
        require_typed(vendor)


RIGHT = {
    "type": "session.update",
    "session": {
        "type": "realtime",
        "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"voice": "cedar"}},
        "tools": [{"type": "function", "name": "look_up", "parameters": {"type": "object"}}],
    },
}


def changed(**session):
    return {"type": "session.update", "session": {**RIGHT["session"], **session}}


@pytest.mark.parametrize(
    "wrong",
    [
        changed(temperature=0.8),
        changed(audio={"input": {"format": None}}),
        changed(audio={"input": {"turn_detection": {"type": "server_vad", "patience": 3}}}),
        changed(tools=[{"type": "function", "function": {"name": "look_up"}}]),
        changed(max_output_tokens="many"),
        changed(type=None),
        {"type": "session.update", "session": {"instructions": "You answer the phone."}},
        {"type": "response.create", "response": {"voice": "cedar"}},
        {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": "60"},
        {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": "Hi."}},
        {"type": "input_audio_buffer.append"},
        {"type": "transcription_session.update", "session": {}},
        {"type": None},
        {},
    ],
)
def test_a_wrong_message_among_right_ones_is_found(wrong):
    vendor = OpenAIVoiceEmulator()
    session = vendor.new_session("gpt-realtime-2.1")
    session.received += [RIGHT, {"type": "input_audio_buffer.append", "audio": "////"}]
    require_typed(vendor)
    session.received.append(wrong)
    with pytest.raises(AssertionError, match="1 wrong messages"):
        require_typed(vendor)


@pytest.mark.parametrize(
    ("action", "right", "wrong"),
    [
        ("accept", {"type": "realtime", "model": "gpt-realtime-2.1"}, {"model": "gpt-realtime-2.1"}),
        ("accept", {"type": "realtime", "tracing": "auto"}, {"type": "realtime", "voice": "cedar"}),
        ("reject", {"status_code": 486}, {"status_code": "486"}),
        ("refer", {"target_uri": "tel:+15550003333"}, {"target_uri": "tel:+15550003333", "timeout": 5}),
        ("hangup", {}, {"reason": "bye"}),
    ],
)
def test_a_wrong_body_is_found(action, right, wrong):
    vendor = OpenAIVoiceEmulator()
    vendor.calls.all.append(Call("rtc_1", "live_1", [], bodies=[(action, right)]))
    require_typed(vendor)
    vendor.calls.all[0].bodies.append((action, wrong))
    assert len(traffic_problems(vendor)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "session.start", "session": {"model": "gpt-live-1", "colour": "red"}},
        {"type": "session.start", "session": {"model": "gpt-live-1", "audio": {"format": None}}},
        {
            "type": "session.start",
            "session": {
                "model": "gpt-live-1",
                "input": [{"type": "message", "role": "user", "content": [{"type": "input_text"}]}],
            },
        },
        {"type": "conversation.item.create", "item": {}},
    ],
)
def test_a_wrong_message_to_gpt_live_is_found(wrong):
    vendor = GptLiveEmulator()
    vendor.sessions.append(LiveSession("live_1", events=[wrong]))
    assert len(traffic_problems(vendor)) == 1


def test_a_wrong_message_or_body_of_a_gpt_live_call_is_found():
    vendor = GptLiveEmulator()
    session = {"type": "live", "model": "gpt-live-1"}
    call = vendor.sip.calls["live_1"] = SipCall("live_1", bodies=[("accept", {"session": session})])
    call.bodies += [("refer", {"target_uri": "tel:+15550003333"}), ("hangup", None)]
    call.events.append({"type": "transport.dtmf.send", "event": "5"})
    require_typed(vendor)
    call.bodies += [
        ("reject", {}),
        ("accept", {"session": {**session, "audio": {"format": {}}}}),
        ("hangup", {"a": 1}),
    ]
    call.events.append({"type": "session.input_audio.append", "audio": "////"})
    assert len(traffic_problems(vendor)) == 4


async def test_what_is_no_message_at_all_is_found():
    async with OpenAIVoiceEmulator() as vendor, aiohttp.ClientSession() as client:
        headers = {"Authorization": f"Bearer {vendor.key}"}
        url = f"{vendor.url}/v1/realtime?model=gpt-realtime-2.1"
        async with client.ws_connect(url, headers=headers) as socket:
            await socket.send_bytes(b"binary")
            await socket.send_str("[]")
            async with asyncio.timeout(5):
                await vendor.until(lambda: len(vendor.refusals) == 2)
        assert len(traffic_problems(vendor)) == 2
