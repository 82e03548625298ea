"""Bytes between us and a vendor change on their way: a provider fails with an error of ours, or goes on.

A session can only act on failures it is told of. An exception of another kind, or none at all, is a caller in silence.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from openclaw_voicecall.api.responder import TurnRequest
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.speech import SpeechRequest, TranscriptionRequest
from openclaw_voicecall.builtin.system import SystemClock, SystemIds
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.providers import chat, deepgram, elevenlabs, openai, xai
from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.deepgram import DeepgramEmulator
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.elevenlabs_scribe import ScribeEmulator
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator
from openclaw_voicecall.testing.emulators.serving import Emulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.emulators.xai import XaiEmulator
from openclaw_voicecall.testing.faults import Direction, FaultProxy

pytestmark = [pytest.mark.faults, pytest.mark.unhurried, pytest.mark.timeout(120)]

SEEDS = range(40)
LIMIT = 0.6
"""Seconds after which whoever waits for a provider gives it up, as a session does sooner or later."""
WORDS = "a table for two please"
SENTENCE = "Good morning, the table is yours. See you at eight."


def spec_of(register: Callable[[Any], None], name: str) -> Any:
    found: list[Any] = []
    register(found.append)
    return next(spec for spec in found if spec.name == name)


@asynccontextmanager
async def opened(spec: Any, *model: str, **settings: Any) -> AsyncIterator[Any]:
    runtime = Runtime(
        clock=SystemClock(),
        ids=SystemIds(),
        state_dir=Path("/nonexistent"),
        webhook_url=lambda carrier: "http://127.0.0.1/",
    )
    config = spec.config(**settings)
    async with spec.open(config, runtime, *model) as provider:
        yield provider


async def hold_out(
    emulator: Emulator, proxy: FaultProxy, provider: Any, use: Callable[[Any], Awaitable[None]]
) -> list[BaseException]:
    """Use a provider over a line that is spoilt in another way each time; what it raised that is no error of ours."""
    raised: list[BaseException] = []
    for seed in SEEDS:
        ways = ((Direction.TO_CLIENT,), (Direction.TO_SERVER,), ())[seed % 3]
        proxy.corrupt((20, 60, 200, 1000)[seed % 4], *ways, seed=seed)
        with suppress(TimeoutError, VendorError):
            try:
                async with asyncio.timeout(LIMIT):
                    await use(provider)
            except (TimeoutError, VendorError):
                raise
            except Exception as error:  # that there is none of another kind is what is asked
                raised.append(error)
        proxy.cut()
        proxy.heal()
    assert sum(proxy.spoiled.values()) > 50
    with suppress(VendorError):
        await use(provider)  # a connection that was kept may be one that was just cut
    async with asyncio.timeout(5):
        await use(provider)  # of all that nothing is left behind
    return raised


async def respond(provider: Any) -> None:
    async with aclosing(provider.respond(TurnRequest(call_id="c1", turn=1, text="When?"))) as events:
        assert [event async for event in events]


async def speak(provider: Any) -> None:
    async with aclosing(provider.speak(SpeechRequest(call_id="c1", text=SENTENCE))) as pieces:
        assert b"".join([piece async for piece in pieces])


async def listen(provider: Any) -> None:
    async with provider.open_stream(TranscriptionRequest(call_id="c1")) as stream:

        async def send() -> None:
            await stream.speech_started()
            audio = babble(WORDS) + b"\xff" * 6000
            for at in range(0, len(audio), 160):
                await stream.send(audio[at : at + 160])
                await asyncio.sleep(0)
            await stream.speech_stopped()
            await stream.finish_utterance()

        sending = asyncio.create_task(send())
        try:
            async for event in stream:
                if getattr(event, "final", False):
                    return
            raise VendorError("the stream was closed", operation="transcribe")
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending


def ear() -> ClipBook:
    book = ClipBook()
    book.add(WORDS, babble(WORDS))
    return book


RESPONDERS = chat.voicecall_register_responders
LINES: dict[str, tuple[Callable[[], Emulator], Any, tuple[str, ...], str, dict[str, Any], Any]] = {
    "chat": (
        lambda: ChatEmulator(respond=lambda messages, body: SENTENCE),
        spec_of(RESPONDERS, "xai"),
        ("grok-4.3",),
        "/v1",
        {"api_key": "sk-emulated"},
        respond,
    ),
    **{
        f"elevenlabs-{transport}": (
            ElevenLabsEmulator,
            spec_of(elevenlabs.voicecall_register_synthesizers, "elevenlabs"),
            (),
            "",
            {"api_key": "xi-emulated", "speaker_voice_id": "21m00Tcm4TlvDq8ikWAM", "transport": transport},
            speak,
        )
        for transport in ("http", "websocket")
    },
    "openai-speech": (
        OpenAISpeechEmulator,
        spec_of(openai.voicecall_register_synthesizers, "openai"),
        (),
        "/v1",
        {"api_key": "sk-emulated"},
        speak,
    ),
    "openai": (
        lambda: OpenAIRealtimeEmulator(recognizer=ear()),
        spec_of(openai.voicecall_register_transcribers, "openai"),
        (),
        "/v1",
        {"api_key": "sk-emulated"},
        listen,
    ),
    "deepgram": (
        lambda: DeepgramEmulator(recognizer=ear()),
        spec_of(deepgram.voicecall_register_transcribers, "deepgram"),
        (),
        "",
        {"api_key": "deepgram-key"},
        listen,
    ),
    "scribe": (
        lambda: ScribeEmulator(recognizer=ear()),
        spec_of(elevenlabs.voicecall_register_transcribers, "elevenlabs"),
        (),
        "",
        {"api_key": "xi-emulated"},
        listen,
    ),
    "xai": (
        lambda: XaiEmulator(recognizer=ear()),
        spec_of(xai.voicecall_register_transcribers, "xai"),
        (),
        "/v1",
        {"api_key": "xai-key"},
        listen,
    ),
}


@pytest.mark.parametrize("name", LINES)
async def test_a_provider_over_a_spoilt_line_raises_errors_of_ours_or_none(name: str) -> None:
    make, spec, model, path, settings, use = LINES[name]
    async with make() as emulator, FaultProxy("127.0.0.1", emulator.port) as proxy:
        address = {"base_url": f"http://127.0.0.1:{proxy.port}{path}"}
        async with opened(spec, *model, **settings, **address) as provider:
            raised = await hold_out(emulator, proxy, provider, use)
    assert not raised, "\n".join(f"{type(error).__name__}: {error}" for error in raised)
