"""The phone of the local line against a small service: real processes, real sockets, real pace."""

import asyncio
import json
import os
import signal
import sys
import textwrap
import time
import wave
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from openclaw_voicecall.api.carrier import (
    AudioReceived,
    DtmfPressed,
    LegOrder,
    LegRef,
    LegStatus,
    MarkEchoed,
    PlaceCall,
    StreamStarted,
    StreamStopped,
    WebhookRequest,
)
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import (
    ConfigError,
    EngineMissing,
    InvalidSignature,
    MalformedWebhook,
    RemoteProtocolError,
    ScriptError,
    ServiceNotRunning,
    VendorRejected,
)
from openclaw_voicecall.providers._mediastreams import MediaStreamsCodec
from openclaw_voicecall.providers.local import line_files, webhooks
from openclaw_voicecall.providers.local.carrier import LocalCarrier, open_local_line
from openclaw_voicecall.providers.local.config import LocalConfig
from openclaw_voicecall.providers.local.phone import PhoneReport, ring_service
from openclaw_voicecall.providers.local.phone.audio import decode, loudness, tone
from openclaw_voicecall.providers.local.phone.far_end import FarEnd
from openclaw_voicecall.providers.local.phone.performance import perform
from openclaw_voicecall.providers.local.phone.prompts import SHIPPED, gather_lines
from openclaw_voicecall.providers.local.phone.script import Interrupt, Play, Repeat, Say, Script, WaitForAgent
from openclaw_voicecall.providers.local.processes import is_running, process_start

pytestmark = pytest.mark.contract

LIMIT = 10.0
TALK = tone((300.0, 700.0), 1.0, -20.0)


async def poll(condition):
    """Wait for something that nobody tells: what a process of another parent does."""
    async with asyncio.timeout(LIMIT):
        while not await condition():
            await asyncio.sleep(0.02)


class Stream:
    """The service's end of one media stream. What the phone sends must be right, or the test fails."""

    def __init__(self, socket, codec):
        self.socket = socket
        self.codec = codec
        self.started = None
        self.stopped = False
        self.audio = []
        self.marks = []
        self.digits = ""
        self.problem = None
        self.closed = asyncio.Event()
        self._changed = asyncio.Event()

    async def serve(self):
        try:
            async for message in self.socket:
                assert message.type is WSMsgType.TEXT
                for fact in self.codec.receive(message.data):
                    self._take(fact)
                self._changed.set()
        except RemoteProtocolError as error:
            self.problem = error
        finally:
            self.closed.set()
            self._changed.set()

    def _take(self, fact):
        match fact:
            case StreamStarted():
                self.started = fact
            case AudioReceived():
                self.audio.append((time.monotonic(), fact))
            case MarkEchoed(name):
                self.marks.append((time.monotonic(), name))
            case DtmfPressed(digit):
                self.digits += digit
            case StreamStopped():
                self.stopped = True

    async def until(self, condition):
        """Wait until a condition on what was received holds."""
        async with asyncio.timeout(LIMIT):
            while not condition():
                assert not self.closed.is_set(), "the stream closed first"
                self._changed.clear()
                await self._changed.wait()

    async def frames(self, count):
        """Let so many frames of 20 ms pass."""
        wanted = len(self.audio) + count
        await self.until(lambda: len(self.audio) >= wanted)

    async def send(self, message):
        await self.socket.send_str(message)

    async def play(self, audio, *, mark=""):
        await self.send(self.codec.audio(audio))
        if mark:
            await self.send(self.codec.mark(mark))

    async def wait_closed(self):
        async with asyncio.timeout(LIMIT):
            await self.closed.wait()

    def loud_since(self):
        """When the phone's voice began, as seconds of the stream."""
        return next(fact.timestamp for _, fact in self.audio if loudness(fact.audio) > -45)


@dataclass
class Service:
    """A service that answers as told and keeps what it is told."""

    state_dir: Path
    orders: dict = field(default_factory=dict)
    events: list = field(default_factory=list)
    streams: asyncio.Queue = field(default_factory=asyncio.Queue)
    carrier: LocalCarrier = None
    runner: web.AppRunner = None
    url: str = ""
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self):
        app = web.Application()
        app.router.add_post("/voice/webhook/local", self._webhook)
        app.router.add_get("/voice/stream/local/{token}", self._stream)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        host, port = self.runner.addresses[0]
        self.url = f"http://{host}:{port}/voice/webhook/local"
        stream = LegOrder(action="stream", stream_url=f"ws://{host}:{port}/voice/stream/local/token")
        self.orders = {"answered": stream, "offered": stream}

    async def _webhook(self, request):
        received = WebhookRequest(
            method=request.method,
            url=str(request.url),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        webhook = self.carrier.verify(received, time.time())
        (event,) = self.carrier.parse(webhook)
        self.events.append(event)
        self._heard.set()
        order = self.orders.get(event.kind, LegOrder(action="none"))
        if isinstance(order, list):
            order = order.pop(0)
        reply = self.carrier.reply(webhook, order)
        return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)

    async def _stream(self, request):
        socket = web.WebSocketResponse(compress=False, timeout=1.0)
        await socket.prepare(request)
        stream = Stream(socket, self.carrier.media_codec())
        self.streams.put_nowait(stream)
        await stream.serve()
        return socket

    async def stream(self):
        async with asyncio.timeout(LIMIT):
            stream = await self.streams.get()
        await stream.until(lambda: stream.started is not None)
        return stream

    async def event(self, kind):
        """Wait for a report of this kind and return it."""
        async with asyncio.timeout(LIMIT):
            while not any(event.kind == kind for event in self.events):
                self._heard.clear()
                await self._heard.wait()
        return next(event for event in self.events if event.kind == kind)

    async def call(self, script, *, ring_timeout=20.0, max_duration=60.0, **options):
        carrier_call_id = await self.carrier.place_call(
            PlaceCall(
                call_id="call-1",
                to_number="+15550001234",
                from_number="+15550100000",
                webhook_url=self.url,
                ring_timeout=ring_timeout,
                max_duration=max_duration,
                options={"script": str(script), **options},
            )
        )
        return LegRef(call_id="call-1", carrier_call_id=carrier_call_id)

    def status(self, leg):
        return line_files.read_status(line_files.status_path(self.state_dir, leg.carrier_call_id))

    async def phone_gone(self, leg):
        """Wait until the phone's process is really gone."""

        async def gone():
            status = self.status(leg)
            return status is not None and not status.running()

        await poll(gone)

    def runtime(self):
        return Runtime(clock=None, ids=None, state_dir=self.state_dir, webhook_url=lambda carrier: self.url)


@pytest.fixture
async def service(tmp_path):
    service = Service(tmp_path)
    await service.listen()
    try:
        async with open_local_line(LocalConfig(), service.runtime()) as carrier:
            service.carrier = carrier
            yield service
    finally:
        await service.runner.cleanup()


@pytest.fixture
def script(tmp_path):
    def write(text, name="script.yaml"):
        path = tmp_path / name
        path.write_text("name: test\nring: 0\n" + textwrap.dedent(text))
        return path

    return write


async def no_voice(text):
    raise AssertionError(f"the test does not expect {text!r} to be synthesized")


def ring(service, script, **options) -> "asyncio.Task[PhoneReport]":
    return asyncio.ensure_future(ring_service(service.state_dir, str(script), speak=no_voice, **options))


# Signalling


async def test_a_called_phone_rings_answers_and_reports_how_the_call_ended(service, tmp_path):
    ringing = tmp_path / "ringing.yaml"
    ringing.write_text("name: ringing\nring: 0.3\n")
    leg = await service.call(ringing)
    stream = await service.stream()
    assert stream.started == StreamStarted(leg.carrier_call_id, {"callId": "call-1"})
    assert await service.carrier.fetch_status(leg) == LegStatus(state="live")
    await service.carrier.hang_up(leg)
    ended = await service.event("ended")
    assert [event.kind for event in service.events] == ["ringing", "answered", "ended"]
    assert ended.reason is EndReason.COMPLETED
    assert (ended.call_id, ended.carrier_call_id) == ("call-1", leg.carrier_call_id)
    assert (ended.from_number, ended.to_number) == ("+15550100000", "+15550001234")
    assert stream.stopped
    await service.phone_gone(leg)
    assert (await service.carrier.fetch_status(leg)).reason is EndReason.COMPLETED
    await service.carrier.hang_up(leg)


@pytest.mark.parametrize(
    ("answer", "kinds", "reason"),
    [
        ("busy", ["ended"], EndReason.BUSY),
        ("reject", ["ended"], EndReason.BUSY),
        ("never", ["ringing", "ended"], EndReason.NO_ANSWER),
    ],
)
async def test_a_phone_that_does_not_answer_says_why(service, script, answer, kinds, reason):
    leg = await service.call(script(f"answer: {answer}\n"), ring_timeout=0.4)
    ended = await service.event("ended")
    assert [event.kind for event in service.events] == kinds
    assert ended.reason is reason
    await service.phone_gone(leg)
    status = await service.carrier.fetch_status(leg)
    assert (status.state, status.reason) == ("ended", reason)


async def test_a_ringing_phone_can_be_hung_up(service, script):
    leg = await service.call(script("answer: never\n"))
    await service.event("ringing")
    await service.carrier.hang_up(leg)
    assert (await service.event("ended")).reason is EndReason.COMPLETED
    await service.phone_gone(leg)


async def test_an_inbound_call_is_streamed_once_the_service_says_so(service, script):
    service.orders["offered"] = [LegOrder(action="wait"), service.orders["offered"]]
    calling = ring(service, script('from: "+15550007777"\n'), to="+15550008888")
    stream = await service.stream()
    offers = [event for event in service.events if event.kind == "offered"]
    assert len(offers) == 2, "a service that says wait is asked again"
    assert (offers[0].from_number, offers[0].to_number) == ("+15550007777", "+15550008888")
    assert stream.started.carrier_call_id == offers[0].carrier_call_id
    await stream.socket.close()
    report = await calling
    assert report.end_reason == "completed"
    assert [entry.event for entry in report.timeline][:3] == [
        "rings the service",
        "answered",
        "stream started",
    ]
    assert (await service.event("ended")).reason is EndReason.COMPLETED


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (LegOrder(action="reject", reason=EndReason.REJECTED), "rejected"),
        (LegOrder(action="reject", reason=EndReason.BUSY), "busy"),
        (LegOrder(action="hang-up"), "completed"),
        (LegOrder(action="none"), "failed"),
        (LegOrder(action="stream", stream_url="http://127.0.0.1/not-a-stream"), "failed"),
        (LegOrder(action="stream", stream_url="ws://127.0.0.1:1/nobody-listens"), "failed"),
    ],
)
async def test_an_inbound_call_that_gets_no_stream_ends(service, script, order, reason):
    service.orders["offered"] = order
    report = await ring(service, script(""))
    assert report.end_reason == reason
    assert str((await service.event("ended")).reason) == reason
    assert report.stream_monotonic is None


async def test_without_a_service_there_is_nobody_to_ring(tmp_path, script):
    with pytest.raises(ServiceNotRunning, match="openclaw-voicecall serve"):
        await ring_service(tmp_path, str(script("")))
    line_files.open_line_file(tmp_path, "http://127.0.0.1:1/", "key")
    path = tmp_path / "local" / "line.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "started": "another life of this pid"}))
    with pytest.raises(ServiceNotRunning):
        await ring_service(tmp_path, str(script("")))


async def test_the_line_is_announced_while_it_is_open_and_its_key_is_private(tmp_path):
    service = Service(tmp_path, url="http://127.0.0.1:1/")
    async with open_local_line(LocalConfig(), service.runtime()):
        path = tmp_path / "local" / "line.json"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert line_files.find_line(tmp_path).url == "http://127.0.0.1:1/"
    assert not path.exists()


async def test_wrong_options_and_scripts_are_refused_before_anything_is_started(service, script):
    with pytest.raises(ConfigError, match="no option 'scrip'"):
        service.carrier.check_options({"scrip": "friendly"})
    with pytest.raises(ScriptError, match=r"script\.yaml:4: "):
        await service.call(script("steps:\n  - shout: hey\n"))
    assert not service.events


async def test_a_cancelled_ringing_phone_tells_the_service(service, script):
    calling = ring(service, script(""))
    await service.stream()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (await service.event("ended")).reason is EndReason.CALLER_HUNG_UP


# Webhooks


def signed(body, *, key="key", at=1000, method="POST"):
    headers = {
        webhooks.TIMESTAMP_HEADER: str(at),
        webhooks.SIGNATURE_HEADER: webhooks.sign(key, str(at), body),
    }
    return WebhookRequest(method=method, url="http://127.0.0.1/", headers=headers, body=body)


RINGING = json.dumps({"event": "ringing", "carrierCallId": "LC1", "nonce": "n"}).encode()


@pytest.mark.parametrize(
    "request_",
    [
        signed(RINGING, key="another key"),
        signed(RINGING, at=699),
        signed(RINGING, at=1301),
        signed(RINGING, method="GET"),
        WebhookRequest(method="POST", url="", headers={}, body=RINGING),
        WebhookRequest(method="POST", url="", headers=signed(b"{}").headers, body=RINGING),
        WebhookRequest(
            method="POST",
            url="",
            headers={**signed(RINGING).headers, webhooks.TIMESTAMP_HEADER: "1001"},
            body=RINGING,
        ),
        WebhookRequest(
            method="POST",
            url="",
            headers={**signed(RINGING).headers, webhooks.SIGNATURE_HEADER: "é"},
            body=RINGING,
        ),
    ],
)
def test_a_request_nobody_signed_or_signed_long_ago_is_refused(request_):
    with pytest.raises(InvalidSignature):
        webhooks.verify(request_, "key", 1000.0)


def test_two_requests_are_told_apart_and_a_repeated_one_is_not():
    first = webhooks.verify(signed(RINGING), "key", 1000.0)
    other = RINGING.replace(b'"n"', b'"m"')
    assert first.replay_key == webhooks.verify(signed(RINGING), "key", 1000.0).replay_key
    assert first.replay_key != webhooks.verify(signed(other), "key", 1000.0).replay_key


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[" * 50_000,
        b"\xff",
        b'{"event": "ringing"}',
        b'{"event": 1, "carrierCallId": "LC1", "nonce": "n"}',
        b'{"event": "sings", "carrierCallId": "LC1", "nonce": "n"}',
        b'{"event": "ended", "carrierCallId": "LC1", "nonce": "n", "reason": "boredom"}',
        b" " * 70_000,
    ],
)
def test_a_signed_request_that_makes_no_sense_is_malformed(body):
    with pytest.raises(MalformedWebhook):
        webhooks.parse(webhooks.verify(signed(body), "key", 1000.0))


# The media stream


async def test_frames_come_every_20_ms_from_the_first_moment_on(service, script):
    calling = ring(service, script(""))
    stream = await service.stream()
    await stream.until(lambda: len(stream.audio) >= 60)
    assert [round(fact.timestamp * 1000) for _, fact in stream.audio[:60]] == list(range(0, 1200, 20))
    assert all(len(fact.audio) == 160 for _, fact in stream.audio)
    assert stream.audio[59][0] - stream.audio[0][0] == pytest.approx(1.18, abs=0.1)
    await stream.socket.close()
    await calling


async def test_a_mark_comes_back_when_the_audio_before_it_was_played(service, script):
    calling = ring(service, script(""))
    stream = await service.stream()
    begun = time.monotonic()
    await stream.play(TALK[:4000], mark="half")
    await stream.play(TALK[:2000], mark="three quarters")
    await stream.send(stream.codec.mark("at once"))
    await stream.until(lambda: len(stream.marks) == 3)
    assert [name for _, name in stream.marks] == ["half", "three quarters", "at once"]
    assert stream.marks[0][0] - begun == pytest.approx(0.5, abs=0.09)
    assert stream.marks[1][0] - begun == pytest.approx(0.75, abs=0.09)
    await stream.socket.close()
    report = await calling
    (span,) = report.heard
    assert span.end - span.start == pytest.approx(0.75, abs=0.03)
    assert report.gaps == []


async def test_clear_stops_the_audio_and_returns_its_marks_at_once(service, script):
    calling = ring(service, script(""))
    stream = await service.stream()
    await stream.play(TALK * 3, mark="first")
    await stream.play(TALK, mark="second")
    await stream.until(lambda: len(stream.audio) >= 25)
    cleared = time.monotonic()
    await stream.send(stream.codec.clear())
    await stream.until(lambda: len(stream.marks) == 2)
    assert [name for _, name in stream.marks] == ["first", "second"]
    assert stream.marks[1][0] - cleared < 0.1
    await stream.frames(15)
    await stream.play(TALK[:1600], mark="third")
    await stream.until(lambda: len(stream.marks) == 3)
    await stream.socket.close()
    report = await calling
    (clear,) = report.events("clear")
    assert report.heard[0].end == pytest.approx(clear.at, abs=0.04)
    assert clear.data["droppedMs"] == pytest.approx(4000 - clear.at * 1000, abs=100)
    assert clear.data["marks"] == ["first", "second"]


async def test_a_buffer_that_runs_dry_inside_an_utterance_is_a_gap_and_between_two_is_none(service, script):
    calling = ring(service, script(""))
    stream = await service.stream()
    await stream.play(TALK[:1600])
    await stream.until(lambda: len(stream.audio) >= 15)
    await stream.play(TALK[:1600], mark="end of first")
    await stream.until(lambda: stream.marks)
    await stream.frames(10)
    await stream.play(TALK[:1600], mark="end of second")
    await stream.until(lambda: len(stream.marks) == 2)
    await stream.socket.close()
    report = await calling
    (gap,) = report.gaps
    assert gap.start == pytest.approx(0.2, abs=0.06)
    assert gap.end == pytest.approx(0.3, abs=0.08)


async def test_the_phone_says_its_lines_in_answer_and_interrupts_on_time(service, script, tmp_path):
    calling = ring(
        service,
        script("""\
            steps:
              - wait: agent
                pause: 0.3
              - say: "what time is it please"
              - interrupt: {after_ms: 400, say: "That is all, thank you. Goodbye."}
              - hang_up
            """),
        record=tmp_path / "line.wav",
        report=tmp_path / "report.json",
    )
    stream = await service.stream()
    await stream.play(TALK[:4000], mark="greeting")
    await stream.until(lambda: any(loudness(fact.audio) > -45 for _, fact in stream.audio))
    await stream.until(lambda: loudness(b"".join(f.audio for _, f in stream.audio[-20:])) < -60)
    await stream.play(TALK * 4)
    await stream.wait_closed()
    report = await calling
    assert stream.stopped
    assert report.end_reason == "caller-hung-up"
    assert (await service.event("ended")).reason is EndReason.CALLER_HUNG_UP
    question, farewell = report.said
    assert question.text == "what time is it please"
    assert question.start == pytest.approx(report.heard[0].end + 0.3, abs=0.06)
    assert farewell.start == pytest.approx(report.heard[1].start + 0.4, abs=0.06)
    assert report.events("interrupts")[0].data == {"agentSpeaking": True}
    check_recording(tmp_path / "line.wav", stream, report)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["endReason"] == "caller-hung-up"
    assert [line["text"] for line in written["said"]] == [question.text, farewell.text]


def check_recording(path, stream, report):
    """Left is to the sample what the phone sent; right is what the service sent, when it was heard."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8000, 2)
        both = array("h")
        both.frombytes(file.readframes(file.getnframes()))
    said, heard = both[0::2], both[1::2]
    assert said == decode(b"".join(fact.audio for _, fact in stream.audio))
    start = round(report.heard[0].start * 8000)
    assert heard[start : start + 4000] == decode(TALK[:4000])
    assert not any(heard[:start])


async def test_keys_and_tones_go_both_ways(service, script, tmp_path):
    path = script("""\
        steps:
          - press: "12w#"
          - wait: agent
          - hang_up
        """)
    leg = await service.call(path, report=str(tmp_path / "report.json"))
    stream = await service.stream()
    await stream.until(lambda: stream.digits == "12#")
    await service.carrier.send_digits(leg, "42*")
    await stream.play(TALK[:1600])
    await service.event("ended")
    assert json.loads((tmp_path / "report.json").read_text())["digits"] == "42*"
    await service.phone_gone(leg)
    with pytest.raises(VendorRejected):
        await service.carrier.send_digits(leg, "1")


async def test_an_answering_machine_beeps_and_records_until_it_is_silent(service, tmp_path):
    path = tmp_path / "machine.yaml"
    path.write_text(
        "name: machine\nring: 0\nanswer: voicemail\nsilence: 0.4\n"
        'greeting: "Please leave a message after the tone."\nbeep: {hz: 1000, ms: 300}\n'
    )
    calling = ring(service, path)
    stream = await service.stream()
    beep = tone((1000.0,), 0.02)
    await stream.until(lambda: beep in [fact.audio for _, fact in stream.audio])
    await stream.until(lambda: loudness(stream.audio[-1][1].audio) < -60)
    await stream.play(TALK, mark="message")
    report = await calling
    assert [name for _, name in stream.marks] == ["message"]
    assert report.end_reason == "caller-hung-up"
    assert report.duration == pytest.approx(report.heard[-1].end + 0.4, abs=0.06)


async def test_the_carrier_itself_ends_a_call_that_lasts_too_long(service, script):
    leg = await service.call(script(""), max_duration=0.5)
    stream = await service.stream()
    await stream.wait_closed()
    assert stream.stopped
    assert (await service.event("ended")).reason is EndReason.MAX_DURATION
    assert stream.audio[-1][1].timestamp == pytest.approx(0.48)
    await service.phone_gone(leg)


async def test_a_phone_hangs_up_when_nobody_else_does(service, script):
    report = await ring(service, script("linger: 0.3\n"))
    assert report.end_reason == "caller-hung-up"
    assert report.duration == pytest.approx(0.32, abs=0.03)


@pytest.mark.parametrize(("drop", "clean"), [("hang", False), ("{for: 0.3}", True)])
async def test_a_dropped_stream_is_no_hang_up(service, script, drop, clean):
    calling = ring(service, script(f"steps:\n  - silence: 0.2\n  - drop: {drop}\n"))
    stream = await service.stream()
    await stream.wait_closed()
    assert not stream.stopped
    assert (stream.socket.close_code == 1001 or stream.socket.close_code == 1000) is clean
    lost = time.monotonic()
    assert (await service.event("ended")).reason is EndReason.MEDIA_LOST
    assert time.monotonic() - lost == pytest.approx(0.3 if clean else 2.0, abs=0.15)
    assert (await calling).end_reason == "media-lost"


WRONG_MESSAGES = {
    "not JSON": "hello",
    "not a JSON object": "[]",
    "unknown event": '{"event":"stop","streamSid":"SID"}',
    "without the streamSid": '{"event":"clear"}',
    "not base64": '{"event":"media","streamSid":"SID","media":{"payload":"###"}}',
    "without a payload": '{"event":"media","streamSid":"SID","media":{"payload":""}}',
    "file header": '{"event":"media","streamSid":"SID","media":{"payload":"UklGRiQAAABXQVZF"}}',
    "nothing else": '{"event":"media","streamSid":"SID","media":{"payload":"//8=","track":"outbound"}}',
    "without a name": '{"event":"mark","streamSid":"SID","mark":{"name":""}}',
    "unknown keys": '{"event":"clear","streamSid":"SID","why":"x"}',
    "binary message": b"\x00",
}


@pytest.mark.parametrize("problem", WRONG_MESSAGES)
async def test_a_phone_refuses_what_twilio_would_not_understand(service, script, problem):
    calling = ring(service, script(""))
    stream = await service.stream()
    message = WRONG_MESSAGES[problem]
    if isinstance(message, bytes):
        await stream.socket.send_bytes(message)
    else:
        await stream.send(message.replace("SID", stream.codec.stream_sid))
    await stream.wait_closed()
    assert stream.socket.close_code == 1007
    report = await calling
    assert problem in report.errors[0]
    assert report.end_reason == "failed"
    assert (await service.event("ended")).reason is EndReason.FAILED


# Processes


async def test_a_phone_that_is_killed_is_reported_by_the_line(service, script):
    leg = await service.call(script(""))
    stream = await service.stream()
    os.kill(service.status(leg).pid, signal.SIGKILL)
    ended = await service.event("ended")
    assert ended.reason is EndReason.FAILED
    assert "process died" in ended.detail
    assert (await service.carrier.fetch_status(leg)).state == "ended"
    await stream.wait_closed()


async def test_after_a_restart_a_phone_is_still_known_and_can_be_hung_up(service, script):
    leg = await service.call(script("answer: never\n"))
    await service.event("ringing")
    restarted = LocalCarrier(LocalConfig(), service.runtime(), "another key", None)
    assert (await restarted.fetch_status(leg)).state == "live"
    await restarted.hang_up(leg)
    await service.phone_gone(leg)
    assert (await restarted.fetch_status(leg)).state == "ended"
    assert (await service.event("ended")).reason is EndReason.COMPLETED
    unknown = LegRef(call_id="x", carrier_call_id="LC" + "0" * 32)
    assert (await restarted.fetch_status(unknown)).state == "unknown"
    assert (await restarted.fetch_status(LegRef(call_id="x", carrier_call_id="../line"))).state == "unknown"
    await restarted.hang_up(unknown)


async def test_closing_the_line_ends_its_phones(service, script):
    leg = await service.call(script("answer: never\n"))
    await service.event("ringing")
    await service.carrier.close()
    status = service.status(leg)
    assert status.state == "ended"
    assert not status.running()


def test_a_process_is_known_by_its_start_and_not_by_its_pid_alone():
    started = process_start(os.getpid())
    assert is_running(os.getpid(), started)
    assert not is_running(os.getpid(), started + "0")
    assert process_start(2**22 + 1) is None


SERVICE = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from test_local_phone import LocalConfig, Service, open_local_line
from pathlib import Path

async def main():
    service = Service(Path({state!r}))
    await service.listen()
    async with open_local_line(LocalConfig(), service.runtime()) as carrier:
        service.carrier = carrier
        leg = await service.call({script!r})
        if {streaming}:
            await service.stream()
        else:
            await service.event("ringing")
        print(leg.carrier_call_id, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_phone_ends_by_itself_when_the_service_is_killed(tmp_path, script, streaming):
    path = script("")
    if not streaming:
        path.write_text("name: ringing\nring: 1\n")
    code = SERVICE.format(
        tests=str(Path(__file__).parent), state=str(tmp_path), script=str(path), streaming=streaming
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    async with asyncio.timeout(LIMIT):
        leg = LegRef(call_id="call-1", carrier_call_id=(await process.stdout.readline()).decode().strip())
    survivor = LocalCarrier(LocalConfig(), Service(tmp_path).runtime(), "key", None)
    assert (await survivor.fetch_status(leg)).state == "live"
    process.kill()
    await process.wait()
    process._transport.close()  # asyncio leaves the pipe of a killed process open

    async def ended():
        return (await survivor.fetch_status(leg)).state == "ended"

    async def gone():
        return not line_files.read_status(status).running()

    status = line_files.status_path(tmp_path, leg.carrier_call_id)
    await poll(ended)
    await poll(gone)
    assert line_files.read_status(status).state == "ended"
    assert line_files.read_status(status).reason == ("media-lost" if streaming else "failed")
    assert await survivor.fetch_status(leg) == LegStatus(state="ended", reason=None)


async def test_a_phone_answers_within_a_second_of_being_called(service, script):
    begun = time.monotonic()
    leg = await service.call(script(""))
    await service.event("answered")
    assert time.monotonic() - begun < 1.5
    await service.carrier.hang_up(leg)
    await service.event("ended")


# What is said


async def test_lines_are_shipped_ones_first_and_otherwise_spoken(tmp_path):
    (tmp_path / "a.ulaw").write_bytes(b"\x01\x02")
    script = Script(
        name="x",
        steps=(
            Say(text="WHAT time is it please?!"),
            Repeat(times=2, steps=(Say(text="Something new."), Say(text="Something new."))),
            Interrupt(after=1, words=Play(path=tmp_path / "a.ulaw")),
        ),
    )
    asked = []

    async def speak(text):
        asked.append(text)
        return b"\x7f"

    lines = await gather_lines(script, speak)
    assert asked == ["Something new."]
    assert lines["Something new."] == b"\x7f"
    assert lines["WHAT time is it please?!"] == (SHIPPED / "what-time-is-it-please.ulaw").read_bytes()
    assert lines[tmp_path / "a.ulaw"] == b"\x01\x02"


async def test_a_sentence_nobody_can_say_is_an_error_of_the_script():
    async def speak(text):
        raise EngineMissing("install flite")

    with pytest.raises(ScriptError, match=r"nobody can say 'New\.': install flite"):
        await gather_lines(Script(name="x", steps=(Say(text="New."),)), speak)


# The same far end without sockets, as fast as it goes


def test_the_interruption_falls_on_the_frame_it_was_asked_for():
    report = PhoneReport(carrier_call_id="LC", direction="outbound", script="x", from_number="", to_number="")
    line = FarEnd(stream_sid="MZ1", call_sid="LC1", report=report)
    script = Script(
        name="x",
        steps=(WaitForAgent(pause=0.5), Say(text="a"), Interrupt(after=1.2, words=Say(text="b"))),
        linger=0.1,
    )
    line.performance = perform(script, {"a": TALK, "b": TALK}, line)
    codec = _codec(line)
    line.receive(codec.audio(TALK), 0.0)
    while line.end is None:
        line.tick()
        if line.now == pytest.approx(4.0):
            line.receive(codec.audio(TALK * 3), line.now)
    line.finish()
    assert [(round(s.start, 3), round(s.end, 3)) for s in report.said] == [(1.5, 2.5), (5.2, 6.2)]
    assert [(round(s.start, 3), round(s.end, 3)) for s in report.heard] == [(0.0, 1.0), (4.0, 6.32)]


def _codec(line):
    codec = MediaStreamsCodec()
    for message in line.start({}):
        codec.receive(message)
    return codec
