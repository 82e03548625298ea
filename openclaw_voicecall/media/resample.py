"""Changing the sample rate of audio that is still arriving.

soxr works in blocks: it takes input for a while and then gives out a burst, so how long a sample waits depends on
where in a block it falls. Measured for soxr 1.1 at quality MQ, fed 20 ms at a time: a sample waits 10 to 75 ms at
24 and 48 kHz to 8 kHz, 11 to 82 ms from 22.05 kHz, and 12 to 118 ms between 8 and 16 kHz. HQ differs little there but
reaches 157 ms at 48 kHz. The samples themselves are not moved: an impulse comes out at the place where it
went in. Audio that is already there, such as a whole synthesized sentence, waits for nothing; for live frames ask
the vendor for 8 kHz mu-law instead.

Samples are resampled as 32-bit floats: with 16-bit samples soxr adds dither that differs with the size of the pieces.
"""

from typing import Any, Final

import numpy as np
import soxr

from openclaw_voicecall.errors import CodecError
from openclaw_voicecall.media.audio import SAMPLE_RATE
from openclaw_voicecall.media.g711 import pcm_to_ulaw

_FULL_SCALE: Final = 32768.0


class StreamResampler:
    """Resamples s16le mono audio that comes in pieces of any size, also pieces that end in the middle of a sample.

    The output does not depend on how the input was cut. With equal rates samples pass through unchanged and at once.

    Args:
        from_rate: Hz of the input.
        to_rate: Hz of the output.

    Raises:
        ValueError: A rate is not positive.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        if from_rate <= 0 or to_rate <= 0:
            raise ValueError("sample rates must be positive")
        self._stream: Any = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="MQ")
        self._odd = b""
        self._finished = False

    def push(self, pcm: bytes) -> bytes:
        """Take the next audio and return what is ready, maybe nothing.

        Raises:
            CodecError: The stream was finished before.
        """
        if self._finished:
            raise CodecError("the resampler is finished")
        if self._odd:
            pcm = self._odd + pcm
        whole = len(pcm) - len(pcm) % 2
        self._odd = pcm[whole:]
        pcm = pcm[:whole]
        return self._resample(pcm, last=False) if pcm else b""

    def finish(self) -> bytes:
        """End the stream and return the rest. Half a sample at the very end is dropped.

        Raises:
            CodecError: The stream was finished before.
        """
        if self._finished:
            raise CodecError("the resampler is finished")
        self._finished = True
        self._odd = b""
        return self._resample(b"", last=True)

    def _resample(self, pcm: bytes, *, last: bool) -> bytes:
        if self._stream is None:
            return pcm
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / _FULL_SCALE
        resampled = self._stream.resample_chunk(samples, last)
        rounded = np.clip(np.rint(resampled * _FULL_SCALE), -32768, 32767)
        return bytes(rounded.astype("<i2").tobytes())


class UlawEncoder:
    """Turns s16le mono audio of any rate into call audio; waits as `StreamResampler` does.

    Args:
        rate: Hz of the input.
    """

    def __init__(self, rate: int) -> None:
        self._resampler = StreamResampler(rate, SAMPLE_RATE)

    def push(self, pcm: bytes) -> bytes:
        """Take the next audio and return the mu-law that is ready, maybe nothing.

        Raises:
            CodecError: The stream was finished before.
        """
        return pcm_to_ulaw(self._resampler.push(pcm))

    def finish(self) -> bytes:
        """End the stream and return the rest as mu-law.

        Raises:
            CodecError: The stream was finished before.
        """
        return pcm_to_ulaw(self._resampler.finish())
