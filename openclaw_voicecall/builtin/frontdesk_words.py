"""What the front desk finds in a caller's words, and how it says numbers, letters and times. English only."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

DIGIT_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_WORD_DIGITS: Final = {word: str(digit) for digit, word in enumerate(DIGIT_WORDS)} | {"oh": "0", "o": "0"}
_TIMES: Final = {"double": 2, "triple": 3}
_KEYS: Final = {"#": "pound", "*": "star"}
_TEENS: Final = {11, 12, 13}
_ENDINGS: Final = {1: "st", 2: "nd", 3: "rd"}

_NAME: Final = r"([A-Z][a-zA-Z'’-]+(?: [A-Z][a-zA-Z'’-]+)?)"
_NAME_SAID: Final = re.compile(rf"\b(?i:my name is|my name's|the name is|the name's|call me|name is) {_NAME}")
_NAME_PLAIN: Final = re.compile(r"\bmy name(?: is|'s) ([a-z'-]+)", re.IGNORECASE)
_NAME_MAYBE: Final = re.compile(rf"(?:\b(?i:this is|it's|it is)|\bI'm|\bI am) {_NAME}")
_NO_NAMES: Final = frozenset(
    {
        "not", "what", "a", "an", "the", "so", "very", "just", "here", "fine", "good", "great", "sorry", "okay",
        "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "january", "february",
        "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
        "english", "american", "i", "on", "in", "at", "me", "you", "back", "later", "now",
    }
)  # fmt: skip
_SPELLED: Final = re.compile(r"\b[A-Za-z](?:[\s,.-]{1,2}[A-Za-z]){2,}\b")


def digits_in(text: str) -> str:
    """The longest row of digits in a text, said as figures or as words; empty if there is none.

    "five five five, oh one four two", "555-0142" and "double five five 0142" are all rows.
    """
    best = row = ""
    times = 1
    for token in re.findall(r"\d+|[a-z]+", text.lower()):
        if token in _TIMES:
            times = _TIMES[token]
            continue
        figures = token if token.isdigit() else _WORD_DIGITS.get(token, "")
        if not figures:
            row, times = "", 1
            continue
        row += figures[0] * (times - 1) + figures
        times = 1
        best = max(best, row, key=len)
    return best


def name_in(text: str) -> str:
    """The name a caller gives for themselves; empty if there is none."""
    for pattern in (_NAME_SAID, _NAME_PLAIN, _NAME_MAYBE):
        found = pattern.search(text)
        if found and found[1].split()[0].lower() not in _NO_NAMES:
            words = [word for word in found[1].split() if word.lower() not in _NO_NAMES]
            return " ".join(word[0].upper() + word[1:] for word in words)
    return ""


def letters_in(text: str) -> str:
    """Letters that were spelled one by one, such as "S-A-M"; empty if there are fewer than three."""
    found = _SPELLED.search(text)
    return "".join(character for character in found[0] if character.isalpha()).upper() if found else ""


def say_digits(digits: str) -> str:
    """Digits as words in small groups, the way people read a number out."""
    words = [DIGIT_WORDS[int(key)] if key.isdigit() else _KEYS.get(key, key) for key in digits]
    return ", ".join(" ".join(words[start:end]) for start, end in _groups(len(words)))


def say_letters(word: str) -> str:
    """A word letter by letter."""
    return ", ".join(character.upper() for character in word if character.isalnum())


def say_time(now: datetime) -> str:
    """The time of day, such as "3:05 PM"."""
    return f"{now.hour % 12 or 12}:{now.minute:02d} {'AM' if now.hour < 12 else 'PM'}"


def say_date(now: datetime) -> str:
    """The day and date, such as "Friday, November 21st"."""
    ending = "th" if now.day in _TEENS else _ENDINGS.get(now.day % 10, "th")
    return f"{now:%A}, {now:%B} {now.day}{ending}"


def _groups(count: int) -> Sequence[tuple[int, int]]:
    """Where to pause: seven digits as 3 and 4, ten as 3, 3 and 4, others in threes with no digit left alone."""
    sizes = [3] * (count // 3)
    rest = count % 3
    if rest and sizes and (rest == 1):
        sizes[-1] += rest
    elif rest:
        sizes.append(rest)
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return list(zip([0, *ends], ends, strict=False))
