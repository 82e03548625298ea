"""The messages of a Twilio media stream, as Twilio's side writes and reads them.

Written from the carrier's documents and apart from the service's codec, so that the two check each other. What the
service sends is taken strictly: anything the documents do not name is refused.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openclaw_voicecall.errors import RemoteProtocolError

ACCOUNT_SID = "AC" + "0" * 32
MAX_NAME = 512


@dataclass(frozen=True, slots=True)
class PlayAudio:
    """The service sends audio to be played."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class PutMark:
    """The service wants to know when the audio so far was played."""

    name: str


@dataclass(frozen=True, slots=True)
class ClearBuffer:
    """The service wants the audio not played yet to be dropped."""


Order = PlayAudio | PutMark | ClearBuffer


class StreamMessages:
    """Writes one stream's messages, with its ids and running numbers, and reads the service's."""

    def __init__(self, stream_sid: str, call_sid: str) -> None:
        self._stream_sid = stream_sid
        self._call_sid = call_sid
        self._sequence = 0
        self._chunk = 0

    def connected(self) -> str:
        """The first message."""
        return json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self, parameters: Mapping[str, str]) -> str:
        """The second message: whose stream this is, and the parameters of the order."""
        start = {
            "accountSid": ACCOUNT_SID,
            "streamSid": self._stream_sid,
            "callSid": self._call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(parameters),
        }
        return self._message("start", start)

    def media(self, frame: bytes, milliseconds: int) -> str:
        """20 ms of what the phone says, beginning so many milliseconds after the stream's start."""
        self._chunk += 1
        payload = base64.b64encode(frame).decode("ascii")
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(milliseconds),
            "payload": payload,
        }
        return self._message("media", media)

    def dtmf(self, digit: str) -> str:
        """A key was pressed."""
        return self._message("dtmf", {"track": "inbound_track", "digit": digit})

    def mark(self, name: str) -> str:
        """The audio before a mark was played or cleared."""
        return self._message("mark", {"name": name})

    def stop(self) -> str:
        """The last message."""
        return self._message("stop", {"accountSid": ACCOUNT_SID, "callSid": self._call_sid})

    def read(self, text: str) -> Order:
        """What the service wants.

        Raises:
            RemoteProtocolError: The message is not one that Twilio takes; the text says what is wrong.
        """
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise RemoteProtocolError("not JSON") from None
        if not isinstance(message, dict):
            raise RemoteProtocolError("not a JSON object")
        event = message.get("event")
        if event not in ("media", "mark", "clear"):
            raise RemoteProtocolError(f"unknown event {str(event)[:40]!r}")
        if message.get("streamSid") != self._stream_sid:
            raise RemoteProtocolError(f"{event} without the streamSid of this stream")
        match event:
            case "media":
                return PlayAudio(_audio(_body(message, "media", "payload")))
            case "mark":
                return PutMark(_name(_body(message, "mark", "name")))
        if set(message) != {"event", "streamSid"}:
            raise RemoteProtocolError("clear with unknown keys")
        return ClearBuffer()

    def _message(self, event: str, body: dict[str, Any]) -> str:
        self._sequence += 1
        message = {
            "event": event,
            "sequenceNumber": str(self._sequence),
            "streamSid": self._stream_sid,
            event: body,
        }
        return json.dumps(message, separators=(",", ":"))


def _body(message: dict[str, Any], event: str, key: str) -> Any:
    body = message.get(event)
    if set(message) != {"event", "streamSid", event} or not isinstance(body, dict) or set(body) != {key}:
        raise RemoteProtocolError(f"{event} must have streamSid and {event}.{key} and nothing else")
    return body[key]


def _audio(payload: Any) -> bytes:
    if not isinstance(payload, str) or not payload:
        raise RemoteProtocolError("media without a payload")
    try:
        audio = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise RemoteProtocolError("payload is not base64") from None
    if audio[:4] in (b"RIFF", b"fLaC", b"OggS") or audio[:3] == b"ID3":
        raise RemoteProtocolError("payload begins with a file header; it must be raw mu-law audio")
    return audio


def _name(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise RemoteProtocolError("mark without a name")
    return name
