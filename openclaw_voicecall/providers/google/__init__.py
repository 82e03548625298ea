"""Google: Gemini Live, speech to speech. No SDK is needed; the socket is spoken as it is."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.realtime import RealtimeModel
    from openclaw_voicecall.api.spec import RealtimeModelSpec, Runtime
    from openclaw_voicecall.providers.google.config import GoogleRealtimeConfig


@hookimpl
def voicecall_register_realtime_models(register: "Callable[[RealtimeModelSpec], None]") -> None:
    """Add `google`: Gemini Live."""
    from openclaw_voicecall.api.spec import RealtimeModelSpec
    from openclaw_voicecall.providers.google.config import SESSION_LIMIT, GoogleRealtimeConfig, notices

    register(
        RealtimeModelSpec(
            name="google",
            config=GoogleRealtimeConfig,
            describe=lambda config: f"Google {config.model}, voice {config.voice_name}",
            notices=notices,
            session_limit=SESSION_LIMIT,
            check=_check,
            open=_open,
        )
    )


async def _check(config: "GoogleRealtimeConfig", runtime: "Runtime") -> str:
    from openclaw_voicecall.providers.google.account import account, check_account

    return await check_account(account(config), config.model)


@asynccontextmanager
async def _open(config: "GoogleRealtimeConfig", runtime: "Runtime") -> "AsyncIterator[RealtimeModel]":
    from openclaw_voicecall.providers.google.account import account
    from openclaw_voicecall.providers.google.model import GeminiLiveModel

    yield GeminiLiveModel(account(config), config, runtime.clock)
