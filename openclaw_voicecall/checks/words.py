"""A phrase to be said and heard, and how much of it was understood."""

import re

PHRASES = {
    "de": "Guten Morgen, das ist ein Test der Telefonleitung.",
    "en": "Good morning, this is a test of the telephone line.",
    "es": "Buenos días, esto es una prueba de la línea telefónica.",
    "fr": "Bonjour, ceci est un essai de la ligne téléphonique.",
    "it": "Buongiorno, questa è una prova della linea telefonica.",
    "nl": "Goedemorgen, dit is een test van de telefoonlijn.",
    "pt": "Bom dia, este é um teste da linha telefônica.",
}
"""Without numbers and names, which vendors spell in many ways."""

ENOUGH = 0.5
"""Part of the phrase that may be wrong: a small model on a telephone line misses a word or two, a deaf one all."""


def phrase_for(language: str, greeting: str) -> str:
    """What is said: a phrase in this language, or, in one that is not known here, the owner's own greeting."""
    tag = language.replace("_", "-").partition("-")[0].lower()
    return PHRASES.get(tag) or greeting or PHRASES["en"]


def error_rate(said: str, heard: str) -> float:
    """Words that were wrong, missing or added, in proportion to those that were said; 0 is perfect.

    Case and punctuation do not count. Text without spaces between words is compared by letters.
    """
    wanted, got = _words(said), _words(heard)
    if len(wanted) < 3:
        wanted, got = list("".join(wanted)), list("".join(got))
    return _distance(wanted, got) / max(len(wanted), 1)


def is_understood(said: str, heard: str) -> bool:
    """Whether what was heard is what was said."""
    return error_rate(said, heard) <= ENOUGH


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _distance(wanted: list[str], got: list[str]) -> int:
    """Edits that make one list the other (Levenshtein)."""
    row = list(range(len(got) + 1))
    for number, word in enumerate(wanted, 1):
        above, row = row, [number]
        for column, other in enumerate(got, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (word != other)))
    return row[-1]
