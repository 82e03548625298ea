"""ElevenLabs' text to speech, over HTTP and WebSockets, with a voice whose words can be recognised again."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from aiohttp import web

from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.elevenlabs_rules import (
    BROKEN,
    BUSY,
    INVALID_KEY,
    LIMITS,
    NOT_PERMITTED,
    QUOTA,
    WITHOUT_SOCKETS,
    Complaint,
    bytes_per_second,
    key_complaint,
    render,
    request_complaint,
    silence_like,
    unknown_voice,
)
from openclaw_voicecall.testing.emulators.elevenlabs_sockets import Socket, handshake_complaint
from openclaw_voicecall.testing.emulators.streams import AnsweringEmulator, break_off, pieces
from openclaw_voicecall.testing.emulators.voices import babble

VOICES = ("21m00Tcm4TlvDq8ikWAM", "54noaetjxv80HAvkIbfQ")
PORTAL = "<!doctype html><title>Welcome</title><p>This network wants you to log in."
SIZES = (701, 1, 1333, 160, 97, 2111)
"""Bytes of the chunks; nothing promises that they are whole samples or frames."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text that was turned into sound."""

    text: str
    voice: str
    model: str
    transport: str
    """`http`, `stream`, `stream-input` or `multi-stream-input`."""
    context: str = ""
    """The context it was said in, on a `multi-stream-input` socket."""


class ElevenLabsEmulator(AnsweringEmulator):
    """The speech endpoints of ElevenLabs, and the look-ups a check makes. Clients take `url`.

    It is stricter than the vendor in two ways. The vendor ignores names it does not know in a body or a query: a
    setting in camelCase simply has no effect; here it is refused. And only raw formats are made (`ulaw_8000`,
    `alaw_8000`, `pcm_*`); the others get the code `emulator_raw_only`.

    Args:
        port: TCP port; 0 for any free one.
        key: The `xi-api-key` that is taken.
        voices: Ids of the voices there are.
        clips: Where every sound is noted with its words, so that others can recognise it.
        chunk_delay: Seconds from chunk to chunk.
    """

    vendor = "elevenlabs"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "401": "the key is refused; a socket is refused at the handshake",
        "permissions": "the key may speak, but not look anything up",
        "quota": "the credits are used up: 401, or an error on the socket",
        "429": "too many requests at once; a socket is refused at the handshake",
        "500": "the server fails; on a socket an error and its end",
        "empty": "no sound: 200 without a byte, or no audio on the socket",
        "silent": "a recording of silence, as long as the sound would be",
        "json": "200 and a JSON document in place of the sound; on a socket frames of another shape",
        "html": "200 and a web page, as from a captive portal; on a socket messages that are no JSON",
        "slow": "the sound comes after `seconds`, 1 unless told",
        "cut": "the connection breaks in the middle of the sentence",
        "trickle": "over HTTP the sound comes `times_slower` (4) than it lasts",
        "hang": "no sound ever comes, nor an end",
        "close": "sockets only: closed in order in the middle of the sentence, with `code`, 1011 unless told",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "xi-emulated",
        voices: Iterable[str] = VOICES,
        clips: ClipBook | None = None,
        chunk_delay: float = 0.0,
    ) -> None:
        super().__init__(port=port)
        self.voices = list(voices)
        self.clips = clips if clips is not None else ClipBook()
        self.chunk_delay = chunk_delay
        self.spoken: list[Spoken] = []
        """What was said, in order."""
        self.bodies: list[dict[str, Any]] = []
        """The requests over HTTP that were in order."""
        self.sockets: set[Socket] = set()
        """Sockets that are open now."""
        self._key = key

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the speech endpoints and the harmless look-ups."""
        router.add_post("/v1/text-to-speech/{voice}", self._speak)
        router.add_post("/v1/text-to-speech/{voice}/stream", self._speak)
        router.add_get("/v1/text-to-speech/{voice}/stream-input", self._open_socket)
        router.add_get("/v1/text-to-speech/{voice}/multi-stream-input", self._open_socket)
        router.add_get("/v1/voices/{voice}", self._show_voice)
        router.add_get("/v1/models", self._list_models)
        router.add_get("/v1/user/subscription", self._show_subscription)

    def state(self) -> dict[str, Any]:
        """What was said, and what is under way."""
        return {
            "spoken": [asdict(spoken) for spoken in self.spoken],
            "open_streams": self.open_streams,
            "open_sockets": len(self.sockets),
            "cancelled": self.cancelled,
        }

    async def stop(self) -> None:
        """Let go of answers that hang, and close the sockets."""
        await super().stop()
        for socket in list(self.sockets):
            await socket.close()

    def say(
        self, text: str, *, voice: str, model: str, transport: str, output_format: str, context: str = ""
    ) -> bytes:
        """Turn a text into sound, and note it."""
        self.spoken.append(Spoken(text, voice, model, transport, context))
        # All voices sound alike, because a clip book knows one sound for each text.
        return render(self.clips.add(text, babble(text)), output_format)

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        voice = request.match_info["voice"]
        complaint, body = await self._read(request, voice)
        if complaint is not None:
            self.refuse(f"POST {request.path}", complaint.message)
            return complaint.response()
        failures = {"401": INVALID_KEY, "quota": QUOTA, "429": BUSY, "500": BROKEN}
        if fault := self.take_fault(*failures):
            return failures[fault.name].response()
        self.bodies.append(body)
        self.stamp("request", body["text"])
        with self.streams.counted():
            return await self._answer(request, voice, body)

    async def _read(self, request: web.Request, voice: str) -> tuple[Complaint | None, dict[str, Any]]:
        body: Any = None
        complaint = key_complaint(request, self._key)
        if complaint is None and voice not in self.voices:
            complaint = unknown_voice(voice)
        if complaint is None:
            try:
                body = await request.json() if request.content_type == "application/json" else None
            except ValueError:
                body = None
            complaint = request_complaint(request.query, body)
        return complaint, body

    async def _answer(self, request: web.Request, voice: str, body: dict[str, Any]) -> web.StreamResponse:
        fault = self.take_fault("empty", "silent", "json", "html", "slow", "cut", "trickle", "hang")
        name = fault.name if fault else ""
        if name == "json":
            return web.json_response({"detail": {"status": "ok", "message": "queued"}})
        if name == "html":
            return web.Response(text=PORTAL, content_type="text/html")
        if name == "hang":
            await self.streams.pause()
            break_off(request)
            return web.Response(status=500)
        if fault and name == "slow":
            await self.streams.pause(float(fault.options.get("seconds", 1.0)))
        transport = "stream" if request.path.endswith("/stream") else "http"
        shape = request.query["output_format"]
        model = body.get("model_id") or "eleven_multilingual_v2"
        sound = b""
        if name != "empty":
            sound = self.say(body["text"], voice=voice, model=model, transport=transport, output_format=shape)
        if name == "silent":
            sound = silence_like(sound, shape)
        if name == "cut":
            sound = sound[: len(sound) // 2]
        kind = "audio/basic" if shape == "ulaw_8000" else "audio/pcm"
        response = web.StreamResponse(headers={"Content-Type": kind})
        response.enable_chunked_encoding()
        await response.prepare(request)
        slower = float(fault.options.get("times_slower", 4.0)) if fault and name == "trickle" else 0.0
        for piece in pieces(sound, *SIZES):
            self.stamp("audio", body["text"])
            await response.write(piece)
            await self.streams.pause(self.chunk_delay + slower * len(piece) / bytes_per_second(shape))
        if name == "cut":
            break_off(request)
        else:
            await response.write_eof()
        return response

    async def _open_socket(self, request: web.Request) -> web.StreamResponse:
        complaint = handshake_complaint(request.query)
        if complaint is None and "xi-api-key" in request.headers:
            complaint = key_complaint(request, self._key)
        if complaint is not None:
            self.refuse(f"GET {request.path}", complaint.message)
            return complaint.response()
        if fault := self.take_fault("401", "429"):
            return (INVALID_KEY if fault.name == "401" else BUSY).response()
        socket = Socket(self, request, key=self._key, voices=self.voices)
        self.sockets.add(socket)
        try:
            return await socket.serve()
        finally:
            self.sockets.discard(socket)
            self.streams.change()

    async def _show_voice(self, request: web.Request) -> web.Response:
        voice = request.match_info["voice"]
        if complaint := self._refused(request, None if voice in self.voices else unknown_voice(voice)):
            return complaint.response()
        settings = {
            "stability": 0.5,
            "similarity_boost": 0.75,
            "style": 0.0,
            "use_speaker_boost": True,
            "speed": 1.0,
        }
        answer = {
            "voice_id": voice,
            "name": f"Voice {voice[:4]}",
            "category": "premade",
            "settings": settings,
        }
        return web.json_response(answer)

    async def _list_models(self, request: web.Request) -> web.Response:
        if complaint := self._refused(request):
            return complaint.response()
        models = [
            {
                "model_id": name,
                "name": name.replace("_", " ").title(),
                "can_do_text_to_speech": True,
                "maximum_text_length_per_request": limit,
                "languages": [{"language_id": "en", "name": "English"}],
                "concurrency_group": "standard" if name in WITHOUT_SOCKETS else "turbo",
            }
            for name, limit in LIMITS.items()
        ]
        return web.json_response(models)

    async def _show_subscription(self, request: web.Request) -> web.Response:
        if complaint := self._refused(request):
            return complaint.response()
        used = sum(len(spoken.text) for spoken in self.spoken)
        return web.json_response(
            {
                "tier": "creator",
                "status": "active",
                "character_count": used,
                "character_limit": 100_000,
                "next_character_count_reset_unix": 1_800_000_000,
            }
        )

    def _refused(self, request: web.Request, unknown: Complaint | None = None) -> Complaint | None:
        """What keeps a look-up from being answered."""
        if complaint := key_complaint(request, self._key) or unknown:
            self.refuse(f"GET {request.path}", complaint.message)
            return complaint
        failures = {"401": INVALID_KEY, "permissions": NOT_PERMITTED, "429": BUSY, "500": BROKEN}
        fault = self.take_fault(*failures)
        return failures[fault.name] if fault else None
