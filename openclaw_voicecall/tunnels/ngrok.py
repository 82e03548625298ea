"""ngrok: a child process that holds the way open, and whose log says where it leads.

Facts about the program are from ngrok's documentation of the agent: its command line (`ngrok http`), its
configuration file, version 3, and its error pages. `--url` and that file need ngrok 3.16 (September 2024).
"""

import asyncio
import json
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from openclaw_voicecall.errors import VendorAuthError, VendorError, VendorRejected, VendorTimeout
from openclaw_voicecall.tunnels.programs import Program, find_program
from openclaw_voicecall.tunnels.tunnel import Door

logger = logging.getLogger(__name__)

START_LIMIT: Final = 30.0
"""Seconds until ngrok must have said where the way leads; it gives a connection 10 s by default."""

_INSTALL: Final = "get it from https://ngrok.com/download, or set tunnel.provider to another program"
_CODE: Final = re.compile(r"\bERR_NGROK_([0-9]{1,9})\b")
_TOKEN_PAGE: Final = "https://dashboard.ngrok.com/get-started/your-authtoken"  # noqa: S105 a page, not a token
_SERIOUS: Final = frozenset({"eror", "error", "crit"})
"""`lvl` of a log line that says what went wrong; ngrok writes `eror`."""

_TOKEN_WRONG: Final = f"copy it again from {_TOKEN_PAGE} into tunnel.ngrokAuthToken or NGROK_AUTHTOKEN"
_DOMAIN_FOREIGN: Final = (
    "tunnel.ngrokDomain names a domain that is not reserved for this account; reserve it at "
    "https://dashboard.ngrok.com/domains, or set the domain you have"
)
_REFUSALS: Final[dict[int, tuple[type[VendorError], str]]] = {
    105: (
        VendorAuthError,
        f"what is configured is no ngrok authtoken (an API key is another thing): {_TOKEN_WRONG}",
    ),
    107: (VendorAuthError, f"the authtoken was reset or revoked: {_TOKEN_WRONG}"),
    4018: (
        VendorAuthError,
        f"no authtoken is configured: set tunnel.ngrokAuthToken or NGROK_AUTHTOKEN; yours is at {_TOKEN_PAGE}",
    ),
    108: (
        VendorRejected,
        "the account runs as many ngrok agents as it may: stop one of those at https://dashboard.ngrok.com/agents",
    ),
    121: (VendorRejected, "this ngrok is too old for the account: run `ngrok update`"),
    318: (VendorRejected, _DOMAIN_FOREIGN),
    319: (VendorRejected, _DOMAIN_FOREIGN),
    320: (VendorRejected, _DOMAIN_FOREIGN),
    334: (
        VendorRejected,
        "the domain is in use by another ngrok: stop that one, see https://dashboard.ngrok.com/endpoints, or set "
        "another tunnel.ngrokDomain",
    ),
    725: (VendorRejected, "the account has used up its traffic of this month"),
    727: (VendorRejected, "the account has used up its requests of this month"),
    15002: (
        VendorRejected,
        "the account's plan asks for a domain: reserve one at https://dashboard.ngrok.com/domains and set "
        "tunnel.ngrokDomain",
    ),
}


class Ngrok:
    """A tunnel by ngrok. All of our port is reachable through it.

    Args:
        door: What is to be reached.
        token: The account's authtoken; None leaves it to ngrok's own configuration file.
        domain: A domain of the account; None takes whatever ngrok gives, which may be another one every time.
        start_limit: Seconds until it must be open.
    """

    name = "ngrok"

    def __init__(
        self,
        door: Door,
        *,
        token: SecretStr | None = None,
        domain: str | None = None,
        start_limit: float = START_LIMIT,
    ) -> None:
        self.webhook_path = door.webhook_path
        self._here = door.here
        self._token = token
        self._domain = domain
        self._start_limit = start_limit
        self._program: Program | None = None
        self._log: _Log | None = None

    async def open(self) -> str:
        """Start ngrok and wait for the address in its log. Raises `VendorError`."""
        program = find_program("ngrok", fix=_INSTALL)
        with _config_file(self._token) as config:
            self._program = await Program.start([program, *self._arguments(config)])
            self._log = _Log(self._program, self._token)
            try:
                async with asyncio.timeout(self._start_limit):
                    return await asyncio.shield(self._log.address)
            except TimeoutError:
                said = f"; it says: {self._log.trouble}" if self._log.trouble else ""
                message = f"ngrok opened no tunnel within {self._start_limit:g} s{said}"
                await self.close()
                raise VendorTimeout(message, vendor=self.name, operation="open a tunnel") from None
            except BaseException:
                await self.close()
                raise

    async def lost(self) -> str:
        """Wait until ngrok ends. While it runs it connects again by itself."""
        if self._log is None:
            return "ngrok is not running"
        return await asyncio.shield(self._log.end)

    async def close(self) -> None:
        """Stop ngrok."""
        program, log = self._program, self._log
        self._program = self._log = None
        if program is not None:
            await program.stop()
        if log is not None:
            await log.close()

    def _arguments(self, config: Path | None) -> list[str]:
        arguments = ["http", self._here, "--log", "stdout", "--log-format", "json"]
        # ngrok's inspection would keep every webhook, with people's numbers, for whoever uses this machine.
        arguments.append("--inspect=false")
        if self._domain:
            host = self._domain.partition("://")[2] or self._domain
            arguments += ["--url", f"https://{host.rstrip('/')}"]
        if config is not None:
            arguments += ["--config", str(config)]
        return arguments


@contextmanager
def _config_file(token: SecretStr | None) -> Iterator[Path | None]:
    """A configuration file for ngrok, with the token in it; for its start only.

    An argument could be read by every user of the machine, and so could the environment by those of ours.
    """
    if token is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="voicecall-ngrok-") as folder:
        path = Path(folder) / "ngrok.yml"
        path.touch(mode=0o600)
        # A JSON string is a YAML string too, whatever stands in the token.
        path.write_text(
            f"version: 3\nagent:\n  authtoken: {json.dumps(token.get_secret_value())}\n", encoding="utf-8"
        )
        yield path


@dataclass(frozen=True, slots=True)
class _Line:
    """What one line of the log says."""

    url: str = ""
    trouble: str = ""
    good: bool = False
    """Whether ngrok says that it is connected."""


class _Log:
    """Reads ngrok's log to its end.

    Args:
        program: The running ngrok.
        token: What must not be repeated: ngrok's messages about a wrong token have the token in them.
    """

    def __init__(self, program: Program, token: SecretStr | None) -> None:
        loop = asyncio.get_running_loop()
        self.address: asyncio.Future[str] = loop.create_future()
        self.end: asyncio.Future[str] = loop.create_future()
        self.trouble = ""
        """The last thing that went wrong and has not been put right."""
        self._program = program
        self._token = token.get_secret_value() if token is not None else ""
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        await asyncio.wait({self._reading})
        for future in (self.address, self.end):
            future.cancel()

    async def _read(self) -> None:
        async for text in self._program.lines():
            line = _read_line(text)
            trouble = self._without_token(line.trouble)
            if line.url and not self.address.done():
                self.address.set_result(line.url)
            if line.good or line.url:
                self._note("")
            elif trouble:
                self._note(trouble)
            if trouble and _CODE.search(trouble) and not self.address.done():
                self.address.set_exception(_refusal(trouble))
        code = await self._program.ended()
        reason = self.trouble or f"it ended with exit code {code}"
        if not self.address.done():
            self.address.set_exception(_refusal(reason))
        if not self.end.done():
            self.end.set_result(reason)

    def _note(self, trouble: str) -> None:
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if self.address.done() and not self.address.cancelled() and self.address.exception() is None:
            if trouble:
                logger.warning("tunnel ngrok: %s; ngrok tries again", trouble, extra={"hop": "tunnel"})
            else:
                logger.info("tunnel ngrok: connected again", extra={"hop": "tunnel"})

    def _without_token(self, text: str) -> str:
        text = re.sub(r"Your authtoken:\s*\S+", "", text)
        text = text.replace(self._token, "***") if self._token else text
        return " ".join(text.split())[:400]


def _read_line(text: str) -> _Line:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):  # what is wrong with the command line is said in plain text
        return _Line(trouble=text.removeprefix("ERROR:").strip() if text.startswith("ERROR:") else "")
    message, error = str(entry.get("msg") or ""), str(entry.get("err") or "")
    url = str(entry.get("url") or "")
    if message == "started tunnel" and url.startswith("https://") and url.isascii() and url.isprintable():
        return _Line(url=url.rstrip("/"))
    if str(entry.get("lvl")) in _SERIOUS:
        return _Line(trouble=error if error not in ("", "<nil>", "nil") else message)
    return _Line(good=message in ("client session established", "tunnel session started"))


def _refusal(trouble: str) -> VendorError:
    """The error for what ngrok says: cause and fix where the code is a known one."""
    found = _CODE.search(trouble)
    number = int(found[1]) if found else 0
    kind, meaning = _REFUSALS.get(number, (VendorRejected if found else VendorError, ""))
    if meaning:
        text = f"ngrok refuses (ERR_NGROK_{number}): {meaning}"
    elif found:
        text = f"ngrok refuses: {trouble}; see https://ngrok.com/docs/errors/err_ngrok_{number}"
    elif "unknown flag" in trouble:
        text = f"this ngrok is too old, 3.16 is needed: run `ngrok update` ({trouble})"
    else:
        text = f"ngrok failed: {trouble}"
    return kind(text, vendor="ngrok", operation="open a tunnel")
