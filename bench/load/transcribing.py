"""OpenAI's realtime transcription with server VAD, with words that come from the sound itself."""

import binascii
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from load.http import Pending, now
from load.sound import FRAME, FRAME_MS, SILENCE, is_loud, number_in
from load.websocket import Broken

if TYPE_CHECKING:
    from load.vendors import Vendors

_APPEND = b'{"type":"input_audio_buffer.append","audio":"'
_APPEND_END = b'"}'
_DELTAS = 3
"""Pieces in which the words come before they are complete."""
_SHORTEST_MS = 100
"""Less sound than this is not committed."""
_SESSION = {"type", "audio", "include", "object", "id", "expires_at"}
_INPUT = {"format", "transcription", "turn_detection", "noise_reduction"}
_DETECTION = {
    "type",
    "threshold",
    "prefix_padding_ms",
    "silence_duration_ms",
    "create_response",
    "interrupt_response",
}


class Listening:
    """One session.

    Args:
        vendors: Whose it is.
        number: How many there were before.
    """

    def __init__(self, vendors: "Vendors", number: int) -> None:
        self._vendors = vendors
        self._latencies = vendors.script.latencies
        self._id = number
        self._send: Callable[[dict[str, Any]], None]
        self._events = self._items = 0
        self._ready = False
        self._server_vad, self._silence, self._padding = True, self._latencies.silence, 0
        self._pending: set[Pending] = set()
        self._tail = b""
        self._heard_ms = self._committed_ms = 0
        self._speech = bytearray()
        """Loud frames since the last commit."""
        self._talking = False
        self._loud_ms = self._quiet_ms = 0

    def opened(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._tell("session.created", session={"id": f"sess_{self._id}", "type": "transcription"})

    def closed(self) -> None:
        for pending in self._pending:
            pending.cancel()

    def receive(self, text: bytes) -> None:
        if text.startswith(_APPEND) and text.endswith(_APPEND_END):
            self._append(text[len(_APPEND) : -len(_APPEND_END)])
            return
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, TypeError, KeyError):
            raise Broken("a message to the transcriber is no JSON with a type") from None
        match kind:
            case "input_audio_buffer.append" if set(message) <= {"type", "audio", "event_id"}:
                self._append(message["audio"].encode())
            case "session.update":
                self._update(message)
            case "input_audio_buffer.commit":
                self._commit_asked(message)
            case "input_audio_buffer.clear":
                self._committed_ms = self._heard_ms
                self._speech.clear()
                self._tell("input_audio_buffer.cleared")
            case _:
                self._refuse(f"{kind!r:.60} is no message of a transcription session", message)

    def _tell(self, kind: str, **fields: Any) -> None:
        self._events += 1
        self._send({"type": kind, "event_id": f"event_{self._id}_{self._events}", **fields})

    def _refuse(self, why: str, message: dict[str, Any], code: str = "invalid_value") -> None:
        if code == "invalid_value":
            self._vendors.refused[f"transcriber: {why}"] += 1
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": why,
            "event_id": message.get("event_id"),
        }
        self._tell("error", error=error)

    def _update(self, message: dict[str, Any]) -> None:
        session = message.get("session")
        if why := _wrong(session):
            self._refuse(why, message)
            return
        detection = session["audio"]["input"].get("turn_detection")
        self._server_vad = detection is not None
        if detection is not None:
            self._silence = detection.get("silence_duration_ms", self._latencies.silence)
            self._padding = detection.get("prefix_padding_ms", 300)
        self._ready = True
        self._tell("session.updated", session=session)

    def _append(self, payload: bytes) -> None:
        if not self._ready:
            raise Broken("audio before the session was set up")
        if payload == SILENCE and not self._tail:  # half of all there is
            self._hear_silence()
            return
        try:
            audio = self._tail + binascii.a2b_base64(payload, strict_mode=True)
        except binascii.Error:
            raise Broken("audio that is not base64") from None
        whole = len(audio) - len(audio) % FRAME
        for at in range(0, whole, FRAME):
            self._hear(audio[at : at + FRAME])
        self._tail = audio[whole:]

    def _hear(self, frame: bytes) -> None:
        if not is_loud(frame):
            self._hear_silence()
            return
        self._heard_ms += FRAME_MS
        self._speech += frame
        self._loud_ms, self._quiet_ms = self._loud_ms + FRAME_MS, 0
        if not self._talking and self._loud_ms >= self._latencies.speech_start:
            self._begin()

    def _hear_silence(self) -> None:
        self._heard_ms += FRAME_MS
        self._quiet_ms += FRAME_MS
        if not self._talking:
            self._loud_ms = max(0, self._loud_ms - FRAME_MS)
        elif self._quiet_ms >= self._silence:
            self._stop()

    def _begin(self) -> None:
        self._talking = True
        self._items += 1
        if self._server_vad:
            begun = max(0, self._heard_ms - self._loud_ms - self._padding)
            self._tell("input_audio_buffer.speech_started", item_id=self._item, audio_start_ms=begun)

    def _stop(self) -> None:
        self._talking, self._loud_ms = False, 0
        if self._server_vad:
            self._tell("input_audio_buffer.speech_stopped", item_id=self._item, audio_end_ms=self._heard_ms)
            self._commit()

    @property
    def _item(self) -> str:
        return f"item_{self._id}_{self._items}"

    def _commit_asked(self, message: dict[str, Any]) -> None:
        if self._heard_ms - self._committed_ms < _SHORTEST_MS:
            why = "Error committing input audio buffer: buffer too small."
            self._refuse(why, message, "input_audio_buffer_commit_empty")
            return
        if not self._talking:
            self._items += 1
        self._talking, self._loud_ms = False, 0
        self._commit()

    def _commit(self) -> None:
        """Transcribe what was said since the last commit, in the time that takes."""
        item, begun = self._item, now()
        self._committed_ms = self._heard_ms
        number = number_in(bytes(self._speech)) if self._speech else None
        text = self._vendors.transcript_of(number) if self._speech else ""
        self._speech.clear()
        self._tell("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        content = {"id": item, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        self._tell("conversation.item.added", item=content)
        words, takes = text.split(), self._latencies.transcript / 1000
        for part in range(_DELTAS):
            piece = words[part * len(words) // _DELTAS : (part + 1) * len(words) // _DELTAS]
            if piece:
                self._later(
                    begun + takes * (part + 1) / (_DELTAS + 1), item, "delta", delta=" ".join(piece) + " "
                )
        usage = {
            "type": "tokens",
            "input_tokens": 15,
            "output_tokens": len(words),
            "total_tokens": 15 + len(words),
        }
        self._later(begun + takes, item, "completed", transcript=text, usage=usage)

    def _later(self, when: float, item: str, what: str, **fields: Any) -> None:
        def act() -> None:
            self._pending.discard(pending)
            kind = f"conversation.item.input_audio_transcription.{what}"
            self._tell(kind, item_id=item, content_index=0, **fields)

        pending = self._vendors.timing.at(when, act)
        self._pending.add(pending)


def _wrong(session: Any) -> str:
    """What is wrong with the settings of a session; empty when nothing is."""
    if not isinstance(session, dict) or session.get("type") != "transcription":
        return "session.type has to be 'transcription'"
    given = session.get("audio", {}).get("input") if isinstance(session.get("audio"), dict) else None
    if not isinstance(given, dict):
        return "session.audio.input is missing"
    detection = given.get("turn_detection") or {}
    if extra := (set(session) - _SESSION) | (set(given) - _INPUT) | (set(detection) - _DETECTION):
        return f"unknown parameter {min(extra)!r}"
    if given.get("format") != {"type": "audio/pcmu"}:
        return "this session hears audio/pcmu only, and that takes no rate"
    if not isinstance(given.get("transcription"), dict) or not given["transcription"].get("model"):
        return "session.audio.input.transcription.model is missing"
    if detection and detection.get("type") != "server_vad":
        return "turn_detection.type has to be 'server_vad'"
    return ""
