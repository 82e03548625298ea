"""Speech in and speech out: transcribers, synthesizers, turn detectors.

All audio is raw G.711 mu-law, 8000 Hz, one channel, one byte a sample: 160 bytes are a frame of 20 ms. It is what
phone lines carry, so most vendors take and give it, and forwarding needs no recoding.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionRequest:
    """Opens one stream, for one call."""

    call_id: str
    language: str = "en"
    """BCP 47 tag of the language the caller speaks."""
    eager: bool = False
    """Whether words are wanted as soon as the caller pauses: an answer is begun with them while the call still waits
    whether the caller goes on."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Text of the utterance being heard. An interim replaces the one before; a final closes the utterance."""

    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """Voice activity began (`speaking`) or ended. `ago` is how many seconds of audio lie since then.

    `closes`, at an end, tells that the final text of the utterance follows without `finish_utterance`.
    """

    speaking: bool
    ago: float = 0.0
    closes: bool = False


SpeechEvent = Heard | SpeechEdge


class TranscriptionStream(Protocol):
    """One call's audio going in and its words coming out.

    Iterating ends when the stream is closed; it raises a `VendorError` when the vendor fails.

    A stream whose methods never wait for anything may say so with an attribute `never_waits` that is true: it is then
    told at once, where otherwise a task of the call does so.
    """

    async def send(self, audio: bytes) -> None:
        """Take the next caller audio, mu-law 8 kHz, any whole number of 20 ms frames. Never waits for the network."""
        ...

    async def speech_started(self) -> None:
        """The turn detector heard speech begin. Transcribers that detect speech themselves ignore it."""
        ...

    async def speech_stopped(self) -> None:
        """The turn detector heard speech pause. The utterance may still go on: nothing is final yet."""
        ...

    async def finish_utterance(self) -> None:
        """The turn is over: give the final text of the utterance as soon as possible, empty if there were no words."""
        ...

    def __aiter__(self) -> AsyncIterator[SpeechEvent]:
        """Interims, finals and, where the transcriber detects speech, its edges."""
        ...


class Transcriber(Protocol):
    """A speech-to-text engine or vendor, shared by all calls."""

    def open_stream(self, request: TranscriptionRequest) -> AbstractAsyncContextManager[TranscriptionStream]:
        """Open a stream for one call. Raises `VendorError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRequest:
    """One utterance to be spoken."""

    call_id: str
    text: str
    language: str = "en"
    voice: str = ""
    """Empty means the configured voice."""


class Synthesizer(Protocol):
    """A text-to-speech engine or vendor, shared by all calls."""

    def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """Yield mu-law 8 kHz audio of one utterance in pieces of any size, as it is made.

        Closing the iterator cancels the work. Raises `VendorError`; no audio at all counts as an error too.
        """
        ...


class TurnDetector(Protocol):
    """Hears one call's caller and says when speech begins and ends. Pure: counts audio, never a clock."""

    def push(self, audio: bytes) -> Sequence[SpeechEdge]:
        """Take the next mu-law 8 kHz audio and return the edges found in it, oldest first."""
        ...
