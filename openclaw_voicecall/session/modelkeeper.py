"""Keeps a session with a speech-to-speech model open for one call: reopens it, replaces it, and asks the next model."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.realtime import RealtimeEvent, RealtimeRequest, RealtimeSession, SessionReady
from openclaw_voicecall.errors import CallIsGone, VendorAuthError, VendorRejected, VendorTimeout
from openclaw_voicecall.session.chain import Link, Rotation, is_open, why_failed
from openclaw_voicecall.session.modelline import ModelLine, Opens

HOP: Final = "model"
ATTEMPTS: Final = 2
"""Times a model is opened again before the next one is asked: once if it refuses us or is late, never for a wrong
key."""
REOPEN_AFTER: Final = 0.1
"""Seconds before the first new attempt; the second waits twice as long."""
STEADY: Final = 30.0
"""Seconds after which a session counts as a good one."""
READY_LIMIT: Final = 5.0
"""Seconds a session may take to be ready."""
READY_PATIENCE: Final = 3.0
"""The same while the far party waits for a sound."""
READY_AGAIN: Final = 2.0
"""The same after another session was not ready in time: within 6 s the far party has to hear a voice, whosever."""
REPLY_LIMIT: Final = 3.5
"""Seconds that a reply may take to its first sound, and between two pieces of it."""
LOOK_EVERY: Final = 0.1
"""Seconds between two looks at the session."""


class Owner(Protocol):
    """Who talks in the sessions."""

    def take(self, line: ModelLine, event: RealtimeEvent) -> None:
        """Something happens in the session in use."""
        ...

    def begin(self, line: ModelLine) -> None:
        """A session is to be used from now on; it is not ready yet."""
        ...

    def look(self) -> None:
        """Some time has passed."""
        ...

    def is_resting(self) -> bool:
        """Whether nobody says or waits for anything."""
        ...

    def broke_off(self, detail: str) -> None:
        """The session in use is over, whatever was being said in it."""
        ...

    def lost(self, detail: str) -> None:
        """No model is left."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The models of one call.

    Attributes:
        rotation: The model and its fallbacks.
        limits: Seconds that a session of each may last, by name.
        request: Opens a session; asked each time, because the talk so far belongs into it.
        there: Returns once the audio is where a model can hear it, which it may leave and come back to; None where it
            always is.
    """

    rotation: Rotation[Opens]
    limits: Mapping[str, float]
    request: Callable[[], RealtimeRequest]
    there: Callable[[], Awaitable[None]] | None = None


class SessionKeeper:
    """Keeps a session open.

    Args:
        supply: The models.
        owner: Who talks in the sessions.
        note: Takes a journal word of the shell and its data.
        clock: Monotonic time.
    """

    def __init__(
        self,
        supply: Supply,
        owner: Owner,
        *,
        note: Callable[[str, dict[str, Any]], None],
        clock: Clock,
    ) -> None:
        self._supply = supply
        self._owner = owner
        self._note = note
        self._clock = clock
        self._line: ModelLine | None = None
        self._fresh: ModelLine | None = None
        self._wishes: list[Callable[[RealtimeSession], None]] = []
        self._due: float | None = None
        self._given_up: asyncio.Future[str] | None = None
        self._hurries = False
        """Whether the session before was not ready in time."""

    @property
    def is_ready(self) -> bool:
        """Whether a session is there and hears."""
        return self.is_open and self._line is not None and self._line.ready

    @property
    def is_open(self) -> bool:
        """Whether a session is there, or about to be."""
        return self._line is not None and not (self._given_up is not None and self._given_up.done())

    def do(self, act: Callable[[RealtimeSession], None], *, keep: bool = False) -> None:
        """Use the session; with `keep` the next one, where there is none now."""
        if self._line is not None and self.is_open:
            self._line.do(act)
        elif keep:
            self._wishes.append(act)

    def expect_sound(self, after: float = 0.0) -> None:
        """From now on, or after some seconds, the model has to make a sound soon, and again until `expect_nothing`."""
        self._due = self._clock.monotonic() + after + REPLY_LIMIT

    def expect_nothing(self) -> None:
        """The model may be silent."""
        self._due = None

    def give_up(self, why: str) -> None:
        """Wait no longer for the session in use, and take nothing more from it."""
        if self._given_up is not None and not self._given_up.done():
            self._given_up.set_result(why)

    async def run(self) -> None:
        """Keep a session open until cancelled, with one model after the other; report when none is left."""
        failures: list[str] = []
        tried: list[Link[Opens]] = []
        try:
            while rest := [link for link in self._supply.rotation.order() if link not in tried]:
                if await self._talk_with(rest[0], rest[1:], failures):
                    tried.clear()  # what the others did before is of another time
                tried.append(rest[0])
        finally:
            await self._hang_up()
        self._wishes.clear()
        self._owner.lost("; ".join(failures))

    async def _talk_with(self, link: Link[Opens], others: Sequence[Link[Opens]], failures: list[str]) -> bool:
        """Talk with one model until it is given up; returns whether it has worked for long."""
        attempt, steady = 0, False
        while True:
            if self._supply.there is not None:
                await self._supply.there()
            began, allowed, left = self._clock.monotonic(), ATTEMPTS, False
            try:
                await self._hold(link)
            except Exception as error:  # a plugin's bug must not leave the caller without an answer either
                detail = why_failed(error)
                allowed = _attempts(error)
                self._hurries = self._hurries or isinstance(error, NotReady)
                left = isinstance(error, CallIsGone) and self._supply.there is not None and self.is_ready
            finally:
                await self._hang_up()
            if self._clock.monotonic() - began >= STEADY:
                attempt, steady = 0, True
            if left:  # the carrier took the call away, and no model is to blame
                self._tell(link, "line-left", detail=detail)
                self._owner.broke_off(detail)
                continue
            failures.append(f"{link.name}: {detail}")
            self._supply.rotation.failed(link)
            again = attempt < allowed and not (others and is_open(link))
            instead = f"{others[0].name} talks instead" if others else "given up"
            self._tell(link, "vendor-failed", detail=detail, action="opened again" if again else instead)
            self._owner.broke_off(detail)
            if not again:
                return steady
            attempt += 1
            await asyncio.sleep(REOPEN_AFTER * attempt)

    async def _hold(self, link: Link[Opens]) -> None:
        """Talk in sessions with one model until one fails. Raises what it fails with."""
        self._due = None
        self._given_up = given_up = asyncio.get_running_loop().create_future()
        self._use(self._start(link))
        wishes, self._wishes = self._wishes, []
        for wish in wishes:
            self.do(wish)
            self.expect_sound()
        while (line := self._line) is not None:
            await asyncio.wait({line.task, given_up}, timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED)
            if line.task.done():
                line.task.result()
            if given_up.done():
                raise VendorTimeout(given_up.result(), operation="talk")
            self._require_life(line)
            self._owner.look()
            if line.is_old(self._clock.monotonic()):
                await self._renew(link, line)

    def _start(self, link: Link[Opens]) -> ModelLine:
        def take(line: ModelLine, event: RealtimeEvent) -> None:
            if isinstance(event, SessionReady):
                line.ready = True
                self._hurries = False
                self._supply.rotation.worked(link)
                self._tell(link, "model-ready")
                if self._due is not None:
                    self.expect_sound()
            if line is self._line and self.is_open:
                self._owner.take(line, event)

        return ModelLine(
            link.name,
            link.provider,
            self._supply.request(),
            take,
            now=self._clock.monotonic(),
            limit=self._supply.limits[link.name],
        )

    def _use(self, line: ModelLine) -> None:
        self._line = line
        self._owner.begin(line)

    def _require_life(self, line: ModelLine) -> None:
        """Raises `VendorTimeout` when the session does not do what it has to."""
        now = self._clock.monotonic()
        waited_for = READY_AGAIN if self._hurries else READY_PATIENCE
        patience = READY_LIMIT if self._due is None else waited_for
        if not line.ready and now - line.began > patience:
            raise NotReady("the session is not ready in time", operation="talk")
        if line.ready and self._due is not None and now >= self._due:
            raise VendorTimeout(f"no sound within {REPLY_LIMIT:g} s", operation="talk")

    async def _renew(self, link: Link[Opens], line: ModelLine) -> None:
        """Have a fresh session take over from one that the vendor will end soon."""
        quiet, overdue = self._owner.is_resting(), line.is_overdue(self._clock.monotonic())
        fresh = self._fresh
        if fresh is not None and (fresh.task.done() or not (quiet or overdue)):
            self._fresh = None
            await fresh.close()  # what has been said meanwhile it does not know
        elif fresh is None and (quiet or overdue):
            self._fresh = self._start(link)
        elif fresh is not None and fresh.ready:
            self._fresh = None
            self._tell(link, "session-renewed")
            if not quiet:
                self._owner.broke_off("the vendor ends its session")
            self._use(fresh)
            await line.close()

    async def _hang_up(self) -> None:
        lines, self._line, self._fresh = (self._line, self._fresh), None, None
        for line in lines:
            if line is not None:
                await line.close()

    def _tell(self, link: Link[Opens], word: str, **data: str) -> None:
        self._note(word, {"hop": HOP, "provider": link.name, **data})


def _attempts(error: Exception) -> int:
    """How often a session that failed like this is opened again."""
    if isinstance(error, VendorAuthError):
        return 0
    return 1 if isinstance(error, VendorRejected | NotReady) else ATTEMPTS


class NotReady(VendorTimeout):
    """A session takes too long to be ready."""
