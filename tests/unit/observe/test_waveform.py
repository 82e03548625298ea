"""The picture of a call: what is where, and that it is well-formed."""

import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from openclaw_voicecall.api.store import CallRecord, TranscriptLine
from openclaw_voicecall.api.wire import record_to_json
from openclaw_voicecall.errors import CodecError, MediaError
from openclaw_voicecall.media.wav import Samples, encode_wav
from openclaw_voicecall.observe.waveform import SpokenLine, main, spoken_lines, waveform_svg
from openclaw_voicecall.testing.waveform import draw

pytestmark = pytest.mark.unit

RATE = 8000
SVG = "{http://www.w3.org/2000/svg}"


def voice(*spans: tuple[float, float], seconds: float = 10) -> Samples:
    samples = np.zeros(round(seconds * RATE), dtype=np.int16)
    for start, end in spans:
        samples[round(start * RATE) : round(end * RATE)] = 9000
    return samples


@pytest.fixture
def call(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    path.write_bytes(encode_wav(RATE, voice((3, 4), (7, 8)), voice((0.5, 2.5), (5, 6.5))))
    return path


def line(speaker: str, text: str, at: float, *, interrupted: bool = False) -> TranscriptLine:
    return TranscriptLine(speaker=speaker, text=text, at=1000 + at, interrupted=interrupted)


RECORD = CallRecord(
    call_id="c1",
    carrier="local",
    direction="outbound",
    from_number="+15550000000",
    to_number="+15550001234",
    mode="conversation",
    state="completed",
    created_at=998.0,
    answered_at=1000.0,
    transcript=(
        line("agent", "Hello there.", 2.6),
        line("caller", "Hi, it's me & you.", 4.6),
        line("agent", "I was about to", 6.6, interrupted=True),
        line("caller", "Stop.", 8.5),
    ),
)


def elements(svg: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(f"{SVG}{name}"))


def text_x(svg: str, words: str) -> float:
    return next(float(element.get("x", "0")) for element in elements(svg, "text") if element.text == words)


def bars(svg: str, speaker: str) -> list[tuple[float, float, float]]:
    """Place from the left, top and height of every bar of a voice, through all rows."""
    paths = [path.get("d", "") for path in elements(svg, "path") if path.get("class") == f"{speaker} voice"]
    found = re.findall(r"M([\d.]+) ([\d.]+)v([\d.]+)", " ".join(paths))
    return [(float(x), float(y), float(height)) for x, y, height in found]


def style(svg: str, name: str) -> list[str]:
    """What the style sheet says of a class: in light colours, then in dark ones."""
    return re.findall(rf"\.{name} {{ fill: (#\w+)", svg)


def test_both_voices_are_drawn_in_colours_of_their_own(call: Path) -> None:
    svg = waveform_svg(call)
    assert bars(svg, "caller")
    assert bars(svg, "agent")
    assert len({*style(svg, "caller"), *style(svg, "agent")}) == 4


def test_words_can_be_read_in_light_and_in_dark(call: Path) -> None:
    def brightness(colour: str) -> float:
        return sum(int(colour[place : place + 2], 16) for place in (1, 3, 5)) / 3

    svg = waveform_svg(call)
    for name in ("words", "title", "time"):
        light, dark = (
            brightness(text) - brightness(card)
            for text, card in zip(style(svg, name), style(svg, "card"), strict=True)
        )
        assert light < -100
        assert dark > 100


def test_a_lane_is_empty_in_silence_and_high_in_speech(call: Path) -> None:
    found = bars(waveform_svg(call), "agent")
    seconds = [(x - 78) / 800 * 10 for x, _, _ in found]
    assert all(0.45 < second < 2.55 or 4.95 < second < 6.55 for second in seconds)
    assert min(height for _, _, height in found[1:-1]) > 20


def test_a_call_is_cut_into_rows_where_nobody_speaks(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    caller, agent = voice((1, 15), (23, 39), seconds=40), voice((15.5, 22), seconds=40)
    path.write_bytes(encode_wav(RATE, caller, agent))
    svg = waveform_svg(path, [SpokenLine("agent", "Across the middle", 15.5, 22)])
    (words,) = [element for element in elements(svg, "text") if element.get("class") == "words"]
    second_row = min(y for x, y, _ in bars(svg, "caller") if y > float(words.get("y", "0")))
    agent_bars = bars(svg, "agent")
    assert all(y < second_row for _, y, _ in agent_bars)
    assert max(x for x, _, _ in agent_bars) <= 878


def test_a_monologue_without_a_pause_is_cut_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(encode_wav(RATE, voice((0, 60), seconds=60), voice(seconds=60)))
    tops = {y for _, y, _ in bars(waveform_svg(path), "caller")}
    assert len(tops) == 3


def test_words_stand_where_they_were_spoken(call: Path) -> None:
    svg = waveform_svg(call, [SpokenLine("caller", "Yes", 3, 4), SpokenLine("agent", "No", 5, 6.5)])
    start, end = text_x(svg, "Yes"), text_x(svg, "No")
    assert end - start == pytest.approx(2 * 800 / 10, abs=1)


def test_the_lines_of_a_record_are_found_in_the_recording(call: Path) -> None:
    lines = spoken_lines(RECORD, call)
    assert [(one.speaker, round(one.start, 1), round(one.end or 0, 1)) for one in lines] == [
        ("agent", 0.5, 2.5),
        ("caller", 3.0, 4.0),
        ("agent", 5.0, 6.5),
        ("caller", 7.0, 8.0),
    ]


def test_a_line_nobody_can_hear_stands_where_it_was_written(call: Path) -> None:
    record = CallRecord(
        call_id="c1", carrier="local", direction="inbound", from_number="", to_number="", mode="conversation",
        state="completed", created_at=1000.0,
        transcript=(line("caller", "1 2 3", 1.0), line("caller", "Hi", 4.5)),
    )  # fmt: skip
    assert [(one.text, round(one.start, 1)) for one in spoken_lines(record, call)] == [
        ("1 2 3", 1.0),
        ("Hi", 3.0),
    ]


def test_an_interrupted_line_ends_in_a_dash(call: Path) -> None:
    texts = [element.text for element in elements(waveform_svg(call, spoken_lines(RECORD, call)), "text")]
    assert any(text and text.endswith("—") for text in texts)


def test_long_lines_are_wrapped_and_end_in_an_ellipsis_when_there_is_no_room(call: Path) -> None:
    svg = waveform_svg(
        call, [SpokenLine("agent", "many words " * 60, 0, 10), SpokenLine("caller", "short", 0, 1)]
    )
    rows = [element.text or "" for element in elements(svg, "text") if "words" in (element.text or "")]
    assert len(rows) == 3
    assert rows[-1].endswith("…")


def test_markup_in_words_stays_text(call: Path) -> None:
    svg = waveform_svg(call, [SpokenLine("agent", "<script>&", 0, 10)], title="a < b")
    assert "<script>" not in svg
    assert any(element.text == "<script>&" for element in elements(svg, "text"))


def test_every_word_of_a_long_call_stands_in_one_row_and_the_picture_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    lines = [SpokenLine("agent", f"Line{second}", second, second + 2) for second in range(0, 3600, 10)]
    path.write_bytes(
        encode_wav(
            RATE, voice(seconds=3600), voice(*((line.start, line.end or 0) for line in lines), seconds=3600)
        )
    )
    svg = waveform_svg(path, lines)
    drawn = [element.text for element in elements(svg, "text") if element.get("class") == "words"]
    assert drawn == [line.text for line in lines]
    root = ElementTree.fromstring(svg)
    assert root.get("width") == "900"
    assert int(root.get("height", "0")) < 60 * 300
    assert len(svg) < 1_000_000


def test_the_newest_recording_of_a_folder_is_drawn_with_the_words_of_its_call(
    call: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        record_to_json(replace(RECORD, recording=str(path), call_id=path.stem)) for path in (call, call / "x")
    ]
    records[1]["transcript"][0]["text"] = "Words of another call."
    (call.parent / "calls.json").write_text(json.dumps(records[::-1]), encoding="utf-8")
    assert main([str(call.parent), str(call.parent / "calls.json")]) == 0
    picture = call.with_suffix(".svg").read_text(encoding="utf-8")
    assert "Hello there." in picture
    assert "another" not in picture
    assert stat.S_IMODE(call.with_suffix(".svg").stat().st_mode) == 0o600
    assert str(call.with_suffix(".svg")) in capsys.readouterr().out


def test_a_recording_without_a_record_is_drawn_without_words(call: Path) -> None:
    assert main([str(call)]) == 0
    svg = call.with_suffix(".svg").read_text(encoding="utf-8")
    assert bars(svg, "caller")
    assert not [element for element in elements(svg, "text") if element.get("class") == "words"]


def test_a_folder_without_recordings_is_said_to_be_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    assert "no recording" in capsys.readouterr().err


def test_what_is_no_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"hello")
    with pytest.raises(CodecError, match=r"x\.wav"):
        waveform_svg(tmp_path / "x.wav")
    with pytest.raises(MediaError, match="No such file"):
        waveform_svg(tmp_path / "none.wav")


def test_an_empty_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(encode_wav(RATE, voice(seconds=0), voice(seconds=0)))
    with pytest.raises(CodecError, match="empty"):
        waveform_svg(tmp_path / "x.wav")


def test_the_testing_kit_draws_a_capture(call: Path, tmp_path: Path) -> None:
    draw(call, tmp_path / "call.svg", [("caller", "Hello", 3.0, 4.0)])
    assert "Hello" in (tmp_path / "call.svg").read_text(encoding="utf-8")
