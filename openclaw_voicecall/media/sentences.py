"""Cuts a stream of model tokens into pieces to be spoken, each as early as its end is certain.

What comes out does not depend on how the stream was cut into tokens, unless `settle` is used: it does not wait for the
token after a full stop, where that can hardly be anything but the next sentence. Joined, the pieces are the input, up
to whitespace and up to fenced code, which nobody wants read out.
"""

import re
from typing import Final

import sentencex

MAX_CHARS: Final = 300
"""A piece that grows longer is cut at a clause, or at least between words: about twenty seconds of speech."""

_CLOSERS: Final = "\"'”’»)]*_`~」』）"
"""What may stand between the end of a sentence and the next space, quotes and markdown among it."""
_OPENERS: Final = "\"'“‘«([*_`~"
_WIDE_ENDS: Final = "。！？｡"
"""Ends of sentences in scripts that put no space after them."""
_SENTENCE_END: Final = re.compile(rf"(?P<end>[.!?…।؟])[{re.escape(_CLOSERS)}]*\s+$")
_LIST_MARKER: Final = re.compile(r"(?:^|[:;,]\s+)\(?(?:\d{1,3}|[A-Za-z])\.$")
_CLAUSE_END: Final = re.compile(rf"(?:\w[{re.escape(_CLOSERS)}]*[,;:]|\s[-–—]|—)\s+$")
_CLAUSE_CUT: Final = re.compile(r"[,;:)—–](?=\s)")
_HALVES: Final = re.compile("[\ud800-\udfff]")
"""Half characters, which nobody can speak and sentencex refuses."""
_ABBREVIATIONS: Final = frozenset({"approx.", "e.g.", "i.e.", "vs.", "est.", "ext.", "tel.", "apt.", "dept."})
_NUMBERED: Final = frozenset({"no.", "nos.", "fig.", "ch.", "vol.", "p.", "pp.", "art.", "sec."})
"""Abbreviations only before a number: "No. 5", but "No. That is wrong"."""


_SURE_END: Final = re.compile(r"(?:[^\W\d_]{2}|\w\s)[!?]$|(?<![\w.@/:-])[^\W\d_]{3,}\.$")
"""An end that may be believed before the next token is there: no number, initial, address or short form goes on so."""
_SURE_WORDS: Final = 3
"""Words that such a sentence has at least."""
_ADDRESSES: Final = re.compile(
    r"@|//|www|\b(?:website|site|domain|dot|address|page|e-?mail|file|link)\b|\b(?:at|visit|go to|see|on)\s+\S+$",
    re.IGNORECASE,
)
"""What comes before an address or the name of a file, whose first dot ends nothing."""


class SentenceSplitter:
    """Splits one turn's text as it is written.

    A sentence leaves when the beginning of the next one shows that it is over: "Dr. Smith", "3.5", "5 a.m. today" and
    "No. 5" are not cut. A line break ends a sentence. The first clause of the turn may leave early, so that the voice
    starts while the model still writes the first sentence.

    Args:
        language: BCP 47 tag; its rules for abbreviations are used where there are any, else the English ones.
        first_clause_words: Words that the first clause must have to leave early, at a comma, semicolon, colon or
            dash; 0 waits for the first whole sentence.
    """

    def __init__(self, language: str = "en", first_clause_words: int = 4) -> None:
        self._language = language.replace("_", "-").split("-")[0].lower() or "en"
        # Two letters of the next word show in English what it takes the whole word for elsewhere ("der 3. Mai").
        self._early = self._language == "en"
        self._first_clause_words = first_clause_words
        self._buffer = ""
        self._pieces: list[str] = []
        self._first = True
        self._ticks = 0
        self._fenced = False

    def push(self, delta: str) -> list[str]:
        """Take the next text, of any size, and return the pieces whose end is now certain."""
        for char in _HALVES.sub("\ufffd", delta):
            if char == "`":
                self._ticks += 1
                continue
            self._end_ticks()
            if not self._fenced:
                self._add(char)
        return self._taken()

    def settle(self) -> list[str]:
        """No more text is there yet: return a sentence that is over as far as anybody can tell.

        A model writes a token every 20 ms or so, and a voice that need not wait for the next one starts that much
        sooner.
        """
        buffer = self._buffer
        if not self._early or self._fenced or self._ticks or _SURE_END.search(buffer) is None:
            return []
        words = buffer.split()
        last = words[-1].lstrip(_OPENERS)
        if len(words) < _SURE_WORDS or _inside_markup(buffer) or _LIST_MARKER.search(buffer):
            return []
        if last.endswith(".") and (not last[:-1].islower() or _ADDRESSES.search(buffer)):
            return []
        if last.lower() in _ABBREVIATIONS | _NUMBERED or '"' in buffer or "(" in buffer:
            return []
        if len(list(sentencex.segment(self._language, f"{buffer} The"))) > 1:
            self._cut(len(buffer))
        return self._taken()

    def finish(self) -> list[str]:
        """The text is complete: return the rest. The splitter can be used for the next turn after this."""
        self._end_ticks()
        if not self._fenced:
            self._cut_all()
        self._buffer, self._first, self._fenced = "", True, False
        return self._taken()

    def _taken(self) -> list[str]:
        pieces, self._pieces = self._pieces, []
        return pieces

    def _end_ticks(self) -> None:
        """Backticks are over: three or more open or close a fence, fewer are text."""
        ticks, self._ticks = self._ticks, 0
        if ticks >= 3:
            if not self._fenced:
                self._cut_all()
            self._fenced = not self._fenced
        elif not self._fenced:
            for _ in range(ticks):
                self._add("`")

    def _add(self, char: str) -> None:
        self._buffer += char
        buffer = self._buffer
        if char in "\r\n":
            self._cut_all()
        elif char.isspace():
            self._cut_sentence(_last_word(buffer))
        elif self._early and buffer[-3:-2].isspace() and not buffer[-2].isspace():
            self._cut_sentence(len(buffer) - 2)
        elif char not in _CLOSERS + _WIDE_ENDS and buffer[:-1].rstrip(_CLOSERS).endswith(tuple(_WIDE_ENDS)):
            self._cut(len(buffer) - 1)
        if char.isspace() or char == "—":
            self._cut_first_clause()
        if len(self._buffer) > MAX_CHARS:
            self._cut(self._run_on_cut())

    def _cut_sentence(self, at: int) -> None:
        """Cut before `at`, where a word begins, if a sentence ends there."""
        end = _SENTENCE_END.search(self._buffer, 0, at)
        if end is None:
            return
        before, after = self._buffer[: end.end("end")], self._buffer[at:]
        if _inside_markup(before) or _LIST_MARKER.search(before.strip()):
            return
        after = after.rstrip()
        last_word = before.split()[-1].lstrip(_OPENERS).lower()
        if last_word in _ABBREVIATIONS or (last_word in _NUMBERED and after[0].isdigit()):
            return
        # sentencex takes quotes and markdown at the seam for words, so it is asked without them.
        word = after.lstrip(_OPENERS) or after
        if list(sentencex.segment(self._language, f"{before} {word}"))[-1].strip() == word.strip():
            self._cut(at)

    def _cut_first_clause(self) -> None:
        if not self._first or self._first_clause_words <= 0:
            return
        clause = self._buffer
        if not clause.endswith("—") and _CLAUSE_END.search(clause) is None:
            return
        words = sum(any(char.isalnum() for char in word) for word in clause.split())
        if words >= self._first_clause_words and "|" not in clause and not _inside_markup(clause):
            self._cut(len(clause))

    def _cut_all(self) -> None:
        self._cut_sentence(_last_word(self._buffer))
        self._cut(len(self._buffer))

    def _run_on_cut(self) -> int:
        buffer = self._buffer
        clauses = [match.end() for match in _CLAUSE_CUT.finditer(buffer)]
        if clauses and clauses[-1] >= MAX_CHARS // 5:
            return clauses[-1]
        words = [match.start() for match in re.finditer(r"\s", buffer)]
        return words[-1] if words and words[-1] >= MAX_CHARS // 5 else MAX_CHARS

    def _cut(self, at: int) -> None:
        piece, self._buffer = self._buffer[:at].strip(), self._buffer[at:].lstrip()
        if piece:
            self._pieces.append(piece)
            self._first = False


def _last_word(text: str) -> int:
    """Where the last word begins."""
    words = text.rstrip()
    return max(0, len(words) - len(words.split()[-1])) if words else 0


def _inside_markup(text: str) -> bool:
    """Whether a link or inline code is still open, which a cut would break."""
    return text.count("[") > text.count("]") or text.count("`") % 2 == 1
