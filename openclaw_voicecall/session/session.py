"""The asyncio shell of one call: feeds the core, has its orders carried out, and ends in good order."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from openclaw_voicecall.api.carrier import Carrier, CarrierCapabilities, LegOrder, LegRef
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.commands import Command, ReleaseCall
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Caller
from openclaw_voicecall.errors import CallIsOver, ProtocolError, quiet
from openclaw_voicecall.observe.logs import call_id as logged_call
from openclaw_voicecall.session import arrivals
from openclaw_voicecall.session.absence import Absence
from openclaw_voicecall.session.deadline import Deadlines
from openclaw_voicecall.session.dialogue import Dialogue
from openclaw_voicecall.session.effects import carry_out, hang_up
from openclaw_voicecall.session.entries import plain
from openclaw_voicecall.session.listening import Listening
from openclaw_voicecall.session.meter import LineMeter
from openclaw_voicecall.session.recorder import CallRecorder
from openclaw_voicecall.session.remote import RemoteLegs, RemoteVoice
from openclaw_voicecall.session.responding import Responding
from openclaw_voicecall.session.speaking import Speaking
from openclaw_voicecall.session.takeover import Takeover
from openclaw_voicecall.session.turns import TurnLine
from openclaw_voicecall.session.watch import LineWatch

logger = logging.getLogger(__name__)

HANG_UP_LIMIT = 5.0
"""Seconds that a call which broke may take to hang up; after them whoever runs it has to."""

JournalWriter = Callable[[str, dict[str, Any], tuple[dict[str, Any], ...], Call], None]
"""`(event, data, commands, call)`: takes what happened, what was ordered because of it, and the call after it."""

_CUTTING = (
    e.CallEnded,
    e.DtmfReceived,
    e.HangUpRequested,
    e.MediaLost,
    e.ModelLost,
    e.SpeechStarted,
    e.TranscriptReceived,
)
"""Facts that may cut the agent's speech; before them the core is told how much of it was heard."""


async def anybody(number: str) -> str:
    """Refuse no number."""
    return ""


@dataclass(slots=True)
class Parts:
    """What does the work of a call."""

    carrier: Carrier
    speaking: Speaking | TurnLine | RemoteVoice
    listening: Listening | Dialogue | None
    """None while the carrier listens itself, a turn at a time."""
    responding: Responding | Dialogue
    recorder: CallRecorder | None
    watch: LineWatch | None = None
    """Does something about silence."""
    capabilities: CarrierCapabilities = field(default_factory=CarrierCapabilities)
    remote: RemoteLegs | None = None
    """Under which ids a vendor has the audio; None where it comes to us."""
    agent_may_transfer: Callable[[str], bool] = bool
    """Whether the owner lets the agent hand the far party over to this number."""
    may_dial: Callable[[str], Awaitable[str]] = anybody
    """Why the far party may not be handed over to this number; empty where it may."""


class CallSession:
    """Runs one call. Only this object touches the `Call`; everybody else posts facts.

    Facts are taken synchronously, one after the other, also those that arise while an order is carried out: no
    latency is added by a queue between tasks, and the order of things is the order they happened in.

    Args:
        call_id: Our id.
        call: The core.
        clock: Monotonic time; the same as the event loop's.
        journal: Takes every entry.
        give_order: Takes the answer to an inbound offer, a `LegOrder`.
    """

    def __init__(
        self,
        *,
        call_id: str,
        call: Call,
        clock: Clock,
        journal: JournalWriter,
        give_order: Callable[["CallSession", LegOrder], None],
    ) -> None:
        self.call_id = call_id
        self.carrier_call_id = ""
        self.language = "en"
        """BCP 47 tag of the talk."""
        self.own_number = ""
        """Our side's number, E.164."""
        self.leg_known = asyncio.Event()
        """Set once the carrier's id of the leg is known, or will never be."""
        self.leg_open = False
        """Whether the carrier may hold a leg that nobody has seen the end of."""
        self.heard_at = clock.monotonic()
        """When the carrier last spoke of the call, or sent audio of it."""
        self.detail = ""
        self.call = call
        self.clock = clock
        self.parts: Parts
        self.listening_task: asyncio.Task[None] | None = None
        self.speaking_task: asyncio.Task[None] | None = None
        self.media_socket: Callable[[], None] | None = None
        """Closes the open media stream."""
        self.moved = asyncio.Event()
        """Set whenever the core has moved; whoever waits for it clears it first."""
        self.takeover = Takeover(self)
        self.absence = Absence(self)
        self.meter = LineMeter(clock)
        self.deadlines = Deadlines()
        self._journal = journal
        self._give_order = give_order
        self._inbox: deque[e.Event] = deque()
        self._busy = False
        self._broken = False
        self._last_words: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._released = asyncio.Event()
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._progress: e.PlayoutProgressed | None = None

    @property
    def leg(self) -> LegRef:
        """The leg, by both ids."""
        return LegRef(call_id=self.call_id, carrier_call_id=self.carrier_call_id)

    @property
    def released(self) -> bool:
        """Whether the core has let go of the call."""
        return self._released.is_set()

    def give_order(self, order: LegOrder) -> None:
        """Answer the carrier's offer."""
        self._give_order(self, order)

    def post(self, event: e.Event) -> None:
        """Give the core a fact. One that would end the call may be answered by talking on without a stream."""
        if isinstance(event, e.TranscriptionFailed | e.UtteranceFailed) and self.takeover.instead_of(event):
            return
        if isinstance(event, e.UtteranceFailed):
            self.parts.speaking.forget(event.utterance)
        if isinstance(event, e.CallEnded) and self._hears_last_words(event):
            return
        self._inbox.append(event)
        if not self._busy:
            self._drain()

    def request(self, event: e.Event) -> None:
        """Give the core a wish of the owner.

        Raises:
            LocalProtocolError: The state of the call forbids it.
            CallIsOver: The call is being closed.
        """
        if self.released:
            raise CallIsOver(f"call {self.call_id} is over ({self.call.snapshot().reason})")
        self._take(event)
        self._drain()

    def note(self, word: str, data: dict[str, Any]) -> None:
        """Write something into the journal that the core need not know; nothing once the record is closed."""
        data = {name: quiet(value) if isinstance(value, str) else value for name, value in data.items()}
        if word == "vendor-failed":
            self.detail = f"{data['hop']} {data['provider']}: {data['detail']}"
            self._warn("%s %s failed: %s; %s", data["hop"], data["provider"], data["detail"], data["action"])
        if word == "takeover":
            self._warn("%s failed: %s; %s", data["hop"], data["why"], data["detail"])
        if word == "line-silent":
            self._warn(
                "line silent for %s s, waiting for the %s: %s; %s",
                data["seconds"],
                data["hop"],
                data["detail"],
                data["action"],
            )
        if not self._ended.is_set():
            self._journal(word, data, (), self.call)

    def carrier_failed(self, operation: str, detail: str, action: str) -> None:
        """Write down that the carrier did not do something, and what is done about it."""
        data = {"hop": "carrier", "provider": operation, "detail": detail, "action": action}
        self.note("vendor-failed", data)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run something as part of the call; it is cancelled when the call is released."""
        if self._group is None or self.released:
            work.close()
            return None
        context = copy_context()
        context.run(logged_call.set, self.call_id)  # a webhook may have started this, which knows of no call
        task = self._group.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def release(self) -> None:
        """The core's last order."""
        self._released.set()

    async def run(self, begin: Callable[[], None]) -> None:
        """Live until the core releases the call; then everything of it is stopped and closed.

        Args:
            begin: Called first, inside the call's task group: posts the fact that starts the call.
        """
        logged_call.set(self.call_id)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self.speaking_task = self.start(self.parts.speaking.run())
                if self.parts.recorder is not None:
                    self.start(self.parts.recorder.run())
                if self.parts.watch is not None:
                    self.start(self.parts.watch.run())
                begin()
                await self._released.wait()
                for task in tuple(self._tasks):
                    task.cancel()
        except* Exception as errors:  # a bug of ours may end this call, never another
            self._break(errors)
            self._drain()
        finally:
            await self._close()

    async def wait_ended(self) -> None:
        """Return once the call is released and all of it is closed."""
        await self._ended.wait()

    def _warn(self, message: str, *details: object) -> None:
        """Log something about this call; the running task may be a webhook's, which names no call."""
        logger.warning(message, *details, extra={"call_id": self.call_id})

    def _hears_last_words(self, ended: e.CallEnded) -> bool:
        """Let the transcriber finish what the caller said before hanging up; the record is closed after it."""
        ears = self.parts.listening
        if self._last_words is not None:
            return not self._last_words.done()  # the carrier says it again, by another way
        if self._broken or ears is None or not ears.voice_unanswered:
            return False

        async def listen() -> None:
            await ears.last_words()

        self._last_words = self.start(listen())
        if self._last_words is not None:
            self._last_words.add_done_callback(lambda _: self.post(ended))
        return self._last_words is not None

    async def _close(self) -> None:
        self._group = None
        if self._timer is not None:
            self._timer.cancel()
        if self._broken:
            with suppress(TimeoutError):
                async with asyncio.timeout(HANG_UP_LIMIT):
                    await hang_up(self)
        if self.media_socket is not None:
            self.media_socket()
        await self.parts.responding.close()
        if self.parts.recorder is not None:
            await self.parts.recorder.close()
        self._ended.set()

    def _drain(self) -> None:
        self._busy = True
        try:
            while self._inbox:
                event = self._inbox.popleft()
                if self.released:
                    continue  # such as the loss of a media stream that we close ourselves
                try:
                    self._take(event)
                except ProtocolError as error:
                    # A carrier or vendor may repeat itself or be late, and a responder may ask for what the call
                    # cannot do any more; the core has changed nothing.
                    logger.info("call %s: %s ignored: %s", self.call_id, type(event).__name__, error)
                except Exception as error:  # a bug of ours ends this call and no other
                    self._break(error)
        finally:
            self._busy = False
        self._arm()

    def _break(self, error: Exception) -> None:
        logger.error("call %s ended by an error of ours", self.call_id, exc_info=error)
        self.detail = self.detail or quiet(f"internal error: {error!r}")
        self._inbox.clear()
        if not self._broken:
            self._broken = True
            self._inbox.append(e.CallEnded(EndReason.INTERNAL_ERROR))
        else:
            self.release()

    def _take(self, event: e.Event) -> None:
        if isinstance(event, _CUTTING):
            self._report_progress()
        was_busy, self._busy = self._busy, True
        try:
            commands = self.call.receive(event, self.clock.monotonic())
            self._enter(type(event).__name__, plain(event), commands)
            if isinstance(event, e.SpeechStarted):
                self.parts.speaking.cut_clip()
        finally:
            self._busy = was_busy

    def _enter(self, name: str, data: dict[str, Any], commands: list[Command]) -> None:
        orders = tuple({"command": type(command).__name__, **plain(command)} for command in commands)
        if any(isinstance(command, ReleaseCall) for command in commands):
            self._note_figures()
        self._journal(name, data, orders, self.call)
        self.moved.set()
        for command in commands:
            carry_out(self, command)
        if self.parts.watch is not None:
            self.parts.watch.moved()

    def _note_figures(self) -> None:
        figures = self.meter.figures()
        if figures is not None:
            self.note("line-figures", plain(figures))

    def _report_progress(self) -> None:
        progress = self.parts.speaking.progress()
        if progress is not None and progress != self._progress:
            self._progress = progress
            commands = self.call.receive(progress, self.clock.monotonic())
            self._enter("PlayoutProgressed", plain(progress), commands)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self.call.next_timer()
        if at is not None and not self.released:
            delay = max(0.0, at - self.clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._fire, at)

    def _fire(self, at: float) -> None:
        self._timer = None
        if self._silence_is_unheard(at):
            self._timer = asyncio.get_running_loop().call_later(arrivals.AGAIN, self._fire, at)
            return
        self._report_progress()
        self._busy = True
        try:
            # A loop may call a little early; a deadline that had not come yet would be armed again and again.
            commands = self.call.handle_timer(max(at, self.clock.monotonic()))
            if commands:
                self._enter("timer", {}, commands)
        except Exception as error:  # as in _drain
            self._break(error)
        finally:
            self._busy = False
        self._drain()

    def _silence_is_unheard(self, at: float) -> bool:
        """Whether what falls due at this time follows from a silence that may be none.

        Its audio has not come yet, or the caller speaks again, as it seems, and the transcriber has not noticed.
        """
        now, ears = self.clock.monotonic(), self.parts.listening
        if ears is None or now - at > arrivals.PATIENCE:
            return False
        eager = self.call.policy.speculation.enabled
        patient = eager and now - at <= arrivals.VOICE_PATIENCE
        stirs = patient and isinstance(ears, Listening) and ears.voice_stirs
        if not stirs and not ears.arrivals.are_behind(now):
            return False
        return self.call.snapshot().caller is Caller.PAUSED
