"""What all emulators share: a server on loopback, a list of what was refused, and faults that are switched on."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request or message that the vendor would not take."""

    where: str
    """Such as `POST /2010-04-01/Accounts/AC1/Calls.json` or `session.update`."""
    why: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Something a vendor took in whole, or was just about to send."""

    at: float
    """Seconds of `time.monotonic`, the same for all emulators of a process."""
    what: str
    """Such as `request`, `token`, `audio`, or the name of an event."""
    about: str = ""
    """What tells it from others of its kind: a text, an id."""


@dataclass(slots=True)
class Fault:
    """A way in which the vendor fails, for the next `times` occasions; 0 means from now on."""

    name: str
    times: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)


class Emulator:
    """A vendor on 127.0.0.1. Enter it to serve; leave it to stop.

    A subclass names its `vendor`, lists its `FAULTS`, and adds its routes in `add_routes`.

    Over HTTP, for people and other programs: `GET /_emulator` tells what it is and what it saw, `POST
    /_emulator/faults` with `{"name": ..., "times": 1, ...options}` switches a fault on, `DELETE` switches all off.

    Args:
        port: TCP port; 0 for any free one.
    """

    vendor: ClassVar[str]
    FAULTS: ClassVar[Mapping[str, str]] = {}
    """What can go wrong: name and description."""

    def __init__(self, *, port: int = 0) -> None:
        self.port = port
        self.refusals: list[Refusal] = []
        """What the client did wrong, oldest first. A correct client leaves it empty."""
        self.moments: list[Moment] = []
        """When what came and went, for those who measure."""
        self.taken: list[str] = []
        """Names of the faults that had an occasion, in order."""
        self._faults: list[Fault] = []
        self._serving: set[object] = set()
        """Connections with a request under way."""
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Such as `http://127.0.0.1:9000`, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the vendor's routes."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What `GET /_emulator` tells of this vendor besides refusals and faults."""
        return {}

    async def stop(self) -> None:
        """End what the emulator runs besides its server; called before the server stops."""

    def fail_next(self, name: str, *, times: int = 1, **options: Any) -> None:
        """Switch a fault on for the next `times` occasions; `times=0` until `heal`.

        Raises:
            ValueError: There is no such fault.
        """
        if name not in self.FAULTS:
            raise ValueError(
                f"no fault {name!r} at {self.vendor}; there are: {', '.join(sorted(self.FAULTS))}"
            )
        self._faults.append(Fault(name, times, options))

    def heal(self) -> None:
        """Switch all faults off."""
        self._faults.clear()

    def take_fault(self, *names: str) -> Fault | None:
        """The oldest switched-on fault with one of these names, used up by one; None when all is well."""
        for fault in self._faults:
            if fault.name in names:
                self.taken.append(fault.name)
                if fault.times:
                    fault.times -= 1
                    if not fault.times:
                        self._faults.remove(fault)
                return fault
        return None

    def refuse(self, where: str, why: str) -> None:
        """Note what the client did wrong."""
        self.refusals.append(Refusal(where, why))

    def stamp(self, what: str, about: str = "") -> None:
        """Note that something happens now."""
        self.moments.append(Moment(time.monotonic(), what, about))

    def close_idle(self) -> None:
        """Close the connections that no request uses, as every vendor does after a while."""
        if self._runner is not None and self._runner.server is not None:
            for connection in self._runner.server.connections:
                if connection not in self._serving:
                    connection.force_close()

    async def __aenter__(self) -> Self:
        """Serve."""
        app = web.Application(client_max_size=16 * 2**20, middlewares=[self._note_serving])
        app.router.add_get("/_emulator", self._tell)
        app.router.add_post("/_emulator/faults", self._switch_on)
        app.router.add_delete("/_emulator/faults", self._switch_off)
        self.add_routes(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and close every connection."""
        await self.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _note_serving(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._serving.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._serving.discard(request.protocol)

    async def _tell(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "vendor": self.vendor,
                "refusals": [{"where": refusal.where, "why": refusal.why} for refusal in self.refusals],
                "faults": [{"name": f.name, "times": f.times, **f.options} for f in self._faults],
                "knows": dict(self.FAULTS),
                **self.state(),
            }
        )

    async def _switch_on(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            name, times = body.pop("name"), int(body.pop("times", 1))
            self.fail_next(name, times=times, **body)
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"on": name})

    async def _switch_off(self, request: web.Request) -> web.Response:
        self.heal()
        return web.json_response({"on": None})
