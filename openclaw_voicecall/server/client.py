"""Talks to a running service over its Unix socket, or over its port on this machine."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from openclaw_voicecall.errors import ServiceError, ServiceNotRunning, VoiceCallError

_ORDINARY = aiohttp.ClientTimeout(total=60, sock_connect=5)
_ENDLESS = aiohttp.ClientTimeout(total=None, sock_connect=5)
"""For requests that last as long as people talk."""
_OK = range(200, 300)


class ControlClient:
    """The control API as methods. Use it as an async context manager.

    Calls come back as JSON objects in the shape of `api.wire.record_to_json`. Every method raises the error that the
    service reports, as its class from `errors` where this version knows it; `ServiceNotRunning` when nobody listens
    on the socket; `ServiceError` when the service goes away in the middle.

    Args:
        socket_path: Path of the service's Unix socket, from `service.json`.
        url: Address of its control port, to use that instead.
        token: What the port asks for.
    """

    def __init__(self, socket_path: str | Path = "", *, url: str = "", token: str = "") -> None:
        self._path = url or str(socket_path)
        self._url = url
        self._token = token
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, service: Mapping[str, Any]) -> Self:
        """A client of the service that says this of itself in `service.json`: by its socket if that can be seen.

        Raises:
            ServiceError: It can be reached by its port only, and the token for that cannot be read.
        """
        socket_path, url = Path(str(service.get("socket", ""))), str(service.get("controlUrl", ""))
        if socket_path.is_socket() or not url:
            return cls(socket_path)
        try:
            token = Path(str(service["controlToken"])).read_text("ascii").strip()
        except (KeyError, OSError, ValueError) as error:
            raise ServiceError(f"the token for {url} cannot be read: {error}") from error
        return cls(url=url, token=token)

    async def __aenter__(self) -> Self:
        if self._url:
            headers = {"Authorization": f"Bearer {self._token}"}
            self._http = aiohttp.ClientSession(base_url=self._url, headers=headers)
        else:
            self._http = aiohttp.ClientSession(
                base_url="http://voicecall",  # only the socket decides where a request goes
                connector=aiohttp.UnixConnector(path=self._path),
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def status(self) -> dict[str, Any]:
        """The service, its engines and its live calls."""
        return await self._request("GET", "/api/v1/status")

    async def place_call(self, order: dict[str, Any], *, key: str = "") -> dict[str, Any]:
        """Place a call. `order` has `to` and may have `from`, `message`, `mode`, `script`, `recordDir`, `objective`.

        Asked for again under the same `key` within a day, it gives the same call, and nothing is dialled.
        """
        headers = {"Idempotency-Key": key} if key else None
        return _call(await self._request("POST", "/api/v1/calls", body=order, headers=headers))

    async def list_calls(self, *, limit: int = 100, open_only: bool = False) -> list[dict[str, Any]]:
        """Calls, newest first."""
        query = {"limit": str(limit)} | ({"open": "true"} if open_only else {})
        calls: list[dict[str, Any]] = _field(
            await self._request("GET", "/api/v1/calls", query=query), "calls"
        )
        return calls

    async def get_call(self, call_id: str) -> dict[str, Any]:
        """One call, by our id or the carrier's."""
        return _call(await self._request("GET", _call_path(call_id)))

    async def journal(self, call_id: str, *, after: int = 0) -> list[dict[str, Any]]:
        """Journal entries of a call with a sequence number above `after`, oldest first."""
        answer = await self._request("GET", _call_path(call_id, "journal"), query={"after": str(after)})
        entries: list[dict[str, Any]] = _field(answer, "entries")
        return entries

    async def speak(self, call_id: str, message: str) -> dict[str, Any]:
        """Say something on a call."""
        return _call(await self._request("POST", _call_path(call_id, "speak"), body={"message": message}))

    async def continue_call(
        self, call_id: str, message: str, *, timeout_ms: int | None = None
    ) -> dict[str, Any]:
        """Say something and wait for the caller's answer.

        Args:
            call_id: The call.
            message: What to say.
            timeout_ms: How long the service waits for the answer; None leaves it to the service.

        Returns:
            An object with `call` and `transcript`, the words of the caller.
        """
        body: dict[str, Any] = {"message": message}
        if timeout_ms is not None:
            body["timeoutMs"] = timeout_ms
        return await self._request("POST", _call_path(call_id, "continue"), body=body, timeout=_ENDLESS)

    async def send_digits(self, call_id: str, digits: str) -> dict[str, Any]:
        """Send DTMF digits to the far party."""
        return _call(await self._request("POST", _call_path(call_id, "dtmf"), body={"digits": digits}))

    async def transfer(
        self, call_id: str, to: str, *, announce: str = "", by_agent: bool = False
    ) -> dict[str, Any]:
        """Hand the far party over to another number; what became of it is in the call's `transfers` later.

        Args:
            call_id: The call.
            to: E.164.
            announce: Said to whoever answers there, before the two are connected.
            by_agent: Whether an agent that is on the call asks: then only to numbers that the owner allows it.
        """
        body: dict[str, Any] = {"to": to, "announce": announce, "byAgent": by_agent}
        return _call(await self._request("POST", _call_path(call_id, "transfer"), body=body))

    async def end_call(self, call_id: str, *, farewell: str = "") -> dict[str, Any]:
        """End a call; with `farewell`, say it first and hang up once it was heard."""
        body = {"farewell": farewell} if farewell else {}
        return _call(await self._request("POST", _call_path(call_id, "end"), body=body))

    async def feed(
        self, *, call_id: str | None = None, after: int = 0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Objects with a journal `entry` and the `call` right after it, as they happen.

        Args:
            call_id: Only this call; the feed ends with it. Without it the feed is endless.
            after: Sequence number to go on after.
        """
        query = {"after": str(after)} | ({"callId": call_id} if call_id else {})
        with self._translated():
            async with self._send("GET", "/api/v1/feed", query=query, timeout=_ENDLESS) as response:
                if response.status not in _OK:
                    raise _reported(response.status, await response.read())
                async for line in _lines(response.content):
                    yield parsed_object(line)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout: aiohttp.ClientTimeout = _ORDINARY,  # noqa: ASYNC109 aiohttp's own kind of limit, per phase
    ) -> dict[str, Any]:
        with self._translated():
            async with self._send(
                method, path, query=query, body=body, headers=headers, timeout=timeout
            ) as response:
                content = await response.read()
                if response.status not in _OK:
                    raise _reported(response.status, content)
                return parsed_object(content)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout: aiohttp.ClientTimeout,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._http is None:
            raise RuntimeError("ControlClient is used outside its `async with`")
        return self._http.request(method, path, params=query, json=body, headers=headers, timeout=timeout)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors of the connection into ours. Everything else passes."""
        try:
            yield
        except aiohttp.ClientConnectorError as error:
            raise ServiceNotRunning(
                f"no service listens on {self._path}; start one with: openclaw-voicecall serve"
            ) from error
        except TimeoutError as error:
            raise ServiceError(f"the service on {self._path} does not answer") from error
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError) as error:
            raise ServiceError(
                f"the service on {self._path} stopped before it had answered in full"
            ) from error
        except aiohttp.ClientError as error:
            raise ServiceError(f"the service on {self._path} cannot be spoken with: {error}") from error


def parsed_object(content: bytes) -> dict[str, Any]:
    """A JSON object of the service's. Raises `ServiceError` for anything else."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ServiceError("the service's answer cannot be read; is it another version?")
    return answer


def _call_path(call_id: str, action: str = "") -> str:
    path = f"/api/v1/calls/{quote(call_id, safe='')}"
    return f"{path}/{action}" if action else path


def _call(answer: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = _field(answer, "call")
    return record


def _field(answer: dict[str, Any], name: str) -> Any:
    if name not in answer:
        raise ServiceError(f"the service's answer has no {name!r}; is it another version?")
    return answer[name]


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines. `readline` of the stream is no use: it refuses long lines, and a record grows with its call."""
    rest = b""
    async for piece in stream.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        raise ServiceError("the service broke off in the middle of a line")


def _reported(status: int, content: bytes) -> VoiceCallError:
    """The error in an answer of the service."""
    try:
        error = json.loads(content)["error"]
        code, message = str(error["code"]), str(error["message"])
        exit_code = int(error.get("exitCode", ServiceError.exit_code))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return ServiceError(f"the service answers HTTP {status} without a reason; is it another version?")
    known = {kind.code: kind for kind in _kinds(VoiceCallError)}.get(code)
    if known is None:  # a newer service, or a plugin's own error: keep what it says about itself
        known = type("ReportedError", (VoiceCallError,), {"code": code, "exit_code": exit_code})
    return known(message)


def _kinds(base: type[VoiceCallError]) -> Iterator[type[VoiceCallError]]:
    if base.__module__ == VoiceCallError.__module__:
        yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)
