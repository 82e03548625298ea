"""ElevenLabs speech over HTTP: one streamed request an utterance, on connections that stay open.

`POST /v1/text-to-speech/{voice}/stream?output_format=ulaw_8000` answers with raw mu-law at 8000 Hz, which goes to the
line as it is (SDK, text_to_speech/raw_client.py).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from openclaw_voicecall.api.speech import SpeechRequest
from openclaw_voicecall.errors import VendorError, VendorTimeout, VendorUnavailable
from openclaw_voicecall.providers._http import unreachable
from openclaw_voicecall.providers.elevenlabs.account import (
    VENDOR,
    Account,
    open_session,
    refused,
    voice_path,
)
from openclaw_voicecall.providers.elevenlabs.config import ElevenLabsSpeechConfig

OPERATION = "speak"
NOT_RAW = ("application/json", "text/", "audio/mpeg", "audio/wav", "audio/x-wav", "audio/ogg")
"""Kinds of answer that would be noise on the line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait, in seconds; a call asks another synthesizer after 5 s of silence."""

    connect: float = 2.5
    first: float = 4.5
    """To the first audio of an utterance, connecting included."""
    stall: float = 4.5
    """Between two pieces of audio."""


@asynccontextmanager
async def open_speech(
    config: ElevenLabsSpeechConfig, who: Account, *, limits: Limits | None = None
) -> AsyncIterator["HttpSpeech"]:
    """Open the synthesizer; its connections are closed at the end."""
    limits = limits or Limits()
    async with open_session(connect=limits.connect) as session:
        yield HttpSpeech(config, who, session, limits)


class HttpSpeech:
    """Text to speech, shared by all calls.

    Args:
        config: Voice, model and their tuning.
        who: The account.
        session: Keeps connections between utterances.
        limits: How long to wait.
    """

    def __init__(
        self, config: ElevenLabsSpeechConfig, who: Account, session: aiohttp.ClientSession, limits: Limits
    ) -> None:
        self._config = config
        self._who = who
        self._session = session
        self._limits = limits

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """Yield mu-law 8 kHz audio as it arrives. Closing the iterator cancels the request. Raises `VendorError`."""
        deadline = asyncio.get_running_loop().time() + self._limits.first
        response = await self._ask(request, deadline)
        heard = False
        try:
            while piece := await self._read(response, deadline, heard=heard):
                heard = True
                yield piece
                deadline = asyncio.get_running_loop().time() + self._limits.stall
        finally:
            # A connection with audio on its way cannot be used again: closing it is what cancels the request.
            response.close()
        if not heard:
            raise _failed("ElevenLabs sent no audio")

    async def _ask(self, request: SpeechRequest, deadline: float) -> aiohttp.ClientResponse:
        """Send the request, once more where a kept connection turns out to be closed: nothing was heard yet."""
        try:
            async with asyncio.timeout_at(deadline):
                try:
                    response = await self._post(request)
                except aiohttp.ClientConnectorError:
                    raise
                except (
                    aiohttp.ServerDisconnectedError,
                    aiohttp.ClientConnectionResetError,
                    aiohttp.ClientOSError,
                ):
                    response = await self._post(request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(VENDOR, OPERATION, error) from error
        try:
            if response.status != 200:
                async with asyncio.timeout_at(deadline):
                    raise await refused(self._who, OPERATION, response)
            if response.content_type.startswith(NOT_RAW):
                raise _failed(f"ElevenLabs answered with {response.content_type:.60}, not with raw audio")
        except BaseException as error:
            response.close()
            if isinstance(error, TimeoutError):
                raise unreachable(VENDOR, OPERATION, error) from error
            raise
        return response

    async def _post(self, request: SpeechRequest) -> aiohttp.ClientResponse:
        voice = voice_path(request.voice or self._config.voice)
        return await self._session.post(
            f"{self._who.base}/v1/text-to-speech/{voice}/stream",
            params={"output_format": "ulaw_8000"},
            json=_body(self._config, request),
            headers=self._who.headers,
            allow_redirects=False,
        )

    async def _read(self, response: aiohttp.ClientResponse, deadline: float, *, heard: bool) -> bytes:
        """The next piece of audio; empty at its end."""
        try:
            async with asyncio.timeout_at(deadline):
                return await response.content.readany()
        except TimeoutError as error:
            what = "stopped in the middle of an utterance" if heard else "sent no audio in time"
            raise VendorTimeout(f"ElevenLabs {what}", vendor=VENDOR, operation=OPERATION) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _failed(f"the audio of an utterance broke off: {error or type(error).__name__}") from error


def _body(config: ElevenLabsSpeechConfig, request: SpeechRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"text": request.text, "model_id": config.model}
    if voice_settings := config.voice_body():
        body["voice_settings"] = voice_settings
    if language := config.language_for(request.language):
        body["language_code"] = language
    if config.seed is not None:
        body["seed"] = config.seed
    if config.apply_text_normalization:
        body["apply_text_normalization"] = config.apply_text_normalization
    return body


def _failed(why: str) -> VendorError:
    return VendorUnavailable(why, vendor=VENDOR, operation=OPERATION)
