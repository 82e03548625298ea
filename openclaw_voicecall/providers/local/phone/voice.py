"""The phone's own voice for sentences that are not shipped: the synthesizer `local` of the installed plugins."""

import importlib
import tempfile
from pathlib import Path

from openclaw_voicecall.errors import EngineMissing


async def synthesize(text: str) -> bytes:
    """Mu-law 8 kHz audio of a sentence.

    Raises:
        EngineMissing: No synthesizer is installed; the message says how to install one.
        VendorError: The synthesizer failed.
    """
    # A provider may not import what stands above it, and the service's half of this package does not. The phone is a
    # program of its own that happens to live in the same folder, so it looks its synthesizer up like any program.
    plugins = importlib.import_module("openclaw_voicecall.plugins")
    system = importlib.import_module("openclaw_voicecall.builtin.system")
    spec_module = importlib.import_module("openclaw_voicecall.api.spec")
    speech = importlib.import_module("openclaw_voicecall.api.speech")
    spec = plugins.load_registry().find("synthesizers", "local", setting="the phone's voice")
    with tempfile.TemporaryDirectory(prefix="voicecall-phone-") as folder:
        runtime = spec_module.Runtime(
            clock=system.SystemClock(),
            ids=system.SystemIds(),
            state_dir=Path(folder),
            webhook_url=lambda carrier: "",
        )
        async with spec.open(spec.config(), runtime) as synthesizer:
            pieces = [
                piece async for piece in synthesizer.speak(speech.SpeechRequest(call_id="phone", text=text))
            ]
    audio = b"".join(pieces)
    if not audio:
        raise EngineMissing(f"the synthesizer made no audio of {text!r}", vendor="local", operation="speak")
    return audio
