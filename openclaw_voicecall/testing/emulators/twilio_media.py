"""The far end of a media stream: Twilio's WebSocket client, from its documentation of Media Streams messages.

All messages are JSON text. Numbers are strings, except in `mediaFormat`. Audio is base64 of mu-law at 8000 Hz.
"""

import asyncio
import base64
import binascii
import json
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from yarl import URL

from openclaw_voicecall.testing.emulators.twilio_phone import FRAME, RATE, Line
from openclaw_voicecall.testing.emulators.twilio_twiml import Problem

OPEN_LIMIT = 5.0
CLOSE_LIMIT = 1.0
NORMAL_CLOSE = (1000, 1001)
JUNK: tuple[str | bytes, ...] = (
    "{not json",
    "[]",
    '{"event":"media"}',
    '{"event":"media","sequenceNumber":"1","streamSid":"MZother","media":{"payload":"/w=="}}',
    '{"event":"media","sequenceNumber":"1","streamSid":"STREAM","media":{"payload":"***"}}',
    '{"event":"novelty","streamSid":"STREAM"}',
    '{"event":"start","streamSid":"STREAM","start":{}}',
    b"\xff\xfe\x00binary",
)
"""What a broken carrier might send."""
JUNK_EVERY = 5
"""Frames between two pieces of it."""


@dataclass(frozen=True, slots=True)
class StreamFaults:
    """What goes wrong with one stream."""

    cut_after: float | None = None
    """Seconds after `start` at which the connection breaks."""
    unread_after: float | None = None
    """Seconds after `start` from which on nothing is read any more."""
    never_starts: bool = False
    junk: bool = False
    no_marks: bool = False


@dataclass(slots=True)
class MediaStream:
    """One stream, from its opening to its end, and what happened in it."""

    url: str
    """Address as it was asked, without a query."""
    stream_sid: str
    call_sid: str
    account_sid: str
    line: Line
    note: Callable[[Problem], None]
    """Told what the application did wrong."""
    stamp: Callable[[str, str], None] = lambda event, call_sid: None
    """Told of every message of the application that is in order."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    bidirectional: bool = True
    port: int | None = None
    """Where on this machine it is opened to, if not where its address says."""
    faults: StreamFaults = field(default_factory=StreamFaults)

    started: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once `start` was sent."""
    closed_by: Literal["", "carrier", "application", "network"] = ""
    close_code: int | None = None
    problem: Problem | None = None
    """Why the stream failed, as Twilio's debugger tells it."""
    received: dict[str, int] = field(default_factory=dict)
    """Valid messages of the application by event."""
    audio_received: int = 0
    """Bytes of audio that the application sent."""
    arrivals: list[tuple[float, bytes]] = field(default_factory=list)
    """That audio, message by message, and when it came: seconds of `time.monotonic`."""
    marks: list[str] = field(default_factory=list)
    """Marks in the order they came."""
    echoed: list[str] = field(default_factory=list)
    """Marks in the order they were sent back."""
    frames_sent: int = 0

    _socket: aiohttp.ClientWebSocketResponse | None = None
    _sequence: int = 0
    _outbox: deque[dict[str, Any]] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _complaints: set[str] = field(default_factory=set)

    async def run(self, session: aiohttp.ClientSession, signature: str) -> None:
        """Open the stream and keep it until the application or the network closes it.

        Cancelled, it sends `stop` and closes, as when the call ends or is sent elsewhere.
        """
        try:
            self._socket = await self._open(session, signature)
        except _Refused as refused:
            self._fail(refused.problem)
            return
        reader = asyncio.create_task(self._read(self._socket))
        try:
            await self._send({"event": "connected", "protocol": "Call", "version": "1.0.0"}, numbered=False)
            if self.faults.never_starts:
                await asyncio.shield(reader)
            else:
                await self._start()
                await self._pump(reader)
        except asyncio.CancelledError:
            await self._stop()
            raise
        except (ConnectionError, aiohttp.ClientError):
            pass  # the reader tells why
        finally:
            if self.bidirectional:
                self.line.clear()
            with suppress(TimeoutError, ConnectionError, aiohttp.ClientError):
                async with asyncio.timeout(CLOSE_LIMIT):
                    await self._socket.close()
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        self._judge_end()

    def press(self, digit: str) -> None:
        """Tell the application of a key."""
        if self.started.is_set():
            self._put({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": digit}})

    def cut(self) -> None:
        """Break the connection; the application sees it end without a word."""
        raw = self._socket.get_extra_info("socket") if self._socket is not None else None
        if raw is not None:
            self.closed_by = "network"
            with suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)

    async def _open(self, session: aiohttp.ClientSession, signature: str) -> aiohttp.ClientWebSocketResponse:
        headers = {"X-Twilio-Signature": signature, "User-Agent": "Twilio.TmeWs/1.0"}
        limits = aiohttp.ClientWSTimeout(ws_close=CLOSE_LIMIT)
        url = URL(self.url, encoded=True)
        if self.port is not None:
            headers["Host"] = url.authority
            url = url.with_scheme("ws").with_host("127.0.0.1").with_port(self.port)
        try:
            async with asyncio.timeout(OPEN_LIMIT):
                return await session.ws_connect(url, headers=headers, timeout=limits)
        except TimeoutError:
            raise _Refused(31901, f"Stream - WebSocket - Connection Timeout: {self.url}") from None
        except aiohttp.WSServerHandshakeError as error:
            text = f"Stream - WebSocket - Handshake Error: status {error.status} from {self.url}"
            raise _Refused(31920, text) from None
        except (aiohttp.ClientError, OSError) as error:
            text = f"Stream - WebSocket - Connection Refused: {self.url}: {type(error).__name__}"
            raise _Refused(31902, text) from None

    async def _start(self) -> None:
        await self._send(
            {
                "event": "start",
                "start": {
                    "accountSid": self.account_sid,
                    "streamSid": self.stream_sid,
                    "callSid": self.call_sid,
                    "tracks": ["inbound"],
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                    "customParameters": dict(self.parameters),
                },
            }
        )
        self.started.set()
        if self.faults.cut_after is not None:
            asyncio.get_running_loop().call_later(self.faults.cut_after, self.cut)

    async def _pump(self, reader: asyncio.Task[None]) -> None:
        """Send what the person says in frames of 20 ms, silence too, and between them whatever else is due."""
        begin = round(self.line.now * RATE)
        junk = deque(JUNK if self.faults.junk else ())
        while not reader.done():
            self._wake.clear()
            self.line.advance()
            while self._outbox:
                message = self._outbox.popleft()
                await self._send(message)
                if message["event"] == "mark":
                    self.echoed.append(message["mark"]["name"])
            while begin + (self.frames_sent + 1) * FRAME <= self.line.now * RATE:
                await self._send_frame(begin + self.frames_sent * FRAME)
                if junk and self.frames_sent % JUNK_EVERY == 0:
                    await self._send_junk(junk.popleft())
            pause = (begin + (self.frames_sent + 1) * FRAME) / RATE - self.line.now
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause)):
                    await self._wake.wait()

    async def _send_frame(self, start: int) -> None:
        payload = base64.b64encode(self.line.spoken(start, FRAME)).decode("ascii")
        timestamp, self.frames_sent = self.frames_sent * 20, self.frames_sent + 1
        media = {
            "track": "inbound",
            "chunk": str(self.frames_sent),
            "timestamp": str(timestamp),
            "payload": payload,
        }
        await self._send({"event": "media", "media": media})

    async def _send(self, message: dict[str, Any], *, numbered: bool = True) -> None:
        assert self._socket is not None  # noqa: S101 set by run
        if numbered:
            self._sequence += 1
            message = {
                "event": message["event"],
                "sequenceNumber": str(self._sequence),
                **{name: value for name, value in message.items() if name != "event"},
                "streamSid": self.stream_sid,
            }
        await self._socket.send_str(json.dumps(message, separators=(",", ":")))

    async def _send_junk(self, junk: str | bytes) -> None:
        assert self._socket is not None  # noqa: S101 set by run
        if isinstance(junk, bytes):
            await self._socket.send_bytes(junk)
        else:
            await self._socket.send_str(junk.replace("STREAM", self.stream_sid))

    async def _stop(self) -> None:
        """Take leave, should the application still be there."""
        assert self._socket is not None  # noqa: S101 set by run
        if self._socket.closed or self.closed_by:
            return
        self.closed_by = "carrier"
        if self.started.is_set():
            message = {"event": "stop", "stop": {"accountSid": self.account_sid, "callSid": self.call_sid}}
            with suppress(TimeoutError, ConnectionError, aiohttp.ClientError):
                async with asyncio.timeout(CLOSE_LIMIT):
                    await self._send(message)

    async def _read(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        async for message in connection:
            if (
                self.faults.unread_after is not None
                and self.frames_sent * FRAME >= self.faults.unread_after * RATE
            ):
                await asyncio.Event().wait()
            if message.type == aiohttp.WSMsgType.TEXT:
                complaint = self._receive(message.data)
                if complaint:
                    self._complain(31951, f"Stream - Protocol - Invalid Message: {complaint}")
            elif message.type == aiohttp.WSMsgType.BINARY:
                self._complain(31950, "Stream - Protocol - Malformed Message: binary")
        self._wake.set()

    def _receive(self, text: str) -> str:
        """Carry out a message of the application; returns what is wrong with it, and then does nothing."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return "not JSON"
        if not isinstance(message, dict):
            return "not an object"
        if not self.bidirectional:
            return "this stream goes one way"
        complaint, event, detail = _check(message, self.stream_sid)
        if complaint:
            return complaint
        self.stamp(event, self.call_sid)
        self.received[event] = self.received.get(event, 0) + 1
        match event, detail:
            case "media", bytes(audio):
                self.audio_received += len(audio)
                self.arrivals.append((time.monotonic(), audio))
                self.line.play(audio)
            case "mark", str(name):
                self.marks.append(name)
                self.line.mark(lambda: self._echo(name))
            case _:
                self.line.clear()
        return ""

    def _echo(self, name: str) -> None:
        if not self.faults.no_marks:
            self._put({"event": "mark", "mark": {"name": name}})

    def _put(self, message: dict[str, Any]) -> None:
        self._outbox.append(message)
        self._wake.set()

    def _complain(self, code: int, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            self.note(Problem(code, text))

    def _fail(self, problem: Problem) -> None:
        self.problem = problem
        self.note(problem)

    def _judge_end(self) -> None:
        """Say who ended the stream. That the application closes it in good order is how it gives the call back."""
        assert self._socket is not None  # noqa: S101 set by run
        self.close_code = self._socket.close_code
        if self.closed_by:
            return
        self.closed_by = "application"
        if self.close_code not in NORMAL_CLOSE:
            self._fail(Problem(31921, f"Stream - WebSocket - Close Error: code {self.close_code}"))


class _Refused(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(code, text)


_FIELDS = {"media": {"payload"}, "mark": {"name"}}


def _check(message: Mapping[str, Any], stream_sid: str) -> tuple[str, str, bytes | str | None]:
    """What is wrong with a message, its event, and its audio or its mark's name."""
    event = message.get("event")
    if event not in ("media", "mark", "clear"):
        return f"unknown event {event!r}"[:100], "", None
    wanted = {"event", "streamSid"} | ({event} & _FIELDS.keys())
    if extra := set(message) ^ wanted:
        return f"{event}: missing or extra {', '.join(sorted(extra))}"[:200], event, None
    if message["streamSid"] != stream_sid:
        return f"{event}: wrong streamSid", event, None
    if event == "clear":
        return "", event, None
    body = message[event]
    if not isinstance(body, dict) or set(body) != _FIELDS[event]:
        return f"{event}: missing or extra fields in {event}", event, None
    (value,) = body.values()
    if not isinstance(value, str) or not value:
        return f"{event}: its value is not text", event, None
    return ("", event, value) if event == "mark" else _check_audio(value)


def _check_audio(payload: str) -> tuple[str, str, bytes | None]:
    try:
        audio = binascii.a2b_base64(payload, strict_mode=True)
    except ValueError:
        return "media: payload is not base64", "media", None
    if not audio:
        return "media: no audio", "media", None
    if audio[:4] in (b"RIFF", b"OggS", b"fLaC") or audio[:3] == b"ID3":
        return "media: payload has a file header; it has to be bare mu-law", "media", None
    return "", "media", audio
