"""A picture of a call: both voices over time, with the words under them, as one SVG text.

`openclaw-voicecall calls --json | python -m openclaw_voicecall.observe.waveform out -` draws the newest recording in
the folder `out` with the words of its call.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
_COLOURS: Final = {"caller": "#0d9488", "agent": "#4f46e5"}
_LEFT: Final = 84
_RIGHT: Final = 28
_TOP: Final = 46
_LANE: Final = 84
_WORDS: Final = 62
_LINE_HEIGHT: Final = 15
_CHARACTER: Final = 6.1
_WINDOW: Final = 0.02
_PAUSE: Final = 0.4
_QUIET_DBFS: Final = -45.0


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
    width = int(min(max(_LEFT + _RIGHT + seconds * 40, 1000), 6000))
    scale = (width - _LEFT - _RIGHT) / seconds
    lanes = list(zip(_SPEAKERS, sound.channels, strict=False))
    height = _TOP + len(lanes) * (_LANE + _WORDS) + 34
    label = title or f"A call of {seconds:.1f} seconds"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(label)}</title>",
        f'<rect width="{width}" height="{height}" rx="10" fill="#fbfcfe" stroke="#e2e8f0"/>',
        f'<text x="20" y="27" font-size="14" font-weight="600" fill="#0f172a">{escape(label)}</text>',
        _time_axis(seconds, scale, height),
    ]
    for index, (speaker, samples) in enumerate(lanes):
        top = _TOP + index * (_LANE + _WORDS)
        parts.append(_lane(speaker, samples, sound.rate, top, scale))
        parts.append(
            _words([line for line in transcript if line.speaker == speaker], top + _LANE, scale, seconds)
        )
    return "\n".join([*parts, "</svg>", ""])


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


def _lane(speaker: str, samples: Samples, rate: int, top: int, scale: float) -> str:
    middle = top + _LANE / 2
    lowest, highest = _envelope(samples, columns=max(int(len(samples) / rate * scale), 1))
    # Quiet lines are drawn larger, so that words and silence can be told apart; silence stays flat.
    gain = (_LANE / 2 - 4) / max(float(np.abs(samples).max(initial=0)), 2000.0)
    upper = [f"{_LEFT + x},{middle - value * gain:.1f}" for x, value in enumerate(highest.tolist())]
    lower = [f"{_LEFT + x},{middle - value * gain + 0.6:.1f}" for x, value in enumerate(lowest.tolist())]
    outline = " ".join([*upper, *reversed(lower)])
    colour = _COLOURS[speaker]
    return (
        f'<text x="20" y="{middle + 4:.0f}" font-weight="600" fill="{colour}">{speaker}</text>\n'
        f'<polygon points="{outline}" fill="{colour}" stroke="{colour}" stroke-width="0.4"/>'
    )


def _envelope(samples: Samples, columns: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    edges = np.linspace(0, len(samples), columns, endpoint=False).astype(int)
    # The axis belongs to every column, so that a slow wave is an area, not a line beside the axis.
    return np.minimum(np.minimum.reduceat(samples, edges), 0), np.maximum(
        np.maximum.reduceat(samples, edges), 0
    )


def _words(lines: Sequence[SpokenLine], top: int, scale: float, seconds: float) -> str:
    parts: list[str] = []
    for index, line in enumerate(lines):
        limit = lines[index + 1].start if index + 1 < len(lines) else seconds
        room = max((limit - line.start) * scale - 10, 60.0)
        x = _LEFT + line.start * scale
        end = _LEFT + min(line.end if line.end is not None else limit, seconds) * scale
        parts.append(
            f'<rect x="{x:.1f}" y="{top + 2}" width="{max(end - x, 2):.1f}" height="2" rx="1" '
            f'fill="{_COLOURS.get(line.speaker, "#64748b")}" opacity="0.55"/>'
        )
        text = f"{line.text}—" if line.interrupted else line.text
        for row, words in enumerate(_wrap(text, int(room / _CHARACTER))):
            y = top + 18 + row * _LINE_HEIGHT
            parts.append(f'<text x="{x:.1f}" y="{y}" fill="#334155">{escape(words)}</text>')
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


def _time_axis(seconds: float, scale: float, height: int) -> str:
    step = next(step for step in (1, 2, 5, 10, 30, 60, 300, 3600) if step * scale >= 60)
    parts: list[str] = []
    for tick in range(0, int(seconds) + 1, step):
        x = _LEFT + tick * scale
        label = f"{tick // 60}:{tick % 60:02}"
        parts.append(
            f'<line x1="{x:.1f}" y1="{_TOP - 4}" x2="{x:.1f}" y2="{height - 28}" stroke="#e2e8f0"/>'
            f'<text x="{x:.1f}" y="{height - 12}" text-anchor="middle" fill="#64748b">{label}</text>'
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
    found = json.loads(sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8"))
    records = [record_from_json(one) for one in (found if isinstance(found, list) else [found])]
    return next((one for one in records if one.recording and Path(one.recording).name == wav.name), None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
