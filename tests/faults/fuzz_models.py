"""Hostile input for the codecs of speech-to-speech models, and for OpenAI's webhook of calls over SIP."""

import base64
import json
from random import Random
from typing import Any

from fuzz_common import said, storable
from fuzz_vendors import DEED, with_deeds, words

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.api.carrier import WebhookRequest
from openclaw_voicecall.errors import VendorError, WebhookError
from openclaw_voicecall.providers.google.config import GoogleRealtimeConfig
from openclaw_voicecall.providers.google.live_session import GeminiLiveSession
from openclaw_voicecall.providers.openai.conversation import VoiceSession
from openclaw_voicecall.providers.openai.live_session import GptLiveSession
from openclaw_voicecall.providers.openai.live_settings import Granted, Pauses
from openclaw_voicecall.providers.openai.sip_webhooks import incoming_call, require_shape, verified
from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig
from openclaw_voicecall.providers.openai.voice_settings import voice_settings
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.fuzzing import Target
from openclaw_voicecall.testing.fuzzing_kinds import JsonText, Series

WIRE = "openclaw_voicecall.providers"
REQUEST = r.RealtimeRequest(call_id="c1", instructions="Be kind.")
SOUND = base64.b64encode(babble("hi")).decode()
DEEDS = ("audio", "say", "answer", "cut", "attend", "result")


class Hand:
    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_790_000_000.0


def checked(event: Any) -> None:
    """What a session tells can be kept and played."""
    match event:
        case r.CallerSaid(item, text, _) | r.ReplyText(_, item, text):
            storable(item, text)
        case r.ReplyAudio(reply, item, audio):
            storable(reply, item)
            assert isinstance(audio, bytes)
        case r.ToolCalled(call, name, arguments, reply):
            storable(call, name, arguments, reply)
        case r.ReplyEnded(reply, status, detail, asked):
            storable(reply, status, detail, asked)
            assert status in {"completed", "cancelled", "failed", "incomplete"}
        case r.VendorComplained(what, detail):
            storable(what, detail)
            assert len(detail) < 2000
        case r.KeyPressed(digit):
            assert digit in set("0123456789*#ABCD")


def talk(session: Any, items: list[str], *, timed: bool) -> None:
    """A session through a series of messages and deeds."""
    now, error, replies = 100.0, None, ["r"]
    session.connected()
    for item in items:
        deed = item.removeprefix(DEED)
        now += 0.2
        Hand.now = now
        late = {"now": now} if timed and deed == "cut" and deed != item else {}
        try:
            match deed if deed != item else "":
                case "audio":
                    session.send(b"\x7f" * 160)
                case "say":
                    session.say("Hello.", asked="s1")
                case "answer":
                    session.answer("keys", asked="a1")
                case "cut":
                    session.cut(replies[-1], [("item_0", 20)], **late)
                case "attend":
                    session.attend(False)
                case "result":
                    session.give_result("call_0", "done", asked="t1", answer=True)
                case _:
                    session.receive(item, now) if timed else session.receive(item)
        except VendorError as failure:
            error = failure
            said(failure)
        for message in session.take_messages():
            assert isinstance(json.loads(message), dict)
        for event in session.take_events():
            checked(event)
            if isinstance(event, r.ReplyBegan):
                replies.append(event.reply)
    if error is not None:
        raise error


def by_openai(items: list[str]) -> None:
    settings = voice_settings(OpenAIVoiceConfig(), REQUEST)
    session = VoiceSession(settings, Hand())
    session.connected()
    sent = [json.loads(message) for message in session.take_messages()]
    updates = [message["session"] for message in sent if message["type"] == "session.update"]
    created = [] if updates else [json.dumps({"type": "session.created", "session": {"type": "realtime"}})]
    echo = [json.dumps({"type": "session.updated", "session": update}) for update in updates]
    talk(session, [*created, *echo, *items], timed=False)


def openai_events(random: Random) -> list[str]:
    messages: list[dict[str, Any]] = []
    for number in range(random.randrange(1, 4)):
        reply, item = f"resp_{number}", f"item_{number}"
        about = {"response_id": reply, "item_id": item, "output_index": 0, "content_index": 0}
        called = {
            "type": "function_call",
            "id": item,
            "call_id": f"call_{number}",
            "name": "x",
            "arguments": "{}",
        }
        done = {"id": reply, "status": random.choice(["completed", "cancelled", "failed"]), "output": []}
        messages += random.sample(
            [
                {"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": 10},
                {"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": 900},
                {"type": "response.created", "response": {"id": reply, "metadata": None}},
                {"type": "response.output_audio.delta", "delta": SOUND, **about},
                {"type": "response.output_audio_transcript.delta", "delta": words(random), **about},
                {"type": "response.output_item.done", "response_id": reply, "item": called},
                {"type": "response.done", "response": done},
            ],
            k=random.randrange(1, 8),
        )
    return with_deeds(random, list(map(json.dumps, messages)), DEEDS)


def by_gemini(items: list[str]) -> None:
    session = GeminiLiveSession(GoogleRealtimeConfig(), REQUEST)
    talk(session, [json.dumps({"setupComplete": {}}), *items], timed=True)


def gemini_messages(random: Random) -> list[str]:
    sound = {
        "inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(bytes(960)).decode()}
    }
    contents: list[dict[str, Any]] = [
        {"serverContent": {"modelTurn": {"parts": [sound]}}},
        {"serverContent": {"inputTranscription": {"text": words(random)}}},
        {"serverContent": {"outputTranscription": {"text": words(random)}}},
        {"serverContent": {"interrupted": True}},
        {"serverContent": {"generationComplete": True}},
        {"serverContent": {"turnComplete": True}},
        {"toolCall": {"functionCalls": [{"id": "call_0", "name": "x", "args": {"a": 1}}]}},
        {"toolCallCancellation": {"ids": ["call_0"]}},
        {"goAway": {"timeLeft": "9.5s"}},
    ]
    messages = [json.dumps(random.choice(contents)) for _ in range(random.randrange(1, 12))]
    return with_deeds(random, messages, DEEDS)


def by_gpt_live(items: list[str]) -> None:
    session = GptLiveSession("{}", Granted("audio/pcmu", "willow"), Hand(), Pauses())
    audio = {"format": {"type": "audio/pcmu", "rate": 8000}, "output": {"voice": "willow"}}
    started = json.dumps({"type": "session.started", "session": {"audio": audio}})
    talk(session, [started, *items], timed=True)


def live_messages(random: Random) -> list[str]:
    call = {"type": "function_call", "call_id": "call_0", "name": "x", "arguments": "{}"}
    event = {"type": "response.output_item.done", "item": call}
    kinds: list[dict[str, Any]] = [
        {"type": "session.output_audio.delta", "delta": SOUND},
        {"type": "session.input_transcript.delta", "delta": words(random), "start_ms": 1, "end_ms": 9},
        {"type": "session.output_transcript.delta", "delta": words(random), "start_ms": 1, "end_ms": 9},
        {"type": "response.event", "delegation_id": "item_1", "event": event},
    ]
    messages = [json.dumps(random.choice(kinds)) for _ in range(random.randrange(1, 10))]
    return with_deeds(random, messages, DEEDS)


def invited(bodies: list[str]) -> None:
    headers = {"webhook-id": "wh_1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    for body in bodies:
        data = body.encode("utf-8", "surrogatepass")
        request = WebhookRequest(method="POST", url="http://127.0.0.1/", headers=headers, body=data)
        require_shape(request)
        call = incoming_call(verified(request))
        if call is not None:
            storable(call.call, call.from_number, call.to_number)
            assert all(len(value) < 70_000 for value in call.all("X-Call-Token"))


def invitations(random: Random) -> list[str]:
    headers = [
        {"name": "From", "value": '"+1415" <sip:+14155550123@trunk>'},
        {"name": "To", "value": "<sip:+15550001234@sip>"},
        {"name": "X-Call-Token", "value": "abc"},
    ]
    data = {"call_id": "rtc_u0_1", "sip_headers": random.sample(headers, k=random.randrange(4))}
    event = {
        "object": "event",
        "id": "evt_1",
        "type": "realtime.call.incoming",
        "created_at": 1,
        "data": data,
    }
    return [json.dumps(event)]


TARGETS = (
    Target(
        name="openai speech to speech",
        kind=Series(JsonText(256 * 1024)),
        make=openai_events,
        feed=by_openai,
        refusals=(VendorError,),
        parsers=tuple(f"{WIRE}.openai.{name}" for name in ("conversation", "replies")),
    ),
    Target(
        name="gemini live",
        kind=Series(JsonText(256 * 1024)),
        make=gemini_messages,
        feed=by_gemini,
        refusals=(VendorError,),
        parsers=tuple(f"{WIRE}.google.{name}" for name in ("live_session", "sound", "wire")),
    ),
    Target(
        name="gpt-live",
        kind=Series(JsonText(256 * 1024)),
        make=live_messages,
        feed=by_gpt_live,
        refusals=(VendorError,),
        parsers=tuple(f"{WIRE}.openai.{name}" for name in ("live_session", "live_backend")),
    ),
    Target(
        name="openai sip webhook",
        kind=Series(JsonText(256 * 1024)),
        make=invitations,
        feed=invited,
        refusals=(WebhookError,),
        parsers=(f"{WIRE}.openai.sip_webhooks",),
    ),
)
