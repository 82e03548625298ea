"""The pacer against a carrier that plays in real time, and by literal times."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openclaw_voicecall.media.audio import FRAME_BYTES, SAMPLE_RATE, silence
from openclaw_voicecall.media.pacer import Pacer, Position, SendAudio, SendMark

pytestmark = pytest.mark.unit

SECOND = silence(1000)


def speech(number: int, nbytes: int) -> bytes:
    """Audio that tells whose it is and where it belongs."""
    return bytes((number * 37 + at // 7) % 251 for at in range(nbytes))


@dataclass
class Carrier:
    """Plays what it is sent at its own pace, and echoes marks when it gets there."""

    delay: float = 0.0
    drain: float = 0.0
    played: list[tuple[float, float, bytes]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)

    def take(self, items: list[SendAudio | SendMark], now: float) -> None:
        for item in items:
            starts = max(self.drain, now + self.delay)
            if isinstance(item, SendAudio):
                self.drain = starts + len(item.audio) / SAMPLE_RATE
                self.played.append((starts, self.drain, item.audio))
            else:
                self.marks.append((starts + self.delay, item.name))

    def echoes(self, now: float) -> list[str]:
        due = [name for at, name in self.marks if at <= now + 1e-9]
        self.marks = [(at, name) for at, name in self.marks if at > now + 1e-9]
        return due

    def clear(self, now: float) -> bytes:
        """Drop what was not played; returns what was heard, to the sample."""
        heard = b"".join(
            audio[: max(0, min(len(audio), round((now - starts) * SAMPLE_RATE)))]
            for starts, _, audio in self.played
        )
        self.played.clear()
        self.marks.clear()
        self.drain = now
        return heard

    @property
    def audio(self) -> bytes:
        return b"".join(audio for _, _, audio in self.played)


def audio_of(items: list[SendAudio | SendMark]) -> bytes:
    return b"".join(item.audio for item in items if isinstance(item, SendAudio))


def marks_of(items: list[SendAudio | SendMark]) -> list[str]:
    return [item.name for item in items if isinstance(item, SendMark)]


def said(pacer: Pacer, number: int, audio: bytes) -> None:
    pacer.announce(number)
    pacer.push(number, audio)
    pacer.finish(number)


def test_a_lead_of_audio_goes_out_at_once_and_the_rest_as_it_plays() -> None:
    pacer = Pacer(lead=0.5, chunk=0.1)
    said(pacer, 1, SECOND)
    first = pacer.due(10.0)
    assert [len(item.audio) for item in first if isinstance(item, SendAudio)] == [800] * 5
    assert [item.starts for item in first if isinstance(item, SendAudio)] == pytest.approx(
        [10.0, 10.1, 10.2, 10.3, 10.4]
    )
    assert pacer.buffered == 0.5
    assert pacer.next_time() == pytest.approx(10.1)
    assert pacer.due(10.05) == []
    assert len(audio_of(pacer.due(10.1))) == 800


def test_the_first_message_of_a_silent_line_does_not_wait_for_a_whole_chunk() -> None:
    pacer = Pacer()
    pacer.announce(1)
    pacer.push(1, silence(20))
    assert len(audio_of(pacer.due(5.0))) == FRAME_BYTES
    pacer.push(1, silence(20))
    assert len(audio_of(pacer.due(5.001))) == FRAME_BYTES, "less than a chunk is left at the carrier"


def test_small_pieces_are_gathered_into_messages_while_the_carrier_has_enough_to_play() -> None:
    pacer = Pacer(chunk=0.1)
    pacer.announce(1)
    pacer.push(1, silence(400))
    pacer.due(0.0)
    pacer.push(1, silence(60))
    assert pacer.due(0.01) == []
    assert pacer.next_time() == pytest.approx(0.3), "by then the carrier has one chunk left"
    pacer.push(1, silence(40))
    assert len(audio_of(pacer.due(0.02))) == 800


def test_a_part_of_a_frame_waits_for_its_rest_and_goes_with_the_tail() -> None:
    pacer = Pacer(chunk=0.1)
    pacer.announce(1)
    pacer.push(1, bytes(100))
    assert pacer.due(0.0) == []
    pacer.push(1, bytes(830))
    pacer.finish(1)
    assert [len(item.audio) for item in pacer.due(0.0) if isinstance(item, SendAudio)] == [930]


def test_each_utterance_ends_with_a_mark_that_carries_the_generation() -> None:
    pacer = Pacer()
    said(pacer, 7, silence(100))
    said(pacer, 8, silence(100))
    assert marks_of(pacer.due(0.0)) == ["0:7", "0:8"]
    pacer.clear(0.05)
    said(pacer, 9, silence(100))
    assert marks_of(pacer.due(0.06)) == ["1:9"]


def test_audio_of_a_later_utterance_waits_until_the_earlier_is_finished() -> None:
    pacer = Pacer()
    pacer.announce(1)
    pacer.announce(2)
    pacer.push(2, b"\x02" * 160)
    pacer.finish(2)
    assert pacer.due(0.0) == []
    assert pacer.next_time() is None
    pacer.push(1, b"\x01" * 160)
    pacer.finish(1)
    assert audio_of(pacer.due(0.0)) == b"\x01" * 160 + b"\x02" * 160


def test_a_mark_goes_out_alone_when_the_end_comes_after_the_audio() -> None:
    pacer = Pacer()
    pacer.announce(1)
    pacer.push(1, silence(100))
    assert marks_of(pacer.due(0.0)) == []
    pacer.finish(1)
    assert pacer.next_time() is not None
    assert pacer.due(0.01) == [SendMark("0:1")]


def test_an_utterance_finished_without_audio_vanishes() -> None:
    pacer = Pacer()
    pacer.announce(1)
    said(pacer, 2, silence(20))
    pacer.finish(1)
    assert marks_of(pacer.due(0.0)) == ["0:2"]
    assert pacer.overdue(99.0) == [2]


def test_an_echo_reports_the_utterance_once_and_only_in_its_generation() -> None:
    pacer = Pacer()
    said(pacer, 1, silence(100))
    pacer.due(0.0)
    assert pacer.mark_echoed("0:99", 0.05) is None
    assert pacer.mark_echoed("nonsense", 0.05) is None
    assert pacer.mark_echoed("0:1", 0.1) == 1
    assert pacer.mark_echoed("0:1", 0.1) is None
    assert pacer.empty
    said(pacer, 2, silence(100))
    pacer.due(0.2)
    assert pacer.hold(0.25)
    pacer.resume(0.3)
    assert pacer.mark_echoed("0:2", 0.31) is None, "the carrier echoes every mark at a clear"
    assert not pacer.empty


def test_an_echo_that_skips_an_utterance_makes_it_overdue_at_once() -> None:
    pacer = Pacer()
    said(pacer, 1, silence(100))
    said(pacer, 2, silence(100))
    pacer.due(0.0)
    assert pacer.mark_echoed("0:2", 0.21) == 2
    assert pacer.next_time() is not None
    assert pacer.overdue(0.21) == [1]
    assert pacer.overdue(0.22) == []
    assert pacer.mark_echoed("0:1", 0.3) is None


def test_a_missing_mark_counts_after_its_grace() -> None:
    pacer = Pacer(mark_grace=2.0)
    said(pacer, 1, SECOND)
    pacer.due(0.0)
    pacer.due(0.1)
    assert pacer.next_time() == pytest.approx(3.0)
    assert pacer.overdue(2.9) == []
    assert pacer.overdue(3.0) == [1]
    assert pacer.mark_echoed("0:1", 3.1) is None
    assert pacer.next_time() is None


def test_without_marks_an_utterance_counts_at_its_estimated_end() -> None:
    pacer = Pacer(marks=False)
    said(pacer, 1, silence(500))
    assert marks_of(pacer.due(0.0)) == []
    assert pacer.next_time() == pytest.approx(0.5)
    assert pacer.overdue(0.49) == []
    assert pacer.overdue(0.5) == [1]


def test_the_position_follows_the_clock_and_knows_the_duration_once_all_was_pushed() -> None:
    pacer = Pacer()
    assert pacer.position(0.0) is None
    pacer.announce(1)
    assert pacer.position(0.0) == Position(1, 0.0, None)
    pacer.push(1, SECOND)
    pacer.due(1.0)
    assert pacer.position(1.25) == Position(1, 0.25, None)
    pacer.finish(1)
    assert pacer.position(1.5) == Position(1, 0.5, 1.0)
    assert pacer.due(1.5) == [SendMark("0:1")]
    assert pacer.position(9.0) == Position(1, 1.0, 1.0), "not reported yet"
    assert pacer.overdue(9.0) == [1]
    assert pacer.position(9.0) is None


def test_the_position_moves_on_when_something_of_the_next_was_heard() -> None:
    pacer = Pacer()
    said(pacer, 1, silence(200))
    said(pacer, 2, silence(200))
    pacer.due(0.0)
    assert pacer.position(0.2) == Position(1, 0.2, 0.2)
    assert pacer.position(0.3) == Position(2, pytest.approx(0.1), 0.2)


def test_a_late_echo_moves_the_heard_position_back_and_an_early_one_forward() -> None:
    pacer = Pacer(lead=2.0)
    said(pacer, 1, silence(500))
    said(pacer, 2, SECOND)
    pacer.due(0.0)
    assert pacer.mark_echoed("0:1", 0.7) == 1
    assert pacer.position(0.8) == Position(2, pytest.approx(0.1), 1.0)
    early = Pacer(lead=2.0)
    said(early, 1, silence(500))
    said(early, 2, SECOND)
    early.due(0.0)
    assert early.mark_echoed("0:1", 0.4) == 1
    assert early.position(0.8) == Position(2, pytest.approx(0.4), 1.0)


def test_a_late_echo_does_not_starve_the_carrier() -> None:
    """The echo may be late because the network was, so sending goes on as if the carrier had started at once."""
    pacer = Pacer(lead=0.5)
    said(pacer, 1, silence(400))
    said(pacer, 2, silence(2000))
    carrier = Carrier()
    carrier.take(pacer.due(0.0), 0.0)
    for tick in range(1, 22):
        now = tick / 10
        if tick == 20:
            assert pacer.mark_echoed("0:1", now) == 1
        carrier.take(pacer.due(now), now)
    assert all(after[0] == pytest.approx(before[1]) for before, after in pairwise(carrier.played))


def test_hold_keeps_what_was_not_heard_from_a_frame_boundary_on() -> None:
    audio = speech(3, 8000)
    pacer = Pacer()
    said(pacer, 3, audio)
    pacer.due(0.0)
    assert pacer.hold(0.513)
    assert pacer.held
    assert pacer.due(0.6) == []
    assert pacer.next_time() is None
    assert pacer.position(60.0) == Position(3, 0.5, 1.0)
    assert not pacer.hold(0.7), "nothing is left at the carrier to clear"
    pacer.resume(2.0)
    again = pacer.due(2.0)
    assert audio_of(again) == audio[4000:]
    assert again[0] == SendAudio(audio[4000:4800], 2.0)
    assert marks_of(again) == ["1:3"]
    assert pacer.mark_echoed("1:3", 2.5) == 3


def test_audio_pushed_during_a_hold_is_kept_and_played_after_it() -> None:
    audio = speech(1, 3200)
    pacer = Pacer()
    pacer.announce(1)
    pacer.push(1, audio[:1600])
    pacer.due(0.0)
    pacer.hold(0.1)
    pacer.push(1, audio[1600:])
    said(pacer, 2, speech(2, 800))
    pacer.finish(1)
    assert pacer.buffered == pytest.approx(0.4)
    pacer.resume(1.0)
    assert audio_of(pacer.due(1.0)) == audio[800:] + speech(2, 800)


def test_an_utterance_heard_to_its_end_before_a_hold_is_reported_and_not_said_again() -> None:
    pacer = Pacer()
    said(pacer, 1, silence(200))
    said(pacer, 2, speech(2, 1600))
    pacer.due(0.0)
    assert pacer.hold(0.3)
    assert pacer.position(0.3) == Position(2, pytest.approx(0.1), 0.2)
    assert pacer.next_time() is not None
    assert pacer.overdue(0.3) == [1]
    pacer.resume(0.5)
    assert audio_of(pacer.due(0.5)) == speech(2, 1600)[800:]


def test_hold_and_clear_say_whether_the_carrier_may_still_have_audio() -> None:
    assert not Pacer().hold(5.0)
    assert not Pacer().clear(5.0)
    pacer = Pacer(mark_grace=2.0)
    said(pacer, 1, silence(100))
    pacer.due(0.0)
    assert pacer.mark_echoed("0:1", 0.1) == 1
    assert not pacer.hold(0.11), "its echo shows that the carrier is empty"
    pacer.clear(0.2)
    said(pacer, 5, silence(100))
    said(pacer, 6, silence(100))
    pacer.due(0.3)
    assert pacer.mark_echoed("2:5", 0.4) == 5
    assert pacer.clear(0.41), "more was sent after the mark that came back"
    pacer.announce(2)
    pacer.push(2, silence(100))
    pacer.due(1.0)
    assert pacer.clear(1.5), "it ended by the estimate, but a slow network may still bring it"
    pacer.announce(3)
    pacer.push(3, silence(100))
    pacer.due(2.0)
    assert not pacer.clear(5.0)


def test_clear_leaves_nothing_and_late_pushes_of_cleared_utterances_are_ignored() -> None:
    pacer = Pacer()
    said(pacer, 1, SECOND)
    pacer.announce(2)
    pacer.due(0.0)
    assert pacer.clear(0.2)
    pacer.push(2, SECOND)
    pacer.finish(2)
    pacer.drop(2)
    assert pacer.empty
    assert (pacer.due(0.3), pacer.overdue(9.0), pacer.position(0.3), pacer.next_time()) == (
        [],
        [],
        None,
        None,
    )
    assert pacer.buffered == 0.0
    assert not pacer.playing(0.3)


def test_audio_after_a_clear_starts_at_once_and_old_echoes_tell_nothing() -> None:
    pacer = Pacer()
    said(pacer, 1, silence(300))
    said(pacer, 2, SECOND)
    pacer.due(0.0)
    pacer.clear(0.1)
    assert pacer.mark_echoed("0:1", 0.11) is None
    said(pacer, 3, silence(20))
    assert pacer.due(0.2)[0] == SendAudio(silence(20), 0.2)


def test_an_echo_of_an_utterance_that_a_hold_counted_as_heard_is_not_reported_twice() -> None:
    pacer = Pacer()
    said(pacer, 1, silence(100))
    pacer.due(0.0)
    pacer.hold(0.1)
    assert pacer.mark_echoed("0:1", 0.11) is None
    assert pacer.overdue(0.12) == [1]


def test_nothing_is_added_to_a_finished_utterance() -> None:
    pacer = Pacer()
    said(pacer, 1, silence(20))
    pacer.push(1, silence(20))
    assert audio_of(pacer.due(0.0)) == silence(20)


def test_an_end_that_comes_late_is_no_lag_of_the_carrier() -> None:
    pacer = Pacer()
    pacer.announce(1)
    pacer.push(1, silence(100))
    pacer.due(0.0)
    pacer.finish(1)
    assert pacer.due(0.6) == [SendMark("0:1")]
    assert pacer.mark_echoed("0:1", 0.6) == 1
    said(pacer, 2, SECOND)
    pacer.due(0.7)
    assert pacer.position(0.9) == Position(2, pytest.approx(0.2), 1.0)


def test_clear_ends_a_hold() -> None:
    pacer = Pacer()
    said(pacer, 1, SECOND)
    pacer.due(0.0)
    pacer.hold(0.1)
    assert not pacer.clear(0.2), "the hold had the carrier cleared already"
    said(pacer, 2, silence(20))
    assert audio_of(pacer.due(0.3)) == silence(20)


def test_a_dropped_utterance_ends_where_it_was_sent_and_is_not_reported() -> None:
    pacer = Pacer(lead=0.5)
    pacer.announce(1)
    pacer.push(1, SECOND)
    said(pacer, 2, silence(100))
    pacer.due(0.0)
    pacer.drop(1)
    after = pacer.due(0.1)
    assert marks_of(after) == ["0:2"]
    assert isinstance(after[0], SendAudio)
    assert after[0].starts == pytest.approx(0.5)
    assert pacer.position(0.3) == Position(1, 0.3, 0.5)
    assert pacer.position(0.55) == Position(2, pytest.approx(0.05), 0.1)
    assert pacer.mark_echoed("0:2", 0.6) == 2
    assert pacer.overdue(9.0) == []


def test_an_utterance_dropped_before_it_sounded_makes_way_at_once() -> None:
    pacer = Pacer()
    pacer.announce(1)
    said(pacer, 2, silence(20))
    pacer.drop(1)
    assert marks_of(pacer.due(0.0)) == ["0:2"]


def test_an_utterance_dropped_during_a_hold_is_gone_after_it() -> None:
    pacer = Pacer()
    pacer.announce(1)
    pacer.push(1, SECOND)
    pacer.due(0.0)
    pacer.hold(0.5)
    pacer.drop(1)
    assert pacer.empty
    held = Pacer()
    held.announce(1)
    held.push(1, SECOND)
    held.due(0.0)
    held.drop(1)
    held.hold(0.5)
    assert held.empty


def test_a_dry_carrier_in_the_middle_of_an_utterance_is_an_underrun() -> None:
    pacer = Pacer()
    pacer.announce(1)
    pacer.push(1, silence(100))
    pacer.due(0.0)
    pacer.push(1, silence(100))
    pacer.due(0.35)
    assert pacer.underruns == 1
    assert pacer.late == pytest.approx(0.25)
    assert pacer.position(0.2) == Position(1, pytest.approx(0.1), None)
    assert pacer.position(0.4) == Position(1, pytest.approx(0.15), None)


def test_a_pause_between_utterances_or_a_hold_is_no_underrun() -> None:
    pacer = Pacer()
    said(pacer, 1, silence(100))
    pacer.due(0.0)
    said(pacer, 2, SECOND)
    pacer.due(3.0)
    pacer.hold(3.2)
    pacer.resume(5.0)
    pacer.due(5.0)
    assert pacer.underruns == 0
    assert pacer.late == 0.0


def test_playing_says_whether_sound_is_on_the_line() -> None:
    pacer = Pacer()
    assert not pacer.playing(0.0)
    said(pacer, 1, silence(500))
    pacer.due(1.0)
    assert pacer.playing(1.0)
    assert pacer.playing(1.4)
    assert not pacer.playing(1.6)
    pacer.hold(1.2)
    assert not pacer.playing(1.3)


@pytest.mark.parametrize(("lead", "chunk"), [(1.0, 0.001), (0.03, 0.1)])
def test_times_that_hold_no_frame_are_refused(lead: float, chunk: float) -> None:
    with pytest.raises(ValueError, match="at least"):
        Pacer(lead=lead, chunk=chunk)


def test_a_short_lead_makes_short_messages() -> None:
    pacer = Pacer(lead=0.1, chunk=0.1)
    said(pacer, 1, SECOND)
    assert [len(item.audio) for item in pacer.due(0.0) if isinstance(item, SendAudio)] == [320, 320]


sizes = st.lists(st.integers(1, 9000), min_size=1, max_size=5)


@given(
    sizes,
    st.sampled_from([0.06, 0.2, 1.0, 5.0]),
    st.sampled_from([0.02, 0.1, 0.2]),
    st.sampled_from([0.0, 0.15]),
)
def test_what_is_fed_in_time_plays_in_order_without_a_gap_and_never_more_than_the_lead_ahead(
    lengths: list[int], lead: float, chunk: float, delay: float
) -> None:
    pacer = Pacer(lead=lead, chunk=chunk)
    carrier = Carrier(delay)
    utterances = [speech(number, length) for number, length in enumerate(lengths)]
    for number, audio in enumerate(utterances):
        said(pacer, number, audio)
    now, heard = 3.0, []
    while (at := pacer.next_time()) is not None:
        echoes = [mark for mark, _ in carrier.marks]
        now = max(now, min([at, *echoes]))
        heard += [pacer.mark_echoed(name, now) for name in carrier.echoes(now)]
        carrier.take(pacer.due(now), now)
        assert carrier.drain - now <= lead + delay + 1e-3
        assert pacer.overdue(now) == []
    assert carrier.audio == b"".join(utterances)
    assert all(after[0] - before[1] < 1e-3 for before, after in pairwise(carrier.played))
    assert heard == list(range(len(lengths)))
    assert pacer.underruns == 0
    assert pacer.empty


@dataclass
class Call:
    """A pacer on an honest carrier, driven step by step."""

    pacer: Pacer
    carrier: Carrier = field(default_factory=Carrier)
    now: float = 1.0
    made: dict[int, bytearray] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    reported: list[int] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)
    slack: int = 0
    """Bytes that may be heard again at a hold, besides a frame."""

    def pump(self) -> None:
        self.carrier.take(self.pacer.due(self.now), self.now)
        self.reported += self.pacer.overdue(self.now)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            at = self.pacer.next_time()
            times = [end, *(mark for mark, _ in self.carrier.marks)]
            if at is not None:
                times.append(at)
            self.now = max(self.now, min(times))
            for name in self.carrier.echoes(self.now):
                number = self.pacer.mark_echoed(name, self.now)
                if number is not None:
                    self.reported.append(number)
            self.pump()
            if self.now >= end:
                return

    def make(self, number: int, nbytes: int) -> None:
        if number not in self.made:
            self.made[number] = bytearray()
            self.pacer.announce(number)
        if number not in self.finished:
            more = speech(number, len(self.made[number]) + nbytes)[len(self.made[number]) :]
            self.made[number] += more
            self.pacer.push(number, more)

    def finish(self, number: int) -> None:
        if self.made.get(number) and number not in self.finished:
            self.finished.add(number)
            self.pacer.finish(number)

    def hold(self) -> None:
        # What the caller hears of a frame that is repeated after the hold counts once.
        before = self.position_bytes()
        if self.pacer.hold(self.now):
            played = self.carrier.clear(self.now)
            back = len(self.heard) + len(played) - self.position_bytes()
            assert 0 <= back < FRAME_BYTES + self.slack
            self.heard += played[: len(played) - back]
        else:
            self.heard += self.carrier.clear(self.now)
        assert self.position_bytes() <= before
        self.reported += self.pacer.overdue(self.now)

    def position_bytes(self) -> int:
        """Bytes heard in all by the pacer's account."""
        position = self.pacer.position(self.now)
        known = sum(len(self.made[number]) for number in self.reported)
        if position is None:
            return known
        passed = [
            number for number in self.made if number < position.utterance and number not in self.reported
        ]
        return known + sum(len(self.made[number]) for number in passed) + round(position.heard * SAMPLE_RATE)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.integers(1, 4000)),
        st.tuples(st.just("wait"), st.integers(0, 9000)),
        st.tuples(st.just("finish"), st.just(0)),
        st.tuples(st.just("hold"), st.integers(0, 3000)),
    ),
    max_size=25,
)


@settings(max_examples=150)
@given(steps, st.sampled_from([0.1, 0.5, 3.0]), st.booleans())
def test_every_byte_is_heard_exactly_once_through_holds_and_resumes(
    script: list[tuple[str, int]], lead: float, marks: bool
) -> None:
    call = Call(Pacer(lead=lead, marks=marks))
    number = 0
    for what, amount in script:
        if what == "make":
            call.make(number, amount)
            call.make(number + 1, amount // 3 + 1)
        elif what == "wait":
            call.wait(amount / SAMPLE_RATE)
        elif what == "finish":
            call.finish(number)
            number += 1
        else:
            call.hold()
            call.wait(amount / SAMPLE_RATE)
            call.pacer.resume(call.now)
        call.pump()
        before = call.position_bytes()
        call.wait(0.013)
        assert call.position_bytes() >= before, "what was heard does not become unheard"
    for left in sorted(call.made):
        call.finish(left)
    call.wait(30.0)
    call.heard += call.carrier.audio
    assert bytes(call.heard) == b"".join(bytes(call.made[each]) for each in sorted(call.made))
    assert call.reported == sorted(call.made)
    assert call.pacer.empty


@settings(max_examples=150)
@given(steps, st.integers(0, 100))
def test_nothing_is_left_out_at_a_hold_where_the_carrier_began_late(
    script: list[tuple[str, int]], late: int
) -> None:
    pacer = Pacer(late_start=0.1)
    call = Call(pacer, Carrier(delay=late / 1000), slack=round(0.1 * SAMPLE_RATE))
    for number, (what, amount) in enumerate(script):
        if what == "make":
            call.make(number, amount)
            call.finish(number)
        elif what == "hold":
            call.hold()
            pacer.resume(call.now)
        call.wait(amount / SAMPLE_RATE)
    call.wait(30.0)
    call.heard += call.carrier.audio
    assert bytes(call.heard) == b"".join(bytes(call.made[each]) for each in sorted(call.made))


def test_where_the_carrier_is_known_to_play_nothing_is_heard_again() -> None:
    pacer = Pacer(late_start=0.1)
    said(pacer, 1, SECOND)
    pacer.due(0.0)
    pacer.played_until(0.1, 0.12)
    pacer.hold(0.5)
    assert pacer.position(0.5) == Position(1, pytest.approx(0.48), 1.0)
    pacer.resume(1.0)
    pacer.due(1.0)
    pacer.hold(1.3)
    assert pacer.position(1.3) == Position(1, pytest.approx(0.68), 1.0), "for it may have begun late again"


@given(steps, st.integers(0, 8000))
def test_clear_leaves_nothing_whatever_came_before(script: list[tuple[str, int]], later: int) -> None:
    call = Call(Pacer())
    for number, (what, amount) in enumerate(script):
        if what == "make":
            call.make(number // 3, amount)
        elif what == "wait":
            call.wait(amount / SAMPLE_RATE)
        elif what == "finish":
            call.finish(number // 3)
        else:
            call.pacer.hold(call.now)
            call.carrier.clear(call.now)
        call.pump()
    marks = [name for _, name in call.carrier.marks]
    call.pacer.clear(call.now)
    now = call.now + later / SAMPLE_RATE
    assert call.pacer.empty
    assert call.pacer.due(now) == []
    assert call.pacer.next_time() is None
    assert [call.pacer.mark_echoed(name, now) for name in marks] == [None] * len(marks)
