"""WebSocket frames: whatever the network cuts comes out whole, and what breaks the protocol is refused by its head."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.media.websocket import (
    NO_CODE,
    NOT_TEXT,
    PROTOCOL_ERROR,
    TOO_LARGE,
    FrameError,
    FrameReader,
    Opcode,
    close_code,
    closing,
    frame,
    mask,
    text_of,
)

pytestmark = pytest.mark.unit

LIMIT = 70_000
KEY = b"\x01\xfe\x80\x00"
payloads = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([125, 126, 127, 65_535, 65_536, LIMIT])
    .map(lambda size: bytes(range(256)) * (size // 256 + 1))
    .flatmap(lambda data: st.sampled_from([125, 126, 65_535, 65_536]).map(lambda size: data[:size])),
)
messages = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), payloads),
        st.tuples(st.sampled_from([Opcode.CLOSE, Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
    ),
    max_size=6,
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Bytes in the pieces that a network makes of them."""
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(at)]


def read(reader: FrameReader, pieces: list[bytes]) -> list[tuple[Opcode, bytes]]:
    return [message for piece in pieces for message in reader.feed(piece)]


@given(messages, st.lists(st.integers(0, 200_000), max_size=12), st.booleans())
def test_messages_come_out_as_they_went_in_however_they_are_cut(sent, places, masked):
    data = b"".join(frame(opcode, payload, KEY if masked else b"") for opcode, payload in sent)
    assert read(FrameReader(masked=masked, limit=LIMIT), cut(data, places)) == sent


@given(st.binary(max_size=2000), st.binary(min_size=4, max_size=4))
def test_masking_twice_changes_nothing_and_once_is_exclusive_or(payload, key):
    masked = mask(payload, key)
    assert mask(masked, key) == payload
    assert masked == bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def in_parts(opcode: Opcode, parts: list[bytes]) -> list[bytes]:
    """A message in several frames."""
    heads = [opcode, *[0] * (len(parts) - 1)]
    ends = [0] * (len(parts) - 1) + [0x80]
    return [bytes([end | head, len(part)]) + part for head, end, part in zip(heads, ends, parts, strict=True)]


@given(st.lists(st.binary(max_size=50), min_size=2, max_size=5), st.lists(st.integers(0, 500), max_size=9))
def test_a_message_in_parts_is_put_together_and_a_ping_within_comes_first(parts, places):
    frames = in_parts(Opcode.TEXT, parts)
    frames.insert(1, frame(Opcode.PING, b"?"))
    data = b"".join(frames) + frame(Opcode.TEXT, b"next")
    assert read(FrameReader(masked=False, limit=LIMIT), cut(data, places)) == [
        (Opcode.PING, b"?"),
        (Opcode.TEXT, b"".join(parts)),
        (Opcode.TEXT, b"next"),
    ]


WRONG = {
    "a frame that is not masked": frame(Opcode.TEXT, b"x"),
    "a reserved bit": bytes([0xC1, 0x80]) + KEY,
    "an unknown opcode": bytes([0x83, 0x80]) + KEY,
    "an unknown control frame": bytes([0x8B, 0x80]) + KEY,
    "a ping in parts": bytes([0x09, 0x80]) + KEY,
    "a ping that is too long": bytes([0x89, 0xFE, 0, 126]),
    "a message without a beginning": bytes([0x80, 0x80]) + KEY,
    "a message within another": bytes([0x01, 0x80]) + KEY + bytes([0x81, 0x80]) + KEY,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_breaks_the_protocol_is_refused(wrong):
    with pytest.raises(FrameError) as refused:
        FrameReader(masked=True, limit=LIMIT).feed(WRONG[wrong])
    assert refused.value.code == PROTOCOL_ERROR


def test_a_client_takes_no_masked_frame():
    with pytest.raises(FrameError, match="is masked"):
        FrameReader(masked=False, limit=LIMIT).feed(frame(Opcode.TEXT, b"x", KEY))


def test_a_message_that_is_too_large_is_refused_before_it_has_come():
    head = frame(Opcode.TEXT, b"x" * 5000, KEY)[:14]
    with pytest.raises(FrameError) as refused:
        FrameReader(masked=True, limit=4999).feed(head)
    assert refused.value.code == TOO_LARGE
    small = FrameReader(masked=False, limit=10)
    with pytest.raises(FrameError, match="more than 10 bytes"):
        read(small, in_parts(Opcode.TEXT, [b"12345", b"12345", b"6"]))


def test_a_length_of_eight_bytes_is_no_way_to_have_memory_taken():
    with pytest.raises(FrameError) as refused:
        FrameReader(masked=True, limit=LIMIT).feed(bytes([0x81, 0xFF]) + b"\xff" * 8)
    assert refused.value.code == TOO_LARGE


def test_text_is_utf_8():
    assert text_of("größer".encode()) == "größer"
    with pytest.raises(FrameError) as refused:
        text_of(b"\xff")
    assert refused.value.code == NOT_TEXT


@given(st.sampled_from([1000, 1001, 1008, 1009, 3000, 4999]), st.text(max_size=200))
def test_why_a_socket_closes_is_told_in_a_control_frame(code, reason):
    payload = closing(code, reason)
    assert len(payload) <= 125
    told, said = close_code(payload)
    assert told == code
    assert reason.startswith(said)
    assert said == reason or len(reason.encode()) > 119


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x03\xe7", b"\x13\x88", b"\x03\xe8\xff"])
def test_a_close_that_nobody_may_send_is_refused(payload):
    with pytest.raises(FrameError):
        close_code(payload)


def test_a_close_needs_no_code():
    assert close_code(b"") == (NO_CODE, "")
