"""A service of a Twilio user with a bad network between it and each of its vendors: a proxy for every one."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_plans import FOR_GOOD, GREETING, TALK, Kind, Strike
from vendor_line import OURS, REPORTED, SID, VOICE

from openclaw_voicecall.media.resample import UlawEncoder
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.deepgram import DeepgramEmulator
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator, speech
from openclaw_voicecall.testing.emulators.serving import Emulator
from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.faults import FaultProxy
from openclaw_voicecall.testing.ports import free_port
from openclaw_voicecall.testing.service import RunningService

APOLOGY = ("I'm sorry, something went wrong on my side.", "Could you say that again?")
RECONNECTED = ("I'm here again.", "Please go on.")
GOODBYE = ("I'm sorry, I can't go on with this call.", "Goodbye.")
FILLERS = (
    "I'm sorry, this is taking longer than usual.",
    "One moment, please.",
    "I'm still on it.",
    "Thanks for waiting, nearly there.",
)
FIXED = (*APOLOGY, *RECONNECTED, *GOODBYE, *FILLERS)
"""Sentences that are nobody's answer; the second voice is recognised by the ones known before."""


@dataclass
class ChaosLine:
    """A running service, its vendors, and the proxies between."""

    kind: Kind
    service: RunningService
    client: ControlClient
    emulators: Mapping[str, Emulator]
    """By the vendor's name in a plan; `media` and `rest` are the same Twilio."""
    proxies: Mapping[str, FaultProxy]
    caller: ClipBook
    agent: ClipBook
    """What ElevenLabs and the carrier's voice have said."""
    second: ClipBook
    """What the second voice may say."""
    log_read: int = 0
    """Characters of the service's log that belong to calls that are over."""
    struck: dict[str, int] = field(default_factory=dict)
    """Per vendor, what its proxy and its emulator had counted when the call began."""

    @property
    def twilio(self) -> TwilioEmulator:
        """The carrier."""
        twilio = self.emulators["media"]
        assert isinstance(twilio, TwilioEmulator)
        return twilio

    def question(self, text: str) -> bytes:
        """The sound of a question."""
        return self.caller.add(text, babble(text, seed="caller"))

    def heard(self, audio: bytes) -> list[str]:
        """What somebody heard, in order, by whichever voice."""
        finds = self.agent.read(audio) + self.second.read(audio)
        return [found.text for found in sorted(finds, key=lambda found: found.start) if found.text]

    def begin(self) -> None:
        """A call begins: from here on it is counted what strikes, and which lines are in the log."""
        self.log_read = len(self.service.stderr)
        self.struck = {vendor: self._count(vendor) for vendor in self.proxies}

    def strikes(self, vendor: str) -> bool:
        """Whether a fault of this vendor had an effect in this call, on whatever it was."""
        return self._count(vendor) > self.struck[vendor]

    def log(self) -> str:
        """What the service wrote in this call."""
        return self.service.stderr[self.log_read :]

    async def strike(self, strike: Strike) -> None:
        """Let it happen, and let it pass."""
        proxy, emulator = self.proxies[strike.vendor], self.emulators[strike.vendor]
        for act in strike.network:
            getattr(proxy, act.name)(*act.arguments)
        for act in strike.lies:
            if act.name == "cut-stream":
                list(self.twilio.calls.values())[-1].cut_stream()
            else:
                options = {key: value for key, value in (act.options or {}).items() if value is not None}
                emulator.fail_next(act.name, times=act.times, **options)
        if strike.lasts != FOR_GOOD:
            await asyncio.sleep(strike.lasts)
            if any(act.name == "drop" for act in strike.network):
                proxy.cut()  # a stream with a hole in it is nothing that TCP would ever deliver
            proxy.heal()
            emulator.heal()

    def heal(self) -> None:
        """All is well again."""
        for proxy in self.proxies.values():
            proxy.heal()
        for emulator in self.emulators.values():
            emulator.heal()

    def refusals(self) -> list[str]:
        """What vendors had to refuse so far; Twilio's debugger has also what our faults did."""
        return [
            f"{name}: {refusal.where}: {refusal.why}"
            for name, emulator in self.emulators.items()
            if emulator is not self.twilio
            for refusal in emulator.refusals
        ]

    def _count(self, vendor: str) -> int:
        taken = len(self.emulators[vendor].taken)
        return self.proxies[vendor].struck + taken


@asynccontextmanager
async def chaos_line(kind: Kind) -> AsyncIterator[ChaosLine]:
    """Start vendors, proxies and a service of a kind."""
    folder = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))
    caller, agent, second = ClipBook(), ClipBook(), _second_voice()
    try:
        async with AsyncExitStack() as stack:
            port = free_port()
            webhook = f"http://127.0.0.1:{port}/voice/webhook"
            twilio = TwilioEmulator(account_sid=SID, numbers={OURS: webhook}, recognizer=caller, clips=agent)
            vendors: dict[str, Emulator] = {
                "openai": OpenAIRealtimeEmulator(recognizer=caller),
                "deepgram": DeepgramEmulator(recognizer=caller),
                "chat": ChatEmulator(respond=_answer),
                "chat2": ChatEmulator(respond=_answer),
                "voice": ElevenLabsEmulator(clips=agent, voices=[VOICE]),
                "voice2": OpenAISpeechEmulator(),
                "media": twilio,
            }
            for emulator in vendors.values():
                await stack.enter_async_context(emulator)
            vendors["rest"] = twilio
            proxies: dict[str, FaultProxy] = {}
            for name, emulator in vendors.items():
                target = port if name == "media" else emulator.port
                proxies[name] = await stack.enter_async_context(FaultProxy("127.0.0.1", target))
            twilio.stream_port = proxies["media"].port
            config = _config(
                kind, webhook, {name: f"http://127.0.0.1:{p.port}" for name, p in proxies.items()}
            )
            service = RunningService(folder / "state", port=port, config=config)
            await stack.enter_async_context(_running(service))
            client = await stack.enter_async_context(ControlClient(folder / "state" / "control.sock"))
            yield ChaosLine(kind, service, client, vendors, proxies, caller, agent, second)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _running(service: RunningService) -> AsyncIterator[None]:
    """Have it run; also who is called off while it starts leaves nothing behind."""
    starting = asyncio.ensure_future(asyncio.to_thread(service.__enter__))
    try:
        await asyncio.shield(starting)
        yield
    finally:
        await asyncio.wait({starting})
        if starting.exception() is None:
            await asyncio.to_thread(service.__exit__, None, None, None)


def _config(kind: Kind, webhook: str, urls: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(json.dumps(REPORTED))
    settings |= {"publicUrl": webhook, "inboundGreeting": GREETING, "responseModel": "xai/grok-4.3"}
    settings["twilio"]["apiBaseUrl"] = urls["rest"]
    settings["outbound"] |= {
        name: 100_000 for name in ("dialsPerMinute", "dialsPerNumberPerHour", "dialsPerDay")
    }
    settings["streaming"]["providers"] = {
        "openai": {"baseUrl": urls["openai"] + "/v1"},
        "deepgram": {"apiKey": "deepgram-key", "baseUrl": urls["deepgram"]},
    }
    settings["responders"] = {
        "xai": {"baseUrl": urls["chat"] + "/v1", "apiKey": "sk-emulated"},
        "openai": {"baseUrl": urls["chat2"] + "/v1", "apiKey": "sk-emulated"},
    }
    settings["tts"]["elevenlabs"]["transport"] = kind.transport
    settings["tts"]["providers"] = {"elevenlabs": {"baseUrl": urls["voice"]}}
    settings["tts"]["openai"] = {"apiKey": "sk-emulated", "baseUrl": urls["voice2"] + "/v1"}
    if kind.spare:
        settings["streaming"]["fallbacks"] = ["deepgram"]
        settings["responseFallbacks"] = ["openai/gpt-5-mini"]
        settings["tts"]["fallbacks"] = ["openai"]
    return settings


def _answer(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
    """What the model says: the answer to what it was asked last."""
    said = messages[-1]["content"]
    return " ".join(answer for question, answer in TALK if question in said) or f"You said: {said}"


def _second_voice() -> ClipBook:
    book = ClipBook()
    for text in (GREETING, *(answer for _, answer in TALK), *FIXED):
        encoder = UlawEncoder(24000)
        book.add(text, encoder.push(speech(text, "coral")) + encoder.finish())
    return book
