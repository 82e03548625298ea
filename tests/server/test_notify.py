"""What others are told when a call ended: a web address, and the host program."""

import asyncio
import hashlib
import hmac
import json
import os
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from pydantic import ValidationError

from openclaw_voicecall.api.host import TRANSCRIPT_PATH
from openclaw_voicecall.api.store import TranscriptLine
from openclaw_voicecall.api.wire import record_to_json
from openclaw_voicecall.builtin import livenotes, notify
from openclaw_voicecall.builtin.notify import EndNotifier
from openclaw_voicecall.builtin.untold import Untold
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.errors import HostError
from openclaw_voicecall.plugins import load_registry
from openclaw_voicecall.testing.contracts.store import example_entry, example_record

pytestmark = [pytest.mark.server, pytest.mark.timed]

OVER = example_record(metadata={"sessionKey": "agent:main:voice:+15550000001"})
LIVE = replace(OVER, ended_at=None, end_reason=None, state="active")
MODEL = build_config_model()


@dataclass
class Receiver:
    """A web server that answers as the test says, and keeps what it was sent."""

    answers: list[int] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hangs: bool = False
    url: str = ""
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append((dict(request.headers), await request.read()))
        self.called.set()
        if self.hangs:
            await asyncio.Event().wait()
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


@asynccontextmanager
async def receiving(**behaviour):
    receiver = Receiver(**behaviour)
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?key=hush-hush"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@dataclass
class Host:
    """A host program that takes records."""

    name: str = "openclaw"
    delivered: list[tuple[str, str]] = field(default_factory=list)
    error: Exception | None = None

    async def deliver(self, session_key, record):
        self.delivered.append((session_key, record.call_id))
        if self.error:
            raise self.error


def notifier(url=None, secret="", **settings) -> EndNotifier:
    return EndNotifier(url, secret, first_pause=0.01, **settings)


async def tell(observer: EndNotifier, *records) -> None:
    """Let the observer see the records, then finish."""
    async with asyncio.timeout(20):
        for seq, record in enumerate(records or (OVER,), start=1):
            await observer.on_entry(record, example_entry(seq, record.call_id))
        await observer.close()


async def test_the_record_of_an_ended_call_is_sent():
    async with receiving() as receiver:
        await tell(notifier(receiver.url))
    ((headers, body),) = receiver.requests
    assert json.loads(body) == {"event": "callEnded", "call": record_to_json(OVER)}
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == OVER.call_id
    assert "X-OpenClaw-Signature" not in headers


async def test_the_body_is_signed_where_there_is_a_secret():
    async with receiving() as receiver:
        await tell(notifier(receiver.url, "a sécret"))
    ((headers, body),) = receiver.requests
    expected = hmac.new("a sécret".encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-OpenClaw-Signature"] == f"sha256={expected}"


async def test_a_call_is_told_of_once_and_not_before_its_end():
    async with receiving() as receiver:
        late = replace(OVER, detail="something after the end")
        await tell(notifier(receiver.url), LIVE, LIVE, OVER, late, replace(OVER, call_id="call-2"))
    told = sorted(headers["Idempotency-Key"] for headers, _ in receiver.requests)
    assert told == ["call-1", "call-2"]


@pytest.mark.parametrize("first", [500, 502, 503, 408, 425, 429])
async def test_it_is_tried_again_with_the_same_words_when_the_receiver_has_trouble(first):
    async with receiving(answers=[first, 500, 200]) as receiver:
        await tell(notifier(receiver.url, "secret"))
    assert len(receiver.requests) == 3
    assert len({body for _, body in receiver.requests}) == 1
    assert len({headers["X-OpenClaw-Signature"] for headers, _ in receiver.requests}) == 1


def logged(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == notify.__name__]


async def test_after_some_tries_it_is_given_up_with_one_line(caplog):
    async with receiving(answers=[500] * 9) as receiver:
        await tell(notifier(receiver.url))
    assert len(receiver.requests) == notify.ATTEMPTS
    assert logged(caplog) == ["the end of call call-1 could not be told to 127.0.0.1: it answers 500"]
    assert "hush-hush" not in caplog.text


@pytest.mark.parametrize("status", [302, 400, 401, 404, 410])
async def test_a_refusal_is_not_repeated_and_a_redirect_not_followed(status, caplog):
    async with receiving(answers=[status]) as receiver:
        await tell(notifier(receiver.url))
    assert len(receiver.requests) == 1
    assert logged(caplog) == [f"the end of call call-1 could not be told to 127.0.0.1: it answers {status}"]


async def test_nobody_listening_is_named_without_the_address(caplog):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/hook?key=hush-hush"
        await tell(notifier(url))
    (line,) = logged(caplog)
    assert line.startswith("the end of call call-1 could not be told to 127.0.0.1: it cannot be reached: ")
    assert "hush-hush" not in caplog.text


async def test_a_receiver_that_never_answers_is_given_up(caplog, monkeypatch):
    monkeypatch.setattr(notify, "ATTEMPT_LIMIT", 0.02)
    async with receiving(hangs=True) as receiver:
        await tell(notifier(receiver.url))
    assert len(receiver.requests) == notify.ATTEMPTS
    assert logged(caplog) == [
        "the end of call call-1 could not be told to 127.0.0.1: no answer within 0.02 s"
    ]


async def test_stopping_waits_for_it_no_longer_than_it_may(caplog):
    async with receiving(hangs=True) as receiver, asyncio.timeout(10):
        observer = notifier(receiver.url, close_limit=0.05)
        await observer.on_entry(OVER, example_entry(1))
        await receiver.called.wait()
        await observer.close()
    assert logged(caplog) == ["the end of call call-1 could not be told to 127.0.0.1: the service stops"]


async def test_an_end_that_is_told_while_the_service_stops_is_passed_on():
    async with receiving() as receiver:
        observer = notifier(receiver.url)
        await observer.close()
        await observer.on_entry(OVER, example_entry(1))
        assert len(receiver.requests) == 1


async def test_a_slow_receiver_holds_up_no_entry_and_no_other_call():
    async with receiving(hangs=True) as receiver, receiving() as other:
        slow, quick = notifier(receiver.url, close_limit=0.05), notifier(other.url)
        async with asyncio.timeout(30):
            for number in range(50):
                record = replace(OVER, call_id=f"call-{number}")
                await slow.on_entry(record, example_entry(1, record.call_id))
                await quick.on_entry(record, example_entry(1, record.call_id))
            await quick.close()
        assert len(other.requests) == 50
        await slow.close()


async def test_too_many_that_wait_are_given_up(monkeypatch, caplog):
    monkeypatch.setattr(notify, "WAITING", 2)
    async with receiving(hangs=True) as receiver:
        observer = notifier(receiver.url, close_limit=0.05)
        for number in range(notify.AT_ONCE + 3):
            record = replace(OVER, call_id=f"call-{number}")
            await observer.on_entry(record, example_entry(1, record.call_id))
        assert logged(caplog) == [
            "the end of call call-10 could not be told to 127.0.0.1: too many others wait"
        ]
        await observer.close()


async def test_the_host_is_given_the_record_once_with_its_session_key():
    observer, host = notifier(), Host()
    observer.host = host
    await tell(observer, LIVE, OVER, OVER, replace(OVER, call_id="call-2", metadata={}))
    assert host.delivered == [("agent:main:voice:+15550000001", "call-1"), ("", "call-2")]


async def test_a_host_that_fails_costs_one_line_and_not_the_web_address(caplog):
    async with receiving() as receiver:
        observer = notifier(receiver.url)
        observer.host = Host(error=RuntimeError("no such chat"))
        await tell(observer)
    assert len(receiver.requests) == 1
    assert logged(caplog) == [
        "the end of call call-1 could not be told to the host openclaw: RuntimeError('no such chat')"
    ]


async def test_a_host_that_does_not_let_go_holds_up_no_stop(caplog):
    released = asyncio.Event()

    class Stubborn(Host):
        async def deliver(self, session_key, record):
            while not released.is_set():
                with suppress(asyncio.CancelledError):
                    await released.wait()

    observer = notifier(close_limit=0.05)
    observer.host = Stubborn()
    async with asyncio.timeout(5):
        await observer.on_entry(OVER, example_entry(1))
        await observer.close()
    released.set()
    await asyncio.gather(*observer._tasks)


async def test_without_anybody_to_tell_nothing_happens(caplog):
    await tell(notifier())
    assert logged(caplog) == []


class NoStore:
    async def put_call(self, record):
        pass

    async def append_journal(self, entries):
        pass


async def test_the_plugin_registers_itself_and_lives_as_long_as_the_service(tmp_path):
    async with receiving() as receiver:
        registry = load_registry(load_entry_points=False)
        config = registry.config_model().model_validate({"notifyUrl": receiver.url, "notifySecret": "key"})
        observers = registry.collect("voicecall_register_observers", config=config)
        hub = JournalHub(NoStore(), observers, registry.manager)
        hub.open()
        host = Host()
        runtime = SimpleNamespace(host=host, state_dir=tmp_path, store=NoStore())
        (lifespan,) = registry.manager.hook.voicecall_lifespan(runtime=runtime)
        async with lifespan:
            hub.write(OVER, example_entry(1))
        await hub.close()
    assert len(receiver.requests) == 1
    assert "X-OpenClaw-Signature" in receiver.requests[0][0]
    assert host.delivered == [("agent:main:voice:+15550000001", "call-1")]


@dataclass
class Records:
    """A store that knows some records."""

    records: dict[str, object] = field(default_factory=dict)

    async def get_call(self, call_id):
        return self.records.get(call_id)


@dataclass
class Process:
    """A service with a host, from its start to its end; several of them share one state folder."""

    folder: Path
    host: Host | None
    store: Records = field(default_factory=Records)
    live: bool = False

    async def __aenter__(self) -> EndNotifier:
        self.observer = notifier(live=self.live)
        self.observer.host = self.host
        if self.host:
            self.observer.untold = Untold(self.folder)
            await self.observer.tell_what_is_left(self.host, self.store)
        return self.observer

    async def __aexit__(self, *_):
        async with asyncio.timeout(20):
            await self.observer.close()


AWAY = HostError("the gateway is gone")


async def test_an_end_that_the_host_was_not_there_for_is_told_after_the_next_start(tmp_path, caplog):
    host, store = Host(error=AWAY), Records({"call-1": OVER})
    async with Process(tmp_path, host) as observer:
        await observer.on_entry(LIVE, example_entry(1))
        await observer.on_entry(OVER, example_entry(2))
    assert logged(caplog)[-1] == (
        "the end of call call-1 could not be told to the host openclaw: the gateway is gone; it is told after the next "
        "start"
    )
    back = Host()
    async with Process(tmp_path, back, store):
        pass
    assert [call_id for _, call_id in back.delivered] == ["call-1"]
    async with Process(tmp_path, back, store):
        pass
    assert len(back.delivered) == 1, "once"


async def test_a_call_that_died_with_its_process_is_told_when_it_is_closed(tmp_path):
    async with Process(tmp_path, Host()) as observer:
        await observer.on_entry(LIVE, example_entry(1))
    host = Host()
    async with Process(tmp_path, host, Records({"call-1": LIVE})) as observer:
        await observer.on_entry(OVER, example_entry(9))
    assert [call_id for _, call_id in host.delivered] == ["call-1"]


async def test_what_was_told_is_not_told_again_when_more_comes_of_that_call_after_a_restart(tmp_path):
    host = Host()
    async with Process(tmp_path, host) as observer:
        await observer.on_entry(LIVE, example_entry(1))
        await observer.on_entry(OVER, example_entry(2))
    async with Process(tmp_path, host, Records({"call-1": OVER})) as observer:
        await observer.on_entry(OVER, example_entry(3))
    assert len(host.delivered) == 1


async def test_a_refused_call_that_is_over_with_its_first_entry_is_told(tmp_path):
    host = Host()
    refused = replace(OVER, end_reason="rejected", direction="inbound")
    async with Process(tmp_path, host) as observer:
        await observer.on_entry(refused, example_entry(1))
    assert len(host.delivered) == 1


async def test_a_host_that_comes_back_is_told_while_the_service_runs(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(notify, "HOST_PAUSES", (0.01,))
    host = Host(error=AWAY)
    told = asyncio.Event()

    async def deliver(session_key, record):
        host.delivered.append((session_key, record.call_id))
        if len(host.delivered) < 4:
            raise AWAY
        told.set()

    host.deliver = deliver
    async with Process(tmp_path, host) as observer, asyncio.timeout(10):
        await observer.on_entry(OVER, example_entry(1))
        await told.wait()
    assert logged(caplog) == [
        "the end of call call-1 could not be told to the host openclaw: the gateway is gone; it is tried again"
    ]
    assert Untold(tmp_path).left() == []


async def test_calls_of_a_service_without_a_host_are_nobodys_news_later(tmp_path):
    async with Process(tmp_path, None) as observer:
        await observer.on_entry(OVER, example_entry(1))
    host = Host()
    async with Process(tmp_path, host, Records({"call-1": OVER})):
        pass
    assert host.delivered == []


async def test_the_host_is_told_where_the_transcript_lies_which_only_its_owner_can_read(tmp_path):
    host, paths = Host(), []

    async def deliver(session_key, record):
        paths.append(Path(record.metadata[TRANSCRIPT_PATH]))

    host.deliver = deliver
    async with Process(tmp_path, host) as observer:
        await observer.on_entry(OVER, example_entry(1))
    (path,) = paths
    text = path.read_text("utf-8")
    assert all(" ".join(line.text.split()) in text for line in OVER.transcript)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_an_old_report_is_no_news_any_more(tmp_path):
    untold = Untold(tmp_path)
    untold.add("call-1")
    os.utime(tmp_path / "untold" / "call-1", (0, 0))
    assert untold.left() == []
    assert not untold.has("call-1")


def test_a_call_id_names_no_file_elsewhere(tmp_path):
    untold = Untold(tmp_path)
    for name in ("../there", "", "a/b", "."):
        untold.add(name)
        assert not untold.has(name)
        assert untold.write_transcript(replace(OVER, call_id=name)) == ""
    assert list(tmp_path.iterdir()) == []


@dataclass
class Noted(Host):
    notes: list[tuple[int, int]] = field(default_factory=list)
    noted: asyncio.Event = field(default_factory=asyncio.Event)

    async def note(self, session_key, record, since):
        self.notes.append((since, len(record.transcript)))
        self.noted.set()


def talk(lines: int):
    return replace(
        LIVE, transcript=tuple(TranscriptLine(speaker="caller", text=f"{n}", at=n) for n in range(lines))
    )


async def test_live_notes_tell_what_is_new_and_only_where_they_are_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(livenotes, "EVERY", 0.01)
    host = Noted()
    async with Process(tmp_path, host, live=True) as observer, asyncio.timeout(10):
        for lines in (0, 1, 3):
            host.noted.clear()
            await observer.on_entry(talk(lines), example_entry(lines + 1))
            if lines:
                await host.noted.wait()
        await observer.on_entry(OVER, example_entry(9))
    assert host.notes == [(0, 1), (1, 3)]
    silent = Noted()
    async with Process(tmp_path, silent) as observer:
        await observer.on_entry(talk(3), example_entry(1))
    assert silent.notes == []


async def test_a_host_without_notes_or_with_broken_ones_is_told_the_end_all_the_same(tmp_path, caplog):
    class Broken(Host):
        async def note(self, session_key, record, since):
            raise RuntimeError("no")

    for host in (Host(), Broken()):
        async with Process(tmp_path, host, live=True) as observer:
            await observer.on_entry(talk(2), example_entry(1))
            await asyncio.sleep(0)
            await observer.on_entry(OVER, example_entry(9))
        assert len(host.delivered) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/calls",
        "https://hooks.example.com:8443/calls?key=1",
        "http://127.0.0.1:8080/calls",
        "http://localhost/calls",
        "http://[::1]:8080/",
    ],
)
def test_an_address_is_https_or_on_this_machine(url):
    assert MODEL.model_validate({"notifyUrl": url}).notify_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/calls",
        "http://127.0.0.1.example.com/",
        "http://localhost.example.com/",
        "https://user:hush@hooks.example.com/",
        "ftp://hooks.example.com/",
        "https:///hush",
        "hush.example.com",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/#part",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:port/",
    ],
)
def test_any_other_address_is_refused_and_not_repeated(url):
    with pytest.raises(ValidationError) as refusal:
        MODEL.model_validate({"notifyUrl": url})
    (error,) = refusal.value.errors()
    assert "expected" in error["msg"]
    assert "hush" not in error["msg"]


def test_a_phrase_for_strangers_needs_the_code():
    with pytest.raises(ValidationError, match="code"):
        MODEL.model_validate({"phrases": {"pairing": "Hello."}})
