"""Calls whose audio OpenAI has over SIP, straight from a trunk or connected by Twilio, with strict stand-ins."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from model_line import GREETING, VOICE, ModelLine
from typed_traffic import require_typed
from vendor_line import OURS, SID

from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.openai_voice import WEBHOOK_SECRET, OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.sip_trunk import TrunkPhone
from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator
from openclaw_voicecall.testing.service import RunningService

PROJECT = "proj_emulated"


@asynccontextmanager
async def sip_line(
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
        vendor = await stack.enter_async_context(
            OpenAIVoiceEmulator(
                recognizer=caller,
                replies=replies,
                project=PROJECT,
                webhook_url=f"{webhook}/openai-sip",
                **(model or {}),
            )
        )
        carrier = await stack.enter_async_context(
            TwilioEmulator(
                account_sid=SID,
                numbers={OURS: f"{webhook}/twilio"},
                recognizer=caller,
                clips=agent,
                sip_hosts={"sip.api.openai.com": vendor.url.replace("http", "ws", 1)},
                **twilio,
            )
        )
        chat = await stack.enter_async_context(ChatEmulator(replies=consults))
        settings: dict[str, Any] = {
            "provider": "openai-sip",
            "openai-sip": {
                "apiKey": vendor.key,
                "baseUrl": vendor.url + "/v1",
                "projectId": PROJECT,
                "webhookSecret": WEBHOOK_SECRET,
                "voice": VOICE,
            },
            "twilio": {"accountSid": SID, "authToken": "emulated-token", "apiBaseUrl": carrier.url},
            "fromNumber": OURS,
            "inboundPolicy": "open",
            "inboundGreeting": GREETING,
            "publicUrl": webhook,
            "outbound": {"dialsPerMinute": 1000, "dialsPerNumberPerHour": 1000},
            "responseModel": "xai/grok-4.3",
            "responders": {"xai": {"baseUrl": chat.url + "/v1", "apiKey": "sk-emulated"}},
            "realtime": {"instructions": "You are the front office."},
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


def trunk_phone(line: ModelLine, person, *, from_number: str, to: str = OURS, **options: Any) -> TrunkPhone:
    """Somebody who calls straight over an elastic SIP trunk."""
    url = f"{line.model.url.replace('http', 'ws', 1)}/_sip/{PROJECT}"
    return TrunkPhone(url, from_number=from_number, to=f"<sip:{to}@trunk>", person=person, **options)
