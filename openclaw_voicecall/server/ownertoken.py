"""The owner's token: for the control API on a port, where every user of the machine and every web page could come."""

import hmac
import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from yarl import URL

from openclaw_voicecall.errors import StoreError

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,256}")
_MOST_BYTES = 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def owner_token(path: Path) -> str:
    """The token in a file of the owner's, which is made with mode 0600 where there is none.

    Raises:
        StoreError: The file holds no token, an empty one for example, or others may read it.
    """
    try:
        return _made(path)
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            text = file.read(_MOST_BYTES).decode("ascii", "replace").strip()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise StoreError(f"Others may read {path}, or it is not yours. Remove it: a new one is made then.")
    if _TOKEN.fullmatch(text) is None:
        raise StoreError(
            f"{path} holds no token: at least 32 letters, digits, - and _ were expected. "
            "Remove it: a new one is made then."
        )
    return text


class OwnerGuard:
    """Lets only those through who bring the token, over a name of this machine.

    Args:
        token: Not empty.
    """

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("an empty token would let everybody in")
        self._expected = f"Bearer {token}".encode()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse all others, with 403 or 401."""
        # A page may have its own name resolved to this machine; then that name is what its browser asks for.
        if not _is_this_machine(request.headers.getall("Host", [])):
            raise web.HTTPForbidden(reason="the control API answers to a name of this machine only")
        said = request.headers.getall("Authorization", [])
        if len(said) != 1 or not hmac.compare_digest(
            said[0].encode("utf-8", "surrogateescape"), self._expected
        ):
            raise web.HTTPUnauthorized(
                reason="the control API needs the token in the file control.token of the state directory"
            )
        return await handler(request)


def _made(path: Path) -> str:
    token = secrets.token_urlsafe(32)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token


def _is_this_machine(hosts: list[str]) -> bool:
    if len(hosts) != 1:
        return False
    try:
        name = URL(f"http://{hosts[0]}").host or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
