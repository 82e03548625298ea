"""Models that vendors take out of service."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime


@dataclass(frozen=True, slots=True)
class Retirement:
    """When a model ends, and what to use instead."""

    on: date
    replacement: str
    vendor: str


def retirement_notice(model: str, table: Mapping[str, Retirement], today: date | None = None) -> str | None:
    """A sentence for the owner when a model was retired or will be; None when nothing is known against it."""
    retirement = table.get(model)
    if retirement is None:
        return None
    gone = retirement.on <= (today or datetime.now(UTC).date())
    when = f"was retired on {retirement.on}" if gone else f"will be retired on {retirement.on}"
    return f"the model {model} of {retirement.vendor} {when}; use {retirement.replacement}"
