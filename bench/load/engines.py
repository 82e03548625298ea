"""The speech engines of this machine: how much faster than speech the transcriber is, and how soon voices sound."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from load.process import usage
from load.run import spread
from load.sound import FRAME, RATE
from openclaw_voicecall.api.speech import Heard, SpeechRequest, TranscriptionRequest, TranscriptionStream
from openclaw_voicecall.errors import EngineMissing
from openclaw_voicecall.providers.embedded import inventory, synthesizer
from openclaw_voicecall.providers.embedded.decoder import Decoder
from openclaw_voicecall.providers.embedded.settings import (
    EspeakConfig,
    FliteConfig,
    LocalTranscriberConfig,
)
from openclaw_voicecall.providers.embedded.synthesizer import LocalSynthesizer
from openclaw_voicecall.providers.embedded.transcriber import LocalTranscriber
from openclaw_voicecall.testing.wer import word_errors

SPEECH = Path(__file__).parents[2] / "tests" / "data" / "speech-asterisk"
PROMPTS = 20
SENTENCES = (
    "Thank you for calling, how can I help you today?",
    "Your table for two is booked for seven tonight.",
    "One moment, please.",
    "The next train to Porto leaves at a quarter past nine from platform three.",
)
VOICE_ROUNDS = 3


async def local_engines() -> dict[str, Any]:
    """Figures of what is installed; a sentence for what is not."""
    figures: dict[str, Any] = {}
    try:
        figures["transcriber"] = await _transcriber()
    except (EngineMissing, ModuleNotFoundError) as error:
        figures["transcriber"] = f"skipped: {error}"
    for name in ("flite", "espeak"):
        try:
            figures[name] = await _voice(name)
        except (EngineMissing, ModuleNotFoundError) as error:
            figures[name] = f"skipped: {error}"
    return figures


async def _transcriber() -> dict[str, Any]:
    """Telephone speech of people, given as fast as it is taken."""
    lines = (SPEECH / "transcripts.tsv").read_text().splitlines()[1 : PROMPTS + 1]
    prompts = [(SPEECH / line.split("\t")[0], line.split("\t")[2]) for line in lines]
    folder = inventory.moonshine_folder()
    factors, waits, pairs, seconds = [], [], [], 0.0
    async with Decoder.open(folder, niceness=0) as decoder:
        ears = LocalTranscriber(decoder, LocalTranscriberConfig())
        await _hear(ears, prompts[0][0].read_bytes())
        used, begun = usage_of_all(), time.perf_counter()
        for path, said in prompts:
            audio = path.read_bytes()
            took, waited, text = await _hear(ears, audio)
            factors.append(took * RATE / len(audio))
            waits.append(waited * 1000)
            pairs.append((said, text))
            seconds += len(audio) / RATE
        passed, cpu = time.perf_counter() - begun, usage_of_all() - used
    return {
        "audio seconds": round(seconds, 1),
        "real-time factor": round(passed / seconds, 3),
        "real-time factors": spread(factors),
        "cpu ms per second of speech": round(1000 * cpu / seconds),
        "last word to final ms": spread(waits),
        "word errors percent": round(100 * word_errors(pairs).rate, 1),
    }


def usage_of_all() -> float:
    """Seconds of processors that this process and its workers have used."""
    return usage(os.getpid()).cpu


async def _hear(ears: LocalTranscriber, audio: bytes) -> tuple[float, float, str]:
    """Seconds for all of it, those after its last frame was given, and its words."""
    async with ears.open_stream(TranscriptionRequest(call_id="bench")) as stream:
        begun = time.perf_counter()
        await stream.speech_started()
        for at in range(0, len(audio) - FRAME + 1, FRAME):
            await stream.send(audio[at : at + FRAME])
        await stream.speech_stopped()
        given = time.perf_counter()
        await stream.finish_utterance()
        async with asyncio.timeout(60):
            text = await _final(stream)
        done = time.perf_counter()
    return done - begun, done - given, text


async def _final(stream: TranscriptionStream) -> str:
    events: AsyncIterator[Any] = aiter(stream)
    async for event in events:
        if isinstance(event, Heard) and event.final:
            return event.text
    return ""


async def _voice(name: str) -> dict[str, Any]:
    """First audio and whole sentences of one voice."""
    opened = {
        "flite": lambda: synthesizer.open_flite(FliteConfig()),
        "espeak": lambda: synthesizer.open_espeak(EspeakConfig()),
    }
    firsts, factors = [], []
    async with opened[name]() as engine:
        voice = LocalSynthesizer([engine])
        for sentence in SENTENCES * VOICE_ROUNDS:
            begun, first, size = time.perf_counter(), 0.0, 0
            async for piece in voice.speak(SpeechRequest(call_id="bench", text=sentence)):
                first = first or time.perf_counter() - begun
                size += len(piece)
            firsts.append(first * 1000)
            factors.append((time.perf_counter() - begun) * RATE / size)
    return {"first audio ms": spread(firsts), "real-time factor": spread(factors)}
