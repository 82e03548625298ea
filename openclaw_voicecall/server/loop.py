"""Which event loop a service runs on: uvloop's where it is installed, else Python's own."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:
    _make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
else:
    _make_loop = uvloop.new_event_loop

T = TypeVar("T")


def run_service_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run what holds calls to its end. Ctrl-C cancels it."""
    with asyncio.Runner(loop_factory=_make_loop) as runner:
        return runner.run(work)
