"""Twilio Media Streams, the server's side, without I/O.

The carrier opens a WebSocket and sends `connected`, then `start`, then `media`, `dtmf` and `mark` in any order, then
`stop`. All messages are JSON text, and numbers in them are strings. What goes back is `media`, `mark` and `clear`,
each with the stream's id, so nothing can be sent before `start`.

Fifty messages a second and call are `media` in one fixed layout. They take a path of their own: a regular expression
that matches nothing but that layout, without escapes, so that it cannot read a message otherwise than JSON would.
"""

import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from openclaw_voicecall.api.carrier import (
    AudioReceived,
    DtmfPressed,
    MarkEchoed,
    MediaEvent,
    StreamStarted,
    StreamStopped,
)
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError

MAX_CHARS_BEFORE_START = 64 * 1024
"""A stranger may send no more than this in one message before a valid `start`."""
MAX_CHARS = 256 * 1024
"""Largest message of a running stream, in characters; a frame of 20 ms has about 400."""
MAX_TEXT = 512
"""Longest id, mark name or parameter, in characters. The carrier's own bound for name and value is 500."""
MAX_PARAMETERS = 64
MAX_DIGITS = 15
"""Decimal digits of a time in milliseconds; more would not be exact as `float`."""

_DTMF = frozenset("0123456789*#ABCD")
_MEDIA_LAYOUT = re.compile(
    r'\{"event":"media","sequenceNumber":"[0-9]{1,15}",(?:"streamSid":"([A-Za-z0-9]+)",)?'
    r'"media":\{"track":"inbound","chunk":"[0-9]{1,15}","timestamp":"([0-9]{1,15})",'
    r'"payload":"([A-Za-z0-9+/]+={0,2})"\}(?:,"streamSid":"([A-Za-z0-9]+)")?\}'
)
"""The stream's id comes before or behind the audio, depending on the carrier; without one JSON has to decide."""


class MediaStreamsCodec:
    """The wire format of one media stream of Twilio, or of a carrier that speaks like it.

    A message that Twilio would not send raises `RemoteProtocolError` and changes nothing, so the stream may go on.
    """

    def __init__(self) -> None:
        self._connected = False
        self._stopped = False
        self._stream_sid = ""
        self._quoted_sid = ""

    @property
    def stream_sid(self) -> str:
        """The carrier's id of the stream; empty before `start`."""
        return self._stream_sid

    def receive(self, message: str | bytes) -> Sequence[MediaEvent]:
        """Facts in one message of the carrier.

        Raises:
            RemoteProtocolError: The message is not one that the carrier may send now. The text is short and quotes
                nothing of the message, so that it can be logged.
        """
        if not isinstance(message, str):
            raise RemoteProtocolError("binary message")
        if len(message) > (MAX_CHARS if self._stream_sid else MAX_CHARS_BEFORE_START):
            raise RemoteProtocolError("message too large")
        if self._stopped:
            raise RemoteProtocolError("message after stop")
        heard = self.frame(message)
        return (AudioReceived(*heard),) if heard is not None else self._receive_any(_parse(message))

    def frame(self, message: str) -> tuple[bytes, float] | None:
        """The audio and the timestamp of a message in the layout that audio comes in; None for any other.

        Raises:
            RemoteProtocolError: The audio is not base64.
        """
        if not self._stream_sid or self._stopped or len(message) > MAX_CHARS:
            return None
        media = _MEDIA_LAYOUT.fullmatch(message)
        if media is None:
            return None
        before, timestamp, payload, behind = media.groups()
        named = before or behind
        if named != self._stream_sid or (behind is not None and behind != named):
            return None  # it names no stream, or another one besides
        return _decode(payload), int(timestamp) / 1000

    def audio(self, audio: bytes) -> str:
        """The message that plays mu-law 8 kHz audio of any length after what was sent before.

        Raises:
            LocalProtocolError: The stream has not started, or there is no audio.
        """
        self._require_start("audio")
        if not audio:
            raise LocalProtocolError("no audio to send")
        payload = binascii.b2a_base64(audio, newline=False).decode("ascii")
        return f'{{"event":"media","streamSid":{self._quoted_sid},"media":{{"payload":"{payload}"}}}}'

    def mark(self, name: str) -> str:
        """The message that asks for an echo of `name` once the audio sent so far was played or cleared.

        Raises:
            LocalProtocolError: The stream has not started, or the name is empty.
        """
        self._require_start("a mark")
        if not name:
            raise LocalProtocolError("a mark needs a name")
        return f'{{"event":"mark","streamSid":{self._quoted_sid},"mark":{{"name":{json.dumps(name)}}}}}'

    def clear(self) -> str:
        """The message that drops audio not played yet; the carrier echoes its marks at once.

        Raises:
            LocalProtocolError: The stream has not started.
        """
        self._require_start("clear")
        return f'{{"event":"clear","streamSid":{self._quoted_sid}}}'

    def _require_start(self, what: str) -> None:
        if not self._stream_sid:
            raise LocalProtocolError(f"{what} cannot be sent before the stream has started")

    def _receive_any(self, message: dict[str, Any]) -> Sequence[MediaEvent]:
        event = message.get("event")
        if event == "connected":
            return self._receive_connected(message)
        if not self._connected:
            raise RemoteProtocolError("first message is not connected")
        if event == "start":
            return (self._receive_start(message),)
        if event not in ("media", "dtmf", "mark", "stop"):
            raise RemoteProtocolError("unknown event")
        if not self._stream_sid:
            raise RemoteProtocolError(f"{event} before start")
        if message.get("streamSid") != self._stream_sid:
            raise RemoteProtocolError("wrong streamSid")
        match event:
            case "media":
                return _receive_media(_object(message, "media"))
            case "dtmf":
                return (DtmfPressed(_digit(_object(message, "dtmf"))),)
            case "mark":
                return (MarkEchoed(_text(_object(message, "mark"), "name")),)
        self._stopped = True
        return (StreamStopped(),)

    def _receive_connected(self, message: dict[str, Any]) -> Sequence[MediaEvent]:
        if self._connected:
            raise RemoteProtocolError("connected twice")
        if message.get("protocol") != "Call":
            raise RemoteProtocolError("unknown protocol")
        self._connected = True
        return ()

    def _receive_start(self, message: dict[str, Any]) -> StreamStarted:
        if self._stream_sid:
            raise RemoteProtocolError("start twice")
        start = _object(message, "start")
        stream_sid = _text(message, "streamSid")
        if start.get("streamSid") != stream_sid:
            raise RemoteProtocolError("wrong streamSid")
        call_sid = _text(start, "callSid")
        _require_mulaw(_object(start, "mediaFormat"))
        parameters = _parameters(start.get("customParameters"))
        self._stream_sid = stream_sid
        self._quoted_sid = json.dumps(stream_sid)
        return StreamStarted(call_sid, parameters)


def _parse(message: str) -> dict[str, Any]:
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError):  # ValueError: not JSON, or an integer of thousands of digits
        raise RemoteProtocolError("not JSON") from None
    if not isinstance(parsed, dict):
        raise RemoteProtocolError("not a JSON object")
    return parsed


def _object(message: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = message.get(key)
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"{key} is not an object")
    return value


def _text(message: Mapping[str, Any], key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or not value:
        raise RemoteProtocolError(f"{key} is not text")
    return _checked(value, key)


def _checked(value: str, what: str) -> str:
    """Refuse what no log, database or socket could take: huge texts and halves of surrogate pairs."""
    if len(value) > MAX_TEXT:
        raise RemoteProtocolError(f"{what} too long")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RemoteProtocolError(f"{what} is not Unicode") from None
    return value


def _parameters(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_PARAMETERS:
        raise RemoteProtocolError("customParameters is not a small object")
    for name, text in value.items():
        if not isinstance(text, str):
            raise RemoteProtocolError("a custom parameter is not text")
        _checked(name, "parameter name")
        _checked(text, "parameter")
    return dict(value)


def _require_mulaw(media_format: Mapping[str, Any]) -> None:
    """Other formats exist (an HD codec is an option of the carrier), but we never order them."""
    encoding = media_format.get("encoding")
    rate, channels = media_format.get("sampleRate"), media_format.get("channels")
    right_rate = rate == "8000" or (rate == 8000 and not isinstance(rate, bool))
    right_channels = channels == "1" or (channels == 1 and not isinstance(channels, bool))
    if encoding != "audio/x-mulaw" or not right_rate or not right_channels:
        raise RemoteProtocolError("mediaFormat is not audio/x-mulaw 8000 1")


def _receive_media(media: Mapping[str, Any]) -> Sequence[MediaEvent]:
    track = media.get("track", "inbound")
    if track == "outbound":  # our own audio, echoed when both tracks are ordered
        return ()
    if track != "inbound":
        raise RemoteProtocolError("unknown track")
    payload = media.get("payload")
    if not isinstance(payload, str) or not payload:
        raise RemoteProtocolError("payload is not text")
    timestamp = media.get("timestamp")
    if not isinstance(timestamp, str) or not (timestamp.isascii() and timestamp.isdecimal()):
        raise RemoteProtocolError("timestamp is not a number")
    if len(timestamp) > MAX_DIGITS:
        raise RemoteProtocolError("timestamp too large")
    return (AudioReceived(_decode(payload), int(timestamp) / 1000),)


def _decode(payload: str) -> bytes:
    try:
        return binascii.a2b_base64(payload, strict_mode=True)
    except ValueError:  # binascii.Error, or text that is not ASCII
        raise RemoteProtocolError("payload is not base64") from None


def _digit(dtmf: Mapping[str, Any]) -> str:
    digit = dtmf.get("digit")
    if not isinstance(digit, str) or digit not in _DTMF:
        raise RemoteProtocolError("unknown digit")
    return digit
