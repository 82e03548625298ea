"""OpenAI: realtime transcription and speech.

The SDK is needed for speech only, and imported when the synthesizer is opened.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.spec import Runtime, SynthesizerSpec, TranscriberSpec
    from openclaw_voicecall.api.speech import Synthesizer, Transcriber
    from openclaw_voicecall.providers.openai.config import OpenAISynthesizerConfig, OpenAITranscriberConfig

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
    from openclaw_voicecall.errors import EngineMissing
    from openclaw_voicecall.providers.openai.account import account

    owner = account(config.api_key, config.base_url, section=SYNTHESIZER_SECTION)
    try:
        from openclaw_voicecall.providers.openai.speech import open_synthesizer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"openai", "httpx2"}:
            raise
        raise EngineMissing(
            "OpenAI's SDK is not installed; install it with `pip install 'openclaw-voicecall[openai]'`",
            vendor="openai",
            operation="open",
        ) from error
    async with open_synthesizer(owner, config) as synthesizer:
        yield synthesizer


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
