"""What the far party of a call does: the script of a phone.

These are the parts of a script as data. `script_reader` makes them from YAML.
"""

from dataclasses import dataclass
from pathlib import Path

LONGEST = 3600.0
"""No single step takes longer than this, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Say a sentence: a shipped line with this text, or the local synthesizer's voice."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Play an audio file."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForAgent:
    """Wait until the agent has spoken and then been quiet for `pause` seconds.

    What it said before the phone's last own words does not count. If it does not begin within `timeout` seconds,
    the script goes on.
    """

    timeout: float = 15.0
    pause: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt:
    """Wait until the agent speaks, and then talk over it `after` seconds into its speech."""

    after: float
    words: Say | Play
    timeout: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Say nothing for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """Press keys; `w` is a pause of half a second. `audible` puts their tones on the line as well."""

    digits: str
    audible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Change the background noise to a level in dBFS, or end it with None."""

    dbfs: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """Play a tone, such as the beep of an answering machine."""

    hz: float
    seconds: float
    dbfs: float = -12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Lose the media stream, as a broken carrier would; the leg is reported as ended `seconds` later.

    With `cut` the TCP connection breaks without a close frame.
    """

    seconds: float
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp:
    """Hang up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Do some steps several times."""

    times: int
    steps: tuple["Step", ...]


Step = Say | Play | WaitForAgent | Interrupt | Silence | Press | Noise | Tone | Drop | HangUp | Repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A whole script. Times are seconds, levels dBFS."""

    name: str
    from_number: str = "+15550001234"
    """Its own number, when it calls the service."""
    ring: float = 1.0
    """How long it rings, when it is called."""
    answer: str = "yes"
    """`yes`, `never`, `busy`, `reject` or `voicemail`."""
    noise: float | None = None
    linger: float = 30.0
    """How long it listens after the last step, before it hangs up by itself."""
    steps: tuple[Step, ...] = ()

    def texts(self) -> tuple[str, ...]:
        """Every sentence it may say, each once, in order."""
        return tuple(dict.fromkeys(words.text for words in self._words() if isinstance(words, Say)))

    def files(self) -> tuple[Path, ...]:
        """Every file it may play, each once, in order."""
        return tuple(dict.fromkeys(words.path for words in self._words() if isinstance(words, Play)))

    def _words(self) -> list[Say | Play]:
        found: list[Say | Play] = []
        pending = list(reversed(self.steps))
        while pending:
            match pending.pop():
                case Say() | Play() as words:
                    found.append(words)
                case Interrupt(words=words):
                    found.append(words)
                case Repeat(steps=steps):
                    pending.extend(reversed(steps))
        return found
