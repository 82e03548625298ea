"""Settings of the Deepgram transcriber."""

from collections.abc import Sequence

from openclaw_voicecall.config.sections_openclaw import DeepgramTranscriberKeys
from openclaw_voicecall.errors import VendorAuthError

DEFAULT_BASE_URL = "https://api.deepgram.com"
DEFAULT_MODEL = "nova-3"
SETTING = "streaming.providers.deepgram"


class DeepgramTranscriberConfig(DeepgramTranscriberKeys):
    """A Deepgram account.

    `apiKey` is needed; it is also read from `DEEPGRAM_API_KEY`. The caller's audio goes out as it comes from the
    phone line, mu-law at 8000 Hz, so `encoding` and `sampleRate` have no effect. `baseUrl` is without `/v1`.
    """

    vad_events: bool = True
    """Let Deepgram say when the caller starts and stops to speak. Without it the turn detector does."""


def model_of(config: DeepgramTranscriberConfig) -> str:
    """The model in use."""
    return config.model or DEFAULT_MODEL


def key_of(config: DeepgramTranscriberConfig) -> str:
    """The account's key.

    Raises:
        VendorAuthError: There is none.
    """
    key = config.api_key.get_secret_value().strip() if config.api_key else ""
    if not key:
        raise VendorAuthError(
            f"Deepgram needs a key: set {SETTING}.apiKey or DEEPGRAM_API_KEY",
            vendor="deepgram",
            operation="open",
        )
    return key


def notices(config: DeepgramTranscriberConfig) -> Sequence[str]:
    """What is old or odd in the settings."""
    found = []
    if config.encoding not in (None, "mulaw") or config.sample_rate not in (None, 8000):
        found.append(
            f"{SETTING}.encoding and sampleRate have no effect: "
            "Deepgram is sent the phone line's own audio, mu-law at 8000 Hz"
        )
    if model_of(config).startswith("flux"):
        found.append(
            f"{SETTING}.model: {config.model} is a Flux model, which Deepgram's /v1/listen refuses; "
            f"use {DEFAULT_MODEL}"
        )
    if config.endpointing_ms == 0:
        found.append(f"{SETTING}.endpointingMs is 0: every breath ends an utterance; 300 suits a telephone")
    if config.interim_results is False:
        found.append(
            f"{SETTING}.interimResults is false: the agent cannot be interrupted by words, "
            "and words that Deepgram does not finish in time are lost"
        )
    return found
