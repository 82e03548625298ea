"""Hostile inputs for parsers, and a loop that feeds them: random, repeatable, and guided by what code they reach.

```python
target = Target(
    name="greetings",
    kind=JsonText(longest=64 * 1024),
    make=lambda random: json.dumps({"name": random.choice(["Ann", "Bo"]), "age": random.randrange(99)}),
    feed=lambda text: greet(text),                # may raise `refusals`, and AssertionError where it is wrong
    refusals=(WebhookError,),
)
outcome = fuzz(target, seconds=5, seed=1)
assert not outcome.findings, outcome.report()
```

An input that does harm is made smaller before it is reported. `Target.known` keeps such inputs for ever: they are fed
first, every time. What inputs are made of is a `Kind` (`fuzzing_kinds`).
"""

import gc
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any, Final, Generic, Protocol, TypeVar

from openclaw_voicecall.testing.fuzzing_kinds import Kind

T = TypeVar("T")

HANG: Final = 20.0
"""Times its limit that an input may take before it is broken off."""
MOST_FINDINGS: Final = 5
SMALLER_TRIES: Final = 1500
SMALLER_SECONDS: Final = 5.0
"""What is spent on making one finding smaller."""
_SHOWN: Final = 1500
"""Characters of an input that a report shows."""
_KEPT: Final = 400
"""Inputs kept because they reached something new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Generic[T]):
    """A parser under test."""

    name: str
    kind: Kind[T]
    make: Callable[[Random], T]
    """A valid input: `feed` must take it without a refusal."""
    feed: Callable[[T], object]
    """Parses an input and checks what came of it. Called with one input many times, it behaves the same each time."""
    refusals: tuple[type[Exception], ...] = ()
    """What `feed` may raise for an invalid input: the documented errors."""
    seconds: float = 0.1
    """CPU time that one input may take."""
    known: tuple[T, ...] = ()
    """Inputs that once did harm."""
    parsers: tuple[str, ...] = ()
    """Dotted names of the modules whose parsers it feeds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that did harm, and what it did."""

    what: str
    shown: str
    """The input, made as small as could be, as Python text."""
    trace: str = field(repr=False)


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    name: str
    seed: int
    executions: int = 0
    refused: int = 0
    kept: int = 0
    """Inputs that reached new code and were built upon; none without guidance."""
    slowest: float = 0.0
    """CPU seconds of the slowest input."""
    elapsed: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def report(self) -> str:
        """Every finding in words, with what is needed to see it again."""
        lines = [f"{self.name}: {len(self.findings)} findings in {self.executions} inputs, seed {self.seed}"]
        for finding in self.findings:
            lines += ["", finding.what, f"input: {finding.shown}", finding.trace]
        return "\n".join(lines)


class Guide(Protocol):
    """Tells inputs that reach new code from those that do not."""

    def look(self, *, away: bool = False) -> None:
        """Begin to look at what runs, or look away: only the parser counts, and looking takes time."""
        ...

    def fresh(self) -> bool:
        """Whether anything new was reached since this was last asked."""
        ...


class _Hang(BaseException):
    """Breaks off an input that takes for ever; not to be caught by what is tested."""


def check(target: Target[T], value: T, *, valid: bool = False) -> Finding | None:
    """Feed one input; returns what is wrong, or None. `valid` inputs must not be refused."""
    finding, _, spent = _feed(target, value, valid=valid)
    return finding or _too_slow(target, value, spent)[0]


def fuzz(
    target: Target[T],
    *,
    seconds: float,
    seed: int,
    guide: Guide | None = None,
    most_findings: int = MOST_FINDINGS,
) -> Outcome:
    """Feed a target for so long: what is known to have done harm, then valid inputs and mutants of them.

    Args:
        target: What to feed.
        seconds: Wall-clock time; at least one round is done.
        seed: The same seed gives the same inputs in the same order, as long as time allows and without a guide.
        guide: Where given, inputs that reach new code are mutated further.
        most_findings: How many different findings end the run.
    """
    random = Random(seed)
    outcome = Outcome(target.name, seed)
    began = time.monotonic()
    corpus: list[T] = []
    seen: set[str] = set()
    for value, valid in _inputs(target, random, corpus):
        if guide is not None:
            guide.look()
        finding, refused, spent = _feed(target, value, valid=valid)
        if guide is not None:
            guide.look(away=True)
        if finding is None:
            finding, spent = _too_slow(target, value, spent)
        outcome.executions += 1
        outcome.refused += refused
        outcome.slowest = max(outcome.slowest, spent)
        if guide is not None and guide.fresh() and finding is None:
            outcome.kept += 1
            corpus.append(value)
            del corpus[:-_KEPT]
        if finding is not None and finding.what not in seen:
            seen.add(finding.what)
            outcome.findings.append(_smallest(target, value, finding, valid=valid))
        if len(outcome.findings) >= most_findings:
            break
        # A target gets its known inputs and some valid ones however little time there is.
        if outcome.executions >= len(target.known) + 8 and time.monotonic() - began >= seconds:
            break
    outcome.elapsed = time.monotonic() - began
    return outcome


def _inputs(target: Target[T], random: Random, corpus: list[T]) -> Iterator[tuple[T, bool]]:
    """Inputs without end, and whether each is valid."""
    yield from ((value, False) for value in target.known)
    for number in range(sys.maxsize):
        value = target.make(random)
        if number % 8 == 0 or number < 4:
            yield value, True
            continue
        if corpus and random.random() < 0.7:
            value = random.choice(corpus)
        other = random.choice(corpus) if corpus and random.random() < 0.5 else target.make(random)
        for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
            value = target.kind.mutate(random, value, other)
        yield value, False


def _feed(target: Target[T], value: T, *, valid: bool) -> tuple[Finding | None, bool, float]:
    """One execution: what is wrong, whether the input was refused, and the CPU time it took."""
    began = time.thread_time()
    refused = False
    try:
        with _broken_off_after(target.seconds * HANG):
            target.feed(value)
    except target.refusals as error:
        refused = True
        if valid:
            return (
                _finding(f"a valid input was refused: {type(error).__name__}", target, value, error),
                True,
                0.0,
            )
    except KeyboardInterrupt:
        raise
    except _Hang as error:
        return _finding(f"still busy after {target.seconds * HANG:g} s", target, value, error), False, 0.0
    except BaseException as error:  # also SystemExit: nothing may leave that way either
        return _finding(f"{type(error).__name__} at {_place(error)}", target, value, error), False, 0.0
    return None, refused, time.thread_time() - began


def _too_slow(target: Target[T], value: T, spent: float) -> tuple[Finding | None, float]:
    """What is wrong with the time that was spent, and the least time there was."""
    tries = 0
    while spent > target.seconds and tries < 3:
        tries += 1
        spent = min(spent, _again(target, value))
    if spent > target.seconds:
        return _finding(f"slower than {target.seconds:g} s", target, value, None), spent
    return None, spent


def _again(target: Target[T], value: T) -> float:
    """The time of one more execution: the first may have met the garbage collector, an import, or a guide."""
    # A deep input sets the collector off each time, and it looks at what all the other inputs have left behind.
    gc.disable()
    try:
        began = time.thread_time()
        with suppress(*target.refusals):
            target.feed(value)
        return time.thread_time() - began
    finally:
        gc.enable()


@contextmanager
def _broken_off_after(seconds: float) -> Iterator[None]:
    """Raise `_Hang` in the block once it has used so much CPU time. Off the main thread there is no limit."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGVTALRM, _break_off)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _break_off(number: int, frame: FrameType | None) -> None:
    raise _Hang


def _finding(what: str, target: Target[T], value: T, error: BaseException | None) -> Finding:
    trace = "".join(traceback.format_exception(error)[-8:]) if error is not None else ""
    return Finding(what, _shown(value), trace)


def _smallest(target: Target[T], value: T, finding: Finding, *, valid: bool) -> Finding:
    """The same finding with the smallest input that was found to make it."""
    if valid:
        return finding
    until = time.monotonic() + SMALLER_SECONDS
    tries = 0
    shrinking = True
    while shrinking:
        shrinking = False
        for smaller in target.kind.smaller(value):
            tries += 1
            if tries > SMALLER_TRIES or time.monotonic() > until:
                return finding
            found = check(target, smaller)
            if found is not None and found.what == finding.what:
                value, finding, shrinking = smaller, found, True
                break
    return finding


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _place(error: BaseException) -> str:
    """The innermost line that is no library's, so that one mistake counts once."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename and "<" not in frame.filename]
    last = (ours or frames)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


class LineGuide:
    """Notes the lines that run for the first time, in files below some folders. Use it as a context manager.

    It is nearly free from Python 3.12 on, where a line that was seen is switched off; on 3.11 inputs take several
    times as long.

    Args:
        folders: Where the code of interest lies.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = tuple(f"{folder.resolve()}/" for folder in folders)
        self._unseen: dict[CodeType, set[int]] = {}
        """Of each piece of code the lines that have not run yet; empty for code that is of no interest."""
        self._asked = 0
        self.lines = 0
        """Lines reached so far."""

    def __enter__(self) -> "LineGuide":
        """Get ready to look."""
        if monitoring := _monitoring():
            monitoring.use_tool_id(monitoring.PROFILER_ID, "fuzzing")
            monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.LINE, self._line)
            monitoring.restart_events()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self.look(away=True)
        if monitoring := _monitoring():
            monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.LINE, None)
            monitoring.free_tool_id(monitoring.PROFILER_ID)

    def look(self, *, away: bool = False) -> None:
        """See `Guide`."""
        if monitoring := _monitoring():
            monitoring.set_events(monitoring.PROFILER_ID, 0 if away else monitoring.events.LINE)
        else:
            sys.settrace(None if away else self._trace)

    def fresh(self) -> bool:
        """Whether a line was reached for the first time since this was last asked."""
        asked, self._asked = self._asked, self.lines
        return self.lines > asked

    def _unseen_of(self, code: CodeType) -> set[int]:
        unseen = self._unseen.get(code)
        if unseen is None:
            ours = code.co_filename.startswith(self._folders)
            unseen = self._unseen[code] = {line for _, _, line in code.co_lines() if line and ours}
        return unseen

    def _note(self, unseen: set[int], line: int) -> None:
        if line in unseen:
            unseen.discard(line)
            self.lines += 1

    def _line(self, code: CodeType, line: int) -> Any:
        self._note(self._unseen_of(code), line)
        return _monitoring().DISABLE

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._trace_lines if self._unseen_of(frame.f_code) else None

    def _trace_lines(self, frame: FrameType, event: str, argument: object) -> Any:
        unseen = self._unseen[frame.f_code]
        if event == "line":
            self._note(unseen, frame.f_lineno)
        return self._trace_lines if unseen else None


def _monitoring() -> Any:
    """What Python offers to look at running code with, from 3.12 on."""
    return getattr(sys, "monitoring", None)
