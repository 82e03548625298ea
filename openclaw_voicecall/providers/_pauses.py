"""An agent that falls silent in the middle of its turn, as while it uses a tool: what it wrote is heard at once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from openclaw_voicecall.api.responder import ResponseEvent, TextDelta

QUIET: Final = 0.5
"""Seconds without a word after which a whole sentence waits for no next one."""
SENTENCE_ENDS: Final = (".", "!", "?", "…", ":", "。", "！", "？", "।", "؟")
_BREAK: Final = TextDelta("\n")
"""A line break ends a sentence; else only the beginning of the next one shows that it is over."""


async def with_pauses(events: AsyncGenerator[ResponseEvent, None]) -> AsyncGenerator[ResponseEvent, None]:
    """The events of a turn, with a line break where the agent stops after a whole sentence. Raises what they raise."""
    queue: asyncio.Queue[ResponseEvent | None] = asyncio.Queue()
    writing = asyncio.create_task(_write(events, queue))
    whole = False
    try:
        while True:
            try:
                async with asyncio.timeout(QUIET if whole else None):
                    event = await queue.get()
            except TimeoutError:
                whole = False
                yield _BREAK
                continue
            if event is None:
                break
            if isinstance(event, TextDelta) and event.text.strip():
                whole = event.text.rstrip().endswith(SENTENCE_ENDS)
            yield event
        await writing
    finally:
        if not writing.done():
            writing.cancel()
            await asyncio.wait([writing])


async def _write(
    events: AsyncGenerator[ResponseEvent, None], queue: "asyncio.Queue[ResponseEvent | None]"
) -> None:
    try:
        async with aclosing(events):
            async for event in events:
                queue.put_nowait(event)
    finally:
        queue.put_nowait(None)
