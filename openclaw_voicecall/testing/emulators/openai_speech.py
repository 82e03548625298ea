"""OpenAI's text to speech: raw 24 kHz samples in chunks that respect neither frames nor samples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from aiohttp import web

from openclaw_voicecall.media.g711 import ulaw_to_pcm
from openclaw_voicecall.testing.emulators.chat_rules import (
    INVALID_KEY,
    SERVER_ERROR,
    Problem,
    key_problem,
    rate_limited,
    read_json,
    unknown_model,
)
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.streams import AnsweringEmulator, break_off, pieces
from openclaw_voicecall.testing.emulators.voices import babble

SPEECH = "/v1/audio/speech"
OLD_MODELS = ("tts-1", "tts-1-hd")
MODELS = (*OLD_MODELS, "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
OLD_VOICES = ("alloy", "ash", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer")
VOICES = (*OLD_VOICES, "ballad", "verse", "marin", "cedar")
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
PARAMETERS = {"model", "voice", "input", "response_format", "instructions", "speed", "stream_format"}
PORTAL = "<!doctype html><title>Welcome</title><p>This network wants you to log in."
LONGEST = 4096
"""Characters of one request."""
SIZES = (4801, 3, 9599, 1, 2047)
"""Bytes of the chunks: odd, so that nearly every one ends in the middle of a sample."""
QUOTA = Problem(
    "You exceeded your current quota, please check your plan and billing details.",
    code="insufficient_quota",
    status=429,
    type="insufficient_quota",
)


@dataclass(frozen=True, slots=True)
class Said:
    """A text that was turned into sound."""

    text: str
    voice: str
    model: str
    instructions: str = ""


class OpenAISpeechEmulator(AnsweringEmulator):
    """`POST /v1/audio/speech` and `GET /v1/models`. Clients take `url + "/v1"`.

    Parameters and limits are those of the OpenAI SDK, types/audio/speech_create_params.py. Only `pcm` is made, 24 kHz
    s16le mono: the other formats, `stream_format: "sse"` and custom voices get an error that the vendor would not give,
    with the code `emulator_pcm_only` or `emulator_builtin_voices_only`. So do `instructions` for the old models, which
    the vendor takes and does not follow (`emulator_without_effect`).

    Args:
        port: TCP port; 0 for any free one.
        key: The bearer token that is taken.
        chunk_delay: Seconds from chunk to chunk.
    """

    vendor = "openai-speech"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "401": "the key is refused",
        "429": "too many requests; retry_after in seconds, 1 unless told",
        "500": "the server fails",
        "quota": "429, because the money is used up",
        "empty": "200 without a byte of sound",
        "silent": "a recording of silence, as long as the sound would be",
        "json": "200 and a JSON document in place of the sound",
        "html": "200 and a web page, as from a captive portal",
        "slow": "the first byte comes after `seconds`, 1 unless told",
        "cut": "the connection breaks in the middle of the sentence",
        "hang": "no byte ever comes",
    }

    def __init__(self, *, port: int = 0, key: str = "sk-emulated", chunk_delay: float = 0.0) -> None:
        super().__init__(port=port)
        self.chunk_delay = chunk_delay
        self.spoken: list[Said] = []
        """What was asked for, in order; requests that failed are not in it."""
        self._key = key

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the speech route and the harmless look-ups of models."""
        router.add_post(SPEECH, self._speak)
        router.add_get("/v1/models", self._list_models)
        router.add_get("/v1/models/{model}", self._list_models)

    def state(self) -> dict[str, Any]:
        """What was said, and what is under way."""
        said = [{"text": said.text, "voice": said.voice, "model": said.model} for said in self.spoken]
        return {"spoken": said, "open_streams": self.open_streams, "cancelled": self.cancelled}

    async def _list_models(self, request: web.Request) -> web.Response:
        if problem := self._refused(request):
            return problem.response()
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "system"} for name in MODELS]
        if "model" not in request.match_info:
            return web.json_response({"object": "list", "data": models})
        wanted = request.match_info["model"]
        if wanted not in MODELS:
            self.refuse(f"GET {request.path}", "no such model")
            return unknown_model(wanted).response()
        return web.json_response(models[MODELS.index(wanted)])

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        if problem := self._refused(request):
            return problem.response()
        body = await read_json(request)
        bad = body if isinstance(body, Problem) else next(_problems(body), None)
        if bad is not None:
            self.refuse(f"POST {SPEECH}", bad.message)
            return bad.response()
        assert isinstance(body, dict)  # noqa: S101 a Problem went out above
        with self.streams.counted():
            return await self._answer(request, body)

    def _refused(self, request: web.Request) -> Problem | None:
        problem = key_problem(request, self._key)
        if problem is not None:
            self.refuse(f"{request.method} {request.path}", problem.message)
            return problem
        fault = self.take_fault("401", "429", "500", "quota")
        return _failure(fault) if fault else None

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        fault = self.take_fault("empty", "silent", "json", "html", "slow", "cut", "hang")
        name = fault.name if fault else ""
        if name == "json":
            return web.json_response({"status": "ok"})
        if name == "html":
            return web.Response(text=PORTAL, content_type="text/html")
        if name == "hang":
            await self.streams.pause()
            break_off(request)
            return web.Response(status=500)
        if fault and name == "slow":
            await self.streams.pause(float(fault.options.get("seconds", 1.0)))
        said = Said(body["input"], body["voice"], body["model"], body.get("instructions") or "")
        self.spoken.append(said)
        sound = b"" if name == "empty" else speech(said.text, said.voice)
        if name == "silent":
            sound = bytes(len(sound))
        if name == "cut":
            sound = sound[: len(sound) // 2]
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in pieces(sound, *SIZES):
            await response.write(piece)
            await self.streams.pause(self.chunk_delay)
        if name == "cut":
            break_off(request)
        else:
            await response.write_eof()
        return response


def speech(text: str, voice: str = "") -> bytes:
    """The 24 kHz s16le mono sound of a text, as the emulator makes it: `babble` with every sample three times."""
    samples = np.frombuffer(ulaw_to_pcm(babble(text, seed=voice)), "<i2")
    return np.repeat(samples, 3).tobytes()


def _problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    for name in sorted(set(body) - PARAMETERS):
        yield Problem(f"Unrecognized request argument supplied: {name}")
    for name in ("model", "input", "voice"):
        if name not in body:
            yield _invalid("missing", name, "Field required")
    model, voice, text = body["model"], body["voice"], body["input"]
    for name, value in (("model", model), ("input", text), ("instructions", body.get("instructions", ""))):
        if not isinstance(value, str):
            yield _invalid("string_type", name, "Input should be a valid string")
    if model not in MODELS:
        yield unknown_model(model)
    if isinstance(voice, dict):
        yield Problem("This emulator has no custom voices.", "voice", "emulator_builtin_voices_only")
    voices = OLD_VOICES if model in OLD_MODELS else VOICES
    if voice not in voices:
        yield _invalid("enum", "voice", f"Input should be one of {', '.join(voices)}")
    if not text:
        yield _invalid("string_too_short", "input", "String should have at least 1 character")
    if len(text) > LONGEST:
        yield _invalid("string_too_long", "input", f"String should have at most {LONGEST} characters")
    if model in OLD_MODELS and body.get("instructions"):
        yield Problem(f"{model} does not follow instructions.", "instructions", "emulator_without_effect")
    speed = body.get("speed", 1.0)
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0.25 <= speed <= 4:
        yield _invalid("out_of_range", "speed", "Input should be a number from 0.25 to 4.0")
    shape = body.get("response_format", "mp3")
    if shape not in FORMATS:
        yield _invalid("enum", "response_format", f"Input should be one of {', '.join(FORMATS)}")
    if shape != "pcm" or body.get("stream_format", "audio") != "audio":
        yield Problem("This emulator makes plain pcm only.", "response_format", "emulator_pcm_only")


def _invalid(kind: str, name: str, message: str) -> Problem:
    """This endpoint of OpenAI's puts the findings of its validator into the message as they are."""
    return Problem(str([{"type": kind, "loc": ("body", name), "msg": message}]))


def _failure(fault: Fault) -> Problem:
    return {
        "401": INVALID_KEY,
        "429": rate_limited(float(fault.options.get("retry_after", 1))),
        "500": SERVER_ERROR,
        "quota": QUOTA,
    }[fault.name]
