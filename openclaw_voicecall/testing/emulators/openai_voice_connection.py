"""One WebSocket that steers an emulated speech-to-speech session: its own, or a SIP call's from the side.

What the events do is in `openai_orders` and `openai_talk`; here they are read and written, and the socket fails. The
closes (4000 for a wrong address or dialect, 1001 at the end of the hour) are as users have recorded them.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

from openclaw_voicecall.testing.emulators.openai_checks import SessionRefused
from openclaw_voicecall.testing.emulators.openai_connection import GIBBERISH, HOUR_IS_OVER
from openclaw_voicecall.testing.emulators.openai_orders import Orders
from openclaw_voicecall.testing.emulators.openai_talk import Talk
from openclaw_voicecall.testing.emulators.openai_voice_records import UnjustRefusal
from openclaw_voicecall.testing.emulators.serving import Fault

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator

UNKNOWN_EVENTS: Final[tuple[Mapping[str, Any], ...]] = (
    {"type": "session.warmed", "event_id": "event_unknown1", "session": {"id": "sess_x"}},
    {
        "type": "response.output_video.delta",
        "event_id": "event_unknown2",
        "item_id": "item_x",
        "delta": "AAAA",
    },
    {
        "type": "conversation.item.input_audio_transcription.segment",
        "event_id": "event_unknown3",
        "text": "x",
    },
    {"type": "response.audio.delta", "event_id": "event_unknown4", "item_id": "item_x", "delta": "AAAA"},
)
"""Of a newer server, of another product, of the beta: a client passes them over."""


class VoiceConnection:
    """A socket on a session.

    Args:
        emulator: Whose it is.
        request: The handshake.
        socket: Is prepared already.
        talk: The session.
    """

    def __init__(
        self, emulator: "OpenAIVoiceEmulator", request: web.Request, socket: web.WebSocketResponse, talk: Talk
    ) -> None:
        self._emulator = emulator
        self._request = request
        self._socket = socket
        self._talk = talk
        self._orders = Orders(talk)
        self._session = talk.session
        self._session.closed = ""
        self._clock: asyncio.Task[None] | None = None

    async def run(self, *, trouble: SessionRefused | None = None) -> None:
        """Serve until either side closes.

        Args:
            trouble: What was wrong with the settings that a call was accepted with; told first of all.
        """
        self._talk.watchers.append(self)
        if trouble is not None:
            await self._error(trouble, "initial_session_update")
        created = {"type": "session.created", "event_id": self._talk.next_id("event")}
        await self._send({**created, "session": self._session.config})
        if (fault := self._emulator.take_timed_fault("expire")) is not None:
            self._clock = asyncio.create_task(self._expire(fault, float(fault.options["seconds"])))
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                await self._lie()
                await self._take(message.data)
            else:
                text = "Expected a text WebSocket message; binary frames are not supported."
                await self._refuse("binary message", SessionRefused(text, "invalid_event", None), None)
            self._emulator.note_change()

    async def refuse_address(self, refusal: SessionRefused) -> None:
        """Say what is wrong with the address or the headers, and close."""
        await self._refuse("GET /v1/realtime", refusal, None)
        await self.close(4000, f"invalid_request_error.{refusal.code}")

    def finish(self) -> None:
        """The socket is closed."""
        if self in self._talk.watchers:
            self._talk.watchers.remove(self)
        self._session.closed = self._session.closed or f"client {self._socket.close_code or 1006}"
        if self._clock is not None:
            self._clock.cancel()
        self._emulator.note_change()

    async def tell(self, name: str, fields: Mapping[str, Any]) -> None:
        """Send an event of the session."""
        await self._write(json.dumps(fields))

    async def drop(self, code: int | None) -> None:
        """Close, or break off where there is no code."""
        if code is not None:
            await self.close(int(code), "" if code == 1000 else "server error")
            return
        self._session.closed = "broken off"
        if self._request.transport is not None:
            self._request.transport.abort()

    async def close(self, code: int, reason: str) -> None:
        """Close in good order."""
        self._session.closed = self._session.closed or f"server {code}: {reason}"
        await self._socket.close(code=code, message=reason.encode())

    async def _take(self, text: str) -> None:
        try:
            event = json.loads(text)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            refusal = SessionRefused("Invalid event: failed to parse JSON value.", "invalid_json", None)
            await self._refuse("message", refusal, None)
            return
        self._session.received.append(event)
        try:
            await self._orders.take(event)
        except SessionRefused as refusal:
            await self._refuse(str(event.get("type")), refusal, event.get("event_id"))

    async def _lie(self) -> None:
        """Carry out a fault that strikes a session that is open already."""
        match self._emulator.take_fault("unknown-events", "gibberish") or self._emulator.take_untimed_fault(
            "expire"
        ):
            case Fault(name="unknown-events"):
                for event in UNKNOWN_EVENTS:
                    await self._write(json.dumps(event))
            case Fault(name="gibberish"):
                for text in GIBBERISH:
                    await self._write(text)
            case Fault(name="expire") as fault:
                await self._expire(fault, 0.0)

    async def _expire(self, fault: Fault, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if fault.options.get("error", True):
            await self._error(SessionRefused(HOUR_IS_OVER, "session_expired", None), None)
        await self.close(1001, HOUR_IS_OVER)

    async def _refuse(self, where: str, refusal: SessionRefused, event_id: Any) -> None:
        if not isinstance(refusal, UnjustRefusal):
            self._emulator.refuse(where, refusal.message)
        await self._error(refusal, event_id)

    async def _error(self, refusal: SessionRefused, event_id: Any) -> None:
        error = {
            "type": "invalid_request_error",
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
            "event_id": event_id,
        }
        self._session.errors.append(error)
        await self._send({"type": "error", "event_id": self._talk.next_id("event"), "error": error})

    async def _send(self, event: dict[str, Any]) -> None:
        """Tell this socket alone."""
        self._session.sent.append(event)
        self._session.sent_at.append(time.monotonic())
        self._emulator.stamp(event["type"])
        await self._write(json.dumps(event))

    async def _write(self, text: str) -> None:
        if not self._socket.closed:
            with suppress(ConnectionError):  # the client went away; `run` will see it
                await self._socket.send_str(text)
