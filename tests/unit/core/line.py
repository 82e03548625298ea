"""Drives a `Call` with literal times: what a test reads is when something happened and what was ordered then."""

from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.commands import AppendTranscript, Command
from openclaw_voicecall.core.events import (
    CallAnswered,
    CallOffered,
    CallPlaced,
    Event,
    MediaConnected,
    ResponseChunk,
    ResponseFinished,
    SpeechStarted,
    SpeechStopped,
    TranscriptReceived,
    UtterancePlayed,
)
from openclaw_voicecall.core.policy import BargeInPolicy, CallPolicy
from openclaw_voicecall.core.state import Agent, Caller, Leg

YIELD = CallPolicy()
WORDS = CallPolicy(barge_in=BargeInPolicy(mode="words"))
OFF = CallPolicy(barge_in=BargeInPolicy(mode="off"))
GREETING = CallPolicy(greeting="Good morning.")
NOTIFY = CallPolicy(greeting="Your parcel has come.", respond=False, hang_up_after_greeting=3.0)


class Line:
    """A call and its clock. Timers fire on their own deadlines while the clock moves."""

    def __init__(self, policy: CallPolicy = YIELD, *, outbound: bool = False) -> None:
        self.call = Call(policy, outbound=outbound)
        self.all: list[Command] = []

    def until(self, now: float) -> list[Command]:
        """Let time pass, and return what timers ordered."""
        orders: list[Command] = []
        while (at := self.call.next_timer()) is not None and at <= now:
            orders += self.call.handle_timer(at)
        self.all += orders
        return orders

    def at(self, now: float, *facts: Event) -> list[Command]:
        """Let time pass, state facts, and return everything that was ordered meanwhile."""
        orders = self.until(now)
        for fact in facts:
            new = self.call.receive(fact, now)
            self.all += new
            orders += new
        return orders

    def up(self, now: float = 0.0) -> "Line":
        """The call is answered and audio flows."""
        first = CallPlaced() if self.call.snapshot().outbound else CallOffered(admitted=True)
        self.at(now, first, CallAnswered(), MediaConnected())
        return self

    def asked(self, text: str = "what time is it", now: float = 1.0) -> "Line":
        """The caller said a whole turn that began at `now`, and the agent thinks."""
        self.at(now, SpeechStarted())
        self.at(now + 1, TranscriptReceived(text, final=True), SpeechStopped())
        self.until(now + 1 + 1.2)
        assert self.agent is Agent.THINKING
        return self

    def speaking(self, *texts: str, finished: bool = True) -> "Line":
        """The agent answers turn 1 with utterances 1, 2 and so on, and none of it was played yet. The time is 4 s."""
        self.asked()
        turn = self.turn
        for number, text in enumerate(texts or ("It is nine o'clock.",), 1):
            self.at(4.0, ResponseChunk(turn, number, text))
        if finished:
            self.at(4.0, ResponseFinished(turn))
        return self

    def greeted(self, now: float = 0.0) -> "Line":
        """The greeting, turn 1, is spoken as utterance 1 and was heard."""
        turn = self.turn
        self.at(now, ResponseChunk(turn, 1, "Hello."), ResponseFinished(turn), UtterancePlayed(1))
        return self

    def said(self) -> list[tuple[str, str]]:
        """The transcript so far: speaker and text."""
        return [(line.speaker, line.text) for line in self.all if isinstance(line, AppendTranscript)]

    @property
    def turn(self) -> int:
        return self.call.snapshot().turn

    @property
    def agent(self) -> Agent:
        return self.call.snapshot().agent

    @property
    def caller(self) -> Caller:
        return self.call.snapshot().caller

    @property
    def leg(self) -> Leg:
        return self.call.snapshot().leg
