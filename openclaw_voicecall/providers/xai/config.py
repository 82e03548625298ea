"""Settings of the xAI transcriber."""

from collections.abc import Sequence

from openclaw_voicecall.config.sections_openclaw import XaiTranscriberKeys
from openclaw_voicecall.errors import VendorAuthError

DEFAULT_BASE_URL = "https://api.x.ai/v1"
SETTING = "streaming.providers.xai"
LONGEST_ENDPOINTING_MS = 5000


class XaiTranscriberConfig(XaiTranscriberKeys):
    """An xAI account.

    `apiKey` is needed; it is also read from `XAI_API_KEY`. The caller's audio goes out as it comes from the phone
    line, mu-law at 8000 Hz, so `encoding` and `sampleRate` have no effect. Without `model` xAI takes its own default.
    """


def key_of(config: XaiTranscriberConfig) -> str:
    """The account's key.

    Raises:
        VendorAuthError: There is none.
    """
    key = config.api_key.get_secret_value().strip() if config.api_key else ""
    if not key:
        raise VendorAuthError(
            f"xAI needs a key: set {SETTING}.apiKey or XAI_API_KEY", vendor="xai", operation="open"
        )
    return key


def notices(config: XaiTranscriberConfig) -> Sequence[str]:
    """What is old or odd in the settings."""
    found = []
    if config.encoding not in (None, "mulaw") or config.sample_rate not in (None, 8000):
        found.append(
            f"{SETTING}.encoding and sampleRate have no effect: "
            "xAI is sent the phone line's own audio, mu-law at 8000 Hz"
        )
    if config.endpointing_ms is not None and config.endpointing_ms > LONGEST_ENDPOINTING_MS:
        found.append(
            f"{SETTING}.endpointingMs: xAI takes no more than {LONGEST_ENDPOINTING_MS}, which is used"
        )
    if config.endpointing_ms is not None and config.endpointing_ms < 100:
        found.append(
            f"{SETTING}.endpointingMs is {config.endpointing_ms}: every breath ends an utterance; "
            "400 suits a telephone"
        )
    if config.interim_results is False:
        found.append(
            f"{SETTING}.interimResults is false: the agent cannot be interrupted by words, "
            "and words that xAI does not finish in time are lost"
        )
    return found
