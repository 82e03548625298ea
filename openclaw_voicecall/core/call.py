"""One call: facts in, orders out. No clock, no network, no tasks.

`Call` composes the parts of the core. It moves the leg and the media itself, leaves turn-taking to `Floor` and what
is said without being asked to `Agenda`. What remains is which facts are possible when, and how and why a call ends.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.agenda import Agenda
from openclaw_voicecall.core.amd import MachineDetector
from openclaw_voicecall.core.dtmf import DTMF_DIGITS, DigitCollector
from openclaw_voicecall.core.floor import Floor
from openclaw_voicecall.core.handover import Handover
from openclaw_voicecall.core.led import LedFloor
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import LEG, MEDIA, Automaton, CallView, Leg, Media
from openclaw_voicecall.core.timers import Timer, Timers
from openclaw_voicecall.core.turns import Kind
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError

_FIRST_FACTS: Final = frozenset({e.CallPlaced, e.CallOffered, e.CallEnded, e.HangUpRequested})
_REQUESTS: Final = frozenset({e.SayRequested, e.DigitsRequested, e.HangUpRequested})


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
        self._out: list[c.Command] = []
        self._timers = Timers()
        self._floor: Floor = (LedFloor if policy.model_led else Floor)(policy, self._timers, self._out)
        self._agenda = Agenda(policy, self._floor)
        self._keys = DigitCollector(policy.dtmf)
        self._amd = MachineDetector(policy.voicemail_window if outbound and policy.leave_voicemail else 0.0)
        self._reason: EndReason | None = None
        self._parting = False
        """Whether last words are being said: a farewell, or a message to a machine."""
        self._listening = False
        self._handover = Handover(policy, self._timers, self._floor, self._agenda, self._out)
        self._facts = self._fact_handlers()
        self._deadlines = self._deadline_handlers()

    @property
    def policy(self) -> CallPolicy:
        """The tuning of this call."""
        return self._policy

    def receive(self, event: e.Event, now: float) -> list[c.Command]:
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

    def handle_timer(self, now: float) -> list[c.Command]:
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
            queued=self._agenda.queued,
            failures=self._agenda.failures,
            machine=self._amd.has_announced(),
            last_words=self._parting or not self._policy.respond or floor.ends_call,
            gives_notice=floor.gives_notice,
            transferring=self._handover.under_way,
        )

    def _take_orders(self) -> list[c.Command]:
        orders = self._out.copy()
        self._out.clear()
        return orders

    def _fact_handlers(self) -> Mapping[type[e.Event], Callable[[Any, float], object]]:
        floor = self._floor
        return {
            e.CallPlaced: self._on_placed,
            e.CallOffered: self._on_offered,
            e.CallRinging: self._on_ringing,
            e.CallAnswered: self._on_answered,
            e.CallEnded: lambda fact, now: self._end(fact.reason),
            e.MachineDetected: self._on_machine,
            e.MediaConnected: self._on_media_connected,
            e.MediaLost: self._on_media_lost,
            e.DtmfReceived: self._on_dtmf,
            e.BeepDetected: self._on_beep,
            e.SpeechStarted: self._on_speech_started,
            e.SpeechStopped: self._on_speech_stopped,
            e.TranscriptReceived: self._on_transcript,
            e.TranscriptionFailed: self._on_transcription_failed,
            e.ResponseChunk: lambda fact, now: self._stir(now, floor.on_chunk(fact, now)),
            e.ReplyBegan: self._on_reply_began,
            e.UtteranceGrew: lambda fact, now: self._stir(now, floor.on_grew(fact)),
            e.ModelLost: self._on_model_lost,
            e.ResponseFinished: lambda fact, now: floor.on_finished(fact),
            e.ResponseFailed: lambda fact, now: floor.on_failed(fact),
            e.PlayoutProgressed: lambda fact, now: self._stir(now, floor.on_progress(fact)),
            e.UtterancePlayed: lambda fact, now: self._stir(now, floor.on_played(fact)),
            e.UtteranceFailed: lambda fact, now: floor.on_utterance_failed(fact),
            e.TransferRequested: self._on_transfer,
            e.TransferAnswered: self._on_transfer_answered,
            e.TransferFailed: self._on_transfer_failed,
            e.ClipPlayed: lambda fact, now: floor.write(
                "agent", fact.text, floor.turn, interrupted=fact.interrupted
            ),
            e.SayRequested: self._on_say,
            e.DigitsRequested: self._on_digits,
            e.HangUpRequested: self._on_hang_up,
        }

    def _deadline_handlers(self) -> Mapping[Timer, Callable[[float], None]]:
        unanswered = EndReason.NO_ANSWER if self._outbound else EndReason.FAILED
        return {
            Timer.HANG_UP: lambda now: self._end(EndReason.CARRIER_ERROR),
            Timer.MAX_DURATION: lambda now: self._hang_up(EndReason.MAX_DURATION, now),
            Timer.WARNING: lambda now: self._agenda.warn(self._policy.duration_warning),
            Timer.TRANSFER: self._on_transfer_overdue,
            Timer.RING: lambda now: self._hang_up(unanswered, now),
            Timer.MEDIA: lambda now: self._hang_up(EndReason.MEDIA_LOST, now),
            Timer.IDLE: lambda now: self._part(EndReason.IDLE, self._policy.idle_goodbye, now),
            Timer.FAREWELL: lambda now: self._hang_up(EndReason.COMPLETED, now),
            Timer.AFTER_GREETING: self._on_message_delivered,
            Timer.TRANSCRIPT: self._floor.on_transcript_overdue,
            Timer.ENDPOINT: self._floor.on_endpoint,
            Timer.REHEARSAL: lambda now: None,  # whatever happened, `_advance` looks what may be rehearsed
            Timer.RESUME: self._floor.on_resume_due,
            Timer.DIGITS: lambda now: self._agenda.add_digits(self._keys.take()),
        }

    # The leg.

    def _on_placed(self, fact: e.CallPlaced, now: float) -> None:
        if not self._outbound:
            raise RemoteProtocolError("an inbound call cannot be placed")
        self._leg.step(e.CallPlaced)
        self._timers.arm(Timer.RING, now + self._policy.ring_timeout)

    def _on_offered(self, fact: e.CallOffered, now: float) -> None:
        if self._outbound:
            raise RemoteProtocolError("an outbound call cannot be offered")
        self._leg.step(e.CallOffered)
        if fact.admitted:
            self._out.append(c.AnswerCall())
            self._listen()
            self._timers.arm(Timer.RING, now + self._policy.ring_timeout)
        else:
            self._out.append(c.RejectCall(EndReason.REJECTED))
            self._end(EndReason.REJECTED)

    def _on_ringing(self, fact: e.CallRinging, now: float) -> None:
        if self._leg.step(e.CallRinging) is Leg.RINGING:
            self._listen()

    def _on_answered(self, fact: e.CallAnswered, now: float) -> None:
        if self._leg.step(e.CallAnswered) is not Leg.UP:
            return
        self._listen()
        self._amd.answered(now)
        self._timers.cancel(Timer.RING)
        self._timers.arm(Timer.MAX_DURATION, now + self._policy.max_duration)
        if self._policy.respond and self._policy.max_duration >= 3 * self._policy.warn_before:
            self._timers.arm(Timer.WARNING, now + self._policy.max_duration - self._policy.warn_before)
        self._timers.arm(Timer.IDLE, now + self._policy.idle_timeout)
        if self._media.state is Media.FLOWING:
            self._floor.open_floor(now)
        else:
            self._timers.arm(Timer.MEDIA, now + self._policy.media_grace)

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._out.append(c.StartListening())

    def _hang_up(self, reason: EndReason, now: float) -> None:
        """Ask the carrier to end the leg. A reason that was decided before stands."""
        if self._leg.state in {Leg.ENDING, Leg.ENDED}:
            return
        if self._leg.state is Leg.NEW:
            self._end(reason)
            return
        self._close_record()
        self._leg.step(e.HangUpRequested)
        self._reason = self._reason or reason
        self._timers.clear()
        self._timers.arm(Timer.HANG_UP, now + self._policy.hang_up_grace)
        self._out.append(c.HangUp(self._reason))

    def _end(self, reason: EndReason) -> None:
        """The leg is over. A reason that was decided before stands."""
        self._close_record()
        self._leg.step(e.CallEnded)
        self._reason = self._reason or reason
        self._timers.clear()
        self._out.append(c.ReleaseCall(self._reason))

    def _close_record(self) -> None:
        """Stop all turns and write down what was said and dialled, and is no turn yet."""
        self._floor.close_floor()
        self._floor.write_caller_words()
        if digits := self._keys.take():
            self._agenda.add_digits(digits)
        self._agenda.write_digits()
        self._agenda.drop_texts()

    # Media.

    def _on_media_connected(self, fact: e.MediaConnected, now: float) -> None:
        returned = self._media.state is Media.LOST
        self._media.step(e.MediaConnected)
        if self._leg.state is Leg.UP and not self._handover.under_way:
            self._timers.cancel(Timer.MEDIA)
            if fact.unheard and self._policy.respond:
                # Half of what was said makes no sense: it is not answered, and the caller is asked to repeat it.
                self._floor.write_caller_words()
                self._agenda.add_apology(self._policy.apology)
            if returned and self._policy.respond and not self._floor.words.text:
                self._agenda.break_silence(self._policy.reconnected)
            self._floor.open_floor(now)

    def _on_media_lost(self, fact: e.MediaLost, now: float) -> None:
        self._media.step(e.MediaLost)
        if self._leg.state is Leg.UP and not self._handover.under_way:
            self._timers.arm(Timer.MEDIA, now + self._policy.media_grace)
            self._floor.close_floor()

    # The caller.

    def _on_speech_started(self, fact: e.SpeechStarted, now: float) -> None:
        self._amd.speech_started(now)
        self._floor.on_speech_started(now)

    def _on_speech_stopped(self, fact: e.SpeechStopped, now: float) -> None:
        self._amd.speech_stopped(now - fact.silence)
        self._floor.on_speech_stopped(fact, now)

    def _on_transcript(self, fact: e.TranscriptReceived, now: float) -> None:
        floor = self._floor
        if fact.text.strip():
            self._stir(now)
            self._amd.heard(f"{floor.words.text} {fact.text}", now)
            floor.machine_talks = self._amd.is_machine_talk(now)
        floor.on_transcript(fact, now)
        if self._leg.state is Leg.ENDING and fact.final:
            floor.write_caller_words()
        if self._amd.was_message_beep(now):
            self._leave_message(now)

    def _on_transcription_failed(self, fact: e.TranscriptionFailed, now: float) -> None:
        # A notification is no less heard because nobody listens to the answer.
        if self._policy.respond:
            self._give_up(EndReason.TRANSCRIPTION_FAILED, now)

    def _on_reply_began(self, fact: e.ReplyBegan, now: float) -> None:
        if not isinstance(self._floor, LedFloor):
            raise RemoteProtocolError("no model leads this call")
        self._floor.on_reply_began(fact, now)

    def _on_model_lost(self, fact: e.ModelLost, now: float) -> None:
        if isinstance(self._floor, LedFloor):
            self._floor.lose_model()
        if fact.instead:
            # Whoever talks on says what nobody heard, the greeting above all.
            for turn in self._floor.take_over():
                self._agenda.review(turn, media_lost=True)
            self._agenda.add_apology(self._policy.apology)
        elif self._policy.respond:
            self._give_up(EndReason.RESPONSE_FAILED, now)

    def _on_dtmf(self, fact: e.DtmfReceived, now: float) -> None:
        if fact.digit not in DTMF_DIGITS:
            raise RemoteProtocolError(f"{fact.digit!r} is no DTMF digit")
        self._stir(now)
        if self._floor.may_interrupt:
            self._floor.stop_agent()
        digits = self._keys.press(fact.digit)
        if digits is not None:
            self._timers.cancel(Timer.DIGITS)
            self._agenda.add_digits(digits)
        elif self._leg.state is not Leg.ENDING:
            self._timers.arm(Timer.DIGITS, now + self._policy.dtmf.inter_digit)

    def _on_machine(self, fact: e.MachineDetected, now: float) -> None:
        self._amd.verdict(fact.verdict, now)
        if fact.verdict == "fax":
            self._hang_up(EndReason.FAILED, now)
        elif self._amd.was_message_beep(now):
            self._leave_message(now)

    def _on_beep(self, fact: e.BeepDetected, now: float) -> None:
        if self._amd.is_message_beep(now):
            self._leave_message(now)
        else:
            self._amd.beeped(now)

    def _leave_message(self, now: float) -> None:
        if self._leg.state is Leg.UP and not self._parting:
            self._part(EndReason.VOICEMAIL, self._agenda.message(), now, kind=Kind.VOICEMAIL)

    # Handing the far party over.

    def _on_transfer(self, fact: e.TransferRequested, now: float) -> None:
        self._require_talk("transfer")
        if fact.at_once:
            self._transfer(fact.to, fact.announce, now)
            return
        if self._policy.transferring and self._floor.is_free:
            self._floor.open_turn(Kind.SAYING, self._policy.transferring)
        if not self._floor.plan_transfer(fact.to, fact.announce):
            self._transfer(fact.to, fact.announce, now)

    def _transfer(self, to: str, announce: str, now: float) -> None:
        """From here on the carrier has the far party, and audio that ends is no loss."""
        if self._leg.state is Leg.UP and not self._parting:
            self._handover.begin(to, announce, now)

    def _on_transfer_answered(self, fact: e.TransferAnswered, now: float) -> None:
        self._handover.answered(now)
        self._reason = self._reason or EndReason.TRANSFERRED

    def _on_transfer_failed(self, fact: e.TransferFailed, now: float) -> None:
        self._take_back(now, fact.detail)

    def _on_transfer_overdue(self, now: float) -> None:
        self._take_back(now, "no-answer")
        if self._media.state is not Media.FLOWING:
            self._out.append(c.TakeBack())

    def _take_back(self, now: float, why: str) -> None:
        self._handover.failed(now, why, audible=self._media.state is Media.FLOWING)
        if self._handover.nobody_left is not None:
            self._part(self._handover.nobody_left, self._policy.goodbye, now)

    # What the owner asks for.

    def _on_say(self, fact: e.SayRequested, now: float) -> None:
        self._require_talk("say anything")
        self._agenda.add_text(fact.text)

    def _on_digits(self, fact: e.DigitsRequested, now: float) -> None:
        self._require_talk("send digits")
        self._out.append(c.SendDigits(fact.digits))

    def _on_hang_up(self, fact: e.HangUpRequested, now: float) -> None:
        if not fact.farewell:
            self._hang_up(fact.reason, now)
        elif not self._parting:
            self._part(fact.reason, fact.farewell, now)

    def _require_talk(self, what: str) -> None:
        if self._leg.state is not Leg.UP or self._parting or self._handover.under_way:
            raise LocalProtocolError(f"cannot {what}: the call is {self._doing()}")

    def _doing(self) -> str:
        return (
            "ending"
            if self._parting
            else "being transferred"
            if self._handover.under_way
            else self._leg.state
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
        self._agenda.drop_texts()
        self._timers.cancel(Timer.IDLE, Timer.AFTER_GREETING)
        self._floor.stop_agent()
        self._floor.write_caller_words()
        self._floor.open_turn(kind, text)
        if kind is Kind.FAREWELL:
            self._reason = reason
            self._timers.arm(Timer.FAREWELL, now + self._policy.farewell_limit)

    def _give_up(self, reason: EndReason, now: float) -> None:
        """None of ours can go on with the talk. Whoever is handed over needs none of us, unless they come back."""
        if self._handover.under_way:
            self._handover.nobody_left = reason
        else:
            self._part(reason, self._policy.goodbye, now)

    def _on_message_delivered(self, now: float) -> None:
        """Nobody hears a message that ends before the beep: a machine is given time to come to it."""
        beep = self._amd.beep_expected_until(now)
        if beep is None:
            self._hang_up(EndReason.COMPLETED, now)
        else:
            self._timers.arm(Timer.AFTER_GREETING, beep)

    def _stir(self, now: float, moved: bool = True) -> None:
        """Somebody said or dialled something, if `moved`."""
        if moved and Timer.IDLE in self._timers:
            self._timers.arm(Timer.IDLE, now + self._policy.idle_timeout)

    def _advance(self, now: float) -> None:
        """Draw the conclusions from turns that ended, and give a free floor to what has waited for it."""
        for turn in self._floor.take_over():
            media_lost = self._leg.state is Leg.UP and not self._floor.is_open
            ending = self._agenda.review(turn, media_lost=media_lost and not self._handover.under_way)
            self._out += [c.NoteSaid(line.name, line.text) for line in self._agenda.take_said(turn)]
            after = self._policy.hang_up_after_greeting
            if ending is not None and ending.goodbye:
                self._part(ending.reason, self._policy.goodbye, now)
            elif ending is not None:
                self._hang_up(ending.reason, now)
            elif turn.kind is Kind.GREETING and turn.was_heard and after is not None:
                self._timers.arm(Timer.AFTER_GREETING, now + after)
            elif turn.transfer_to and not turn.interrupted:
                self._transfer(turn.transfer_to, turn.announce, now)
        if self._floor.unheard is not None:
            unheard, self._floor.unheard = self._floor.unheard, None
            if self._agenda.unheard(unheard) is not None:
                self._part(EndReason.TRANSCRIPTION_FAILED, self._policy.goodbye, now)
        dialling = bool(self._keys.digits)
        self._agenda.proceed(now, dialling=dialling)
        self._floor.rehearse(now, dialling=dialling)
