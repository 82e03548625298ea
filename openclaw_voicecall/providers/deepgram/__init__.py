"""Deepgram: streaming speech to text. No SDK is needed; the protocol is small."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.spec import Runtime, TranscriberSpec
    from openclaw_voicecall.api.speech import Transcriber
    from openclaw_voicecall.providers.deepgram.config import DeepgramTranscriberConfig


@hookimpl
def voicecall_register_transcribers(register: "Callable[[TranscriberSpec], None]") -> None:
    """Register the transcriber `deepgram`."""
    from openclaw_voicecall.api.spec import TranscriberSpec
    from openclaw_voicecall.providers.deepgram.config import DeepgramTranscriberConfig, notices

    register(
        TranscriberSpec(
            name="deepgram",
            config=DeepgramTranscriberConfig,
            detects_speech=lambda config: config.vad_events,
            describe=_describe,
            notices=notices,
            check=_check,
            open=_open,
        )
    )


def _describe(config: "DeepgramTranscriberConfig") -> str:
    from openclaw_voicecall.providers.deepgram.config import model_of

    return f"Deepgram {model_of(config)}"


async def _check(config: "DeepgramTranscriberConfig", runtime: "Runtime") -> str:
    from openclaw_voicecall.providers.deepgram.transcriber import check

    return await check(config)


@asynccontextmanager
async def _open(config: "DeepgramTranscriberConfig", runtime: "Runtime") -> "AsyncIterator[Transcriber]":
    from openclaw_voicecall.providers.deepgram.transcriber import DeepgramTranscriber

    yield DeepgramTranscriber(config)
