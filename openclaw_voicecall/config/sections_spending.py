"""The sections of the configuration about what calls may cost, and whom and when they may reach."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.fields import wrong

ANY_COUNTRY = "*"
"""Stands for every country, except those of one-ring numbers."""

NumberClass = Literal["premium", "shared-cost", "personal", "satellite", "emergency"]
"""Kinds of numbers that are not called unless the owner says so."""

_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}", re.ASCII)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)


def _country(value: Any) -> Any:
    if not isinstance(value, str) or value == ANY_COUNTRY:
        return value
    # The tables of all countries take long to import, and most configurations name none.
    import phonenumbers  # noqa: PLC0415

    code = value.strip().upper()
    if code not in phonenumbers.SUPPORTED_REGIONS:
        raise wrong(f"expected a country as two letters, such as US, or *, found {value[:24]!a}")
    return code


def _clock(text: str) -> str:
    if _CLOCK.fullmatch(text) is None:
        raise wrong(f"expected a time of day such as 21:00, found {text[:24]!a}")
    return text


def _prefix(text: str) -> str:
    if _PREFIX.fullmatch(text) is None:
        raise wrong(f"expected the beginning of phone numbers, such as +4930, found {text[:24]!a}")
    return text


def _zone(text: str) -> str:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 few configurations name a zone

    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # unknown; not a relative path; a folder such as Europe
        raise wrong(f"expected a time zone such as Europe/Berlin, found {text[:40]!a}") from None
    return text


Country = Annotated[str, BeforeValidator(_country)]
Clock = Annotated[str, AfterValidator(_clock)]


class QuietHoursConfig(CamelModel):
    """When nobody is called, on the clock of whoever would be."""

    start: Clock = "21:00"
    """Calls stop, time of day."""
    end: Clock = "08:00"
    """Calls go on, time of day; before `start` it is the next morning."""
    zones: dict[Annotated[str, AfterValidator(_prefix)], Annotated[str, AfterValidator(_zone)]] = Field(
        default_factory=dict
    )
    """Time zones by the beginning of the number, where you know better: the longest that fits counts. Without it the
    country tells, and the area code in the USA and Canada; where that means several zones, it must be quiet in none."""

    @model_validator(mode="after")
    def _check_hours(self) -> "QuietHoursConfig":
        if self.start == self.end:
            raise wrong("expected start and end to differ")
        return self


class SpendingConfig(CamelModel):
    """What calls cost, about, and how much they may. Estimated: a carrier's bill is what counts."""

    per_minute: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Estimated cost of a minute; every minute that has begun counts as a whole one."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    """Of what, as three letters; only shown."""
    daily_cap: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Most that calls within 24 hours may cost, in both directions; no cap if not set. A call that is live, and the one
    that is asked for, count with the longest they may last (`maxDurationSeconds`), so the cap holds."""

    @model_validator(mode="after")
    def _check_price(self) -> "SpendingConfig":
        if self.daily_cap is not None and not self.per_minute:
            raise wrong("expected spending.perMinute beside spending.dailyCap")
        return self
