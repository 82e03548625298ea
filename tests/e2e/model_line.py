"""Calls that a speech-to-speech model leads, over Twilio's media stream, with strict stand-ins for both vendors."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asking
from typed_traffic import require_typed
from vendor_line import CALLER, OURS, SID, lines

from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.service import CliResult, RunningService

VOICE = "marin"
WRONG_VOICE = "alloy"
"""The vendor's default: who hears it hears a session that was not configured."""
GREETING = "Hello, this is the front office."


@dataclass
class ModelLine:
    """A running service, its carrier and its model."""

    service: RunningService
    twilio: TwilioEmulator
    model: OpenAIVoiceEmulator
    chat: ChatEmulator
    """The agent that the model asks."""
    caller: ClipBook = field(default_factory=ClipBook)
    agent: ClipBook = field(default_factory=ClipBook)
    """What was said in the right voice."""
    wrong: ClipBook = field(default_factory=ClipBook)
    """What was said in the vendor's default voice."""

    def words(self, text: str) -> bytes:
        """Caller audio of a text, which the model will understand."""
        return self.caller.add(text, babble(text, seed="caller"))

    def will_say(self, *texts: str) -> None:
        """Texts to know again in what the caller heard, in whichever voice."""
        for text in texts:
            self.agent.add(text, babble(text, seed=VOICE))
            self.wrong.add(text, babble(text, seed=WRONG_VOICE))

    async def cli(self, *arguments: str, **options: Any) -> CliResult:
        """A command against the service, while the emulators go on."""
        return await asyncio.to_thread(lambda: self.service.cli(*arguments, **options))

    async def show(self, call_id: str) -> dict[str, Any]:
        """The call's record as it is now."""
        return await asking.show(self.service, call_id)

    async def record(self, call_id: str) -> dict[str, Any]:
        """The call's record, once it is closed."""
        return await asking.closed(self.service, call_id)

    async def last_record(self) -> dict[str, Any]:
        """The newest call's record, once it is closed."""
        return await self.record(await asking.newest(self.service))

    async def journal(self, call_id: str) -> list[dict[str, Any]]:
        """The call's journal."""
        return await asking.journal(self.service, call_id)

    def heard(self, audio: bytes) -> list[str]:
        """What somebody heard in the right voice, as texts, in order."""
        return [found.text for found in self.agent.read(bytes(audio)) if found.text]

    def heard_wrong(self, audio: bytes) -> list[str]:
        """What somebody heard in the vendor's default voice."""
        return [found.text for found in self.wrong.read(bytes(audio)) if found.text]


@asynccontextmanager
async def model_line(
    state_dir: Path,
    port: int,
    *,
    replies: Any = (),
    consults: Any = (),
    config: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **twilio: Any,
) -> AsyncIterator[ModelLine]:
    """Start emulators and service; `config` is laid over the settings, one level deep."""
    caller, agent, wrong = ClipBook(), ClipBook(), ClipBook()
    webhook = f"http://127.0.0.1:{port}/voice/webhook"
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(
            TwilioEmulator(account_sid=SID, numbers={OURS: webhook}, recognizer=caller, clips=agent, **twilio)
        )
        vendor = await stack.enter_async_context(
            OpenAIVoiceEmulator(recognizer=caller, replies=replies, **(model or {}))
        )
        chat = await stack.enter_async_context(ChatEmulator(replies=consults))
        settings: dict[str, Any] = {
            "provider": "twilio",
            "twilio": {"accountSid": SID, "authToken": "emulated-token", "apiBaseUrl": carrier.url},
            "fromNumber": OURS,
            "inboundPolicy": "open",
            "inboundGreeting": GREETING,
            "publicUrl": webhook,
            "outbound": {"dialsPerMinute": 1000, "dialsPerNumberPerHour": 1000},
            "responseModel": "xai/grok-4.3",
            "responders": {"xai": {"baseUrl": chat.url + "/v1", "apiKey": "sk-emulated"}},
            "realtime": {
                "enabled": True,
                "provider": "openai",
                "instructions": "You are the front office.",
                "providers": {
                    "openai": {"apiKey": vendor.key, "baseUrl": vendor.url + "/v1", "voice": VOICE}
                },
            },
        }
        for key, value in (config or {}).items():
            below = settings.get(key)
            settings[key] = (
                {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
            )
        service = RunningService(state_dir, port=port, config=json.loads(json.dumps(settings)))
        line = ModelLine(service, carrier, vendor, chat, caller, agent, wrong)
        line.will_say(GREETING)
        await asyncio.to_thread(service.__enter__)
        try:
            yield line
        finally:
            await asyncio.to_thread(service.__exit__, None, None, None)
        require_typed(vendor)


__all__ = ["CALLER", "GREETING", "OURS", "VOICE", "ModelLine", "lines", "model_line"]
