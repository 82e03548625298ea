"""The emulated media stream: real time, sample-exact, and deaf to whatever Twilio would not take."""

import asyncio
import base64
import json

import pytest
from twilio.request_validator import RequestValidator
from twilio_rig import OURS, THEIRS, codes, emulated, response

from openclaw_voicecall.testing.emulators.twilio_phone import Line
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

AFTER = "<Say>the stream is over</Say>"


@pytest.fixture
async def twilio():
    async with emulated() as emulator:
        emulator.app.answers["/voice"] = lambda form: emulator.app.connect(after=AFTER)
        yield emulator


def payload(audio):
    return base64.b64encode(audio).decode()


async def call_with(twilio, on_stream, person=None):
    """A call whose stream is handled by `on_stream`; returns it once it is over."""
    failures = []

    async def guarded(stream):
        try:
            await on_stream(stream)
        except AssertionError as failure:
            failures.append(failure)

    twilio.app.on_stream = guarded
    call = await (await twilio.dial_in(THEIRS, OURS, person)).finished()
    if failures:
        raise failures[0]
    return call


async def test_a_stream_begins_as_documented_and_carries_every_frame_in_real_time(twilio):
    async def on_stream(stream):
        while len(stream.of("media")) < 25:
            await stream.next("media")
        times.append(asyncio.get_running_loop().time())
        streams.append(stream)

    times, streams = [asyncio.get_running_loop().time()], []
    twilio.app.answers["/voice"] = twilio.app.connect('<Parameter name="token" value="one-time"/>')
    call = await call_with(twilio, on_stream)
    connected, start, *media = streams[0].messages
    sid = call.streams[0].stream_sid
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": twilio.account_sid,
            "streamSid": sid,
            "callSid": call.sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "one-time"},
        },
        "streamSid": sid,
    }
    assert media[1] == {
        "event": "media",
        "sequenceNumber": "3",
        "media": {"track": "inbound", "chunk": "2", "timestamp": "20", "payload": payload(b"\xff" * 160)},
        "streamSid": sid,
    }
    assert 0.45 < times[1] - times[0] < 2.0
    assert not twilio.refusals


async def test_what_the_person_says_arrives_sample_for_sample(twilio):
    async def on_stream(stream):
        while await stream.next("media"):
            got.extend(base64.b64decode(stream.messages[-1]["media"]["payload"]))

    async def person(phone):
        await phone.wait(0.3)  # what is said before the stream has started reaches nobody
        await phone.say(words)
        await phone.say(words[:500])
        await phone.wait(0.1)
        phone.hang_up()

    got, words = bytearray(), babble("every sample")
    await call_with(twilio, on_stream, person)
    assert words in got
    assert got[got.index(words) + len(words) :].startswith((words[:500], b"\xff"))
    assert words[:500] in got[got.index(words) + len(words) :]


async def test_the_end_of_the_call_is_told_with_stop(twilio):
    async def on_stream(stream):
        await stream.next("start")
        stops.append(await stream.next("stop"))
        assert await stream.next("media") is None

    async def person(phone):
        await phone.wait(0.1)
        phone.hang_up()

    stops = []
    call = await call_with(twilio, on_stream, person)
    assert stops[0]["stop"] == {"accountSid": twilio.account_sid, "callSid": call.sid}
    assert (call.streams[0].closed_by, call.said_by_carrier) == ("carrier", [])


async def test_the_application_closes_the_stream_and_the_call_goes_on_with_the_next_verb(twilio):
    async def on_stream(stream):
        await stream.next("start")

    call = await call_with(twilio, on_stream)
    assert (call.streams[0].closed_by, call.said_by_carrier) == ("application", ["the stream is over"])
    assert not twilio.refusals


async def test_audio_of_any_size_is_heard_in_order_at_real_speed_and_bit_exactly(twilio):
    async def on_stream(stream):
        await stream.next("start")
        # The longest but one comes first: while it plays, the rest arrives however slow this machine is.
        for begin, end in ((0, 2000), (2000, 2001), (2001, 2007), (2007, len(audio))):
            await stream.send("media", payload=payload(audio[begin:end]))
        await stream.send("mark", name="said")
        begun = asyncio.get_running_loop().time()
        assert await stream.next("mark")
        took.append(asyncio.get_running_loop().time() - begun)

    took, audio = [], babble("this takes a while")
    call = await call_with(twilio, on_stream)
    heard = bytes(call.phone.heard)
    assert audio in heard
    assert not heard[: heard.index(audio)].strip(b"\xff")
    assert len(audio) / 8000 - 0.02 < took[0] < len(audio) / 8000 + 0.5


async def test_marks_are_echoed_in_order_each_when_what_was_before_it_is_played(twilio):
    async def on_stream(stream):
        await stream.next("start")
        await stream.send("mark", name="at once")
        for name in ("one", "two"):
            await stream.send("media", payload=payload(babble(name)))
            await stream.send("mark", name=name)
        for _ in range(3):
            mark = await stream.next("mark")
            echoes.append((mark["mark"]["name"], len(stream.of("media"))))

    echoes = []
    await call_with(twilio, on_stream)
    (first, early), (second, middle), (third, late) = echoes
    assert [first, second, third] == ["at once", "one", "two"]
    assert early < 5
    assert 8 <= middle - early <= 15
    assert 8 <= late - middle <= 15


async def test_clear_silences_at_once_and_echoes_every_mark(twilio):
    async def on_stream(stream):
        await stream.next("start")
        await stream.send("media", payload=payload(babble("a very long sentence " * 5)))
        await stream.send("mark", name="one")
        await stream.send("mark", name="two")
        while len(stream.of("media")) < 10:
            await stream.next("media")
        await stream.send("clear")
        for name in ("one", "two"):
            assert (await stream.next("mark"))["mark"]["name"] == name
        echoed.append(len(stream.of("media")))
        await stream.send("media", payload=payload(babble("next")))
        await stream.send("mark", name="three")
        await stream.next("mark")

    echoed = []
    call = await call_with(twilio, on_stream)
    heard = bytes(call.phone.heard)
    sentence = babble("a very long sentence " * 5)
    assert echoed[0] < 20
    assert sentence[:800] in heard
    assert sentence[6400:6560] not in heard
    assert babble("next") in heard


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\xff\xff", 31950),
        ("{nonsense", 31951),
        ("[1]", 31951),
        ({"event": "media", "media": {"payload": "/w=="}}, 31951),
        ({"event": "media", "streamSid": "MZ0", "media": {"payload": "/w=="}}, 31951),
        ({"event": "media", "streamSid": None, "media": {"payload": "/w==", "track": "outbound"}}, 31951),
        ({"event": "media", "streamSid": None, "media": {"payload": ""}}, 31951),
        ({"event": "media", "streamSid": None, "media": {"payload": "no base64!"}}, 31951),
        ({"event": "media", "streamSid": None, "media": {"payload": payload(b"RIFF....WAVEfmt ")}}, 31951),
        ({"event": "media", "streamSid": None, "sequenceNumber": "1", "media": {"payload": "/w=="}}, 31951),
        ({"event": "mark", "streamSid": None}, 31951),
        ({"event": "mark", "streamSid": None, "mark": {"name": 1}}, 31951),
        ({"event": "clear", "streamSid": None, "clear": {}}, 31951),
        ({"event": "dtmf", "streamSid": None, "dtmf": {"digit": "1"}}, 31951),
        ({"event": "stop", "streamSid": None}, 31951),
    ],
)
async def test_a_message_that_twilio_would_not_take_is_noted_and_dropped(twilio, message, code):
    async def on_stream(stream):
        await stream.next("start")
        if isinstance(message, bytes):
            await stream.socket.send_bytes(message)
        elif isinstance(message, str):
            await stream.socket.send_str(message)
        else:
            own = {name: stream.sid if value is None else value for name, value in message.items()}
            await stream.socket.send_str(json.dumps(own))
        await stream.send("mark", name="after")
        await stream.next("mark")

    call = await call_with(twilio, on_stream)
    assert codes(twilio) == [code]
    assert not bytes(call.phone.heard).strip(b"\xff") or call.said_by_carrier
    assert (call.streams[0].audio_received, call.streams[0].marks) == (0, ["after"])


async def test_keys_are_told_while_the_stream_runs(twilio):
    async def on_stream(stream):
        for _ in range(2):
            digits.append((await stream.next("dtmf"))["dtmf"])

    async def person(phone):
        await phone.wait(0.1)
        await phone.press("1#")

    digits = []
    await call_with(twilio, on_stream, person)
    assert digits == [{"track": "inbound_track", "digit": "1"}, {"track": "inbound_track", "digit": "#"}]


async def test_an_upgrade_is_signed_and_comes_without_a_query(twilio):
    async def on_stream(stream):
        await stream.next("start")

    twilio.app.answers["/voice"] = twilio.app.connect(path="/stream?token=lost")
    await call_with(twilio, on_stream)
    (request,) = twilio.app.upgrades
    signature = request.headers["X-Twilio-Signature"]
    assert request.raw_path == "/stream"
    assert RequestValidator(twilio.auth_token).validate(twilio.app.stream_url(), {}, signature)
    assert codes(twilio) == [31920]


async def test_a_refused_upgrade_is_noted_and_the_call_goes_on(twilio):
    call = await (await twilio.dial_in(THEIRS, OURS)).finished()
    assert (codes(twilio), call.streams[0].problem.code) == ([31920], 31920)
    assert call.said_by_carrier == ["the stream is over"]


async def test_nobody_listening_for_the_stream_is_noted(twilio, free_port):
    twilio.app.answers["/voice"] = response(f'<Connect><Stream url="ws://127.0.0.1:{free_port}/"/></Connect>')
    await (await twilio.dial_in(THEIRS, OURS)).finished()
    assert codes(twilio) == [31902]


async def test_a_stream_that_is_closed_in_anger_is_noted(twilio):
    async def on_stream(stream):
        await stream.next("start")
        await stream.socket.close(code=1011)

    call = await call_with(twilio, on_stream)
    assert (codes(twilio), call.streams[0].close_code) == ([31921], 1011)


async def test_the_beginning_and_the_end_of_a_stream_are_reported(twilio):
    async def on_stream(stream):
        await stream.next("media")

    url = f'{twilio.app.stream_url()}" statusCallback="{twilio.app.url("/streams")}" name="line'
    twilio.app.answers["/voice"] = response(f'<Connect><Stream url="{url}"/></Connect>')
    await call_with(twilio, on_stream)
    forms = twilio.app.forms("/streams")
    assert [form["StreamEvent"] for form in forms] == ["stream-started", "stream-stopped"]
    assert forms[0]["StreamName"] == "line"


async def test_a_call_that_is_sent_elsewhere_stops_its_stream(twilio):
    async def on_stream(stream):
        await stream.next("media")
        calls[0].redirect(response("<Say>elsewhere</Say>"))
        assert await stream.next("stop")

    calls = []
    twilio.app.on_stream = on_stream
    calls.append(await twilio.dial_in(THEIRS, OURS))
    call = await calls[0].finished()
    assert (call.said_by_carrier, call.streams[0].closed_by) == (["elsewhere"], "carrier")


async def test_a_stream_that_only_listens_does_not_hold_the_call(twilio):
    async def on_stream(stream):
        await stream.next("media")
        await stream.send("clear")
        stops.append(await stream.next("stop"))

    stops = []
    twilio.app.answers["/voice"] = response(
        f'<Start><Stream url="{twilio.app.stream_url()}"/></Start><Pause length="1"/><Say>bye</Say>'
    )
    call = await call_with(twilio, on_stream)
    assert stops[0]["event"] == "stop"
    assert (call.said_by_carrier, codes(twilio)) == (["bye"], [31951])


async def test_the_network_may_break_the_stream(twilio):
    async def on_stream(stream):
        await stream.next("media")
        try:
            await stream.next("stop")
        finally:
            ends.append(stream.of("stop"))

    async def person(phone):
        await phone.wait(0.2)
        phone.cut_stream()

    ends = []
    cut = await call_with(twilio, on_stream, person)
    twilio.fail_next("media-dropped", seconds=0.1)
    dropped = await call_with(twilio, on_stream)
    assert ends == [[], []]
    for call in (cut, dropped):
        assert (call.streams[0].closed_by, call.said_by_carrier) == ("network", ["the stream is over"])
    assert not twilio.refusals


async def test_a_stream_may_never_be_opened(twilio):
    twilio.fail_next("media-refused")
    call = await (await twilio.dial_in(THEIRS, OURS)).finished()
    assert (call.streams, call.said_by_carrier) == ([], ["the stream is over"])
    assert not twilio.app.upgrades


async def test_a_stream_may_never_start(twilio):
    async def on_stream(stream):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await stream.next("start")
        streams.append(stream)

    streams = []
    twilio.fail_next("stream-never-starts")
    call = await call_with(twilio, on_stream)
    assert [message["event"] for message in streams[0].messages] == ["connected"]
    assert call.said_by_carrier == ["the stream is over"]


async def test_marks_may_never_come_back(twilio):
    async def on_stream(stream):
        await stream.next("start")
        await stream.send("mark", name="lost")
        while len(stream.of("media")) < 10:
            await stream.next("media")
        marks.extend(stream.of("mark"))

    marks = []
    twilio.fail_next("no-marks")
    call = await call_with(twilio, on_stream)
    assert (marks, call.streams[0].marks) == ([], ["lost"])


async def test_a_stream_may_carry_nonsense_between_its_frames(twilio):
    async def on_stream(stream):
        await stream.next("start")
        while True:
            message = await stream.socket.receive()
            raw.append(message.data)
            if len(raw) > 60:
                return

    raw = []
    twilio.fail_next("malformed-frames")
    await call_with(twilio, on_stream)
    assert "{not json" in raw
    assert any(isinstance(message, bytes) for message in raw)


async def test_a_media_socket_may_be_signed_wrong(twilio):
    twilio.fail_next("bad-media-signature")
    await (await twilio.dial_in(THEIRS, OURS)).finished()
    (request,) = twilio.app.upgrades
    signature = request.headers["X-Twilio-Signature"]
    assert not RequestValidator(twilio.auth_token).validate(twilio.app.stream_url(), {}, signature)


async def test_a_line_is_silent_where_nothing_is_played_and_exact_where_something_is():
    now = [100.0]
    line, reached = Line(lambda: now[0]), []
    now[0] += 0.5
    line.play(b"\x01" * 800)
    line.mark(lambda: reached.append("played"))
    now[0] += 0.05
    assert bytes(line.heard) == b"\xff" * 4000 + b"\x01" * 400
    assert not reached
    line.clear()
    now[0] += 1.0
    assert bytes(line.heard) == b"\xff" * 4000 + b"\x01" * 400 + b"\xff" * 8000
    assert reached == ["played"]
    line.end()
    now[0] += 1.0
    assert len(line.heard) == 12400


async def test_a_person_knows_when_the_agent_has_spoken_and_is_quiet(twilio):
    async def on_stream(stream):
        await stream.next("start")
        await stream.send("media", payload=payload(greeting))
        await stream.next("stop")

    async def person(phone):
        said.append(await phone.wait_for_agent(quiet=0.2))
        with pytest.raises(TimeoutError):
            await phone.wait_for_agent(timeout=0.2)
        with pytest.raises(TimeoutError, match="was not heard"):
            await phone.wait_until_heard("goodbye", twilio.book, timeout=0.2)
        phone.hang_up()

    said, greeting = [], babble("good evening")
    await call_with(twilio, on_stream, person)
    assert said[0] in greeting
    assert len(said[0]) > len(greeting) - 200
