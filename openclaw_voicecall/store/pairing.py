"""The book of callers whom the owner let in, and of codes that wait for the owner: one small file.

The service and the command line both read and write it, so it works whether or not a service runs.
"""

import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from openclaw_voicecall.config.callers import is_number
from openclaw_voicecall.errors import LimitExceeded, PolicyError, StoreError
from openclaw_voicecall.store.sharedfile import SharedFile, a_time

LIFE: Final = 3600.0
"""Seconds that a code waits for the owner."""
CODES_PER_NUMBER: Final = 3
"""Codes that one number may get within `LIFE`: a caller who was denied does not get ever new ones."""
CODES: Final = 20
"""Codes that may wait at once."""
DIGITS: Final = 6

_VERSION: Final = 1


class PairingError(PolicyError):
    """The code or number is not one that can be approved, denied or removed."""

    code = "pairing"
    http_status = 404
    exit_code = 66


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A number that may call, and since when. `at` is Unix seconds."""

    number: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A caller who was given a code. `at` is Unix seconds; `denied` keeps it counted and makes it useless."""

    number: str
    code: str
    at: float
    denied: bool = False

    def is_over(self, now: float) -> bool:
        """Whether the code is too old; also when the clock was set back by more than its life."""
        return abs(now - self.at) >= LIFE


@dataclass(frozen=True, slots=True)
class Page:
    """What is in the book now. Codes that are over are left out."""

    approved: tuple[Approved, ...] = ()
    asked: tuple[Asked, ...] = ()

    @property
    def waiting(self) -> tuple[Asked, ...]:
        """Callers whose code the owner can approve."""
        return tuple(entry for entry in self.asked if not entry.denied)

    def is_approved(self, number: str) -> bool:
        """Whether exactly this number may call."""
        return any(entry.number == number for entry in self.approved)

    def code_of(self, number: str) -> str | None:
        """The code that waits for this number."""
        return next((entry.code for entry in self.waiting if entry.number == number), None)


class PairingBook:
    """Reads and changes the book in a folder.

    Every method raises `StoreError` when the file cannot be read or written; a damaged one is left as it is.

    Args:
        folder: The private state directory. Changing the book needs it to exist, reading does not.
        wall: Unix seconds.
        draw: Makes a code of `DIGITS` digits.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wall: Callable[[], float] = time.time,
        draw: Callable[[], str] = lambda: f"{secrets.randbelow(10**DIGITS):0{DIGITS}}",
    ) -> None:
        self.path = folder / "pairing.json"
        self._file = SharedFile(self.path)
        self._wall = wall
        self._draw = draw

    def read(self) -> Page:
        """What is in the book."""
        text = self._file.read()
        if text is None:
            return Page()
        page = self._parse(text)
        now = self._wall()
        return replace(page, asked=tuple(entry for entry in page.asked if not entry.is_over(now)))

    def meet(self, number: str) -> Page:
        """Make sure that a caller is approved or has a code, and return the book.

        A number keeps its code as long as it waits.

        Raises:
            LimitExceeded: No more codes are given: to this number, or to anybody.
        """
        page = self.read()
        if page.is_approved(number) or page.code_of(number):
            return page
        with self._file.locked():
            page = self.read()
            if page.is_approved(number) or page.code_of(number):
                return page
            if sum(entry.number == number for entry in page.asked) >= CODES_PER_NUMBER:
                raise LimitExceeded(f"pairing: {number} was given {CODES_PER_NUMBER} codes within an hour")
            if len(page.waiting) >= CODES:
                raise LimitExceeded(f"pairing: {CODES} callers wait for the owner already")
            code = self._draw()
            while any(entry.code == code for entry in page.asked):
                code = self._draw()
            page = replace(page, asked=(*page.asked, Asked(number=number, code=code, at=self._wall())))
            self._write(page)
        return page

    def approve(self, who: str) -> str:
        """Let a caller in from now on.

        Args:
            who: The code the caller was given, or the number; a number need not have asked.

        Returns:
            The number.

        Raises:
            PairingError: Nobody was given this code, or it is over; or it is neither a code nor a number.
        """
        with self._file.locked():
            page = self.read()
            number = who if is_number(who) else _find(page, who).number
            asked = tuple(entry for entry in page.asked if entry.number != number)
            if page.is_approved(number):
                self._write(replace(page, asked=asked))
            else:
                new = Approved(number=number, at=self._wall())
                self._write(Page((*page.approved, new), asked))
        return number

    def deny(self, who: str) -> str:
        """Make a code useless.

        Args:
            who: The code, or the number of a caller who was given one.

        Returns:
            The number.

        Raises:
            PairingError: No code waits for this number, or nobody was given this code.
        """
        with self._file.locked():
            page = self.read()
            wanted = _waiting_of(page, who) if is_number(who) else _find(page, who)
            asked = tuple(replace(entry, denied=True) if entry == wanted else entry for entry in page.asked)
            self._write(replace(page, asked=asked))
        return wanted.number

    def remove(self, number: str) -> None:
        """Let an approved number in no more.

        Raises:
            PairingError: The number is not approved.
        """
        with self._file.locked():
            page = self.read()
            if not page.is_approved(number):
                raise PairingError(
                    f"{number} is not approved; `openclaw-voicecall pairing list` shows who is"
                )
            approved = tuple(entry for entry in page.approved if entry.number != number)
            self._write(replace(page, approved=approved))

    def _write(self, page: Page) -> None:
        body = {
            "version": _VERSION,
            "approved": [asdict(entry) for entry in page.approved],
            "asked": [asdict(entry) for entry in page.asked],
        }
        self._file.replace(body)

    def _parse(self, text: str) -> Page:
        try:
            body = json.loads(text)
            if body["version"] != _VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer version of openclaw-voicecall. Upgrade this program."
                )
            return Page(
                tuple(Approved(number=_number(entry), at=a_time(entry["at"])) for entry in body["approved"]),
                tuple(
                    Asked(
                        number=_number(entry),
                        code=_code(entry["code"]),
                        at=a_time(entry["at"]),
                        denied=entry["denied"] is True,
                    )
                    for entry in body["asked"]
                ),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise StoreError(
                f"{self.path} is damaged ({error!r}) and was left as it is. Repair it, or move it away: then no "
                "number is approved any more."
            ) from error


def _find(page: Page, text: str) -> Asked:
    """The caller with a code. Takes the same time whatever the code: how much of it is right must not show."""
    code = "".join(text.split()).replace("-", "")
    if not (code.isascii() and code.isdigit() and len(code) == DIGITS):
        raise PairingError(
            f"expected a code of {DIGITS} digits or a phone number such as +15550001234, found {text[:24]!a}"
        )
    found = None
    for entry in page.waiting:
        if hmac.compare_digest(entry.code.encode(), code.encode()):
            found = entry
    if found is None:
        raise PairingError(
            f"no caller waits with the code {code}: it is wrong, was used or denied, or is older than "
            f"{LIFE / 60:.0f} minutes; `openclaw-voicecall pairing list` shows who waits"
        )
    return found


def _waiting_of(page: Page, number: str) -> Asked:
    found = next((entry for entry in page.waiting if entry.number == number), None)
    if found is None:
        hint = " (it is approved: `pairing remove` takes that back)" if page.is_approved(number) else ""
        raise PairingError(f"{number} does not wait for an approval{hint}")
    return found


def _number(entry: Any) -> str:
    number = entry["number"]
    if not isinstance(number, str) or not is_number(number):
        raise ValueError(f"{number!r} is no phone number")
    return number


def _code(code: Any) -> str:
    if not isinstance(code, str) or not (code.isascii() and code.isdigit()):
        raise ValueError("a code is not made of digits")
    return code
