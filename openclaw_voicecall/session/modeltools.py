"""The tools of a speech-to-speech model: offered for the whole call, run while it goes on."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from openclaw_voicecall.api.realtime import ModelTool, ToolCalled
from openclaw_voicecall.api.responder import EndCall, SendDtmf, Transfer, TurnRequest
from openclaw_voicecall.api.spec import ToolSpec
from openclaw_voicecall.api.turntools import TurnTools
from openclaw_voicecall.core.events import DigitsRequested, Event, TransferRequested
from openclaw_voicecall.session.tools import with_tools


class ToolBench:
    """Runs what the model of one call calls.

    Args:
        base: What is told to tools about every turn.
        specs: What plugins let models call.
        post: Takes events for the core.
        note: Takes a journal word of the shell and its data.
    """

    def __init__(
        self,
        base: TurnRequest,
        specs: Sequence[ToolSpec],
        *,
        post: Callable[[Event], None],
        note: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._base = base
        self._specs = specs
        self._post = post
        self._note = note
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def offered(self) -> tuple[ModelTool, ...]:
        """What the model is told of them."""
        return tuple(self.tools(0).functions)

    def tools(self, turn: int) -> TurnTools:
        """The tools of one turn; each turn may use them a limited number of times."""
        return TurnTools(with_tools(replace(self._base, turn=turn), self._specs, self._note))

    def run(self, tools: TurnTools, called: ToolCalled, done: Callable[[str, bool], None]) -> None:
        """Run a call beside the talk. `done` gets its result, and whether the model need say nothing about it."""
        task = asyncio.create_task(self._run(tools, called, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def outcome(self, tools: TurnTools) -> tuple[bool, bool]:
        """Whether the turn ends the call, and whether it did something that needs no words."""
        return isinstance(tools.last, EndCall), tools.pressed > 0 or tools.last is not None

    async def close(self) -> None:
        """Stop whatever is at work."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, tools: TurnTools, called: ToolCalled, done: Callable[[str, bool], None]) -> None:
        before = tools.last
        result, carried_out = await tools.run(called.name, called.arguments)
        for event in tools.take_events():
            if isinstance(event, SendDtmf):
                self._post(DigitsRequested(event.digits))
        if isinstance(tools.last, Transfer) and tools.last is not before:
            self._post(TransferRequested(tools.last.to, tools.last.announce))
        done(result, carried_out)
