"""Any order of facts and timers on a call that a model leads keeps what every call promises."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.policy import CallPolicy, MustSay
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Agent, Leg
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError

pytestmark = pytest.mark.unit

SECONDS = 2.0
"""Length of every utterance."""


class LedMachine(RuleBasedStateMachine):
    """Plays the model, the caller and the shell."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.call = Call(
            CallPolicy(model_led=True, greeting="Hello.", must_say=(MustSay("disclosure", "A machine."),)),
            outbound=False,
        )
        self.orders: list[c.Command] = []
        self.open: int | None = None
        self.turns: set[int] = set()
        self.heard: dict[int, float] = {}
        self.words: dict[int, str] = {}
        self.of_turn: dict[int, int] = {}
        self.finals: list[str] = []
        self.numbers = 0
        self.tell(e.CallOffered(admitted=True))
        self.tell(e.CallAnswered())
        self.tell(e.MediaConnected())

    def tell(self, fact: e.Event) -> bool:
        before, timer = self.call.snapshot(), self.call.next_timer()
        try:
            orders = self.call.receive(fact, self.now)
        except (RemoteProtocolError, LocalProtocolError):
            assert (self.call.snapshot(), self.call.next_timer()) == (before, timer), (
                "a refused fact did something"
            )
            return False
        self.obey(orders)
        return True

    def obey(self, orders: list[c.Command]) -> None:
        for order in orders:
            assert not any(isinstance(old, c.ReleaseCall) for old in self.orders), "ordered after the end"
            match order:
                case c.AdoptReply(turn) | c.StartResponse(turn) | c.StartSaying(turn):
                    assert turn not in self.turns, "a turn has begun twice"
                    self.turns.add(turn)
                    self.open = turn
                case c.CancelResponse(turn):
                    assert turn == self.open
                    self.open = None
                case c.AppendTranscript("agent", text, turn):
                    heard = " ".join(
                        self.heard_words(number) for number, of in self.of_turn.items() if of == turn
                    ).split()
                    assert text.split() == heard, "written what was not heard"
            self.orders.append(order)

    def heard_words(self, number: int) -> str:
        words = self.words[number].split()
        share = min(1.0, self.heard[number] / SECONDS)
        length = len(" ".join(words)) * share
        kept, end = [], 0
        for count, word in enumerate(words):
            end += len(word) + (count > 0)
            if end > length:
                break
            kept.append(word)
        return " ".join(kept)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.6, 2.5]))
    def time_passes(self, seconds):
        until = self.now + seconds
        while (at := self.call.next_timer()) is not None and at <= until:
            self.now = max(self.now, at)
            self.obey(self.call.handle_timer(self.now))
        self.now = until

    @rule(edge=st.sampled_from([e.SpeechStarted(), e.SpeechStopped()]))
    def the_caller_sounds(self, edge):
        self.tell(edge)

    @rule(words=st.sampled_from(["", "yes please", "what time is it"]), final=st.booleans())
    def words_come(self, words, final):
        told = self.tell(e.TranscriptReceived(words, final))
        if told and final and words and self.call.snapshot().leg is not Leg.ENDED:
            self.finals.append(words)

    @rule()
    def the_model_begins(self):
        self.numbers += 1
        self.tell(e.ReplyBegan(f"r{self.numbers}"))

    @rule(ends=st.sampled_from(["goes on", "finished", "failed", "hangs up"]))
    def the_model_speaks(self, ends):
        if self.open is None:
            return
        turn = self.open
        self.numbers += 1
        number = self.numbers
        self.words[number], self.heard[number], self.of_turn[number] = "", 0.0, turn
        if self.tell(e.ResponseChunk(turn, number, "")):
            self.words[number] = f"alpha{number} beta{number} gamma{number}"
            self.tell(e.UtteranceGrew(turn, number, self.words[number]))
        if ends == "failed":
            self.tell(e.ResponseFailed(turn, "x"))
        elif ends != "goes on":
            self.tell(e.ResponseFinished(turn, end_call=ends == "hangs up"))
        if ends != "goes on" and self.open == turn:
            self.open = None

    @rule(share=st.sampled_from([0.4, 1.0]))
    def the_line_plays(self, share):
        current = [
            n for n, turn in self.of_turn.items() if self.heard[n] < SECONDS and turn == max(self.turns)
        ]
        if not current or self.call.snapshot().agent is Agent.IDLE:
            return
        number = current[0]
        self.heard[number] = max(self.heard[number], share * SECONDS)
        if share == 1.0:
            self.tell(e.UtterancePlayed(number))
        else:
            self.tell(e.PlayoutProgressed(number, self.heard[number], SECONDS))

    @rule(
        fact=st.sampled_from(
            [
                e.MediaLost(),
                e.MediaConnected(),
                e.DtmfReceived("5"),
                e.DtmfReceived("#"),
                e.SayRequested("A word."),
                e.ModelLost("gone", instead=True),
                e.TransferRequested("+15550002222"),
                e.TransferFailed("busy"),
            ]
        )
    )
    def something_else_happens(self, fact):
        self.tell(fact)

    @rule(fact=st.sampled_from([e.HangUpRequested(EndReason.AGENT_HUNG_UP, "Bye."), e.ModelLost("gone")]))
    def the_end_comes(self, fact):
        if len(self.orders) > 25:
            self.tell(fact)

    def teardown(self):
        for _ in range(200):
            at = self.call.next_timer()
            if at is None:
                break
            self.now = max(self.now, at)
            self.obey(self.call.handle_timer(self.now))
        assert self.call.snapshot().leg is Leg.ENDED, "timers alone do not bring the call to its end"
        written = " ".join(
            o.text for o in self.orders if isinstance(o, c.AppendTranscript) and o.speaker == "caller"
        )
        assert all(text in written for text in self.finals), "words of the caller were lost"


def test_any_order_of_facts_keeps_the_promises_of_a_led_call():
    run_state_machine_as_test(
        LedMachine,
        settings=settings(
            max_examples=200,
            stateful_step_count=40,
            deadline=None,
            phases=[phase for phase in Phase if phase is not Phase.explain],
            suppress_health_check=list(HealthCheck),
        ),
    )
