"""The synthesizer `openai`: speech over HTTP, turned into call audio while it arrives.

OpenAI makes no telephone audio. Asked for `pcm` it streams 24 kHz samples of 16 bits without a header (OpenAI SDK,
`types/audio/speech_create_params.py`, and OpenAI's text-to-speech guide for the rate), which are resampled here.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import openai

from openclaw_voicecall.api.speech import SpeechRequest, Synthesizer
from openclaw_voicecall.errors import VendorError, VendorTimeout, VendorUnavailable
from openclaw_voicecall.media.resample import UlawEncoder
from openclaw_voicecall.media.sentences import SentenceSplitter
from openclaw_voicecall.providers._http import failure, unreachable
from openclaw_voicecall.providers.openai.account import USER_AGENT, Account
from openclaw_voicecall.providers.openai.config import OpenAISynthesizerConfig
from openclaw_voicecall.providers.openai.models import takes_instructions
from openclaw_voicecall.providers.openai.refusals import VENDOR, without_keys

RATE: Final = 24000
"""Hz of OpenAI's PCM."""
LONGEST: Final = 4096
"""Characters of one request."""
OPERATION: Final = "speak"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds; a little less than callers wait, so that the error says what was late."""

    first_byte: float = 4.5
    """From the request to the first audio."""
    stall: float = 4.5
    """Between two pieces."""


class OpenAISynthesizer:
    """Text to speech by OpenAI, shared by all calls.

    Args:
        client: The SDK's client.
        config: The settings.
        limits: How long things may take.
    """

    def __init__(
        self, client: openai.AsyncOpenAI, config: OpenAISynthesizerConfig, limits: Limits | None = None
    ) -> None:
        self._client = client
        self._config = config
        self._limits = limits or Limits()

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """Yield mu-law 8 kHz audio as it arrives. Closing the generator closes the connection.

        Raises:
            VendorTimeout: OpenAI began too late, or paused too long.
            VendorError: OpenAI refuses, cannot be reached, or gives no audio.
        """
        encoder = UlawEncoder(RATE)
        silent = True
        for text in parts(request.text, request.language):
            async with aclosing(self._request(text, request.voice)) as chunks:
                async for chunk in chunks:
                    if audio := encoder.push(chunk):
                        silent = False
                        yield audio
        if rest := encoder.finish():
            silent = False
            yield rest
        if silent:
            raise VendorError("OpenAI gave no audio", vendor=VENDOR, operation=OPERATION)

    async def _request(self, text: str, voice: str) -> AsyncGenerator[bytes, None]:
        """PCM of one text, in pieces as they arrive."""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._limits.first_byte):
                    create = self._client.audio.speech.with_streaming_response.create(
                        **self._parameters(text, voice)
                    )
                    response = await stack.enter_async_context(create)
                    _require_audio(response.headers.get("content-type", ""))
                    chunks = await stack.enter_async_context(aclosing(_pieces(response)))
                    chunk = await anext(chunks, None)
                while chunk is not None:
                    yield chunk
                    async with asyncio.timeout(self._limits.stall):
                        chunk = await anext(chunks, None)
        except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException) as error:
            raise VendorTimeout(
                "OpenAI's speech did not come in time", vendor=VENDOR, operation=OPERATION
            ) from error
        except openai.APIStatusError as error:
            raise failure(
                VENDOR, OPERATION, error.status_code, _said(error), headers=error.response.headers
            ) from error
        except (openai.APIConnectionError, httpx2.HTTPError, OSError) as error:
            raise unreachable(VENDOR, OPERATION, error.__cause__ or error) from error
        except openai.OpenAIError as error:
            raise VendorError(without_keys(str(error)), vendor=VENDOR, operation=OPERATION) from error

    def _parameters(self, text: str, voice: str) -> dict[str, Any]:
        config = self._config
        parameters: dict[str, Any] = {
            "model": config.model,
            "voice": voice or config.speaker_voice,
            "input": text,
            "response_format": "pcm",
        }
        if config.instructions and takes_instructions(config.model):
            parameters["instructions"] = config.instructions
        if config.speed is not None:
            parameters["speed"] = config.speed
        return parameters


@asynccontextmanager
async def open_synthesizer(
    account: Account, config: OpenAISynthesizerConfig, limits: Limits | None = None
) -> AsyncIterator[Synthesizer]:
    """Open the SDK's client; connections are kept until the end."""
    async with openai.AsyncOpenAI(
        api_key=account.key.get_secret_value(),
        base_url=account.base_url,
        default_headers={"User-Agent": USER_AGENT},
        # A second attempt comes too late for a caller who waits; there are fallbacks for that.
        max_retries=0,
    ) as client:
        # The SDK takes both from the process's environment, past our configuration.
        client.organization = client.project = None
        yield OpenAISynthesizer(client, config, limits)


def parts(text: str, language: str) -> list[str]:
    """A text cut at ends of sentences into pieces that OpenAI takes; a short one stays as it is, none is empty."""
    text = text.strip()
    if len(text) <= LONGEST:
        return [text] if text else []
    splitter = SentenceSplitter(language, first_clause_words=0)
    joined: list[str] = []
    for sentence in (*splitter.push(text), *splitter.finish()):
        if joined and len(joined[-1]) + 1 + len(sentence) <= LONGEST:
            joined[-1] += f" {sentence}"
        else:
            joined.append(sentence)
    return joined


async def _pieces(response: Any) -> AsyncGenerator[bytes, None]:
    async for chunk in response.iter_bytes():
        yield chunk


def _require_audio(content_type: str) -> None:
    """Refuse documents that a proxy or gateway may give instead of audio: on the line they would be noise."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind and not kind.startswith("audio/") and kind != "application/octet-stream":
        raise VendorUnavailable(f"OpenAI gave {kind:.60}, not audio", vendor=VENDOR, operation=OPERATION)


def _said(error: openai.APIStatusError) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return without_keys(message if isinstance(message, str) else "")
