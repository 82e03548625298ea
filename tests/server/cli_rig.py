"""What the tests of the command line share: recorded calls, and a service that answers with them and nothing else."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web
from click.testing import CliRunner, Result

from openclaw_voicecall.api.store import CallRecord, JournalEntry, LineFigures, TranscriptLine, TurnLatency
from openclaw_voicecall.api.wire import entry_to_json, record_to_json
from openclaw_voicecall.cli import build_cli
from openclaw_voicecall.store.statedir import StateDir

CALL_ID = "01j00000000000000000000call"
STARTED = 1_780_000_000.0

LIVE = CallRecord(
    call_id=CALL_ID,
    carrier="local",
    carrier_call_id="LC1",
    direction="outbound",
    from_number="+15550000000",
    to_number="+15550001234",
    mode="conversation",
    state="listening",
    created_at=STARTED,
    answered_at=STARTED + 1,
)
OVER = replace(
    LIVE,
    state="hangup-user",
    ended_at=STARTED + 43,
    end_reason="caller-hung-up",
    transcript=(
        TranscriptLine(speaker="agent", text="Hello, this is Ada.", at=STARTED + 3, turn=1),
        TranscriptLine(speaker="caller", text="When do you open?", at=STARTED + 5, turn=2),
        TranscriptLine(speaker="agent", text="At nine on", at=STARTED + 7, turn=2, interrupted=True),
    ),
    latencies=(
        TurnLatency(
            turn=2,
            endpointing_ms=500.0,
            transcript_ms=61.0,
            first_token_ms=20.0,
            first_sentence_ms=5.0,
            first_audio_ms=41.0,
            total_ms=627.0,
        ),
    ),
    line=LineFigures(heard_seconds=1.9, spoken_seconds=4.36, longest_silence_ms=640.0),
    recording="/tmp/recordings/call.wav",
)


def ended(end_reason: str, **changes: Any) -> CallRecord:
    """The recorded call, but with another end."""
    return replace(OVER, end_reason=end_reason, **changes)


def entry(
    seq: int,
    elapsed: float,
    event: str,
    data: dict[str, Any] | None = None,
    *commands: dict[str, Any],
    call_id: str = CALL_ID,
) -> JournalEntry:
    """A journal entry as the session writes it."""
    return JournalEntry(
        call_id=call_id,
        seq=seq,
        at=STARTED + elapsed,
        elapsed=elapsed,
        event=event,
        data=data or {},
        commands=commands,
        states={"leg": "up", "media": "flowing", "caller": "quiet", "agent": "idle"},
    )


def said(speaker: str, text: str, turn: int, *, interrupted: bool = False) -> dict[str, Any]:
    """The order that adds a line to the transcript."""
    return {
        "command": "AppendTranscript",
        "speaker": speaker,
        "text": text,
        "turn": turn,
        "interrupted": interrupted,
    }


def order(command: str, **fields: Any) -> dict[str, Any]:
    """Any other order."""
    return {"command": command, **fields}


CONVERSATION = (
    entry(1, 0.0, "CallPlaced"),
    entry(2, 0.4, "CallRinging"),
    entry(3, 1.0, "CallAnswered", None, order("StartListening")),
    entry(4, 1.1, "MediaConnected", None, order("StartSaying", turn=1, text="Hello, this is Ada.")),
    entry(5, 1.1, "ResponseChunk", {"turn": 1, "utterance": 1, "text": "Hello, this is Ada."}),
    entry(6, 1.2, "first-audio", {"turn": 1, "utterance": 1}),
    entry(7, 3.0, "UtterancePlayed", {"utterance": 1}, said("agent", "Hello, this is Ada.", 1)),
    entry(8, 3.5, "SpeechStarted"),
    entry(9, 4.0, "TranscriptReceived", {"text": "When do", "final": False}),
    entry(10, 4.5, "SpeechStopped", {"silence": 0.1}),
    entry(11, 4.9, "TranscriptReceived", {"text": "When do you open?", "final": True}),
    entry(
        12,
        5.0,
        "timer",
        None,
        said("caller", "When do you open?", 2),
        order("StartResponse", turn=2, text="When do you open?", digits=""),
    ),
    entry(13, 5.02, "first-token", {"turn": 2}),
    entry(14, 5.03, "ResponseChunk", {"turn": 2, "utterance": 2, "text": "At nine on weekdays."}),
    entry(15, 5.1, "first-audio", {"turn": 2, "utterance": 2}),
    entry(16, 6.0, "SpeechStarted", None, order("HoldAudio", turn=2)),
    entry(17, 6.9, "timer", None, order("ResumeAudio", turn=2)),
    entry(18, 7.2, "SpeechStarted", None, order("HoldAudio", turn=2)),
    entry(
        19,
        7.5,
        "TranscriptReceived",
        {"text": "No, wait", "final": False},
        order("CancelResponse", turn=2),
        order("ClearAudio", turn=2),
        said("agent", "At nine on", 2, interrupted=True),
    ),
    entry(20, 9.0, "CallEnded", {"reason": "caller-hung-up"}, order("ReleaseCall", reason="caller-hung-up")),
)
"""A call as its journal has it: greeting, question, answer, a cough, an interruption, the end."""


@dataclass
class ControlService:
    """A control API with canned answers. It refuses whatever the real one does not know.

    `after_end` is what the feed of a call waits to send until the call was told to end.
    """

    record: CallRecord = OVER
    feed: tuple[JournalEntry, ...] = CONVERSATION
    after_end: tuple[JournalEntry, ...] = ()
    refusal: tuple[int, str, str, int] | None = None
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    breaks_off: bool = False
    """Whether the connection of a feed is cut in the middle."""
    hangs: bool = False
    """Whether the feed of a call stays open although the call is over."""
    deaf: bool = False
    """Whether calls go on although they were told to end."""
    told_to_end: threading.Event = field(default_factory=threading.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    feeding: threading.Event = field(default_factory=threading.Event)

    def bodies(self, path: str) -> list[Any]:
        """Bodies of the requests on this path."""
        return [body for _, at, _, body in self.requests if at == path]

    def app(self) -> web.Application:
        """The application, to be served on a Unix socket."""
        app = web.Application(middlewares=[self._watch])
        one = "/api/v1/calls/{id}"
        app.router.add_get("/api/v1/status", self._status)
        app.router.add_get("/api/v1/feed", self._feed)
        app.router.add_get("/api/v1/calls", self._list)
        app.router.add_post("/api/v1/calls", self._one(201, "to", "from", "message", "mode", "script",
                                                       "recordDir", "objective"))  # fmt: skip
        app.router.add_get(one, self._one(200))
        app.router.add_get(f"{one}/journal", self._journal)
        app.router.add_post(f"{one}/speak", self._one(200, "message"))
        app.router.add_post(f"{one}/dtmf", self._one(200, "digits"))
        app.router.add_post(f"{one}/end", self._end)
        app.router.add_post(f"{one}/continue", self._continue)
        return app

    @web.middleware
    async def _watch(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body = await request.json() if request.method == "POST" else None
        self.requests.append((request.method, request.path, dict(request.query), body))
        if self.refusal is not None:
            status, code, message, exit_code = self.refusal
            error = {"code": code, "message": message, "exitCode": exit_code}
            return web.json_response({"error": error}, status=status)
        if request.match_info.get("id", CALL_ID) != CALL_ID:
            error = {"code": "call-not-found", "message": "no such call", "exitCode": 66}
            return web.json_response({"error": error}, status=404)
        response: web.StreamResponse = await handler(request)
        return response

    def _one(self, status: int, *known: str) -> Any:
        async def answer(request: web.Request) -> web.Response:
            if known:
                unknown = set(await request.json()) - set(known)
                assert not unknown, f"the control API has no field {unknown}"
            return web.json_response({"call": record_to_json(self.record)}, status=status)

        return answer

    async def _status(self, request: web.Request) -> web.Response:
        service = {
            "pid": 7,
            "url": "http://127.0.0.1:3334",
            "version": "0.1.0",
            "startedAt": "2026-05-28T20:26:40.000Z",
            "draining": False,
            "engines": [
                {"role": "transcriber", "name": "local", "description": "Moonshine tiny-en"},
                {"role": "carrier", "name": "local", "description": "local"},
            ],
            "liveCalls": 1,
        }
        return web.json_response({"service": service, "calls": [record_to_json(LIVE)]})

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"calls": [record_to_json(self.record), record_to_json(LIVE)]})

    async def _journal(self, request: web.Request) -> web.Response:
        after = int(request.query["after"])
        return web.json_response({"entries": [entry_to_json(item) for item in self.feed if item.seq > after]})

    async def _continue(self, request: web.Request) -> web.Response:
        assert set(await request.json()) <= {"message", "timeoutMs"}
        return web.json_response({"call": record_to_json(LIVE), "transcript": "At nine, please."})

    async def _end(self, request: web.Request) -> web.Response:
        assert await request.json() == {}
        self.told_to_end.set()
        if not self.deaf:
            self.ended.set()
        return web.json_response({"call": record_to_json(LIVE)})

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await self._send(response, self.feed)
        self.feeding.set()
        if self.breaks_off and request.transport is not None:
            request.transport.abort()
        if self.hangs:
            await asyncio.Event().wait()
        if self.after_end:
            await self.ended.wait()
            await self._send(response, self.after_end)
        return response

    async def _send(self, response: web.StreamResponse, entries: tuple[JournalEntry, ...]) -> None:
        for item in entries:
            line = {"entry": entry_to_json(item), "call": record_to_json(self.record)}
            await response.write(json.dumps(line).encode() + b"\n")


@contextmanager
def serving(service: ControlService, folder: Path) -> Iterator[StateDir]:
    """Serve a control API, in a thread, as the owner of a state directory."""
    state = StateDir.open(folder)
    loop = asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(service.app(), shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(state.control_socket())).start()
        return runner

    thread = threading.Thread(target=loop.run_forever)
    with state.acquire():
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        state.write_service({"pid": 7, "socket": str(state.control_socket()), "url": "http://127.0.0.1:1"})
        try:
            yield state
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()


def invoke(*arguments: str, state: StateDir | None = None) -> Result:
    """Run the command line in this process."""
    options = ("--state-dir", str(state.path)) if state is not None else ()
    return CliRunner().invoke(build_cli(), [*arguments, *options])
