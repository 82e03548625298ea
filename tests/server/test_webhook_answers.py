"""The webhook always answers: whatever fails behind the signature, the carrier is told something that ends well."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from openclaw_voicecall.api.carrier import (
    CarrierCapabilities,
    CarrierEvent,
    LegOrder,
    VerifiedWebhook,
    WebhookReply,
)
from openclaw_voicecall.builtin.system import SystemClock
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.errors import InvalidSignature, MalformedWebhook, StoreError, VendorTimeout
from openclaw_voicecall.providers.twilio import twiml
from openclaw_voicecall.server import answers, webhooks
from openclaw_voicecall.server.forwarded import Forwarding
from openclaw_voicecall.server.keys import CLOCK, MANAGER, STORE
from openclaw_voicecall.server.webhooks import WebhookDoor
from openclaw_voicecall.store.sqlite import SqliteStore

pytestmark = pytest.mark.server

HOOK = "/voice/webhook"
GOODBYE = "I'm sorry, I can't go on with this call. Goodbye."
SIGNED = {"X-Signature": "right", "Content-Type": "text/plain"}


class OddCarrier:
    """Takes requests whose signature is `right`; the body names what goes wrong with it."""

    def verify(self, request, now):
        if request.headers["x-signature"] == "odd":
            raise TypeError("a bytes-like object is required, not 'str'")
        if request.headers["x-signature"] != "right":
            raise InvalidSignature("wrong")
        return VerifiedWebhook(request=request, params={}, replay_key=request.body.decode())

    def parse(self, webhook):
        match webhook.replay_key:
            case "cannot be read":
                raise RecursionError
            case "is malformed":
                raise MalformedWebhook("odd")
            case "says nothing":
                return []
        return [CarrierEvent(kind="offered", carrier_call_id=webhook.replay_key)]

    def reply(self, webhook, order):
        if order.action == "stream" and webhook.replay_key == "cannot be answered":
            raise ValueError("no such address")
        text = twiml.hang_up(order.fallback_text) if order.action == "hang-up" else f"<{order.action}/>"
        return WebhookReply(content_type="text/xml", body=text.encode())


class OddManager:
    """Fails at whatever the call is named after."""

    def __init__(self, config):
        self.config = config
        self.addresses = Addresses(config, "127.0.0.1:1")
        abilities = CarrierCapabilities(signature_headers=("x-signature",), webhook_types=("text/plain",))
        self.engines = SimpleNamespace(carriers={"odd": OddCarrier()}, capabilities={"odd": abilities})
        self.offered = []

    async def offer(self, carrier, event):
        self.offered.append(event.carrier_call_id)
        match event.carrier_call_id:
            case "the store fails":
                raise StoreError("disk full")
            case "a vendor fails":
                raise VendorTimeout("no answer")
            case "a bug":
                raise ZeroDivisionError
            case "nothing happens":
                await asyncio.Event().wait()
        return LegOrder(action="stream")


@asynccontextmanager
async def opened(store):
    config = build_config_model()(provider="odd")
    manager = OddManager(config)
    app = web.Application()
    app[MANAGER], app[STORE], app[CLOCK] = manager, store, SystemClock()
    WebhookDoor(HOOK, "odd", Forwarding(config.webhook_security)).add_routes(app)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        yield client, manager


async def status_of(client, sent):
    """The status that bytes are answered with, while their sender waits for it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(sent)
    try:
        async with asyncio.timeout(2):
            return (await reader.readline()).split()[1]
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def store(tmp_path):
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        yield store


@pytest.mark.parametrize(
    "failure",
    ["the store fails", "a vendor fails", "a bug", "nothing happens", "cannot be answered", "cannot be read"],
)
async def test_a_request_that_fails_inside_is_answered_with_a_spoken_goodbye(store, failure, monkeypatch):
    monkeypatch.setattr(webhooks, "ANSWER_LIMIT", 0.05)
    async with opened(store) as (client, manager):
        for _ in range(2):
            answer = await client.post(HOOK, data=failure, headers=SIGNED)
            assert answer.status == 200
            assert answer.content_type == "text/xml"
            document = ElementTree.fromstring(await answer.text())
            assert [verb.tag for verb in document] == ["Say", "Hangup"]
            assert document.findtext("Say") == GOODBYE
        assert len(manager.offered) <= 1, "and once is enough"


async def test_a_signature_check_that_breaks_lets_nobody_in(store):
    async with opened(store) as (client, manager):
        for signature, status in (("odd", 401), ("wrong", 401), ("", 401)):
            answer = await client.post(HOOK, data="hello", headers=SIGNED | {"X-Signature": signature})
            assert answer.status == status
        assert (await client.post(HOOK, data="is malformed", headers=SIGNED)).status == 400
        assert manager.offered == []


async def test_a_store_that_fails_or_hangs_costs_no_caller_their_answer(store, monkeypatch):
    monkeypatch.setattr(answers, "KEEP_LIMIT", 0.05)

    async def full(answer):
        raise StoreError("disk full")

    async def hanging(answer):
        await asyncio.Event().wait()

    for put_answer in (full, hanging):
        monkeypatch.setattr(store, "put_answer", put_answer)
        async with opened(store) as (client, manager):
            for _ in range(3):
                answer = await client.post(HOOK, data="a call", headers=SIGNED)
                assert (answer.status, await answer.text()) == (200, "<stream/>")
            assert manager.offered == ["a call"], "known by this process all the same"


async def test_an_answer_is_on_disk_before_it_is_given(store):
    async with opened(store) as (client, _):
        assert await (await client.post(HOOK, data="a call", headers=SIGNED)).text() == "<stream/>"
        (kept,) = await store.answers(since=0.0)
        assert (kept.carrier, kept.status, kept.content_type, kept.body) == (
            "odd", 200, "text/xml", b"<stream/>"
        )  # fmt: skip
        await client.post(HOOK, data="says nothing", headers=SIGNED)
        assert len(await store.answers(since=0.0)) == 1, "what changed nothing need not be kept"
    async with opened(store) as (client, manager):
        assert await (await client.post(HOOK, data="a call", headers=SIGNED)).text() == "<stream/>"
        assert manager.offered == []


async def test_a_request_that_fails_after_a_flood_of_others_fails_with_its_own_reason(store, monkeypatch):
    monkeypatch.setattr(answers, "ANSWERS_KEPT", 2)
    given = answers.Answers(store, SystemClock())

    async def other():
        return WebhookReply(body=b"other")

    async def failing():
        for name in ("b", "c"):
            await given.once("odd", name, other, keep=False)
        raise StoreError("disk full")

    with pytest.raises(StoreError, match="disk full"):
        await given.once("odd", "a", failing, keep=False)
    assert (await given.once("odd", "a", other, keep=False)).body == b"other", "and may be tried again"


async def test_requests_that_are_wrong_by_their_head_are_refused_before_their_body_is_there(store):
    heads = {
        "X-Signature: right\r\nContent-Type: text/html": b"415",
        "X-Signature: right\r\nContent-Type: text/plain\r\nContent-Type: text/plain": b"400",
        "X-Signature: right": b"415",
        "Content-Type: text/plain": b"401",
        "X-Signature:\r\nContent-Type: text/plain": b"401",
        "X-Signature: right\r\nX-Signature: right\r\nContent-Type: text/plain": b"401",
        "X-Signature: right\r\nContent-Type: text/plain\r\nContent-Length: 70000": b"413",
    }
    async with opened(store) as (client, manager):
        for head, status in heads.items():
            length = "" if "Length" in head else "Content-Length: 10\r\n"
            sent = f"POST {HOOK} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{length}\r\n".encode()
            assert await status_of(client, sent) == status, head
        assert manager.offered == []


async def test_a_body_that_breaks_off_or_is_broken_is_the_senders_fault(store):
    start = f"POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nX-Signature: right\r\nContent-Type: text/plain\r\n"
    async with opened(store) as (client, manager):
        broken = f"{start}Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n".encode()
        assert await status_of(client, broken) == b"400"
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(f"{start}Content-Length: 10\r\n\r\nhal".encode())
        await writer.drain()
        writer.transport.abort()
        assert (await client.post(HOOK, data="a call", headers=SIGNED)).status == 200
        assert manager.offered == ["a call"]
