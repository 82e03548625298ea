"""G.711: mu-law and A-law to linear 16-bit samples and back.

The work is done by `audioop`, which takes well under a microsecond for a 20 ms frame. Python dropped that module in
3.13; the package `audioop-lts` brings it back under the same name.
"""

import warnings

from openclaw_voicecall.errors import CodecError

with warnings.catch_warnings():
    # Python 3.11 and 3.12 announce the end of audioop at every first import; from 3.13 on audioop-lts provides it.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

__all__ = [
    "alaw_to_pcm",
    "alaw_to_ulaw",
    "audioop",
    "pcm_to_alaw",
    "pcm_to_ulaw",
    "ulaw_to_alaw",
    "ulaw_to_pcm",
]


def ulaw_to_pcm(ulaw: bytes) -> bytes:
    """Decode mu-law to s16le: two bytes for each one."""
    return audioop.ulaw2lin(ulaw, 2)


def pcm_to_ulaw(pcm: bytes) -> bytes:
    """Encode s16le as mu-law: one byte for each two.

    Raises:
        CodecError: The bytes are no whole number of samples.
    """
    return audioop.lin2ulaw(_whole(pcm), 2)


def alaw_to_pcm(alaw: bytes) -> bytes:
    """Decode A-law to s16le: two bytes for each one."""
    return audioop.alaw2lin(alaw, 2)


def pcm_to_alaw(pcm: bytes) -> bytes:
    """Encode s16le as A-law: one byte for each two.

    Raises:
        CodecError: The bytes are no whole number of samples.
    """
    return audioop.lin2alaw(_whole(pcm), 2)


def ulaw_to_alaw(ulaw: bytes) -> bytes:
    """Transcode mu-law to A-law; quiet samples lose up to a step, so the way back is not exact."""
    return audioop.lin2alaw(audioop.ulaw2lin(ulaw, 2), 2)


def alaw_to_ulaw(alaw: bytes) -> bytes:
    """Transcode A-law to mu-law; quiet samples lose up to a step, so the way back is not exact."""
    return audioop.lin2ulaw(audioop.alaw2lin(alaw, 2), 2)


def _whole(pcm: bytes) -> bytes:
    if len(pcm) % 2:
        raise CodecError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
    return pcm
