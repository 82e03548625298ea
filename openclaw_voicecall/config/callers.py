"""What a carrier says of who is calling: a number, somebody who hides theirs, or a text that is neither."""

import re
from typing import Final

_E164: Final = re.compile(r"\+[1-9][0-9]{1,14}")
_WORDS: Final = frozenset(
    {"anonymous", "blocked", "private", "restricted", "unavailable", "unknown", "withheld"}
)
"""What carriers write instead of a number."""
_KEYPAD: Final = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
_DIALLED: Final = frozenset(word.translate(_KEYPAD) for word in _WORDS) | {"464"}
"""The same words as keys of a telephone: Twilio's help page on strange caller ids lists +266696687 for ANONYMOUS,
+7378742833 for RESTRICTED and others; +464 stands for no caller id at all."""
_HIDDEN_SIP: Final = "anonymous.invalid"
"""The host of a caller who hides theirs, RFC 3323, 4.1.1.3."""


def is_anonymous(caller: str) -> bool:
    """Whether the carrier gave no number, or a word or number that stands for none."""
    plain = caller.strip().lower()
    return (
        not plain
        or plain in _WORDS
        or plain.removeprefix("+") in _DIALLED
        or (plain.startswith("sip") and _HIDDEN_SIP in plain)
    )


def is_number(caller: str) -> bool:
    """Whether this is a phone number of somebody: E.164 in ASCII, with nothing before or after it."""
    return _E164.fullmatch(caller) is not None and not is_anonymous(caller)
