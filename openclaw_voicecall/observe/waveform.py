"""A picture of a call: both voices over time, with the words under them, as one SVG text.

A call is cut into rows of about twenty seconds, as lines of a page are, so that its words can be read at the width of
a page. The picture follows the reader's choice of light or dark colours.

`openclaw-voicecall calls --json | python -m openclaw_voicecall.observe.waveform out -` draws the newest recording in
the folder `out` with the words of its call.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from openclaw_voicecall.api.store import CallRecord, TranscriptLine
from openclaw_voicecall.api.wire import record_from_json
from openclaw_voicecall.errors import CodecError, MediaError
from openclaw_voicecall.media.wav import Samples, Sound, decode_wav

_SPEAKERS: Final = ("caller", "agent")
_WIDTH: Final = 900
_LEFT: Final = 78
_RIGHT: Final = 22
_TOP: Final = 52
_LANE: Final = 48
_WORDS: Final = 60
_ROW: Final = 2 * (_LANE + _WORDS) + 34
_LINE_HEIGHT: Final = 15
_CHARACTER: Final = 6.3
_BAR: Final = 3
_WINDOW: Final = 0.02
_PAUSE: Final = 0.4
_QUIET_DBFS: Final = -45.0
_ROW_SECONDS: Final = 20.0
_MOST_ROWS: Final = 60
_STYLE: Final = """\
.card { fill: #fbfcfe; stroke: #d8dee8 } .title { fill: #0f172a } .time { fill: #64748b }
.line { stroke: #e5eaf1 } .words { fill: #1e293b }
.caller { fill: #0d9488; stroke: #0d9488 } .agent { fill: #4f46e5; stroke: #4f46e5 }
text.caller, text.agent { stroke: none }
@media (prefers-color-scheme: dark) {
.card { fill: #0f1622; stroke: #2b3648 } .title { fill: #f1f5f9 } .time { fill: #94a3b8 }
.line { stroke: #233044 } .words { fill: #dbe3ee }
.caller { fill: #2dd4bf; stroke: #2dd4bf } .agent { fill: #a5b4fc; stroke: #a5b4fc }
}"""


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """Words, and where they lie in the recording in seconds; without `end` up to the speaker's next line."""

    speaker: str
    text: str
    start: float
    end: float | None = None
    interrupted: bool = False


def waveform_svg(wav_path: str | Path, transcript: Sequence[SpokenLine] = (), *, title: str = "") -> str:
    """Draw a recorded call.

    Args:
        wav_path: A recording; its first channel is the caller, its second the agent.
        transcript: Words to write under the voices.
        title: One line above the picture; the default says how long the call was.

    Raises:
        MediaError: The recording cannot be read.
    """
    sound = _read(Path(wav_path))
    seconds = max(sound.seconds, 0.1)
    lanes = list(zip(_SPEAKERS, sound.channels, strict=False))
    rows = _rows(seconds, _busy(lanes, sound.rate, transcript))
    scale = (_WIDTH - _LEFT - _RIGHT) / max(end - start for start, end in rows)
    height = _TOP + len(rows) * _ROW
    label = title or f"A call of {seconds:.1f} seconds"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(label)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="10"/>',
        f'<text class="title" x="20" y="29" font-size="14" font-weight="600">{escape(label)}</text>',
    ]
    for number, (start, end) in enumerate(rows):
        row = _Row(start, end, _TOP + number * _ROW, scale, last=number == len(rows) - 1)
        parts.append(_time_axis(row))
        for index, (speaker, samples) in enumerate(lanes):
            top = row.top + index * (_LANE + _WORDS)
            # Each voice has a scale of its own, so that the quieter one can be told from silence.
            loudest = max(float(np.abs(samples.astype(np.int32)).max(initial=0)), 2000.0)
            parts.append(_lane(row, speaker, samples, sound.rate, top=top, loudest=loudest))
            spoken = [line for line in transcript if line.speaker == speaker]
            parts.append(_words(row, speaker, spoken, top + _LANE))
    return "\n".join([*filter(None, parts), "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Row:
    """A stretch of the call that is drawn from left to right, seconds; rows stand one below the other."""

    start: float
    end: float
    top: int
    scale: float
    """Pixels per second."""
    last: bool

    def holds(self, second: float) -> bool:
        """Whether words spoken at this second stand here. What comes after the recording stands in the last row."""
        return self.start <= second and (second < self.end or self.last)

    def x(self, second: float) -> float:
        """Where a second is, in pixels from the left."""
        return _LEFT + (min(max(second, self.start), self.end) - self.start) * self.scale


def _busy(
    lanes: Sequence[tuple[str, Samples]], rate: int, transcript: Sequence[SpokenLine]
) -> list[tuple[float, float]]:
    """When somebody speaks, in seconds, in order and without overlaps. A line counts with its inner pauses."""
    runs = [run for _, samples in lanes for run in _audible(samples, rate)]
    runs += [(line.start, line.end) for line in transcript if line.end is not None]
    joined: list[tuple[float, float]] = []
    for start, end in sorted(runs):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _rows(seconds: float, busy: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Cut a call into rows of about one length; where there is a pause near a cut, nobody is cut off in it."""
    count = min(math.ceil(seconds / _ROW_SECONDS), _MOST_ROWS)
    length = seconds / count
    pauses = [(before[1], after[0]) for before, after in pairwise(busy)]
    cuts = [0.0]
    for number in range(1, count):
        wanted = number * length
        near = [(start, end) for start, end in pauses if abs(end - wanted) <= length / 3]
        start, end = min(near, key=lambda pause: abs(pause[1] - wanted), default=(wanted, wanted))
        cuts.append(max(end - _PAUSE, (start + end) / 2))
    return list(pairwise([*cuts, seconds]))


def spoken_lines(record: CallRecord, wav_path: str | Path) -> list[SpokenLine]:
    """Find where the lines of a record lie in its recording.

    A record knows only when a line was closed. What the speaker's channel holds between that moment and the
    speaker's line before is where it was spoken.

    Raises:
        MediaError: The recording cannot be read.
    """
    sound = _read(Path(wav_path))
    began = record.answered_at or record.created_at
    found: list[SpokenLine] = []
    for speaker, samples in zip(_SPEAKERS, sound.channels, strict=False):
        own = [line for line in record.transcript if line.speaker == speaker]
        found += _place(own, _audible(samples, sound.rate), began)
    return sorted(found, key=lambda line: line.start)


def _place(
    lines: Sequence[TranscriptLine], runs: list[tuple[float, float]], began: float
) -> list[SpokenLine]:
    placed: list[SpokenLine] = []
    remaining = list(runs)
    for number, line in enumerate(lines):
        closed = line.at - began
        # The last line owns all that is left: a record may be written a little before the last sound.
        last = number == len(lines) - 1
        mine = [run for run in remaining if last or run[0] < closed]
        remaining = remaining[len(mine) :]
        start, end = (mine[0][0], mine[-1][1]) if mine else (max(closed, 0.0), None)
        placed.append(SpokenLine(line.speaker, line.text, start, end, line.interrupted))
    return placed


def _read(path: Path) -> Sound:
    try:
        sound = decode_wav(path.read_bytes())
    except OSError as error:
        raise MediaError(f"cannot read the recording {path}: {error.strerror}") from error
    except CodecError as error:
        raise CodecError(f"{path}: {error}") from error
    if not len(sound.channels[0]):
        raise CodecError(f"{path}: the recording is empty")
    return sound


def _audible(samples: Samples, rate: int) -> list[tuple[float, float]]:
    """Runs of sound, in seconds, with pauses shorter than `_PAUSE` closed."""
    step = max(int(rate * _WINDOW), 1)
    whole = samples[: len(samples) // step * step].astype(np.float64).reshape(-1, step)
    loud = np.flatnonzero(np.sqrt((whole**2).mean(axis=1)) > 32768 * 10 ** (_QUIET_DBFS / 20))
    runs: list[tuple[float, float]] = []
    for window in loud.tolist():
        start, end = window * step / rate, (window + 1) * step / rate
        if runs and start - runs[-1][1] < _PAUSE:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _lane(row: _Row, speaker: str, samples: Samples, rate: int, *, top: int, loudest: float) -> str:
    middle = top + _LANE / 2
    first, last = round(row.start * rate), min(round(row.end * rate), len(samples))
    levels = _levels(samples[first:last], bars=max(int((last - first) / rate * row.scale / _BAR), 1))
    heights = levels / loudest * (_LANE / 2 - 3)
    bars = "".join(
        f"M{_LEFT + (index + 0.5) * _BAR:g} {middle - height:.1f}v{2 * height:.1f}"
        for index, height in enumerate(heights.tolist())
        if height >= 0.5
    )
    right = _LEFT + (last - first) / rate * row.scale
    return (
        f'<text class="{speaker}" x="20" y="{middle + 4:.0f}" font-weight="600">{speaker}</text>\n'
        f'<path class="{speaker}" opacity="0.45" d="M{_LEFT} {middle:g}H{right:.1f}"/>\n'
        f'<path class="{speaker} voice" fill="none" stroke-width="2" stroke-linecap="round" d="{bars}"/>'
    )


def _levels(samples: Samples, bars: int) -> NDArray[np.float64]:
    """The loudest sample of each of so many equal parts."""
    if not len(samples):
        return np.zeros(0)
    edges = np.linspace(0, len(samples), bars, endpoint=False).astype(int)
    return np.maximum.reduceat(np.abs(samples.astype(np.float64)), edges)


def _words(row: _Row, speaker: str, lines: Sequence[SpokenLine], top: int) -> str:
    parts: list[str] = []
    for index, line in enumerate(lines):
        limit = lines[index + 1].start if index + 1 < len(lines) else row.end
        end = line.end if line.end is not None else limit
        if end > row.start and line.start < row.end:
            width = max(row.x(end) - row.x(line.start), 2)
            parts.append(
                f'<rect class="{speaker}" x="{row.x(line.start):.1f}" y="{top + 2}" width="{width:.1f}" '
                f'height="2" rx="1" stroke-width="0" opacity="0.6"/>'
            )
        if not row.holds(line.start):
            continue
        right = row.x(limit) if limit < row.end else _WIDTH - 4
        room = max(right - row.x(line.start) - 10, 60.0)
        text = f"{line.text}—" if line.interrupted else line.text
        for number, words in enumerate(_wrap(text, int(room / _CHARACTER))):
            y = top + 18 + number * _LINE_HEIGHT
            parts.append(f'<text class="words" x="{row.x(line.start):.1f}" y="{y}">{escape(words)}</text>')
    return "\n".join(parts)


def _wrap(text: str, columns: int) -> list[str]:
    rows = [""]
    for word in text.split():
        if rows[-1] and len(rows[-1]) + 1 + len(word) > columns:
            rows.append(word)
        else:
            rows[-1] = f"{rows[-1]} {word}".strip()
    most = (_WORDS - 12) // _LINE_HEIGHT
    return rows if len(rows) <= most else [*rows[: most - 1], f"{rows[most - 1][: max(columns - 1, 1)]}…"]


def _time_axis(row: _Row) -> str:
    step = next(step for step in (1, 2, 5, 10, 30, 60, 300, 3600) if step * row.scale >= 60)
    bottom = row.top + 2 * (_LANE + _WORDS)
    parts: list[str] = []
    for tick in range(math.ceil(row.start / step) * step, int(row.end) + 1, step):
        x = row.x(tick)
        parts.append(
            f'<line class="line" x1="{x:.1f}" y1="{row.top}" x2="{x:.1f}" y2="{bottom - 4}"/>'
            f'<text class="time" x="{x:.1f}" y="{bottom + 10}" text-anchor="middle">{tick // 60}:{tick % 60:02}</text>'
        )
    return "\n".join(parts)


def _newest(folder: Path) -> Path | None:
    recordings = sorted(folder.glob("*.wav"), key=lambda path: path.stat().st_mtime)
    return recordings[-1] if recordings else None


def main(arguments: Sequence[str]) -> int:
    """Draw a recording into an SVG file beside it, and print where the picture is.

    Args:
        arguments: A recording, or a folder whose newest one is meant; then, for the words, a file with call records
            as `openclaw-voicecall calls --json` prints them, or `-` for standard input.

    Returns:
        0, or 1 when there is no recording or it cannot be read.
    """
    place = Path(arguments[0]) if arguments else Path("out")
    wav = _newest(place) if place.is_dir() else place
    if wav is None:
        print(f"no recording in {place}", file=sys.stderr)
        return 1
    try:
        record = _record_of(wav, arguments[1]) if len(arguments) > 1 else None
        picture = wav.with_suffix(".svg")
        picture.touch(mode=0o600)  # it holds what people said, as the recording does
        picture.write_text(waveform_svg(wav, spoken_lines(record, wav) if record else ()), encoding="utf-8")
    except MediaError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"picture: {picture}")
    return 0


def _record_of(wav: Path, source: str) -> CallRecord | None:
    try:
        found = json.loads(sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8"))
        records = [record_from_json(one) for one in (found if isinstance(found, list) else [found])]
    except (OSError, ValueError, RecursionError) as error:
        raise MediaError(f"the record of the call cannot be read: {error}") from error
    return next((one for one in records if one.recording and Path(one.recording).name == wav.name), None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
