"""The Twilio carrier against a strict stand-in for Twilio's REST API: one dial, one call, and nothing left ringing."""

import asyncio
import base64
import sys
import time
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree import ElementTree

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from openclaw_voicecall.api.carrier import LegOrder, LegRef, PlaceCall, WebhookRequest
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import (
    ConfigError,
    DialUnknown,
    EngineMissing,
    VendorAuthError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import twilio
from openclaw_voicecall.providers.twilio import dialling, rest
from openclaw_voicecall.providers.twilio.config import TwilioConfig

pytestmark = pytest.mark.contract

ACCOUNT = "AC" + "1" * 32
TOKEN = "t0ken"
HOOK = "https://voice.example.com/voice/webhook/twilio"
TO, FROM = "+15550002222", "+15550001111"
CREATE = {
    "To", "From", "Url", "Method", "StatusCallback", "StatusCallbackEvent", "StatusCallbackMethod", "Timeout",
    "TimeLimit", "MachineDetection", "AsyncAmd", "AsyncAmdStatusCallback", "AsyncAmdStatusCallbackMethod",
}  # fmt: skip
UPDATE = {"Status", "Twiml", "Url", "Method", "TimeLimit", "StatusCallback", "StatusCallbackMethod"}


class Twilio:
    """Twilio's REST API for calls. It refuses what Twilio does not know, in Twilio's error form."""

    def __init__(self):
        self.calls = {}
        self.posts = []
        self.lists = 0
        self.fault = None
        """`(status, code)` to refuse with, or `reset`, `hang`, `junk`: what becomes of the next dials."""
        self.faults = []
        """What becomes of the next dials only, oldest first."""
        self.dials = True
        """Whether a dial whose answer is lost was carried out."""
        self.on_dial = lambda sid: None
        self.answering = asyncio.Event()

    def app(self):
        app = web.Application()
        root = "/2010-04-01/Accounts/{account}/Calls"
        app.router.add_post(root + ".json", self._create)
        app.router.add_get(root + ".json", self._list)
        app.router.add_get(root + "/{sid}.json", self._fetch)
        app.router.add_post(root + "/{sid}.json", self._update)
        return app

    def add(self, *, status="queued", direction="outbound-api", age=0.0, to=TO, from_=FROM):
        sid = f"CA{len(self.calls):032x}"
        self.calls[sid] = {
            "sid": sid,
            "status": status,
            "direction": direction,
            "to": to,
            "from": from_,
            "date_created": formatdate(time.time() - age),
        }
        return sid

    def _refused(self, request):
        wanted = "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        if request.headers.get("Authorization") != wanted or request.match_info["account"] != ACCOUNT:
            return problem(401, 20003, "Authenticate")
        return None

    async def _create(self, request):
        form = await request.post()
        self.posts.append(form)
        if refused := self._refused(request):
            return refused
        fault = self.faults.pop(0) if self.faults else self.fault
        if isinstance(fault, tuple):
            status, code = fault
            return problem(status, code, "Permission to send has not been enabled" if code else "")
        if set(form) - CREATE or not {"To", "From", "Url"} <= set(form):
            return problem(400, 21205, f"unknown or missing parameter in {sorted(form)}")
        if not form["Timeout"].isdecimal() or not form["TimeLimit"].isdecimal():
            return problem(400, 13224, "not a number")
        sid = self.add(to=form["To"], from_=form["From"]) if self.fault is None or self.dials else ""
        self.on_dial(sid)
        if self.fault == "reset":
            request.transport.abort()
        elif self.fault == "hang":
            await self.answering.wait()
        elif self.fault == "junk":
            return web.Response(status=201, text="<html>", content_type="text/html")
        return web.json_response(self.calls.get(sid, {}), status=201)

    async def _list(self, request):
        self.lists += 1
        if refused := self._refused(request):
            return refused
        assert request.query["To"] == TO
        assert request.query["From"] == FROM
        found = [call for call in self.calls.values() if (call["to"], call["from"]) == (TO, FROM)]
        return web.json_response({"calls": found[::-1], "page": 0, "page_size": 50, "next_page_uri": None})

    async def _fetch(self, request):
        call = self.calls.get(request.match_info["sid"])
        return self._refused(request) or (web.json_response(call) if call else gone())

    async def _update(self, request):
        form, call = await request.post(), self.calls.get(request.match_info["sid"])
        self.posts.append(form)
        if refused := self._refused(request):
            return refused
        if call is None:
            return gone()
        changes = set(form) - {"Method", "StatusCallback", "StatusCallbackMethod"}
        if len(changes) != 1 or not set(form) <= UPDATE or (self.fault == "limit only" and len(form) != 1):
            return problem(400, 20001, "exactly one change")
        allowed = {"completed": {"in-progress"}, "canceled": {"queued", "ringing"}}
        if call["status"] not in allowed.get(form.get("Status"), {"in-progress"}):
            return problem(400, 21220, "Call is not in-progress. Cannot redirect.")
        call["status"] = form.get("Status", call["status"])
        return web.json_response(call)


def problem(status, code, message):
    document = {"code": code, "message": message, "more_info": "", "status": status}
    headers = {"Twilio-Request-Id": "RQ1", "Retry-After": "3"}
    return web.json_response(document, status=status, headers=headers)


def gone():
    return problem(404, 20404, "The requested resource was not found")


class Clock:
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class Ids:
    def __init__(self):
        self.count = 0

    def token(self):
        self.count += 1
        return f"nonce-{self.count}"


def settings(**changes):
    return TwilioConfig(**{"account_sid": ACCOUNT, "auth_token": SecretStr(TOKEN), **changes})


@asynccontextmanager
async def opened(**changes):
    found = []
    twilio.voicecall_register_carriers(register=found.append)
    runtime = Runtime(clock=Clock(), ids=Ids(), state_dir=Path(), webhook_url=lambda name: HOOK)
    async with found[0].open(settings(**changes), runtime) as carrier:
        yield carrier


@pytest.fixture
async def line():
    vendor = Twilio()
    async with TestServer(vendor.app()) as server:
        base = str(server.make_url("")).rstrip("/")
        async with opened(api_base_url=base) as carrier:
            yield SimpleNamespace(vendor=vendor, carrier=carrier, server=server)
        vendor.answering.set()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(dialling, "LOOK_UP_AT", (0.01, 0.02, 0.03))
    monkeypatch.setattr(dialling, "DIAL_AGAIN", (0.01, 0.02, 0.03))
    monkeypatch.setattr(dialling, "LONGEST_WAIT", 0.01)


def dial(**changes):
    fields = {"call_id": "our-call", "to_number": TO, "from_number": FROM, "webhook_url": HOOK}
    return PlaceCall(**{**fields, "ring_timeout": 29.2, "max_duration": 299.5, **changes})


def leg(sid):
    return LegRef(call_id="our-call", carrier_call_id=sid)


def webhook(carrier, url, **changes):
    params = {
        "AccountSid": ACCOUNT, "CallSid": "CA" + "b" * 32, "CallStatus": "in-progress", "Direction": "outbound-api",
        "From": FROM, "To": TO, **changes,
    }  # fmt: skip
    headers = {
        "x-twilio-signature": RequestValidator(TOKEN).compute_signature(url, params),
        "content-type": "application/x-www-form-urlencoded",
    }
    body = urlencode(params).encode()
    return carrier.verify(WebhookRequest(method="POST", url=url, headers=headers, body=body), time.time())


async def test_a_call_is_dialled_with_our_id_its_limits_and_its_reports(line):
    sid = await line.carrier.place_call(dial())
    (form,) = line.vendor.posts
    assert sid in line.vendor.calls
    assert (form["To"], form["From"], form["Timeout"], form["TimeLimit"]) == (TO, FROM, "30", "300")
    assert form.getall("StatusCallbackEvent") == ["initiated", "ringing", "completed"]
    assert "MachineDetection" not in form
    urls = [urlsplit(form[name]) for name in ("Url", "StatusCallback")]
    queries = [parse_qs(url.query) for url in urls]
    assert {f"{url.scheme}://{url.netloc}{url.path}" for url in urls} == {HOOK}
    assert [query["call"] for query in queries] == [["our-call"], ["our-call"]]
    assert [query["for"] for query in queries] == [["voice"], ["status"]]
    assert queries[0]["n"] != queries[1]["n"]


async def test_machine_detection_runs_beside_the_call(line):
    await line.carrier.place_call(dial(machine_detection=True))
    (form,) = line.vendor.posts
    assert (form["MachineDetection"], form["AsyncAmd"]) == ("Enable", "true")
    assert parse_qs(urlsplit(form["AsyncAmdStatusCallback"]).query)["for"] == ["machine"]


async def test_a_phone_never_rings_longer_than_twilio_allows(line):
    await line.carrier.place_call(dial(ring_timeout=900))
    assert line.vendor.posts[0]["Timeout"] == "600"


@pytest.mark.parametrize(
    ("status", "code", "kind", "fix"),
    [
        (401, 20003, VendorAuthError, "twilio.authToken"),
        (403, None, VendorAuthError, "twilio.authToken"),
        (400, 21211, VendorRejected, "number that is to be called"),
        (400, 21210, VendorRejected, "fromNumber"),
        (400, 21215, VendorRejected, "Geographic Permissions"),
        (403, 13227, VendorRejected, "Geographic Permissions"),
        (400, 21219, VendorRejected, "trial account"),
    ],
)
async def test_a_refused_dial_says_twilios_code_and_what_to_do(line, status, code, kind, fix):
    line.vendor.fault = (status, code)
    with pytest.raises(kind) as caught:
        await line.carrier.place_call(dial())
    assert type(caught.value) is kind
    assert fix in str(caught.value)
    assert code is None or f"(code {code})" in str(caught.value)
    assert (caught.value.status, caught.value.request_id, caught.value.retry_after) == (status, "RQ1", 3.0)
    assert (len(line.vendor.posts), line.vendor.lists) == (1, 0)


async def test_a_dial_that_twilio_has_no_time_for_is_sent_again_a_few_times(line, impatient):
    line.vendor.fault = (429, 20429)
    with pytest.raises(VendorRateLimited, match="slowly") as caught:
        await line.carrier.place_call(dial())
    assert (caught.value.status, caught.value.retry_after) == (429, 3.0)
    assert (len(line.vendor.posts), line.vendor.lists, len(line.vendor.calls)) == (4, 0, 0)


async def test_a_dial_that_is_taken_the_second_time_is_one_call(line, impatient):
    line.vendor.faults = [(429, 20429)]
    sid = await line.carrier.place_call(dial())
    assert list(line.vendor.calls) == [sid]
    first, second = (parse_qs(urlsplit(form["Url"]).query) for form in line.vendor.posts)
    assert first["call"] == second["call"]
    assert first["n"] != second["n"]


async def test_a_call_that_is_to_last_longer_than_twilio_lets_it_is_refused(line):
    with pytest.raises(VendorRejected, match="maxDurationSeconds"):
        await line.carrier.place_call(dial(max_duration=14401.0))
    assert line.vendor.posts == []


async def test_a_wrong_token_is_told_as_such():
    vendor = Twilio()
    async with TestServer(vendor.app()) as server:
        base = str(server.make_url("")).rstrip("/")
        async with opened(api_base_url=base, auth_token=SecretStr("s3cret-but-wrong")) as carrier:
            with pytest.raises(VendorAuthError) as caught:
                await carrier.place_call(dial())
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("fault", ["reset", "junk", (500, 20500), (503, None), (408, None)])
async def test_a_call_that_was_placed_though_the_answer_was_lost_is_found_and_not_dialled_again(line, fault):
    old, inbound = line.vendor.add(age=60), line.vendor.add(direction="inbound")
    line.vendor.fault = fault
    if isinstance(fault, tuple):
        line.vendor.add()
    sid = await line.carrier.place_call(dial())
    assert sid not in (old, inbound)
    assert line.vendor.calls[sid]["direction"] == "outbound-api"
    assert len(line.vendor.posts) == 1


async def test_an_answer_that_does_not_come_is_looked_for_too(line, monkeypatch):
    monkeypatch.setattr(rest, "REQUEST_LIMIT", 0.3)
    line.vendor.fault = "hang"
    assert await line.carrier.place_call(dial()) in line.vendor.calls
    assert len(line.vendor.posts) == 1


async def test_a_call_that_was_never_placed_is_given_up(line, impatient):
    line.vendor.fault, line.vendor.dials = "reset", False
    with pytest.raises(DialUnknown, match="not placed again") as caught:
        await line.carrier.place_call(dial())
    assert not caught.value.retryable, "whoever asks again might dial twice"
    assert (len(line.vendor.posts), line.vendor.lists) == (1, 3)


async def test_a_call_that_an_earlier_dial_made_is_not_taken_for_a_later_one(line, impatient):
    first = await line.carrier.place_call(dial())
    line.vendor.fault, line.vendor.dials = "reset", False
    with pytest.raises(VendorUnavailable):
        await line.carrier.place_call(dial(call_id="later"))
    assert list(line.vendor.calls) == [first]


async def test_of_two_calls_that_it_might_be_none_is_taken(line, impatient):
    line.vendor.fault = "reset"
    other = line.vendor.add()
    with pytest.raises(VendorUnavailable, match=other):
        await line.carrier.place_call(dial())


async def test_while_another_dial_to_the_same_number_is_open_a_call_is_not_guessed(line, impatient):
    line.vendor.fault = "hang"
    open_dial = asyncio.create_task(line.carrier.place_call(dial(call_id="other")))
    while not line.vendor.calls:
        await asyncio.sleep(0)
    line.vendor.fault, line.vendor.dials = "reset", False
    with pytest.raises(VendorUnavailable):
        await line.carrier.place_call(dial())
    line.vendor.answering.set()
    assert await open_dial in line.vendor.calls


async def test_a_webhook_with_our_id_finds_the_call_of_a_lost_answer(line, impatient):
    line.vendor.dials = False

    def call_starts(sid):
        url = line.vendor.posts[0]["StatusCallback"]
        line.carrier.parse(webhook(line.carrier, url, CallStatus="initiated"))

    line.vendor.fault, line.vendor.on_dial = "reset", call_starts
    assert await line.carrier.place_call(dial()) == "CA" + "b" * 32


async def test_nothing_is_looked_for_when_twilio_was_not_reached(line, impatient):
    await line.server.close()
    with pytest.raises(VendorUnavailable, match="cannot be reached") as caught:
        await line.carrier.place_call(dial())
    assert caught.value.retryable


async def test_options_and_addresses_that_twilio_does_not_take_are_refused_before_the_dial(line):
    with pytest.raises(ConfigError, match="script"):
        line.carrier.check_options({"script": "friendly"})
    with pytest.raises(VendorRejected, match="underscore"):
        await line.carrier.place_call(dial(webhook_url="https://my_host.example.com/voice/webhook/twilio"))
    assert line.vendor.posts == []


@pytest.mark.parametrize(
    ("status", "left"), [("in-progress", "completed"), ("queued", "canceled"), ("ringing", "canceled")]
)
async def test_a_call_is_hung_up_in_every_state(line, status, left):
    sid = line.vendor.add(status=status)
    await line.carrier.hang_up(leg(sid))
    assert line.vendor.calls[sid]["status"] == left


async def test_a_call_that_is_over_or_unknown_counts_as_hung_up(line):
    await line.carrier.hang_up(leg(line.vendor.add(status="completed")))
    await line.carrier.hang_up(leg("CA" + "f" * 32))
    await line.carrier.hang_up(leg(""))
    assert len(line.vendor.posts) == 2


async def test_a_hang_up_that_twilio_does_not_answer_is_an_error(line, monkeypatch):
    await line.server.close()
    with pytest.raises(VendorUnavailable):
        await line.carrier.hang_up(leg("CA" + "f" * 32))


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        ("ringing", "live", None),
        ("in-progress", "live", None),
        ("completed", "ended", None),
        ("busy", "ended", EndReason.BUSY),
        ("no-answer", "ended", EndReason.NO_ANSWER),
        ("failed", "ended", EndReason.FAILED),
    ],
)
async def test_the_state_of_a_call_can_be_asked(line, status, state, reason):
    found = await line.carrier.fetch_status(leg(line.vendor.add(status=status)))
    assert (found.state, found.reason) == (state, reason)


async def test_a_call_that_is_over_has_the_times_that_twilio_keeps(line):
    sid = line.vendor.add(status="completed", age=100)
    line.vendor.calls[sid] |= {"end_time": formatdate(1_700_000_060), "duration": "40"}
    found = await line.carrier.fetch_status(leg(sid))
    assert (found.answered_at, found.ended_at) == (1_700_000_020, 1_700_000_060)


async def test_legs_are_found_by_their_numbers_and_time(line):
    now = time.time()
    line.vendor.add(age=300)
    line.vendor.add(direction="inbound")
    wanted = line.vendor.add(age=20)
    span = {"to_number": TO, "from_number": FROM, "since": now - 25, "until": now - 15}
    assert await line.carrier.find_legs(**span) == [wanted]
    made_here = await line.carrier.place_call(dial())
    assert made_here not in await line.carrier.find_legs(**{**span, "until": now + 30})


async def test_no_leg_is_taken_for_a_lost_one_while_it_may_be_that_of_an_open_dial(line):
    line.vendor.fault = "hang"
    open_dial = asyncio.create_task(line.carrier.place_call(dial()))
    while not line.vendor.calls:
        await asyncio.sleep(0)
    with pytest.raises(VendorUnavailable, match="under way"):
        await line.carrier.find_legs(to_number=TO, from_number=FROM, since=0.0, until=time.time())
    line.vendor.answering.set()
    await open_dial


async def test_the_state_of_an_unknown_call_is_unknown(line):
    assert (await line.carrier.fetch_status(leg("CA" + "f" * 32))).state == "unknown"
    assert (await line.carrier.fetch_status(leg(""))).state == "unknown"


async def test_a_caller_is_transferred_by_new_twiml(line):
    sid = line.vendor.add(status="in-progress")
    await line.carrier.transfer(leg(sid), "+15550003333")
    assert ElementTree.fromstring(line.vendor.posts[0]["Twiml"]).findtext("Dial/Number") == "+15550003333"


async def test_a_call_that_is_being_answered_is_taken_over_as_soon_as_it_is(line):
    sid = line.vendor.add(status="ringing")
    taking = asyncio.create_task(line.carrier.take_over(leg(sid)))
    while not line.vendor.posts:
        await asyncio.sleep(0.01)
    line.vendor.calls[sid]["status"] = "in-progress"
    await taking
    assert [post["Method"] for post in line.vendor.posts] == ["POST", "POST"]
    assert "for=over" in line.vendor.posts[-1]["Url"]


async def test_a_call_that_is_over_is_not_taken_over(line):
    with pytest.raises(VendorRejected, match="not in-progress"):
        await line.carrier.take_over(leg(line.vendor.add(status="completed")))


async def test_twilio_is_told_how_long_an_inbound_call_may_last(line):
    await line.carrier.limit_duration(leg(line.vendor.add(status="in-progress")), 89.5)
    asked = dict(line.vendor.posts[0])
    assert (asked["TimeLimit"], asked["StatusCallbackMethod"]) == ("90", "POST")
    assert "for=status" in asked["StatusCallback"]


async def test_the_limit_is_set_even_where_reports_cannot_be_asked_for(line):
    line.vendor.fault = "limit only"
    await line.carrier.limit_duration(leg(line.vendor.add(status="in-progress")), 89.5)
    assert dict(line.vendor.posts[-1]) == {"TimeLimit": "90"}


async def test_digits_are_refused_because_they_would_end_the_stream(line):
    with pytest.raises(VendorRejected, match="tones"):
        await line.carrier.send_digits(leg(line.vendor.add(status="in-progress")), "12")
    assert line.vendor.posts == []


async def test_a_request_that_takes_too_long_is_an_error_of_its_own(line, monkeypatch):
    monkeypatch.setattr(rest, "REQUEST_LIMIT", 0.0)
    with pytest.raises(VendorTimeout):
        await line.carrier.transfer(leg(line.vendor.add(status="in-progress")), TO)


async def test_orders_are_answered_in_twiml(line):
    question = webhook(line.carrier, HOOK, CallStatus="ringing", Direction="inbound")

    def verbs(**order):
        reply = line.carrier.reply(question, LegOrder(**order))
        assert (reply.status, reply.content_type) == (200, "text/xml")
        return [verb.tag for verb in ElementTree.fromstring(reply.body)]

    assert verbs(action="stream", stream_url="wss://h/s", fallback_text="Bye") == [
        "Connect",
        "Say",
        "Redirect",
    ]
    assert verbs(action="turn", text="Hi") == ["Gather", "Redirect"]
    assert verbs(action="turn", text="Hi", listen=False) == ["Say", "Redirect"]
    assert verbs(action="reject", reason=EndReason.BUSY) == ["Reject"]
    assert verbs(action="hang-up") == ["Hangup"]
    assert verbs(action="bridge", sip_uri="sip:proj_1@sip.example.com;transport=tls") == ["Dial"]
    assert verbs(action="none") == []


async def test_a_waiting_call_asks_again_at_an_address_that_is_new_each_time(line):
    question = webhook(line.carrier, HOOK + "?call=our-call&for=voice&n=1")
    urls = []
    for _ in range(2):
        reply = line.carrier.reply(question, LegOrder(action="wait"))
        urls.append(ElementTree.fromstring(reply.body).findtext("Redirect"))
    again = [webhook(line.carrier, url) for url in urls]
    assert again[0].replay_key != again[1].replay_key
    assert [event.call_id for event in line.carrier.parse(again[0])] == ["our-call"]


@pytest.mark.parametrize(
    ("region", "host"),
    [
        (None, "api.twilio.com"),
        ("us1", "api.ashburn.us1.twilio.com"),
        ("ie1", "api.dublin.ie1.twilio.com"),
        ("au1", "api.sydney.au1.twilio.com"),
    ],
)
async def test_each_region_has_its_address(region, host, monkeypatch):
    monkeypatch.setenv("TWILIO_EDGE", "tokyo")
    monkeypatch.setenv("TWILIO_REGION", "jp1")
    asked = []

    async def request(client, method, url, **arguments):
        asked.append(urlsplit(url).hostname)
        raise ConnectionError

    monkeypatch.setattr(rest.AsyncTwilioHttpClient, "request", request)
    async with opened(region=region) as carrier:
        with pytest.raises(VendorUnavailable):
            await carrier.fetch_status(leg("CA" + "f" * 32))
    assert asked == [host]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"account_sid": None}, "TWILIO_ACCOUNT_SID"),
        ({"auth_token": None}, "TWILIO_AUTH_TOKEN"),
        ({"auth_token": SecretStr(" ")}, "TWILIO_AUTH_TOKEN"),
        ({"signing_keys": {"key-1": SecretStr("")}}, "signingKeys"),
    ],
)
async def test_without_its_keys_the_carrier_does_not_open(changes, key):
    with pytest.raises(ConfigError, match=key):
        async with opened(**changes):
            pass


async def test_without_the_sdk_the_owner_is_told_how_to_install_it(monkeypatch):
    for name in ("carrier", "rest"):
        monkeypatch.delitem(sys.modules, f"openclaw_voicecall.providers.twilio.{name}")
    monkeypatch.setitem(sys.modules, "twilio.rest", None)
    with pytest.raises(EngineMissing, match="pip install"):
        async with opened():
            pass


async def test_no_phone_number_or_secret_gets_into_the_log(line, caplog):
    caplog.set_level("DEBUG")
    line.vendor.fault = "junk"
    await line.carrier.place_call(dial())
    assert "outcome is unknown" in caplog.text
    assert not any(word in caplog.text for word in (TO, FROM, TOKEN))
