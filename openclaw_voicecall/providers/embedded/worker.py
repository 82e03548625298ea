"""The child side of `engine_process`: one engine in a process of its own, asked over its standard input.

A message in either direction is a kind (one byte), a number (the request's), a length and the payload. The process
ends by itself when its input ends, which the system brings about even if the parent is killed.
"""

import json
import os
import select
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

HEADER = struct.Struct("<cII")
"""Kind, number of the request, bytes of payload."""
READY, RESULT, FAILURE, REQUEST = b"R", b"K", b"E", b"Q"

Engine = Callable[[bytes], bytes]

_ORPHAN_CHECK = 2.0
"""Seconds between looks at whether the parent is still there, for the case that someone else holds our input open."""


def main(arguments: list[str]) -> None:
    """Load an engine, report ready, answer requests until the input ends.

    Args:
        arguments: The parent's process id, the niceness, the engine's name and its own arguments.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent, niceness, name, *rest = arguments
    if niceness != "0":
        os.nice(int(niceness))
    # Libraries may print; only replies may reach the parent's pipe.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    try:
        engine = _ENGINES[name](rest)
        _send(replies, READY, 0, b"")
        _serve(engine, replies, int(parent))
    except BrokenPipeError:
        return


def _serve(engine: Engine, replies: BinaryIO, parent: int) -> None:
    while True:
        header = _read(HEADER.size, parent)
        if header is None:
            return
        _, number, length = HEADER.unpack(header)
        payload = _read(length, parent)
        if payload is None:
            return
        try:
            kind, result = RESULT, engine(payload)
        except Exception as error:  # whatever the engine raises is told to the one who asked
            kind, result = FAILURE, f"{type(error).__name__}: {error}".encode()
        _send(replies, kind, number, result)


def _read(length: int, parent: int) -> bytes | None:
    """Read exactly this many bytes of input; None when the input ended or the parent is gone."""
    data = bytearray()
    while len(data) < length:
        ready, _, _ = select.select([0], [], [], _ORPHAN_CHECK)
        if not ready:
            if os.getppid() != parent:
                return None
            continue
        piece = os.read(0, length - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _send(replies: BinaryIO, kind: bytes, number: int, payload: bytes) -> None:
    message = memoryview(HEADER.pack(kind, number, len(payload)) + payload)
    while message:
        message = message[replies.write(message) :]


def _open_moonshine(arguments: list[str]) -> Engine:
    from openclaw_voicecall.providers.embedded.hearing import Hearing
    from openclaw_voicecall.providers.embedded.moonshine import Moonshine

    hearing = Hearing(Moonshine(Path(arguments[0])))
    hearing.warm_up()
    return lambda audio: hearing.words(audio).encode()


def _open_espeak(arguments: list[str]) -> Engine:
    from openclaw_voicecall.providers.embedded.espeak import EspeakLibrary

    espeak = EspeakLibrary(Path(arguments[0]), Path(arguments[1]))
    return lambda payload: _speech(*espeak.speak(**json.loads(payload)))


def _open_piper(arguments: list[str]) -> Engine:
    from openclaw_voicecall.providers.embedded.piper import PiperModel

    piper = PiperModel(Path(arguments[0]))
    return lambda payload: _speech(*piper.speak(**json.loads(payload)))


def _speech(rate: int, pcm: bytes) -> bytes:
    return struct.pack("<I", rate) + pcm


_ENGINES: dict[str, Callable[[list[str]], Engine]] = {
    "espeak": _open_espeak,
    "moonshine": _open_moonshine,
    "piper": _open_piper,
}
