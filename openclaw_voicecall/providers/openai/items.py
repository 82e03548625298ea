"""The utterances that OpenAI is transcribing, in the order in which they were said.

Each utterance is an item with an id. Items are transcribed at the same time, so the words of a later one may come
first; `previous_item_id` tells the true order, and finals leave in it.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

MAX_ITEMS: Final = 64
"""Utterances that may wait for their words at one time."""
MAX_TEXT: Final = 64 * 1024
"""Characters of one utterance; what comes beyond is dropped."""
_REMEMBERED: Final = 256


@dataclass(slots=True)
class Item:
    """One utterance."""

    id: str
    previous: str | None = None
    committed: bool = False
    done: bool = False
    text: str = ""
    since: int | None = None
    """Bytes of call audio heard when its words became due; None while it is still being said."""


@dataclass(slots=True)
class Items:
    """Open utterances, oldest first. Words of one that was already given, or dropped, change nothing."""

    _open: list[Item] = field(default_factory=list)
    _given: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def __len__(self) -> int:
        return len(self._open)

    def knows(self, item_id: str) -> bool:
        """Whether this item was committed."""
        return item_id in self._given or any(item.id == item_id and item.committed for item in self._open)

    def commit(self, item_id: str, previous: str | None, at: int) -> None:
        """The utterance was said to its end, and comes after `previous`, if that is not None."""
        item = self._item(item_id)
        if item is None:
            return
        item.committed, item.previous = True, previous
        item.since = at if item.since is None else item.since
        self._put_in_order(item)

    def add(self, item_id: str, delta: str) -> None:
        """More words."""
        item = self._item(item_id)
        if item is not None and not item.done:
            item.text = (item.text + delta)[:MAX_TEXT]

    def finish(self, item_id: str, text: str | None, at: int) -> None:
        """All words are known; None keeps those that came so far."""
        item = self._item(item_id)
        if item is not None and not item.done:
            item.done = True
            item.text = item.text if text is None else text[:MAX_TEXT]
            item.since = at if item.since is None else item.since

    def take_finals(self) -> list[str]:
        """The words of the oldest utterances, as far as they are complete, each once."""
        return [item.text.strip() for item in self.take_complete()]

    def take_complete(self) -> list[Item]:
        """The oldest utterances, as far as they are complete, each once."""
        complete = []
        while self._open and self._open[0].committed and self._open[0].done:
            item = self._open.pop(0)
            self._given.append(item.id)
            complete.append(item)
        return complete

    def words(self, item_id: str) -> str:
        """The words so far of an open utterance; empty for any other."""
        return next((item.text.strip() for item in self._open if item.id == item_id), "")

    def give_up(self, before: int, most: int) -> None:
        """Wait no longer for words that were due before a time, nor for those of the oldest of more than `most`."""
        for at, item in enumerate(self._open):
            if (item.since is not None and item.since < before) or at < len(self._open) - most:
                item.committed = item.done = True

    @property
    def interim(self) -> str:
        """The words so far of all open utterances."""
        return " ".join(text for item in self._open if (text := item.text.strip()))[:MAX_TEXT]

    @property
    def oldest(self) -> int | None:
        """Since when the longest waiting item is due, in bytes of audio; None when none is."""
        if not self._open:
            return None
        return min((item.since for item in self._open if item.since is not None), default=None)

    def _item(self, item_id: str) -> Item | None:
        if item_id in self._given:
            return None
        for item in self._open:
            if item.id == item_id:
                return item
        self._open.append(Item(item_id))
        return self._open[-1]

    def _put_in_order(self, item: Item) -> None:
        """Move an item behind its predecessor, and before its successor, where words or commits came out of order."""
        ids = [other.id for other in self._open]
        at = ids.index(item.id)
        if item.previous in ids and ids.index(item.previous) > at:
            self._open.insert(ids.index(item.previous), self._open.pop(at))
            return
        successors = [index for index, other in enumerate(self._open) if other.previous == item.id]
        uncommitted = [index for index, other in enumerate(self._open) if not other.committed]
        before = min((index for index in (*successors, *uncommitted) if index < at), default=None)
        if before is not None:
            self._open.insert(before, self._open.pop(at))
