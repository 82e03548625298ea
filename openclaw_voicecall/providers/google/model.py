"""The speech-to-speech model `google`: one socket a call, to Gemini Live."""

from contextlib import AbstractAsyncContextManager
from typing import Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.realtime import RealtimeRequest, RealtimeSession
from openclaw_voicecall.providers._http import socket_address
from openclaw_voicecall.providers._talking import READY_LIMIT, open_talk
from openclaw_voicecall.providers.google.account import VERSION, Account
from openclaw_voicecall.providers.google.config import GoogleRealtimeConfig
from openclaw_voicecall.providers.google.live_session import GeminiLiveSession

PATH: Final = f"/ws/google.ai.generativelanguage.{VERSION}.GenerativeService.BidiGenerateContent"
"""Of the socket (google-genai SDK, live.py). The key is a header, as there."""


class GeminiLiveModel:
    """Gemini Live, shared by all calls.

    Args:
        account: Whose key is used.
        config: The settings.
        clock: Monotonic time.
        ready_limit: Seconds until a session must be set up.
    """

    def __init__(
        self,
        account: Account,
        config: GoogleRealtimeConfig,
        clock: Clock,
        *,
        ready_limit: float = READY_LIMIT,
    ) -> None:
        self._account = account
        self._config = config
        self._clock = clock
        self._ready_limit = ready_limit

    def open_session(self, request: RealtimeRequest) -> AbstractAsyncContextManager[RealtimeSession]:
        """Open a session for one call. Does not wait until it is ready. Leaving it closes its socket."""
        return open_talk(
            socket_address(self._account.base_url, PATH),
            self._account.headers,
            GeminiLiveSession(self._config, request),
            self._clock,
            ready_limit=self._ready_limit,
        )
