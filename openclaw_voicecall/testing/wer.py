"""Word error rate: how far what was heard is from what was said.

Texts are compared as spoken words, so that "press 1" and "Press one." are the same: lower case, no punctuation,
numbers written out, and the few spellings that differ without differing in sound.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ONES = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_SPELLINGS = {
    "cancelled": "canceled",
    "dr": "doctor",
    "good by": "goodbye",
    "good bye": "goodbye",
    "key words": "keywords",
    "log in": "login",
    "mr": "mister",
    "ok": "okay",
    "voice mail": "voicemail",
}


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Words that were wrong, missing or added, out of the words that were said."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        """Word error rate; 0.05 is five words in a hundred."""
        return self.errors / self.words if self.words else float(self.errors > 0)

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(self.errors + other.errors, self.words + other.words)


def word_errors(pairs: Iterable[tuple[str, str]]) -> WordErrors:
    """Compare pairs of what was said and what was heard."""
    total = WordErrors(0, 0)
    for said, heard in pairs:
        words = spoken_words(said)
        total += WordErrors(_distance(words, spoken_words(heard)), len(words))
    return total


def spoken_words(text: str) -> list[str]:
    """A text as the words one hears."""
    text = text.lower().replace("’", "'")
    text = re.sub(r"\$(\d+)\.(\d\d)\b", r" \1 dollars and \2 cents ", text)
    text = re.sub(r"\$(\d+)", r" \1 dollars ", text)
    text = re.sub(r"\b(\d{1,2}):00\b", r"\1", text)
    text = re.sub(r"\b(\d{1,2}):(\d\d)\b", r"\1 \2", text)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"\b([ap])\.?m\b\.?", r"\1 m", text)
    text = text.replace("%", " percent ").replace("&", " and ")
    text = re.sub(r"\b(\d+)(?:st|nd|rd|th)\b", lambda found: f" {_ordinal(int(found[1]))} ", text)
    text = re.sub(r"\d+", lambda found: f" {_digits_or_number(found[0])} ", text)
    text = " ".join(re.sub(r"[^a-z' ]", " ", text).split())
    for written, heard in _SPELLINGS.items():
        text = re.sub(rf"\b{written}\b", heard, text)
    return [word for piece in text.split() if (word := piece.strip("'"))]


def number_words(number: int) -> str:
    """A number from 0 to 999999 in words, as in "two hundred and five"."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{_ONES[hundreds]} hundred" + (f" and {number_words(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    return f"{number_words(thousands)} thousand" + (f" {number_words(rest)}" if rest else "")


def _digits_or_number(digits: str) -> str:
    """Long and odd numbers are read digit by digit, years in pairs, round and small ones as numbers."""
    number = int(digits)
    is_year = 1100 <= number < 2000
    if len(digits) > 4 or digits[0] == "0" or (number >= 200 and number % 100 and not is_year):
        return " ".join(_ONES[int(digit)] for digit in digits)
    if is_year and number % 100:
        return f"{number_words(number // 100)} {number_words(number % 100)}"
    return number_words(number)


def _ordinal(number: int) -> str:
    *before, last = number_words(number).split()
    regular = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join([*before, _ORDINALS.get(last, regular)])


def _distance(said: Sequence[str], heard: Sequence[str]) -> int:
    """The fewest words to replace, drop or add that make one of the other."""
    row = list(range(len(heard) + 1))
    for index, word in enumerate(said, 1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(heard, 1):
            cost = min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other))
            diagonal, row[column] = row[column], cost
    return row[-1]
