"""The realtime model `openai`: speech to speech over a WebSocket, mu-law in both directions."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.realtime import RealtimeRequest, RealtimeSession
from openclaw_voicecall.providers._http import socket_address
from openclaw_voicecall.providers._socket import VendorSocket, open_socket
from openclaw_voicecall.providers.openai.account import Account
from openclaw_voicecall.providers.openai.conversation import TALK, VoiceSession
from openclaw_voicecall.providers.openai.refusals import VENDOR
from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig
from openclaw_voicecall.providers.openai.voice_line import VoiceLimits, open_voice
from openclaw_voicecall.providers.openai.voice_settings import require_sound, voice_settings

SECTION: Final = "realtime.providers.openai"


class OpenAIRealtimeModel:
    """Speech to speech by OpenAI, shared by all calls.

    Args:
        account: Whose key is used.
        config: The settings.
        clock: Monotonic time.
        limits: How long things may take.
    """

    def __init__(
        self, account: Account, config: OpenAIVoiceConfig, clock: Clock, limits: VoiceLimits | None = None
    ) -> None:
        self._account = account
        self._config = config
        self._clock = clock
        self._limits = limits or VoiceLimits()

    def open_session(self, request: RealtimeRequest) -> AbstractAsyncContextManager[RealtimeSession]:
        """Open a session for one call. Iterating raises `VendorRejected` where the request cannot be granted."""
        settings = voice_settings(self._config, request)

        @asynccontextmanager
        async def connect() -> AsyncIterator[VendorSocket]:
            require_sound(settings)
            async with open_socket(
                socket_address(self._account.base_url, "/realtime", {"model": settings.model}),
                vendor=VENDOR,
                operation=TALK,
                headers=self._account.headers,
                timeout=self._limits.ready * 2,
            ) as socket:
                yield socket

        return open_voice(VoiceSession(settings, self._clock), connect, self._limits)
