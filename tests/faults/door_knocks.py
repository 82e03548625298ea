"""Hostile knocks at the doors of a running service: HTTP, signed webhooks, media streams, the owner's API.

Each part takes a number of knocks, and raises `AssertionError` for an answer of 5xx, and for a knock that is neither
answered nor cut off in time.
"""

import asyncio
import base64
import io
import json
import os
import re
import secrets
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from fuzz_carriers import (
    ACCOUNT,
    BASE,
    TOKEN,
    lax,
    local_message,
    plain,
    signature,
    stream_messages,
    twilio_request,
)
from fuzz_files import BODIES
from raw_line import RawLine, connected, media, new_leg, start

from openclaw_voicecall.testing.fuzzing_kinds import NUMBERS, TEXTS, Binary, JsonText, Text, Tree
from openclaw_voicecall.testing.service import RunningService

CONFIG: dict[str, Any] = {
    "provider": "twilio",
    # Nobody listens there: what a webhook makes the service ask of Twilio fails at once, and stays on this machine.
    "twilio": {"accountSid": ACCOUNT, "authToken": TOKEN, "apiBaseUrl": "http://127.0.0.1:9"},
    "fromNumber": "+15550000000",
    "publicUrl": BASE,
    "inboundPolicy": "open",
    "maxConcurrentCalls": 12,
    "limits": {"mediaGraceMs": 1000, "hangUpGraceMs": 1000},
    "responseModel": "frontdesk",
}
AT_ONCE = 40
"""Knocks under way at a time."""
STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")

HEADS = (
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /voice/webhook?a=b&c=%20 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    "POST /voice/webhook/twilio HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    "X-Twilio-Signature: AAAA\r\nContent-Length: 9\r\n\r\nCallSid=1",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nX-Local-Signature: 0\r\n"
    "X-Local-Timestamp: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /voice/stream/local/x HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
)
BOMBS = (
    "GET / HTTP/1.1\r\n" + "X-A: b\r\n" * 5000 + "\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + "b" * 70_000 + "\r\n\r\n",
    "GET /" + "a" * 70_000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /" + "%ff" * 900 + "?" + "&=" * 900 + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /voice/webhook/%00%2e%2e HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET //[::1 HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "GET http://[x/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET http://a:b@c:99999999/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "OPTIONS /voice/webhook/local HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT \r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nContent-Length: " + "9" * 400 + "\r\n\r\nhello",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + "f" * 400
    + "\r\nhello",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-Local-Signature: 0\r\n"
    "X-Local-Timestamp: 1\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nExpect: \xff\r\nContent-Length: 5\r\n\r\nhello",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
    "POST /voice/webhook/local HTTP/1.1\r\nHost: a\r\nX-Local-Signature: \xff\xfe\r\nX-Local-Timestamp: \xff\r\n"
    "Content-Length: 2\r\n\r\n{}",
    "POST /voice/webhook/twilio HTTP/1.1\r\nHost: a\r\nX-Twilio-Signature: \xff\xfe\r\nContent-Length: 2\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\n\r\na=",
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Voicecall-Probe: \xff\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: \xff\xfe\r\nX-Forwarded-Host: \xff\r\nX-Forwarded-For: \xff\r\n\r\n",
    "GET /voice/stream/local/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: x\r\nSec-WebSocket-Key: \xff\r\n\r\n",
)


class Knocks:
    """The doors of one service.

    Args:
        service: The service; its configuration holds `CONFIG`.
        line: Its local line, with which right signatures are made.
        seed: Of everything random.
        patience: Seconds within which every knock must be answered or cut off.
    """

    def __init__(self, service: RunningService, line: RawLine, *, seed: int, patience: float) -> None:
        self.service = service
        self.line = line
        self.random = Random(seed)
        self.patience = patience
        self.count = 0
        self.answers: dict[int, int] = {}
        parts = urlsplit(service.url)
        self._public = lambda: asyncio.open_connection(parts.hostname, parts.port)
        self._owners = service.state_dir / "control.sock"

    @classmethod
    @asynccontextmanager
    async def at(cls, service: RunningService, *, seed: int, patience: float) -> AsyncIterator[Self]:
        async with RawLine.to(service) as line:
            yield cls(service, line, seed=seed, patience=patience)

    async def http(self, count: int) -> None:
        """Broken requests at the public port, and the same at the owner's socket."""
        known = [text.encode("latin-1") for text in (*HEADS, *BOMBS)]
        await self._all(known, lambda data: self._exchange(self._public, data))
        kind = Binary(80_000)

        def broken() -> bytes:
            data = self.random.choice(known)
            for _ in range(self.random.choice((1, 1, 2, 4))):
                data = kind.mutate(self.random, data, self.random.choice(known))
            return data

        await self._all([broken() for _ in range(count)], lambda data: self._exchange(self._public, data))
        whole = [*known, *(broken() + b"\r\n\r\n" for _ in range(count // 4))]
        await self._all(whole, lambda data: self._exchange(self._at_owners, data, cut_off=False))

    async def _at_owners(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self._owners)

    async def webhooks(self, count: int) -> None:
        """Weird requests with right signatures."""
        await self._all(range(count), lambda _: self._twilio())
        await self._all(range(count), lambda _: self._local())

    async def media(self, count: int) -> None:
        """Frames of every kind, behind a token that is right."""
        slots = asyncio.Semaphore(6)

        async def stream(_: int) -> None:
            async with slots:
                await self._stream()

        await self._all(range(count), stream)

    async def owner(self, count: int) -> None:
        """The control API: ids in paths, numbers in queries, bodies of every kind, with a call to act on."""
        leg = new_leg()
        await self.line.offer(leg)
        (call,) = await self.line.calls_of(leg)
        connector = aiohttp.UnixConnector(path=str(self._owners))
        async with aiohttp.ClientSession("http://voicecall", connector=connector) as http:
            await self._all(range(count), lambda _: self._ask(http, call["callId"]))
        await self.line.report("ended", leg, reason="caller-hung-up")

    async def _all(self, items: Any, knock: Callable[[Any], Awaitable[None]]) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(item: Any) -> None:
            async with slots:
                self.count += 1
                await knock(item)

        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(one(item))

    async def _exchange(self, connect: Any, data: bytes, *, cut_off: bool = True) -> None:
        """Send bytes, in one or two pieces; something must come back, or the end, unless it is the owner's socket."""
        reader, writer = await connect()
        cut = self.random.randrange(len(data) + 1) if self.random.random() < 0.3 else len(data)
        answer = b""
        try:
            async with asyncio.timeout(self.patience):
                writer.write(data[:cut])
                await writer.drain()
                writer.write(data[cut:])
                await writer.drain()
                if not cut_off:
                    writer.write_eof()
                answer = await reader.read(64 * 1024)
        except TimeoutError:
            assert not cut_off, f"neither answered nor cut off in {self.patience:g} s: {data[:2000]!r}"
        except OSError:
            pass  # cut off, while something was on its way
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        for status in STATUS.findall(answer):
            self._note(int(status), data)

    def _note(self, status: int, sent: object, *fine: int) -> None:
        self.answers[status] = self.answers.get(status, 0) + 1
        assert status < 500 or status in fine, f"{status} in answer to {str(sent)[:2000]}"

    async def _twilio(self) -> None:
        described = twilio_request(self.random)
        described["params"]["CallSid"] = "CA" + secrets.token_hex(16)
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            described = Tree(40_000).mutate(self.random, described, twilio_request(self.random))
        described = described if isinstance(described, dict) else {}
        params, query = plain(described.get("params")), plain(described.get("query"))
        asked = f"?{lax(query)}" if query else ""
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": signature(BASE + asked, params),
        }
        url = aiohttp.client.URL(f"{self.service.url}/voice/webhook/twilio{asked}", encoded=True)
        await self._post(url, lax(params).encode(), headers)
        if re.fullmatch("CA[0-9a-f]{32}", params.get("CallSid", "")):  # whatever came of it is over now
            ending = twilio_request(Random(1))["params"] | {
                "CallSid": params["CallSid"],
                "CallStatus": "completed",
            }
            headers["X-Twilio-Signature"] = signature(f"{BASE}?n={self.count}", ending)
            url = aiohttp.client.URL(f"{self.service.url}/voice/webhook/twilio?n={self.count}", encoded=True)
            await self._post(url, urlencode(ending).encode(), headers)

    async def _local(self) -> None:
        body = local_message(self.random)
        for _ in range(self.random.choice((1, 1, 2, 3))):
            body = JsonText(60_000, half=True).mutate(self.random, body, local_message(self.random))
        data = body.encode("utf-8", "surrogatepass")
        await self._post(self.line.url, data, self.line.signed(data))
        with suppress(ValueError, RecursionError):
            leg = json.loads(body).get("carrierCallId") if body.startswith("{") else None
            if isinstance(leg, str) and leg and leg.isprintable():
                await self.line.report("ended", leg, reason="caller-hung-up")

    async def _post(self, url: Any, data: bytes, headers: dict[str, str]) -> None:
        async with (
            asyncio.timeout(self.patience),
            self.line.http.post(url, data=data, headers=headers) as response,
        ):
            await response.read()
            self._note(response.status, data[:2000])

    async def _stream(self) -> None:
        leg = new_leg()
        order = await self.line.report("offered", leg)
        if order["action"] != "stream":
            return  # all slots are taken by streams that end just now
        parts = urlsplit(order["streamUrl"])
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        head = (
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        frames, fatal = self._frames(leg)
        try:
            async with asyncio.timeout(self.patience):
                writer.write(head.encode())
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 101"), answer
                writer.write(frames)
                await writer.drain()
                if fatal:
                    while await reader.read(64 * 1024):
                        pass
        except TimeoutError:
            raise AssertionError(
                f"a broken stream was not closed in {self.patience:g} s: {frames[:500]!r}"
            ) from None
        except OSError:
            pass  # closed while we were still sending
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            await self.line.report("ended", leg, reason="caller-hung-up")

    def _frames(self, leg: str) -> tuple[bytes, bool]:
        """What is sent on a stream, and whether the service must close it then."""
        random = self.random
        texts = [connected(), start(leg), *(media(number) for number in range(3))]
        way = random.randrange(7)
        if way == 0:  # half a stream in good order, with hostile messages in it
            spare = stream_messages(random)
            texts = [
                JsonText(60_000).mutate(random, text, random.choice(spare)) if random.random() < 0.3 else text
                for text in texts
            ]
            return b"".join(map(frame, texts)), False
        if way == 1:
            random.shuffle(texts)
            return b"".join(map(frame, texts)), False
        if way == 2:
            return b"".join(map(frame, texts[:2])) + random.randbytes(5000), False
        if way == 3:
            return frame(texts[0], opcode=2) + frame("x" * 300_000), True
        if way == 4:
            return frame(texts[0], fin=False) + frame("{", opcode=1), True
        if way == 5:
            return frame("\udc00", opcode=1) if random.random() < 0.5 else frame("", bits=0x70), True
        data = b"".join(map(frame, texts)) + frame("x", opcode=9) + frame("\x03\xe8", opcode=8)
        return Binary(80_000).mutate(random, data, random.randbytes(100)), False

    async def _ask(self, http: aiohttp.ClientSession, call_id: str) -> None:
        random = self.random
        kind = random.choice(("speak", "continue", "dtmf", "end", "place", "list", "journal", "show", "feed"))
        word = Text(3000).mutate(random, call_id, random.choice(TEXTS))
        name = quote(word.encode("utf-8", "surrogatepass"), safe="") if random.random() < 0.5 else call_id
        number = quote(
            (random.choice(NUMBERS) if random.random() < 0.7 else word).encode("utf-8", "surrogatepass")
        )
        method, path, body = "GET", f"/api/v1/calls/{name}", None
        if kind == "list":
            path = f"/api/v1/calls?limit={number}&open={number}"
        elif kind == "journal":
            path += f"/journal?after={number}"
        elif kind == "feed":
            path = f"/api/v1/feed?callId={name}x&after={number}"  # of no call, so that it ends
        elif kind != "show":
            method, path = "POST", "/api/v1/calls" if kind == "place" else f"{path}/{kind}"
            known = {"speak": "message", "continue": "message", "dtmf": "digits"}
            body = self._body(known.get(kind, kind))
        headers = {"Idempotency-Key": "".join(char for char in word[:300] if "\x20" < char < "\x7f") or "k"}
        async with asyncio.timeout(self.patience + 5):  # `continue` waits for somebody to speak
            url = aiohttp.client.URL(f"http://voicecall{path[:7000]}", encoded=True)
            async with http.request(method, url, data=body and io.BytesIO(body), headers=headers) as response:
                answer = await response.read()
        fine = (502,) if kind == "continue" and b'"vendor-timeout"' in answer else ()
        self._note(response.status, (method, path, body, answer[:500]), *fine)
        if response.status >= 400 and answer and response.content_type == "application/json":
            assert json.loads(answer)["error"]["message"]

    def _body(self, kind: str) -> bytes:
        valid = dict(BODIES[kind][1]) | ({"timeoutMs": 200} if kind == "message" else {})
        if kind == "end":
            valid = {"farewell": ""}
        if kind == "place":
            valid["to"] = "+15550001234"
        text = json.dumps(valid)
        if kind == "end" or self.random.random() < 0.95:
            text = JsonText(900_000, half=True).mutate(self.random, text, json.dumps(BODIES["place"][1]))
        if kind == "end":  # a valid one would end the call that the others act on
            text = f"[{text}]"
        return text.encode("utf-8", "surrogatepass")


def frame(text: str, *, opcode: int = 1, fin: bool = True, bits: int = 0) -> bytes:
    """A WebSocket frame of a client, masked."""
    data = text.encode("utf-8", "surrogatepass")
    length = len(data)
    if length < 126:
        size = struct.pack("!B", 0x80 | length)
    elif length < 65536:
        size = struct.pack("!BH", 0x80 | 126, length)
    else:
        size = struct.pack("!BQ", 0x80 | 127, length)
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return bytes([(0x80 if fin else 0) | bits | opcode]) + size + mask + masked


async def genuine_call(line: RawLine) -> None:
    """A call in good order works: it is answered, the agent is heard, and the record is right."""
    leg = new_leg()
    async with asyncio.timeout(10):
        socket = await line.open(await line.offer(leg))
        await socket.send_str(connected())
        await socket.send_str(start(leg))
        await socket.send_str(media(0))
        async for heard in socket:
            if json.loads(heard.data)["event"] == "media":
                break
        await socket.close()
    await line.report("ended", leg, reason="caller-hung-up")
    (call,) = await line.calls_of(leg)
    assert call["endReason"] == "caller-hung-up"


def resident_mib(pid: int) -> float:
    """Memory that a process has in use."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
