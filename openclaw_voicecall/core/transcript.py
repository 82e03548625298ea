"""What the words of a call tell about turns, and how much of an utterance was heard. Pure functions on text."""

import re
from collections.abc import Sequence, Set
from typing import Final

SPEECH_RATE: Final = 15.0
"""Characters a second of speech, taken while the length of an utterance is not known yet."""

_EDGES: Final = " \t\n.,!?…;:\"'“”‘’«»()[]-–—¿¡"
_QUESTION: Final = re.compile(r"[?？؟][\"'”’»)\]\s]*$")
_NUMERIC: Final = re.compile(r"^[+#*]?\d[\d.,:/\-]*$")
_NUMBER_WORD: Final = re.compile(
    r"""^(oh|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand|million
    |double|triple|(thir|four|fif|six|seven|eigh|nine)teen|(twen|thir|for|fif|six|seven|eigh|nine)ty(-\w+)?)$""",
    re.VERBOSE,
)


def _tokens(text: str) -> list[str]:
    stripped = (word.strip(_EDGES) for word in text.lower().split())
    return [word for word in stripped if word]


def bid_words(text: str, backchannels: Set[str]) -> int:
    """How many words of a text are a bid for the floor, that is, are not part of a backchannel.

    Case and punctuation do not matter, and a backchannel of several words ("uh huh") counts as one.
    """
    tokens = _tokens(text)
    longest = max((len(phrase.split()) for phrase in backchannels), default=1)
    count = at = 0
    while at < len(tokens):
        for length in range(longest, 0, -1):
            if " ".join(tokens[at : at + length]) in backchannels:
                at += length
                break
        else:
            count += 1
            at += 1
    return count


def ends_in_question(text: str) -> bool:
    """Whether the text ends in a question mark."""
    return bool(_QUESTION.search(text))


def ends_in_number(text: str) -> bool:
    """Whether the last word is a number, in digits or as an English word, so that more digits may follow."""
    tokens = _tokens(text)
    if not tokens:
        return False
    return bool(_NUMERIC.match(tokens[-1]) or _NUMBER_WORD.match(tokens[-1]))


def heard_prefix(text: str, heard: float, duration: float | None) -> str:
    """The part of an utterance that was surely heard: whole words only, in proportion to the time played.

    Args:
        text: The whole utterance.
        heard: Seconds of it that were played.
        duration: Its length in seconds, or None while its audio is still being made; the length is estimated then.
    """
    words = text.split()
    line = " ".join(words)
    if duration is not None and 0 < duration <= heard:
        return line
    rate = len(line) / duration if duration is not None and duration > 0 else SPEECH_RATE
    reached = heard * rate
    end = 0
    for count, word in enumerate(words):
        end += len(word) + (count > 0)
        if end > reached:
            return " ".join(words[:count])
    return line


def without_written(text: str, written: Sequence[str]) -> str:
    """The words of a text that a record does not have yet, when its beginning was written down before.

    Transcribers correct themselves, so about the same words are the same words: half of them have to agree. A text
    that begins otherwise is new as a whole, because words that are written twice are better than lost ones.

    Args:
        text: What was heard of an utterance.
        written: The words of the same utterance that were written down when it was not final yet.
    """
    words = text.split()
    same = sum(
        a.lower().strip(_EDGES) == b.lower().strip(_EDGES) for a, b in zip(words, written, strict=False)
    )
    return " ".join(words[len(written) :] if 2 * same >= len(written) else words)
