"""Doctor over emulated vendors, with a proxy on the public address that can be told to misbehave."""

import json
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, WSMsgType, web
from vendor_line import OURS, REPORTED, SID, VOICE

from openclaw_voicecall.checks.report import Finding, Report
from openclaw_voicecall.checks.run import Examination, examine
from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator

PHRASE = "Can you hear me well?"


class Proxy:
    """Forwards HTTP and WebSockets to a port on loopback; its attributes are its faults."""

    def __init__(self, port):
        self.target = port
        self.strips = ""
        """Beginning of the path that is taken away."""
        self.only = ""
        """The one path that is forwarded; 404 for others."""
        self.drops_query = False
        self.drops_headers = ()
        self.upgrades = True
        self.redirects = ""
        self.status = 0
        """Answers this itself."""
        self.runner = None
        self.url = ""

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._forward)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()

    async def _forward(self, request):
        if self.redirects:
            raise web.HTTPMovedPermanently(self.redirects)
        if self.status or (self.only and not request.path.startswith(self.only)):
            return web.Response(status=self.status or 404, text="nothing here", headers={"Server": "a-proxy"})
        path = request.path.removeprefix(self.strips) or "/"
        query = "" if self.drops_query or not request.query_string else f"?{request.query_string}"
        url = f"http://127.0.0.1:{self.target}{path}{query}"
        hop = {
            "host",
            "connection",
            "upgrade",
            "content-length",
            *(name.lower() for name in self.drops_headers),
        }
        headers = {name: value for name, value in request.headers.items() if name.lower() not in hop}
        wanted = request.headers.get("Upgrade", "").lower() == "websocket"
        async with ClientSession() as http:
            if wanted and self.upgrades:
                return await _relay(http, request, url, headers)
            async with http.request(
                request.method, url, headers=headers, data=await request.read(), allow_redirects=False
            ) as answer:
                kept = {n: v for n, v in answer.headers.items() if n.lower().startswith("x-")}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)


async def _relay(http, request, url, headers):
    kept = {n: v for n, v in headers.items() if not n.lower().startswith("sec-websocket")}
    async with http.ws_connect(url, headers=kept) as far:
        near = web.WebSocketResponse()
        await near.prepare(request)
        message = await near.receive()
        if message.type is WSMsgType.TEXT:
            await far.send_str(message.data)
            answer = await far.receive()
            if answer.type is WSMsgType.TEXT:
                await near.send_str(answer.data)
        await near.close()
        return near


@dataclass
class Ward:
    """Everything that doctor looks at in a test; all of it works until a test breaks something."""

    twilio: TwilioEmulator
    openai: OpenAIRealtimeEmulator
    chat: ChatEmulator
    elevenlabs: ElevenLabsEmulator
    proxy: Proxy
    config: dict[str, Any]
    state_dir: Path
    report: Report = field(default_factory=Report)

    def write(self) -> Path:
        """The configuration as a file."""
        file = self.state_dir.with_name(f"{self.state_dir.name}-doctor.json")
        file.write_text(json.dumps(self.config))
        file.chmod(0o600)
        return file

    async def doctor(self, *, audible=False, public=False, fix=False) -> Report:
        """Run the checks in this process."""
        file = self.write()
        try:
            self.report = Report()
            await examine(
                Examination(
                    config_source=file,
                    state_dir=self.state_dir,
                    env={"PATH": os.environ["PATH"]},
                    audible=audible,
                    public=public,
                    consent=(lambda question: True) if fix else None,
                    phrase=PHRASE,
                ),
                self.report,
            )
        finally:
            file.unlink()
        return self.report

    async def diagnosis(self, **options) -> Finding:
        """The one thing that doctor finds wrong."""
        failed = failures(await self.doctor(**options))
        assert len(failed) == 1, failed
        assert failed[0].cause
        assert failed[0].fix
        return failed[0]


def failures(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.status == "failed"]


@asynccontextmanager
async def ward(state_dir, port, **chat):
    """Emulators of all vendors, a proxy, and the reported configuration over them."""
    book = ClipBook()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        proxy = await enter(Proxy(port))
        webhook = f"{proxy.url}/voice/webhook"
        twilio = await enter(TwilioEmulator(account_sid=SID, numbers={OURS: webhook}))
        openai = await enter(OpenAIRealtimeEmulator(recognizer=book))
        talk = await enter(
            ChatEmulator(respond=chat.pop("respond", lambda messages, body: "Yes, I can."), **chat)
        )
        elevenlabs = await enter(ElevenLabsEmulator(clips=book, voices=[VOICE]))
        config = json.loads(json.dumps(REPORTED))
        config["publicUrl"] = webhook
        config["serve"] = {"port": port}
        config["twilio"]["apiBaseUrl"] = twilio.url
        config["streaming"]["providers"] = {"openai": {"baseUrl": f"{openai.url}/v1"}}
        config["responders"] = {"xai": {"baseUrl": f"{talk.url}/v1", "apiKey": "sk-emulated"}}
        config["tts"]["providers"] = {"elevenlabs": {"baseUrl": elevenlabs.url}}
        yield Ward(twilio, openai, talk, elevenlabs, proxy, config, state_dir)
