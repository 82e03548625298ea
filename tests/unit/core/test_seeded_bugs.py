"""The tests of the core find bugs: each of these, put into the code on purpose, is found.

A bug is a piece of source and what it is replaced with. Most are found by the state machine with nothing but its
promises; those that break no promise, only a rule, name the test that finds them.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
import test_core_agent as agent
import test_core_barge_in as barge_in
import test_core_endpointing as endpointing
import test_core_leg as leg
import test_core_noise as noise
import test_core_notices as notices
import test_core_rehearsal as rehearsal
import test_core_voicemail as voicemail
from call_machine import CallMachine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from openclaw_voicecall.errors import ProtocolError

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Bug:
    what: str
    module: str
    old: str
    new: str
    found_by: Callable[[], None] | None = None
    """None for the state machine."""


BUGS = [
    Bug(
        "words of an old turn are spoken",
        "floor",
        "self._said.open and self._said.number == turn",
        "self._said.open",
    ),
    Bug(
        "the record holds what was written, not what was heard",
        "turns",
        "if self.played else heard_prefix(self.text, self.heard, self.duration)",
        "",
    ),
    Bug(
        "a played utterance is forgotten when the turn is cut",
        "turns",
        '" ".join(self.text.split()) if self.played else heard',
        '"" if self.played else heard',
    ),
    Bug(
        "the caller's last words are dropped",
        "call",
        "self._floor.write_caller_words()\n        if digits",
        "if digits",
    ),
    Bug(
        "a lost stream does not stop the agent",
        "floor",
        "        self.stop_agent()\n        self.caller.step(F",
        "        self.caller.step(F",
    ),
    Bug("the agent talks on", "floor", 'and self._policy.barge_in.mode == "yield"', "and False"),
    Bug(
        "a held agent is not released by time",
        "floor",
        "self._timers.arm(Timer.RESUME, min(until, limit))",
        "pass",
    ),
    Bug(
        "a cough in a pause holds the agent",
        "floor",
        "is not Caller.PAUSED or self._bid",
        "is Caller.TALKING and self._bid",
    ),
    Bug(
        "the audio stays held after the decision",
        "floor",
        "self._out.append(ResumeAudio(self._said.number))",
        "pass",
    ),
    Bug(
        "a turn that was finished while held never ends",
        "floor",
        "        if not self._said.open:\n            self.agent.step(Resp",
        "        if False:\n            self.agent.step(Resp",
    ),
    Bug(
        "an interrupted response goes on",
        "floor",
        "        if turn.open:\n            self._out.append(CancelResponse(turn.number))",
        "        pass",
    ),
    Bug("an interruption leaves the audio", "floor", "self._out.append(ClearAudio(turn.number))", "pass"),
    Bug(
        "words do not interrupt",
        "floor",
        "            self.stop_agent()\n            self.words.cut_agent",
        "            self.words.cut_agent",
    ),
    Bug(
        "every sound of the mouth is a word",
        "floor",
        "return bid_words(text, self._policy.barge_in.backchannels)",
        "return len(text.split())",
    ),
    Bug(
        "a sound without words is answered",
        "floor",
        "if text and not self._is_aside(text):",
        "if not self._is_aside(text):",
        noise.test_a_sound_without_words_is_no_turn,
    ),
    Bug(
        "every noise silences the agent for ever",
        "floor",
        "if self._alarms.are_enough(now):",
        "if False:",
        noise.test_the_third_sound_without_words_silences_the_agent_no_more,
    ),
    Bug(
        "a caller in a noisy place is never answered",
        "floor",
        "self._await_stale(now)",
        "pass",
        noise.test_who_has_said_something_is_answered_although_a_noise_goes_on,
    ),
    Bug("a late final is a second turn", "turns", "self._written += self._interim.split()", "pass"),
    Bug("a turn ends before it is played", "turns", "any(not utterance.played for", "any(False for"),
    Bug(
        "the end of a silent hang-up is not awaited",
        "call",
        "self._timers.arm(Timer.HANG_UP, now + self._policy.hang_up_grace)",
        "pass",
    ),
    Bug(
        "an ended call still waits for something",
        "call",
        "self._timers.clear()\n        self._out.append(c.ReleaseCall",
        "self._out.append(c.ReleaseCall",
    ),
    Bug(
        "a refused fact changes the state",
        "state",
        "        if target is None:\n",
        "        self._state = next(iter(self._table))\n        if target is None:\n",
    ),
    Bug("keys pressed before the end are lost", "agenda", "while self._dialled:", "while False:"),
    Bug(
        "a late final is not listened to",
        "floor",
        "if not self.is_open or (self.caller.state is Caller.QUIET and not new):",
        "if not self.is_open or self.caller.state is Caller.QUIET:",
        endpointing.test_a_late_final_while_the_caller_is_quiet_opens_a_pause,
    ),
    Bug(
        "the final is not waited for",
        "floor",
        "if self.words.open and not self.words.asked:",
        "if False:",
        endpointing.test_the_final_text_is_asked_for_once_and_commits_the_turn_when_it_comes,
    ),
    Bug(
        "a final for the first half closes the second",
        "turns",
        "self._owed = max(1, self._owed)",
        "self._owed = 0",
        endpointing.test_speech_that_goes_on_before_the_final_keeps_the_turn_open_and_both_parts,
    ),
    Bug(
        "a final that comes unasked closes what was said after it",
        "turns",
        "self._owed += 1",
        "self._owed += 0",
        partial(
            rehearsal.test_words_of_a_closed_utterance_that_come_after_speech_has_gone_on_do_not_end_what_follows,
            first=2.95,
        ),
    ),
    Bug(
        "an answer is begun in every pause",
        "rehearsal",
        "self._starts += 1",
        "self._starts += 0",
    ),
    Bug(
        "the answer to other words is taken for the answer",
        "rehearsal",
        "if (turn, text) == (self._turn, self._text):",
        "if turn == self._turn:",
        rehearsal.test_a_final_text_in_other_words_is_answered_anew,
    ),
    Bug(
        "an answer that was begun outlives the pause",
        "floor",
        "self._rehearsals.look(self.words, self.turn + 1, now)\n        else:\n            self._rehearsals.drop()",
        "self._rehearsals.look(self.words, self.turn + 1, now)",
        rehearsal.test_a_caller_who_goes_on_is_answered_as_a_whole_and_nothing_is_written_of_the_first_try,
    ),
    Bug(
        "silence that was heard already is waited for again",
        "floor",
        "self.words.ended_at = now - fact.silence",
        "self.words.ended_at = now",
        endpointing.test_silence_that_was_already_heard_counts,
    ),
    Bug(
        "failures are not counted",
        "agenda",
        "is not None:\n            self.failures += 1",
        "is not None:\n            self.failures += 0",
        agent.test_a_dead_synthesizer_ends_the_call_by_count_and_never_loops,
    ),
    Bug(
        "an apology starts the count anew",
        "agenda",
        "elif turn.kind is not Kind.APOLOGY and turn.heard_text():",
        "elif turn.heard_text():",
        agent.test_failures_in_a_row_end_the_call_with_a_goodbye_although_the_apology_was_heard,
    ),
    Bug(
        "a farewell is interrupted",
        "floor",
        "return not self._said.is_last_word and not self.gives_notice",
        "return not self.gives_notice",
        agent.test_nothing_interrupts_a_farewell_and_nothing_said_over_it_is_lost,
    ),
    Bug(
        "a line that has to be said is interrupted",
        "floor",
        "return not self._said.is_last_word and not self.gives_notice",
        "return not self._said.is_last_word",
        notices.test_neither_speech_nor_words_nor_keys_interrupt_them,
    ),
    Bug(
        "words said over a notice hold the greeting",
        "floor",
        "if self.words.ready:\n            return now",
        "if False:\n            return now",
        notices.test_words_said_over_them_are_answered_after_the_greeting,
    ),
    Bug(
        "a notice that was cut counts as said",
        "agenda",
        "if turn.was_heard and turn.kind is Kind.NOTICE and self._notices:",
        "if turn.kind is Kind.NOTICE and self._notices:",
        notices.test_what_a_lost_stream_cut_is_said_again_from_its_beginning,
    ),
    Bug(
        "a farewell may last for ever",
        "call",
        "self._timers.arm(Timer.FAREWELL, now + self._policy.farewell_limit)",
        "pass",
        agent.test_a_farewell_may_not_delay_the_hang_up_for_long,
    ),
    Bug(
        "the owner's text is said over the caller",
        "agenda",
        "elif self._texts and floor.caller.state is Caller.QUIET and",
        "elif self._texts and",
        agent.test_texts_of_the_owner_wait_for_the_agent_and_for_the_caller,
    ),
    Bug(
        "the first word of a held response is heard",
        "floor",
        "                self._hold(now, until)",
        "                pass",
        barge_in.test_a_response_that_begins_while_the_caller_makes_a_sound_is_held_back,
    ),
    Bug(
        "noise that comes again and again holds the agent for ever",
        "floor",
        "min(until, limit)",
        "until",
        barge_in.test_sounds_that_come_again_and_again_do_not_hold_the_agent_for_ever,
    ),
    Bug(
        "a line without audio is kept",
        "call",
        "self._timers.arm(Timer.MEDIA, now + self._policy.media_grace)\n            self._floor",
        "self._floor",
        leg.test_a_stream_that_comes_back_in_time_keeps_the_call,
    ),
    Bug(
        "the greeting is said before anybody can hear it",
        "floor",
        "return self.is_open and self.agent",
        "return self.agent",
        leg.test_the_greeting_waits_for_the_answer_and_for_audio,
    ),
    Bug(
        "a machine is talked to",
        "floor",
        "if self.machine_talks or (",
        "if (",
        voicemail.test_the_message_is_left_after_the_beep_and_then_the_call_ends,
    ),
]


def transplant(monkeypatch: pytest.MonkeyPatch, module: ModuleType, source: str) -> None:
    """Give the classes of a module the methods of another version of its source."""
    version = ModuleType(module.__name__)
    exec(compile(source, str(module.__file__), "exec"), vars(version))

    def rooted(function: FunctionType) -> FunctionType:
        twin = FunctionType(function.__code__, vars(module), function.__name__, function.__defaults__)
        twin.__kwdefaults__ = function.__kwdefaults__
        return twin

    for name, theirs in vars(version).items():
        ours = vars(module).get(name)
        if not isinstance(theirs, type) or theirs is ours or theirs.__module__ != module.__name__:
            continue
        for attribute, value in vars(theirs).items():
            if isinstance(value, FunctionType) and not attribute.startswith("__"):
                monkeypatch.setattr(ours, attribute, rooted(value))
            elif isinstance(value, property) and isinstance(value.fget, FunctionType):
                monkeypatch.setattr(ours, attribute, property(rooted(value.fget)))


def try_to_break_a_call(examples: int = 400) -> None:
    run_state_machine_as_test(
        CallMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=True,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what.replace(" ", "-"))
def test_a_seeded_bug_is_found(bug, monkeypatch):
    module = importlib.import_module(f"openclaw_voicecall.core.{bug.module}")
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert source.count(bug.old) == 1, "the code has changed: seed the bug anew"
    transplant(monkeypatch, module, source.replace(bug.old, bug.new))
    find = bug.found_by or try_to_break_a_call
    with pytest.raises((AssertionError, ProtocolError)):
        find()


def test_without_a_bug_the_transplanted_code_is_sound(monkeypatch):
    for name in ("state", "timers", "turns", "rehearsal", "floor", "agenda", "amd", "dtmf", "call"):
        module = importlib.import_module(f"openclaw_voicecall.core.{name}")
        transplant(monkeypatch, module, Path(str(module.__file__)).read_text(encoding="utf-8"))
    for bug in BUGS:
        if bug.found_by is not None:
            bug.found_by()
    try_to_break_a_call(examples=50)
