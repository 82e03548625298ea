"""The stand-in for OpenAI's SIP endpoint: webhook, accept, sideband, what the caller hears, and transfers."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager, suppress

import aiohttp
import openai
import pytest
from aiohttp import web
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

KEY = "sk-emulated"
ORDER = "a table for two"
QUIET = b"\xff" * 160 * 30
HEADERS = [
    ["From", "<sip:+15550001234@trunk>"],
    ["To", "<sip:proj_emulated@loopback>"],
    ["Call-ID", "abc@trunk"],
    ["Proxy-Authorization", "Digest secret"],
    ["X-Call-Token", "token-1"],
    ["X-Call-Token", "token-2"],
]
TOOL = {"type": "function", "name": "end_call", "parameters": {"type": "object", "properties": {}}}
ACCEPT = {
    "type": "realtime",
    "model": "gpt-realtime-2.1",
    "instructions": "You answer the phone.",
    "audio": {"output": {"voice": "marin"}, "input": {"turn_detection": {"type": "server_vad"}}},
    "tools": [TOOL],
}
SERVER_EVENT = TypeAdapter(RealtimeServerEvent)
SAY_HI = {"instructions": 'Say exactly this, word for word, and nothing else: "Hi."', "tool_choice": "none"}
SAY_A_LOT = {"instructions": f'Say exactly this, word for word, and nothing else: "{"much to say " * 30}"'}


class Phone:
    """The trunk and the caller behind it."""

    def __init__(self, socket):
        self.socket = socket
        self.texts = asyncio.Queue()
        self.heard = bytearray()
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.heard += message.data
            else:
                self.texts.put_nowait(json.loads(message.data))
        self.texts.put_nowait(None)

    async def next(self):
        return await self.texts.get()

    async def say(self, audio):
        for at in range(0, len(audio), 160):
            await self.socket.send_bytes(audio[at : at + 160])

    async def hears(self, audio):
        while bytes(audio) not in self.heard:
            await asyncio.sleep(0.01)

    async def close(self):
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading


class Sideband:
    """Sends and reads events."""

    def __init__(self, socket):
        self.socket = socket

    async def send(self, kind, **fields):
        await self.socket.send_json({"type": kind, **fields})

    async def until(self, kind):
        seen = []
        while not seen or seen[-1]["type"] != kind:
            message = await self.socket.receive()
            assert message.type is aiohttp.WSMsgType.TEXT, (message, self.socket.close_code)
            seen.append(json.loads(message.data))
        return seen

    async def closing(self):
        while (await self.socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        return self.socket.close_code


class Rig:
    """A project with its webhook, its key and its callers."""

    def __init__(self, emulator, http):
        self.emulator = emulator
        self.http = http
        self.sdk = openai.OpenAI(api_key="none", webhook_secret=emulator.webhook_secret)
        self.answers = 200
        self.webhooks = asyncio.Queue()

    async def take_webhook(self, request):
        self.webhooks.put_nowait((await request.read(), dict(request.headers)))
        return web.Response(status=self.answers)

    async def incoming(self):
        body, headers = await self.webhooks.get()
        return self.sdk.webhooks.unwrap(body, headers)

    async def post(self, call_id, action, body=None, key=KEY):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{self.emulator.url}/v1/realtime/calls/{call_id}/{action}"
        async with self.http.post(url, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text)["error"] if text else None

    @asynccontextmanager
    async def calling(self, project="proj_emulated"):
        url = f"{self.emulator.url}/_sip/{project}"
        async with asyncio.timeout(5), self.http.ws_connect(url) as socket:
            phone = Phone(socket)
            await socket.send_json({"method": "INVITE", "headers": HEADERS})
            try:
                yield phone
            finally:
                await phone.close()

    @asynccontextmanager
    async def attached(self, call_id, query="", tries=50):
        url = f"{self.emulator.url}/v1/realtime?call_id={call_id}{query}"
        for left in reversed(range(tries)):
            try:
                socket = await self.http.ws_connect(url, headers={"Authorization": f"Bearer {KEY}"})
                break
            except aiohttp.WSServerHandshakeError:
                if not left:
                    raise
                await asyncio.sleep(0.01)
        async with socket:
            yield Sideband(socket)

    @asynccontextmanager
    async def talking(self, **changes):
        """An accepted call with its sideband: id, phone, sideband, first event."""
        async with self.calling() as phone:
            assert await phone.next() == {"status": 180}
            call_id = (await self.incoming()).data.call_id
            assert await self.post(call_id, "accept", {**ACCEPT, **changes}) == (200, None)
            assert await phone.next() == {"status": 200}
            async with self.attached(call_id) as sideband:
                yield call_id, phone, sideband


@pytest.fixture
async def rig():
    book = ClipBook()
    book.add(ORDER, babble(ORDER))
    options = {"recognizer": book, "delta_interval": 0.001, "accept_delay": 0.03}
    async with OpenAIVoiceEmulator(**options) as emulator, aiohttp.ClientSession() as http:
        rig = Rig(emulator, http)
        app = web.Application()
        app.router.add_post("/hook", rig.take_webhook)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        emulator.webhook_url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield rig
        await runner.cleanup()


async def test_a_right_client_takes_a_call_greets_hears_and_hangs_up(rig):
    async with rig.calling() as phone:
        assert await phone.next() == {"status": 180}
        event = await rig.incoming()
        assert event.type == "realtime.call.incoming"
        names = [header.name for header in event.data.sip_headers]
        assert names == ["From", "To", "Call-ID", "X-Call-Token", "X-Call-Token"]
        call_id = event.data.call_id
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            async with rig.attached(call_id, tries=1):
                pass
        assert await rig.post(call_id, "accept", ACCEPT) == (200, None)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            async with rig.attached(call_id, tries=1):
                pass
        async with rig.attached(call_id) as sideband:
            created = (await sideband.until("session.created"))[0]["session"]
            assert created["audio"]["output"] == {
                "format": {"type": "audio/pcmu"},
                "voice": "marin",
                "speed": 1.0,
            }
            assert created["tools"] == [TOOL]
            assert await phone.next() == {"status": 200}
            await sideband.send("response.create", response=SAY_HI)
            events = await sideband.until("output_audio_buffer.stopped")
            kinds = [event["type"] for event in events]
            assert "response.output_audio.delta" not in kinds
            assert kinds.index("output_audio_buffer.started") < kinds.index("output_audio_buffer.stopped")
            await phone.hears(babble("Hi.", seed="marin"))
            rig.emulator.brain.add("Ok")
            await phone.say(babble(ORDER) + QUIET)
            await sideband.until("response.done")
            await phone.hears(babble("Ok", seed="marin"))
            await phone.socket.send_json({"method": "INFO", "digit": "5"})
            assert (await sideband.until("input_audio_buffer.dtmf_event_received"))[-1]["event"] == "5"
            assert await rig.post(call_id, "hangup") == (200, None)
            assert await phone.next() == {"method": "BYE"}
            assert await sideband.closing() == 1000
    call = rig.emulator.calls.all[0]
    assert (call.session.heard, call.ended_by, call.digits) == ([ORDER], "hangup", "5")
    assert rig.emulator.refusals == []
    for event in call.session.sent:
        assert SERVER_EVENT.validate_python({"event_id": "", **event}).type == event["type"]
    assert (await rig.post(call_id, "hangup"))[0] == 404


async def test_a_caller_who_speaks_cuts_the_model_off_and_the_vendor_truncates_by_itself(rig):
    async with rig.talking() as (_, phone, sideband):
        await sideband.send("response.create", response=SAY_A_LOT)
        await sideband.until("response.done")
        assert b"\xff" * 160 not in phone.heard[-160:]
        await phone.say(babble(ORDER))
        truncated = (await sideband.until("conversation.item.truncated"))[-1]
        item = rig.emulator.sessions[0].items[0]
        assert 0 < truncated["audio_end_ms"] == item.truncated_ms < item.audio_ms
        cleared = (await sideband.until("output_audio_buffer.cleared"))[-1]
        assert cleared["response_id"] == rig.emulator.sessions[0].responses[0].id


async def test_the_client_may_clear_what_is_being_played(rig):
    async with rig.talking() as (_, _phone, sideband):
        await sideband.send("response.create", response=SAY_A_LOT)
        await sideband.until("output_audio_buffer.started")
        await sideband.send("response.cancel")
        await sideband.send("output_audio_buffer.clear")
        await sideband.until("output_audio_buffer.cleared")
        assert rig.emulator.sessions[0].items[0].truncated_ms is not None


@pytest.mark.parametrize("changes", [{"tools": [{"type": "web_search"}]}, {"prompt": {"id": "pmpt_1"}}])
async def test_an_accept_with_a_wrong_tool_or_prompt_leaves_defaults_and_static(rig, changes):
    async with rig.talking(**changes) as (_, phone, sideband):
        error, created = await sideband.until("session.created")
        assert error["error"]["event_id"] == "initial_session_update"
        assert error["error"]["param"].startswith(("session.tools[0].type", "session.prompt"))
        session = created["session"]
        assert (session["audio"]["output"]["voice"], session["tools"]) == ("alloy", [])
        assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
        while len(phone.heard) < 320:
            await asyncio.sleep(0.01)
        assert len(set(phone.heard)) > 50
        assert len(rig.emulator.refusals) == 1


@pytest.mark.parametrize(
    "body",
    [
        {key: value for key, value in ACCEPT.items() if key != "type"},
        {**ACCEPT, "voice": "marin"},
        {**ACCEPT, "model": "gpt-4o-realtime-preview"},
        {**ACCEPT, "audio": {"input": {"format": None}}},
    ],
)
async def test_any_other_wrong_accept_is_200_and_the_call_fails(rig, body):
    async with rig.calling() as phone:
        await phone.next()
        call_id = (await rig.incoming()).data.call_id
        assert await rig.post(call_id, "accept", body) == (200, None)
        assert await phone.next() == {"status": 400, "reason": "Bad Request"}
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            async with rig.attached(call_id, tries=1):
                pass
        assert rig.emulator.calls.all[0].ended_by == "accept"


@pytest.mark.parametrize(
    "update",
    [
        {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}},
        {"type": "realtime", "audio": {"input": {"format": None}}},
        {"instructions": "no type"},
    ],
)
async def test_an_update_that_touches_formats_or_is_refused_turns_the_line_to_static(rig, update):
    async with rig.talking() as (_, phone, sideband):
        await sideband.until("session.created")
        await sideband.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
        await sideband.until("session.updated")
        await sideband.send("session.update", session=update)
        while not rig.emulator.sessions[0].errors and len(rig.emulator.sessions[0].updates) < 2:
            await asyncio.sleep(0.01)
        heard = len(phone.heard)
        while len(phone.heard) < heard + 480:
            await asyncio.sleep(0.01)
        assert len(set(phone.heard[-160:])) > 50


async def test_the_sideband_is_no_way_for_audio_and_has_no_model(rig):
    async with rig.talking() as (call_id, _phone, sideband):
        audio = base64.b64encode(bytes(160)).decode()
        await sideband.send("input_audio_buffer.append", audio=audio)
        assert "SIP" in (await sideband.until("error"))[-1]["error"]["message"]
        async with rig.attached(call_id, "&model=gpt-realtime-2.1") as other:
            assert await other.closing() == 4000


async def test_a_call_is_transferred_and_then_over(rig):
    async with rig.talking() as (call_id, phone, sideband):
        assert await rig.post(call_id, "refer", {"target_uri": "tel:+15550002222"}) == (200, None)
        assert await phone.next() == {"method": "REFER", "refer_to": "tel:+15550002222"}
        for status in (202, 200):
            await phone.socket.send_json({"method": "NOTIFY", "status": status})
        assert await phone.next() == {"method": "BYE"}
        assert await sideband.closing() == 1000
        call = rig.emulator.calls.all[0]
        assert (call.refers, call.notified, call.ended_by) == (["tel:+15550002222"], [202, 200], "transfer")


async def test_a_transfer_may_fail_or_not_happen_and_the_call_goes_on(rig):
    rig.emulator.fail_next("refer-500")
    rig.emulator.fail_next("refer-nothing")
    target = {"target_uri": "sip:bar@loopback"}
    async with rig.talking() as (call_id, phone, sideband):
        assert (await rig.post(call_id, "refer", target))[0] == 500
        assert await rig.post(call_id, "refer", target) == (200, None)
        assert await rig.post(call_id, "refer", target) == (200, None)
        assert (await phone.next())["method"] == "REFER"
        for status in (202, 486):
            await phone.socket.send_json({"method": "NOTIFY", "status": status})
        await rig.emulator.until(lambda: rig.emulator.calls.all[0].notified == [202, 486])
        await sideband.send("response.create", response=SAY_HI)
        await phone.hears(babble("Hi.", seed="marin"))
        assert len(rig.emulator.calls.all[0].refers) == 2


@pytest.mark.parametrize(("body", "status"), [(None, 603), ({"status_code": 486}, 486)])
async def test_a_call_is_rejected(rig, body, status):
    async with rig.calling() as phone:
        await phone.next()
        call_id = (await rig.incoming()).data.call_id
        assert await rig.post(call_id, "reject", body) == (200, None)
        assert (await phone.next())["status"] == status
        await rig.emulator.until(lambda: rig.emulator.calls.all[0].ended_by == "reject")


async def test_wrong_requests_get_errors(rig):
    async with rig.calling() as phone:
        await phone.next()
        call_id = (await rig.incoming()).data.call_id
        assert (await rig.post(call_id, "accept", ACCEPT, key=""))[0] == 401
        assert (await rig.post(call_id, "accept", ACCEPT, key="sk-other"))[1]["code"] == "invalid_api_key"
        assert (await rig.post("rtc_x", "accept", ACCEPT))[1]["code"] == "call_id_not_found"
        assert (await rig.post(call_id, "accept", [ACCEPT]))[0] == 400
        assert (await rig.post(call_id, "reject", {"status": 486}))[1]["param"] == "status"
        assert (await rig.post(call_id, "reject", {"status_code": "486"}))[0] == 400
        assert (await rig.post(call_id, "refer", {"target": "tel:+1"}))[1]["param"] == "target"
        assert (await rig.post(call_id, "refer", {"target_uri": "+15550002222"}))[1]["param"] == "target_uri"
        assert (await rig.post(call_id, "refer", {"target_uri": "tel:+15550002222"}))[0] == 404
        assert (await rig.post(call_id, "accept", ACCEPT))[0] == 200
        assert (await rig.post(call_id, "accept", ACCEPT))[1]["code"] == "call_already_accepted"


async def test_a_caller_may_give_up_and_a_call_may_ring_in_vain_or_go_astray(rig):
    async with rig.calling() as phone:
        await phone.next()
        await phone.socket.send_json({"method": "BYE"})
        await rig.emulator.until(lambda: rig.emulator.calls.all[0].ended_by == "caller")
        assert (await rig.post(rig.emulator.calls.all[0].id, "accept", ACCEPT))[0] == 404
    rig.emulator.ring_timeout = 0.01
    async with rig.calling() as phone:
        assert [(await phone.next())["status"] for _ in range(2)] == [180, 480]
    async with rig.calling("proj_other") as phone:
        assert (await phone.next())["status"] == 404


async def test_a_caller_who_hangs_up_ends_the_sideband(rig):
    async with rig.talking() as (_, phone, sideband):
        await phone.socket.send_json({"method": "BYE"})
        assert await sideband.closing() == 1000
        assert rig.emulator.calls.all[0].ended_by == "caller"


async def test_webhooks_may_be_forged_late_replayed_doubled_and_for_the_other_api(rig):
    rig.emulator.fail_next("incoming-twice")
    rig.emulator.live_events = True
    async with rig.calling() as phone:
        await phone.next()
        kinds = sorted([(await rig.incoming()).type for _ in range(3)])
    assert kinds == ["live.transport.incoming", "realtime.call.incoming", "realtime.call.incoming"]
    first, again, live = rig.emulator.calls.webhooks.deliveries
    assert first.headers["webhook-id"] == again.headers["webhook-id"] != live.headers["webhook-id"]
    call_id = rig.emulator.calls.all[0].id
    for wrong in (
        {"secret": "whsec_bm90IHRoZSBzZWNyZXQ="},
        {"age": 301},
        {"age": -301},
        {"signed": "v1,eA=="},
    ):
        assert (await rig.emulator.calls.tell(call_id, **wrong)).status == 200
        with pytest.raises(openai.InvalidWebhookSignatureError):
            await rig.incoming()
    await rig.emulator.calls.replay(first)
    assert (await rig.incoming()).id == first.event["id"]
    await rig.emulator.calls.tell("rtc_none", From="<sip:+15550001234@trunk>")
    assert (await rig.incoming()).data.call_id == "rtc_none"


async def test_a_webhook_that_is_not_taken_comes_again_with_its_id(rig):
    rig.answers = 500
    async with rig.calling() as phone:
        await phone.next()
        (_, first), (_, second) = await rig.webhooks.get(), await rig.webhooks.get()
        assert first["webhook-id"] == second["webhook-id"]


async def test_the_vendor_may_fail_a_call(rig):
    for fault in ("accept-404", "accept-500"):
        rig.emulator.fail_next(fault)
    async with rig.calling() as phone:
        await phone.next()
        call_id = (await rig.incoming()).data.call_id
        assert [(await rig.post(call_id, "accept", ACCEPT))[0] for _ in range(3)] == [404, 500, 200]
        assert await phone.next() == {"status": 200}
        rig.emulator.fail_next("sideband-404")
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            async with rig.attached(call_id, tries=1):
                pass
        for code in (1000, None):
            rig.emulator.fail_next("sideband-drop", code=code)
            async with rig.attached(call_id) as sideband:
                await sideband.send("response.create", response=SAY_HI)
                assert await sideband.closing() == (code or 1006)
            await phone.hears(babble("Hi.", seed="marin"))
            await rig.emulator.until(lambda: rig.emulator.sessions[0].responses[-1].status == "completed")
            phone.heard.clear()
        rig.emulator.fail_next("remote-hangup", after="output_audio_buffer.started")
        async with rig.attached(call_id) as sideband:
            await sideband.send("response.create", response=SAY_A_LOT)
            assert await phone.next() == {"method": "BYE"}
            assert await sideband.closing() == 1000


async def test_a_call_may_end_in_the_middle_of_a_sentence(rig):
    rig.emulator.fail_next("mid-sentence-close", code=1011)
    async with rig.talking() as (_, phone, sideband):
        await sideband.send("response.create", response=SAY_HI)
        assert await sideband.closing() == 1011
        assert await phone.next() == {"method": "BYE"}
