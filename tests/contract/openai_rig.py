"""A session of OpenAI's speech model, with everything that came out of it."""

import asyncio
from contextlib import asynccontextmanager

from openclaw_voicecall.api.realtime import (
    ModelTool,
    RealtimeRequest,
    ReplyAudio,
    ReplyEnded,
)

KEY = "sk-emulated"
LOOK_UP = ModelTool(
    name="look_up",
    description="Looks something up.",
    parameters={"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
)


def request(**changes):
    fields = {"call_id": "c1", "instructions": "You answer the phone.", "language": "en", "tools": (LOOK_UP,)}
    return RealtimeRequest(**{**fields, **changes})


class Reader:
    """What a session tells, read as it comes."""

    def __init__(self, session):
        self.session = session
        self.events = []
        self.error = None
        self.news = asyncio.Event()
        self.task = asyncio.create_task(self._read())

    async def _read(self):
        try:
            async for event in self.session:
                self.events.append(event)
                self.news.set()
        except Exception as error:
            self.error = error
        self.news.set()

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def sound(self, reply=None):
        return b"".join(each.audio for each in self.told(ReplyAudio) if reply in (None, each.reply))

    def ended(self, asked):
        return next((each for each in self.told(ReplyEnded) if each.asked == asked), None)

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                assert self.error is None, self.error
                self.news.clear()
                await self.news.wait()

    async def failure(self):
        async with asyncio.timeout(5):
            await self.task
        assert self.error is not None
        return self.error


@asynccontextmanager
async def reading(opened):
    """Read everything that a session tells while the block lasts."""
    async with opened as session:
        reader = Reader(session)
        try:
            yield reader
        finally:
            reader.task.cancel()
            await asyncio.wait([reader.task])
