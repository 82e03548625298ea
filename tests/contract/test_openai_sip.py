"""The carrier `openai-sip` against a stand-in for OpenAI's SIP endpoint, with a caller on a trunk."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from openai.types.realtime import realtime_client_event_param as sdk
from openai_rig import KEY, reading, request

from openclaw_voicecall.api.carrier import LegOrder, LegRef, LegStatus, PlaceCall, WebhookRequest
from openclaw_voicecall.api.realtime import (
    CallerSaid,
    CallOver,
    KeyPressed,
    ModelTool,
    PlaybackBegan,
    PlaybackEnded,
    SessionReady,
    ToolCalled,
    VendorComplained,
)
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import (
    CallIsGone,
    ConfigError,
    InvalidSignature,
    MalformedWebhook,
    VendorAuthError,
    VendorError,
    VendorRejected,
    VendorUnavailable,
    WebhookError,
    WebhookTooLarge,
)
from openclaw_voicecall.providers import openai as plugin
from openclaw_voicecall.providers.openai import sip_carrier
from openclaw_voicecall.providers.openai.accept_check import sdk_problems
from openclaw_voicecall.providers.openai.sip_carrier import SipLimits, open_openai_sip
from openclaw_voicecall.providers.openai.sip_config import OpenAISipConfig
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.sip_trunk import TrunkPhone
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.scripted import CountingIds, LoopClock

pytestmark = pytest.mark.contract

QUESTION = "what time is it please"
LONG = "a long story that goes on and on " * 12
CALLER = "+15550002222"


class Rig:
    """The carrier, its webhook, and the vendor."""

    def __init__(self, vendor, carrier):
        self.vendor = vendor
        self.carrier = carrier
        self.facts = asyncio.Queue()
        self.requests = []
        self.answers = []
        self.answered = asyncio.Queue()

    async def take(self, request):
        answer = await self.answer(request)
        self.answered.put_nowait(answer)
        return answer

    async def answer(self, request):
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = WebhookRequest(
            method=request.method, url=str(request.url), headers=headers, body=await request.read()
        )
        self.requests.append(asked)
        try:
            webhook = self.carrier.verify(asked, 0.0)
            events = self.carrier.parse(webhook)
        except WebhookError as error:
            self.answers.append(error)
            return web.Response(status=error.http_status)
        for event in events:
            self.facts.put_nowait(event)
        reply = self.carrier.reply(webhook, LegOrder(action="none"))
        self.answers.append(reply)
        return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)

    @asynccontextmanager
    async def calling(self, **options):
        """A caller whose call was offered: the phone, the call as it was told, and the answer in the end."""
        url = f"{self.vendor.url.replace('http', 'ws', 1)}/_sip/proj_emulated"
        async with TrunkPhone(url, from_number=CALLER, **options) as phone:
            dialling = asyncio.create_task(phone.dial())
            try:
                yield phone, await self.facts.get(), dialling
            finally:
                phone.hang_up()
                dialling.cancel()
                await asyncio.wait([dialling])

    @asynccontextmanager
    async def talking(self, asks=None, **options):
        """A call that was taken: the phone, its leg, and what the session tells."""
        async with self.calling(**options) as (phone, offered, dialling):
            leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
            async with reading(self.carrier.open_session(leg, asks or request())) as reader:
                await reader.until(lambda: reader.told(SessionReady))
                assert await dialling == 200
                yield phone, leg, reader

    @property
    def call(self):
        return self.vendor.calls.all[-1]


@pytest.fixture
def book():
    return ClipBook()


@pytest.fixture
def spoken():
    """What is said to the caller."""
    return ClipBook()


@pytest.fixture
def settings():
    return {"voice": "cedar", "tracing": {}}


@pytest.fixture
async def rig(book, settings, tmp_path):
    options = {"recognizer": book, "delta_interval": 0.001, "accept_delay": 0.03}
    async with asyncio.timeout(20), OpenAIVoiceEmulator(key=KEY, **options) as vendor:
        config = OpenAISipConfig.model_validate(
            {
                "apiKey": KEY,
                "baseUrl": f"{vendor.url}/v1",
                "projectId": "proj_emulated",
                "webhookSecret": vendor.webhook_secret,
                **settings,
            }
        )
        runtime = Runtime(
            clock=LoopClock(), ids=CountingIds(), state_dir=tmp_path, webhook_url=lambda name: ""
        )
        limits = SipLimits(ready=3.0, transfer=0.4, look=0.1, pauses=(0.05, 0.1, 0.2))
        async with open_openai_sip(config, runtime, limits) as carrier:
            rig = Rig(vendor, carrier)
            app = web.Application()
            app.router.add_post("/hook", rig.take)
            async with TestServer(app) as server:
                vendor.webhook_url = str(server.make_url("/hook"))
                yield rig


async def test_a_call_is_offered_taken_greeted_heard_and_ended(rig, book, spoken):
    rig.vendor.brain.add(Reply(calls=(ToolUse("look_up", {"what": "time"}),)), "It is noon.")

    for text in ("Good morning.", "It is noon."):
        spoken.add(text, babble(text, seed="cedar"))

    async def somebody(phone):
        await phone.wait_until_heard("Good morning.", spoken)
        await phone.say(book.add(QUESTION, babble(QUESTION)))

    async with rig.talking(person=somebody, to="<sip:+15550001111@trunk>") as (phone, leg, reader):
        reader.session.say("Good morning.", asked="greeting")
        await reader.until(lambda: reader.told(ToolCalled))
        phone.press("5")
        reader.session.give_result(reader.told(ToolCalled)[0].call, "noon", asked="time")
        await reader.until(lambda: reader.ended("time") and len(reader.told(PlaybackEnded)) == 2)
        await reader.until(lambda: any(each.final for each in reader.told(CallerSaid)))
        await reader.until(lambda: reader.told(KeyPressed))
        await phone.person.wait_until_heard("It is noon.", spoken)
        assert await rig.carrier.fetch_status(leg) == LegStatus(state="live")
        await rig.carrier.hang_up(leg)
        assert isinstance(await reader.failure(), CallIsGone)
        await phone.finished()
        await rig.carrier.hang_up(leg)
        assert await rig.carrier.fetch_status(leg) == LegStatus(state="ended")
    assert reader.told(CallOver)
    assert [each.digit for each in reader.told(KeyPressed)] == ["5"]
    assert [each.text for each in reader.told(CallerSaid) if each.final] == [QUESTION]
    assert len(reader.told(PlaybackBegan)) == 2
    assert not reader.sound()
    assert not reader.told(VendorComplained)
    session = rig.call.session
    assert session.config["tracing"]["group_id"] == "c1"
    assert rig.vendor.refusals == []
    assert session.errors == []
    problems = [
        found for event in session.received for found in sdk_problems(sdk.RealtimeClientEventParam, event)
    ]
    assert problems == []
    sent = json.dumps([rig.call.accepts, session.received])
    assert "format" not in sent
    assert "null" not in sent


async def test_the_offer_names_both_numbers_and_openai_is_answered_with_nothing_but_200(rig):
    async with rig.calling(to="Sam <sip:+15550001111@trunk>") as (_, offered, _dialling):
        assert (offered.kind, offered.call_id) == ("offered", "")
        assert (offered.from_number, offered.to_number) == (CALLER, "+15550001111")
        assert (rig.answers[0].status, rig.answers[0].body) == (200, b"")


async def test_our_own_call_joins_by_its_secret_and_a_secret_is_good_for_one_call(rig):
    target = rig.carrier.target("ours")
    assert target.uri == "sip:proj_emulated@sip.api.openai.com;transport=tls"
    assert rig.carrier.target("ours").headers != target.headers
    headers = [("X-Call-Token", "wrong"), *target.headers.items()]
    async with rig.calling(headers=headers) as (_, joined, _dialling):
        assert (joined.kind, joined.call_id) == ("joined", "ours")
    async with rig.calling(headers=headers) as (_, again, _dialling):
        assert (again.kind, again.call_id) == ("offered", "")


@pytest.mark.parametrize("fresh", [True, False])
async def test_a_call_that_is_told_of_twice_is_one_call(rig, fresh):
    rig.vendor.live_events = True
    rig.vendor.fail_next("incoming-twice", fresh_id=fresh)
    async with rig.calling():
        for _ in range(3):
            await rig.answered.get()
        assert [answer.status for answer in rig.answers] == [200, 200, 200]
        keys = {rig.carrier.verify(asked, 0.0).replay_key for asked in rig.requests}
        # The same webhook gives the same facts, and the same key by which it is known as a replay.
        assert (len(keys), rig.facts.qsize()) == ((3, 0) if fresh else (2, 1))


async def test_forged_late_and_torn_webhooks_are_refused(rig):
    tell = rig.vendor.calls.tell
    for changes in ({"secret": "whsec_eA=="}, {"age": 3600.0}, {"age": -3600.0}, {"signed": "x"}):
        assert (await tell("rtc_1", **changes)).status == 401
    assert (await tell("rtc_1")).status == 200
    good = rig.requests[-1]
    assert rig.facts.get_nowait().carrier_call_id == "rtc_1"

    def changed(**fields):
        return WebhookRequest(
            **{"method": "POST", "url": good.url, "headers": good.headers, "body": good.body, **fields}
        )

    for wrong in (
        changed(body=good.body + b" "),
        changed(body=b"\xff"),
        changed(method="GET"),
        changed(headers={**good.headers, "webhook-signature": "v1,\xe9"}),
        changed(headers={name: value for name, value in good.headers.items() if name != "webhook-id"}),
    ):
        with pytest.raises(InvalidSignature):
            rig.carrier.verify(wrong, 0.0)
    with pytest.raises(WebhookTooLarge):
        rig.carrier.verify(changed(body=b" " * 70_000), 0.0)


async def test_signed_nonsense_is_malformed(rig):
    for data in (
        {},
        {"call_id": 5},
        {"call_id": "../x"},
        {"call_id": "rtc_1", "sip_headers": [{"name": "From"}]},
    ):
        made = rig.vendor.calls.webhooks.make(
            "realtime.call.incoming", data, secret=rig.vendor.webhook_secret
        )
        asked = WebhookRequest(method="POST", url="/", headers=made.headers, body=made.body)
        with pytest.raises(MalformedWebhook):
            rig.carrier.parse(rig.carrier.verify(asked, 0.0))


@pytest.mark.parametrize(("reason", "status"), [(EndReason.BUSY, 486), (EndReason.REJECTED, 603)])
async def test_a_refused_caller_gets_the_right_sip_status(rig, reason, status):
    async with rig.calling() as (_, offered, dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        await rig.carrier.refuse(leg, reason)
        assert await dialling == status
        await rig.carrier.refuse(leg, reason)


async def test_a_call_that_is_gone_cannot_be_taken(rig):
    leg = LegRef(call_id="c1", carrier_call_id="rtc_unknown")
    async with reading(rig.carrier.open_session(leg, request())) as reader:
        assert isinstance(await reader.failure(), CallIsGone)
    assert await rig.carrier.fetch_status(leg) == LegStatus(state="unknown")


@pytest.mark.parametrize("anyway", [True, False])
async def test_a_server_error_on_accept_is_no_end_where_the_call_was_taken(rig, anyway):
    rig.vendor.fail_next("accept-500", anyway=anyway)
    async with rig.calling() as (_, offered, _dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        async with reading(rig.carrier.open_session(leg, request())) as reader:
            if anyway:
                await reader.until(lambda: reader.told(SessionReady))
            else:
                assert isinstance(await reader.failure(), VendorUnavailable)
    assert len(rig.call.accepts) == (1 if anyway else 0)


async def test_a_call_can_be_taken_again_after_an_attempt_that_failed(rig):
    rig.vendor.fail_next("accept-500")
    async with rig.calling() as (_, offered, dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        async with reading(rig.carrier.open_session(leg, request())) as reader:
            assert isinstance(await reader.failure(), VendorUnavailable)
        async with reading(rig.carrier.open_session(leg, request())) as reader:
            await reader.until(lambda: reader.told(SessionReady))
        assert await dialling == 200


async def test_a_call_is_hung_up_also_where_it_only_rings_or_was_taken_this_very_moment(rig):
    async with rig.calling() as (_, offered, dialling):
        await rig.carrier.hang_up(LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id))
        assert await dialling == 603
    rig.vendor.accept_delay = 0.1
    async with rig.calling() as (phone, offered, dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        async with reading(rig.carrier.open_session(leg, request())):
            await rig.vendor.until(lambda: rig.call.accepts)
            assert await rig.carrier.fetch_status(leg) == LegStatus(state="unknown")
            await rig.carrier.hang_up(leg)
        assert await dialling == 200
        await phone.finished()
    assert rig.call.ended_by == "hangup"


@pytest.mark.parametrize("times", [2, 20])
async def test_a_sideband_that_is_not_there_yet_is_tried_again_for_a_while(rig, times):
    rig.vendor.fail_next("sideband-404", times=times)
    async with rig.calling() as (_, offered, _dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        async with reading(rig.carrier.open_session(leg, request())) as reader:
            if times == 2:
                await reader.until(lambda: reader.told(SessionReady))
            else:
                error = await reader.failure()
                assert isinstance(error, CallIsGone)
                assert "refused what the call was taken with" in str(error)


async def test_a_tool_that_cannot_be_is_refused_before_the_call_is_taken(rig):
    wrong = ModelTool(name="look up", description="", parameters={"type": "object"})
    async with rig.calling() as (_, offered, _dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        async with reading(rig.carrier.open_session(leg, request(tools=(wrong,)))) as reader:
            error = await reader.failure()
    assert isinstance(error, VendorRejected)
    assert "session.tools[0].name" in str(error)
    assert rig.call.accepts == []


async def test_an_accept_that_was_refused_after_all_is_found_out_before_anything_is_said_over_static(rig):
    odd = ModelTool(name="x", description=5, parameters={"type": "object"})
    rig.vendor.invalid_accept = "defaults"
    async with rig.calling() as (_, offered, _dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        async with reading(rig.carrier.open_session(leg, request(tools=(odd,)))) as reader:
            reader.session.say("Hello.", asked="a")
            error = await reader.failure()
        assert isinstance(error, VendorRejected)
        assert reader.told(VendorComplained)[0].what == "accept"
    assert rig.call.session.responses == []


async def test_a_line_that_was_lost_to_static_is_not_talked_on_again(rig, monkeypatch):
    # What our rules let through and the endpoint does not: the repair leaves it out, but the codec is lost.
    body = sip_carrier.accept_body
    monkeypatch.setattr(
        sip_carrier, "accept_body", lambda *a, **k: {**body(*a, **k), "prompt": {"id": "pmpt_1"}}
    )
    async with rig.calling() as (_, offered, _dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        for _ in range(2):
            async with reading(rig.carrier.open_session(leg, request())) as reader:
                reader.session.say("Hello.", asked="a")
                error = await reader.failure()
            assert isinstance(error, VendorRejected)
            assert "static" in str(error)
            assert not reader.told(SessionReady)
    assert rig.call.session.responses == []
    assert len(rig.call.accepts) == 1


async def test_a_fresh_socket_only_steers_the_call(rig, spoken):
    spoken.add("Three.", babble("Three.", seed="cedar"))
    async with rig.talking() as (phone, leg, reader):
        reader.session.say("One.", asked="one")
        await reader.until(lambda: reader.told(PlaybackEnded))
        rig.vendor.fail_next("sideband-drop")
        reader.session.say("Two.", asked="two")
        error = await reader.failure()
        assert isinstance(error, VendorUnavailable)
        assert not reader.told(CallOver)
        asks = request(history=(Line("agent", "One."),))
        async with reading(rig.carrier.open_session(leg, asks)) as again:
            again.session.say("Three.", asked="three")
            await again.until(lambda: again.ended("three") and len(again.told(PlaybackEnded)) >= 1)
            await phone.person.wait_until_heard("Three.", spoken)
    assert len(rig.call.accepts) == 1
    # The reply that nobody steered may be over by the time that it is ended.
    assert {refusal.where for refusal in rig.vendor.refusals} <= {"response.cancel"}


async def test_a_caller_who_hangs_up_is_told_as_the_end_of_the_call(rig):
    async with rig.talking() as (phone, _leg, reader):
        phone.hang_up()
        assert isinstance(await reader.failure(), CallIsGone)
        assert len(reader.told(CallOver)) == 1


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_sideband_that_closes_normally_while_the_call_goes_on_is_an_error(rig, code):
    async with rig.talking() as (_, _leg, reader):
        rig.vendor.fail_next("sideband-drop", code=code)
        reader.session.say(LONG, asked="story")
        assert isinstance(await reader.failure(), VendorUnavailable)
        assert not reader.told(CallOver)


async def test_a_cut_reply_is_cleared_where_it_is_played(rig):
    async with rig.talking() as (_, _leg, reader):
        reader.session.say(LONG, asked="story")
        await reader.until(lambda: reader.told(PlaybackBegan))
        reader.session.cut(reader.told(PlaybackBegan)[0].reply, [])
        await reader.until(lambda: reader.told(PlaybackEnded))
        assert reader.told(PlaybackEnded)[0].cut
        assert not [event for event in rig.call.session.received if event["type"].endswith("truncate")]


async def test_a_transfer_that_happens_ends_the_call(rig):
    async with rig.talking() as (phone, leg, reader):
        await rig.carrier.transfer(leg, "+15550003333")
        assert isinstance(await reader.failure(), CallIsGone)
        assert [each.target for each in phone.refers] == ["tel:+15550003333"]


async def test_a_transfer_that_nothing_comes_of_is_an_error_and_the_call_goes_on(rig):
    rig.vendor.fail_next("refer-nothing")
    async with rig.talking() as (phone, leg, reader):
        with pytest.raises(VendorError, match="accepted the transfer") as failed:
            await rig.carrier.transfer(leg, "+15550003333")
        assert not isinstance(failed.value, CallIsGone)
        reader.session.say("I am sorry.", asked="sorry")
        await reader.until(lambda: reader.ended("sorry"))
        rig.vendor.fail_next("refer-500")
        with pytest.raises(VendorUnavailable):
            await rig.carrier.transfer(leg, "+15550003333")
        assert phone.refers == []


async def test_a_transfer_is_seen_without_a_socket_too(rig):
    async with rig.calling() as (_, offered, dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        async with reading(rig.carrier.open_session(leg, request())) as reader:
            await reader.until(lambda: reader.told(SessionReady))
        assert await dialling == 200
        await rig.carrier.transfer(leg, "+15550003333")
        assert await rig.carrier.fetch_status(leg) == LegStatus(state="ended")


async def test_what_the_endpoint_cannot_do_is_said(rig):
    leg = LegRef(call_id="c1", carrier_call_id="rtc_1")
    place = PlaceCall(
        call_id="c1", to_number=CALLER, from_number=CALLER, webhook_url="", ring_timeout=1, max_duration=1
    )
    with pytest.raises(VendorRejected, match="twilio places them"):
        await rig.carrier.place_call(place)
    with pytest.raises(VendorRejected):
        await rig.carrier.send_digits(leg, "1")
    with pytest.raises(ConfigError):
        rig.carrier.check_options({"x": "y"})
    assert await rig.carrier.find_legs(to_number="", from_number="", since=0, until=1) == []


async def test_a_wrong_key_is_told_as_such(rig, tmp_path):
    config = OpenAISipConfig.model_validate(
        {"apiKey": "sk-wrong", "baseUrl": f"{rig.vendor.url}/v1", "webhookSecret": rig.vendor.webhook_secret}
    )
    runtime = Runtime(clock=LoopClock(), ids=CountingIds(), state_dir=tmp_path, webhook_url=lambda name: "")
    async with open_openai_sip(config, runtime) as carrier:
        with pytest.raises(VendorAuthError):
            await carrier.hang_up(LegRef(call_id="c1", carrier_call_id="rtc_1"))
        with pytest.raises(ConfigError, match="projectId"):
            carrier.target("c1")


async def test_the_plugin_registers_a_carrier_that_opens_can_be_checked_and_signs_a_probe(rig, tmp_path):
    specs = {}
    plugin.voicecall_register_carriers(lambda spec: specs.update({spec.name: spec}))
    spec = specs["openai-sip"]
    given = {"apiKey": KEY, "baseUrl": f"{rig.vendor.url}/v1", "webhookSecret": rig.vendor.webhook_secret}
    config = spec.config.model_validate(given)
    runtime = Runtime(clock=LoopClock(), ids=CountingIds(), state_dir=tmp_path, webhook_url=lambda name: "")
    assert (spec.capabilities.media, spec.capabilities.transfer) == ("remote", True)
    assert await spec.check(config, runtime) == "the key is good, and the account has gpt-realtime-2.1"
    probe = spec.sign_probe(config, rig.vendor.webhook_url)
    async with spec.open(config, runtime) as carrier:
        assert carrier.parse(carrier.verify(probe, 0.0)) == []
    for missing, named in (("apiKey", "OPENAI_API_KEY"), ("webhookSecret", "OPENAI_WEBHOOK_SECRET")):
        wrong = spec.config.model_validate({key: value for key, value in given.items() if key != missing})
        with pytest.raises(ConfigError, match=named):
            async with spec.open(wrong, runtime):
                pass


async def test_a_call_that_never_comes_about_is_given_up(rig):
    rig.vendor.accept_delay = 30.0
    async with rig.calling() as (_, offered, _dialling):
        leg = LegRef(call_id="c1", carrier_call_id=offered.carrier_call_id)
        async with reading(rig.carrier.open_session(leg, request())) as reader:
            assert isinstance(await reader.failure(), CallIsGone)
