"""Tells others that a call is over: the web address in `notifyUrl`, and the host program where there is one.

Calls that were refused or never answered are told of, too: the record says how each one ended. A host that is away, or
fails, is told as soon as it is back, also by the next process of this service; it is told once.

The POST to `notifyUrl` carries `{"event": "callEnded", "call": {...}}`, the call as in the control API, with these
headers: `Idempotency-Key` is the call's id, the same for every attempt; `X-OpenClaw-Signature` is `sha256=` and the
HMAC-SHA256 of the body in hex, where `notifySecret` is set. Any 2xx takes it. It is tried again after connection
errors, timeouts, 408, 425, 429 and 5xx; redirects are not followed.
"""

import asyncio
import hashlib
import hmac
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from typing import Any, Final
from urllib.parse import urlsplit

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.host import TRANSCRIPT_PATH, Host
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.store import CallRecord, CallStore, JournalEntry
from openclaw_voicecall.api.wire import record_to_json
from openclaw_voicecall.builtin.livenotes import LiveNotes
from openclaw_voicecall.builtin.untold import Untold
from openclaw_voicecall.errors import (
    VendorError,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
    VoiceCallError,
)

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 4
ATTEMPT_LIMIT: Final = 10.0
"""Seconds that one request may take."""
FIRST_PAUSE: Final = 0.5
"""Seconds before the second attempt; later pauses are longer."""
DELIVERY_LIMIT: Final = 30.0
"""Seconds that the host may take for one record, and all attempts of one request together."""
CLOSE_LIMIT: Final = 5.0
"""Seconds that a stopping service waits for what is on its way."""
LATE_LIMIT: Final = 1.0
"""The same for ends that are reported while the service closes; the journal waits no longer than 2 s."""
HOST_PAUSES: Final = (5.0, 15.0, 60.0, 300.0)
"""Seconds until the host is told again after it failed; the last one from then on."""
CANCEL_LIMIT: Final = 0.5
"""Seconds that a delivery may take to notice that it was given up."""
AT_ONCE: Final = 8
WAITING: Final = 256
"""Deliveries that may wait for those; beyond it one is given up."""
_REMEMBERED: Final = 4096
"""Ended calls kept in mind: the journal may have more entries after the one that ended the call."""


Work = Callable[[], Coroutine[Any, Any, None]]


class EndNotifier:
    """The observer that passes on every call's end, once.

    It never holds up the journal: each delivery is a task of its own. What cannot be delivered costs one log line.

    Args:
        url: Where to send records; None sends none.
        secret: Key of the signature; empty signs nothing.
        live: Whether the host is told what was said while the call lasts.
        first_pause: Seconds before the second attempt.
        close_limit: Seconds that `close` may take.
    """

    name = "notify"

    def __init__(
        self,
        url: str | None,
        secret: str = "",
        *,
        live: bool = False,
        first_pause: float = FIRST_PAUSE,
        close_limit: float = CLOSE_LIMIT,
    ) -> None:
        self.host: Host | None = None
        self.untold: Untold | None = None
        """Where it is kept whom the host is to be told of; None keeps it in this process only."""
        self._url = url
        self._place = urlsplit(url).hostname or "" if url else ""
        self._secret = secret.encode()
        self._first_pause = first_pause
        self._close_limit = close_limit
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: OrderedDict[str, None] = OrderedDict()
        self._closing = asyncio.Event()
        self._notes = LiveNotes() if live else None
        self._seen: set[str] = set()
        """Calls under way."""

    async def on_entry(self, record: CallRecord, entry: JournalEntry) -> None:
        """Pass the record on if this entry ended the call."""
        if record.call_id in self._told:
            return
        begins = entry.seq == 1 or (not record.over and record.call_id not in self._seen)
        if begins and self.host is not None and self.untold is not None:
            self.untold.add(record.call_id)
        if not record.over:
            self._seen.add(record.call_id)
            if self._notes is not None and self.host is not None:
                self._notes.take(record, self.host)
            return
        self._seen.discard(record.call_id)
        if self._notes is not None:
            self._notes.end(record.call_id)
        self._told[record.call_id] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        if self._url:
            self._start(record, self._place, partial(self._post, record, self._url))
        if self.host is not None and (self.untold is None or self.untold.has(record.call_id)):
            self._tell_host(record, self.host)
        if self._closing.is_set():
            await self._finish(LATE_LIMIT)

    async def tell_what_is_left(self, host: Host, store: CallStore) -> None:
        """Tell the host of calls that ended when it was away, in an earlier process too."""
        for call_id in self.untold.left() if self.untold is not None else ():
            record = await store.get_call(call_id)
            if record is None and self.untold is not None:
                self.untold.done(call_id)
            elif record is not None and record.over and call_id not in self._told:
                self._told[call_id] = None
                self._tell_host(record, host)

    async def close(self) -> None:
        """Let deliveries that are on their way finish, for a while, and give the others up."""
        self._closing.set()
        if self._notes is not None:
            await self._notes.close()
        await self._finish(self._close_limit)

    def _start(self, record: CallRecord, place: str, work: Work) -> None:
        if len(self._tasks) >= AT_ONCE + WAITING:
            _give_up(record, place, "too many others wait")
            return
        self._keep(asyncio.create_task(self._run(record, place, work)))

    def _tell_host(self, record: CallRecord, host: Host) -> None:
        self._keep(asyncio.create_task(self._insist(record, host)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, record: CallRecord, place: str, work: Work) -> None:
        try:
            async with self._slots, asyncio.timeout(DELIVERY_LIMIT):
                await work()
        except asyncio.CancelledError:
            _give_up(record, place, "the service stops")
            raise
        except TimeoutError:
            _give_up(record, place, f"not done after {DELIVERY_LIMIT:g} s")
        except VendorError as error:
            _give_up(record, place, str(error))
        except Exception as error:  # a host's bug is the host's, not the service's
            _give_up(record, place, repr(error))

    async def _finish(self, limit: float) -> None:
        tasks = set(self._tasks)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=limit)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCEL_LIMIT)

    async def _insist(self, record: CallRecord, host: Host) -> None:
        """Tell the host until it takes the report; what is left when the service stops is told after its next start."""
        place, later = (
            f"the host {host.name}",
            "" if self.untold is None else "; it is told after the next start",
        )
        if self.untold is not None and (path := self.untold.write_transcript(record)):
            record = replace(record, metadata={**record.metadata, TRANSCRIPT_PATH: path})
        pauses = chain(HOST_PAUSES, repeat(HOST_PAUSES[-1]))
        failed = False
        try:
            while cause := await self._tried(record, host):
                pause = next(pauses)
                if self._closing.is_set():
                    _give_up(record, place, f"{cause}{later}")
                    return
                if not failed:
                    _give_up(record, place, f"{cause}; it is tried again")
                failed = True
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._closing.wait()
        except asyncio.CancelledError:
            _give_up(record, place, f"the service stops{later}")
            raise
        if self.untold is not None:
            self.untold.done(record.call_id)

    async def _tried(self, record: CallRecord, host: Host) -> str:
        """Why the host did not take the report; empty when it did."""
        try:
            async with self._slots, asyncio.timeout(DELIVERY_LIMIT):
                await host.deliver(str(record.metadata.get("sessionKey", "")), record)
        except TimeoutError:
            return f"not done after {DELIVERY_LIMIT:g} s"
        except VoiceCallError as error:
            return str(error) or repr(error)
        except Exception as error:  # a host's bug is the host's, not the service's
            return repr(error)
        return ""

    async def _post(self, record: CallRecord, url: str) -> None:
        # Both cost time to import, and few services have somebody to notify.
        import aiohttp  # noqa: PLC0415 as above
        import stamina  # noqa: PLC0415 as above

        body = json.dumps({"event": "callEnded", "call": record_to_json(record)}, default=str).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": record.call_id}
        if self._secret:
            digest = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
            headers["X-OpenClaw-Signature"] = f"sha256={digest}"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ATTEMPT_LIMIT)) as http:
            async for attempt in stamina.retry_context(
                on=_is_worth_another_try,
                attempts=ATTEMPTS,
                timeout=None,
                wait_initial=self._first_pause,
                wait_jitter=self._first_pause,
            ):
                with attempt:
                    try:
                        async with http.post(
                            url, data=body, headers=headers, allow_redirects=False
                        ) as response:
                            _check(response.status)
                    except TimeoutError:
                        raise VendorTimeout(f"no answer within {ATTEMPT_LIMIT:g} s") from None
                    except (aiohttp.ClientError, OSError) as error:
                        raise VendorUnavailable(f"it cannot be reached: {_cause(error)}") from None


def _check(status: int) -> None:
    if status in (408, 425, 429) or status >= 500:
        raise VendorUnavailable(f"it answers {status}")
    if status not in range(200, 300):
        raise VendorRejected(f"it answers {status}")


def _is_worth_another_try(error: Exception) -> bool:
    return isinstance(error, VendorError) and error.retryable


def _cause(error: Exception) -> str:
    """Why, without the address: its path or query may hold a key."""
    system = getattr(error, "os_error", error)
    return str(getattr(system, "strerror", None) or type(error).__name__)


def _give_up(record: CallRecord, place: str, cause: str) -> None:
    logger.warning("the end of call %s could not be told to %s: %s", record.call_id, place, cause)


_opening: ContextVar[EndNotifier] = ContextVar("end_notifier")
"""Of the service that is being opened: its lifespan begins after its observers are registered, in the same task."""


@hookimpl
def voicecall_register_observers(register: Any, config: Any) -> None:
    """Register the observer."""
    secret = config.notify_secret.get_secret_value() if config.notify_secret else ""
    notifier = EndNotifier(config.notify_url, secret, live=config.reports.live)
    _opening.set(notifier)
    register(notifier)


@hookimpl
def voicecall_lifespan(runtime: Runtime) -> AbstractAsyncContextManager[None] | None:
    """Learn who the host is, and finish what is on its way when the service stops."""
    notifier = _opening.get(None)
    return None if notifier is None else _open(notifier, runtime)


@asynccontextmanager
async def _open(notifier: EndNotifier, runtime: Runtime) -> AsyncIterator[None]:
    notifier.host = runtime.host
    if runtime.host is not None:
        notifier.untold = Untold(runtime.state_dir)
        if runtime.store is not None:
            await notifier.tell_what_is_left(runtime.host, runtime.store)
    try:
        yield
    finally:
        await notifier.close()
