"""The responder `frontdesk`: answers by rules, so that a phone line works before any model is set up.

It is honest about it: once in a call it says that it has no language model. What it remembers of a call is small,
lives in memory and is forgotten when many newer calls have come.
"""

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import field_validator

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.responder import EndCall, Responder, ResponseEvent, TextDelta, TurnRequest
from openclaw_voicecall.api.spec import ResponderSpec, Runtime
from openclaw_voicecall.builtin.frontdesk_rules import DISCLOSURE, reply_to
from openclaw_voicecall.builtin.frontdesk_talk import Reply, Said, Talk
from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.hookspecs import Register

_REMEMBERED_CALLS: Final = 1000


class FrontDeskConfig(CamelModel):
    """Settings of the responder `frontdesk`."""

    time_zone: str = ""
    """Zone of the times it tells, such as `Europe/Berlin`. Empty means the zone of this machine."""

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        if value:
            try:
                ZoneInfo(value)
            except (KeyError, ValueError, OSError):
                raise ValueError(
                    f"there is no time zone {value!r}; write one such as Europe/Berlin"
                ) from None
        return value


class FrontDesk:
    """Writes the agent's side by rules.

    Args:
        clock: Where the time of day comes from.
        config: Its settings.
    """

    def __init__(self, clock: Clock, config: FrontDeskConfig) -> None:
        self._clock = clock
        self._zone = ZoneInfo(config.time_zone) if config.time_zone else None
        self._talks: OrderedDict[str, Talk] = OrderedDict()

    async def respond(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Write the agent's turn, word by word as a model would."""
        reply = self.answer(request)
        for word in re.findall(r"\S+\s*", reply.text):
            yield TextDelta(word)
        if reply.end:
            yield EndCall("the caller said goodbye")

    def answer(self, request: TurnRequest) -> Reply:
        """The whole reply to a turn."""
        talk = self._talk(request)
        now = datetime.fromtimestamp(self._clock.wall(), self._zone)
        if now.tzinfo is None:
            now = now.astimezone()
        reply = reply_to(Said(request, talk, now))
        talk.last_reply = reply.text
        if not talk.disclosed and not reply.end and not talk.expecting:
            talk.disclosed = True
            reply = Reply(f"{reply.text} {DISCLOSURE}", reply.end)
        return reply

    def _talk(self, request: TurnRequest) -> Talk:
        talk = self._talks.pop(request.call_id, None)
        if talk is None:
            agent_lines = [
                line.text for line in request.history if line.speaker == "agent" and not line.earlier
            ]
            talk = Talk(disclosed=any("without a language model" in line for line in agent_lines))
        self._talks[request.call_id] = talk
        if len(self._talks) > _REMEMBERED_CALLS:
            self._talks.popitem(last=False)
        return talk


@hookimpl
def voicecall_register_responders(register: Register[ResponderSpec]) -> None:
    """Add `frontdesk`."""
    register(
        ResponderSpec(
            name="frontdesk",
            config=FrontDeskConfig,
            describe=lambda config: "front desk (rules, no language model)",
            open=_open,
        )
    )


@asynccontextmanager
async def _open(config: FrontDeskConfig, runtime: Runtime, model: str) -> AsyncIterator[Responder]:
    yield FrontDesk(runtime.clock, config)
