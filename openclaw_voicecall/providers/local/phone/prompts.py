"""Finds the audio of what a script says: shipped lines first, then a synthesizer."""

import json
import re
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from openclaw_voicecall.errors import EngineMissing, ScriptError
from openclaw_voicecall.providers.local.phone.audio import read_audio
from openclaw_voicecall.providers.local.phone.performance import Lines
from openclaw_voicecall.providers.local.phone.script import Script

SHIPPED = Path(__file__).parent / "lines"

Speak = Callable[[str], Awaitable[bytes]]
"""Makes mu-law 8 kHz audio of a sentence."""


def normalise(text: str) -> str:
    """A sentence without case and punctuation: what decides whether a shipped line says it."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.casefold()))


async def gather_lines(script: Script, speak: Speak) -> Lines:
    """The audio of everything a script may say or play.

    Args:
        script: The script.
        speak: Synthesizer for sentences that are not shipped.

    Raises:
        ScriptError: A file cannot be played, or nobody can speak a sentence.
    """
    lines: dict[str | Path, bytes] = {}
    for path in script.files():
        try:
            lines[path] = read_audio(path)
        except ValueError as error:
            raise ScriptError(str(error)) from error
    for text in script.texts():
        shipped = shipped_lines().get(normalise(text))
        try:
            lines[text] = (SHIPPED / shipped).read_bytes() if shipped else await speak(text)
        except EngineMissing as error:
            raise ScriptError(f"nobody can say {text!r}: {error}") from error
    return lines


@cache
def shipped_lines() -> dict[str, str]:
    """Normalised sentence to file name of the lines that come with the package."""
    index: dict[str, str] = json.loads((SHIPPED / "index.json").read_text())
    return {normalise(text): name for text, name in index.items()}
