"""Lines whose every secret is a canary, with vendors that are well and with parrots, which say back what they got."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, UnixConnector, web
from vendor_line import OURS, SID, VOICE

from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.deepgram import DeepgramEmulator
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator
from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator
from openclaw_voicecall.testing.emulators.xai import XaiEmulator
from openclaw_voicecall.testing.ports import free_port
from openclaw_voicecall.testing.service import CliResult, RunningService

SECRETS = {
    name: f"{name}Canary{number:02d}Xq7Lk9"
    for number, name in enumerate(
        ("twilio", "openai", "elevenlabs", "deepgram", "xai", "chat", "backup", "ngrok", "header", "hook"), 10
    )
}
"""Every secret of these lines; none has a form that gives it away."""
CALLER, OTHER = "+15557684455", "+442079460958"
GREETING, WORDS, ANSWER = (
    "Welcome to the aviary.",
    "My budgerigar is called Xanthippe.",
    "A fine pangolin, too.",
)
SAID = (GREETING, WORDS, ANSWER, "Xanthippe", "pangolin")

LEAKY_PLUGIN = '''
"""Its responder fails, and its error holds what it should not."""

import os
from contextlib import asynccontextmanager

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.spec import ResponderSpec


class Leaky:
    async def respond(self, request):
        secret = os.environ["LEAKY_SECRET"]
        headers = {"Authorization": f"Bearer {secret}", "X-Caller": request.from_number}
        raise RuntimeError(f"request to https://u:{secret}@example.com failed: {headers}")
        yield


@asynccontextmanager
async def opened(config, runtime, model):
    yield Leaky()


@hookimpl
def voicecall_register_responders(register):
    register(ResponderSpec(name="leaky", open=opened))
'''


class Parrot:
    """A vendor of everything, who takes no key and says back all that it was sent."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.heard: list[str] = []
        """Paths that were asked for."""

    async def __aenter__(self) -> "Parrot":
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._say_back)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _say_back(self, request: web.Request) -> web.Response:
        self.heard.append(f"{request.method} {request.path}")
        keys = [
            request.headers.get(name, "") for name in ("Authorization", "xi-api-key", "x-api-key", "x-hook")
        ]
        with contextlib.suppress(Exception):
            keys.append(base64.b64decode(keys[0].removeprefix("Basic ")).decode())
        said = f"Incorrect key provided: {' '.join(filter(None, keys))} for {request.path_qs}"
        body = {
            "code": 20003,
            "message": said,
            "error": {"message": said, "code": "invalid_api_key", "type": "invalid_request_error"},
            "detail": {"status": "invalid_api_key", "message": said},
            "err_code": "INVALID_AUTH",
            "err_msg": said,
            "more_info": said,
        }
        return web.json_response(
            body, status=401, reason=said[:200], headers={"x-request-id": said, "dg-error": said}
        )


@dataclass
class Line:
    """A running line, what it was told to do, and everything that it showed of it."""

    service: RunningService
    twilio: TwilioEmulator
    parrot: Parrot
    caller: ClipBook
    shown: dict[str, str] = field(default_factory=dict)
    """What came out, by where."""

    async def cli(self, *arguments: str) -> CliResult:
        """A command, whose output is kept."""
        done = await asyncio.to_thread(lambda: self.service.cli(*arguments, json=False, check=False))
        self.shown[" ".join(arguments)] = done.stdout + done.stderr
        return done

    async def ask(self, path: str, method: str = "GET") -> str:
        """What the control API says."""
        door = UnixConnector(str(self.service.state_dir / "control.sock"))
        async with (
            ClientSession(connector=door) as http,
            http.request(method, f"http://localhost{path}") as answer,
        ):
            self.shown[path] = await answer.text()
        return self.shown[path]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """What lies in the state directory."""
        for path in sorted(self.service.state_dir.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(self.service.state_dir)), path.read_bytes()

    def processes(self) -> list[int]:
        """The service and all that it has started."""
        found, parents = [self.service.pid], {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found


def base_settings() -> dict[str, Any]:
    """A line with one vendor of each kind, and a spare one."""
    return {
        "provider": "twilio",
        "twilio": {"accountSid": SID, "authToken": SECRETS["twilio"]},
        "fromNumber": OURS,
        "inboundPolicy": "open",
        "inboundGreeting": GREETING,
        "logging": {"level": "debug"},
        "outbound": {"countries": ["US", "GB"], "dialsPerMinute": 1000},
        "tunnel": {"provider": "none", "ngrokAuthToken": SECRETS["ngrok"]},
        "phrases": {"fillers": []},
    }


@asynccontextmanager
async def line(
    *parrots: str,
    settings: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    numbers: Sequence[str] = (),
) -> AsyncIterator[Line]:
    """Start one. The umask is one that would let everybody read everything.

    Args:
        parrots: Which of `carrier`, `ears`, `voice` and `mind` are parrots; the others are well.
        settings: Laid over the settings.
        env: Variables for the service.
        numbers: Further numbers of ours.
    """
    folder = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))
    caller = ClipBook()
    try:
        async with AsyncExitStack() as stack:
            port = free_port()
            webhook = f"http://127.0.0.1:{port}/voice/webhook"
            parrot = await stack.enter_async_context(Parrot())
            twilio = await stack.enter_async_context(
                TwilioEmulator(
                    account_sid=SID,
                    auth_token=SECRETS["twilio"],
                    numbers=dict.fromkeys((OURS, *numbers), webhook),
                    recognizer=caller,
                )
            )
            config = base_settings() | {"publicUrl": webhook} | await _vendors(stack, caller, parrot, parrots)
            config["twilio"]["apiBaseUrl"] = parrot.url if "carrier" in parrots else twilio.url
            config |= settings or {}
            service = RunningService(folder / "state", port=port, config=config, env=env)
            before = os.umask(0)
            try:
                await asyncio.to_thread(service.__enter__)
            finally:
                os.umask(before)
            try:
                yield Line(service, twilio, parrot, caller)
            finally:
                await asyncio.to_thread(service.__exit__, None, None, None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _vendors(
    stack: AsyncExitStack, caller: ClipBook, parrot: Parrot, parrots: Sequence[str]
) -> dict[str, Any]:
    hears = await stack.enter_async_context(OpenAIRealtimeEmulator(key=SECRETS["openai"], recognizer=caller))
    deepgram = await stack.enter_async_context(DeepgramEmulator(key=SECRETS["deepgram"], recognizer=caller))
    xai = await stack.enter_async_context(XaiEmulator(key=SECRETS["xai"], recognizer=caller))
    says = await stack.enter_async_context(ElevenLabsEmulator(key=SECRETS["elevenlabs"], voices=[VOICE]))
    spare = await stack.enter_async_context(OpenAISpeechEmulator(key=SECRETS["openai"]))
    chat = await stack.enter_async_context(ChatEmulator(key=SECRETS["chat"], respond=lambda *_: ANSWER))

    def at(role: str, url: str) -> str:
        return parrot.url if role in parrots else url

    return {
        "streaming": {
            "provider": "openai",
            "fallbacks": ["deepgram", "xai", "elevenlabs"],
            "providers": {
                "openai": {"apiKey": SECRETS["openai"], "baseUrl": at("ears", f"{hears.url}/v1")},
                "deepgram": {"apiKey": SECRETS["deepgram"], "baseUrl": at("ears", deepgram.url)},
                "xai": {"apiKey": SECRETS["xai"], "baseUrl": at("ears", f"{xai.url}/v1")},
                "elevenlabs": {"apiKey": SECRETS["elevenlabs"], "baseUrl": at("ears", says.url)},
            },
        },
        "tts": {
            "provider": "elevenlabs",
            "fallbacks": ["openai"],
            "providers": {
                "elevenlabs": {
                    "apiKey": SECRETS["elevenlabs"],
                    "baseUrl": at("voice", says.url),
                    "voiceId": VOICE,
                },
                "openai": {"apiKey": SECRETS["openai"], "baseUrl": at("voice", f"{spare.url}/v1")},
            },
        },
        "responseModel": "xai/grok-4.3",
        "responseFallbacks": ["openai/gpt-5-mini"],
        "responders": {
            "xai": {
                "apiKey": SECRETS["chat"],
                "baseUrl": at("mind", f"{chat.url}/v1"),
                "headers": {"x-hook": SECRETS["header"]},
            },
            "openai": {"apiKey": SECRETS["backup"], "baseUrl": at("mind", f"{chat.url}/v1")},
        },
    }


def traces_of(secret: str) -> list[str]:
    """A secret, and what it looks like on its way."""
    plain = [secret, f"{SID}:{secret}"]
    encoded = [base64.b64encode(text.encode()).decode().rstrip("=")[:-1] for text in plain]
    return [secret, *encoded, json.dumps(secret)[1:-1], secret.encode().hex()]
