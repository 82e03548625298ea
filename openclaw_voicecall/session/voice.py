"""Makes the audio of utterances: asks the synthesizers of a call, best first, until one can be heard.

Nobody has to report that a synthesizer fails. One that is slow, gives silence, or gives less sound than passes in the
same time is found out here, and the next one is asked, unless the caller has heard the beginning already.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.speech import SpeechRequest, Synthesizer
from openclaw_voicecall.errors import VendorTimeout
from openclaw_voicecall.media.audio import SAMPLE_RATE
from openclaw_voicecall.session.chain import Link, Rotation, why_failed
from openclaw_voicecall.session.clips import KeepsPhrases
from openclaw_voicecall.session.deadline import Deadline
from openclaw_voicecall.session.delivery import Delivery
from openclaw_voicecall.session.readahead import ReadAhead

PREPARED: Final = 12 * SAMPLE_RATE
"""Bytes of an utterance that are made before it is known whether it will be spoken: 12 s."""
STALL_LIMIT: Final = 4.0
"""Seconds between two pieces of one utterance."""
STARVED_LIMIT: Final = 2.0
"""Seconds for which the caller may hear nothing in the middle of one utterance, because the rest of it is late."""
RETRY_WITHIN: Final = 1.0
"""Seconds within which a failure has cost so little that the same synthesizer is asked once more."""
AMPLE: Final = 1.5
"""Seconds of audio in hand, with which nothing is gained by taking every piece as it comes."""
GATHER: Final = 0.1
"""Seconds for which pieces are left to gather then. Vendors speak five or ten times as fast as anybody hears."""
LOOK_EVERY: Final = 0.25
"""Seconds between two looks at a synthesizer that is at work."""


@dataclass(frozen=True, slots=True)
class Order:
    """An utterance that is to be spoken."""

    turn: int
    utterance: int
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an utterance."""

    done: bool
    began: bool = False
    """Whether a part of it was played before it failed."""
    detail: str = ""
    """Why it failed, by synthesizer."""


@dataclass(frozen=True, slots=True)
class Ear:
    """What the maker of an utterance is told of the line."""

    push: Callable[[bytes], None]
    """Takes audio to be played."""
    starved: Callable[[], float]
    """Seconds for which the caller has heard nothing in the middle of the utterance."""
    ahead: Callable[[], float] = float
    """Seconds of audio that are there and were not played yet."""


class MakesSpeech(Protocol):
    """Whatever gives the agent's utterances their sound."""

    def give_up(self, why: str) -> bool:
        """Wait no longer for what is at work; false when nothing is."""
        ...

    async def make(self, order: Order, deadline: Deadline, ear: Ear) -> Outcome:
        """Speak one utterance. What was played of it is never played again."""
        ...


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An utterance that is made before it is ordered. It stands in for its synthesizer."""

    link: Link[Synthesizer]
    request: SpeechRequest
    audio: ReadAhead[bytes]

    def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """What was made, at once, and the rest as it comes."""
        return self.audio.take()


class Voice:
    """The synthesizers of one call.

    Args:
        call_id: Goes into the requests.
        rotation: The synthesizer and its fallbacks.
        note: Takes a journal word of the shell and its data.
        clock: Monotonic time.
        language: BCP 47 tag.
        voice: Empty for the configured one.
    """

    def __init__(
        self,
        *,
        call_id: str,
        rotation: Rotation[Synthesizer],
        note: Callable[[str, dict[str, Any]], None],
        clock: Clock,
        language: str,
        voice: str,
    ) -> None:
        self._call_id = call_id
        self._rotation = rotation
        self._note = note
        self._clock = clock
        self._language = language
        self._voice = voice
        self._prepared: _Prepared | None = None
        self._asked: Link[Synthesizer] | None = None
        self._given_up = ""

    def give_up(self, why: str) -> bool:
        """Wait no longer for the synthesizer that is at work; false when none is."""
        if self._asked is None:
            return False
        self._given_up = why
        return True

    def prepare(self, text: str) -> ReadAhead[bytes] | None:
        """Make the audio of an utterance that may be ordered soon. What fails here is asked for again then."""
        if self._prepared is not None:
            self._prepared.audio.drop()
        link, request = self._rotation.first(), self._request(text)
        if link is None:
            self._prepared = None
            return None
        audio = ReadAhead(link.provider.speak(request), most=PREPARED, size=len)
        self._prepared = _Prepared(link, request, audio)
        return audio

    async def make(self, order: Order, deadline: Deadline, ear: Ear) -> Outcome:
        """Speak one utterance. What was played of it is never played again, so that one that breaks off is over."""
        failures: list[str] = []
        links, prepared = self._rotation.order(), self._take_prepared(order.text)
        for index, link in enumerate(links):
            following = links[index + 1].name if index + 1 < len(links) else ""
            for may_retry in (True, False):
                asked = self._clock.monotonic()
                limit = deadline.voice_limit(asked, first=not index, left=len(links) - index)
                attempt = _Attempt(self._clock, order.text, limit, ear)
                ready = prepared if prepared is not None and prepared.link is link else None
                prepared = None
                error = await self._ask(link, attempt, ready)
                if error is None:
                    return Outcome(True)
                began = attempt.delivery.audible
                quick = self._clock.monotonic() - asked <= RETRY_WITHIN
                again = may_retry and quick and not began and getattr(error, "retryable", False)
                instead = f"{following} speaks instead" if following and not began else "given up"
                failures.append(self._failed(link, error, "asked again" if again else instead))
                if began:
                    return Outcome(False, True, "; ".join(failures))
                if not again:
                    break
        return Outcome(False, detail="; ".join(failures))

    def _failed(self, link: Link[Synthesizer], error: Exception, action: str) -> str:
        """Write down that a synthesizer has failed; returns it in a sentence."""
        detail = why_failed(error)
        self._rotation.failed(link)
        data = {"hop": "synthesizer", "provider": link.name, "detail": detail, "action": action}
        self._note("vendor-failed", data)
        return f"{link.name}: {detail}"

    def _request(self, text: str) -> SpeechRequest:
        return SpeechRequest(call_id=self._call_id, text=text, language=self._language, voice=self._voice)

    def _take_prepared(self, text: str) -> _Prepared | None:
        """What was made ahead of this utterance, if it is of any use."""
        prepared = self._prepared
        if prepared is None or prepared.request.text != text:
            return None
        self._prepared = None
        if prepared.audio.is_useful and prepared.link is self._rotation.first():
            return prepared
        prepared.audio.drop()
        return None

    async def _ask(
        self, link: Link[Synthesizer], attempt: "_Attempt", prepared: _Prepared | None
    ) -> Exception | None:
        """Let one synthesizer speak, or go on with what it has prepared; returns why it could not."""
        kept = isinstance(link.provider, KeepsPhrases) and link.provider.keeps(
            attempt.text, self._language, self._voice
        )
        speaker = link.provider if prepared is None else prepared
        reading = asyncio.create_task(attempt.read(speaker, self._request(attempt.text)))
        self._asked, self._given_up = link, ""
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=attempt.next_look())
                if not reading.done():
                    attempt.look()
                    if self._given_up:
                        raise VendorTimeout(self._given_up, operation="speak")
            reading.result()
        except Exception as error:  # a plugin's bug must not leave the caller in silence either
            return error
        finally:
            self._asked = None
            reading.cancel()
            await asyncio.wait({reading})
        if not kept:  # what was kept says nothing about the vendor
            self._rotation.worked(link)
        return None


class _Attempt:
    """One utterance by one synthesizer, and its limits."""

    def __init__(self, clock: Clock, text: str, limit: float, ear: Ear) -> None:
        self.text = text
        self.delivery = Delivery(text)
        self._clock = clock
        self._limit = limit
        self._ear = ear
        self._asked = self._last = clock.monotonic()

    async def read(self, synthesizer: Synthesizer, request: SpeechRequest) -> None:
        """Take what it gives. Raises `VendorError`."""
        async with aclosing(synthesizer.speak(request)) as pieces:
            async for audio in pieces:
                self._last = self._clock.monotonic()
                if out := self.delivery.take(audio):
                    self._ear.push(out)
                if self.delivery.complete:
                    return
                if self._ear.ahead() > AMPLE:
                    await asyncio.sleep(GATHER)
        if rest := self.delivery.end():
            self._ear.push(rest)

    def next_look(self) -> float:
        """Seconds until something may have gone wrong."""
        return max(0.01, min(LOOK_EVERY, self._overdue_at() - self._clock.monotonic()))

    def look(self) -> None:
        """Raises `VendorTimeout` when it is too slow."""
        if self._clock.monotonic() >= self._overdue_at():
            raise VendorTimeout("no audio in time", operation="speak")
        if self._ear.starved() > STARVED_LIMIT:
            raise VendorTimeout("the audio comes slower than it is heard", operation="speak")

    def _overdue_at(self) -> float:
        return self._last + STALL_LIMIT if self.delivery.audible else self._asked + self._limit
