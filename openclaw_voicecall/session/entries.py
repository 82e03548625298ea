"""What the journal keeps of a fact or an order."""

from dataclasses import fields
from functools import cache
from typing import Any

from openclaw_voicecall.api.store import LineFigures
from openclaw_voicecall.core.commands import Command
from openclaw_voicecall.core.events import Event


def plain(fact: Event | Command | LineFigures) -> dict[str, Any]:
    """Its fields, all of them plain values: to copy them in depth took most of an entry's time."""
    kind: Any = type(fact)
    return {name: getattr(fact, name) for name in _names(kind)}


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))
