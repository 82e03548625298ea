"""A small far side of the loopback SIP trunk: it takes calls, says something, and does what a test tells it to."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

FRAME = 160


class FarSide:
    """One call as the vendor has it."""

    def __init__(self, socket, project):
        self.socket = socket
        self.project = project
        self.headers = []
        self.heard = bytearray()
        self.keys = []
        self.notified = []
        self.news = asyncio.Event()
        self.over = asyncio.Event()
        self.ended_by = ""

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    async def send(self, **message):
        await self.socket.send_str(json.dumps(message))

    async def say(self, audio):
        """Play mu-law audio at real pace."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        for count, at in enumerate(range(0, len(audio), FRAME)):
            await asyncio.sleep(begun + count * 0.02 - clock())
            if self.over.is_set():
                return
            await self.socket.send_bytes(audio[at : at + FRAME].ljust(FRAME, b"\xff"))

    async def bye(self):
        if not self.over.is_set():
            self.ended_by = "far"
            await self.send(method="BYE")
            self.over.set()
            await self.socket.close()

    async def refer(self, target):
        await self.send(method="REFER", refer_to=target)

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def listen(self):
        """Read until the call is over."""
        async for message in self.socket:
            if message.type is WSMsgType.BINARY:
                self.heard += message.data
            else:
                self._signalled(json.loads(message.data))
            self.news.set()
        self.over.set()
        self.news.set()

    def _signalled(self, message):
        match message:
            case {"method": "INFO", "digit": digit}:
                self.keys.append(digit)
            case {"method": "NOTIFY", "status": status}:
                self.notified.append(status)
            case {"method": "BYE"}:
                self.ended_by = self.ended_by or "near"
                self.over.set()
            case _:
                raise AssertionError(message)


class Far:
    """The vendor: takes calls with `status`, after ringing for `rings` seconds, and then does what `script` says."""

    def __init__(self):
        self.status = 200
        self.rings = 0.05
        self.script = None
        self.calls = []
        self.url = ""

    async def handle(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        far = FarSide(socket, request.match_info["project"])
        self.calls.append(far)
        invite = json.loads((await socket.receive()).data)
        assert invite["method"] == "INVITE"
        far.headers = [tuple(header) for header in invite["headers"]]
        await far.send(status=180)
        listening = asyncio.create_task(far.listen())
        with suppress(TimeoutError):
            async with asyncio.timeout(self.rings):
                await far.over.wait()
        if far.over.is_set():
            await listening
            return socket
        await far.send(status=self.status, **({} if self.status == 200 else {"reason": "Busy Here"}))
        if self.status != 200:
            await socket.close()
            await listening
            return socket
        if self.script is not None:
            with suppress(ConnectionError):
                await self.script(far)
        await listening
        return socket


@asynccontextmanager
async def far_side(**changes):
    """A vendor on loopback."""
    far = Far()
    for name, value in changes.items():
        setattr(far, name, value)
    app = web.Application()
    app.router.add_get("/_sip/{project}", far.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        far.url = "ws" + str(server.make_url("")).rstrip("/")[4:]
        async with asyncio.timeout(20):
            yield far
