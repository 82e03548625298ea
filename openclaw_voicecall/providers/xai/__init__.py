"""xAI: streaming speech to text. No SDK is needed; the protocol is small."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.spec import Runtime, TranscriberSpec
    from openclaw_voicecall.api.speech import Transcriber
    from openclaw_voicecall.providers.xai.config import XaiTranscriberConfig


@hookimpl
def voicecall_register_transcribers(register: "Callable[[TranscriberSpec], None]") -> None:
    """Register the transcriber `xai`."""
    from openclaw_voicecall.api.spec import TranscriberSpec
    from openclaw_voicecall.providers.xai.config import XaiTranscriberConfig, notices

    register(
        TranscriberSpec(
            name="xai",
            config=XaiTranscriberConfig,
            describe=_describe,
            notices=notices,
            check=_check,
            open=_open,
        )
    )


def _describe(config: "XaiTranscriberConfig") -> str:
    return f"xAI {config.model or 'speech to text'}"


async def _check(config: "XaiTranscriberConfig", runtime: "Runtime") -> str:
    from openclaw_voicecall.providers.xai.transcriber import check

    return await check(config)


@asynccontextmanager
async def _open(config: "XaiTranscriberConfig", runtime: "Runtime") -> "AsyncIterator[Transcriber]":
    from openclaw_voicecall.providers.xai.transcriber import XaiTranscriber

    yield XaiTranscriber(config)
