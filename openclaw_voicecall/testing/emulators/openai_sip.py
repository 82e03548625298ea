"""A SIP call between a trunk and OpenAI, for tests a WebSocket that stands for SIP and RTP.

The caller's side opens it and sends an INVITE; both sides then send texts for SIP requests and answers, and binary
frames of mu-law, 160 bytes for 20 ms. The server plays by the clock: what it has generated and not yet played can be
cleared.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from aiohttp import WSMessage, WSMsgType, web

from openclaw_voicecall.testing.emulators.openai_conversation import BYTES_PER_MS
from openclaw_voicecall.testing.emulators.openai_voice_records import VoiceSession

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.openai_talk import Talk
    from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator

FRAME: Final = 160
FRAME_SECONDS: Final = 0.02
SILENCE: Final = b"\xff" * FRAME
REASONS: Final[Mapping[int, str]] = {
    400: "Bad Request",
    404: "Not Found",
    480: "Temporarily Unavailable",
    486: "Busy Here",
    603: "Decline",
}


@dataclass(slots=True)
class Call:
    """What one call was, for tests."""

    id: str
    """`rtc_…`, for this API."""
    session_id: str
    """`live_…`, for the other one."""
    headers: list[tuple[str, str]]
    """Of its INVITE."""
    state: Literal["ringing", "accepted", "answered", "ended"] = "ringing"
    """It is answered when an accept has taken effect."""
    accepts: list[Any] = field(default_factory=list)
    """Bodies of its accepts, right or wrong."""
    bodies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """What was asked of it over REST, `accept`, `reject`, `refer` or `hangup`, and with which body, right or wrong."""
    refers: list[str] = field(default_factory=list)
    """Where it was to be transferred to, also where nothing came of it."""
    notified: list[int] = field(default_factory=list)
    """What the trunk told of transfers: 202, then 200 or a failure."""
    digits: str = ""
    """What the caller dialled."""
    session: VoiceSession | None = None
    """Once it is answered."""
    status: int = 0
    """Of the final answer to its INVITE."""
    ended_by: str = ""
    """`caller`, `hangup`, `vendor`, `transfer`, `reject`, `accept` (its settings), `timeout`; empty while it lasts."""
    played: bytearray = field(default_factory=bytearray)
    """What the caller was sent, silence too."""


@dataclass(slots=True)
class _Stretch:
    response_id: str
    item_id: str
    audio: bytearray


class SipLeg:
    """The vendor's end of a call's signalling and audio.

    Args:
        emulator: Whose it is.
        socket: Of the trunk; is prepared already.
        call: What tests look at.
    """

    def __init__(self, emulator: "OpenAIVoiceEmulator", socket: web.WebSocketResponse, call: Call) -> None:
        self._emulator = emulator
        self._socket = socket
        self.call = call
        self.talk: Talk | None = None
        self._queue: deque[_Stretch] = deque()
        self._heard: dict[str, int] = {}
        """Bytes of each item that were played."""
        self._playing = ""
        """The response that is being played."""
        self._whole: set[str] = set()
        """Responses of which nothing more comes."""
        self._player: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Ring, and serve the call until it is over."""
        await self._write({"status": 180})
        patience = asyncio.create_task(self._give_up())
        try:
            async for message in self._socket:
                await self._take(message)
        finally:
            patience.cancel()
            self._end("caller")

    async def answer(self, talk: "Talk") -> None:
        """Answer, and play to the caller from now on."""
        self.talk = talk
        self.call.state, self.call.status = "answered", 200
        await self._write({"status": 200})
        self._player = asyncio.create_task(self._play_on())

    async def fail(self, status: int, by: str) -> None:
        """Refuse the call with a SIP status."""
        if self.call.state == "ended":
            return
        self.call.status = status
        self._end(by)
        await self._write({"status": status, "reason": REASONS.get(status, "Declined")})
        await self._socket.close()

    async def hang_up(self, by: str = "vendor") -> None:
        """End the call with a BYE."""
        if self.call.state == "ended":
            return
        self._end(by)
        await self._write({"method": "BYE"})
        await self._socket.close()

    async def refer(self, target: str) -> None:
        """Ask the trunk to connect the caller elsewhere."""
        await self._write({"method": "REFER", "refer_to": target})

    def play(self, response_id: str, item_id: str, audio: bytes) -> None:
        """Play to the caller after what is being played."""
        last = self._queue[-1] if self._queue else None
        if last is not None and last.item_id == item_id:
            last.audio += audio
        else:
            self._queue.append(_Stretch(response_id, item_id, bytearray(audio)))

    def finish(self, response_id: str) -> None:
        """Nothing more comes of a response."""
        self._whole.add(response_id)

    def clear(self) -> tuple[str, list[tuple[str, int]]]:
        """Play no more. Returns whose response is cut, and of its unfinished items how many ms were heard."""
        response_id = self._playing or (self._queue[0].response_id if self._queue else "")
        cut = [
            (stretch.item_id, self._heard.get(stretch.item_id, 0) // BYTES_PER_MS) for stretch in self._queue
        ]
        self._queue.clear()
        self._playing = ""
        return response_id, cut

    async def close(self) -> None:
        """End what still runs for the call."""
        if self._player is not None:
            self._player.cancel()
            await asyncio.gather(self._player, return_exceptions=True)
        if self.talk is not None:
            for watcher in list(self.talk.watchers):
                await watcher.drop(1000)
            await self.talk.finish()
        self._emulator.note_change()

    async def _take(self, message: WSMessage) -> None:
        if message.type is WSMsgType.BINARY:
            if len(message.data) != FRAME:
                self._emulator.refuse("RTP", f"a frame of {len(message.data)} bytes in place of {FRAME}")
            elif self.talk is not None and self.call.state == "answered":
                await self.talk.hear(message.data)
            return
        request = json.loads(message.data)
        match request:
            case {"method": "BYE"}:
                self._end("caller")
                await self._socket.close()
            case {"method": "INFO", "digit": str(digit)} if self.talk is not None:
                self.call.digits += digit
                await self.talk.tell_digit(digit)
            case {"method": "NOTIFY", "status": int(status)} if self.call.refers:
                self.call.notified.append(status)
                if 200 in self.call.notified[-1:] and 202 in self.call.notified:
                    await self.hang_up("transfer")
            case _:
                self._emulator.refuse("SIP", f"unexpected {request}")
        self._emulator.note_change()

    async def _play_on(self) -> None:
        clock = asyncio.get_running_loop()
        due = clock.time()
        while self.call.state == "answered" and not self._socket.closed:
            frame = await self._next_frame()
            self.call.played += frame
            with suppress(ConnectionError):  # the trunk went away; `run` will see it
                await self._socket.send_bytes(frame)
            due += FRAME_SECONDS
            await asyncio.sleep(max(due - clock.time(), 0))

    async def _next_frame(self) -> bytes:
        frame = bytearray()
        talk = self.talk
        while talk is not None and len(frame) < FRAME:
            stretch = self._queue[0] if self._queue else None
            if stretch is None or stretch.response_id != self._playing:
                if self._playing and (stretch is not None or self._playing in self._whole):
                    stopped, self._playing = self._playing, ""
                    await talk.send("output_audio_buffer.stopped", response_id=stopped)
                    continue
                if stretch is None:
                    break
                self._playing = stretch.response_id
                await talk.send("output_audio_buffer.started", response_id=stretch.response_id)
                continue
            piece = stretch.audio[: FRAME - len(frame)]
            frame += piece
            del stretch.audio[: len(piece)]
            self._heard[stretch.item_id] = self._heard.get(stretch.item_id, 0) + len(piece)
            if not stretch.audio:
                self._queue.popleft()
        if talk is not None and talk.static:
            return random.randbytes(FRAME)
        return bytes(frame) + SILENCE[len(frame) :]

    async def _give_up(self) -> None:
        await asyncio.sleep(self._emulator.ring_timeout)
        if self.call.state in ("ringing", "accepted"):
            await self.fail(480, "timeout")

    def _end(self, by: str) -> None:
        if self.call.state != "ended":
            self.call.state, self.call.ended_by = "ended", by
        self._emulator.note_change()

    async def _write(self, text: Mapping[str, Any]) -> None:
        if not self._socket.closed:
            with suppress(ConnectionError):  # the trunk went away; `run` will see it
                await self._socket.send_str(json.dumps(text))
