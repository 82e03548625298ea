"""Whose word counts about the address that a carrier asked for."""

from contextlib import asynccontextmanager
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from twilio_door import SID, TOKEN, fields

from openclaw_voicecall.api.carrier import CarrierCapabilities, LegOrder, WebhookReply
from openclaw_voicecall.builtin.system import SystemClock
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.providers.twilio import webhooks as twilio
from openclaw_voicecall.providers.twilio.signatures import SignatureCheck
from openclaw_voicecall.server.forwarded import Forwarding
from openclaw_voicecall.server.keys import CLOCK, MANAGER, STORE
from openclaw_voicecall.server.manners import add_manners
from openclaw_voicecall.server.webhooks import WebhookDoor
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.testing.emulators.twilio_signing import sign

pytestmark = pytest.mark.server

HOOK = "/voice/webhook"
OURS = f"https://voice.example.com{HOOK}"
EVIL = f"https://evil.example{HOOK}"
TOLD = {"X-Forwarded-Host": "voice.example.com", "X-Forwarded-Proto": "https"}
HOSTS = {"allowedHosts": ["Voice.example.com"]}
ANY = {"trustForwardingHeaders": True}
MODEL = build_config_model()


class Twilio:
    """The carrier's checks, without an account; it streams every call."""

    def __init__(self):
        self.asked = []

    def verify(self, request, now):
        self.asked.append(request)
        return twilio.verify(
            request, base_url=request.url, account_sid=SID, signatures=SignatureCheck(TOKEN, {})
        )

    def parse(self, webhook):
        return twilio.parse(webhook)

    def reply(self, webhook, order):
        return WebhookReply(body=order.stream_url.encode())


class Manager:
    """Orders a stream for every call."""

    def __init__(self, config):
        self.config = config
        self.addresses = Addresses(config, "127.0.0.1:3334")
        self.engines = SimpleNamespace(
            carriers={"twilio": Twilio()}, capabilities={"twilio": CarrierCapabilities()}
        )

    async def offer(self, carrier, event):
        return LegOrder(action="stream", stream_url=self.addresses.stream(carrier, "token"))


@asynccontextmanager
async def served(tmp_path, security, **settings):
    """A service that believes so much, at the address of one that has no other."""
    config = MODEL.model_validate({"provider": "twilio", "webhookSecurity": security, **settings})
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        app = web.Application()
        app[MANAGER], app[STORE], app[CLOCK] = Manager(config), store, SystemClock()
        add_manners(app)
        WebhookDoor(HOOK, "twilio", Forwarding(config.webhook_security)).add_routes(app)
        async with TestClient(TestServer(app, host="127.0.0.1")) as client:
            yield client, app[MANAGER]


async def ask(client, signed_for, told, *, path=HOOK):
    """Ask as Twilio does, at an address that it may have signed, through a proxy that says so much."""
    form = fields()
    headers = {
        "X-Twilio-Signature": sign(TOKEN, signed_for, form.items()),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    answer = await client.post(path, data=urlencode(form), headers=[*headers.items(), *told])
    return answer.status, await answer.text()


BELIEVED = [
    (HOSTS, TOLD.items()),
    (HOSTS, [("x-forwarded-host", "VOICE.EXAMPLE.COM"), ("X-Forwarded-Proto", "HTTPS")]),
    (HOSTS, [("X-Forwarded-Host", "voice.example.com")]),
    (ANY, TOLD.items()),
    (HOSTS | {"trustedProxyIPs": ["10.0.0.0/8", "127.0.0.1"]}, TOLD.items()),
    (ANY | {"trustedProxyIPs": ["127.0.0.0/8"]}, TOLD.items()),
]
NOT_BELIEVED = [
    ({}, TOLD.items()),
    ({"trustedProxyIPs": ["127.0.0.1"]}, TOLD.items()),
    (HOSTS | {"trustedProxyIPs": ["10.0.0.0/8"]}, TOLD.items()),
    (ANY | {"trustedProxyIPs": ["::1"]}, TOLD.items()),
    (HOSTS, []),
    (HOSTS, [("X-Forwarded-Proto", "https")]),
    (HOSTS, [*TOLD.items(), ("X-Forwarded-Host", "voice.example.com")]),
    (HOSTS, [("X-Forwarded-Host", "voice.example.com, evil.example")]),
    (HOSTS, [("X-Forwarded-Host", "voice.example.com"), ("X-Forwarded-Proto", "ftp")]),
    (HOSTS, [("X-Forwarded-Host", "voice.example.com@evil.example")]),
    (HOSTS, [("X-Forwarded-Host", "voice.example.com/x")]),
    (HOSTS, [("Forwarded", "host=voice.example.com;proto=https")]),
    (HOSTS, [("X-Original-Host", "voice.example.com")]),
]


@pytest.mark.parametrize(("security", "told"), BELIEVED)
async def test_the_address_that_a_trusted_proxy_tells_is_the_one_that_was_signed(tmp_path, security, told):
    async with served(tmp_path, security) as (client, manager):
        status, stream = await ask(client, OURS, told)
        assert (status, stream) == (200, "wss://voice.example.com/voice/stream/twilio/token")
        assert manager.addresses.webhook("twilio") == OURS, "and given out from now on"


@pytest.mark.parametrize(("security", "told"), NOT_BELIEVED)
async def test_what_nobody_vouches_for_is_not_believed(tmp_path, security, told):
    async with served(tmp_path, security) as (client, manager):
        assert (await ask(client, OURS, told))[0] == 401
        assert manager.addresses.webhook("twilio") == f"http://127.0.0.1:3334{HOOK}/twilio"


async def test_a_signature_for_another_host_of_the_same_account_opens_nothing(tmp_path):
    evil = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Host": "evil.example"}
    async with served(tmp_path, HOSTS) as (client, manager):
        assert (await ask(client, EVIL, evil.items()))[0] == 401
        assert (await ask(client, EVIL, TOLD.items()))[0] == 401
        assert manager.addresses.webhook("twilio") == f"http://127.0.0.1:3334{HOOK}/twilio"


async def test_where_the_public_address_is_known_no_header_changes_it(tmp_path):
    public = {"publicUrl": OURS}
    for security in (HOSTS, ANY):
        async with served(tmp_path, security, **public) as (client, manager):
            assert (await ask(client, OURS, []))[0] == 200
            evil = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")]
            assert (await ask(client, OURS, evil))[0] == 200
            assert (await ask(client, EVIL, evil))[0] == 401
            assert manager.addresses.webhook("twilio") == OURS


async def test_the_path_of_a_carrier_counts_as_it_was_asked(tmp_path):
    async with served(tmp_path, HOSTS) as (client, _):
        assert (await ask(client, f"{OURS}/twilio", TOLD.items(), path=f"{HOOK}/twilio"))[0] == 200
        assert (await ask(client, f"{OURS}/twilio", TOLD.items()))[0] == 401


async def test_nothing_is_learned_from_a_repetition(tmp_path):
    async with served(tmp_path, ANY) as (client, manager):
        form = fields()
        headers = {
            "X-Twilio-Signature": sign(TOKEN, OURS, form.items()),
            "Content-Type": "application/x-www-form-urlencoded",
            **TOLD,
        }
        assert (await client.post(HOOK, data=urlencode(form), headers=headers)).status == 200
        assert manager.addresses.webhook("twilio") == OURS
        manager.addresses = Addresses(manager.config, "127.0.0.1:3334")
        assert (await client.post(HOOK, data=urlencode(form), headers=headers)).status == 200
        assert manager.addresses.webhook("twilio") == f"http://127.0.0.1:3334{HOOK}/twilio"


@pytest.mark.parametrize(
    ("proxies", "peer", "told", "remote"),
    [
        ([], "127.0.0.1", "203.0.113.7", "127.0.0.1"),
        (["10.0.0.1"], "127.0.0.1", "203.0.113.7", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "203.0.113.7", "203.0.113.7"),
        (["127.0.0.1"], "::ffff:127.0.0.1", "203.0.113.7", "203.0.113.7"),
        (["127.0.0.1"], "127.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (["127.0.0.1", "203.0.113.0/24"], "127.0.0.1", "198.51.100.1, 203.0.113.7", "198.51.100.1"),
        (["127.0.0.1"], "127.0.0.1", "", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "unknown", "127.0.0.1"),
        (["127.0.0.1"], "127.0.0.1", "198.51.100.1, unknown", "127.0.0.1"),
    ],
)
def test_who_sent_a_request_is_told_by_trusted_proxies_only(proxies, peer, told, remote):
    security = MODEL.model_validate({"webhookSecurity": {"trustedProxyIPs": proxies}}).webhook_security
    headers = {"X-Forwarded-For": told} if told else {}
    request = make_mocked_request("POST", HOOK, headers=headers).clone(remote=peer)
    assert Forwarding(security).remote(request) == remote


async def test_pages_of_others_open_no_socket_and_carriers_need_say_nothing(tmp_path):
    async with served(tmp_path, {}, publicUrl=OURS) as (client, _):
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        for origin, status in (
            ("https://evil.example", 403),
            ("null", 403),
            ("", 403),
            ("http://localhost:3334", 403),
            ("https://voice.example.com.evil.example", 403),
            ("https://voice.example.com", 404),
            ("http://127.0.0.1:3334", 404),
        ):
            answer = await client.get("/nothing", headers={**upgrade, "Origin": origin})
            assert answer.status == status, origin
            assert answer.headers["Connection"] == "close"
        assert (await client.get("/nothing", headers=upgrade)).status == 404
        assert (await client.get("/nothing", headers={"Origin": "https://evil.example"})).status == 404
