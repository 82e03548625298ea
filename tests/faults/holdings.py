"""What a service process held while and after many calls, and how the calls ended."""

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MIB = 2**20
POOL = min(32, (os.cpu_count() or 1) + 4)
"""Threads that asyncio's pool may still start, see `concurrent.futures.ThreadPoolExecutor`."""
ENDS = {
    "rejected": {"rejected"},
    "busy": {"busy"},
    "failed": {"failed"},
    "farewell in": {"agent-hung-up"},
    "farewell out": {"agent-hung-up"},
}
"""How calls end, by their kind; those that are not named, by the person's hanging up."""


@dataclass(frozen=True)
class Held:
    """What the process held after so many calls."""

    calls: int
    resources: dict[str, int]

    @property
    def mib(self) -> float:
        """Memory that is resident."""
        return self.resources["rssBytes"] / MIB

    @property
    def handles(self) -> dict[str, int]:
        """What must come back to where it was, to the last one."""
        return {name: self.resources[name] for name in ("tasks", "sockets", "files", "childProcesses")}

    @property
    def slots(self) -> dict[str, int]:
        """What belongs to live calls only."""
        return {name: self.resources[name] for name in ("liveCalls", "streams", "tokens")}


@dataclass
class Tally:
    """What came of all calls."""

    at_once: int
    samples: list[Held] = field(default_factory=list)
    """Taken while connections may still be kept for the next call."""
    warm: Held | None = None
    """After the warm-up, when everything had settled."""
    last: Held | None = None
    """The same at the end."""
    ends: dict[str, Counter[str]] = field(default_factory=dict)
    """How often calls of each kind ended for which reason, by our records."""
    troubles: list[str] = field(default_factory=list)
    """Calls that did not go as their kind says."""
    records: int = 0
    open_records: int = 0
    seconds: float = 0.0
    refusals: list[str] = field(default_factory=list)
    """What vendors had to refuse."""
    mib_per_call: float = 0.0
    """The most that a live call took, of those that were live together."""

    phones: int = 0
    """Processes of phones that are left over."""
    extra: int = 0
    """Calls that were held besides, to look at the process."""

    @property
    def calls(self) -> int:
        """Records, by kind."""
        return sum(found.total() for found in self.ends.values())

    @property
    def looks(self) -> list[Held]:
        """All that was seen of the process, oldest first."""
        ends = [held for held in (self.warm, self.last) if held is not None]
        return sorted([*self.samples, *ends], key=lambda held: held.calls)

    @property
    def left_over(self) -> dict[str, tuple[int, int]]:
        """What the process holds more of than after the warm-up: before and after."""
        assert self.warm is not None
        assert self.last is not None
        before, after = self.warm.handles, self.last.handles
        more = {name: (before[name], after[name]) for name in before if after[name] > before[name]}
        threads = self.warm.resources["threads"], self.last.resources["threads"]
        return more | ({"threads": threads} if threads[1] > threads[0] + POOL else {})

    @property
    def slope(self) -> float:
        """Growth of the memory in MiB for a hundred calls, by least squares over everything after the warm-up."""
        assert self.warm is not None
        points = [held for held in self.samples if held.calls >= self.warm.calls]
        across, up = [held.calls for held in points], [held.mib for held in points]
        return float(np.polyfit(across, up, 1)[0]) * 100

    @property
    def growth(self) -> float:
        """MiB from the end of the warm-up to the end of all."""
        assert self.warm is not None
        assert self.last is not None
        return self.last.mib - self.warm.mib

    @property
    def wrong_ends(self) -> dict[str, Counter[str]]:
        """Ends that calls of their kind do not have."""
        wrong = {
            kind: Counter({end: count for end, count in found.items() if end not in _ends_of(kind)})
            for kind, found in self.ends.items()
        }
        return {kind: found for kind, found in wrong.items() if found}

    def figures(self) -> dict[str, Any]:
        """For people to read."""
        assert self.warm is not None
        assert self.last is not None
        return {
            "calls": self.calls,
            "at_once": self.at_once,
            "seconds": round(self.seconds),
            "calls_per_second": round(self.calls / self.seconds, 2),
            "mib_per_100_calls": round(self.slope, 3),
            "mib_warm": round(self.warm.mib, 1),
            "mib_last": round(self.last.mib, 1),
            "mib_per_live_call": round(self.mib_per_call, 2),
            "held_warm": self.warm.handles | {"threads": self.warm.resources["threads"]},
            "held_last": self.last.handles | {"threads": self.last.resources["threads"]},
            "slots_last": self.last.slots,
            "records": self.records,
            "open_records": self.open_records,
            "troubles": len(self.troubles),
        }


def _ends_of(kind: str) -> set[str]:
    return ENDS.get(kind, {"caller-hung-up", "completed"})
