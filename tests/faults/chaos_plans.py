"""What goes wrong in which call, drawn from a seed: a vendor is cut, stalls, crawls or lies at a random moment."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from openclaw_voicecall.testing.faults import Direction

BEFORE = -1.0
"""The moment of strikes that are there before the call is."""
FOR_GOOD = math.inf

HOPS = {
    "openai": "transcriber",
    "deepgram": "transcriber",
    "chat": "responder",
    "chat2": "responder",
    "voice": "synthesizer",
    "voice2": "synthesizer",
    "media": "carrier",
    "rest": "carrier",
}
"""Every vendor that may fail, and the hop that it serves, as the journal names it."""
SPARES = {"openai": "deepgram", "chat": "chat2", "voice": "voice2"}
WEIGHTS = {"openai": 5, "chat": 5, "voice": 5, "media": 4, "rest": 3}

TALK = (
    ("What time is it?", "It is noon."),
    ("Are you open today?", "Until five."),
    ("Where are you?", "In Market Street."),
    ("Is there a table free?", "Yes, at eight."),
    ("How much is it?", "Ten dollars."),
    ("Can I bring my dog?", "Dogs are fine."),
    ("Who is speaking?", "This is Clawdbot."),
    ("Are you open now?", "Yes, we are."),
)
"""What a caller may ask, and what the model answers. A question lasts long enough for our own ear to take it for words:
of a shorter one that no transcriber reports nobody could tell that it was none of the noises of a line."""
GREETING = "Hello, how can I help?"
"""Said first, whoever called whom."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is configured. A service keeps it for its life, so calls of one kind share a service."""

    spare: bool
    """Whether every engine has a fallback."""
    transport: str
    """ElevenLabs' way of being asked: `http` or `websocket`."""


KINDS = tuple(Kind(spare, transport) for spare in (False, True) for transport in ("http", "websocket"))


@dataclass(frozen=True, slots=True)
class Act:
    """A word to a `FaultProxy`, or a fault of an emulator."""

    name: str
    arguments: tuple[Any, ...] = ()
    """What the proxy is told besides."""
    options: Mapping[str, Any] | None = None
    """Of an emulator's fault."""
    times: int = 1
    """Occasions of an emulator's fault; 0 as long as the strike lasts."""

    def __str__(self) -> str:
        said = [str(argument) for argument in self.arguments]
        said += [f"{name}={value}" for name, value in (self.options or {}).items()]
        return (
            self.name
            + (f"({', '.join(said)})" if said else "")
            + (" again and again" if not self.times else "")
        )


@dataclass(frozen=True, slots=True)
class Strike:
    """One thing that goes wrong."""

    vendor: str
    at: float
    """Seconds since the answer; `BEFORE` it all."""
    lasts: float
    """Seconds until all is well again."""
    network: Sequence[Act] = ()
    lies: Sequence[Act] = ()

    @property
    def hop(self) -> str:
        """The hop that fails by it."""
        return HOPS[self.vendor]

    @property
    def garbles(self) -> bool:
        """Whether words may come out wrong and nobody can tell.

        Bytes are changed, audio is passed over, or words are so late that a turn is taken without the last of them.
        """
        late = ("throttle", "delay", "read_slowly") if self.hop == "transcriber" else ()
        return any(act.name in ("corrupt", "deaf", *late) for act in (*self.network, *self.lies))

    def __str__(self) -> str:
        begin = "before the call" if self.at == BEFORE else f"at {self.at:.1f} s"
        end = "for good" if self.lasts == FOR_GOOD else f"for {self.lasts:.1f} s"
        acts = [f"network {act}" for act in self.network] + [f"lie {act}" for act in self.lies]
        return f"{self.vendor} {begin} {end}: {', '.join(acts)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """One call."""

    seed: int
    kind: Kind
    inbound: bool
    talk: Sequence[tuple[str, str]]
    patience: float
    """Seconds without a sound after which the caller asks again."""
    thinks: float
    """Seconds between the agent's last sound and the caller's next question."""
    strikes: Sequence[Strike]

    def __str__(self) -> str:
        spare = "with fallbacks" if self.kind.spare else "without fallbacks"
        way = "they call" if self.inbound else "we call"
        struck = "; ".join(map(str, self.strikes))
        return f"seed {self.seed}: {way}, {self.kind.transport}, {spare}, {len(self.talk)} turns: {struck}"


def draw(seed: int) -> Plan:
    """The plan of a seed, always the same."""
    random = Random(seed)
    kind = random.choice(KINDS)
    talk = random.sample(TALK, random.choice((2, 2, 3)))
    patience, thinks = random.uniform(4.5, 8.0), random.uniform(0.3, 1.0)
    last = 3.0 * len(talk) + 1.0
    strikes: list[Strike] = []
    for _ in range(random.choice((1, 2, 2, 3))):
        strikes += _strikes(random, kind, last)
    return Plan(seed, kind, random.random() < 0.5, talk, patience, thinks, strikes)


def _strikes(random: Random, kind: Kind, last: float) -> list[Strike]:
    """One vendor, and in some calls the one that stands by for it as well."""
    vendor = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    at = BEFORE if random.random() < 0.15 else random.uniform(0.0, last)
    lasts = FOR_GOOD if random.random() < 0.5 else random.uniform(0.4, 8.0)
    struck = [vendor]
    if kind.spare and vendor in SPARES and random.random() < 0.5:
        struck.append(SPARES[vendor])
    return [_strike(random, name, at, lasts) for name in struck]


def _strike(random: Random, vendor: str, at: float, lasts: float) -> Strike:
    lies = LIES[vendor]
    if random.random() < 0.5:
        return Strike(vendor, at, lasts, network=_network(random, latest=1.5 if vendor == "media" else 5.0))
    name = random.choice(list(lies))
    options = {key: draw_value(random) for key, draw_value in lies[name].items()}
    acts = [Act(name, options=options, times=random.choice((1, 0, 0)))]
    if at != BEFORE and name in OPENING.get(vendor, ()):
        # A fault of the opening needs one: what is open breaks first.
        acts.append(Act("close-now" if vendor != "media" else "cut-stream"))
    return Strike(vendor, at, lasts, lies=acts)


def _network(random: Random, *, latest: float) -> tuple[Act, ...]:
    """What a network does; either direction, or both.

    Args:
        random: The seed's.
        latest: Seconds that it may be late. When the telephone's own line is later, there is no talk to be had on it.
    """
    one = random.choice(tuple(Direction))
    way = random.choice(((one,), ()))
    rate = round(math.exp(random.uniform(math.log(300), math.log(20_000))))
    return random.choice(
        (
            (Act("cut"),),
            (Act("cut"), Act("refuse")),
            (Act("cut_after", (random.randint(1, 8000), one)),),
            (Act("cut_after", (random.randint(1, 400), Direction.TO_CLIENT)),),
            (Act("end", (one,)),),
            (Act("stall", way),),
            (Act("stall", way),),
            (Act("drop", way),),
            (Act("throttle", (rate, *way)),),
            (Act("delay", (round(random.uniform(0.3, latest), 1), *way)),),
            (Act("read_slowly", (rate, one)),),
            (Act("corrupt", (random.choice((30, 300, 3000)), *way)),),
        )
    )


def _seconds(low: float, high: float) -> Callable[[Random], float]:
    return lambda random: round(random.uniform(low, high), 1)


def _code(*codes: int | None) -> Callable[[Random], int | None]:
    return lambda random: random.choice(codes)


Options = Mapping[str, Callable[[Random], Any]]
_VOICE: Mapping[str, Options] = {
    **{name: {} for name in ("401", "quota", "429", "500", "empty", "silent", "json", "html", "cut", "hang")},
    "slow": {"seconds": _seconds(0.5, 6.0)},
}
LIES: Mapping[str, Mapping[str, Options]] = {
    "openai": {
        **{name: {} for name in ("deaf", "error-event", "gibberish", "http-401", "http-429", "http-500")},
        **{name: {} for name in ("auth-in-band", "refuse-session", "no-session-updated", "quiet", "expire")},
        **{name: {} for name in ("failed-item", "out-of-order", "empty-transcript", "drop-deltas")},
        "close-now": {"code": _code(None, 1000, 1011)},
        "close-after-speech-started": {"code": _code(None, 1000, 1011)},
        "slow-start": {"seconds": _seconds(0.5, 6.0)},
    },
    "deepgram": {
        **{
            name: {} for name in ("unauthorized", "rate-limit", "unavailable", "hang", "cut", "quiet", "deaf")
        },
        **{name: {} for name in ("ignore-finalize", "late-finalize", "news", "error")},
        "close": {"code": _code(1000, 1008, 1011)},
        "close-now": {"code": _code(1000, 1008, 1011)},
    },
    "chat": {
        **{name: {} for name in ("401", "404-model", "429", "500", "hang", "hang-mid-stream", "rubbish")},
        **{name: {} for name in ("empty", "cut", "error-in-stream", "html", "truncated", "no-json")},
        **{name: {} for name in ("wrong-shape", "trickle")},
        "slow": {"seconds": _seconds(0.3, 2.5)},
    },
    "voice": {**_VOICE, "close": {"code": _code(1000, 1008, 1011)}},
    "voice2": _VOICE,
    "media": {
        **{name: {} for name in ("no-marks", "malformed-frames", "media-refused", "stream-never-starts")},
        "media-dropped": {"seconds": _seconds(0.1, 5.0)},
    },
    "rest": {
        **{name: {} for name in ("rest-401", "rest-429", "rest-500", "rest-timeout", "rest-lost-reply")},
        **{name: {} for name in ("callbacks-duplicated", "callbacks-late", "callbacks-lost")},
    },
}
LIES = {**LIES, "chat2": LIES["chat"]}
"""What each vendor may do that it should not; each fault with what is drawn for it. The faults are the emulators'."""
OPENING: Mapping[str, frozenset[str]] = {
    "openai": frozenset(LIES["openai"])
    - {"deaf", "error-event", "gibberish", "close-now", "failed-item", "out-of-order", "empty-transcript"}
    - {"drop-deltas", "close-after-speech-started"},
    "media": frozenset(LIES["media"]),
}
"""Faults that only a connection feels that is opened after them."""
