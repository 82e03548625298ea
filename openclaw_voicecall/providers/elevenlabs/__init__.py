"""ElevenLabs: a synthesizer over HTTP or WebSocket, and Scribe, its realtime transcriber.

Everything goes through aiohttp; the vendor's SDK is not needed. Importing this connects to nothing.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.spec import Runtime, SynthesizerSpec, TranscriberSpec
from openclaw_voicecall.api.speech import Synthesizer, Transcriber
from openclaw_voicecall.providers.elevenlabs.config import (
    SCRIBE_SETTINGS,
    SPEECH_SETTINGS,
    ElevenLabsScribeConfig,
    ElevenLabsSpeechConfig,
    describe_scribe,
    describe_speech,
    scribe_notices,
    speech_notices,
)


@hookimpl
def voicecall_register_synthesizers(register: Callable[[SynthesizerSpec], None]) -> None:
    """Add the synthesizer `elevenlabs`."""
    register(
        SynthesizerSpec(
            name="elevenlabs",
            config=ElevenLabsSpeechConfig,
            describe=describe_speech,
            notices=speech_notices,
            check=_check_speech,
            open=_open_speech,
        )
    )


@hookimpl
def voicecall_register_transcribers(register: Callable[[TranscriberSpec], None]) -> None:
    """Add the transcriber `elevenlabs`: Scribe. It reports words only, so a turn detector runs beside it."""
    register(
        TranscriberSpec(
            name="elevenlabs",
            config=ElevenLabsScribeConfig,
            describe=describe_scribe,
            notices=scribe_notices,
            check=_check_scribe,
            open=_open_scribe,
        )
    )


@asynccontextmanager
async def _open_speech(config: ElevenLabsSpeechConfig, runtime: Runtime) -> AsyncIterator[Synthesizer]:
    from openclaw_voicecall.providers.elevenlabs.account import account
    from openclaw_voicecall.providers.elevenlabs.speech import open_speech
    from openclaw_voicecall.providers.elevenlabs.speech_socket import open_socket_speech

    who = account(config.api_key, config.base_url, settings=SPEECH_SETTINGS)
    opening = open_socket_speech if config.uses_socket else open_speech
    async with opening(config, who) as synthesizer:
        yield synthesizer


@asynccontextmanager
async def _open_scribe(config: ElevenLabsScribeConfig, runtime: Runtime) -> AsyncIterator[Transcriber]:
    from openclaw_voicecall.providers.elevenlabs.account import account
    from openclaw_voicecall.providers.elevenlabs.transcriber import ScribeTranscriber

    yield ScribeTranscriber(config, account(config.api_key, config.base_url, settings=SCRIBE_SETTINGS))


async def _check_speech(config: ElevenLabsSpeechConfig, runtime: Runtime) -> str:
    from openclaw_voicecall.providers.elevenlabs.account import account, check_voice

    who = account(config.api_key, config.base_url, settings=SPEECH_SETTINGS)
    return await check_voice(who, config.voice)


async def _check_scribe(config: ElevenLabsScribeConfig, runtime: Runtime) -> str:
    from openclaw_voicecall.providers.elevenlabs.account import account, check_subscription

    return await check_subscription(account(config.api_key, config.base_url, settings=SCRIBE_SETTINGS))
