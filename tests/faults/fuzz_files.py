"""What is read from disk, from the owner and from the service: settings, records, memory files, requests, commands."""

import io
import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any

import yaml
from click.testing import CliRunner
from fuzz_common import at_once, scratch, storable, waited_for
from multidict import CIMultiDict

from openclaw_voicecall.api.store import CallRecord, JournalEntry, TranscriptLine, TurnLatency
from openclaw_voicecall.api.wire import entry_from_json, entry_to_json, record_from_json, record_to_json
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.cli import build_cli
from openclaw_voicecall.cli.screen import Screen
from openclaw_voicecall.cli.view import CallView
from openclaw_voicecall.config.load import load_config
from openclaw_voicecall.config.numbers import normalise_number
from openclaw_voicecall.config.read import LARGEST_FILE, parse, read_file
from openclaw_voicecall.config.read import Text as FileText
from openclaw_voicecall.config.secrets import redacted, resolve_reference
from openclaw_voicecall.errors import ConfigError, ServiceNotRunning, StoreError, VendorError, VoiceCallError
from openclaw_voicecall.plugins import load_registry
from openclaw_voicecall.providers.local import line_files
from openclaw_voicecall.server import control
from openclaw_voicecall.server.client import _lines, _reported, parsed_object
from openclaw_voicecall.store.jsonl import export_jsonl, import_jsonl
from openclaw_voicecall.store.optout import OptOutList
from openclaw_voicecall.store.pairing import PairingBook
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.store.statedir import StateDir
from openclaw_voicecall.testing.fuzzing import Target
from openclaw_voicecall.testing.fuzzing_kinds import Binary, JsonText, Series, Text, Tree
from openclaw_voicecall.tunnels.mappings import Route, port_state, why_not
from openclaw_voicecall.tunnels.ngrok import _read_line, _refusal
from openclaw_voicecall.tunnels.tailscale import _Memory

CONFIG = {
    "enabled": True,
    "provider": "twilio",
    "fromNumber": "+15550000000",
    "publicUrl": "https://phone.example/voice",
    "inboundPolicy": "allowlist",
    "allowFrom": ["+15550001234"],
    "maxConcurrentCalls": 4,
    "serve": {"bind": "127.0.0.1", "port": 3334},
    "twilio": {"accountSid": "AC" + "0" * 32, "authToken": "${TWILIO_AUTH_TOKEN}"},
    "tts": {"provider": "local"},
    "streaming": {
        "provider": "deepgram",
        "fallbacks": ["local"],
        "providers": {"deepgram": {"apiKey": "env:KEY"}},
    },
    "outbound": {"quietHours": {"start": "21:00", "end": "08:00"}},
    "responseModel": "frontdesk",
}
JSON5 = """// The front desk.
{
  provider: 'local', /* on this machine */
  fromNumber: "+15550000000",
  limits: {mediaGraceMs: 1_000,}, allowFrom: ['+15550001234',],
}
""".replace("1_000", "0x3e8")
ENV = {"TWILIO_AUTH_TOKEN": "secret-token", "KEY": "secret-key"}

RECORD = CallRecord(
    call_id="01j0",
    carrier="local",
    carrier_call_id="LC1",
    direction="outbound",
    from_number="+15550000000",
    to_number="+15550001234",
    mode="conversation",
    state="hangup-user",
    created_at=1_780_000_000.0,
    answered_at=1_780_000_001.0,
    ended_at=1_780_000_043.0,
    end_reason="caller-hung-up",
    transcript=(TranscriptLine(speaker="agent", text="Hello.", at=1_780_000_003.0, turn=1),),
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
    metadata={"sessionKey": "k"},
)
ENTRY = JournalEntry(
    call_id="01j0",
    seq=3,
    at=1_780_000_003.0,
    elapsed=2.5,
    event="TranscriptReceived",
    data={"text": "Hello.", "final": True},
    commands=({"command": "AppendTranscript", "speaker": "caller", "text": "Hello."},),
    states={"leg": "up", "floor": "listening"},
)


@cache
def model() -> Any:
    return load_registry(load_entry_points=False).config_model()


def raise_if_unfit(message: str, fit: bool) -> None:
    assert fit, f"an unfit message: {message[:300]!a}"


def read_settings(text: str, *, is_yaml: bool) -> None:
    try:
        data, lines = parse(FileText("config", text, yaml=is_yaml))
    except ConfigError as error:
        raise_if_unfit(str(error), str(error).startswith("config") and str(error).isprintable())
        raise
    assert isinstance(data, dict)
    assert all(0 < line <= len(text.splitlines()) + 1 for line in lines.values())


def read_bytes(data: bytes) -> None:
    path = scratch() / "voicecall.json"
    path.write_bytes(data)
    text = read_file(path)
    storable(text.content)


def load(tree: Any) -> None:
    if not isinstance(tree, dict):
        return
    loaded_or_refused(tree, ENV)


def load_environment(env: Any) -> None:
    texts = {str(name): str(value) for name, value in env.items()} if isinstance(env, dict) else {}
    loaded_or_refused({"provider": "local"}, texts)


def loaded_or_refused(tree: dict[str, Any], env: dict[str, str]) -> None:
    try:
        loaded = load_config(tree, model=model(), env=env)
    except ConfigError as error:
        message = str(error)
        raise_if_unfit(message, message.replace("\n", "").isprintable())
        raise
    shown = json.dumps(redacted(loaded.config), ensure_ascii=False, allow_nan=False)
    storable(shown, *loaded.notices)
    Addresses(loaded.config, "127.0.0.1:1").webhook("twilio")


def environment(random: Random) -> dict[str, str]:
    known = {
        "VOICECALL_SERVE__PORT": "3334",
        "VOICECALL_ALLOW_FROM": "+15550001234,+15550001235",
        "VOICECALL_INBOUND_POLICY": "open",
        "VOICECALL_TTS": '{"provider": "local"}',
        "VOICECALL_MAX_CONCURRENT_CALLS": "4",
        "TWILIO_AUTH_TOKEN": "secret-token",
        "OPENCLAW_STATE_DIR": "/tmp/x",
    }
    return dict(random.sample(sorted(known.items()), random.randrange(1, 7)))


def resolve(reference: str) -> None:
    found = resolve_reference(reference, ENV)
    assert found is None or found


def secret_file(random: Random) -> str:
    path = scratch() / "secret"
    path.write_text("secret-file\n")
    return random.choice((f"file:{path}", "env:KEY", "${KEY}", "vault:phone/key"))


def number(text: str) -> None:
    found = normalise_number(text, field="to")
    assert found.isascii()
    assert found[0] == "+"
    assert found[1:].isdecimal()
    assert 3 <= len(found) <= 16
    assert normalise_number(found, field="to") == found


def read_record(text: str) -> None:
    record = record_from_json(json.loads(text))
    json.dumps(record_to_json(record), default=str)


def view_feed(lines: list[str]) -> None:
    """What `tail` and `call` show of the service's feed."""

    view = CallView(Screen(io.StringIO()), many=True)

    async def show() -> None:
        async for line in _lines(Pieces("\n".join(lines).encode() + b"\n")):
            item = parsed_object(line)
            view.show(entry_from_json(item["entry"]), record_from_json(item["call"]))

    at_once(show())


def changed_feed(part: str, value: Any) -> str:
    return json.dumps({"entry": entry_to_json(ENTRY) | {part: value}, "call": record_to_json(RECORD)})


class Pieces:
    """Bytes that come in pieces, as from a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def iter_any(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._data), 1000):
            yield self._data[at : at + 1000]


def reported(body: str) -> None:
    error = _reported(500, body.encode("utf-8", "surrogatepass"))
    assert isinstance(error, VoiceCallError)
    assert isinstance(error.exit_code, int)


def import_log(data: bytes) -> None:
    path = scratch() / "calls.jsonl"
    path.write_bytes(data)
    records = import_jsonl(path)
    for record in records:
        json.dumps(record_to_json(record), allow_nan=False)
    assert export_jsonl(records, scratch() / "again.jsonl") == len(records)


FAR_FUTURE = json.dumps(
    {"callId": "1", "provider": "local", "direction": "outbound", "state": "busy", "from": "", "to": ""}
    | {"startedAt": 10**29}
).encode()

HUGE = FAR_FUTURE.replace(b"}", b', "metadata": {"session": 1e999}}').replace(
    b"1" + b"0" * 29, b"1780000000000"
)


@cache
def call_log() -> bytes:
    path = scratch() / "valid.jsonl"
    export_jsonl(
        [RECORD, replace(RECORD, call_id="01j1", ended_at=None, end_reason=None, state="active")], path
    )
    return path.read_bytes()


async def _stored_row(columns: Any) -> None:
    path = scratch() / "calls.db"
    async with await SqliteStore.open(path) as store:
        await store.put_call(RECORD)
        await store.append_journal([ENTRY])
    with sqlite3.connect(path) as connection:
        for name in ("transcript", "latencies", "metadata"):
            connection.execute(f"UPDATE calls SET {name} = ?", (columns[name],))
        for name in ("data", "commands", "states"):
            connection.execute(f"UPDATE journal SET {name} = ?", (columns[name],))
    connection.close()
    async with await SqliteStore.open(path) as store:
        refused = None
        for ask in (store.list_calls, lambda: store.journal("01j0"), lambda: store.get_call("LC1")):
            try:
                await ask()
            except StoreError as error:
                refused = error
        if refused is not None:
            raise refused


def stored_row(texts: list[str]) -> None:
    names = ("transcript", "latencies", "metadata", "data", "commands", "states")
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    waited_for(_stored_row(dict(zip(names, [*texts, *["null"] * 6], strict=False))))


def row(random: Random) -> list[str]:
    record, entry = record_to_json(RECORD), entry_to_json(ENTRY)
    lines = [{"speaker": "agent", "text": "Hello.", "at": 1.0, "interrupted": False, "turn": 1}]
    latencies = [{"turn": 2, "endpointing_ms": 500.0, "transcript_ms": 61.0, "first_token_ms": 20.0}]
    latencies[0] |= {"first_sentence_ms": 5.0, "first_audio_ms": 41.0, "total_ms": 627.0}
    parts = [lines, latencies, record["metadata"], entry["data"], entry["commands"], entry["states"]]
    return list(map(json.dumps, parts))


async def _open_database(data: bytes) -> None:
    folder = scratch() / "damaged"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    (folder / "calls.db").write_bytes(data)
    async with await SqliteStore.open(folder / "calls.db") as store:
        await store.list_calls()
        await store.journal("01j0")


@cache
def database() -> bytes:
    path = scratch() / "whole.db"

    async def make() -> None:
        async with await SqliteStore.open(path) as store:
            await store.put_call(RECORD)
            await store.append_journal([ENTRY])

    waited_for(make())
    return path.read_bytes()


def pairing(data: bytes) -> None:
    book = PairingBook(scratch(), wall=lambda: 1_780_000_000.0)
    book.path.write_bytes(data)
    page = book.read()
    for entry in (*page.approved, *page.asked):
        assert entry.number.isascii()
        datetime.fromtimestamp(entry.at, UTC)
    for entry in page.asked:
        assert entry.code.isascii()


PAIRING = {
    "version": 1,
    "approved": [{"number": "+15550001234", "at": 1_780_000_000.0}],
    "asked": [{"number": "+15550001235", "code": "123456", "at": 1_780_000_000.0, "denied": False}],
}
OPTOUT = {"version": 1, "numbers": [{"number": "+15550001234", "at": 1_780_000_000.0}]}


def changed_time(content: Any, literal: str) -> str:
    return json.dumps(content).replace("1780000000.0", literal)


def optout(data: bytes) -> None:
    listed = OptOutList(scratch(), wall=lambda: 1_780_000_000.0)
    listed.path.write_bytes(data)
    for entry in listed.read():
        datetime.fromtimestamp(entry.at, UTC)
    listed.holds("+15550001234")


def small_files(data: bytes) -> None:
    """Files that are looked at and, where they are damaged, count as not there."""
    folder = scratch() / "state"
    (folder / "local").mkdir(parents=True, exist_ok=True)
    (folder / "tunnel.json").write_bytes(data)
    port, routes = _Memory(folder / "tunnel.json").read()
    assert isinstance(port, int)
    assert all(isinstance(route, Route) for route in routes)
    (folder / "local" / "line.json").write_bytes(data)
    with suppress(ServiceNotRunning):
        line_files.find_line(folder)
    line_files.close_line_file(folder / "local" / "line.json")
    path = folder / "local" / f"LC{'0' * 32}.json"
    path.write_bytes(data)
    status = line_files.read_status(path)
    assert status is None or isinstance(status.running(), bool)
    state = StateDir.open(folder)
    with state.acquire():
        state.service_file.write_bytes(data)
        info = state.read_service()
        assert info is None or isinstance(info, dict)
        assert str(state.path) in state._owner()


def small_file(random: Random) -> bytes:
    found = (
        {"port": 443, "routes": {"/voice": "http://127.0.0.1:1/voice"}},
        {"url": "http://127.0.0.1:1/", "key": "k", "pid": os.getpid(), "started": "1"},
        {"pid": 1, "started": "1", "state": "ended", "reason": "completed", "takes_signals": True},
        {"pid": 7, "url": "http://127.0.0.1:1", "socket": "/tmp/x"},
    )
    return json.dumps(random.choice(found)).encode()


def ngrok_log(text: str) -> None:
    for line in text.split("\n"):
        found = _read_line(line)
        storable(found.url)
        assert not found.url or found.url.startswith("https:")
        assert isinstance(_refusal(found.trouble), VendorError)


def ngrok_line(random: Random) -> str:
    return json.dumps(
        random.choice(
            (
                {"lvl": "info", "msg": "started tunnel", "url": "https://x.ngrok.app"},
                {"lvl": "eror", "msg": "session closed", "err": "failed ERR_NGROK_107"},
                {"lvl": "info", "msg": "client session established"},
            )
        )
    )


def serve_status(tree: Any) -> None:
    state = port_state(tree, "pc.tail.ts.net", 443)
    for funnel in (True, False):
        assert isinstance(
            why_not(state, [Route("/voice", "http://127.0.0.1:1")], port=443, funnel=funnel), str
        )


SERVE = {
    "TCP": {"443": {"HTTPS": True}},
    "Web": {
        "pc.tail.ts.net:443": {"Handlers": {"/voice": {"Proxy": "http://127.0.0.1:1"}, "/x/": {"Text": "hi"}}}
    },
    "AllowFunnel": {"pc.tail.ts.net:443": True},
}

BODIES = {
    "place": (
        control.PlaceBody,
        {"to": "+15550001234", "message": "Hello.", "mode": "notify", "options": {"a": "b"}},
    ),
    "message": (control.MessageBody, {"message": "Hello.", "timeoutMs": 1000}),
    "digits": (control.DigitsBody, {"digits": "12#w"}),
    "end": (control.EndBody, {"farewell": "Goodbye."}),
}


class Request:
    """As much of a request as the readers of the control API look at."""

    def __init__(self, text: str = "", query: str = "", key: str = "") -> None:
        self._text = text
        self.query = {"n": query}
        self.headers = CIMultiDict({"Idempotency-Key": key} if key else {})

    async def read(self) -> bytes:
        return self._text.encode("utf-8", "surrogatepass")


def control_body(described: Any) -> None:
    described = described if isinstance(described, dict) else {}
    model, _ = BODIES.get(str(described.get("kind")), BODIES["place"])
    body = at_once(control._body(Request(str(described.get("body", ""))), model))
    storable(*(value for value in body.model_dump().values() if isinstance(value, str)))


def control_query(text: str) -> None:
    assert 0 <= control._number(Request(query=text), "n", 5) < 2**63


def control_key(text: str) -> None:
    key = control._idempotency_key(Request(key=text))
    assert len(key) <= 255
    assert key.isascii()


def a_body(random: Random) -> dict[str, str]:
    kind = random.choice(sorted(BODIES))
    return {"kind": kind, "body": json.dumps(BODIES[kind][1])}


CLI = build_cli()
LEFT_OUT = {"serve", "phone", "call", "expose", "tunnel", "setup", "doctor", "smoke"}
"""Commands that start programs, ask vendors or wait for people; `--debug`, too, is for people."""


def command(arguments: Any) -> None:
    texts = [str(text) for text in arguments] if isinstance(arguments, list) else []
    if LEFT_OUT.intersection(texts) or any(text.startswith(("--deb", "--out", "--exp")) for text in texts):
        return
    state = ["--state-dir", str(scratch() / "cli")]
    result = CliRunner().invoke(
        CLI, [*state, *texts], env={"OPENCLAW_VOICECALL_CONFIG": "{provider: 'local'}"}
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code != 70, result.output[-300:]
    assert "Traceback" not in result.output


def a_command(random: Random) -> list[str]:
    return list(
        random.choice(
            (
                ("calls", "--limit", "3", "--json"),
                ("show", "01j0"),
                ("status",),
                ("speak", "01j0", "Hello."),
                ("continue", "--call-id", "01j0", "--message", "Hello.", "--timeout-ms", "100"),
                ("dtmf", "01j0", "12#"),
                ("end", "01j0"),
                ("latency", "--json"),
                ("tail", "--call-id", "01j0"),
                ("pairing", "list"),
                ("pairing", "approve", "+15550001234"),
                ("optout", "add", "+15550001234"),
                ("optout", "list", "--json"),
                ("plugins", "--json"),
                ("config", "check"),
                ("--version",),
                ("--help",),
            )
        )
    )


logging.getLogger("asyncio").setLevel(logging.ERROR)
HERE = "openclaw_voicecall"
TARGETS = (
    Target(
        name="json5 file",
        kind=Text(LARGEST_FILE // 32),
        make=lambda random: json.dumps(CONFIG, indent=2) if random.random() < 0.5 else JSON5,
        feed=lambda text: read_settings(text, is_yaml=False),
        refusals=(ConfigError,),
        seconds=2.0,  # the JSON5 parser is slow, and the file is the owner's own
        parsers=(f"{HERE}.config.read",),
    ),
    Target(
        name="yaml file",
        kind=Text(LARGEST_FILE // 32),
        make=lambda random: yaml.safe_dump(CONFIG),
        feed=lambda text: read_settings(text, is_yaml=True),
        refusals=(ConfigError,),
        seconds=1.0,
        parsers=(f"{HERE}.config.read",),
    ),
    Target(
        name="config bytes",
        kind=Binary(),
        make=lambda random: json.dumps(CONFIG, indent=2).encode(),
        feed=read_bytes,
        refusals=(ConfigError,),
        parsers=(f"{HERE}.config.read",),
    ),
    Target(
        name="settings",
        kind=Tree(8_000),
        make=lambda random: CONFIG,
        feed=load,
        refusals=(ConfigError,),
        seconds=0.5,  # the owner's own, and each of some thousand mistakes is told
        parsers=(
            f"{HERE}.config.load",
            f"{HERE}.config.fields",
            f"{HERE}.config.secrets",
            f"{HERE}.calls.addresses",
        ),
    ),
    Target(
        name="environment",
        kind=Tree(8_000),
        make=environment,
        feed=load_environment,
        refusals=(ConfigError,),
        seconds=0.5,  # the owner's own, and each of some thousand mistakes is told
        parsers=(f"{HERE}.config.environment",),
    ),
    Target(
        name="secret",
        kind=Text(5000),
        make=secret_file,
        feed=resolve,
        refusals=(ConfigError,),
        parsers=(f"{HERE}.config.secrets",),
    ),
    Target(
        name="number",
        kind=Text(),
        make=lambda random: random.choice(("+15550001234", "+4930901820", "+442079460000")),
        feed=number,
        refusals=(ConfigError,),
        known=("+49009234",),
        parsers=(f"{HERE}.config.numbers",),
    ),
    Target(
        name="call record",
        kind=JsonText(),
        make=lambda random: json.dumps(record_to_json(RECORD)),
        feed=read_record,
        refusals=(ValueError, RecursionError),
        parsers=(f"{HERE}.api.wire",),
    ),
    Target(
        name="feed",
        kind=Series(JsonText()),
        make=lambda random: [json.dumps({"entry": entry_to_json(ENTRY), "call": record_to_json(RECORD)})] * 2,
        feed=view_feed,
        refusals=(VoiceCallError, ValueError, KeyError, TypeError),
        known=(
            [changed_feed("commands", "&")],
            [changed_feed("data", "")],
            ["[]"],
            ["{"],
        ),
        parsers=(f"{HERE}.server.client", f"{HERE}.api.wire"),
    ),
    Target(
        name="reported error",
        kind=JsonText(half=True),
        make=lambda random: json.dumps({"error": {"code": "config", "message": "no", "exitCode": 78}}),
        feed=reported,
        known=('{"error": {"code": 1, "message": 2, "exitCode": 1e999}}', '{"error": []}', "[" * 5000),
        parsers=(f"{HERE}.server.client",),
    ),
    Target(
        name="call log",
        kind=Binary(),
        make=lambda random: call_log(),
        feed=import_log,
        refusals=(StoreError,),
        known=(FAR_FUTURE, HUGE),
        parsers=(f"{HERE}.store.jsonl",),
    ),
    Target(
        name="stored row",
        kind=Series(JsonText()),
        make=row,
        feed=stored_row,
        refusals=(StoreError,),
        seconds=0.5,
        known=(["[" * 5000],),
        parsers=(f"{HERE}.store.sqlite",),
    ),
    Target(
        name="database",
        kind=Binary(1024 * 1024),
        make=lambda random: database(),
        feed=lambda data: waited_for(_open_database(data)),
        refusals=(StoreError,),
        seconds=0.5,
        parsers=(f"{HERE}.store.database", f"{HERE}.store.sqlite"),
    ),
    Target(
        name="pairing file",
        kind=Binary(),
        make=lambda random: json.dumps(PAIRING).encode(),
        feed=pairing,
        refusals=(StoreError,),
        parsers=(f"{HERE}.store.pairing", f"{HERE}.store.sharedfile"),
    ),
    Target(
        name="pairing json",
        kind=JsonText(half=True),
        make=lambda random: json.dumps(PAIRING),
        feed=lambda text: pairing(text.encode("utf-8", "surrogatepass")),
        refusals=(StoreError,),
        known=(
            changed_time(PAIRING, "Infinity"),
            changed_time(PAIRING, "NaN"),
            changed_time(PAIRING, "9" * 400),
            changed_time(PAIRING, "-1e300"),
        ),
        parsers=(f"{HERE}.store.pairing",),
    ),
    Target(
        name="optout json",
        kind=JsonText(half=True),
        make=lambda random: json.dumps(OPTOUT),
        feed=lambda text: optout(text.encode("utf-8", "surrogatepass")),
        refusals=(StoreError,),
        known=(
            changed_time(OPTOUT, "-Infinity"),
            changed_time(OPTOUT, "9" * 400),
        ),
        parsers=(f"{HERE}.store.optout",),
    ),
    Target(
        name="small files",
        kind=JsonText(half=True),
        make=lambda random: small_file(random).decode(),
        feed=lambda text: small_files(text.encode("utf-8", "surrogatepass")),
        known=("[" * 5000, r'{"pid":"\u0000","started":"","state":""}', '{"port": 1e999, "routes": {}}'),
        parsers=(f"{HERE}.store.statedir", f"{HERE}.tunnels.tailscale", f"{HERE}.providers.local.line_files"),
    ),
    Target(
        name="ngrok log",
        kind=JsonText(),
        make=ngrok_line,
        feed=ngrok_log,
        seconds=1.0,
        known=(
            '{"lvl":{}}',
            json.dumps({"lvl": "eror", "err": "failed ERR_NGROK_" + "1" * 5000}),
            r'{"msg":"started tunnel","url":"https://\ud800"}',
        ),
        parsers=(f"{HERE}.tunnels.ngrok",),
    ),
    Target(
        name="tailscale status",
        kind=Tree(),
        make=lambda random: SERVE,
        feed=serve_status,
        parsers=(f"{HERE}.tunnels.mappings",),
    ),
    Target(
        name="control body",
        kind=Tree(1024 * 1024),
        make=a_body,
        feed=control_body,
        refusals=(ConfigError,),
        known=({"kind": "place", "body": '{"to": "+15550001234", "recordDir": "\\u0000"}'},),
        parsers=(f"{HERE}.server.control",),
    ),
    Target(
        name="control query",
        kind=Text(8000),
        make=lambda random: str(random.randrange(100)),
        feed=control_query,
        refusals=(ConfigError,),
        known=("7" * 20, "8" * 5000),
        parsers=(f"{HERE}.server.control",),
    ),
    Target(
        name="idempotency key",
        kind=Text(8000),
        make=lambda random: "0b1c",
        feed=control_key,
        refusals=(ConfigError,),
        parsers=(f"{HERE}.server.control",),
    ),
    Target(
        name="command line",
        kind=Tree(2000),
        make=a_command,
        feed=command,
        seconds=2.0,
        parsers=(f"{HERE}.cli.options",),
    ),
)
