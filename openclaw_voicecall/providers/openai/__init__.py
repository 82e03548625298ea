"""OpenAI: realtime transcription, speech, speech-to-speech, and its SIP endpoint.

The SDK is needed for speech and for SIP only, and imported when the one or the other is opened.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.carrier import Carrier, WebhookRequest
    from openclaw_voicecall.api.realtime import RealtimeModel
    from openclaw_voicecall.api.spec import (
        CarrierSpec,
        RealtimeModelSpec,
        Runtime,
        SynthesizerSpec,
        TranscriberSpec,
    )
    from openclaw_voicecall.api.speech import Synthesizer, Transcriber
    from openclaw_voicecall.providers.openai.config import OpenAISynthesizerConfig, OpenAITranscriberConfig
    from openclaw_voicecall.providers.openai.sip_config import OpenAISipConfig
    from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig

TRANSCRIBER_SECTION = "streaming.providers.openai"
SYNTHESIZER_SECTION = "tts.providers.openai"


@hookimpl
def voicecall_register_transcribers(register: "Callable[[TranscriberSpec], None]") -> None:
    """Add `openai`: realtime transcription."""
    from openclaw_voicecall.api.spec import TranscriberSpec
    from openclaw_voicecall.providers.openai.config import OpenAITranscriberConfig, transcriber_notices
    from openclaw_voicecall.providers.openai.models import has_server_vad

    register(
        TranscriberSpec(
            name="openai",
            config=OpenAITranscriberConfig,
            detects_speech=lambda config: has_server_vad(config.model),
            interims=False,
            closes_after=lambda config: (
                config.silence_duration_ms / 1000 if has_server_vad(config.model) else 0.0
            ),
            describe=lambda config: f"OpenAI {config.model}",
            notices=transcriber_notices,
            check=_check_transcriber,
            open=_open_transcriber,
        )
    )


@hookimpl
def voicecall_register_synthesizers(register: "Callable[[SynthesizerSpec], None]") -> None:
    """Add `openai`: speech over HTTP."""
    from openclaw_voicecall.api.spec import SynthesizerSpec
    from openclaw_voicecall.providers.openai.config import OpenAISynthesizerConfig, synthesizer_notices

    register(
        SynthesizerSpec(
            name="openai",
            config=OpenAISynthesizerConfig,
            describe=lambda config: f"OpenAI {config.model}, voice {config.speaker_voice}",
            notices=synthesizer_notices,
            check=_check_synthesizer,
            open=_open_synthesizer,
        )
    )


@hookimpl
def voicecall_register_realtime_models(register: "Callable[[RealtimeModelSpec], None]") -> None:
    """Add `openai`: speech to speech over a WebSocket."""
    from openclaw_voicecall.api.spec import RealtimeModelSpec
    from openclaw_voicecall.providers.openai.conversation import SESSION_LIMIT
    from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig, voice_notices

    register(
        RealtimeModelSpec(
            name="openai",
            config=OpenAIVoiceConfig,
            describe=lambda config: f"OpenAI {config.model}, voice {config.voice_name}",
            notices=voice_notices,
            session_limit=SESSION_LIMIT,
            check=_check_realtime_model,
            open=_open_realtime_model,
        )
    )


@hookimpl
def voicecall_register_carriers(register: "Callable[[CarrierSpec], None]") -> None:
    """Add `openai-sip`: calls that a SIP trunk brings to OpenAI."""
    from openclaw_voicecall.api.carrier import CarrierCapabilities
    from openclaw_voicecall.api.spec import CarrierSpec
    from openclaw_voicecall.providers.openai.sip_config import SECTION, OpenAISipConfig, sip_notices
    from openclaw_voicecall.providers.openai.sip_webhooks import SIGNATURE_HEADERS

    capabilities = CarrierCapabilities(
        media="remote",
        marks=False,
        clear=False,
        dtmf_out="none",
        transfer=True,
        transfer_proven=True,
        explicit_answer=True,
        signature_headers=SIGNATURE_HEADERS,
        webhook_types=("application/json",),
    )
    register(
        CarrierSpec(
            name=SECTION,
            config=OpenAISipConfig,
            capabilities=capabilities,
            notices=sip_notices,
            check=_check_sip,
            sign_probe=_sign_probe,
            open=_open_sip,
        )
    )


@asynccontextmanager
async def _open_transcriber(
    config: "OpenAITranscriberConfig", runtime: "Runtime"
) -> "AsyncIterator[Transcriber]":
    from openclaw_voicecall.providers.openai.account import account
    from openclaw_voicecall.providers.openai.transcriber import OpenAITranscriber

    owner = account(config.api_key, config.base_url, section=TRANSCRIBER_SECTION)
    yield OpenAITranscriber(owner, config, runtime.clock)


@asynccontextmanager
async def _open_synthesizer(
    config: "OpenAISynthesizerConfig", runtime: "Runtime"
) -> "AsyncIterator[Synthesizer]":
    from openclaw_voicecall.providers.openai.account import account

    owner = account(config.api_key, config.base_url, section=SYNTHESIZER_SECTION)
    with _sdk():
        from openclaw_voicecall.providers.openai.speech import open_synthesizer
    async with open_synthesizer(owner, config) as synthesizer:
        yield synthesizer


@asynccontextmanager
async def _open_realtime_model(
    config: "OpenAIVoiceConfig", runtime: "Runtime"
) -> "AsyncIterator[RealtimeModel]":
    from openclaw_voicecall.providers.openai.account import account
    from openclaw_voicecall.providers.openai.live_settings import is_live
    from openclaw_voicecall.providers.openai.realtime import SECTION, OpenAIRealtimeModel

    owner = account(config.api_key, config.base_url, section=SECTION)
    if not is_live(config.model):
        yield OpenAIRealtimeModel(owner, config, runtime.clock)
        return
    from openclaw_voicecall.providers.openai.live_model import GptLiveModel

    yield GptLiveModel(owner, config, runtime.clock, delegate=config.function_model)


@asynccontextmanager
async def _open_sip(config: "OpenAISipConfig", runtime: "Runtime") -> "AsyncIterator[Carrier]":
    with _sdk():
        from openclaw_voicecall.providers.openai.sip_carrier import open_openai_sip
    async with open_openai_sip(config, runtime) as carrier:
        yield carrier


async def _check_transcriber(config: "OpenAITranscriberConfig", runtime: "Runtime") -> str:
    from openclaw_voicecall.providers.openai.account import account, check_account

    return await check_account(
        account(config.api_key, config.base_url, section=TRANSCRIBER_SECTION), config.model
    )


async def _check_synthesizer(config: "OpenAISynthesizerConfig", runtime: "Runtime") -> str:
    from openclaw_voicecall.providers.openai.account import account, check_account

    return await check_account(
        account(config.api_key, config.base_url, section=SYNTHESIZER_SECTION), config.model
    )


async def _check_realtime_model(config: "OpenAIVoiceConfig", runtime: "Runtime") -> str:
    from openclaw_voicecall.providers.openai.account import account, check_account
    from openclaw_voicecall.providers.openai.realtime import SECTION

    return await check_account(account(config.api_key, config.base_url, section=SECTION), config.model)


async def _check_sip(config: "OpenAISipConfig", runtime: "Runtime") -> str:
    with _sdk():
        from openclaw_voicecall.providers.openai.sip_carrier import webhook_secret
    from openclaw_voicecall.providers.openai.account import account, check_account
    from openclaw_voicecall.providers.openai.sip_config import SECTION

    webhook_secret(config)
    return await check_account(account(config.api_key, config.base_url, section=SECTION), config.model)


def _sign_probe(config: "OpenAISipConfig", url: str) -> "WebhookRequest":
    import secrets
    import time

    from openclaw_voicecall.providers.openai.sip_webhooks import probe

    with _sdk():
        from openclaw_voicecall.providers.openai.sip_carrier import webhook_secret
    return probe(url, webhook_secret(config), nonce=secrets.token_hex(12), now=time.time())


@contextmanager
def _sdk() -> Iterator[None]:
    """Say how to install the SDK where importing it fails. Raises `EngineMissing`."""
    from openclaw_voicecall.errors import EngineMissing

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"openai", "httpx2"}:
            raise
        raise EngineMissing(
            "OpenAI's SDK is not installed; install it with `pip install 'openclaw-voicecall[openai]'`",
            vendor="openai",
            operation="open",
        ) from error
