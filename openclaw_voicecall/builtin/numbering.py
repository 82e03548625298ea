"""What kind of number a number is, and which country's, by public numbering plans.

Types come from libphonenumber. What it does not know is in the tables here, each with its source. A number of a length
that nobody can own counts by its beginning, because some networks route it all the same.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

_E164: Final = re.compile(r"\+[1-9][0-9]{1,14}", re.ASCII)

_SATELLITE: Final = ("+870", "+878", "+881", "+882", "+883", "+888")
"""Codes without a country, ITU-T E.164 list of assigned country codes: Inmarsat, personal numbers, the satellite
networks (Iridium, Globalstar), international networks (Thuraya and others), and disaster relief."""
_PREMIUM: Final = (
    "+979",  # international premium rate, ITU-T E.169.2
    "+1900", "+3190", "+3290", "+3389", "+34803", "+34806", "+34807", "+3989", "+4190", "+4390", "+4393", "+449",
    "+4590", "+46900", "+46939", "+46944", "+4782", "+4870", "+49900", "+61190", "+64900", "+81990", "+9721900",
)  # fmt: skip
"""Beginnings of premium numbers, by the national plans that ITU-T publishes."""
_PAY_PER_CALL: Final = re.compile(r"\+1[2-9][0-9]{2}976[0-9]{4}", re.ASCII)
"""Local premium numbers of North America: exchange 976 in any area."""
_SHARED_COST: Final = ("+808",)
"""International shared cost, ITU-T E.169.3."""
_EMERGENCY: Final = frozenset(
    {
        "000", "100", "101", "102", "103", "104", "105", "106", "107", "108", "110", "111", "112", "113", "114", "115",
        "116", "117", "118", "119", "120", "122", "123", "125", "128", "131", "132", "133", "140", "144", "150", "155",
        "158", "160", "165", "166", "170", "180", "190", "191", "192", "193", "194", "195", "197", "198", "199", "811",
        "900", "902", "903", "911", "912", "913", "933", "988", "991", "992", "993", "995", "996", "997", "998", "999",
    }
)  # fmt: skip
"""Emergency numbers of the world, as ITU-T E.129 lists them by country; dialled behind any country's code."""

ONE_RING: Final = frozenset(
    {
        # Named in warnings of the FCC (2019) and the FTC about one-ring calls.
        "AG", "DM", "DO", "GD", "JM", "MR", "MS", "SL", "TC", "VG",
        # Where carriers' reports on revenue share fraud see calls end that nobody meant to place.
        "BI", "CK", "CU", "GM", "GN", "KI", "KM", "MG", "MV", "NR", "NU", "PG", "SB", "SO", "TD", "TK", "TN", "TO",
        "TV", "VU", "WF", "WS",
    }
)  # fmt: skip
"""Countries whose numbers strangers ring once, so that somebody calls back and pays."""


@dataclass(frozen=True, slots=True)
class NumberKind:
    """What is known of a number."""

    country: str
    """Two letters; that of the calling code where the number alone does not tell; empty where there is none."""
    special: str = ""
    """`premium`, `shared-cost`, `personal`, `satellite`, `emergency`, or empty for an ordinary number."""


def kind_of(number: str) -> NumberKind | None:
    """Classify a number; None when it is not E.164, or no number anywhere has its length."""
    if _E164.fullmatch(number) is None:
        return None
    # The tables of all countries take long to import, and calls on the local line need none.
    import phonenumbers  # noqa: PLC0415

    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    main = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
    country = phonenumbers.region_code_for_number(parsed) or main
    special = _special(phonenumbers, number, parsed, main)
    possible = (
        phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    )
    if special != "emergency" and not possible:
        return None
    return NumberKind("" if country in ("001", "ZZ", None) else str(country), special)


def _special(phonenumbers: Any, number: str, parsed: Any, region: str) -> str:
    national = phonenumbers.national_significant_number(parsed)
    # An area code 911 does not exist, and who dials it within +1 means the emergency number.
    emergency = national in _EMERGENCY or (parsed.country_code == 1 and national.startswith("911"))
    if emergency or phonenumbers.is_emergency_number(national, region):
        return "emergency"
    if number.startswith(_SATELLITE):
        return "satellite"
    types = phonenumbers.PhoneNumberType
    kind = phonenumbers.number_type(parsed)
    # Pagers cost as much as premium numbers, where there are any left.
    expensive = kind in (types.PREMIUM_RATE, types.PAGER)
    if expensive or number.startswith(_PREMIUM) or _PAY_PER_CALL.fullmatch(number):
        return "premium"
    if kind == types.SHARED_COST or number.startswith(_SHARED_COST):
        return "shared-cost"
    return "personal" if kind == types.PERSONAL_NUMBER else ""
