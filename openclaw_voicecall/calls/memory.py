"""What the responder is told of earlier calls with the same session key.

It is looked up in the background when a call is created: an answer never waits for it, and a store that fails or is
slow costs the call its memory and nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.api.store import CallRecord, CallStore
from openclaw_voicecall.calls.planning import is_of_one_call

if TYPE_CHECKING:
    from openclaw_voicecall.config.sections import MemoryConfig

logger = logging.getLogger(__name__)

RECALL_LIMIT: Final = 2.0
"""Seconds that the store may take."""
_DAY: Final = 86_400

Recollection = Callable[[], tuple[Line, ...]]
"""Gives the lines of earlier calls, oldest first; none until they are loaded."""


def nothing() -> tuple[Line, ...]:
    """The recollection of a call without a memory."""
    return ()


class Memory:
    """Recalls what was said before.

    Args:
        store: Where earlier calls are kept.
        config: How much is recalled.
        clock: Tells how old a call is.
    """

    def __init__(self, store: CallStore, config: "MemoryConfig", clock: Clock) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._loading: set[asyncio.Task[None]] = set()

    def recall(self, session_key: str) -> Recollection:
        """Begin to load the last lines of earlier calls with this key, and return what gives them once they are there.

        Keys that belong to one call have no earlier ones.
        """
        if not self._config.calls or not session_key or is_of_one_call(session_key):
            return nothing
        found: list[Line] = []
        task = asyncio.create_task(self._load(session_key, found))
        self._loading.add(task)  # the loop itself holds a task only weakly
        task.add_done_callback(self._loading.discard)
        return lambda: tuple(found)

    async def _load(self, session_key: str, found: list[Line]) -> None:
        since = self._clock.wall() - self._config.days * _DAY
        try:
            async with asyncio.timeout(RECALL_LIMIT):
                calls = await self._store.session_calls(session_key, since=since, limit=self._config.calls)
        except TimeoutError:
            logger.warning("a call goes on without a memory: the store took longer than %g s", RECALL_LIMIT)
        except Exception as error:  # the store may be a plugin's; whatever it does, the call goes on
            logger.warning("a call goes on without a memory: %s", error or repr(error))
        else:
            found += last_lines(calls, self._config.lines)


def last_lines(calls: Sequence[CallRecord], limit: int) -> list[Line]:
    """The newest lines of some calls, oldest first. `calls` are newest first.

    What a caller was told before they were let in is no talk of theirs.
    """
    lines = [
        Line(line.speaker, line.text, line.interrupted, earlier=True)
        for call in reversed(calls)
        if "pairing" not in call.metadata
        for line in call.transcript
    ]
    return lines[max(len(lines) - limit, 0) :]
