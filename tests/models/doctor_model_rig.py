"""Doctor over emulated vendors where a speech-to-speech model leads the calls: over Twilio's streams, or over SIP."""

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from doctor_rig import PHRASE, Proxy, Ward
from vendor_line import OURS, SID

from openclaw_voicecall.checks.words import PHRASES
from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.openai_voice import WEBHOOK_SECRET, OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator
from openclaw_voicecall.testing.emulators.voices import babble

VOICE = "cedar"


@dataclass(kw_only=True)
class ModelWard(Ward):
    """The same with a model; it has no transcriber and no synthesizer of its own."""

    book: ClipBook

    @property
    def vendor(self) -> OpenAIVoiceEmulator:
        return self.openai

    @property
    def model_settings(self):
        """The section of the model."""
        return self.config.get("openai-sip") or self.config["realtime"]["providers"]["openai"]


@asynccontextmanager
async def model_ward(state_dir, port, *, sip=False):
    """Emulators of all vendors, a proxy, and a configuration over them with a model that leads the calls."""
    book = ClipBook()
    for phrase in (PHRASE, PHRASES["en"]):
        book.add(phrase, babble(phrase, seed=VOICE))
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        proxy = await enter(Proxy(port))
        webhook = f"{proxy.url}/voice/webhook"
        twilio = await enter(
            TwilioEmulator(account_sid=SID, numbers={OURS: f"{webhook}/twilio" if sip else webhook})
        )
        vendor = await enter(OpenAIVoiceEmulator(recognizer=book))
        talk = await enter(ChatEmulator(respond=lambda messages, body: "Yes, I can."))
        account = {"apiKey": vendor.key, "baseUrl": f"{vendor.url}/v1", "voice": VOICE}
        config = {
            "provider": "openai-sip" if sip else "twilio",
            "twilio": {"accountSid": SID, "authToken": "emulated-token", "apiBaseUrl": twilio.url},
            "fromNumber": OURS,
            "inboundPolicy": "open",
            "inboundGreeting": "Hello, this is the front office.",
            "publicUrl": webhook,
            "serve": {"port": port},
            "responseModel": "xai/grok-4.3",
            "responders": {"xai": {"baseUrl": f"{talk.url}/v1", "apiKey": "sk-emulated"}},
            "realtime": {"instructions": "You are the front office."},
        }
        if sip:
            config["openai-sip"] = {
                **account,
                "projectId": vendor.project,
                "webhookSecret": WEBHOOK_SECRET,
            }
        else:
            config["realtime"] |= {"enabled": True, "providers": {"openai": account}}
        yield ModelWard(twilio, vendor, talk, None, proxy, config, state_dir, book=book)
