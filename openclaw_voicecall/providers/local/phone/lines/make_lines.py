"""Makes the shipped lines: every sentence of the built-in scripts, spoken by flite. See `RECIPE.md`.

Run it after a change of a built-in script, with `flite` and `sox` installed:

    python -m openclaw_voicecall.providers.local.phone.lines.make_lines
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path

from openclaw_voicecall.providers.local.phone.audio import loudness
from openclaw_voicecall.providers.local.phone.prompts import SHIPPED, normalise
from openclaw_voicecall.providers.local.phone.script_reader import built_in_scripts, load_script

VOICE = "rms"
LEVEL_DBFS = -20.0
MARGIN_SECONDS = 0.2
"""Silence left before and after the words."""
LIMIT_BYTES = 400_000

_TRIM = ("silence", "1", "0.01", "-50d")


def main() -> None:
    """Speak all sentences and write them with their index; old lines go."""
    for old in SHIPPED.glob("*.ulaw"):
        old.unlink()
    index: dict[str, str] = {}
    for script in built_in_scripts():
        for text in load_script(script).texts():
            name = re.sub(r"[^a-z0-9]+", "-", normalise(text))[:60].strip("-") + ".ulaw"
            if text not in index and name in index.values():
                raise SystemExit(f"two sentences want the name {name}")
            index[text] = name
            (SHIPPED / name).write_bytes(speak(text))
    (SHIPPED / "index.json").write_text(json.dumps(dict(sorted(index.items())), indent=2) + "\n")
    size = sum(path.stat().st_size for path in SHIPPED.glob("*.ulaw"))
    if size > LIMIT_BYTES:
        raise SystemExit(f"{size} bytes of audio are more than {LIMIT_BYTES}")
    print(f"{len(index)} lines, {size} bytes")


def speak(text: str) -> bytes:
    """Mu-law 8 kHz audio of a sentence, trimmed, at `LEVEL_DBFS`."""
    with tempfile.TemporaryDirectory() as folder:
        spoken, trimmed = Path(folder, "spoken.wav"), Path(folder, "trimmed.wav")
        subprocess.run(["flite", "-voice", VOICE, "-t", text, "-o", spoken], check=True)
        margin = ("pad", str(MARGIN_SECONDS), str(MARGIN_SECONDS))
        ends = (*_TRIM, "reverse", *_TRIM, "reverse", *margin)
        subprocess.run(
            ["sox", spoken, "-r", "8000", trimmed, "gain", "-6", "rate", "8000", *ends], check=True
        )
        gain = LEVEL_DBFS - loudness(_mulaw(trimmed, 0.0))
        return _mulaw(trimmed, gain)


def _mulaw(path: Path, gain: float) -> bytes:
    raw = ("-t", "raw", "-e", "mu-law", "-r", "8000", "-c", "1", "-")
    return subprocess.run(
        ["sox", "-D", path, *raw, "gain", f"{gain:.2f}"], check=True, capture_output=True
    ).stdout


if __name__ == "__main__":
    main()
