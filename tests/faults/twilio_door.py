"""Requests to the carrier's door of a running service, byte for byte: as Twilio signs them, or not quite."""

import secrets
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import urlencode, urlsplit

from vendor_line import OURS, SID

from openclaw_voicecall.testing.emulators.twilio_signing import sign

TOKEN = "emulated-token"
FORM = "application/x-www-form-urlencoded"
SIGNATURE = "X-Twilio-Signature"
AT_ONCE = 4


def fields(**changes: str) -> dict[str, str]:
    """The form of a call that comes in."""
    return {
        "AccountSid": SID,
        "ApiVersion": "2010-04-01",
        "CallSid": "CA" + secrets.token_hex(16),
        "CallStatus": "ringing",
        "Direction": "inbound",
        "From": "+15550002001",
        "FromCity": "",
        "FromCountry": "US",
        "To": OURS,
        **changes,
    }


@dataclass(frozen=True)
class Asked:
    """One request."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"

    @classmethod
    def signed(
        cls, url: str, form: Mapping[str, str], *, token: str = TOKEN, signed_url: str = "", **headers: str
    ) -> Self:
        """A form as Twilio signs it; for another address if that is given."""
        signature = sign(token, signed_url or url, form.items())
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(
            url,
            urlencode(form).encode(),
            tuple({"Content-Type": FORM, SIGNATURE: signature, **named}.items()),
        )

    def but(self, **headers: str | None) -> Self:
        """The same with other headers; None takes one away."""
        changes = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = [(name, value) for name, value in self.headers if name not in changes]
        return replace(self, headers=(*kept, *((n, v) for n, v in changes.items() if v is not None)))

    @property
    def signature(self) -> str:
        """What it is signed with."""
        return dict(self.headers)[SIGNATURE]

    def to_bytes(self) -> bytes:
        """As it goes over the wire."""
        parts = urlsplit(self.url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"{self.method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    """0 where the connection ended without an answer."""
    head: str
    body: str


def ask(asked: Asked) -> Answered:
    """Send a request on a connection of its own."""
    parts = urlsplit(asked.url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=20) as connection:
        connection.sendall(asked.to_bytes())
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass  # refused unread: the answer may be there all the same
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    words = head.split(" ", 2)
    return Answered(int(words[1]) if len(words) > 1 else 0, head, body)


@dataclass
class Tally:
    """What became of many requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    odd: list[tuple[str, int]] = field(default_factory=list)
    """Name and status of every request that was not refused with 4xx."""


def ask_all(requests: Iterable[tuple[str, Asked]]) -> Tally:
    """Send many requests by name, some at a time."""
    tally = Tally()

    def one(named: tuple[str, Asked]) -> None:
        name, asked = named
        status = ask(asked).status
        tally.statuses[status] += 1
        if not 400 <= status < 500:
            tally.odd.append((name, status))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(one, requests):
            pass
    return tally


def together(asked: Asked, times: int) -> list[Answered]:
    """Send one request several times at once."""
    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(ask, [asked] * times))


def repeated(kinds: Mapping[str, object], count: int) -> Iterator[str]:
    """Names, over and over."""
    names = list(kinds)
    return (names[number % len(names)] for number in range(count))
