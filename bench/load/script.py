"""What callers do, what vendors take their time for, and what every figure counts from."""

import re
from dataclasses import dataclass, field

REFERENCE = re.compile(r"\bc(\d+)t(\d+)\b")
"""Call and turn in words: transcripts carry it, the model repeats it, so that whatever is lost or mixed up shows."""
TOKENS = re.compile(r"\s*\S+")


def reference(number: tuple[int, int]) -> str:
    """A call and its turn as a word."""
    return f"c{number[0]}t{number[1]}"


def references_in(text: str) -> list[tuple[int, int]]:
    """All such words of a text, in order."""
    return [(int(call), int(turn)) for call, turn in REFERENCE.findall(text)]


def reference_in(text: str) -> tuple[int, int] | None:
    """The last of them."""
    found = references_in(text)
    return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class Latencies:
    """What the vendors take, in milliseconds."""

    speech_start: int = 100
    """Sound that the transcriber takes for speech."""
    silence: int = 500
    """Silence that ends an utterance; asked for by the service."""
    transcript: int = 150
    """From the end of the utterance to its words."""
    first_token: int = 150
    token: int = 20
    first_audio: int = 80
    audio_speed: float = 10.0
    """How much faster than it plays audio is made."""

    def turn(self, reply: str) -> int:
        """From the caller's last sound to the first sound of a reply, with nothing added: the sum of the vendors."""
        sentence = re.match(r".*?[.?!](?=\s|$)", reply)
        tokens = len(TOKENS.findall(sentence.group() if sentence else reply))
        return (
            self.silence + self.transcript + self.first_token + self.token * (tokens - 1) + self.first_audio
        )


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in a call. Times in milliseconds."""

    question: str = "I would like to book a table for {reference} this evening please"
    reply: str = "Okay, {reference} is noted down for you. Your table for two is booked for seven tonight."
    characters_per_second: float = 15.0
    latencies: Latencies = field(default_factory=Latencies)
    listen_first: int = 1000
    """Before the first word of a caller, at least."""
    greeting_begins: int = 2500
    """A greeting is waited for as long as this."""
    reply_over: int = 700
    """Silence of the agent that ends a reply."""
    pause: int = 300
    """From the end of a reply to the next question."""
    patience: int = 8000
    """A reply that has not begun by then is missed."""
    barge_every: int = 3
    """Every so many replies the caller talks over the agent; never with 0."""
    barge_after: int = 1000
    """Sound of the agent before that."""
    silent: bool = False
    """Whether callers say nothing at all."""

    @property
    def sum_of_latencies(self) -> int:
        """The turn latency of a service that adds nothing."""
        return self.latencies.turn(self.reply.format(reference="c1t1"))

    def question_text(self, number: tuple[int, int]) -> str:
        """The words of an utterance."""
        return self.question.format(reference=reference(number))

    def reply_text(self, number: tuple[int, int]) -> str:
        """What the model answers to it."""
        return self.reply.format(reference=reference(number))
