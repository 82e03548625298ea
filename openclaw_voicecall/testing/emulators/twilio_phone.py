"""The person at the far end of an emulated call: an ear that keeps every sample, a mouth, fingers."""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from openclaw_voicecall.testing.emulators.clips import ClipBook

RATE = 8000
"""Mu-law samples, and bytes, a second."""
FRAME = 160
"""Bytes of 20 ms."""
SILENCE = b"\xff"
TICK = 0.02
AUDIBLE = 0x18
"""Steps of mu-law above silence from which a sample is heard: 172 of 32768."""
PRESS = 0.1
"""Seconds that a key is held, and again until the next one."""


class Ended(Exception):
    """The call ended while the person was busy with it."""


class Line:
    """The audio of one call: what the person hears, to the sample, and what the person says.

    Everything lies on one time axis that starts when the call is answered. What is played takes exactly the time it
    lasts; where nothing is played there is silence.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start = clock()
        self._end: float | None = None
        self.ended = asyncio.Event()
        self._heard = bytearray()
        self._waiting: deque[bytes | Callable[[], None]] = deque()
        self.said: list[tuple[float, bytes]] = []
        self.room: Room | None = None

    @property
    def now(self) -> float:
        """Seconds since the call was answered; stands still once it is over."""
        return (self._clock() if self._end is None else self._end) - self._start

    @property
    def over(self) -> bool:
        """Whether the call is over."""
        return self._end is not None

    @property
    def heard(self) -> bytearray:
        """Mu-law audio that reached the person until now."""
        self.advance()
        return self._heard

    @property
    def playing(self) -> bool:
        """Whether something is still to be heard."""
        self.advance()
        return any(isinstance(item, bytes) for item in self._waiting)

    @property
    def waiting(self) -> float:
        """Seconds of audio that are still to be heard."""
        self.advance()
        return sum(len(item) for item in self._waiting if isinstance(item, bytes)) / RATE

    def play(self, audio: bytes) -> None:
        """Play audio after what is already waiting."""
        self.advance()
        self._waiting.append(bytes(audio))

    def mark(self, reached: Callable[[], None]) -> None:
        """Call back when everything before this was played."""
        self._waiting.append(reached)
        self.advance()

    def clear(self) -> None:
        """Drop what was not played yet. Marks in it are reached at once, in order."""
        self.advance()
        dropped, self._waiting = self._waiting, deque()
        for item in dropped:
            if not isinstance(item, bytes):
                item()

    def advance(self) -> None:
        """Play until now."""
        due = math.floor(self.now * RATE + 1e-6)
        while self._waiting:
            item = self._waiting[0]
            if not isinstance(item, bytes):
                self._waiting.popleft()
                item()
                continue
            room = due - len(self._heard)
            if room <= 0:
                return
            self._heard += item[:room]
            if len(item) > room:
                self._waiting[0] = item[room:]
            else:
                self._waiting.popleft()
        self._heard += SILENCE * (due - len(self._heard))

    def spoken(self, start: int, count: int) -> bytes:
        """What comes of the person in `count` samples from sample `start` on: the voice, and the room around it."""
        out = bytearray(SILENCE * count)
        for at, audio in reversed(self.said):
            begin = round(at * RATE)
            if begin + len(audio) <= start:
                break
            low, high = max(begin, start), min(begin + len(audio), start + count)
            if low < high:
                out[low - start : high - start] = audio[low - begin : high - begin]
        return bytes(out) if self.room is None else self.room(start, bytes(out))

    @property
    def speaking_until(self) -> float:
        """When the person's last words end, in seconds since the answer; 0 when nothing was said."""
        if not self.said:
            return 0.0
        at, audio = self.said[-1]
        return at + len(audio) / RATE

    def end(self) -> None:
        """Nothing is heard or said from now on."""
        if self._end is None:
            self._end = self._clock()
            self.advance()
            self._waiting.clear()
            self.ended.set()


Room = Callable[[int, bytes], bytes]
"""What the microphone of a telephone makes of a voice: takes the number of its first sample and the voice, and gives
what is sent, as long as that; with the noise around it, say, or what comes back of what is heard."""


class Hand(Protocol):
    """What a person can do to the call besides talking."""

    def press(self, digit: str) -> None:
        """A key was pressed."""

    def hang_up(self) -> None:
        """The person hung up."""

    def cut_stream(self) -> None:
        """The network broke the media socket."""


class Person:
    """Somebody with a phone. A script for one is `async def somebody(phone: Person) -> None`.

    When the script returns the person stays on the line and says nothing more. Every method raises `Ended` when the
    call ends meanwhile, which a script need not catch.

    Args:
        line: The call's audio.
        hand: The call.
        number: The person's own number.
    """

    def __init__(self, line: Line, hand: Hand, number: str) -> None:
        self.number = number
        self._line = line
        self._hand = hand
        self._listened = 0
        self._scanned = 0

    @property
    def heard(self) -> bytearray:
        """Everything heard since the call was answered, mu-law at 8000 Hz; 0xFF where there was nothing."""
        return self._line.heard

    @property
    def said(self) -> list[tuple[float, bytes]]:
        """What was said: seconds since the answer, and the audio."""
        return self._line.said

    @property
    def now(self) -> float:
        """Seconds since the call was answered."""
        return self._line.now

    def sit_in(self, room: Room) -> None:
        """Be somewhere from now on where more is to be heard than the person's voice."""
        self._line.room = room

    async def say(self, audio: bytes) -> None:
        """Say mu-law audio; returns when it is said."""
        await self.wait(self._line.speaking_until - self.now)
        self._line.said.append((math.ceil(self.now * RATE) / RATE, bytes(audio)))
        await self.wait(self._line.speaking_until - self.now)
        self._listened = len(self.heard)

    async def wait(self, seconds: float) -> None:
        """Be silent for a while."""
        until = self.now + seconds
        while self.now < until:
            self._require_call()
            await asyncio.sleep(min(TICK, max(0.0, until - self.now)))
        self._require_call()

    async def wait_for_agent(self, quiet: float = 0.7, timeout: float = 15.0) -> bytes:  # noqa: ASYNC109 as for all waits
        """Wait until the agent has spoken and then been quiet for this long.

        Counted is what is heard since the person last said something, or since this was last waited for.

        Returns:
            What the agent said, from its first sound to its last.

        Raises:
            TimeoutError: It did not come in time.
        """
        sounds = _Sounds(self._listened)
        async with asyncio.timeout(timeout):
            while True:
                heard = self.heard
                sounds.follow(heard)
                if sounds.first is not None and len(heard) - sounds.last >= quiet * RATE:
                    self._listened = len(heard)
                    return bytes(heard[sounds.first : sounds.last])
                self._require_call()
                await asyncio.sleep(TICK)

    async def wait_for_sound(self, timeout: float = 15.0) -> float:  # noqa: ASYNC109 as for all waits
        """Wait until the agent begins to speak; returns when that was, in seconds since the answer.

        Raises:
            TimeoutError: It did not come in time.
        """
        sounds = _Sounds(self._listened)
        async with asyncio.timeout(timeout):
            while True:
                sounds.follow(self.heard)
                if sounds.first is not None:
                    return sounds.first / RATE
                self._require_call()
                await asyncio.sleep(TICK)

    async def wait_until_heard(
        self,
        text: str,
        clips: ClipBook,
        timeout: float = 15.0,  # noqa: ASYNC109 as for all waits
    ) -> None:
        """Wait until these words were heard, after those that were last waited for.

        Args:
            text: All the words of a clip, which then has to be heard to its last sample, or some words of one.
            clips: Knows the audio.
            timeout: Seconds.

        Raises:
            TimeoutError: They did not come in time; the message says what was heard.
        """
        found: list[str] = []
        try:
            async with asyncio.timeout(timeout):
                while True:
                    heard = bytes(self.heard[self._scanned :])
                    finds = clips.read(heard)
                    found = [find.text for find in finds]
                    for find in finds:
                        if find.whole if text == find.clip else text in find.text:
                            self._scanned += find.end
                            return
                    self._require_call()
                    await asyncio.sleep(5 * TICK)
        except TimeoutError:
            raise TimeoutError(f"{text!r} was not heard in {timeout:g} s; heard was: {found}") from None

    async def listen(self) -> None:
        """Stay on the line until the call is over."""
        await self._line.ended.wait()

    async def press(self, digits: str) -> None:
        """Press keys, one after the other."""
        for digit in digits:
            self._require_call()
            self._hand.press(digit)
            await self.wait(2 * PRESS)

    def hang_up(self) -> None:
        """End the call."""
        self._hand.hang_up()

    def cut_stream(self) -> None:
        """Break the TCP connection of the media stream, without a `stop`, as a bad network does."""
        self._hand.cut_stream()

    def _require_call(self) -> None:
        if self._line.over:
            raise Ended


@dataclass(slots=True)
class _Sounds:
    """Where the first and last audible samples are."""

    at: int
    first: int | None = None
    last: int = 0

    def follow(self, heard: bytearray) -> None:
        """Look at what came since the last time."""
        new = heard[self.at :].translate(_AUDIBLE)
        begin, end = new.find(1), new.rfind(1)
        if end >= 0:
            self.first = self.at + begin if self.first is None else self.first
            self.last = self.at + end + 1
        self.at = len(heard)


_AUDIBLE = bytes((~byte & 0x7F) >= AUDIBLE for byte in range(256))
"""Mu-law codes to 1 where they are audible: the inverted low bits are the size of the sample."""

Script = Callable[[Person], Awaitable[None]]
"""What a person does in a call."""
