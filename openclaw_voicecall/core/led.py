"""Turns that a speech-to-speech model decides: it hears when the caller is done, answers, and falls silent, by itself.

What is left for the core is to give the model's replies their turns, to refuse those that nobody may hear now, to see
to it that a caller who is not answered is answered after all, and to write down who said what in the right order: the
words of the caller come late, often when the answer to them is being spoken already.

When the model is gone for good, the same floor goes on as every other: a pipeline listens and answers.
"""

from openclaw_voicecall.core.commands import AdoptReply, AppendTranscript, Command, DropReply, StartResponse
from openclaw_voicecall.core.events import ReplyBegan, SpeechStarted, SpeechStopped, TranscriptReceived
from openclaw_voicecall.core.floor import Floor
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.state import Agent, Caller, FloorClosed, TurnCommitted
from openclaw_voicecall.core.timers import Timer, Timers
from openclaw_voicecall.core.turns import AgentTurn, Kind


class LedFloor(Floor):
    """The floor of a call that a model leads.

    Args:
        policy: The tuning of the call.
        timers: The deadlines of the call; `ENDPOINT` is that of the model's reply here, `TRANSCRIPT` that of the
            caller's words.
        out: Where commands go.
    """

    def __init__(self, policy: CallPolicy, timers: Timers, out: list[Command]) -> None:
        super().__init__(policy, timers, out)
        self.led = True
        """Whether the model is there."""
        self._owed = 0
        """Things that the caller said and whose words have not come."""
        self._unanswered = ""
        """Words since the last reply."""
        self._late: list[AppendTranscript] = []
        """Lines of the agent that come after words of the caller which are owed."""

    def open_floor(self, now: float) -> None:
        """Audio flows on an answered call."""
        if self.led:
            self.is_open = True
        else:
            super().open_floor(now)

    def on_reply_began(self, fact: ReplyBegan, now: float) -> None:
        """The model answers the caller. Nobody may hear it while something else is said, or has to be."""
        if not self.led:
            return
        if self.caller.state is Caller.PAUSED:
            self.caller.step(TurnCommitted)
            self._timers.cancel(Timer.ENDPOINT)
        if self.is_free and self._policy.respond and not self.machine_talks:
            self._open_response()
            self._out.append(AdoptReply(self.turn, fact.reply))
        else:
            self._out.append(DropReply(fact.reply))

    def on_speech_started(self, now: float) -> None:
        """The caller's voice began. The model has fallen silent, and so has what of it was not heard yet."""
        if not self.led:
            super().on_speech_started(now)
            return
        if not self.is_open or self.caller.state is Caller.TALKING:
            return
        self.words.speech_started(now, new=True)
        self.caller.step(SpeechStarted)
        self._timers.cancel(Timer.ENDPOINT)
        # Who is called says "hello?" when the greeting is about to begin; it is to be heard all the same.
        unheard_greeting = self.agent.state is Agent.THINKING and self._said.kind is Kind.GREETING
        if self.may_interrupt and not unheard_greeting:
            self.stop_agent()

    def on_speech_stopped(self, fact: SpeechStopped, now: float) -> None:
        """The caller's voice ended: the model has to answer soon, and the words have to come."""
        if not self.led:
            super().on_speech_stopped(fact, now)
            return
        if self.caller.state is not Caller.TALKING:
            return
        self.caller.step(SpeechStopped)
        self.words.ended_at = now - fact.silence
        self._owed += 1
        self._timers.arm(Timer.ENDPOINT, now + self._policy.reply_patience)
        self._timers.arm(Timer.TRANSCRIPT, now + self._policy.endpointing.transcript_wait)

    def on_transcript(self, fact: TranscriptReceived, now: float) -> None:
        """Words of the caller. They move nothing: the model has heard the voice itself."""
        if not self.led:
            super().on_transcript(fact, now)
            return
        self.words.hear(fact.text, final=fact.final, talking=self.caller.state is Caller.TALKING)
        if fact.final:
            self._owed = max(0, self._owed - 1)
            if text := self.words.take():
                if self.caller.state is not Caller.QUIET:
                    self._unanswered = f"{self._unanswered} {text}".strip()
                self.write("caller", text, self.turn + (self.caller.state is Caller.PAUSED))
            if not self._owed:
                self._write_late()

    def on_endpoint(self, now: float) -> None:
        """The model has not answered what the caller said: it is asked to, unless it was a mere noise."""
        if not self.led:
            super().on_endpoint(now)
            return
        self.caller.step(TurnCommitted)
        spoke_long = self.words.ended_at - self.words.began_at >= self._policy.endpointing.unheard_after
        if self.is_free and self._policy.respond and (self._unanswered or spoke_long):
            text, waited = self._unanswered, max(0.0, now - self.words.ended_at)
            self._open_response()
            self._out.append(StartResponse(self.turn, text, waited=waited))

    def on_transcript_overdue(self, now: float) -> None:
        """The caller's words did not come: the agent's lines wait for them no longer."""
        if self.led:
            self._owed = 0
            self._write_late()
        else:
            super().on_transcript_overdue(now)

    def close_floor(self) -> None:
        """Audio no longer flows, or the call ends. Words that are owed may still come."""
        super().close_floor()
        if self._owed:
            self._write_late()

    def write_caller_words(self) -> None:
        """Write down the caller's words that are no line yet, and what had to wait for them."""
        super().write_caller_words()
        self._owed = 0
        self._write_late()

    def write(self, speaker: str, text: str, turn: int, *, interrupted: bool = False) -> None:
        """Add a line to the transcript, one of the agent after the words that it answers."""
        if self._owed and speaker == "agent":
            self._late.append(AppendTranscript(speaker, text, turn, interrupted))
        else:
            super().write(speaker, text, turn, interrupted=interrupted)

    def lose_model(self) -> None:
        """The model is gone for good: from here on silence ends the caller's turn, and a responder answers."""
        if not self.led:
            return
        self.stop_agent()
        self.write_caller_words()
        self.caller.step(FloorClosed)
        self._timers.cancel(Timer.ENDPOINT, Timer.TRANSCRIPT)
        self.led = False

    def _open_response(self) -> None:
        self._unanswered = ""
        self.turn += 1
        self._begin(AgentTurn(self.turn, Kind.RESPONSE))

    def _write_late(self) -> None:
        late, self._late = self._late, []
        for line in late:
            super().write(line.speaker, line.text, line.turn, interrupted=line.interrupted)

    def _undecided_until(self, now: float) -> float:
        return now if self.led else super()._undecided_until(now)

    def _yields(self) -> bool:
        return not self.led and super()._yields()
