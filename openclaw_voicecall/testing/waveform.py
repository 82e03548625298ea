"""Pictures of captured calls, for a look at what a test measured."""

from collections.abc import Iterable
from pathlib import Path

from openclaw_voicecall.observe.waveform import SpokenLine, waveform_svg


def draw(
    wav_path: str | Path, svg_path: str | Path, lines: Iterable[tuple[str, str, float, float | None]] = ()
) -> None:
    """Draw a recording into an SVG file.

    Args:
        wav_path: The recording; first channel caller, second agent.
        svg_path: Where the picture goes.
        lines: Words as `(speaker, text, start, end)`, in seconds.

    Raises:
        MediaError: The recording cannot be read.
    """
    Path(svg_path).write_text(waveform_svg(wav_path, [SpokenLine(*line) for line in lines]), encoding="utf-8")
