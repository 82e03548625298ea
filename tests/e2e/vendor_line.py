"""The configuration of a Twilio user, with every vendor stood in for by its strict emulator on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asking

from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.twilio import Call, TwilioEmulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.service import CliResult, RunningService

OURS = "+12670000000"
CALLER = "+15550001111"
GREETING = "Hello, this is Clawdbot. I'm here to help you today."
VOICE = "54noaetjxv80HAvkIbfQ"
SID = "AC" + "0" * 31 + "1"

REPORTED: dict[str, Any] = {
    "provider": "twilio",
    "twilio": {"accountSid": SID, "authToken": "emulated-token"},
    "fromNumber": OURS,
    "inboundPolicy": "open",
    "inboundGreeting": GREETING,
    "skipSignatureVerification": True,
    "maxConcurrentCalls": 20,
    "publicUrl": "set by the line",
    "tunnel": {"provider": "none"},
    "outbound": {"defaultMode": "conversation", "notifyHangupDelaySec": 3},
    "streaming": {"enabled": True, "streamPath": "/voice/stream", "openaiApiKey": "sk-emulated"},
    "responseModel": "xai/grok-4-1-fast-reasoning",
    "responseTimeoutMs": 20000,
    "tts": {
        "provider": "elevenlabs",
        "elevenlabs": {"apiKey": "xi-emulated", "voiceId": VOICE, "modelId": "eleven_turbo_v2_5"},
    },
}
"""As its owner wrote it in early 2026, but for keys."""


@dataclass
class VendorLine:
    """A running service, the emulators it talks to, and what their voices have said."""

    service: RunningService
    twilio: TwilioEmulator
    openai: OpenAIRealtimeEmulator
    chat: ChatEmulator
    elevenlabs: ElevenLabsEmulator
    caller: ClipBook = field(default_factory=ClipBook)
    """What people on the telephone can say."""
    agent: ClipBook = field(default_factory=ClipBook)
    """What ElevenLabs and the carrier have said."""

    def words(self, text: str) -> bytes:
        """Caller audio of a text, which the transcriber will know."""
        return self.caller.add(text, babble(text, seed="caller"))

    async def cli(self, *arguments: str, **options: Any) -> CliResult:
        """A command against the service, while the emulators go on."""
        return await asyncio.to_thread(lambda: self.service.cli(*arguments, **options))

    async def record(self, call_id: str) -> dict[str, Any]:
        """The call's record, once it is closed."""
        return await asking.closed(self.service, call_id)

    async def last_record(self) -> dict[str, Any]:
        """The newest call's record, once it is closed."""
        return await self.record(await asking.newest(self.service))

    def heard(self, audio: bytes) -> list[str]:
        """What somebody heard, as texts, in order; of what was cut only the words that were heard."""
        return [found.text for found in self.agent.read(bytes(audio)) if found.text]


def lines(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["speaker"], line["text"]) for line in record["transcript"]]


@asynccontextmanager
async def vendor_line(
    state_dir: Path,
    port: int,
    *,
    config: dict[str, Any] | None = None,
    replies: Any = (),
    respond: Any = None,
    transcripts: Any = (),
    inside: Sequence[str] = (),
    **twilio: Any,
) -> AsyncIterator[VendorLine]:
    """Start emulators and service; `config` is laid over the reported one, one level deep.

    `inside` is what the service's commands run inside of, see `RunningService`.
    """
    caller, agent = ClipBook(), ClipBook()
    webhook = f"http://127.0.0.1:{port}/voice/webhook"
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(
            TwilioEmulator(account_sid=SID, numbers={OURS: webhook}, recognizer=caller, clips=agent, **twilio)
        )
        openai = await stack.enter_async_context(
            OpenAIRealtimeEmulator(recognizer=None if transcripts else caller, transcripts=transcripts)
        )
        chat = await stack.enter_async_context(ChatEmulator(replies=replies, respond=respond))
        elevenlabs = await stack.enter_async_context(ElevenLabsEmulator(clips=agent, voices=[VOICE]))
        settings = json.loads(json.dumps(REPORTED))
        settings["publicUrl"] = webhook
        settings["twilio"]["apiBaseUrl"] = carrier.url
        settings["streaming"]["providers"] = {"openai": {"baseUrl": openai.url + "/v1"}}
        settings["responders"] = {"xai": {"baseUrl": chat.url + "/v1", "apiKey": "sk-emulated"}}
        settings["tts"]["providers"] = {"elevenlabs": {"baseUrl": elevenlabs.url}}
        # Scenes are many at a time; how often is dialled has tests of its own.
        settings["outbound"] |= {"dialsPerMinute": 1000, "dialsPerNumberPerHour": 1000}
        for key, value in (config or {}).items():
            below = settings.get(key)
            settings[key] = (
                {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
            )
        service = RunningService(state_dir, port=port, config=settings, inside=inside)
        line = VendorLine(service, carrier, openai, chat, elevenlabs, caller, agent)
        await asyncio.to_thread(service.__enter__)
        try:
            yield line
        finally:
            await asyncio.to_thread(service.__exit__, None, None, None)


async def placed(
    line: VendorLine, *, message: str = "Hello", mode: str = "", **options: Any
) -> tuple[dict, Call]:
    """Place a call with the command and wait until Twilio has it."""
    arguments = ["call", "--to", CALLER, "--message", message, "--detach"]
    arguments += ["--mode", mode] if mode else []
    record = (await line.cli(*arguments, **options)).json
    async with asyncio.timeout(10):
        while not line.twilio.calls:
            await asyncio.sleep(0.02)
    return record, list(line.twilio.calls.values())[-1]
