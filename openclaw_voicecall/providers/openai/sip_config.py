"""Settings of the carrier that is OpenAI's SIP endpoint. Importing this module loads no SDK."""

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from openclaw_voicecall.config.fields import wrong
from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig, voice_notices

SECTION = "openai-sip"
HOST = "sip.api.openai.com"


def _project(text: str) -> str:
    if not re.fullmatch(r"proj_[A-Za-z0-9_-]{1,100}", text):
        raise wrong("expected the id of a project of OpenAI, such as proj_0123456789abcdef")
    return text


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?", text):
        raise wrong(f"expected a host name, such as {HOST}")
    return text


class OpenAISipConfig(OpenAIVoiceConfig):
    """Calls whose audio a SIP trunk brings to OpenAI directly, with the speech model that talks on them.

    `apiKey` and `webhookSecret` are needed; they are also read from `OPENAI_API_KEY` and `OPENAI_WEBHOOK_SECRET`.
    """

    webhook_secret: SecretStr | None = None
    """Secret of the webhook for `realtime.call.incoming`, `whsec_...`. Filled from `OPENAI_WEBHOOK_SECRET`."""
    project_id: Annotated[str, AfterValidator(_project)] | None = None
    """Project that owns the webhook, `proj_...`: where a trunk has to send its calls. Needed for calls that we
    place."""
    sip_host: Annotated[str, AfterValidator(_host)] = HOST
    """Host of the SIP endpoint; `sip-eu.api.openai.com` for projects whose data stay in Europe."""
    trunk: str = "twilio"
    """Name of the carrier that places our calls and connects them to OpenAI. Empty where calls only come in, straight
    from a SIP trunk."""


def sip_notices(config: OpenAISipConfig) -> list[str]:
    """What the owner should know about these settings, a sentence each."""
    notices = voice_notices(config)
    if config.project_id is None:
        notices.append("without openai-sip.projectId no call can be placed over OpenAI's SIP endpoint")
    return notices
