"""Phone numbers: strict E.164, so that two ways to write one number never meet in a comparison."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from openclaw_voicecall.errors import InvalidNumber

EXAMPLE = "+15550001234"
"""The number shown in every message about numbers."""

_E164 = re.compile(r"\+[1-9][0-9]{1,14}", re.ASCII)
_SEPARATORS = str.maketrans("", "", " -.()/")
_LONGEST_SHOWN = 24


def normalise_number(text: str, *, field: str) -> str:
    """Check a phone number and give its one E.164 form.

    Only ASCII digits after a plus are taken: look-alike digits, spaces and extensions are refused, because the same
    text is later compared with what a carrier reports. A number counts when it is *possible*: numbers reserved for
    examples, such as +15550001234, are possible though nobody can own them.

    Args:
        text: The number as it was given.
        field: What to call it in the error, such as `fromNumber` or `--to`.

    Returns:
        The number in E.164, without a trunk zero that slipped in behind the country code.

    Raises:
        InvalidNumber: It is no number of this form; the message names the field and shows an example.
    """
    number = _possible(text)
    if number is not None:
        return number
    hint = ""
    if isinstance(text, str):
        cleaned = text.strip().translate(_SEPARATORS)
        suggestion = _possible(cleaned) if cleaned != text else None
        hint = f"; write it as {suggestion}" if suggestion else ""
    raise InvalidNumber(
        f"{field}: expected a phone number in E.164 form, such as {EXAMPLE}, found {_shown(text)}{hint}"
    )


def _possible(text: object) -> str | None:
    if not isinstance(text, str) or _E164.fullmatch(text) is None:
        return None
    # The tables of all countries take long to import, and most commands never see a number.
    import phonenumbers  # noqa: PLC0415

    try:
        parsed = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    form = str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
    # Behind one trunk zero there may be another; what is left in the end has to be a number by itself.
    return form if form == text else _possible(form)


def _shown(text: object) -> str:
    if not isinstance(text, str):
        return f"a value of type {type(text).__name__}"
    return ascii(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")


def _check(text: str) -> str:
    try:
        return normalise_number(text, field="")
    except InvalidNumber as error:
        # The path in front of a problem names the field already.
        raise PydanticCustomError("phone_number", "{reason}", {"reason": str(error)[2:]}) from None


E164 = Annotated[str, AfterValidator(_check)]
"""A phone number in E.164, as a settings field."""
