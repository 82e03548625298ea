"""What is known of the two open turns: the caller's words and their end, the agent's utterances and what was heard.

Both classes only keep account. Who may talk is decided in `floor.py`.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from openclaw_voicecall.core.policy import EndpointingPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.transcript import (
    ends_in_number,
    ends_in_question,
    heard_prefix,
    without_written,
)


class CallerTurn:
    """The words of the caller's open turn, and when the turn counts as over.

    A turn is made of utterances. An utterance is *open* while something of it was heard and no final text has closed
    it. A final that was asked for and comes only after speech has gone on belongs to what was said before: the
    utterance stays open then, or its later words would be lost.

    Args:
        policy: How much silence ends a turn.
    """

    __slots__ = (
        "_finals",
        "_interim",
        "_owed",
        "_policy",
        "_written",
        "asked",
        "began_at",
        "changed_at",
        "closing",
        "cut_agent",
        "ended_at",
        "has_edges",
        "open",
        "over_agent",
        "ready",
    )

    def __init__(self, policy: EndpointingPolicy) -> None:
        self._policy = policy
        self._finals: list[str] = []
        self._interim = ""
        self._owed = 0
        """Finals that are still to come for utterances after which the voice has gone on."""
        self._written: list[str] = []
        self.open = False
        """Whether something was heard that no final has closed yet."""
        self.asked = False
        """Whether the final of the open utterance was asked for."""
        self.closing = False
        """Whether that final comes unasked."""
        self.ready = False
        """Whether the turn is over, and only waits for an agent that may not be interrupted."""
        self.cut_agent = False
        """Whether words of this turn have interrupted the agent."""
        self.has_edges = False
        """Whether voice activity was detected, so that the end of speech is known."""
        self.over_agent = False
        """Whether the last voice activity began while the agent had a turn."""
        self.began_at = 0.0
        self.ended_at = 0.0
        self.changed_at = 0.0
        """When the words last changed."""

    @property
    def text(self) -> str:
        """All words of the turn so far, final or not."""
        return " ".join(part for part in (*self._finals, self._interim) if part)

    @property
    def interim(self) -> str:
        """The words of the open utterance."""
        return self._interim

    def speech_started(self, now: float, *, new: bool) -> None:
        """Voice activity began: the open turn goes on, or a new one starts."""
        if self.closing:
            self._owed += 1
        elif self.asked:
            self._owed = max(1, self._owed)
        self.asked = self.closing = False
        if new:
            self._written.clear()
        self.open = True
        self.ready = False
        self.has_edges = True
        self.began_at = now

    def hear(self, text: str, *, final: bool, talking: bool) -> str:
        """Take an interim or final text, and return those of its words that are new to the record.

        What has neither letter nor digit is no word: transcribers write marks such as "..." or "♪" for a noise.
        """
        words = without_written(text, self._written)
        if not any(map(str.isalnum, words)):
            words = ""
        if not final:
            self._interim = words
            self.open = self.open or bool(words)
            return words
        self._written.clear()
        if words or not talking:
            self._interim = ""
        if words:
            self._finals.append(words)
        if self._owed:
            self._owed -= 1
        elif words or not talking:
            # An empty final while the voice sounds closes nothing: it may answer an earlier question.
            self.open = self.asked = self.closing = False
        return words

    def endpoint(self) -> float:
        """The moment at which the turn is over if the silence lasts."""
        if ends_in_question(self.text):
            delay = self._policy.after_question
        elif ends_in_number(self.text):
            delay = self._policy.after_digits
        else:
            delay = self._policy.after
        return self.ended_at + delay

    def take(self) -> str:
        """Close the turn and return its words.

        Words that were not final count as written: a final that comes for them later brings only what it adds.
        """
        text = self.text
        self._written += self._interim.split()
        self._finals.clear()
        self._interim = ""
        self._owed = 0
        self.open = self.asked = self.closing = self.ready = self.cut_agent = False
        return text


class FalseAlarms:
    """Counts the sounds that came over the agent's voice and were no words.

    Args:
        limit: So many are enough.
        span: Seconds after which one counts no longer.
    """

    __slots__ = ("_span", "_times")

    def __init__(self, limit: int, span: float) -> None:
        self._times: deque[float] = deque(maxlen=limit)
        self._span = span

    def ring(self, now: float) -> None:
        """There was one more."""
        self._times.append(now)

    def forget(self) -> None:
        """The last sound was a voice after all."""
        self._times.clear()

    def are_enough(self, now: float) -> bool:
        """Whether the next sound is most likely none, too."""
        return len(self._times) == self._times.maxlen and now - self._times[0] < self._span


class Kind(StrEnum):
    """What an agent's turn is for."""

    RESPONSE = "response"
    """The answer to a caller's turn."""
    GREETING = "greeting"
    SAYING = "saying"
    """A text the owner asked for."""
    APOLOGY = "apology"
    FAREWELL = "farewell"
    """The last words of our side. Nothing interrupts them."""
    VOICEMAIL = "voicemail"
    """A message to a machine. Nothing interrupts it."""
    NOTICE = "notice"
    """A line that has to be said. Nothing interrupts it, and the call goes on after it."""


@dataclass(slots=True)
class Utterance:
    """One piece of the agent's turn and how much of it was heard."""

    text: str
    heard: float = 0.0
    duration: float | None = None
    played: bool = False

    def heard_text(self) -> str:
        """The words that the caller has surely heard."""
        return (
            " ".join(self.text.split()) if self.played else heard_prefix(self.text, self.heard, self.duration)
        )


@dataclass(slots=True)
class AgentTurn:
    """The agent's turn: its utterances in order, and what became of them."""

    number: int
    kind: Kind
    text: str = ""
    """The fixed text, for a turn that has one."""
    open: bool = True
    """Whether more of the turn may come."""
    end_call: bool = False
    transfer_to: str = ""
    """Whom the far party is handed over to once the turn was heard."""
    announce: str = ""
    """What is said there before."""
    interrupted: bool = False
    failure: EndReason | None = None
    utterances: dict[int, Utterance] = field(default_factory=dict)

    @property
    def is_last_word(self) -> bool:
        """Whether the turn ends the call, so that nothing may interrupt it."""
        return self.kind in {Kind.FAREWELL, Kind.VOICEMAIL}

    @property
    def was_heard(self) -> bool:
        """Whether the turn came to its own end and nothing of it is missing."""
        return not self.open and not self.interrupted and not self.pending and self.failure is None

    @property
    def pending(self) -> bool:
        """Whether something of the turn is still to be played."""
        return any(not utterance.played for utterance in self.utterances.values())

    def add(self, number: int, text: str) -> None:
        """The responder wrote another utterance."""
        self.utterances[number] = Utterance(text)

    def grow(self, number: int, text: str) -> bool:
        """An utterance has more words now, and return whether it is one of this turn."""
        utterance = self.utterances.get(number)
        if utterance is None:
            return False
        utterance.text = text
        return True

    def finish(self, *, end_call: bool, wordless: bool = False) -> None:
        """The turn is written to its end. A turn without a word is a failure, because silence is an error."""
        self.open = False
        self.end_call = end_call
        needs_words = not (end_call or wordless or self.transfer_to)
        if needs_words and not self.utterances and self.failure is None:
            self.failure = EndReason.RESPONSE_FAILED

    def fail(self) -> None:
        """The responder failed; what it said before still counts."""
        self.open = False
        self.failure = self.failure or EndReason.RESPONSE_FAILED

    def progress(self, number: int, heard: float, duration: float | None) -> bool:
        """Note how far an utterance was played, and return whether that is further than known."""
        utterance = self.utterances.get(number)
        if utterance is None or utterance.played:
            return False
        moved = heard > utterance.heard
        utterance.heard = max(heard, utterance.heard)
        utterance.duration = duration
        return moved

    def play(self, number: int) -> bool:
        """Note that an utterance was played to its end, and return whether it is one of this turn."""
        utterance = self.utterances.get(number)
        if utterance is None:
            return False
        utterance.played = True
        return True

    def drop(self, number: int) -> bool:
        """Note that an utterance cannot be spoken, and return whether it is one that was still to be played."""
        utterance = self.utterances.get(number)
        if utterance is None or utterance.played:
            return False
        self.failure = EndReason.SYNTHESIS_FAILED
        del self.utterances[number]
        return True

    def heard_text(self) -> str:
        """The heard prefix of the turn."""
        parts = (utterance.heard_text() for utterance in self.utterances.values())
        return " ".join(part for part in parts if part)
