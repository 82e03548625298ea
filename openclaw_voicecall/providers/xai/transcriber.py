"""The transcriber `xai`: a WebSocket to `/v1/stt` for each call."""

from contextlib import AbstractAsyncContextManager
from typing import Final

from openclaw_voicecall.api.speech import TranscriptionRequest, TranscriptionStream
from openclaw_voicecall.providers._http import ask, base_address, socket_address
from openclaw_voicecall.providers._listening import Limits, open_listening
from openclaw_voicecall.providers.xai import listening_protocol as protocol
from openclaw_voicecall.providers.xai.config import (
    DEFAULT_BASE_URL,
    LONGEST_ENDPOINTING_MS,
    SETTING,
    XaiTranscriberConfig,
    key_of,
)

READY_LIMIT: Final = 8.0
"""Seconds until `transcript.created`."""
FINISH_LIMIT: Final = 1.5
"""Seconds that an answer to `finalize` may take; then the best interim is the final."""
KEEP_ALIVE_AFTER: Final = 4.0
"""Seconds without audio after which a little silence is sent."""
ERROR_LIMIT: Final = 3.0
"""Seconds in which xAI must show that it goes on, once it has reported an error."""


class XaiTranscriber:
    """Speech to text by xAI, shared by all calls.

    Args:
        config: The account.

    Raises:
        VendorAuthError: There is no key.
        ConfigError: `baseUrl` is no address.
    """

    def __init__(self, config: XaiTranscriberConfig) -> None:
        self._config = config
        self._headers = _headers(config)
        self._base = _base(config)

    def open_stream(self, request: TranscriptionRequest) -> AbstractAsyncContextManager[TranscriptionStream]:
        """Open a stream for one call. It is there at once; that xAI refuses is raised by iterating it."""
        config = self._config
        endpointing = config.endpointing_ms
        query = protocol.query(
            model=config.model,
            language=config.language or protocol.language_of(request.language),
            endpointing_ms=None if endpointing is None else min(endpointing, LONGEST_ENDPOINTING_MS),
            interim_results=config.interim_results is not False,
        )
        return open_listening(
            socket_address(self._base, "/stt", query),
            self._headers,
            protocol.XaiListening(),
            Limits(
                ready=READY_LIMIT, finish=FINISH_LIMIT, keep_alive=KEEP_ALIVE_AFTER, complaint=ERROR_LIMIT
            ),
        )


async def check(config: XaiTranscriberConfig) -> str:
    """Ask xAI which models the key may use.

    Raises:
        VendorError: The key is refused, or xAI cannot be reached.
    """
    return await ask(
        _base(config) + "/models",
        _headers(config),
        vendor=protocol.VENDOR,
        operation="list models",
        read=lambda answer: f"the key may use {len(answer['data'])} models",
    )


def _headers(config: XaiTranscriberConfig) -> dict[str, str]:
    return {"Authorization": f"Bearer {key_of(config)}"}


def _base(config: XaiTranscriberConfig) -> str:
    return base_address(config.base_url, DEFAULT_BASE_URL, setting=f"{SETTING}.baseUrl")
