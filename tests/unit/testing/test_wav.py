"""WAV files in and out, and G.711 against the definition of the ITU."""

import io
import wave

import numpy as np
import pytest

from openclaw_voicecall.errors import CodecError
from openclaw_voicecall.media.wav import decode_ulaw, decode_wav, encode_ulaw, encode_wav

pytestmark = pytest.mark.unit

RAMP = np.arange(-32768, 32768, 7, dtype=np.int16)


def test_what_is_written_is_read_back() -> None:
    sound = decode_wav(encode_wav(8000, RAMP, RAMP[::-1]))
    assert sound.rate == 8000
    assert np.array_equal(sound.channels[0], RAMP)
    assert np.array_equal(sound.channels[1], RAMP[::-1])
    assert sound.seconds == len(RAMP) / 8000


def test_the_standard_library_reads_what_is_written() -> None:
    with wave.open(io.BytesIO(encode_wav(16000, RAMP, RAMP)), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 2, 2)
        assert file.readframes(3) == np.repeat(RAMP[:3], 2).astype("<i2").tobytes()


def test_a_shorter_channel_ends_in_silence() -> None:
    sound = decode_wav(encode_wav(8000, RAMP, RAMP[:10]))
    assert not sound.channels[1][10:].any()
    assert np.array_equal(sound.channels[1][:10], RAMP[:10])


def test_a_file_whose_writer_died_is_read_up_to_its_last_whole_frame() -> None:
    whole = encode_wav(8000, RAMP, RAMP)
    sound = decode_wav(whole[: 44 + 4 * 10 + 3])
    assert np.array_equal(sound.channels[1], RAMP[:10])


def test_chunks_that_mean_nothing_here_are_passed_over() -> None:
    whole = encode_wav(8000, RAMP)
    odd = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"
    assert np.array_equal(decode_wav(whole[:36] + odd + whole[36:]).channels[0], RAMP)


def test_a_mu_law_file_is_decoded() -> None:
    body = bytes(range(256))
    header = encode_wav(8000, np.zeros(0, dtype=np.int16))[:36]
    header = header[:20] + (7).to_bytes(2, "little") + header[22:34] + (8).to_bytes(2, "little")
    sound = decode_wav(header + b"data" + len(body).to_bytes(4, "little") + body)
    assert np.array_equal(sound.channels[0], decode_ulaw(body))


@pytest.mark.parametrize(
    ("code", "linear"),
    [(0xFF, 0), (0x7F, 0), (0x80, 32124), (0x00, -32124), (0xFE, 8), (0x7E, -8), (0xEF, 132), (0x8F, 16764)],
)
def test_mu_law_levels_are_those_of_the_standard(code: int, linear: int) -> None:
    assert decode_ulaw(bytes([code]))[0] == linear


def test_every_mu_law_level_survives_the_way_there_and_back() -> None:
    levels = decode_ulaw(bytes(range(256)))
    assert np.array_equal(decode_ulaw(encode_ulaw(levels)), levels)


def test_mu_law_is_never_further_off_than_half_a_step() -> None:
    samples = np.arange(-32124, 32125, dtype=np.int16)
    error = np.abs(decode_ulaw(encode_ulaw(samples)).astype(int) - samples)
    step = np.maximum(8, 2.0 ** np.floor(np.log2(np.abs(samples.astype(int)) + 132)) / 16)
    assert (error <= step / 2).all()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF\0\0\0\0AVI ",
        b"RIFF\0\0\0\0WAVEdata\0\0\0\0",
        encode_wav(8000, RAMP)[:30],
        encode_wav(8000, RAMP).replace(b"\x10\0data", b"\x18\0data"),
    ],
)
def test_what_is_no_usable_wav_file_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_wav(data)
