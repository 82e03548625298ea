"""Which numbers may be dialled at all: nothing that costs more than a call, and no country the owner did not name."""

from typing import TYPE_CHECKING, Final

from openclaw_voicecall.api.policy import Admission, CallOffer
from openclaw_voicecall.builtin.numbering import ONE_RING, NumberKind, kind_of
from openclaw_voicecall.config.sections_spending import ANY_COUNTRY

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

_WHAT: Final = {
    "premium": "a premium number",
    "shared-cost": "a number whose caller pays a share beyond the call",
    "personal": "a personal number, which may forward to anywhere at the caller's cost",
    "satellite": "a number of a satellite or international network",
    "emergency": "an emergency number",
}


def check_destination(number: str, config: "VoiceCallConfig") -> str:
    """Why this number may not be dialled, naming the setting that allows it; empty where it may.

    Args:
        number: As it would be dialled; everything but E.164 is refused.
        config: The settings `outbound.allow` and `outbound.countries`, and the numbers it names.
    """
    kind = kind_of(number)
    if kind is None:
        return f"outbound: {number[:24]!a} is no phone number in E.164 form, such as +15550001234"
    if kind.special and kind.special not in config.outbound.allow:
        return f"outbound.allow: {number} is {_WHAT[kind.special]}; it is called only with {kind.special!r} in the list"
    if kind.special and not kind.country:
        return ""  # belongs to no country, and is allowed by its kind
    return _check_country(number, kind, config)


def _check_country(number: str, kind: NumberKind, config: "VoiceCallConfig") -> str:
    named = config.outbound.countries
    allowed = countries_of(config) if named is None else frozenset(named)
    if kind.country in allowed:
        return ""
    if ANY_COUNTRY in allowed and kind.country not in ONE_RING:
        return ""
    where = kind.country or "no country"
    if kind.country in ONE_RING:
        return (
            f"outbound.countries: {number} is in {where}, which is known for one-ring numbers that cost whoever calls "
            f"back; it is called only with {where!r} in the list"
        )
    if named is None:
        known = ", ".join(sorted(allowed)) or "none"
        return (
            f"outbound.countries: {number} is in {where}; without this setting only countries of the numbers in the "
            f"configuration are called ({known})"
        )
    return f"outbound.countries: {number} is in {where}, which is not in the list ({', '.join(named) or 'empty'})"


def countries_of(config: "VoiceCallConfig") -> frozenset[str]:
    """The countries of all numbers that the owner wrote into the configuration."""
    numbers = {
        config.from_number,
        config.to_number,
        *config.numbers,
        *config.allow_from,
        *(config.transfer.allowed or ()),
    }
    kinds = (kind_of(number) for number in numbers if number)
    return frozenset(kind.country for kind in kinds if kind is not None and kind.country)


class DestinationPolicy:
    """Refuses to dial numbers that `check_destination` has something against, on carriers that cost money."""

    name = "outbound"
    order = 40

    def __init__(self, config: "VoiceCallConfig") -> None:
        self._config = config

    async def admit(self, offer: CallOffer) -> Admission | None:
        """No for numbers that may not be dialled."""
        if offer.direction != "outbound" or not offer.billed:
            return None
        reason = check_destination(offer.to_number, self._config)
        return Admission(allowed=False, reason=reason) if reason else None
