"""Synthesizers that are programs of the system: flite, and say of macOS. One short process speaks one sentence."""

import asyncio
import contextlib
import logging
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from openclaw_voicecall.config.environment import child_environment
from openclaw_voicecall.errors import CodecError, VendorError, VendorTimeout, VendorUnavailable
from openclaw_voicecall.media.wav import decode_wav
from openclaw_voicecall.providers.embedded import inventory
from openclaw_voicecall.providers.embedded.settings import FliteConfig, SayConfig
from openclaw_voicecall.providers.embedded.voicing import ascii_text, speakable

logger = logging.getLogger(__name__)

_TIMEOUT: Final = 15.0
"""Seconds for one sentence, which takes a few hundredths on a free machine."""
_SAY_WORDS_PER_MINUTE: Final = 180
_SAY_PROCESSES: Final = 4
_SAY_VOICE: Final = re.compile(r"(.+?)\s+[a-z]{2,3}[_-]\w+\s+#")
"""A line of `say -v ?`: name, language, an example. Names have spaces."""
_BEST_FLITE_VOICES: Final = ("rms", "slt", "awb", "kal16", "kal")


class FliteEngine:
    """flite: small, quick and clear. Reads the text from a file descriptor, so nobody sees it in the process list.

    Args:
        program: Path of flite.
        voices: The voices it has.
        config: Voice, speed and how many processes.
        folder: Private folder for its output.
    """

    name = "flite"

    def __init__(self, program: str, voices: Sequence[str], config: FliteConfig, folder: Path) -> None:
        self._program = program
        self._voices = voices
        self._voice = next(
            (voice for voice in (config.voice, *_BEST_FLITE_VOICES) if voice in voices), config.voice
        )
        self._stretch = f"duration_stretch={1 / config.speed:.3f}"
        self._folder = folder
        self._slots = asyncio.Semaphore(config.max_processes)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: FliteConfig) -> AsyncIterator["FliteEngine"]:
        """Find flite and ask it for its voices. Raises `EngineMissing`."""
        program = inventory.flite_program()
        listed = await run_program("flite", [program, "-lv"], b"")
        voices = listed.decode(errors="replace").partition(":")[2].split()
        with tempfile.TemporaryDirectory(prefix="voicecall-flite-") as folder:
            engine = cls(program, voices, config, Path(folder))
            if engine._voice != config.voice:
                logger.warning(
                    "flite has no such voice", extra={"voice": config.voice, "used": engine._voice}
                )
            yield engine

    async def make(self, text: str, voice: str) -> tuple[int, bytes]:
        """Speak a sentence; gives its rate in Hz and its 16-bit samples. Raises `VendorError`."""
        # flite would take any other name for a file or an address to load a voice from.
        chosen = voice if voice in self._voices else self._voice
        words = speakable(ascii_text(text), self.name)
        async with self._slots:
            with _output(self._folder) as path:
                command = [self._program, "-voice", chosen, "--setf", self._stretch]
                await run_program(
                    self.name, [*command, "-f", "/dev/stdin", "-o", str(path)], words.encode() + b"\n"
                )
                return _read_wav(path, self.name)


class SayEngine:
    """say: the voices of macOS.

    Args:
        program: Path of say.
        voices: The voices it has.
        config: Voice and speed.
        folder: Private folder for its output.
    """

    name = "say"

    def __init__(self, program: str, voices: Sequence[str], config: SayConfig, folder: Path) -> None:
        self._program = program
        self._voices = voices
        self._voice = config.voice if config.voice in voices else ""
        self._rate = round(_SAY_WORDS_PER_MINUTE * config.speed)
        self._folder = folder
        self._slots = asyncio.Semaphore(_SAY_PROCESSES)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: SayConfig) -> AsyncIterator["SayEngine"]:
        """Find say and ask it for its voices. Raises `EngineMissing`."""
        program = inventory.say_program()
        listed = (await run_program("say", [program, "-v", "?"], b"")).decode(errors="replace")
        voices = [found[1] for line in listed.splitlines() if (found := _SAY_VOICE.match(line))]
        with tempfile.TemporaryDirectory(prefix="voicecall-say-") as folder:
            yield cls(program, voices, config, Path(folder))

    async def make(self, text: str, voice: str) -> tuple[int, bytes]:
        """Speak a sentence; gives its rate in Hz and its 16-bit samples. Raises `VendorError`."""
        words = speakable(text, self.name)
        chosen = voice if voice in self._voices else self._voice
        async with self._slots:
            with _output(self._folder) as path:
                command = [self._program, *(["-v", chosen] if chosen else []), "-r", str(self._rate)]
                form = ["--file-format=WAVE", "--data-format=LEI16@22050", "-o", str(path), "-f", "-"]
                await run_program(self.name, [*command, *form], words.encode() + b"\n")
                return _read_wav(path, self.name)


async def run_program(vendor: str, command: Sequence[str], text: bytes) -> bytes:
    """Run a program to its end and give its output; kills it when cancelled.

    Args:
        vendor: Name of the engine, for errors.
        command: The program and its arguments.
        text: Its input.

    Raises:
        VendorUnavailable: It cannot be started.
        VendorTimeout: It does not end.
        VendorError: It fails.
    """
    try:
        # A file, because a pipe may be closed by its reader before all of the text is in it.
        with tempfile.TemporaryFile() as given:
            given.write(text)
            given.seek(0)
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=given,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=child_environment(os.environ),
            )
    except OSError as error:
        raise VendorUnavailable(
            f"{vendor} cannot be started: {error}", vendor=vendor, operation="speak"
        ) from error
    try:
        async with asyncio.timeout(_TIMEOUT):
            output, errors = await process.communicate()
    except TimeoutError:
        raise VendorTimeout(
            f"{vendor} did not finish within {_TIMEOUT:g} s", vendor=vendor, operation="speak"
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        detail = errors.decode(errors="replace").strip()[-200:] or f"exit code {process.returncode}"
        raise VendorError(
            f"{vendor} failed: {detail}", vendor=vendor, operation="speak", status=process.returncode
        )
    return output


@contextlib.contextmanager
def _output(folder: Path) -> Iterator[Path]:
    """A file in the private folder that is gone afterwards: neither program can write a WAV file to a pipe."""
    handle, name = tempfile.mkstemp(suffix=".wav", dir=folder)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _read_wav(path: Path, vendor: str) -> tuple[int, bytes]:
    try:
        sound = decode_wav(path.read_bytes())
    except (OSError, CodecError) as error:
        raise VendorError(f"{vendor} wrote no audio: {error}", vendor=vendor, operation="speak") from error
    return sound.rate, sound.channels[0].astype("<i2").tobytes()
