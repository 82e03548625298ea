"""What the fuzzing targets share."""

import asyncio
import atexit
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_database = sqlite3.connect(":memory:", check_same_thread=False)


def storable(*texts: str) -> str:
    """Check that texts can be kept in SQLite and sent as JSON in UTF-8; returns them joined."""
    for text in texts:
        assert isinstance(text, str), f"{type(text).__name__} is no text"
        assert _database.execute("SELECT ?", (text,)).fetchone() == (text,), "SQLite gives another text back"
        json.dumps(text, ensure_ascii=False).encode()
    return "".join(texts)


def said(error: BaseException, most: int = 1000) -> str:
    """Check that an error's message can be logged; returns it."""
    message = storable(str(error))
    assert len(message) < most, f"an error of {len(message)} characters"
    return message


def waited_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that needs an event loop; one loop serves all."""
    return _loop().run_until_complete(coroutine)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("it waits for something")


@cache
def scratch() -> Path:
    """A folder for files of this process, in memory where there is such a place; removed at its end."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="ovc-fuzz-", dir=memory if os.access(memory, os.W_OK) else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


_loops: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    if not _loops:
        _loops.append(asyncio.new_event_loop())
    return _loops[0]


def close_loop() -> None:
    """Free the loop, at the end of the module that used it."""
    while _loops:
        _loops.pop().close()
