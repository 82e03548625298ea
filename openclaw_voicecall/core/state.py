"""The four automata of a call, and every transition between their states.

Theory of operation
===================

A call is not one state but four, which move at their own pace:

* the **leg**: what the carrier knows of the call, from `new` to `ended`;
* the **media** stream: whether audio can flow;
* the **caller**: whether the far party is `quiet`, `talking`, or `paused` in the middle of a turn;
* the **agent**: whether it is `idle`, `thinking` of words, `speaking` them, `draining` what it has already written,
  or has `yielded` the floor to a sound that may or may not become words.

Rule 1: a state changes in `Automaton.step` and nowhere else. Rule 2: a transition that is not in a table raises
`RemoteProtocolError` and changes nothing. Rule 3: nothing here knows a clock, a text or a number.

Most transitions are triggered by a fact from outside (`events.py`). Some facts are conclusions of the core itself:
`TurnOpened`, `TurnCommitted`, `Yielded`, `Resumed`, `Interrupted`, `Drained` and `FloorClosed`. They are defined
here, because nobody outside can state them.

Joint rules, which tie the automata together and are enforced by `call.py` and `floor.py`:

* Caller and agent move only while the leg is `up` and media is `flowing`; the floor is closed otherwise.
* Media that is lost interrupts the agent: nothing it says can be heard. So does a leg that is ending or ended.
* A committed caller turn interrupts the agent. Speech alone only makes it yield; words interrupt it.
* A rehearsed answer moves nothing. It lives while the caller is `paused` and the agent `idle`, and no longer.
* A final transcript while the caller is `quiet` opens a pause, so words that come late are not lost.
* Every leg state between `new` and `ended` arms a deadline, so that timers alone bring every call to its end:
  `dialing` and `ringing` the ring timer, `up` the longest duration, `ending` the grace of the hang-up.
* After `ended` everything is silently ignored. Late and repeated facts are normal then, and are no error.

Why a call ended is data, `EndReason`, and not a state. The one word that OpenClaw's users know for a call is derived
by `to_openclaw_state`; nothing in the core depends on it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from openclaw_voicecall.core.events import (
    CallAnswered,
    CallEnded,
    CallOffered,
    CallPlaced,
    CallRinging,
    Event,
    HangUpRequested,
    MediaConnected,
    MediaLost,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    SpeechStarted,
    SpeechStopped,
    TranscriptReceived,
)
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import RemoteProtocolError


class Leg(StrEnum):
    """The signalling path with the carrier."""

    NEW = "new"
    DIALING = "dialing"
    RINGING = "ringing"
    UP = "up"
    ENDING = "ending"
    """We asked the carrier to hang up, and it has not said yet that the call is over."""
    ENDED = "ended"


class Media(StrEnum):
    """The stream that carries audio."""

    NONE = "none"
    FLOWING = "flowing"
    LOST = "lost"


class Caller(StrEnum):
    """The far party, whichever side placed the call."""

    QUIET = "quiet"
    TALKING = "talking"
    PAUSED = "paused"
    """Silent, but the turn is not over yet."""


class Agent(StrEnum):
    """Our side of the talk."""

    IDLE = "idle"
    THINKING = "thinking"
    """A turn is open and none of it has come yet."""
    SPEAKING = "speaking"
    DRAINING = "draining"
    """The turn is written to its end, and not all of it was heard yet."""
    YIELDED = "yielded"
    """The audio is held, until words of the caller or the lack of them decide."""


class TurnOpened(Event):
    """The agent has a turn: an answer to the caller, or a fixed text."""


class TurnCommitted(Event):
    """Endpointing decided that the caller's turn is over."""


class Yielded(Event):
    """The caller made a sound while the agent spoke."""


class Resumed(Event):
    """The sound was no bid for the floor."""


class Interrupted(Event):
    """The agent's turn is cut: by words, keys, a lost stream or the end of the call."""


class Drained(Event):
    """The last utterance of a finished turn was played."""


class FloorClosed(Event):
    """Media is lost or the leg is ending: nobody has the floor any more."""


LEG: Final[Mapping[Leg, Mapping[type[Event], Leg]]] = {
    Leg.NEW: {CallPlaced: Leg.DIALING, CallOffered: Leg.RINGING, CallEnded: Leg.ENDED},
    Leg.DIALING: {
        CallRinging: Leg.RINGING,
        CallAnswered: Leg.UP,
        HangUpRequested: Leg.ENDING,
        CallEnded: Leg.ENDED,
    },
    Leg.RINGING: {
        CallRinging: Leg.RINGING,
        CallAnswered: Leg.UP,
        HangUpRequested: Leg.ENDING,
        CallEnded: Leg.ENDED,
    },
    Leg.UP: {HangUpRequested: Leg.ENDING, CallEnded: Leg.ENDED},
    # Ringing and answer may cross our hang-up on the wire.
    Leg.ENDING: {CallRinging: Leg.ENDING, CallAnswered: Leg.ENDING, CallEnded: Leg.ENDED},
    Leg.ENDED: {},
}

MEDIA: Final[Mapping[Media, Mapping[type[Event], Media]]] = {
    Media.NONE: {MediaConnected: Media.FLOWING},
    Media.FLOWING: {MediaLost: Media.LOST},
    Media.LOST: {MediaConnected: Media.FLOWING},
}

# Voice activity may come from two detectors at once, so a repeated edge is legal and changes nothing.
CALLER: Final[Mapping[Caller, Mapping[type[Event], Caller]]] = {
    Caller.QUIET: {
        SpeechStarted: Caller.TALKING,
        SpeechStopped: Caller.QUIET,
        TranscriptReceived: Caller.PAUSED,
        FloorClosed: Caller.QUIET,
    },
    Caller.TALKING: {
        SpeechStarted: Caller.TALKING,
        SpeechStopped: Caller.PAUSED,
        TranscriptReceived: Caller.TALKING,
        FloorClosed: Caller.QUIET,
    },
    Caller.PAUSED: {
        SpeechStarted: Caller.TALKING,
        SpeechStopped: Caller.PAUSED,
        TranscriptReceived: Caller.PAUSED,
        TurnCommitted: Caller.QUIET,
        FloorClosed: Caller.QUIET,
    },
}

AGENT: Final[Mapping[Agent, Mapping[type[Event], Agent]]] = {
    Agent.IDLE: {TurnOpened: Agent.THINKING},
    Agent.THINKING: {
        ResponseChunk: Agent.SPEAKING,
        ResponseFinished: Agent.DRAINING,
        ResponseFailed: Agent.DRAINING,
        Yielded: Agent.YIELDED,
        Interrupted: Agent.IDLE,
    },
    Agent.SPEAKING: {
        ResponseChunk: Agent.SPEAKING,
        ResponseFinished: Agent.DRAINING,
        ResponseFailed: Agent.DRAINING,
        Yielded: Agent.YIELDED,
        Interrupted: Agent.IDLE,
    },
    Agent.DRAINING: {Drained: Agent.IDLE, Yielded: Agent.YIELDED, Interrupted: Agent.IDLE},
    # What comes while the audio is held is remembered; a finished turn drains after it has resumed.
    Agent.YIELDED: {
        ResponseChunk: Agent.YIELDED,
        ResponseFinished: Agent.YIELDED,
        ResponseFailed: Agent.YIELDED,
        Resumed: Agent.SPEAKING,
        Interrupted: Agent.IDLE,
    },
}

S = TypeVar("S", bound=StrEnum)


class Automaton(Generic[S]):
    """One of the four automata: a table and where in it we are.

    Args:
        table: For every state the facts that are legal in it, and where they lead.
        initial: The state at the start of a call.
    """

    __slots__ = ("_state", "_table")

    def __init__(self, table: Mapping[S, Mapping[type[Event], S]], initial: S) -> None:
        self._table = table
        self._state = initial

    @property
    def state(self) -> S:
        """Where the automaton is now."""
        return self._state

    def step(self, fact: type[Event]) -> S:
        """Follow a fact to the next state, and return it.

        Raises:
            RemoteProtocolError: The state forbids this fact. The state stays what it was.
        """
        target = self._table[self._state].get(fact)
        if target is None:
            raise RemoteProtocolError(
                f"{fact.__name__} is impossible while the {self._name()} is {self._state}"
            )
        self._state = target
        return target

    def _name(self) -> str:
        return type(self._state).__name__.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A call as it is at one moment, for journals, tools and dashboards."""

    outbound: bool
    leg: Leg
    media: Media
    caller: Caller
    agent: Agent
    turn: int
    """Number of the newest turn; 0 before the first."""
    reason: EndReason | None
    """Why the call ends, known as soon as the end is decided."""
    interim: str
    """Words of the caller's open utterance, not final yet."""
    turn_text: str
    """All words so far of the caller's open turn, final or not."""
    digits: str
    """Keys pressed so far that are not a turn yet."""
    lines: int
    """Lines written to the transcript so far."""
    queued: int
    """Texts of the owner that wait for the floor."""
    failures: int
    """Agent turns that failed in a row."""
    machine: bool
    """Whether the far party has shown itself to be an answering machine."""
    last_words: bool
    """Whether what the agent says now is the last of the call, so that nobody need listen for an answer."""
    gives_notice: bool
    """Whether what the agent says now has to be heard to its end, and more follows."""
    transferring: bool
    """Whether the far party is being handed over to another number, or was."""


class HasView(Protocol):
    """Anything that can show a call as it is now, such as `Call`."""

    def snapshot(self) -> CallView:
        """The call as it is now."""
        ...


def to_openclaw_state(call: CallView | HasView) -> str:
    """The one word that OpenClaw's users and tools know for the state of a call."""
    view = call if isinstance(call, CallView) else call.snapshot()
    if view.leg is Leg.ENDED and view.reason is not None:
        return view.reason.to_openclaw()
    if view.leg is Leg.RINGING:
        return "ringing"
    if view.leg is Leg.UP and view.media is Media.NONE:
        return "answered"
    if view.leg is Leg.UP and view.media is Media.FLOWING:
        return _OPENCLAW_FLOOR[view.agent]
    return "initiated" if view.leg in {Leg.NEW, Leg.DIALING} else "active"


_OPENCLAW_FLOOR: Final = {
    Agent.IDLE: "listening",
    Agent.THINKING: "active",
    Agent.SPEAKING: "speaking",
    Agent.DRAINING: "speaking",
    Agent.YIELDED: "listening",
}

_Table: TypeAlias = Mapping[Any, Mapping[type[Event], StrEnum]]

_INTRODUCTION: Final = """\
# State machines of a call

This page is generated from the tables in `openclaw_voicecall/core/state.py`; a test fails when it is out of date.
Write it again with `python -m openclaw_voicecall.core.state > docs/state-machines.md`.

A call is four small automata that move at their own pace. A fact that has no arrow out of the present state is
refused with `RemoteProtocolError` and changes nothing. After `ended` everything is silently ignored.

While the caller is `paused` and the agent `idle`, an answer may be rehearsed: the orders `Rehearse` and
`DropRehearsal` move none of the four.
"""

_SECTIONS: Final[tuple[tuple[str, str, _Table], ...]] = (
    (
        "Leg",
        "What the carrier knows of the call. Every state between `new` and `ended` arms a deadline: the ring timer, "
        "the longest duration, the grace of the hang-up. So timers alone bring every call to its end.",
        LEG,
    ),
    (
        "Media",
        "Whether audio can flow. A lost stream interrupts the agent and may come back within a grace.",
        MEDIA,
    ),
    (
        "Caller",
        "The far party's turn. `TurnCommitted` is the decision of endpointing, `FloorClosed` follows a lost stream "
        "or the end of the call.",
        CALLER,
    ),
    (
        "Agent",
        "Our turn. Speech of the caller makes the agent yield at once; words then interrupt it, and a lack of words "
        "lets it resume from the heard point. A turn that was finished while it was held drains after it resumed.",
        AGENT,
    ),
)


def _arrows(table: _Table) -> Iterator[str]:
    yield f"    [*] --> {next(iter(table))}"
    for state, moves in table.items():
        facts: dict[StrEnum, list[str]] = {}
        for fact, target in moves.items():
            facts.setdefault(target, []).append(fact.__name__)
        for target, names in facts.items():
            yield f"    {state} --> {target}: {', '.join(names)}"
        if not moves:
            yield f"    {state} --> [*]"


def diagrams() -> str:
    """The page `docs/state-machines.md`: the four tables as mermaid diagrams."""
    parts = [_INTRODUCTION]
    for title, text, table in _SECTIONS:
        arrows = "\n".join(_arrows(table))
        parts.append(f"## {title}\n\n{text}\n\n```mermaid\nstateDiagram-v2\n{arrows}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(diagrams(), end="")
