"""Which event loop a service runs on."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Makes uvloop's loops where it is installed; None for those of Python."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run_service_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run what holds calls to its end, on the fastest loop there is. Ctrl-C cancels it."""
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        return runner.run(work)
