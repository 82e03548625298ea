"""Who has the floor: endpointing, barge-in, and the turns of both sides.

The floor is open while the leg is up and media flows; `Call` opens and closes it. While it is open, three rules
decide who talks:

* Speech of the caller makes a speaking agent yield at once (mode `yield`). Words then interrupt it; a backchannel,
  or no words at all, lets it resume from the heard point.
* Silence of the caller ends the caller's turn, once the transcriber has said its last word about it. The turn
  interrupts whatever the agent still does, and the agent answers it.
* An agent's turn is over when it is finished and all of it was played. Only what was heard is written down.

The last words of a call, a farewell or a message to a machine, are never interrupted; neither is the message of
a notification, nor a line that has to be said.
"""

from enum import StrEnum

from openclaw_voicecall.core.commands import (
    AppendTranscript,
    CancelResponse,
    ClearAudio,
    Command,
    FinishUtterance,
    HoldAudio,
    ResumeAudio,
    Speak,
    StartResponse,
    StartSaying,
)
from openclaw_voicecall.core.events import (
    PlayoutProgressed,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    SpeechStarted,
    SpeechStopped,
    TranscriptReceived,
    UtteranceFailed,
    UtteranceGrew,
    UtterancePlayed,
)
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.rehearsal import Rehearsals
from openclaw_voicecall.core.state import (
    AGENT,
    CALLER,
    Agent,
    Automaton,
    Caller,
    Drained,
    FloorClosed,
    Interrupted,
    Resumed,
    TurnCommitted,
    TurnOpened,
    Yielded,
)
from openclaw_voicecall.core.timers import Timer, Timers
from openclaw_voicecall.core.transcript import bid_words
from openclaw_voicecall.core.turns import AgentTurn, CallerTurn, FalseAlarms, Kind
from openclaw_voicecall.errors import RemoteProtocolError

_HOLD_LIMIT = 2
"""Sounds that come again and again hold the agent no longer than this many times the longest single sound."""


class Unheard(StrEnum):
    """Why no word came of something that the caller seems to have said."""

    FAILED = "failed"
    """The transcriber did not answer at all."""
    WORDLESS = "wordless"
    """It says that there were no words: they were not understood, or it was a noise."""


class Floor:
    """The caller's and the agent's automaton and their open turns.

    Args:
        policy: The tuning of the call.
        timers: The deadlines of the call; the floor arms `ENDPOINT`, `TRANSCRIPT`, `REHEARSAL` and `RESUME`.
        out: Where commands go, in the order in which they must happen.
    """

    def __init__(self, policy: CallPolicy, timers: Timers, out: list[Command]) -> None:
        self.caller = Automaton(CALLER, Caller.QUIET)
        self.agent = Automaton(AGENT, Agent.IDLE)
        self.words = CallerTurn(policy.endpointing)
        self.turn = 0
        self.lines = 0
        self.is_open = False
        self.unheard: Unheard | None = None
        """The caller spoke for long enough to have said something, and no word of it came."""
        self.machine_talks = False
        """Whether the caller's words are an announcement, which nobody answers."""
        self._policy = policy
        self._timers = timers
        self._out = out
        self._said = AgentTurn(0, Kind.RESPONSE, open=False)
        self._held_at = 0.0
        self._rehearsals = Rehearsals(policy.speculation, timers, out)
        self._alarms = FalseAlarms(policy.barge_in.false_alarms, policy.barge_in.alarm_span)
        self._over: list[AgentTurn] = []

    # Opening and closing.

    @property
    def ends_call(self) -> bool:
        """Whether the call ends with the agent's turn."""
        return self.agent.state is not Agent.IDLE and (self._said.is_last_word or self._said.end_call)

    @property
    def is_free(self) -> bool:
        """Whether the agent may start a turn."""
        return self.is_open and self.agent.state is Agent.IDLE

    @property
    def gives_notice(self) -> bool:
        """Whether the agent says a line that has to be said."""
        return self.agent.state is not Agent.IDLE and self._said.kind is Kind.NOTICE

    @property
    def may_interrupt(self) -> bool:
        """Whether the caller may interrupt what the agent does now."""
        if not self._policy.respond or self._policy.barge_in.mode == "off":
            return False
        return not self._said.is_last_word and not self.gives_notice

    def open_floor(self, now: float) -> None:
        """Audio flows on an answered call. Words that came before are the start of the caller's turn."""
        self.is_open = True
        if self.words.text:
            self.caller.step(TranscriptReceived)
            self.words.ended_at = now
            self._await_endpoint(now)

    def close_floor(self) -> None:
        """Audio no longer flows, or the call ends: interrupt the agent, and keep the caller's words."""
        self.is_open = False
        self._rehearsals.drop()
        self.stop_agent()
        self.caller.step(FloorClosed)
        self._timers.cancel(Timer.ENDPOINT, Timer.TRANSCRIPT)

    def write_caller_words(self) -> None:
        """Write down the caller's words that are no turn, final or not: nothing said is lost."""
        if text := self.words.take():
            self.write("caller", text, self.turn)

    def write(self, speaker: str, text: str, turn: int, *, interrupted: bool = False) -> None:
        """Add a line to the transcript."""
        self.lines += 1
        self._out.append(AppendTranscript(speaker, text, turn, interrupted))

    # The caller's turn.

    def on_speech_started(self, now: float) -> None:
        """The caller's voice began. A speaking agent yields at once."""
        if not self.is_open or self.caller.state is Caller.TALKING:
            return
        self.words.speech_started(now, new=self.caller.state is Caller.QUIET)
        self.words.over_agent = self.agent.state is not Agent.IDLE
        self.caller.step(SpeechStarted)
        self._timers.cancel(Timer.ENDPOINT, Timer.TRANSCRIPT)
        if self.agent.state is Agent.YIELDED:
            self._await_words(now + self._policy.barge_in.noise_after)
        elif self.agent.state in {Agent.SPEAKING, Agent.DRAINING} and self._yields():
            if self._alarms.are_enough(now):
                self._alarms.ring(now)
            else:
                self._hold(now, now + self._policy.barge_in.noise_after)

    def on_speech_stopped(self, fact: SpeechStopped, now: float) -> None:
        """The caller's voice ended a moment ago. The turn is over if it does not come back in time."""
        if self.caller.state is not Caller.TALKING:
            return
        self.caller.step(SpeechStopped)
        self.words.ended_at = now - fact.silence
        if fact.closes:
            self.words.open = self.words.closing = True
        self._await_endpoint(now)
        if self.agent.state is Agent.YIELDED:
            self._await_words(max(now, self.words.ended_at + self._policy.barge_in.resume_after))

    def on_transcript(self, fact: TranscriptReceived, now: float) -> None:
        """Words of the caller. They may interrupt the agent, move the end of the turn, or complete it."""
        before = self.words.text
        new = self.words.hear(fact.text, final=fact.final, talking=self.caller.state is Caller.TALKING)
        if self.words.text != before:
            self.words.changed_at = now
        if not self.is_open or (self.caller.state is Caller.QUIET and not new):
            return
        if self.caller.state is Caller.QUIET:
            self.words.has_edges = False
        self.caller.step(TranscriptReceived)
        if not self.words.has_edges:
            self.words.ended_at = now
        if self.agent.state is not Agent.IDLE and self._judge(new, fact.final, now):
            return
        if self.caller.state is Caller.TALKING and self.words.text != before:
            self._await_stale(now)
        if self.caller.state is not Caller.PAUSED or self.words.ready:
            return
        if Timer.TRANSCRIPT not in self._timers:
            self._await_endpoint(now)
        elif fact.final and not self.words.open and not self._doubts_silence():
            self._conclude(now)

    def on_endpoint(self, now: float) -> None:
        """The caller was silent long enough. Conclude the turn, or first ask for the final text of its last words."""
        if self.caller.state is Caller.TALKING:
            # It is not the caller who sounds on: there was no new word of theirs for long.
            self.caller.step(SpeechStopped)
            self.words.has_edges = False
            self.words.ended_at = now
        if self.words.open and not self.words.asked:
            self.words.asked = True
            self._out.append(FinishUtterance())
            self._timers.arm(Timer.TRANSCRIPT, now + self._policy.endpointing.transcript_wait)
        elif self._doubts_silence():
            # It may have been a noise, and whoever has really spoken may well go on: no need to ask at once.
            self._timers.arm(Timer.TRANSCRIPT, now + self._policy.endpointing.transcript_wait)
        else:
            self._conclude(now)

    def on_transcript_overdue(self, now: float) -> None:
        """The final text did not come: the last interim has to do. Without one the caller is waiting for nothing."""
        if self._is_lost():
            self.unheard = Unheard.FAILED if self.words.open else Unheard.WORDLESS
        self._conclude(now)

    def commit(self, now: float) -> None:
        """The caller's turn is over: answer it, or go on if it was nothing."""
        self._timers.cancel(Timer.ENDPOINT, Timer.TRANSCRIPT)
        self.caller.step(TurnCommitted)
        cut_agent = self.words.cut_agent
        # A turn that had to wait for the agent's own words has been in silence only since these ended.
        waited = 0.0 if self.words.ready else max(0.0, now - self.words.ended_at)
        text = self.words.take()
        if text and not self._is_aside(text):
            self.answer(text, waited=waited)
            return
        if text:
            self.write("caller", text, self.turn)
        elif cut_agent and self.is_free and self._policy.apology:
            # Words that were taken back have silenced the agent; it must not stay silent.
            self.open_turn(Kind.APOLOGY, self._policy.apology)
        self._resume(now)

    def answer(self, text: str, digits: str = "", *, waited: float = 0.0) -> None:
        """Take up a committed turn of the caller, said or dialled: interrupt the agent and start its answer."""
        if self._policy.respond:
            if text and self.agent.state is Agent.YIELDED:
                self._alarms.forget()
            self.stop_agent()
        self.turn += 1
        self.write("caller", text or f"[keys {digits}]", self.turn)
        if self._policy.respond:
            self._timers.cancel(Timer.AFTER_GREETING)
            self._rehearsals.commit(self.turn, text)
            self._begin(AgentTurn(self.turn, Kind.RESPONSE))
            self._out.append(StartResponse(self.turn, text, digits, waited))

    def rehearse(self, now: float, *, dialling: bool) -> None:
        """Begin the answer to what the caller has said so far, if it may be all; drop one that was begun in vain."""
        answers = self.is_free and self._policy.respond and not (self.machine_talks or dialling)
        if self.caller.state is Caller.QUIET:
            self._rehearsals.caller_is_quiet()
        elif self.caller.state is Caller.PAUSED and answers:
            self._rehearsals.look(self.words, self.turn + 1, now)
        else:
            self._rehearsals.drop()

    def _doubts_silence(self) -> bool:
        """Whether a transcriber that found no words in what the caller said is not to be believed.

        A sound over the agent's voice may have been an echo, and needs no answer of its own.
        """
        return self._is_lost() and not self.words.over_agent

    def _is_lost(self) -> bool:
        """Whether the caller said something of which no word came, and waits for an answer."""
        words = self.words
        spoke = words.has_edges and words.ended_at - words.began_at >= self._policy.endpointing.unheard_after
        return spoke and not words.text and self.agent.state is Agent.IDLE and self._policy.respond

    def _is_aside(self, text: str) -> bool:
        """Whether words are written down without being a turn."""
        if self.machine_talks or (self._said.is_last_word and self.agent.state is not Agent.IDLE):
            return True
        return self.agent.state is not Agent.IDLE and self._bid(text) == 0

    def _conclude(self, now: float) -> None:
        """The turn is over; it waits only for an agent that answers but may not be interrupted."""
        text = self.words.text
        if text and self.agent.state is not Agent.IDLE and not self._is_aside(text):
            self.words.ready = self._policy.respond and not self.may_interrupt
        if self.words.ready:
            self._timers.cancel(Timer.ENDPOINT, Timer.TRANSCRIPT)
        else:
            self.commit(now)

    def _await_endpoint(self, now: float) -> None:
        self._timers.arm(Timer.ENDPOINT, max(now, self.words.endpoint()))

    def _await_stale(self, now: float) -> None:
        if self._policy.endpointing.stale_after is not None:
            self._timers.arm(Timer.ENDPOINT, now + self._policy.endpointing.stale_after)

    # Barge-in.

    def stop_agent(self) -> None:
        """Interrupt the agent, if it has a turn, and write down what was heard of it."""
        if self.agent.state is Agent.IDLE:
            return
        turn = self._said
        if turn.open:
            self._out.append(CancelResponse(turn.number))
        if self.agent.state is not Agent.THINKING:
            self._out.append(ClearAudio(turn.number))
        if heard := turn.heard_text():
            self.write("agent", heard, turn.number, interrupted=turn.open or turn.pending)
        turn.open = False
        turn.interrupted = True
        self.agent.step(Interrupted)
        self._timers.cancel(Timer.RESUME)
        self._over.append(turn)

    def on_resume_due(self, now: float) -> None:
        """The sound that made the agent yield has lasted, or has ended, without words that interrupt."""
        if self.caller.state is not Caller.PAUSED or self._bid(self.words.text) == 0:
            self._resume(now)

    def _judge(self, new: str, final: bool, now: float) -> bool:
        """Decide what the caller's words mean for a busy agent; true if they were set aside as a backchannel."""
        bid = self._bid(self.words.text)
        if final and new and bid == 0:
            self._timers.cancel(Timer.ENDPOINT, Timer.TRANSCRIPT)
            if self.caller.state is Caller.PAUSED:
                self.caller.step(TurnCommitted)
            self.write_caller_words()
            self._resume(now)
            return True
        if bid and bid >= self._policy.barge_in.min_words and self.may_interrupt:
            if self.agent.state is Agent.YIELDED:
                self._alarms.forget()
            self.stop_agent()
            self.words.cut_agent = True
        return False

    def _bid(self, text: str) -> int:
        return bid_words(text, self._policy.barge_in.backchannels)

    def _yields(self) -> bool:
        return self.may_interrupt and self._policy.barge_in.mode == "yield"

    def _hold(self, now: float, until: float) -> None:
        self._out.append(HoldAudio(self._said.number))
        self.agent.step(Yielded)
        self._held_at = now
        self._await_words(until)

    def _await_words(self, until: float) -> None:
        tuning = self._policy.barge_in
        limit = self._held_at + _HOLD_LIMIT * max(tuning.noise_after, tuning.resume_after)
        self._timers.arm(Timer.RESUME, min(until, limit))

    def _resume(self, now: float) -> None:
        if self.agent.state is not Agent.YIELDED:
            return
        self._alarms.ring(now)
        self._timers.cancel(Timer.RESUME)
        self._out.append(ResumeAudio(self._said.number))
        self.agent.step(Resumed)
        if not self._said.open:
            self.agent.step(ResponseFinished)
            self._settle()

    def _undecided_until(self, now: float) -> float:
        """Until when a sound of the caller may still become words; not after `now` if there is no such sound."""
        tuning = self._policy.barge_in
        if self.words.ready:
            return now  # a turn that is over waits for this one of the agent
        if self.caller.state is Caller.TALKING:
            return self.words.began_at + tuning.noise_after
        if self.caller.state is Caller.PAUSED:
            until = self.words.ended_at + tuning.resume_after
            return max(until, now + tuning.resume_after) if self._bid(self.words.text) else until
        return now

    # The agent's turn.

    def open_turn(self, kind: Kind, text: str) -> None:
        """Start to say a fixed text as the agent's turn."""
        self.turn += 1
        self._begin(AgentTurn(self.turn, kind, text))
        self._out.append(StartSaying(self.turn, text))

    def on_chunk(self, fact: ResponseChunk, now: float) -> bool:
        """The next utterance of the agent's turn; true if it belongs to the open turn and is spoken."""
        if not self._is_current(fact.turn):
            return False
        if fact.utterance in self._said.utterances:
            raise RemoteProtocolError(f"utterance {fact.utterance} was already given")
        if self.agent.state is Agent.THINKING and self._yields() and not self._alarms.are_enough(now):
            until = self._undecided_until(now)
            if until > now:
                self._hold(now, until)
        self.agent.step(ResponseChunk)
        self._said.add(fact.utterance, fact.text)
        self._out.append(Speak(fact.turn, fact.utterance, fact.text))
        return True

    def on_grew(self, fact: UtteranceGrew) -> bool:
        """An utterance that is still being made has more words; true if it is one of the agent's turn."""
        return self._said.number == fact.turn and self._said.grow(fact.utterance, fact.text)

    def on_finished(self, fact: ResponseFinished) -> None:
        """The agent's turn is written to its end."""
        if self._is_current(fact.turn):
            self._said.finish(end_call=fact.end_call, wordless=fact.wordless)
            self.agent.step(ResponseFinished)
            self._settle()

    def plan_transfer(self, to: str, announce: str) -> bool:
        """Hand the far party over after the agent's turn; false if there is none that could be waited for."""
        if self.agent.state is Agent.IDLE:
            return False
        self._said.transfer_to, self._said.announce = to, announce
        return True

    def on_failed(self, fact: ResponseFailed) -> None:
        """The agent's turn broke off; what it said before is still played."""
        if self._is_current(fact.turn):
            self._said.fail()
            self.agent.step(ResponseFailed)
            self._settle()

    def on_progress(self, fact: PlayoutProgressed) -> bool:
        """How far the utterance now playing was heard; true if the caller has heard more than before."""
        return self._said.progress(fact.utterance, fact.heard, fact.duration)

    def on_played(self, fact: UtterancePlayed) -> bool:
        """An utterance was heard to its end; true if it is one of the agent's turn."""
        known = self._said.play(fact.utterance)
        self._settle()
        return known

    def on_utterance_failed(self, fact: UtteranceFailed) -> None:
        """An utterance cannot be spoken: it counts as not heard, and its turn as failed."""
        self._said.drop(fact.utterance)
        self._settle()

    def take_over(self) -> list[AgentTurn]:
        """The agent's turns that have just ended, each once: to their own end, or interrupted."""
        over, self._over = self._over, []
        return over

    def _begin(self, turn: AgentTurn) -> None:
        self._rehearsals.drop()
        self.agent.step(TurnOpened)
        self._said = turn

    def _is_current(self, turn: int) -> bool:
        """Whether a turn is the agent's open one; facts of any other are stale."""
        if turn > self.turn:
            raise RemoteProtocolError(f"turn {turn} was never opened")
        return self._said.open and self._said.number == turn

    def _settle(self) -> None:
        if self.agent.state is not Agent.DRAINING or self._said.pending:
            return
        self.agent.step(Drained)
        if heard := self._said.heard_text():
            self.write("agent", heard, self._said.number)
        self._over.append(self._said)
