"""Fixed phrases are spoken once and kept: greetings and fillers start at once, and an apology needs no vendor."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress

from openclaw_voicecall.api.speech import SpeechRequest, Synthesizer
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.media.sentences import SentenceSplitter
from openclaw_voicecall.media.speakable import speakable

logger = logging.getLogger(__name__)

KEPT = 8 * 2**20
"""Bytes of mu-law audio that are kept for one voice: about 17 minutes."""
PIECE = 8000
"""Bytes that kept audio is given out in: a second."""


def utterances(phrases: Iterable[str], language: str) -> list[str]:
    """What the synthesizer is asked for when these phrases are said: their sentences, as they are spoken."""
    found: dict[str, None] = {}
    for phrase in phrases:
        splitter = SentenceSplitter(language=language)
        for sentence in (*splitter.push(phrase), *splitter.finish()):
            if text := speakable(sentence, language):
                found[text] = None
    return list(found)


class PhraseCache:
    """A synthesizer that makes the audio of fixed phrases once.

    Args:
        synthesizer: Makes the audio.
        phrases: Utterances worth keeping; the audio of all others is only passed on.
        language: BCP 47 tag of the phrases.
    """

    def __init__(self, synthesizer: Synthesizer, phrases: Iterable[str], language: str) -> None:
        self._synthesizer = synthesizer
        self._phrases = frozenset(phrases)
        self._language = language
        self._kept: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._size = 0

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """Yield the audio of an utterance, from the cache where it is there. Raises `VendorError`."""
        key = (request.text, request.language, request.voice)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            for at in range(0, len(kept), PIECE):
                yield kept[at : at + PIECE]
            return
        audio = bytearray()
        async with aclosing(self._synthesizer.speak(request)) as pieces:
            async for piece in pieces:
                audio += piece
                yield piece
        if audio and request.text in self._phrases:
            self._keep(key, bytes(audio))

    def kept(self, phrase: str, language: str, voice: str) -> bytes:
        """The whole audio of a phrase, or of a sentence of one; empty where not all of it is there."""
        parts = [self._kept.get((text, language, voice), b"") for text in utterances((phrase,), language)]
        return b"".join(parts) if all(parts) else b""

    def keeps(self, utterance: str, language: str, voice: str) -> bool:
        """Whether the audio of this very utterance is there."""
        return (utterance, language, voice) in self._kept

    async def warm(self) -> None:
        """Make the audio of all phrases, one after the other; the first failure ends it with a log line."""
        for text in sorted(self._phrases):
            request = SpeechRequest(call_id="", text=text, language=self._language)
            try:
                async with aclosing(self.speak(request)) as pieces:
                    async for _ in pieces:
                        pass
            except (VendorError, OSError, TimeoutError) as error:
                logger.warning("fixed phrases cannot be prepared: %s", error)
                return

    def _keep(self, key: tuple[str, str, str], audio: bytes) -> None:
        self._kept[key] = audio
        self._size += len(audio)
        while self._size > KEPT:
            self._size -= len(self._kept.popitem(last=False)[1])


class Warming:
    """Prepares phrases in the background, and stops when the service does."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, cache: PhraseCache) -> None:
        """Begin with this voice."""
        task = asyncio.create_task(cache.warm())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop."""
        for task in tuple(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
