"""Serves one vendor's emulator by hand: `python -m openclaw_voicecall.testing.emulators openai-realtime --say hello`.

It prints one line of JSON, `{"vendor": ..., "url": ...}`, when it is ready, and serves until it is interrupted or
terminated.
"""

import asyncio
import importlib
import inspect
import json
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from openclaw_voicecall.testing.emulators.serving import Emulator

PACKAGE: Final = "openclaw_voicecall.testing.emulators"
EMULATORS: Final[Mapping[str, str]] = {
    "chat": "chat:ChatEmulator",
    "deepgram": "deepgram:DeepgramEmulator",
    "elevenlabs": "elevenlabs:ElevenLabsEmulator",
    "gemini-live": "gemini_live:GeminiLiveEmulator",
    "gpt-live": "gpt_live:GptLiveEmulator",
    "openai-realtime": "openai_realtime:OpenAIRealtimeEmulator",
    "openai-speech": "openai_speech:OpenAISpeechEmulator",
    "openai-voice": "openai_voice:OpenAIVoiceEmulator",
    "openclaw-gateway": "openclaw_gateway:OpenClawGatewayEmulator",
    "twilio": "twilio:TwilioEmulator",
    "xai": "xai:XaiEmulator",
}
"""Name on the command line: module and class, loaded when it is wanted."""


def emulator_class(name: str) -> type[Emulator]:
    """The class behind a name of `EMULATORS`."""
    module, _, attribute = EMULATORS[name].partition(":")
    found: type[Emulator] = getattr(importlib.import_module(f"{PACKAGE}.{module}"), attribute)
    return found


async def serve(emulator: Emulator, name: str) -> None:
    """Serve until SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with emulator:
        click.echo(json.dumps({"vendor": name, "url": emulator.url}))
        await stopped.wait()


def switch_on(emulator: Emulator, faults: Sequence[str]) -> None:
    """Switch on faults written as `name` or `name:times`.

    Raises:
        click.BadParameter: There is no such fault, or the count is no number.
    """
    for fault in faults:
        name, _, times = fault.partition(":")
        try:
            emulator.fail_next(name, times=int(times or 1))
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--fault") from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("vendor", type=click.Choice(sorted(EMULATORS)))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="TCP port; 0 for any free one.")
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME[:TIMES]", help="Switch a fault on; 0 times for ever."
)
@click.option(
    "--say", "transcripts", multiple=True, metavar="TEXT", help="What the next utterance is heard as."
)
def main(vendor: str, port: int, faults: tuple[str, ...], transcripts: tuple[str, ...]) -> None:
    """Serve a strict stand-in for VENDOR on 127.0.0.1 until interrupted.

    `GET /_emulator` tells what it refused and which faults it knows; `POST /_emulator/faults` switches one on with
    its options.
    """
    kind = emulator_class(vendor)
    more: dict[str, Any] = {}
    if transcripts:
        if "transcripts" not in inspect.signature(kind).parameters:
            raise click.UsageError(f"{vendor} transcribes nothing: it takes no --say")
        more["transcripts"] = list(transcripts)
    emulator = kind(port=port, **more)
    switch_on(emulator, faults)
    asyncio.run(serve(emulator, vendor))


if __name__ == "__main__":
    main(prog_name=f"python -m {PACKAGE}")
