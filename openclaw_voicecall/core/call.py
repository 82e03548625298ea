"""One call: facts in, orders out. No clock, no network, no tasks.

`Call` composes the parts of the core. It moves the leg and the media itself, and leaves turn-taking to `Floor`. What
remains for it is what is said without being asked (greeting, apology, farewell, message to a machine, texts of the
owner) and why the call ends.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from openclaw_voicecall.core.amd import MachineDetector
from openclaw_voicecall.core.commands import (
    AnswerCall,
    Command,
    HangUp,
    RejectCall,
    ReleaseCall,
    SendDigits,
    StartListening,
)
from openclaw_voicecall.core.dtmf import DTMF_DIGITS, DigitCollector
from openclaw_voicecall.core.events import (
    BeepDetected,
    CallAnswered,
    CallEnded,
    CallOffered,
    CallPlaced,
    CallRinging,
    DigitsRequested,
    DtmfReceived,
    Event,
    HangUpRequested,
    MachineDetected,
    MediaConnected,
    MediaLost,
    PlayoutProgressed,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    SayRequested,
    SpeechStarted,
    SpeechStopped,
    TranscriptionFailed,
    TranscriptReceived,
    UtteranceFailed,
    UtterancePlayed,
)
from openclaw_voicecall.core.floor import Floor
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import LEG, MEDIA, Automaton, Caller, CallView, Leg, Media
from openclaw_voicecall.core.timers import Timer, Timers
from openclaw_voicecall.core.turns import AgentTurn, Kind
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError

QUEUE_LIMIT: Final = 20
"""Texts of the owner that may wait for the floor."""

_FIRST_FACTS: Final = frozenset({CallPlaced, CallOffered, CallEnded, HangUpRequested})
_REQUESTS: Final = frozenset({SayRequested, DigitsRequested, HangUpRequested})


class Call:
    """The whole behaviour of one call, as a pure object.

    Feed every fact to `receive`, and call `handle_timer` when `next_timer` has come. Both return what to do, in
    order. `now` is any clock that never goes back, in seconds.

    Args:
        policy: The tuning of this call.
        outbound: Whether we place the call.
    """

    def __init__(self, policy: CallPolicy, *, outbound: bool) -> None:
        self._policy = policy
        self._outbound = outbound
        self._leg = Automaton(LEG, Leg.NEW)
        self._media = Automaton(MEDIA, Media.NONE)
        self._out: list[Command] = []
        self._timers = Timers()
        self._floor = Floor(policy, self._timers, self._out)
        self._keys = DigitCollector(policy.dtmf)
        self._amd = MachineDetector(policy.voicemail_window if outbound and policy.leave_voicemail else 0.0)
        self._reason: EndReason | None = None
        self._parting = False
        """Whether the last words are being said: the end is decided, and `_reason` says why."""
        self._listening = False
        self._failures = 0
        self._first: tuple[Kind, str] | None = (Kind.GREETING, policy.greeting) if policy.greeting else None
        """What the agent says as soon as it can, before anything that waits."""
        self._texts: deque[str] = deque()
        self._dialled: deque[str] = deque()
        self._facts = self._fact_handlers()
        self._deadlines = self._deadline_handlers()

    def receive(self, event: Event, now: float) -> list[Command]:
        """Take a fact and return the orders that follow from it. After the end it is silently ignored.

        Raises:
            RemoteProtocolError: The state of the call makes this fact impossible. Nothing changed.
            LocalProtocolError: The owner asks for what the state of the call forbids. Nothing changed.
        """
        if self._leg.state is Leg.ENDED:
            return []
        if self._leg.state is Leg.NEW and type(event) not in _FIRST_FACTS:
            error = LocalProtocolError if type(event) in _REQUESTS else RemoteProtocolError
            raise error(f"{type(event).__name__} before the call exists")
        self._floor.machine_talks = self._amd.is_machine_talk(now)
        self._facts[type(event)](event, now)
        self._advance(now)
        return self._take_orders()

    def next_timer(self) -> float | None:
        """When `handle_timer` must be called next, or None if nothing is awaited."""
        return self._timers.next()

    def handle_timer(self, now: float) -> list[Command]:
        """Fire every deadline that has come and return the orders that follow."""
        self._floor.machine_talks = self._amd.is_machine_talk(now)
        while timer := self._timers.pop_due(now):
            self._deadlines[timer](now)
            self._advance(now)
        return self._take_orders()

    def snapshot(self) -> CallView:
        """The call as it is now."""
        floor = self._floor
        return CallView(
            outbound=self._outbound,
            leg=self._leg.state,
            media=self._media.state,
            caller=floor.caller.state,
            agent=floor.agent.state,
            turn=floor.turn,
            reason=self._reason,
            interim=floor.words.interim,
            turn_text=floor.words.text,
            digits=self._keys.digits,
            lines=floor.lines,
            queued=len(self._texts),
            failures=self._failures,
            machine=self._amd.has_announced(),
        )

    def _take_orders(self) -> list[Command]:
        orders = self._out.copy()
        self._out.clear()
        return orders

    def _fact_handlers(self) -> Mapping[type[Event], Callable[[Any, float], object]]:
        floor = self._floor
        return {
            CallPlaced: self._on_placed,
            CallOffered: self._on_offered,
            CallRinging: self._on_ringing,
            CallAnswered: self._on_answered,
            CallEnded: self._on_ended,
            MachineDetected: self._on_machine,
            MediaConnected: self._on_media_connected,
            MediaLost: self._on_media_lost,
            DtmfReceived: self._on_dtmf,
            BeepDetected: self._on_beep,
            SpeechStarted: self._on_speech_started,
            SpeechStopped: self._on_speech_stopped,
            TranscriptReceived: self._on_transcript,
            TranscriptionFailed: self._on_transcription_failed,
            ResponseChunk: lambda fact, now: floor.on_chunk(fact, now) and self._stir(now),
            ResponseFinished: lambda fact, now: floor.on_finished(fact),
            ResponseFailed: lambda fact, now: floor.on_failed(fact),
            PlayoutProgressed: lambda fact, now: floor.on_progress(fact) and self._stir(now),
            UtterancePlayed: lambda fact, now: floor.on_played(fact) and self._stir(now),
            UtteranceFailed: lambda fact, now: floor.on_utterance_failed(fact),
            SayRequested: self._on_say,
            DigitsRequested: self._on_digits,
            HangUpRequested: self._on_hang_up,
        }

    def _deadline_handlers(self) -> Mapping[Timer, Callable[[float], None]]:
        unanswered = EndReason.NO_ANSWER if self._outbound else EndReason.FAILED
        return {
            Timer.HANG_UP: lambda now: self._end(EndReason.CARRIER_ERROR),
            Timer.MAX_DURATION: lambda now: self._hang_up(EndReason.MAX_DURATION, now),
            Timer.RING: lambda now: self._hang_up(unanswered, now),
            Timer.MEDIA: lambda now: self._hang_up(EndReason.MEDIA_LOST, now),
            Timer.IDLE: lambda now: self._part(EndReason.IDLE, self._policy.goodbye, now),
            Timer.FAREWELL: lambda now: self._hang_up(EndReason.COMPLETED, now),
            Timer.AFTER_GREETING: self._on_message_delivered,
            Timer.TRANSCRIPT: self._floor.on_transcript_overdue,
            Timer.ENDPOINT: self._floor.on_endpoint,
            Timer.RESUME: self._floor.on_resume_due,
            Timer.DIGITS: lambda now: self._dial(self._keys.take()),
        }

    # The leg.

    def _on_placed(self, fact: CallPlaced, now: float) -> None:
        if not self._outbound:
            raise RemoteProtocolError("an inbound call cannot be placed")
        self._leg.step(CallPlaced)
        self._timers.arm(Timer.RING, now + self._policy.ring_timeout)

    def _on_offered(self, fact: CallOffered, now: float) -> None:
        if self._outbound:
            raise RemoteProtocolError("an outbound call cannot be offered")
        self._leg.step(CallOffered)
        if fact.admitted:
            self._out.append(AnswerCall())
            self._listen()
            self._timers.arm(Timer.RING, now + self._policy.ring_timeout)
        else:
            self._out.append(RejectCall(EndReason.REJECTED))
            self._end(EndReason.REJECTED)

    def _on_ringing(self, fact: CallRinging, now: float) -> None:
        if self._leg.step(CallRinging) is Leg.RINGING:
            self._listen()

    def _on_answered(self, fact: CallAnswered, now: float) -> None:
        if self._leg.step(CallAnswered) is not Leg.UP:
            return
        self._listen()
        self._amd.answered(now)
        self._timers.cancel(Timer.RING)
        self._timers.arm(Timer.MAX_DURATION, now + self._policy.max_duration)
        self._timers.arm(Timer.IDLE, now + self._policy.idle_timeout)
        if self._media.state is Media.FLOWING:
            self._floor.open_floor(now)
        else:
            self._timers.arm(Timer.MEDIA, now + self._policy.media_grace)

    def _on_ended(self, fact: CallEnded, now: float) -> None:
        self._end(fact.reason)

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._out.append(StartListening())

    def _hang_up(self, reason: EndReason, now: float) -> None:
        """Ask the carrier to end the leg. A reason that was decided before stands."""
        if self._leg.state is Leg.ENDING:
            return
        if self._leg.state is Leg.NEW:
            self._end(reason)
            return
        self._close_record()
        self._leg.step(HangUpRequested)
        self._reason = self._reason or reason
        self._timers.clear()
        self._timers.arm(Timer.HANG_UP, now + self._policy.hang_up_grace)
        self._out.append(HangUp(self._reason))

    def _end(self, reason: EndReason) -> None:
        """The leg is over. A reason that was decided before stands."""
        self._close_record()
        self._leg.step(CallEnded)
        self._reason = self._reason or reason
        self._timers.clear()
        self._out.append(ReleaseCall(self._reason))

    def _close_record(self) -> None:
        """Stop all turns and write down what was said and dialled, and is no turn yet."""
        self._floor.close_floor()
        self._floor.write_caller_words()
        for digits in (*self._dialled, self._keys.take()):
            if digits:
                self._floor.write("caller", f"[keys {digits}]", self._floor.turn)
        self._dialled.clear()
        self._texts.clear()

    # Media.

    def _on_media_connected(self, fact: MediaConnected, now: float) -> None:
        self._media.step(MediaConnected)
        if self._leg.state is Leg.UP:
            self._timers.cancel(Timer.MEDIA)
            self._floor.open_floor(now)

    def _on_media_lost(self, fact: MediaLost, now: float) -> None:
        self._media.step(MediaLost)
        if self._leg.state is Leg.UP:
            self._timers.arm(Timer.MEDIA, now + self._policy.media_grace)
            self._floor.close_floor()

    # The caller.

    def _on_speech_started(self, fact: SpeechStarted, now: float) -> None:
        self._amd.speech_started(now)
        self._floor.on_speech_started(now)

    def _on_speech_stopped(self, fact: SpeechStopped, now: float) -> None:
        self._amd.speech_stopped(now - fact.silence)
        self._floor.on_speech_stopped(fact.silence, now)

    def _on_transcript(self, fact: TranscriptReceived, now: float) -> None:
        floor = self._floor
        if fact.text.strip():
            self._stir(now)
            self._amd.heard(f"{floor.words.text} {fact.text}", now)
            floor.machine_talks = self._amd.is_machine_talk(now)
        floor.on_transcript(fact, now)
        if self._leg.state is Leg.ENDING and fact.final:
            floor.write_caller_words()

    def _on_transcription_failed(self, fact: TranscriptionFailed, now: float) -> None:
        # A notification is no less heard because nobody listens to the answer.
        if self._policy.respond:
            self._part(EndReason.TRANSCRIPTION_FAILED, self._policy.goodbye, now)

    def _on_dtmf(self, fact: DtmfReceived, now: float) -> None:
        if fact.digit not in DTMF_DIGITS:
            raise RemoteProtocolError(f"{fact.digit!r} is no DTMF digit")
        self._stir(now)
        if self._floor.may_interrupt:
            self._floor.stop_agent()
        digits = self._keys.press(fact.digit)
        if self._leg.state is Leg.ENDING:
            self._close_record()
        elif digits is None:
            self._timers.arm(Timer.DIGITS, now + self._policy.dtmf.inter_digit)
        else:
            self._timers.cancel(Timer.DIGITS)
            self._dial(digits)

    def _dial(self, digits: str) -> None:
        """A dialled turn is complete; it is taken up as soon as the agent may be interrupted or is free."""
        if self._floor.is_open and self._policy.respond and self._floor.may_interrupt:
            self._floor.answer("", digits)
        else:
            self._dialled.append(digits)

    def _on_machine(self, fact: MachineDetected, now: float) -> None:
        self._amd.verdict(fact.verdict, now)
        if fact.verdict == "fax":
            self._hang_up(EndReason.FAILED, now)

    def _on_beep(self, fact: BeepDetected, now: float) -> None:
        if not self._parting and self._leg.state is Leg.UP and self._amd.is_message_beep(now):
            self._part(EndReason.VOICEMAIL, self._policy.greeting, now, kind=Kind.VOICEMAIL)

    # What the owner asks for.

    def _on_say(self, fact: SayRequested, now: float) -> None:
        self._require_talk("say anything")
        if not fact.text.strip():
            raise LocalProtocolError("there is nothing to say")
        if len(self._texts) >= QUEUE_LIMIT:
            raise LocalProtocolError(f"{QUEUE_LIMIT} texts already wait to be said")
        self._texts.append(fact.text)

    def _on_digits(self, fact: DigitsRequested, now: float) -> None:
        self._require_talk("send digits")
        self._out.append(SendDigits(fact.digits))

    def _on_hang_up(self, fact: HangUpRequested, now: float) -> None:
        if not fact.farewell:
            self._hang_up(fact.reason, now)
        elif not self._parting:
            self._part(fact.reason, fact.farewell, now)

    def _require_talk(self, what: str) -> None:
        if self._leg.state is not Leg.UP or self._parting:
            raise LocalProtocolError(
                f"cannot {what}: the call is {'ending' if self._parting else self._leg.state}"
            )

    # What the agent says on its own.

    def _part(self, reason: EndReason, text: str, now: float, *, kind: Kind = Kind.FAREWELL) -> None:
        """End the call, with last words if they can be heard. An end that is already decided stands."""
        if self._parting:
            return
        if not text or not self._floor.is_open:
            self._hang_up(reason, now)
            return
        self._parting = True
        self._reason = reason
        self._first = None
        self._texts.clear()
        self._timers.cancel(Timer.IDLE, Timer.AFTER_GREETING)
        self._floor.stop_agent()
        self._floor.write_caller_words()
        self._floor.open_turn(kind, text)
        if kind is Kind.FAREWELL:
            self._timers.arm(Timer.FAREWELL, now + self._policy.farewell_limit)

    def _on_message_delivered(self, now: float) -> None:
        """Nobody hears a message that ends before the beep: a machine is given time to come to it."""
        beep = self._amd.beep_expected_until(now)
        if beep is None:
            self._hang_up(EndReason.COMPLETED, now)
        else:
            self._timers.arm(Timer.AFTER_GREETING, beep)

    def _stir(self, now: float) -> None:
        """Somebody said or dialled something."""
        if Timer.IDLE in self._timers:
            self._timers.arm(Timer.IDLE, now + self._policy.idle_timeout)

    def _advance(self, now: float) -> None:
        """Draw the conclusions from turns that ended, and give a free floor to what has waited for it."""
        for turn in self._floor.take_over():
            if turn.interrupted:
                self._after_cut(turn, now)
            else:
                self._after_end(turn, now)
        if not self._floor.is_free:
            return
        if self._first is not None:
            (kind, text), self._first = self._first, None
            self._floor.open_turn(kind, text)
        elif self._floor.words.ready:
            self._floor.commit(now)
        elif self._dialled:
            self._floor.answer("", self._dialled.popleft())
        elif self._texts and self._floor.caller.state is Caller.QUIET:
            self._floor.open_turn(Kind.SAYING, self._texts.popleft())

    def _after_end(self, turn: AgentTurn, now: float) -> None:
        """An agent's turn came to its own end."""
        if turn.is_last_word:
            if turn.kind is Kind.VOICEMAIL and turn.failure is not None:
                self._reason = turn.failure
            self._hang_up(EndReason.COMPLETED, now)
        elif turn.end_call:
            self._hang_up(EndReason.AGENT_HUNG_UP, now)
        elif turn.failure is not None:
            self._after_failure(turn, turn.failure, now)
        else:
            self._count(turn)
            after = self._policy.hang_up_after_greeting
            if turn.kind is Kind.GREETING and after is not None:
                self._timers.arm(Timer.AFTER_GREETING, now + after)

    def _after_failure(self, turn: AgentTurn, failure: EndReason, now: float) -> None:
        self._count(turn)
        if self._failures >= self._policy.max_failures:
            self._part(failure, self._policy.goodbye, now)
        elif turn.kind is Kind.GREETING and self._policy.hang_up_after_greeting is not None:
            self._first = (turn.kind, turn.text)
        elif self._policy.apology:
            self._first = (Kind.APOLOGY, self._policy.apology)

    def _after_cut(self, turn: AgentTurn, now: float) -> None:
        """An agent's turn was interrupted. If a lost stream did it, what nobody heard is said again."""
        self._count(turn)
        if self._leg.state is not Leg.UP or self._floor.is_open:
            return
        if turn.is_last_word:
            self._hang_up(EndReason.MEDIA_LOST, now)
        elif turn.kind is Kind.GREETING and self._policy.hang_up_after_greeting is not None:
            self._first = (turn.kind, turn.text)
        elif not turn.heard_text():
            self._say_again(turn)

    def _say_again(self, turn: AgentTurn) -> None:
        if turn.kind is Kind.SAYING:
            self._texts.appendleft(turn.text)
        elif turn.kind is Kind.GREETING:
            self._first = (turn.kind, turn.text)
        elif self._policy.apology:
            # An answer is not asked for twice: what it did on the way may not be done again.
            self._first = (Kind.APOLOGY, self._policy.apology)

    def _count(self, turn: AgentTurn) -> None:
        """Count failed turns in a row. An apology that was heard does not end the row."""
        if turn.failure is not None:
            self._failures += 1
        elif turn.kind is not Kind.APOLOGY and turn.heard_text():
            self._failures = 0
