"""The client's end of the loopback SIP trunk, which stands for SIP and RTP between a trunk and a vendor.

One WebSocket is one call. Text is signalling: `{"method": "INVITE", "headers": [[name, value], ...]}` by the client,
`{"status": 180}` and then `{"status": 200}` or another final status by the server; after that `{"method": "BYE"}` by
either side, `{"method": "INFO", "digit": "5"}` by the client, `{"method": "REFER", "refer_to": "tel:+..."}` by the
server, which the client answers with one or more `{"method": "NOTIFY", "status": ...}`. Binary messages are mu-law at
8000 Hz, 160 bytes each, in both directions at real pace.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

import aiohttp

from openclaw_voicecall.testing.emulators.twilio_phone import (
    FRAME,
    RATE,
    SILENCE,
    Ended,
    Line,
    Person,
    Script,
)

Headers = Sequence[tuple[str, str]]
Referred = Callable[[str], Awaitable[None]]
"""Told the target of a REFER."""

OPEN_LIMIT = 5.0
CLOSE_LIMIT = 1.0
BYE_LIMIT = 2.0
"""Seconds in which BYE has to follow the last NOTIFY of a transfer that came about; at Twilio up to 32 s of silence."""
JITTER = 0.08
"""Seconds of sound that are gathered before it is played, so that a late message tears no hole into it."""
UNREACHABLE = 503
TERMINATED = 487


class TrunkLeg:
    """One call over the trunk, by its client.

    Args:
        url: Such as `ws://127.0.0.1:9000/_sip/proj_emulated`.
        headers: Of the INVITE, in order.
        on_refer: Told when the far side wants the call transferred; has to answer with `notify`.
    """

    def __init__(self, url: str, headers: Headers, on_refer: Referred) -> None:
        self.url = url
        self.headers = list(headers)
        self.status = 0
        """The final status; 0 as long as there is none."""
        self.reason = ""
        self.rang = False
        self.ended_by: Literal["", "near", "far", "network"] = ""
        self.notified: list[int] = []
        """Statuses that REFERs were answered with."""
        self.complaints: list[str] = []
        """What the far side did that the trunk does not know."""
        self.over = asyncio.Event()
        self._on_refer = on_refer
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._referring: set[asyncio.Task[None]] = set()

    async def invite(self, session: aiohttp.ClientSession) -> int:
        """Call; returns the final status. Cancelled, it gives the call up."""
        try:
            self._socket = await self._open(session)
            await self._send(method="INVITE", headers=[list(header) for header in self.headers])
            while self.status < 200:
                message = await self._socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    self.status = UNREACHABLE
                    break
                self._progress(message.data)
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.status = UNREACHABLE
        except asyncio.CancelledError:
            self.status = TERMINATED
            await self.bye()
            raise
        if self.status != 200:
            await self._close()
        return self.status

    async def talk(self, line: Line) -> None:
        """Carry sound between the far side and a line until one of the two ends the call."""
        if self._socket is None:
            raise RuntimeError("nobody has taken the call yet")
        reading = asyncio.create_task(self._read(self._socket, line))
        try:
            await self._pump(line, reading)
        except (ConnectionError, aiohttp.ClientError):
            pass  # the reader tells why
        finally:
            line.clear()
            for task in (reading, *self._referring):
                task.cancel()
            await asyncio.gather(reading, *self._referring, return_exceptions=True)
            await self.bye()

    async def press(self, digit: str) -> None:
        """Tell the far side of a key."""
        await self._send(method="INFO", digit=digit)

    async def notify(self, status: int) -> None:
        """Answer a REFER: 202 at first, then what has become of it, or a refusal at once."""
        self.notified.append(status)
        await self._send(method="NOTIFY", status=status)

    async def bye(self) -> None:
        """End the call, unless it has ended."""
        if not self.over.is_set() and self._socket is not None and not self._socket.closed:
            self.ended_by = "near"
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT):
                    await self._send(method="BYE")
        await self._close()

    async def cut(self) -> None:
        """Break the connection without a BYE."""
        self.ended_by = "network"
        await self._close()

    async def _open(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        async with asyncio.timeout(OPEN_LIMIT):
            return await session.ws_connect(
                self.url, timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_LIMIT), max_msg_size=2**20
            )

    async def _close(self) -> None:
        if self._socket is not None and not self._socket.closed:
            with suppress(TimeoutError, ConnectionError, aiohttp.ClientError):
                async with asyncio.timeout(CLOSE_LIMIT):
                    await self._socket.close()
        self.over.set()

    async def _send(self, **message: Any) -> None:
        if self._socket is not None and not self._socket.closed:
            with suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.send_str(json.dumps(message))

    def _progress(self, text: str) -> None:
        message = _read_message(text)
        status = message.get("status")
        if not isinstance(status, int) or not 100 <= status <= 699:
            self.complaints.append(f"no answer to an INVITE: {text[:100]}")
            return
        self.rang = self.rang or status == 180
        if status >= 200:
            self.status, self.reason = status, str(message.get("reason", ""))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, line: Line) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self._hear(line, message.data)
            elif message.type is aiohttp.WSMsgType.TEXT and self._signalled(message.data):
                return
        self.ended_by = self.ended_by or "network"

    def _hear(self, line: Line, audio: bytes) -> None:
        if len(audio) % FRAME:
            self.complaints.append(f"{len(audio)} bytes of sound are no whole number of 20 ms")
        if not line.waiting:
            line.play(SILENCE * round(JITTER * RATE))
        line.play(audio)

    def _signalled(self, text: str) -> bool:
        """Take a message of the far side; returns whether it ends the call."""
        match _read_message(text):
            case {"method": "BYE"}:
                self.ended_by = self.ended_by or "far"
                self.over.set()
                return True
            case {"method": "REFER", "refer_to": str(target)}:
                task = asyncio.ensure_future(self._on_refer(target))
                self._referring.add(task)
                task.add_done_callback(self._referring.discard)
            case _:
                self.complaints.append(f"unknown message: {text[:100]}")
        return False

    async def _pump(self, line: Line, reading: asyncio.Task[None]) -> None:
        """Send what is said on the line in frames of 20 ms, silence too, until nobody reads any more."""
        begin, sent = round(line.now * RATE), 0
        while not reading.done() and not line.over and self._socket is not None and not self._socket.closed:
            line.advance()
            while begin + (sent + 1) * FRAME <= line.now * RATE:
                await self._socket.send_bytes(line.spoken(begin + sent * FRAME, FRAME))
                sent += 1
            pause = (begin + (sent + 1) * FRAME) / RATE - line.now
            await asyncio.wait({reading}, timeout=max(0.0, pause))


def _read_message(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


@dataclass(frozen=True, slots=True)
class Refer:
    """A transfer that the far side asked for."""

    target: str
    """As it stood in the REFER, such as `tel:+15550003333`."""
    at: float
    """Seconds since the call was answered."""


class TrunkPhone:
    """Somebody who calls over a SIP trunk, without a carrier of ours between: what Elastic SIP trunking does.

    ```python
    async def somebody(phone: Person) -> None:
        await phone.wait_for_agent()
        await phone.say(clips.add("goodbye", babble("goodbye")))
        phone.hang_up()

    async with TrunkPhone(f"ws://127.0.0.1:{port}/_sip/proj_emulated", person=somebody) as phone:
        assert await phone.dial() == 200
        await phone.finished()
    ```

    Args:
        url: Address of the trunk.
        from_number: Who calls.
        to: Who is called, as it stands in `To`.
        person: What the caller does once the call is answered; None to be silent.
        refer: Statuses that a REFER is answered with, in order: accepted and carried out, unless told otherwise.
            `(603,)` refuses; `(202, 486)` accepts, and then the other number is busy; `()` says nothing.
        refer_pause: Seconds before each of them.
        headers: Further headers of the INVITE.
    """

    def __init__(
        self,
        url: str,
        *,
        from_number: str = "+15550002222",
        to: str = "<sip:+15550001111@trunk>",
        person: Script | None = None,
        refer: Sequence[int] = (202, 200),
        refer_pause: float = 0.05,
        headers: Headers = (),
    ) -> None:
        self.from_number = from_number
        self.refer, self.refer_pause = tuple(refer), refer_pause
        own = [("From", f"<sip:{from_number}@trunk>"), ("To", to), ("Call-ID", uuid4().hex)]
        self.leg = TrunkLeg(url, [*own, *headers], self._refer)
        self.refers: list[Refer] = []
        """Transfers that the far side asked for, oldest first."""
        self.complaints: list[str] = self.leg.complaints
        """What the far side did wrong. A correct one leaves it empty."""
        self.person: Person | None = None
        """The caller, from the answer on."""
        self.person_error: BaseException | None = None
        self._script = person
        self._session: aiohttp.ClientSession | None = None
        self._line: Line | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._talking: asyncio.Task[None] | None = None

    @property
    def status(self) -> int:
        """The final SIP status of the call; 0 as long as there is none."""
        return self.leg.status

    @property
    def ended_by(self) -> Literal["", "near", "far", "network"]:
        """Who ended the call: `near` is the caller."""
        return self.leg.ended_by

    @property
    def line(self) -> Line:
        """The audio of the call. Raises `RuntimeError` before the answer."""
        if self._line is None:
            raise RuntimeError("the call is not answered yet")
        return self._line

    @property
    def heard(self) -> bytes:
        """Everything heard since the answer, mu-law at 8000 Hz: sample `n` at `n / 8000` seconds."""
        return bytes(self.line.heard)

    async def dial(self) -> int:
        """Call; returns the final SIP status. After 200 the caller talks until somebody hangs up."""
        if self._session is None:
            raise RuntimeError("enter the phone first")
        status = await self.leg.invite(self._session)
        if status == 200:
            self._line = Line(asyncio.get_running_loop().time)
            self.person = Person(self._line, self, self.from_number)
            self._talking = asyncio.create_task(self._talk(self._line))
            if self._script is not None:
                self._start(self._act(self._script, self.person))
        return status

    async def finished(self) -> None:
        """Wait for the end of the call.

        Raises:
            BaseException: Whatever the caller's script failed with.
        """
        if self._talking is not None:
            await asyncio.shield(self._talking)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=CLOSE_LIMIT)
        if self.person_error is not None:
            raise self.person_error

    def press(self, digit: str) -> None:
        """Press a key."""
        self._start(self.leg.press(digit))

    def hang_up(self) -> None:
        """End the call."""
        self._start(self.leg.bye())

    def cut_stream(self) -> None:
        """Lose the connection without a BYE."""
        self._start(self.leg.cut())

    async def __aenter__(self) -> Self:
        """Take up the phone."""
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up, if nobody has."""
        await self.leg.bye()
        for task in [*self._tasks, *([self._talking] if self._talking else [])]:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _talk(self, line: Line) -> None:
        try:
            await self.leg.talk(line)
        finally:
            line.end()

    async def _act(self, script: Script, person: Person) -> None:
        try:
            await script(person)
        except Ended:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # an assertion of a test may be of any kind; `finished` raises it
            self.person_error = error
            await self.leg.bye()

    async def _refer(self, target: str) -> None:
        self.refers.append(Refer(target, self.line.now))
        for status in self.refer:
            await asyncio.sleep(self.refer_pause)
            await self.leg.notify(status)
        if self.refer[-1:] == (200,):
            try:
                async with asyncio.timeout(BYE_LIMIT):
                    await self.leg.over.wait()
            except TimeoutError:
                self.complaints.append("no BYE after the transfer came about: the line is dead")

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
