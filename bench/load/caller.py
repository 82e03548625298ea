"""One call on Twilio's side: a telephone that plays what comes, and a caller who follows the script."""

import binascii
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from load.http import now
from load.script import Script
from load.sound import FRAME, FRAME_MS, RATE, SILENCE, is_loud, number_in, utterance
from load.websocket import NO_MASK, Broken, frame

_PREBUFFER = 2 * FRAME
"""The telephone begins to play once it has 40 ms, or 40 ms after the first of it came."""
_PREBUFFER_SECONDS = 0.04
_EARLY_MS = 300
"""What is heard sooner after the caller's last sound is left over from the reply before."""
_NUMBERED = 40 * FRAME
"""So much of a reply is listened to for its number."""
_SHORTEST_NUMBERED = 16 * FRAME
_STALLED_TICKS = 3000
_MEDIA = b'{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"'
_FIELDS = {"media": {"payload"}, "mark": {"name"}}


class State(Enum):
    """Where a caller is in the script."""

    LISTENING = 0
    """To the greeting."""
    SPEAKING = 1
    WAITING = 2
    """For the first sound of the reply."""
    HEARING = 3
    PAUSING = 4
    OVER = 5


# A member that is looked up in its class costs more than all else that a frame of silence does.
LISTENING, SPEAKING, WAITING, HEARING, PAUSING, OVER = State


@dataclass
class Figures:
    """What all calls of a run have measured; only while `counting`. Times in milliseconds."""

    counting: bool = False
    turns: list[float] = field(default_factory=list)
    """The caller's last frame to the first audible message of the reply."""
    clears: list[float] = field(default_factory=list)
    """The first frame of a barge-in to `clear`."""
    hushes: list[float] = field(default_factory=list)
    """The same, to the end of the last sound that was played."""
    setups: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """By how much frames left after they were due: of the load, not of the service."""
    agent_ticks: int = 0
    starved_ticks: int = 0
    starvations: int = 0
    leaked_ms: int = 0
    """Sound that came after `clear`."""
    never_cleared: int = 0
    missed: int = 0
    """Replies that did not come."""
    stalled: int = 0
    wrong: int = 0
    """Replies to another turn, or that could not be told whose they are."""
    foreign: int = 0
    """Replies to another call."""
    right: int = 0
    spoken: dict[tuple[int, int], float] = field(default_factory=dict)
    """When each utterance was over, in the whole run."""
    messages: int = 0
    audio_bytes: int = 0
    frames: int = 0
    dropped: int = 0
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, measured: list[float], value: float) -> None:
        """Note a time, if it counts."""
        if self.counting:
            measured.append(value)


class Caller:
    """One call, once its media stream is open.

    Args:
        script: What happens in it.
        figures: Where it is measured.
        number: The call's number.
        call_sid: Twilio's id of it.
        write: Sends bytes to the service.
    """

    def __init__(
        self, script: Script, figures: Figures, number: int, call_sid: str, write: Callable[[bytes], None]
    ) -> None:
        self.state = LISTENING
        self.call_sid = call_sid
        self._script, self._figures, self._number, self._write = script, figures, number, write
        self._stream_sid = f"MZ{number:032x}"
        self._tail = f'"}},"streamSid":"{self._stream_sid}"}}'.encode()
        self._sequence = self._chunks = 0
        self._ticks = self._since = 0
        self._speech: list[bytes] = []
        self._turn = 0
        # Not all calls are talked over at the same reply.
        self._replies = number % script.barge_every if script.barge_every else 0
        self._buffer: deque[list[Any] | str] = deque()
        """What is to be played: bytes left and whether they can be heard; or the name of a mark."""
        self._buffered = 0
        self._playing = False
        self._first_came = 0.0
        self._in_reply = False
        self._quiet_ticks = self._loud_ticks = 0
        self._last_loud = self._last_word = self._barged_at = 0.0
        self._barging = self._cleared = False
        self._heard: bytearray | None = None
        """The beginning of the reply, until its number is known."""

    def start(self, account: str, parameters: dict[str, str]) -> None:
        """Say which call the stream carries."""
        self._put({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        about = {"accountSid": account, "streamSid": self._stream_sid, "callSid": self.call_sid}
        shape = {"encoding": "audio/x-mulaw", "sampleRate": RATE, "channels": 1}
        start = {**about, "tracks": ["inbound"], "mediaFormat": shape, "customParameters": parameters}
        self._put_numbered("start", start=start)

    def stop(self, account: str) -> None:
        """Hang up."""
        self.state = OVER
        self._put_numbered("stop", stop={"accountSid": account, "callSid": self.call_sid})

    def _put(self, message: dict[str, Any]) -> None:
        self._write(frame(json.dumps(message).encode(), client=True))

    def _put_numbered(self, event: str, **fields: Any) -> None:
        self._sequence += 1
        number = str(self._sequence)
        self._put({"event": event, "sequenceNumber": number, **fields, "streamSid": self._stream_sid})

    def receive(self, text: bytes) -> None:
        """Take a message of the service. Raises `Broken` when Twilio would not."""
        try:
            message = json.loads(text)
            event = message["event"]
        except (ValueError, TypeError, KeyError):
            raise Broken("a message is no JSON with an event") from None
        if message.get("streamSid") != self._stream_sid or set(message) != {"event", "streamSid"} | (
            {event} & _FIELDS.keys()
        ):
            raise Broken(f"{event!r:.40} of another stream, or with missing or extra fields")
        at = now()
        if self._figures.counting:
            self._figures.messages += 1
        match event:
            case "media":
                self._take_audio(message["media"]["payload"], at)
            case "mark":
                self._buffer.append(message["mark"]["name"])
            case "clear":
                self._take_clear(at)
            case _:
                raise Broken(f"unknown event {event!r:.40}")

    def _take_audio(self, payload: str, at: float) -> None:
        try:
            audio = binascii.a2b_base64(payload, strict_mode=True)
        except ValueError:
            audio = b""
        if not audio:
            raise Broken("media without audio in base64")
        if self._figures.counting:
            self._figures.audio_bytes += len(audio)
        loud = is_loud(audio)
        if loud:
            self._hear(len(audio), at)
        if self._heard is not None and self.state is HEARING:
            self._look_for_number(audio)
        if not self._buffer:
            self._first_came = at
        self._buffer.append([len(audio), loud])
        self._buffered += len(audio)

    def _hear(self, size: int, at: float) -> None:
        """Sound of the agent has come."""
        waited = (at - self._last_word) * 1000
        early = self.state is not WAITING or waited < _EARLY_MS
        if self._barging and (self._cleared or self.state is WAITING) and early:
            self._figures.leaked_ms += size * 1000 // RATE
            return
        if self.state is WAITING:
            if early:
                self._figures.errors["sound before an answer was due"] += 1
                return
            self._end_barge_in()
            self._figures.add(self._figures.turns, waited)
            self._replies += 1
            self._loud_ticks = 0
            self._heard = bytearray()
            self._go(HEARING)
        self._in_reply = True

    def _look_for_number(self, audio: bytes) -> None:
        assert self._heard is not None
        self._heard += audio
        if len(self._heard) < _SHORTEST_NUMBERED:
            return
        number = number_in(bytes(self._heard[:_NUMBERED]))
        if number is not None or len(self._heard) >= _NUMBERED:
            self._judge(number)

    def _judge(self, number: tuple[int, int] | None) -> None:
        """Whether the reply is one to what this caller has just said."""
        self._heard = None
        if not self._figures.counting:
            return
        if number == (self._number, self._turn):
            self._figures.right += 1
        elif number is not None and number[0] != self._number:
            self._figures.foreign += 1
            self._figures.errors[f"call {self._number} heard a reply to call {number[0]}"] += 1
        else:
            self._figures.wrong += 1

    def _take_clear(self, at: float) -> None:
        for entry in self._buffer:
            if isinstance(entry, str):
                self._echo(entry)
        self._buffer.clear()
        self._buffered = 0
        if self._barging and not self._cleared:
            self._cleared = True
            self._figures.add(self._figures.clears, (at - self._barged_at) * 1000)

    def _end_barge_in(self) -> None:
        if self._barging:
            self._barging = False
            if self._figures.counting:
                hush = (self._last_loud - self._barged_at) * 1000 + FRAME_MS
                self._figures.hushes.append(hush)
                self._figures.never_cleared += not self._cleared

    def _echo(self, name: str) -> None:
        self._put_numbered("mark", mark={"name": name})

    def _go(self, state: State) -> None:
        self.state, self._since = state, self._ticks
        if state is SPEAKING:
            if self._heard is not None:
                self._judge(number_in(bytes(self._heard)))
            self._turn = (self._turn + 1) % 256
            self._speech = utterance(self._number, self._turn)[::-1]

    def tick(self, at: float) -> None:
        """20 ms have passed: play, and send a frame."""
        self._ticks += 1
        self._play(at)
        self._follow_script(at)
        payload = SILENCE
        if self.state is SPEAKING:
            payload = self._speech.pop()
            if not self._speech:
                self._last_word = at
                self._figures.spoken[self._number, self._turn] = at
                self._in_reply, self._quiet_ticks = False, 0
                self._go(WAITING)
        self._sequence += 1
        self._chunks += 1
        body = b"".join(
            (_MEDIA % (self._sequence, self._chunks, (self._chunks - 1) * FRAME_MS), payload, self._tail)
        )
        self._write(b"\x81\xfe" + len(body).to_bytes(2, "big") + NO_MASK + body)
        if self._figures.counting:
            self._figures.frames += 1

    def _follow_script(self, at: float) -> None:
        script, state = self._script, self.state
        if state is SPEAKING:
            return
        passed = (self._ticks - self._since) * FRAME_MS
        if state is LISTENING:
            greeted = passed >= script.greeting_begins or self._loud_ticks > 0
            if passed >= script.listen_first and greeted and not self._in_reply and not script.silent:
                self._go(SPEAKING)
        elif state is HEARING:
            every = script.barge_every
            barges = every and self._replies % every == 0
            if barges and self._loud_ticks * FRAME_MS >= script.barge_after:
                self._barging, self._cleared, self._barged_at = True, False, at
                self._go(SPEAKING)
            elif not self._in_reply:
                self._go(PAUSING)
            elif self._ticks - self._since > _STALLED_TICKS:
                self._figures.stalled += 1
                self._go(SPEAKING)
        elif state is PAUSING:
            if passed >= script.pause:
                self._go(SPEAKING)
        elif passed > script.patience:
            self._end_barge_in()
            self._figures.missed += self._figures.counting
            self._go(SPEAKING)

    def _play(self, at: float) -> None:
        buffer = self._buffer
        while buffer and isinstance(buffer[0], str):
            self._echo(buffer.popleft())  # type: ignore[arg-type] # a mark, as was just seen
        if not self._playing:
            if not buffer or (self._buffered < _PREBUFFER and at - self._first_came < _PREBUFFER_SECONDS):
                return
            self._playing = True
        loud = self._take_frame()
        figures = self._figures
        if loud:
            if self._quiet_ticks and self._in_reply and self._loud_ticks and figures.counting:
                figures.starved_ticks += self._quiet_ticks
                figures.starvations += 1
            self._quiet_ticks = 0
            self._loud_ticks += 1
            self._last_loud = at
            figures.agent_ticks += figures.counting
            return
        self._quiet_ticks += 1
        if self._quiet_ticks * FRAME_MS >= self._script.reply_over:
            self._in_reply, self._quiet_ticks, self._playing = False, 0, False

    def _take_frame(self) -> bool:
        """Play 20 ms; whether any of it can be heard."""
        need, loud, buffer = FRAME, False, self._buffer
        while need and buffer:
            entry = buffer[0]
            if isinstance(entry, str):
                self._echo(entry)
                buffer.popleft()
                continue
            taken = min(need, entry[0])
            need -= taken
            entry[0] -= taken
            loud |= entry[1]
            if not entry[0]:
                buffer.popleft()
        self._buffered -= FRAME - need
        return loud
