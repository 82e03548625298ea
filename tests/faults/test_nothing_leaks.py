"""No secret, number or word of a caller gets to where it should not: canaries in every place, and none that sings."""

import asyncio
import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from leaky_lines import (
    ANSWER,
    CALLER,
    GREETING,
    LEAKY_PLUGIN,
    OTHER,
    SAID,
    SECRETS,
    WORDS,
    Line,
    line,
    traces_of,
)
from vendor_line import OURS

from openclaw_voicecall.cli import build_cli
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

LEAKY_NUMBER = "+12670000009"
IN_THE_ENVIRONMENT = "LeakyCanary99Xq7Lk9"
"""Known to a plugin only."""
CODE = re.compile(r"\d(?:, \d){5}")


@dataclass
class Evidence:
    """Everything that came out of some lines, by where it did."""

    shown: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    """Of media streams."""
    codes: list[str] = field(default_factory=list)
    """Of pairings."""
    records: list[dict[str, Any]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    """What parrots were asked for."""

    def gather(self, name: str, on: Line) -> None:
        """Keep what a line has shown."""
        self.shown |= {f"{name}: {where}": text for where, text in on.shown.items()}
        self.logs[name] = on.service.stderr
        for where, data in on.files():
            self.shown[f"{name}: file {where}"] = data.decode("latin-1")
        for path in (on.service.state_dir, *on.service.state_dir.rglob("*")):
            status = path.lstat()
            where = f"{name}: {path.relative_to(on.service.state_dir)}"
            self.modes[where] = stat.S_IMODE(status.st_mode)
            self.kinds[where] = "folder" if stat.S_ISDIR(status.st_mode) else "file"
        for pid in on.processes():
            with contextlib.suppress(OSError):  # it may be over by now
                self.shown[f"{name}: arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_text()
                if pid != on.service.pid:
                    self.shown[f"{name}: environment of {pid}"] = Path(f"/proc/{pid}/environ").read_text()
        for call in on.twilio.calls.values():
            self.tokens += [found for verb in call.verbs for found in re.findall(r"/([\w-]{20,})\"", verb)]
            self.tokens += [
                found
                for hook in call.webhooks
                for found in re.findall(r"twilio/([\w-]{20,})\"", hook.body.decode())
            ]
        self.asked |= set(on.parrot.heard)


async def talk(on: Line, to: str = OURS, *, quiet: float = 0.4) -> None:
    """Somebody calls, says something once the agent has spoken or is late, listens, and hangs up."""
    clip = on.caller.add(WORDS, babble(WORDS[:20], seed="caller"))

    async def person(phone: Any) -> None:
        for audio in (clip, b""):
            with contextlib.suppress(TimeoutError):
                await phone.wait_for_agent(quiet=quiet, timeout=4.0)
            if audio:
                await phone.say(audio)
        phone.hang_up()

    call = await on.twilio.dial_in(CALLER, to, person)
    async with asyncio.timeout(40):
        await call.finished()


async def look_around(on: Line) -> list[dict[str, Any]]:
    """Everything that an owner may look at by the control API, which is all that commands show of calls."""
    calls = json.loads(await on.ask("/api/v1/calls"))["calls"]
    await on.ask("/api/v1/status")
    await on.ask("/api/v1/calls/nobody")
    await on.ask("/api/v1/calls?limit=x")
    for call in calls:
        await on.ask(f"/api/v1/calls/{call['callId']}")
        await on.ask(f"/api/v1/calls/{call['callId']}/journal")
        if call["endReason"]:
            await on.ask(f"/api/v1/feed?callId={call['callId']}")
    return calls


async def strangers(on: Line) -> None:
    """Requests that hold secrets, and are refused: as of somebody who mixes up headers, or has stolen one."""
    secret = SECRETS["twilio"]
    url = f"{on.service.url}/voice/webhook"
    async with aiohttp.ClientSession() as http:
        for name, request in {
            "a wrong signature": {"data": {"AuthToken": secret}, "headers": {"X-Twilio-Signature": secret}},
            "a key in the query": {"params": {"authToken": secret}, "data": {"From": CALLER}},
            "a key as credentials": {"headers": {"Authorization": f"Bearer {secret}"}},
            "a key as JSON": {"json": {"authToken": secret, "x": "\x00"}},
        }.items():
            async with http.post(url, **request) as answer:
                on.shown[f"answer to {name}"] = f"{answer.headers} {await answer.text()}"
        async with http.get(f"{on.service.url}/voice/stream/twilio/{secret}") as answer:
            on.shown["answer to a key for a token"] = f"{answer.headers} {await answer.text()}"


async def all_well(into: Evidence, folder: Path) -> None:
    """Vendors are well, everything is recorded, and a plugin fails with everything in its error."""
    (folder / "leaky.py").write_text(LEAKY_PLUGIN)
    settings = {
        "recording": {"enabled": True, "notice": ""},
        "plugins": {"modules": ["leaky"]},
        "numbers": {LEAKY_NUMBER: {"responseModel": "leaky/one"}},
    }
    env = {"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}", "LEAKY_SECRET": IN_THE_ENVIRONMENT}
    async with line(settings=settings, env=env, numbers=[LEAKY_NUMBER]) as on:
        await asyncio.gather(talk(on), talk(on, LEAKY_NUMBER), strangers(on), on.cli("doctor"))
        into.records += await look_around(on)
        await on.cli("config", "show")
        into.gather("well", on)


async def with_parrots(into: Evidence, *parrots: str) -> None:
    name = " and ".join(parrots)
    async with line(*parrots) as on:
        order = ("call", "--to", OTHER, "--message", GREETING, "--detach")
        await asyncio.gather(talk(on), on.cli("doctor"), *([on.cli(*order)] if "carrier" in parrots else []))
        calls = await look_around(on)
        if "carrier" in parrots:
            await on.cli("show", calls[0]["callId"])
        into.gather(name, on)


async def with_a_phone(into: Evidence) -> None:
    """Our own line, whose telephone is a process beside the service; a stranger on it gets a code."""
    env = {"OPENAI_API_KEY": SECRETS["openai"], "SOME_VARIABLE": f"x:{SECRETS['elevenlabs']}"}
    async with line(settings={"provider": "local", "inboundPolicy": "pairing"}, env=env) as on:
        ringing = asyncio.create_task(on.cli("phone", "--from", CALLER))
        await on.cli("call", "--to", OTHER, "--message", GREETING, "--mode", "conversation", "--detach")
        async with asyncio.timeout(20):
            while len(on.processes()) < 2:
                await asyncio.sleep(0.05)
        into.gather("phone", on)
        await ringing
        waiting = await asyncio.to_thread(lambda: on.service.cli("pairing", "list").json["waiting"])
        into.codes += [each["code"] for each in waiting]
        for call in json.loads(await on.ask("/api/v1/status"))["calls"]:
            await on.ask(f"/api/v1/calls/{call['callId']}/end", method="POST")
        into.gather("phone at its end", on)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    into = Evidence()

    async def everything() -> None:
        await asyncio.gather(
            all_well(into, tmp_path_factory.mktemp("plugin")),
            with_parrots(into, "ears", "carrier"),
            with_parrots(into, "voice", "mind"),
            with_a_phone(into),
        )

    asyncio.run(everything())
    return into


def lines_with(text: str, trace: str) -> Iterator[str]:
    for at in (found.start() for found in re.finditer(re.escape(trace), text)):
        yield text[max(0, at - 100) : at + 40]


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_comes_out_anywhere(evidence, name):
    found = {
        where: next(lines_with(text, trace))
        for trace in traces_of(SECRETS[name])
        for where, text in (evidence.shown | evidence.logs).items()
        if trace in text
    }
    assert found == {}


def test_the_parrots_were_asked_with_every_key(evidence):
    paths = " ".join(evidence.asked)
    for path in ("/realtime", "/v1/listen", "/stt", "/speech-to-text", "/text-to-speech", "/audio/speech"):
        assert path in paths
    assert "/chat/completions" in paths
    assert "Calls.json" in paths


def test_programs_that_we_start_were_looked_at(evidence):
    assert any("environment of" in where for where in evidence.shown)


def test_what_a_plugin_puts_into_its_error_stays_there(evidence):
    assert "RuntimeError" in evidence.logs["well"], "the traceback is there"
    for where, text in (evidence.shown | evidence.logs).items():
        if "environment of" not in where:
            assert IN_THE_ENVIRONMENT not in text, where


def test_tokens_of_media_streams_and_codes_of_strangers_are_not_logged(evidence):
    assert evidence.tokens
    assert evidence.codes
    for where, text in evidence.logs.items():
        assert not [token for token in evidence.tokens if token in text], where
        assert not [code for code in evidence.codes if code in text or ", ".join(code) in text], where
    for where, text in evidence.shown.items():
        if (
            "file calls.db" not in where
        ):  # what a webhook was answered is kept there, to answer its repetition alike
            assert not [token for token in evidence.tokens if token in text], where


@pytest.mark.parametrize("number", [CALLER, OTHER])
def test_numbers_are_masked_in_logs(evidence, number):
    for text in evidence.logs.values():
        assert number[1:] not in text
    if number == CALLER:
        assert any("+1555***4455" in text for text in evidence.logs.values())


def test_nothing_that_is_said_gets_into_a_log_at_any_level(evidence):
    assert any("DEBUG" in text for text in evidence.logs.values())
    for where, text in evidence.logs.items():
        assert not [said for said in (*SAID, WORDS, ANSWER) if said in text], where


def test_everything_that_is_kept_is_private(evidence):
    expected = {"folder": 0o700, "file": 0o600}
    open_to_others = {
        where: oct(mode) for where, mode in evidence.modes.items() if mode != expected[evidence.kinds[where]]
    }
    assert open_to_others == {}
    kept = " ".join(evidence.modes)
    for name in ("calls.db", "calls.db-wal", "control.sock", "service.json", ".wav", "pairing.json"):
        assert name in kept, f"{name} was looked at"


def test_nothing_is_recorded_unless_the_owner_wants_it(evidence):
    assert all(record["recording"] for record in evidence.records if record["answeredAt"])
    assert not [where for where in evidence.modes if where.endswith(".wav") and not where.startswith("well:")]


WRONG = {
    "a key of another type": '{"twilio": {"authToken": ["SECRET"]}}',
    "a key as a number": '{"twilio": {"authToken": {"value": "SECRET"}}}',
    "a misspelt name": '{"twilio": {"authTokn": "SECRET"}}',
    "at the wrong place": '{"authToken": "SECRET", "provider": "nobody"}',
    "in an address": '{"publicUrl": "https://me:SECRET@example.com/voice/webhook"}',
    "in a query": '{"streaming": {"provider": "openai", "providers": {"openai": '
    '{"apiKey": "x1y2z3", "baseUrl": "https://h.example/v1?key=SECRET"}}}}',
    "behind a comma that is missing": '{"twilio": {"authToken": "SECRET" "accountSid": "AC"}}',
    "in a text that does not end": '{"twilio": {"authToken": "SECRET',
    "as a variable": '{"twilio": {"authToken": "${SECRET}"}}',
    "in a header": '{"responders": {"xai": {"headers": {"x-key": ["SECRET"]}}}}',
    "as a caller": '{"allowFrom": ["SECRET"]}',
}


@pytest.mark.parametrize("way", WRONG)
def test_a_wrong_configuration_is_told_without_its_secrets(way, tmp_path, monkeypatch):
    secret = "WrongCanary55Xq7Lk9"
    monkeypatch.setattr("openclaw_voicecall.cli.service.log_to_stderr", lambda *_: None)
    file = tmp_path / "voicecall.json"
    file.write_text(WRONG[way].replace("SECRET", secret))
    for command in (["config", "check"], ["--debug", "config", "check"], ["doctor"], ["serve"]):
        done = CliRunner().invoke(
            build_cli(), [*command, "--config", str(file), "--state-dir", str(tmp_path / "s")]
        )
        assert done.exit_code != 0 or (way == "in a query" and "check" in command), command
        if way not in ("as a variable", "as a caller"):
            assert secret not in done.output, command


def test_setup_writes_a_file_that_is_private_whatever_the_umask(tmp_path, monkeypatch):
    monkeypatch.setattr("openclaw_voicecall.cli.service.log_to_stderr", lambda *_: None)
    file = tmp_path / "new" / "voicecall.json"
    before = os.umask(0)
    try:
        arguments = ["setup", "--provider", "twilio", "--from", OURS, "--no-doctor", "--config", str(file)]
        done = CliRunner().invoke(build_cli(), arguments)
    finally:
        os.umask(before)
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
