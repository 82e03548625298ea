"""The small parts of the core: text rules, keys, timers, tables, and the page that shows them."""

import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.core import events as e
from openclaw_voicecall.core import state
from openclaw_voicecall.core.dtmf import DigitCollector
from openclaw_voicecall.core.policy import BargeInPolicy, DtmfPolicy, EndpointingPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import (
    AGENT,
    CALLER,
    LEG,
    MEDIA,
    Agent,
    Automaton,
    Caller,
    Leg,
    Media,
    diagrams,
)
from openclaw_voicecall.core.timers import Timer, Timers
from openclaw_voicecall.core.transcript import (
    bid_words,
    ends_in_number,
    ends_in_question,
    heard_prefix,
    without_written,
)
from openclaw_voicecall.core.turns import AgentTurn, CallerTurn, Kind
from openclaw_voicecall.errors import RemoteProtocolError

pytestmark = pytest.mark.unit

BACKCHANNELS = BargeInPolicy().backchannels


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("Uh-huh.", 0),
        ("uh huh", 0),
        ("Mm-hmm, mm.", 0),
        ("Uh... huh?", 0),
        ("...", 0),
        ("no", 1),
        ("uh stop", 1),
        ("oh yes please", 2),
        ("Ümläut wörds", 2),
    ],
)
def test_words_that_are_no_backchannel_bid_for_the_floor(text, words):
    assert bid_words(text, BACKCHANNELS) == words


def test_without_backchannels_every_word_bids():
    assert bid_words("uh huh", frozenset()) == 2


@pytest.mark.parametrize(
    "text", ["555", "call 555-12", "at 10:30", "one hundred", "twenty-one.", "oh", "+4930"]
)
def test_the_last_word_is_a_number(text):
    assert ends_in_number(text)


@pytest.mark.parametrize("text", ["", "hello", "5 apples", "someone", "-"])
def test_the_last_word_is_no_number(text):
    assert not ends_in_number(text)


@pytest.mark.parametrize(
    ("text", "asks"), [("why?", True), ("why?”", True), ("なぜ？", True), ("why? because", False)]
)
def test_a_question_ends_in_its_mark(text, asks):
    assert ends_in_question(text) is asks


@pytest.mark.parametrize(
    ("heard", "duration", "prefix"),
    [
        (0.0, 2.0, ""),
        (0.9, 2.0, "one"),
        (1.0, 2.0, "one"),
        (1.1, 2.0, "one two"),
        (1.99, 2.0, "one two"),
        (2.0, 2.0, "one two three"),
        (5.0, 2.0, "one two three"),
        (0.5, None, "one two"),
        (9.0, None, "one two three"),
        (0.3, 0.0, "one"),
    ],
)
def test_the_heard_prefix_is_made_of_whole_words(heard, duration, prefix):
    assert heard_prefix(" one  two three ", heard, duration) == prefix


@given(st.text(), st.floats(0, 30), st.one_of(st.none(), st.floats(0, 30)))
def test_a_heard_prefix_is_a_prefix_and_grows_with_time(text, heard, duration):
    words = text.split()
    shorter = heard_prefix(text, heard / 2, duration).split()
    longer = heard_prefix(text, heard, duration).split()
    assert words[: len(longer)] == longer
    assert longer[: len(shorter)] == shorter


@pytest.mark.parametrize(
    ("text", "written", "new"),
    [
        ("book a table", "", "book a table"),
        ("Book a table, for Anna", "book a table", "for Anna"),
        ("book a cable for Anna", "book a table", "for Anna"),
        ("cancel it all please", "book a table", "cancel it all please"),
        ("book", "book a", ""),
        ("", "book", ""),
    ],
)
def test_words_that_are_written_already_are_not_new(text, written, new):
    assert without_written(text, written.split()) == new


def test_keys_are_collected_until_they_are_taken():
    keys = DigitCollector(DtmfPolicy(max_digits=3))
    assert [keys.press("1"), keys.press("2")] == [None, None]
    assert keys.digits == "12"
    assert keys.press("3") == "123"
    assert keys.take() == ""
    assert [keys.press("4"), keys.press("#"), keys.press("#")] == [None, "4", "#"]


def test_timers_fire_in_the_order_of_their_deadlines_and_then_of_their_names():
    timers = Timers()
    timers.arm(Timer.RESUME, 2.0)
    timers.arm(Timer.ENDPOINT, 2.0)
    timers.arm(Timer.IDLE, 1.0)
    timers.arm(Timer.MEDIA, 1.5)
    timers.arm(Timer.RING, 9.0)
    timers.cancel(Timer.MEDIA, Timer.DIGITS)
    assert timers.next() == 1.0
    assert [timers.pop_due(2.0) for _ in range(4)] == [Timer.IDLE, Timer.ENDPOINT, Timer.RESUME, None]
    assert Timer.RING in timers
    timers.clear()
    assert timers.next() is None


def test_the_end_of_a_turn_is_measured_from_the_end_of_speech():
    words = CallerTurn(EndpointingPolicy())
    words.speech_started(1.0, new=True)
    words.ended_at = 2.0
    assert words.endpoint() == 2.5
    words.hear("how are you?", final=True, talking=False)
    assert words.endpoint() == 2.4
    words.hear("my code is 4", final=False, talking=False)
    assert words.endpoint() == 3.2


def test_an_agents_turn_counts_what_was_heard_and_what_failed():
    turn = AgentTurn(3, Kind.RESPONSE)
    turn.add(1, "One two.")
    turn.add(2, "Three  four.")
    turn.add(3, "Five six.")
    assert turn.play(1)
    assert not turn.play(9)
    assert turn.progress(2, 1.0, 1.5)
    assert not turn.progress(2, 0.5, 1.5)
    assert not turn.progress(1, 9.0, 9.0)
    assert turn.heard_text() == "One two. Three"
    assert turn.drop(3)
    assert not turn.drop(1)
    assert turn.failure is EndReason.SYNTHESIS_FAILED
    turn.play(2)
    turn.finish(end_call=False)
    assert not turn.pending
    assert not turn.was_heard


@pytest.mark.parametrize(
    ("table", "states"),
    [(LEG, Leg), (MEDIA, Media), (CALLER, Caller), (AGENT, Agent)],
    ids=lambda value: str(type(value)),
)
def test_every_state_has_a_row_and_can_be_reached(table, states):
    assert set(table) == set(states)
    reached = {next(iter(table))} | {target for moves in table.values() for target in moves.values()}
    assert reached == set(states)


def test_a_step_that_is_not_in_the_table_is_refused_by_name_and_changes_nothing():
    leg = Automaton(LEG, Leg.NEW)
    with pytest.raises(RemoteProtocolError, match="CallAnswered is impossible while the leg is new"):
        leg.step(e.CallAnswered)
    assert leg.state is Leg.NEW


def test_the_page_of_state_machines_is_current():
    page = Path(__file__).parents[3] / "docs" / "state-machines.md"
    assert page.read_text(encoding="utf-8") == diagrams(), (
        "write it again: python -m openclaw_voicecall.core.state > docs/state-machines.md"
    )


def test_the_page_is_printed_by_running_the_module(capsys):
    runpy.run_path(state.__file__, run_name="__main__")
    assert capsys.readouterr().out == diagrams()
