"""The transcriber `deepgram`: a WebSocket to `/v1/listen` for each call."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import aiohttp

from openclaw_voicecall.api.speech import TranscriptionRequest, TranscriptionStream
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.providers._http import ask, base_address, failure, socket_address
from openclaw_voicecall.providers._listening import Limits, open_listening
from openclaw_voicecall.providers.deepgram import listening_protocol as protocol
from openclaw_voicecall.providers.deepgram.config import (
    DEFAULT_BASE_URL,
    SETTING,
    DeepgramTranscriberConfig,
    key_of,
    model_of,
)

CONNECT_LIMIT: Final = 8.0
"""Seconds for the handshake."""
FINISH_LIMIT: Final = 1.5
"""Seconds that an answer to `Finalize` may take; then the best interim is the final."""
KEEP_ALIVE_AFTER: Final = 4.0
"""Seconds without audio after which `KeepAlive` is sent; Deepgram closes after 10."""


class DeepgramTranscriber:
    """Speech to text by Deepgram, shared by all calls.

    Args:
        config: The account.

    Raises:
        VendorAuthError: There is no key.
        ConfigError: `baseUrl` is no address.
    """

    def __init__(self, config: DeepgramTranscriberConfig) -> None:
        self._config = config
        self._headers = _headers(config)
        self._base = _base(config)

    def open_stream(self, request: TranscriptionRequest) -> AbstractAsyncContextManager[TranscriptionStream]:
        """Open a stream for one call. It is there at once; that Deepgram refuses is raised by iterating it."""
        config = self._config
        query = protocol.query(
            model=model_of(config),
            language=config.language or protocol.language_of(request.language),
            endpointing_ms=config.endpointing_ms,
            interim_results=config.interim_results is not False,
            vad_events=config.vad_events,
        )
        return open_listening(
            socket_address(self._base, "/v1/listen", query),
            self._headers,
            protocol.DeepgramListening(edges=config.vad_events),
            Limits(ready=CONNECT_LIMIT, finish=FINISH_LIMIT, keep_alive=KEEP_ALIVE_AFTER),
            explained=_explained,
        )


async def check(config: DeepgramTranscriberConfig) -> str:
    """Ask Deepgram which projects the key belongs to.

    Raises:
        VendorError: The key is refused, or Deepgram cannot be reached.
    """
    url = _base(config) + "/v1/projects"
    return await ask(
        url, _headers(config), vendor=protocol.VENDOR, operation="list projects", read=_project_in
    )


def _project_in(answer: Any) -> str:
    projects = answer["projects"]
    return f"the key belongs to project {projects[0]['name']}" if projects else "the key has no project"


def _headers(config: DeepgramTranscriberConfig) -> dict[str, str]:
    return {"Authorization": f"Token {key_of(config)}"}


def _base(config: DeepgramTranscriberConfig) -> str:
    return base_address(config.base_url, DEFAULT_BASE_URL, setting=f"{SETTING}.baseUrl")


def _explained(error: VendorError) -> VendorError:
    """Deepgram says why it refuses a handshake in a header of its own."""
    refused = error.__cause__
    if not isinstance(refused, aiohttp.WSServerHandshakeError) or not refused.headers:
        return error
    said = refused.headers.get("dg-error")
    if not said:
        return error
    headers = {**refused.headers, "x-request-id": refused.headers.get("dg-request-id", "")}
    return failure(protocol.VENDOR, protocol.OPERATION, refused.status, said, headers=headers)
