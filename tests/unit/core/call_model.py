"""A model of what a call promises: it sees facts go in and orders come out, and knows what they have to mean.

The model plays the far party and the shell: what was said, which words of the agent were played, which response is
open. It never looks inside the call, only at the public view.
"""

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.state import Agent, Caller, CallView, Leg, Media
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError

GOODBYE, APOLOGY, GREETING, FAREWELL, DISCLOSURE = (
    "Goodbye now.",
    "Sorry about that.",
    "Good morning to you.",
    "Farewell then.",
    "I am a machine.",
)
HOLD_BOUND = 2 * 2.0 + 1.2 + 2.0 + 0.1
"""Longest hold, in seconds: twice the longest sound, then an endpoint and the wait for a final."""
ALIVE = (Leg.DIALING, Leg.RINGING, Leg.UP, Leg.ENDING)
BUSY = (Agent.THINKING, Agent.SPEAKING, Agent.DRAINING, Agent.YIELDED)
AUDIBLE = (Agent.SPEAKING, Agent.DRAINING)


class Utterance:
    """A piece of the agent's speech as the far party hears it: words of one length, so time is words."""

    def __init__(self, number: int, turn: int) -> None:
        self.number = number
        self.turn = turn
        self.words = [f"a{number:03d}{letter}" for letter in "wxyz"]
        self.text = " ".join(self.words)
        self.heard = 0.0
        self.played = False
        self.failed = False

    def heard_words(self) -> list[str]:
        if self.failed:
            return []
        if self.played:
            return self.words
        return [w for n, w in enumerate(self.words, 1) if 6 * n - 1 <= self.heard / 4.0 * len(self.text)]


class CallModel:
    """One call and everything around it. A broken promise is an `AssertionError`."""

    call: Call
    policy: CallPolicy
    twin: Call
    """The same call without rehearsals."""

    def __init__(self) -> None:
        self.now = 0.0
        self.orders: list[c.Command] = []
        self.ears_open = 0
        self.open_turn: int | None = None
        self.turn = 0
        self.kind = ""
        self.held_at: float | None = None
        self.alarms: list[float] = []
        self.utterances: list[Utterance] = []
        self.written: set[int] = set()
        self.hang_ups = self.releases = 0
        self.tokens = 0
        self.utterance: list[str] = []
        self.finals: list[str] = []
        self.guess: list[str] = []
        self.known: set[str] = set()
        self.caller_lines: list[str] = []
        self.pressed = self.keys_written = ""
        self.leaving_message = False
        self.disclosed = 0
        self.rehearsed: tuple[int, str] | None = None
        self.starts = self.adopted = 0

    # The shell.

    def view(self):
        return self.call.snapshot()

    def tell(self, fact: e.Event) -> list[c.Command] | None:
        """State a fact; None if it was refused, which must have changed nothing."""
        before, turn, timer = self.view(), self.turn, self.call.next_timer()
        try:
            orders = self.call.receive(fact, self.now)
        except (RemoteProtocolError, LocalProtocolError):
            assert self.view() == before, "a refused fact changed the call"
            assert self.call.next_timer() == timer, "a refused fact changed the timers"
            return None
        assert before.leg is not Leg.ENDED or not orders, "something was ordered after the end"
        self.compare(orders, self.twin.receive(fact, self.now))
        self.obey(orders)
        self.check_turns_written()
        self.check_turn_ended(turn, before, orders)
        return orders

    def compare(self, orders: list[c.Command], plain: list[c.Command]) -> None:
        """Whatever is rehearsed, everything else is as it would be without."""
        assert [o for o in orders if not isinstance(o, c.Rehearse | c.DropRehearsal)] == plain
        assert self.view() == self.twin.snapshot(), "a rehearsal has changed the call"

    def obey(self, orders: list[c.Command]) -> None:
        for order in orders:
            assert not self.releases, f"{order} after the release"
            assert not self.hang_ups or isinstance(order, c.ReleaseCall | c.AppendTranscript), (
                f"{order} after HangUp"
            )
            self.obey_one(order, orders)
            self.orders.append(order)
        if self.view().caller is Caller.QUIET:
            self.starts = 0

    def obey_one(self, order: c.Command, batch: list[c.Command]) -> None:
        match order:
            case c.StartListening():
                self.ears_open += 1
                assert self.ears_open == 1, "the ears are opened twice"
            case c.Rehearse(turn, text):
                assert self.rehearsed is None, "two rehearsals at a time"
                assert (turn, text) == (self.view().turn + 1, self.view().turn_text)
                self.starts += 1
                assert self.starts <= self.policy.speculation.most_starts, "rehearsed too often in one turn"
                self.rehearsed = turn, text
            case c.DropRehearsal(turn):
                assert self.rehearsed is not None, "dropped what is not rehearsed"
                assert self.rehearsed[0] == turn
                self.rehearsed = None
            case c.StartResponse(turn, text, digits):
                assert self.rehearsed in (None, (turn, text)), "another text is answered than was rehearsed"
                self.adopted += self.rehearsed is not None
                self.rehearsed = None
                assert self.may_say_more(), "an answer before the line that has to be said"
                self.kind = "response"
                assert text or digits, "an answer to nothing"
                self.begin(turn)
                line = c.AppendTranscript("caller", text or f"[keys {digits}]", turn)
                assert line in batch, "an answer to something that is not on the record"
            case c.StartSaying(turn, text):
                last = {GOODBYE, FAREWELL, self.policy.idle_goodbye, DISCLOSURE, f"{DISCLOSURE} {GREETING}"}
                assert text in last or self.may_say_more(), "something before the line that has to be said"
                self.kind = text
                self.begin(turn)
            case c.NoteSaid(_, text):
                self.disclosed += 1
                assert text == DISCLOSURE
                assert self.disclosed == 1 or self.leaving_message, "noted twice"
                assert self.kind.startswith(DISCLOSURE), "noted what was not said"
                assert all(u.played for u in self.utterances if u.turn == self.turn), "noted what was cut"
            case c.CancelResponse(turn):
                assert self.open_turn == turn, "cancelled a response that is not open"
                self.open_turn = None
            case c.Speak(turn, number, _):
                assert turn == self.open_turn, "spoke for a dead turn"
                assert self.utterances[number - 1].turn == turn
                assert self.may_talk(), "talked into a lost stream"
            case c.HoldAudio(turn):
                assert self.held_at is None, "held twice"
                assert turn == self.turn
                self.held_at = self.now
            case c.ResumeAudio(turn):
                assert self.held_at is not None, "resumed what was not held"
                self.alarms.append(self.now)
                assert turn == self.turn
                self.held_at = None
            case c.ClearAudio(turn):
                assert turn == self.turn, "cleared another turn"
                if self.held_at is not None and any(isinstance(o, c.StartResponse) and o.text for o in batch):
                    self.alarms.clear()
                self.held_at = None
            case c.AppendTranscript("agent", text, turn):
                heard = [w for u in self.utterances if u.turn == turn for w in u.heard_words()]
                assert text == " ".join(heard), "the record of the agent is not what was heard"
                assert turn not in self.written, "a turn was written twice"
                self.written.add(turn)
            case c.AppendTranscript("caller", text):
                if text.startswith("[keys "):
                    self.keys_written += text[6:-1]
                else:
                    self.caller_lines += text.split()
            case c.HangUp():
                self.hang_ups += 1
                assert self.hang_ups == 1, "hung up twice"
            case c.ReleaseCall(reason):
                self.releases += 1
                assert reason is self.view().reason

    def begin(self, turn: int) -> None:
        assert self.open_turn is None, "two responses are open"
        assert turn > self.turn, "turns are not numbered upwards"
        assert self.may_talk(), "a turn was started that nobody can hear"
        assert self.held_at is None, "a turn was started while the audio is held"
        self.open_turn = self.turn = turn

    def may_say_more(self) -> bool:
        return bool(self.disclosed) or not self.policy.must_say

    def may_talk(self) -> bool:
        view = self.view()
        return view.leg is Leg.UP and view.media is Media.FLOWING and not view.transferring

    def check_turns_written(self) -> None:
        """What was heard of a turn that is over is on the record."""
        for turn in {u.turn for u in self.utterances}:
            over = turn != self.turn or self.view().agent is Agent.IDLE
            heard = any(u.heard_words() for u in self.utterances if u.turn == turn)
            assert not (over and heard) or turn in self.written, "heard words are missing on the record"

    def check_turn_ended(self, turn: int, before: CallView, orders: list[c.Command]) -> None:
        """A turn that was not cut is over only when all of it was played."""
        over = before.agent in BUSY and (self.turn != turn or self.view().agent is Agent.IDLE)
        if over and c.ClearAudio(turn) not in orders and c.CancelResponse(turn) not in orders:
            rest = [u for u in self.utterances if u.turn == turn and not u.played and not u.failed]
            assert not rest, "a turn ended before all of it was played"

    def fire(self) -> None:
        timer = self.call.next_timer()
        assert timer is not None
        self.now = max(self.now, timer)
        before, turn = self.view(), self.turn
        orders = self.call.handle_timer(self.now)
        self.compare(orders, self.twin.handle_timer(self.now))
        self.obey(orders)
        self.check_turns_written()
        self.check_turn_ended(turn, before, orders)
        timer = self.call.next_timer()
        assert timer is None or timer > self.now, "a timer does not move"

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while (timer := self.call.next_timer()) is not None and timer <= until:
            self.fire()
        self.now = until

    def is_talkable(self) -> bool:
        return self.may_talk()

    # The far party.

    def new_words(self, count: int) -> list[str]:
        words = [f"w{self.tokens + n}" for n in range(count)]
        self.tokens += count
        self.known.update(words)
        return words

    def start_speech(self) -> None:
        before, protected = self.view(), self.is_protected()
        if before.caller is Caller.QUIET:
            self.utterance = []
        orders = self.tell(e.SpeechStarted())
        yields = (
            before.agent in AUDIBLE
            and before.caller is not Caller.TALKING
            and self.policy.barge_in.mode == "yield"
            and self.policy.respond
            and not protected
            and self.is_talkable()
        )
        if yields and self.has_cried_wolf():
            assert orders == [], "an agent that was silenced for nothing again and again yields to sounds"
            self.alarms.append(self.now)
        elif yields:
            assert orders == [c.HoldAudio(self.turn)], "a talked-over agent does not yield"

    def has_cried_wolf(self) -> bool:
        """Whether the last sounds over the agent, as many as it bears, were nothing, and not long ago."""
        tuning = self.policy.barge_in
        last = self.alarms[-tuning.false_alarms :]
        return len(last) == tuning.false_alarms and self.now - last[0] < tuning.alarm_span

    def is_last_word(self) -> bool:
        return self.kind in {GOODBYE, FAREWELL, self.policy.idle_goodbye} or self.leaving_message

    def is_protected(self) -> bool:
        """Whether nothing the caller does interrupts what the agent says now."""
        notice = self.kind == DISCLOSURE and self.view().agent is not Agent.IDLE
        return self.is_last_word() or notice

    def say(self, count: int, *, final: bool) -> None:
        """The transcriber has heard `count` more words of the utterance."""
        before = self.view()
        self.utterance += self.new_words(count)
        self.transcribe(" ".join(self.utterance), final=final, before=before)

    def transcribe(self, text: str, *, final: bool, before) -> None:
        if final:
            self.utterance = []
        unwritten = [w for w in text.split() if w not in self.caller_lines]
        protected = self.is_protected()
        orders = self.tell(e.TranscriptReceived(text, final=final))
        if orders is None or before.leg is Leg.ENDED:
            return
        self.finals += text.split() if final else []
        self.guess = [] if final else text.split()
        may_interrupt = self.policy.respond and self.policy.barge_in.mode != "off" and not protected
        confirmed = len(unwritten) >= self.policy.barge_in.min_words
        if before.agent is Agent.YIELDED and any(isinstance(order, c.ClearAudio) for order in orders):
            self.alarms.clear()
        if before.agent in BUSY and may_interrupt and confirmed and self.is_talkable():
            assert any(isinstance(o, c.ClearAudio | c.CancelResponse) for o in orders), (
                "words do not interrupt"
            )

    def caller_turn_of(self, count, order):
        self.start_speech()
        if order != "nothing":
            self.say(count, final=order == "final first")
        self.pass_time(0.3)
        self.tell(e.SpeechStopped(0.1, closes=order.startswith("closed")))
        if order in {"closed", "closed twice"}:
            self.pass_time(0.1)
            self.say(0, final=True)
            self.pass_time(0.2)
        if order == "closed twice":
            self.start_speech()
            self.say(1, final=False)
            self.tell(e.SpeechStopped(0.3, closes=True))
            self.start_speech()
            self.say(0, final=True)
            self.say(1, final=False)
            self.tell(e.SpeechStopped(0.3, closes=True))
            self.pass_time(0.1)
            self.say(0, final=True)
        if order == "resumed":
            self.pass_time(0.6)
            self.start_speech()
            self.say(0, final=True)
            self.say(1, final=False)
            self.tell(e.SpeechStopped())
        asked = False
        for _ in range(10):
            if self.view().caller is not Caller.PAUSED or not self.is_talkable():
                break
            seen = len(self.orders)
            self.fire()
            asked = asked or c.FinishUtterance() in self.orders[seen:]
            if asked and order in {"asked for", "resumed"} and self.utterance:
                self.say(0, final=True)
        if order == "late" and self.utterance and self.view().caller is Caller.QUIET:
            self.say(0, final=True)

    def make_sound(self, what):
        self.start_speech()
        if what == "cough":
            self.pass_time(0.3)
            self.tell(e.SpeechStopped(0.1))
            self.pass_time(1.0)
        elif what == "noise":
            self.pass_time(2.5)
        elif what == "backchannel":
            turn, lines = self.turn, len(self.caller_lines)
            alone = not self.view().turn_text
            self.finals.append("mm-hmm")
            self.utterance, self.guess = [], []
            self.known.add("mm-hmm")
            self.tell(e.TranscriptReceived("mm-hmm", final=True))
            if alone:
                assert (self.turn, self.caller_lines[lines:]) == (turn, ["mm-hmm"]), (
                    "a backchannel took the floor"
                )
                assert self.view().agent is not Agent.YIELDED, "a backchannel keeps the agent held"
        else:
            self.say(2, final=what == "words")
        if what in {"cough", "noise"} and not self.view().turn_text:
            assert self.view().agent is not Agent.YIELDED, "a sound without words holds the agent"

    def answer_and_talk_over(self, finished, played, over):
        if self.open_turn is not None:
            self.write(2, "finished" if finished else "open")
        for utterance in self.unplayed()[:played]:
            utterance.played = True
            self.tell(e.UtterancePlayed(utterance.number))
        if over and self.view().agent in AUDIBLE:
            self.make_sound(over)

    def write(self, count, end):
        turn = self.open_turn
        for _ in range(count):
            self.utterances.append(Utterance(len(self.utterances) + 1, turn))
            self.tell(e.ResponseChunk(turn, len(self.utterances), self.utterances[-1].text))
        if end != "open":
            self.open_turn = None
            self.tell(e.ResponseFinished(turn) if end == "finished" else e.ResponseFailed(turn, "x"))

    def unplayed(self) -> list[Utterance]:
        if self.view().agent is Agent.IDLE:
            return []
        return [u for u in self.utterances if u.turn == self.turn and not u.played and not u.failed]

    # Promises that hold at every moment.

    def check_promises(self):
        self.released_exactly_when_ended()
        self.every_living_leg_has_a_deadline()
        self.no_turn_lives_without_a_floor()
        self.a_held_agent_is_held_for_a_while_only()
        self.a_caller_who_pauses_is_waited_for()
        self.the_agent_does_what_its_state_says()
        self.the_record_holds_nothing_that_was_not_said()
        self.what_is_rehearsed_may_still_come()
        self.failures_are_bounded()

    def released_exactly_when_ended(self):
        assert (self.view().leg is Leg.ENDED) == (self.releases == 1)

    def every_living_leg_has_a_deadline(self):
        assert self.view().leg not in ALIVE or self.call.next_timer() is not None
        assert self.view().leg is not Leg.ENDED or self.call.next_timer() is None

    def no_turn_lives_without_a_floor(self):
        if not self.may_talk():
            assert self.view().agent is Agent.IDLE
            assert self.view().caller is Caller.QUIET
        if self.view().agent is Agent.IDLE:
            assert self.open_turn is None, "a response is open that nobody awaits"

    def a_held_agent_is_held_for_a_while_only(self):
        assert (self.view().agent is Agent.YIELDED) == (self.held_at is not None)
        if self.held_at is not None:
            assert self.view().caller is not Caller.QUIET, "the agent is held for a caller who says nothing"
            assert self.now - self.held_at < HOLD_BOUND, "the agent stays held"

    def a_caller_who_pauses_is_waited_for(self):
        if self.view().caller is Caller.PAUSED and self.view().agent is Agent.IDLE:
            assert self.call.next_timer() <= self.now + 2.0 + 1.2

    def the_agent_does_what_its_state_says(self):
        agent = self.view().agent
        if agent in {Agent.THINKING, Agent.SPEAKING}:
            assert self.open_turn is not None, "the agent waits for a response that has ended"
        if agent is Agent.DRAINING:
            assert self.open_turn is None
            assert self.unplayed(), "the agent drains nothing"

    def the_record_holds_nothing_that_was_not_said(self):
        assert set(self.caller_lines) <= self.known
        assert len([w for w in self.caller_lines if w != "mm-hmm"]) == len(
            {w for w in self.caller_lines if w != "mm-hmm"}
        ), "words were written twice"

    def what_is_rehearsed_may_still_come(self):
        """A rehearsal does not outlive the pause it was begun in, nor the words it answers."""
        view = self.view()
        if self.rehearsed is not None:
            assert (view.caller, view.agent) == (Caller.PAUSED, Agent.IDLE)
            assert self.rehearsed == (view.turn + 1, view.turn_text), "rehearsed what nobody says"

    def failures_are_bounded(self):
        assert self.view().failures <= self.policy.max_failures + 1

    def check_end(self):
        """With nothing more from outside, timers alone end any call, and nothing that was said is lost."""
        guess = self.guess if self.view().leg is not Leg.ENDED else []
        for _ in range(60):
            if self.view().leg in {Leg.NEW, Leg.ENDED}:
                break
            assert self.call.next_timer() is not None, "nothing ends this call"
            self.fire()
            self.a_held_agent_is_held_for_a_while_only()
        else:
            raise AssertionError("the call never ends")
        if self.view().leg is Leg.ENDED:
            missing = [w for w in (*self.finals, *guess) if w not in self.caller_lines]
            assert not missing, f"words of the caller are lost: {missing}"
            assert self.keys_written.replace("#", "") == self.pressed.replace("#", ""), (
                "keys of the caller are lost"
            )
            written = [w for w in self.caller_lines if w in set(self.finals) and w != "mm-hmm"]
            assert written == [w for w in self.finals if w != "mm-hmm" and w in set(written)], (
                "words in wrong order"
            )
