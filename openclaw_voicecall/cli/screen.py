"""Lines on stdout, and on a terminal one more line below them that changes in place."""

import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import TextIO

import click

MARGIN = 20
"""Columns that the text keeps on the narrowest terminal, however wide the labels are."""
_ERASE_ROW = "\r\x1b[2K"


class Screen:
    """Where the live view draws.

    Args:
        out: Takes the text.
        live: Whether `out` is a terminal on which a row can be written again.
        colour: Whether to style text. Independent of `live`: `NO_COLOR` forbids colours, not updates.
        width: Gives the columns of the terminal at this moment; people resize windows.
    """

    def __init__(
        self, out: TextIO, *, live: bool = False, colour: bool = False, width: Callable[[], int] = lambda: 80
    ) -> None:
        self._out = out
        self._live = live
        self._colour = colour
        self._width = width
        self._interim = ""

    @classmethod
    def on_stdout(cls) -> "Screen":
        """A screen on stdout: append-only plain text unless it is a terminal."""
        live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        return cls(
            sys.stdout,
            live=live,
            colour=live and not os.environ.get("NO_COLOR"),
            width=lambda: shutil.get_terminal_size().columns,
        )

    def line(self, head: str, text: str, tail: str = "", *, style: str = "", text_style: str = "") -> None:
        """Add a line that stays.

        Args:
            head: Label; further rows of a wrapped text are indented by its width.
            text: What is said about it.
            tail: Remark after the text.
            style: Colour of the label, as click names it.
            text_style: Colour of the text, or `dim`.
        """
        self._erase()
        head, text, tail = printable(head, keep_spaces=True), printable(text), printable(tail)
        if not self._live:
            self._write("  ".join(part for part in (f"{head}{text}".rstrip(), tail) if part))
            return
        indent = cells(head)
        room = max(self._width() - 1 - indent, MARGIN)
        rows = list(wrap(text, room)) or [""]
        joined = tail and cells(rows[-1]) + 2 + cells(tail) <= room
        styled = [self._styled(row, text_style) for row in rows]
        if joined:
            styled[-1] += f"{'  ' if rows[-1] else ''}{self._styled(tail, 'dim')}"
        elif tail:
            styled.append(self._styled(tail, "dim"))
        for number, row in enumerate(styled):
            self._write((" " * indent if number else self._styled(head, style)) + row)

    def interim(self, head: str, text: str, *, style: str = "") -> None:
        """Show text in the row below all lines, in place of what was there. Does nothing where rows are final.

        Text longer than the row keeps its end: the newest words.
        """
        if not self._live:
            return
        head, text = printable(head, keep_spaces=True), printable(text)
        row = self._styled(head, style) + self._styled(
            last_cells(text, max(self._width() - 1 - cells(head), MARGIN)), "dim"
        )
        if row != self._interim:
            self._out.write(f"{_ERASE_ROW}{row}")
            self._out.flush()
            self._interim = row

    def clear_interim(self) -> None:
        """Take the changing row away."""
        self._erase()
        self._out.flush()

    def _erase(self) -> None:
        if self._interim:
            self._out.write(_ERASE_ROW)
            self._interim = ""

    def _write(self, row: str) -> None:
        self._out.write(f"{row.rstrip()}\n")
        self._out.flush()

    def _styled(self, text: str, style: str) -> str:
        if not (self._colour and style and text):
            return text
        return click.style(text, dim=True) if style == "dim" else click.style(text, fg=style)


def printable(text: str, *, keep_spaces: bool = False) -> str:
    """Text without control characters: what a caller or a model says must not steer the terminal."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if keep_spaces else " ".join(shown.split())


def cells(text: str) -> int:
    """Columns that text takes on a terminal."""
    return sum(_cell(letter) for letter in text)


def _cell(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def last_cells(text: str, room: int) -> str:
    """The end of a text that fits into `room` columns, with an ellipsis in front if something is left out."""
    if cells(text) <= room:
        return text
    taken, used = len(text), 1
    while taken and used + _cell(text[taken - 1]) <= room:
        taken -= 1
        used += _cell(text[taken])
    return f"…{text[taken:]}"


def wrap(text: str, room: int) -> Iterator[str]:
    """Rows of at most `room` columns, broken between words; a word longer than a row is cut."""
    row = ""
    for word in text.split():
        longer = f"{row} {word}" if row else word
        if cells(longer) <= room:
            row = longer
            continue
        if row:
            yield row
        row = word
        while cells(row) > room:
            fitting = _fitting(row, room)
            yield row[:fitting]
            row = row[fitting:]
    if row:
        yield row


def _fitting(text: str, room: int) -> int:
    used = 0
    for number, letter in enumerate(text):
        used += _cell(letter)
        if used > room:
            return max(number, 1)
    return len(text)
