"""GPT-Live as a speech-to-speech model: one socket a call, to `/v1/live/sessions`."""

import json
from contextlib import AbstractAsyncContextManager

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.realtime import RealtimeRequest, RealtimeSession
from openclaw_voicecall.providers._http import socket_address
from openclaw_voicecall.providers._talking import READY_LIMIT, open_talk
from openclaw_voicecall.providers.openai.account import Account
from openclaw_voicecall.providers.openai.live_session import GptLiveSession
from openclaw_voicecall.providers.openai.live_settings import (
    DEFAULT_DELEGATE,
    DEFAULT_PAUSES,
    PATH,
    Granted,
    LiveConfig,
    Pauses,
    session_start,
    voice_of,
)


class GptLiveModel:
    """GPT-Live, shared by all calls.

    Args:
        account: Whose key is used.
        config: The settings: model and voice.
        clock: The time.
        delegate: The model that calls functions for the voice.
        pauses: What counts as the end of a reply, and of the caller's words.
        ready_limit: Seconds until a session must be started.
    """

    def __init__(
        self,
        account: Account,
        config: LiveConfig,
        clock: Clock,
        *,
        delegate: str = DEFAULT_DELEGATE,
        pauses: Pauses = DEFAULT_PAUSES,
        ready_limit: float = READY_LIMIT,
    ) -> None:
        self._account = account
        self._config = config
        self._clock = clock
        self._delegate = delegate
        self._pauses = pauses
        self._ready_limit = ready_limit

    def open_session(self, request: RealtimeRequest) -> AbstractAsyncContextManager[RealtimeSession]:
        """Open a session for one call. Does not wait until it is ready. Leaving it closes it and its socket."""
        start = session_start(self._config, request, delegate=self._delegate)
        granted = Granted("audio/pcmu", voice_of(self._config, request))
        return open_talk(
            socket_address(self._account.base_url, PATH),
            self._account.headers,
            GptLiveSession(json.dumps(start), granted, self._clock, self._pauses),
            self._clock,
            ready_limit=self._ready_limit,
        )
