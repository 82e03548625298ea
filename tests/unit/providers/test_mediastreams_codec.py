"""The server side of Twilio Media Streams, without sockets."""

import base64
import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openclaw_voicecall.api.carrier import (
    AudioReceived,
    DtmfPressed,
    MarkEchoed,
    MediaCodec,
    StreamStarted,
    StreamStopped,
)
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError
from openclaw_voicecall.providers import _mediastreams
from openclaw_voicecall.providers._mediastreams import MediaStreamsCodec

pytestmark = pytest.mark.unit

SID = "MZ" + "0123456789abcdef" * 2
AUDIO = bytes(range(160))
MULAW = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}


def start(**changes):
    body = {
        "streamSid": SID,
        "accountSid": "AC1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": MULAW,
        "customParameters": {"token": "one-time"},
    }
    return {"event": "start", "sequenceNumber": "1", "streamSid": SID, "start": {**body, **changes}}


def media(payload=None, timestamp="160", **changes):
    payload = base64.b64encode(AUDIO).decode() if payload is None else payload
    body = {"track": "inbound", "chunk": "1", "timestamp": timestamp, "payload": payload, **changes}
    return {"event": "media", "sequenceNumber": "3", "streamSid": SID, "media": body}


def about(event, **body):
    return {"event": event, "sequenceNumber": "5", "streamSid": SID, event: body}


def give(codec: MediaStreamsCodec, message: dict) -> Sequence:
    return codec.receive(json.dumps(message))


@pytest.fixture
def codec():
    codec = MediaStreamsCodec()
    give(codec, CONNECTED)
    give(codec, start())
    return codec


def test_a_whole_stream_becomes_facts_in_order():
    codec: MediaCodec = MediaStreamsCodec()
    messages = [
        CONNECTED,
        start(),
        media(),
        about("dtmf", track="inbound_track", digit="#"),
        about("mark", name="utt-7"),
        about("stop", accountSid="AC1", callSid="CA1"),
    ]
    assert [fact for message in messages for fact in codec.receive(json.dumps(message))] == [
        StreamStarted("CA1", {"token": "one-time"}),
        AudioReceived(AUDIO, 0.16),
        DtmfPressed("#"),
        MarkEchoed("utt-7"),
        StreamStopped(),
    ]


@pytest.mark.parametrize("layout", ["first", "last", "both", "spaced", "unknown key", "escaped"])
def test_a_frame_is_read_the_same_in_every_layout(codec, layout):
    payload = base64.b64encode(AUDIO).decode()
    body = f'"media":{{"track":"inbound","chunk":"1","timestamp":"160","payload":"{payload}"}}'
    head, sid = '"event":"media","sequenceNumber":"3"', f'"streamSid":"{SID}"'
    message = {
        "first": f"{{{head},{sid},{body}}}",
        "last": f"{{{head},{body},{sid}}}",
        "both": f"{{{head},{sid},{body},{sid}}}",
        "spaced": json.dumps(media(), indent=1),
        "unknown key": json.dumps({**media(), "new": [1]}),
        "escaped": f"{{{head},{sid},{body}}}".replace("/", "\\/"),
    }[layout]
    assert codec.receive(message) == (AudioReceived(AUDIO, 0.16),)


@given(
    payload=st.one_of(
        st.binary(min_size=1, max_size=400).map(lambda audio: base64.b64encode(audio).decode()),
        st.text(alphabet="AZaz09+/=", max_size=12),
    ),
    timestamp=st.one_of(st.integers(0, 10**17).map(str), st.sampled_from(["", "-1", "1.5", "x", "²", "٣"])),
    sid=st.sampled_from([SID, SID[:-1] + "g", ""]),
    at=st.sampled_from(["first", "last"]),
)
@example(payload="AA==", timestamp="0", sid=SID, at="first")
@example(payload="AA=", timestamp="0", sid=SID, at="first")
def test_the_fast_way_reads_what_json_would_read(payload, timestamp, sid, at):
    message = media(payload, timestamp)
    if at == "last":
        del message["streamSid"]
    message["streamSid"] = sid
    compact = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    results = []
    for text in (compact, json.dumps(message, indent=1)):
        codec = MediaStreamsCodec()
        give(codec, CONNECTED)
        give(codec, start())
        try:
            results.append(codec.receive(text))
        except RemoteProtocolError as error:
            results.append(str(error))
    assert results[0] == results[1]


def test_a_frame_of_no_stream_is_refused_in_the_usual_layout_too(codec):
    message = media()
    del message["streamSid"]
    with pytest.raises(RemoteProtocolError, match="wrong streamSid"):
        codec.receive(json.dumps(message, separators=(",", ":")))


def test_frames_in_the_usual_layout_are_not_parsed_as_json(codec, monkeypatch):
    monkeypatch.setattr(_mediastreams, "_parse", lambda message: pytest.fail("parsed as JSON"))
    assert codec.receive(json.dumps(media(), separators=(",", ":"))) == (AudioReceived(AUDIO, 0.16),)


def test_our_own_audio_that_comes_back_is_ignored(codec):
    assert give(codec, media(track="outbound")) == ()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("hello", "not JSON"),
        ("[]", "not a JSON object"),
        ("[" * 50_000, "not JSON"),
        ('{"event":' * 6000, "not JSON"),
        ('{"event":' + "1" * 5000 + "}", "not JSON"),
        ('{"event":"start","start":' + "9" * 4000 + "}", "start is not an object"),
        (b"\x00", "binary message"),
        (json.dumps({"event": "wave"}), "unknown event"),
        (json.dumps({"event": ["media"]}), "unknown event"),
        (json.dumps(media()), "media before start"),
        (json.dumps(about("stop")), "stop before start"),
        (json.dumps(CONNECTED), "connected twice"),
        (json.dumps(start(streamSid="MZother")), "wrong streamSid"),
        (json.dumps(start(callSid="")), "callSid is not text"),
        (json.dumps(start(callSid="C" * 600)), "callSid too long"),
        (json.dumps(start(callSid="\ud800")), "callSid is not Unicode"),
        (json.dumps(start(mediaFormat={**MULAW, "encoding": "audio/x-l16"})), "mediaFormat"),
        (json.dumps(start(mediaFormat={**MULAW, "sampleRate": 16000})), "mediaFormat"),
        (json.dumps(start(mediaFormat={**MULAW, "channels": True})), "mediaFormat"),
        (json.dumps(start(mediaFormat={"encoding": "audio/x-mulaw"})), "mediaFormat"),
        (json.dumps(start(mediaFormat=None)), "mediaFormat is not an object"),
        (json.dumps(start(customParameters={"a": 1})), "not text"),
        (json.dumps(start(customParameters={"a": "x" * 600})), "parameter too long"),
        (json.dumps(start(customParameters={str(n): "" for n in range(65)})), "small object"),
        (json.dumps(start(customParameters=[])), "small object"),
        (json.dumps({**start(), "padding": "x" * 70_000}), "too large"),
    ],
)
def test_what_twilio_would_not_send_before_start_is_refused_and_changes_nothing(message, reason):
    codec = MediaStreamsCodec()
    give(codec, CONNECTED)
    with pytest.raises(RemoteProtocolError, match=reason):
        codec.receive(message)
    assert give(codec, start()) == (StreamStarted("CA1", {"token": "one-time"}),)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (start(), "start twice"),
        ({**media(), "streamSid": "MZother"}, "wrong streamSid"),
        ({"event": "media", "media": media()["media"]}, "wrong streamSid"),
        (media("###"), "not base64"),
        (media("AAA"), "not base64"),
        (media("AAAA\n"), "not base64"),
        (media("AA==AAAA"), "not base64"),
        (media("ÄÄÄÄ"), "not base64"),
        (media(""), "payload is not text"),
        (media(payload=7), "payload is not text"),
        (media(timestamp=160), "timestamp is not a number"),
        (media(timestamp="-1"), "timestamp is not a number"),
        (media(timestamp="9" * 30), "timestamp too large"),
        (media(track="sideways"), "unknown track"),
        (about("dtmf", digit="12"), "unknown digit"),
        (about("dtmf", digit=""), "unknown digit"),
        (about("dtmf"), "unknown digit"),
        (about("mark", name=""), "name is not text"),
        (about("mark", name=7), "name is not text"),
        ({"event": "mark", "streamSid": SID}, "mark is not an object"),
        (media("A" * 300_000), "too large"),
    ],
)
def test_what_twilio_would_not_send_later_is_refused_and_the_stream_goes_on(codec, message, reason):
    with pytest.raises(RemoteProtocolError, match=reason):
        give(codec, message)
    assert give(codec, media()) == (AudioReceived(AUDIO, 0.16),)


def test_the_first_message_is_connected():
    codec = MediaStreamsCodec()
    with pytest.raises(RemoteProtocolError, match="not connected"):
        give(codec, start())
    with pytest.raises(RemoteProtocolError, match="unknown protocol"):
        give(codec, {"event": "connected", "protocol": "Chat"})


def test_nothing_comes_after_stop(codec):
    give(codec, about("stop"))
    with pytest.raises(RemoteProtocolError, match="after stop"):
        give(codec, media())


def test_a_large_frame_of_a_running_stream_is_taken(codec):
    audio = bytes(100_000)
    assert give(codec, media(base64.b64encode(audio).decode())) == (AudioReceived(audio, 0.16),)


def test_what_is_sent_carries_the_stream_and_raw_audio(codec):
    assert json.loads(codec.audio(AUDIO)) == {
        "event": "media",
        "streamSid": SID,
        "media": {"payload": base64.b64encode(AUDIO).decode()},
    }
    assert json.loads(codec.mark('a "quoted" näme')) == {
        "event": "mark",
        "streamSid": SID,
        "mark": {"name": 'a "quoted" näme'},
    }
    assert json.loads(codec.clear()) == {"event": "clear", "streamSid": SID}


def test_a_stream_id_with_quotes_cannot_break_out_of_a_message():
    sid = 'MZ","event":"clear'
    codec = MediaStreamsCodec()
    give(codec, CONNECTED)
    give(codec, {**start(streamSid=sid), "streamSid": sid})
    assert json.loads(codec.audio(b"\xff"))["streamSid"] == sid
    assert give(codec, {**media(), "streamSid": sid}) == (AudioReceived(AUDIO, 0.16),)


@pytest.mark.parametrize(
    "send", [lambda codec: codec.audio(AUDIO), lambda codec: codec.mark("m"), lambda codec: codec.clear()]
)
def test_nothing_can_be_sent_before_start(send):
    codec = MediaStreamsCodec()
    give(codec, CONNECTED)
    with pytest.raises(LocalProtocolError, match="before the stream has started"):
        send(codec)


def test_empty_audio_and_nameless_marks_are_our_mistake(codec):
    with pytest.raises(LocalProtocolError):
        codec.audio(b"")
    with pytest.raises(LocalProtocolError):
        codec.mark("")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop"])


@st.composite
def nearly_right(draw):
    """A message of Twilio's in which some values are replaced by anything."""
    message = draw(
        st.sampled_from(
            [CONNECTED, start(), media(), about("dtmf", digit="1"), about("mark", name="m"), about("stop")]
        )
    )
    message = json.loads(json.dumps(message))
    for target in (message, message.get(message["event"])):
        if isinstance(target, dict) and target and draw(st.booleans()):
            target[draw(st.sampled_from(sorted(target)))] = draw(JSON | EVENTS)
    return json.dumps(message)


@given(messages=st.lists(st.text() | st.binary() | JSON.map(json.dumps) | nearly_right(), max_size=8))
@example(messages=['"\\ud800"', "\ud800", "NaN", "{}" * 2])
def test_whatever_comes_is_facts_or_a_protocol_error(messages):
    longest = 0
    for opened in (False, True):
        codec = MediaStreamsCodec()
        if opened:
            give(codec, CONNECTED)
            give(codec, start())
        for message in messages:
            try:
                codec.receive(message)
            except RemoteProtocolError as error:
                longest = max(longest, len(str(error)))
    assert longest < 60
