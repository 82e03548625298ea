"""The live view, drawn from journals."""

import io
import re
from dataclasses import replace

import pytest
from cli_rig import CALL_ID, CONVERSATION, LIVE, OVER, entry, order, said

from openclaw_voicecall.api.store import CallRecord, JournalEntry
from openclaw_voicecall.cli.screen import Screen, cells
from openclaw_voicecall.cli.view import CallView

pytestmark = pytest.mark.unit

IN_PLACE = "\r\x1b[2K"
SGR = re.compile(r"\x1b\[[0-9;]*m")


def drawn(
    *entries: JournalEntry, record: CallRecord = OVER, many: bool = False, live: bool = False,
    colour: bool = False, width: int = 80,
) -> str:  # fmt: skip
    out = io.StringIO()
    view = CallView(Screen(out, live=live, colour=colour, width=lambda: width), many=many)
    for item in entries:
        view.show(item, record)
    view.close()
    return out.getvalue()


def rows(text: str) -> list[str]:
    """What a terminal shows at the end: in each row what was written after the last erasure."""
    return [row.rpartition(IN_PLACE)[2] for row in SGR.sub("", text).split("\n")]


def test_a_conversation_is_told_line_by_line_where_nothing_can_be_redrawn() -> None:
    assert drawn(*CONVERSATION).splitlines() == [
        "  0:00.0  dialling +15550001234 from +15550000000",
        "  0:00.4  line     ringing",
        "  0:01.0  line     answered",
        "  0:01.1  line     audio flows",
        "  0:03.0  agent    Hello, this is Ada.",
        "  0:05.0  caller   When do you open?",
        "  0:06.0  agent    … yields",
        "  0:06.9  agent    … goes on",
        "  0:07.2  agent    … yields",
        "  0:07.5  agent    At nine on  ✋ interrupted · 627 ms",
        "  0:09.0  ended    caller-hung-up: the caller hung up",
    ]


def test_a_terminal_ends_with_the_same_lines_and_nothing_half_drawn() -> None:
    plain = drawn(*CONVERSATION).splitlines()
    assert [row.rstrip() for row in rows(drawn(*CONVERSATION, live=True, colour=True))] == [*plain, ""]


def test_words_being_heard_replace_each_other_in_one_row() -> None:
    seen = drawn(*CONVERSATION[7:11], live=True)
    assert "\n" not in seen
    assert [row[19:] for row in seen.split(IN_PLACE)[1:-1]] == [
        "…",
        "When do",
        "When do",
        "When do you open?",
    ]


def test_an_agent_is_seen_thinking_and_then_speaking() -> None:
    seen = drawn(*CONVERSATION[11:15], live=True)
    assert [row[10:].split()[1:3] for row in seen.split(IN_PLACE)[1:-1]] == [
        ["thinks"], ["is", "about"], ["At", "nine"], ["At", "nine"],
    ]  # fmt: skip


def test_without_colour_rows_are_still_redrawn() -> None:
    assert not SGR.search(drawn(*CONVERSATION, live=True, colour=False))
    assert SGR.search(drawn(*CONVERSATION, live=True, colour=True))


@pytest.mark.parametrize("width", [42, 60])
def test_no_row_is_wider_than_the_terminal(width: int) -> None:
    words = "Eine Straßenbahn fährt um neun Uhr nach 東京駅 und zurück " * 4
    seen = drawn(
        entry(1, 1.0, "TranscriptReceived", {"text": words, "final": False}),
        entry(2, 2.0, "timer", None, said("caller", words, 1)),
        entry(3, 3.0, "timer", None, said("agent", words, 1, interrupted=True)),
        live=True,
        width=width,
    )
    assert max(cells(row) for part in seen.split(IN_PLACE) for row in part.split("\n")) < width


def test_a_long_interim_shows_its_newest_words() -> None:
    words = " ".join(str(number) for number in range(100))
    seen = drawn(entry(1, 1.0, "TranscriptReceived", {"text": words, "final": False}), live=True, width=50)
    row = seen.split(IN_PLACE)[1]
    assert "…" in row
    assert row.endswith("98 99")


def test_nothing_is_lost_of_a_line_that_is_wrapped() -> None:
    words = " ".join(f"word{number}" for number in range(40)) + " " + "x" * 90
    seen = drawn(entry(1, 1.0, "timer", None, said("caller", words, 1)), live=True, width=44)
    assert "".join(row.strip() for row in seen.split("\n")).replace(" ", "").endswith(words.replace(" ", ""))


def test_a_turn_cut_before_a_word_was_heard_says_so() -> None:
    cut = entry(
        1, 1.0, "TranscriptReceived", {"text": "Stop", "final": False},
        order("CancelResponse", turn=1), order("ClearAudio", turn=1),
    )  # fmt: skip
    assert "✋ interrupted before a word was heard" in drawn(cut)


def test_audio_cleared_by_a_hang_up_is_no_interruption() -> None:
    cut = entry(1, 1.0, "CallEnded", {"reason": "caller-hung-up"}, order("ClearAudio", turn=1))
    assert "interrupted" not in drawn(cut)


def test_a_failure_names_the_hop_the_provider_and_what_is_done() -> None:
    data = {"hop": "transcriber", "provider": "openai", "detail": "session refused", "action": "reconnecting"}
    assert "failed   transcriber openai: session refused; reconnecting" in drawn(
        entry(1, 1.0, "vendor-failed", data)
    )


@pytest.mark.parametrize(
    ("event", "hop"),
    [
        ("TranscriptionFailed", "transcriber"),
        ("ResponseFailed", "responder"),
        ("UtteranceFailed", "synthesizer"),
        ("media-refused", "media stream"),
    ],
)
def test_every_failure_of_the_core_names_its_hop(event: str, hop: str) -> None:
    assert f"failed   {hop}: no route" in drawn(entry(1, 1.0, event, {"detail": "no route"}))


def test_keys_are_collected_into_one_line() -> None:
    pressed = [entry(number, 1.0, "DtmfReceived", {"digit": digit}) for number, digit in enumerate("12#")]
    spoken = drawn(*pressed, entry(9, 2.0, "timer", None, said("caller", "Hello?", 1)))
    assert [line[10:] for line in spoken.splitlines()] == ["caller   [keys 12#]", "caller   Hello?"]
    dialled = drawn(*pressed, entry(9, 2.0, "timer", None, said("caller", "[keys 12]", 1)))
    assert [line[10:] for line in dialled.splitlines()] == ["caller   [keys 12]"]
    assert "[keys 12#]" in drawn(*pressed, live=True)


def test_keys_pressed_by_the_agent_are_shown() -> None:
    assert "agent    sends keys 42#" in drawn(
        entry(1, 1.0, "DigitsRequested", {"digits": "42#"}, order("SendDigits", digits="42#"))
    )


def test_what_a_caller_says_cannot_steer_the_terminal() -> None:
    nasty = "hello\x1b[2J\x07\r\nerror: fake\x9b31m"
    for live in (False, True):
        seen = drawn(
            entry(1, 1.0, "TranscriptReceived", {"text": nasty, "final": False}),
            entry(2, 2.0, "timer", None, said("caller", nasty, 1)),
            live=live,
        ).replace(IN_PLACE, "")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", seen)
        assert seen.count("\n") == 1


def test_lines_of_many_calls_name_their_call() -> None:
    other = replace(LIVE, call_id="02kotherother")
    seen = drawn(
        entry(1, 1.0, "timer", None, said("caller", "Hello?", 1)),
        entry(1, 1.0, "timer", None, said("caller", "Hi!", 1), call_id=other.call_id),
        many=True,
    ).splitlines()
    assert [line.split()[0] for line in seen] == [CALL_ID[-6:], "rother"]


def test_words_of_one_call_do_not_show_up_in_another() -> None:
    seen = drawn(
        entry(1, 1.0, "TranscriptReceived", {"text": "secret", "final": False}),
        entry(1, 1.0, "SpeechStarted", call_id="another"),
        many=True,
        live=True,
    )
    assert "secret" not in seen.split(IN_PLACE)[2]


def test_inbound_calls_say_who_calls_and_whether_they_were_refused() -> None:
    assert "incoming +15550000000 calls +15550001234 (refused)" in drawn(
        entry(1, 0.0, "CallOffered", {"admitted": False})
    )


def test_entries_of_a_later_version_are_passed_over() -> None:
    assert drawn(entry(1, 1.0, "MoonRose", {"phase": "full"}, order("Howl", turn=1))) == ""


def test_half_heard_words_of_a_call_that_ended_are_taken_away() -> None:
    seen = drawn(
        entry(1, 1.0, "TranscriptReceived", {"text": "Good b", "final": False}),
        entry(2, 2.0, "CallEnded", {}, order("ReleaseCall", reason="caller-hung-up")),
        entry(3, 2.0, "DtmfReceived", {"digit": "1"}),
        live=True,
    )
    assert "Good b" not in seen.partition("\n")[2]
