"""A hypothesis state machine that tries to break the promises of a call, with whole turns as well as single facts."""

from collections import Counter
from dataclasses import replace
from typing import ClassVar

from call_model import (
    APOLOGY,
    AUDIBLE,
    DISCLOSURE,
    FAREWELL,
    GOODBYE,
    GREETING,
    CallModel,
    Utterance,
)
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.policy import (
    BargeInPolicy,
    CallPolicy,
    EndpointingPolicy,
    MustSay,
    SpeculationPolicy,
)
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Agent, Leg


class CallMachine(CallModel, RuleBasedStateMachine):
    """Any order of facts and timers keeps the promises."""

    reached: ClassVar[Counter[str]] = Counter()
    """In how many examples a command was ordered at all; reset by the test that reads it."""

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        CallModel.__init__(self)
        self.steps = 0

    # How an example begins.

    @initialize(
        outbound=st.booleans(),
        mode=st.sampled_from(["yield", "yield", "yield", "words", "off"]),
        min_words=st.sampled_from([1, 1, 2]),
        notify=st.sampled_from([False, False, False, False, True]),
        greeting=st.sampled_from(["", GREETING]),
        discloses=st.sampled_from([False, False, True]),
        begin=st.sampled_from(["speaking", "speaking", "speaking", "asked", "up", "cough", "ringing", "new"]),
        finished=st.booleans(),
        over=st.sampled_from(["", "cough", "cough", "noise", "backchannel", "guess", "words"]),
        speculation=st.sampled_from(
            [
                SpeculationPolicy(),
                SpeculationPolicy(enabled=True, most_starts=2),
                SpeculationPolicy(enabled=True, most_starts=2),
                SpeculationPolicy(enabled=True, most_starts=1, stable_after=0.0),
                SpeculationPolicy(enabled=True, most_starts=2, on_interims=False),
            ]
        ),
    )
    def start(
        self, outbound, mode, min_words, notify, greeting, discloses, begin, finished, over, speculation
    ):
        self.policy = CallPolicy(
            greeting=greeting,
            must_say=(MustSay("disclosure", DISCLOSURE),) if discloses else (),
            goodbye=GOODBYE,
            apology=APOLOGY,
            respond=not notify,
            hang_up_after_greeting=3.0 if notify else None,
            barge_in=BargeInPolicy(mode=mode, min_words=min_words),
            endpointing=EndpointingPolicy(),
            speculation=speculation,
        )
        self.call = Call(self.policy, outbound=outbound)
        self.twin = Call(replace(self.policy, speculation=SpeculationPolicy()), outbound=outbound)
        self.outbound = outbound
        if begin == "new":
            return
        self.tell(e.CallPlaced() if outbound else e.CallOffered(admitted=True))
        if begin == "ringing":
            return
        self.tell(e.CallAnswered())
        self.tell(e.MediaConnected())
        if discloses and begin in {"asked", "speaking"}:
            self.write(1, "finished")
            self.utterances[0].played = True
            self.tell(e.UtterancePlayed(1))
        if begin == "cough":
            self.caller_turn_of(0, "nothing")
        if begin in {"up", "cough"}:
            return
        self.caller_turn_of(2, "asked for")
        if begin == "speaking":
            self.answer_and_talk_over(finished, 0, over)

    # Single facts, in any order.

    @rule(
        fact=st.sampled_from(
            [
                e.CallPlaced(),
                e.CallOffered(admitted=True),
                e.CallRinging(),
                e.CallAnswered(),
                e.MediaConnected(),
                e.MediaConnected(),
                e.MediaLost(),
                e.MachineDetected("human"),
            ]
        )
    )
    def carrier_fact(self, fact):
        self.tell(fact)

    @rule(silence=st.sampled_from([0.0, 0.2, 0.7]), started=st.booleans(), closes=st.booleans())
    def edge(self, silence, started, closes):
        if started:
            self.start_speech()
        else:
            self.tell(e.SpeechStopped(silence, closes))

    @rule(count=st.integers(0, 2), final=st.booleans())
    def transcript(self, count, final):
        if count or self.utterance:
            self.say(count, final=final)

    @precondition(lambda self: self.is_talkable() and self.view().agent is Agent.IDLE)
    @rule(count=st.integers(1, 2))
    def hesitation(self, count):
        """The caller pauses in the middle of a sentence, after words that are final."""
        self.start_speech()
        self.say(count, final=True)
        self.tell(e.SpeechStopped(0.2, False))
        self.pass_time(0.1)
        self.start_speech()

    @rule()
    def empty_final(self):
        """What sounded like speech held no words. Guesses of it are taken back."""
        self.transcribe("", final=True, before=self.view())

    @rule(seconds=st.sampled_from([0.1, 0.4, 1.0, 3.0]))
    def time_passes(self, seconds):
        self.pass_time(seconds)

    @precondition(lambda self: self.call.next_timer() is not None and self.call.next_timer() < self.now + 60)
    @rule()
    def next_timer_fires(self):
        self.fire()

    # A conversation.

    @precondition(lambda self: self.is_talkable())
    @rule(
        count=st.integers(1, 3),
        order=st.sampled_from(
            ["final first", "asked for", "guess only", "late", "resumed", "nothing", "closed", "closed twice"]
        ),
    )
    def caller_turn(self, count, order):
        """The caller says something whole and is waited for."""
        self.caller_turn_of(count, order)

    @precondition(lambda self: self.is_talkable() and self.view().agent in AUDIBLE)
    @rule(what=st.sampled_from(["cough", "noise", "backchannel", "guess", "words"]))
    def talk_over(self, what):
        """The caller makes a sound while the agent speaks."""
        self.make_sound(what)

    @precondition(lambda self: self.open_turn is not None)
    @rule(
        count=st.integers(0, 2),
        end=st.sampled_from(["open", "finished", "finished", "finished", "finished", "failed"]),
    )
    def agent_writes(self, count, end):
        self.write(count, end)

    @precondition(lambda self: self.is_talkable())
    @rule(
        count=st.integers(1, 2),
        finished=st.booleans(),
        played=st.integers(0, 2),
        over=st.sampled_from(["", "cough", "noise", "backchannel", "guess", "words"]),
    )
    def exchange(self, count, finished, played, over):
        """A whole caller turn and its answer, of which something is heard before the caller talks over it."""
        self.caller_turn_of(count, "asked for")
        self.answer_and_talk_over(finished, played, over)

    @precondition(lambda self: self.turn > 1)
    @rule(back=st.integers(1, 2))
    def an_old_turn_writes(self, back):
        turn = max(0, self.turn - back)
        self.utterances.append(Utterance(len(self.utterances) + 1, turn))
        utterance = self.utterances[-1]
        utterance.failed = True
        self.tell(e.ResponseChunk(turn, utterance.number, utterance.text))
        self.tell(e.ResponseFinished(turn, end_call=True))

    @precondition(lambda self: self.unplayed())
    @rule(whole=st.booleans(), count=st.integers(1, 2), share=st.sampled_from([0.3, 0.6, 0.9]))
    def playout(self, whole, count, share):
        """The line plays: some utterances to their end, or one in part."""
        for utterance in self.unplayed()[: count if whole else 1]:
            if whole:
                utterance.played = True
                self.tell(e.UtterancePlayed(utterance.number))
            elif share * 4.0 > utterance.heard:
                utterance.heard = share * 4.0
                self.tell(e.PlayoutProgressed(utterance.number, utterance.heard, 4.0))

    @precondition(lambda self: self.unplayed())
    @rule()
    def playout_fails(self):
        utterance = self.unplayed()[0]
        utterance.failed = True
        self.tell(e.UtteranceFailed(utterance.number, "x"))

    @rule(number=st.integers(1, 5))
    def a_mark_of_something_else(self, number):
        """Marks of utterances that are gone, and of such as never were."""
        current = {u.number for u in self.unplayed()}
        if number not in current and not (self.utterances and number <= len(self.utterances)):
            self.tell(e.UtterancePlayed(number))

    @rule(digit=st.sampled_from("1#"))
    def key(self, digit):
        over = self.view().leg is Leg.ENDED
        if self.tell(e.DtmfReceived(digit)) is not None and not over:
            self.pressed += digit

    @precondition(lambda self: self.is_talkable())
    @rule()
    def the_line_blinks(self):
        self.tell(e.MediaLost())
        self.pass_time(1.0)
        self.tell(e.MediaConnected())

    @precondition(
        lambda self: self.steps > 20 and self.is_talkable() and self.outbound and not self.is_last_word()
    )
    @rule()
    def a_machine_beeps(self):
        self.tell(e.MachineDetected("machine"))
        said = len(self.orders)
        self.leaving_message = any(
            isinstance(o, c.StartSaying | c.HangUp) for o in self.tell(e.BeepDetected()) or ()
        )
        if self.leaving_message:
            assert self.orders[said:][-1] in (
                c.StartSaying(self.turn, f"{DISCLOSURE} {GREETING}" if self.policy.must_say else GREETING),
                c.HangUp(EndReason.VOICEMAIL),
            )

    # The owner, and the end.

    @rule()
    def say_something(self):
        self.tell(e.SayRequested("Something of the owner."))

    @precondition(lambda self: self.steps > 10)
    @rule(news=st.sampled_from([e.TransferAnswered(), e.TransferFailed("busy")]))
    def hand_over(self, news):
        """The far party is handed over, and the other number answers or does not; or news come of nothing."""
        self.tell(e.TransferRequested("+15550002222"))
        if self.view().transferring:
            self.tell(e.MediaLost())
        self.tell(news)

    @precondition(lambda self: self.steps > 20)
    @rule(farewell=st.sampled_from(["", FAREWELL]))
    def hang_up(self, farewell):
        self.tell(e.HangUpRequested(EndReason.AGENT_HUNG_UP, farewell))

    @precondition(lambda self: self.steps > 20)
    @rule(reason=st.sampled_from([EndReason.CALLER_HUNG_UP, EndReason.CARRIER_ERROR]))
    def ended(self, reason):
        self.tell(e.CallEnded(reason))

    @precondition(lambda self: self.steps > 20)
    @rule()
    def deaf(self):
        self.tell(e.TranscriptionFailed("x"))

    @invariant()
    def all_promises_hold(self):
        self.steps += 1
        self.check_promises()

    def teardown(self):
        if not hasattr(self, "call"):
            return
        self.check_end()
        self.reached["examples"] += 1
        self.reached.update({type(order).__name__ for order in self.orders})
        self.reached["adopted"] += self.adopted > 0
