"""A small application for the emulated Twilio to call: it answers with the TwiML a test gives it."""

import asyncio
import json
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator
from openclaw_voicecall.testing.emulators.voices import babble

OURS, THEIRS = "+15550001111", "+15550002222"


class App:
    """Answers webhooks with `answers`, by path, or what `on_webhook` gives, and hands media sockets to `on_stream`."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        self.upgrades = []
        self.on_stream = None
        self.on_webhook = None
        self.base = ""
        self.released = asyncio.Event()

    def url(self, path="/voice"):
        return self.base + path

    def stream_url(self, path="/stream"):
        return "ws" + self.base[4:] + path

    def connect(self, inside="", after="", path="/stream"):
        return response(f'<Connect><Stream url="{self.stream_url(path)}">{inside}</Stream></Connect>{after}')

    async def handle(self, request):
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request)
        form = dict(await request.post()) if request.method == "POST" else dict(request.query)
        self.requests.append((request, form))
        answer = self.answers.get(request.path, "<Response/>")
        if self.on_webhook is not None:
            answer = self.on_webhook(request, form)
        if callable(answer):
            answer = answer(form)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if isinstance(answer, web.Response) else twiml(answer)

    async def _stream(self, request):
        self.upgrades.append(request)
        if self.on_stream is None:
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        stream = Stream(socket)
        await self.on_stream(stream)
        await socket.close()
        return socket

    def forms(self, path):
        return [form for request, form in self.requests if request.path == path]


class Stream:
    """The application's end of a media stream."""

    def __init__(self, socket):
        self.socket = socket
        self.messages = []
        self.sid = ""

    async def next(self, *events):
        """The next message of one of these events, or None when the stream is over."""
        while True:
            message = await self.socket.receive()
            if message.type is not WSMsgType.TEXT:
                return None
            parsed = json.loads(message.data)
            self.messages.append(parsed)
            if parsed["event"] == "start":
                self.sid = parsed["streamSid"]
            if parsed["event"] in events:
                return parsed

    async def send(self, event, **body):
        message = {"event": event, "streamSid": self.sid}
        await self.socket.send_str(json.dumps(message | ({event: body} if body else {})))

    def of(self, event):
        return [message for message in self.messages if message["event"] == event]


def response(inside):
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{inside}</Response>'


def twiml(text, status=200, content_type="text/xml"):
    return web.Response(text=text, status=status, content_type=content_type)


@asynccontextmanager
async def emulated(**options):
    """The application and a Twilio with one number that leads to it. The carrier speaks fast, to save time."""
    app, clips = App(), ClipBook()
    site = web.Application()
    site.router.add_route("*", "/{tail:.*}", app.handle)
    async with TestServer(site, host="127.0.0.1") as server:
        app.base = str(server.make_url("")).rstrip("/")
        options = {"numbers": {OURS: app.url()}, "clips": clips, "recognizer": clips, **options}
        async with TwilioEmulator(**options) as twilio:
            twilio.voice = lambda text: babble(text)[:320]
            twilio.app, twilio.book = app, clips
            async with asyncio.timeout(30):
                yield twilio


def codes(twilio):
    """Twilio's error codes of what was refused."""
    return [int(refusal.why.partition(":")[0]) for refusal in twilio.refusals]
