"""A process that holds calls for the service that started it: `python -m openclaw_voicecall.server.worker`.

It opens the same engines and the same database as the service. What it has no part in: the public port, whose
connections it is handed; webhooks, of which it sees those of its calls, checked; policies, which are asked over there.
It has a control socket, to which the service passes on what the owner wants of its calls.

It ends when it is told to, and at once when the service is gone: whoever starts next ends all calls that were left.
"""

import asyncio
import logging
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.api.carrier import VerifiedWebhook, WebhookReply
from openclaw_voicecall.api.policy import Admission, CallOffer, CallPlan
from openclaw_voicecall.api.store import CallRecord, JournalEntry
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.calls.team import Assignment, Load
from openclaw_voicecall.config.secrets import secret_values
from openclaw_voicecall.errors import ServiceError, VoiceCallError
from openclaw_voicecall.observe import logs
from openclaw_voicecall.server import sites
from openclaw_voicecall.server.channel import Channel
from openclaw_voicecall.server.handover import Receiver, prefix
from openclaw_voicecall.server.keys import HUB
from openclaw_voicecall.server.loop import run_service_loop
from openclaw_voicecall.server.opening import Place, beside, open_calls, open_store, settled
from openclaw_voicecall.server.resources import keep_collections_short
from openclaw_voicecall.server.service import Service, ServiceOptions, handle_signals
from openclaw_voicecall.server.webhooks import carried_out, facts
from openclaw_voicecall.store.statedir import StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig
    from openclaw_voicecall.server.workers import Brief

logger = logging.getLogger(__name__)

TELL_EVERY = 0.25
"""Seconds between two words to the service, so that it knows that we live."""
LEFT_ALONE = 70
"""Exit code of a process whose service is gone."""
_CHANGES = frozenset({"leg-known", "closed", "leg-open"})
"""Journal entries after which there is something to tell, besides those of calls that end."""


class AskedPolicies:
    """The policies of the service, asked from here. Silence counts as no."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def decide(self, offer: CallOffer) -> Admission:
        """What they say."""
        try:
            admission: Admission = await self._channel.ask("judge", offer)
        except VoiceCallError as error:
            return Admission(allowed=False, reason=f"the policies cannot be asked: {error}")
        return admission

    async def route(self, offer: CallOffer, plan: CallPlan) -> CallPlan:
        """The plan as it is: routers were asked before the call came here."""
        return plan


class Teller:
    """Tells the service of the calls here, as soon as something about them matters to it. An observer of them."""

    name = "workers"

    def __init__(self, channel: Channel, service: Service) -> None:
        self._channel = channel
        self._service = service
        self._told: dict[str, tuple[str, bool]] = {}

    async def on_entry(self, record: CallRecord, entry: JournalEntry) -> None:
        """Something happened to a call."""
        if entry.event in _CHANGES or entry.states.get("leg") in ("ending", "ended"):
            self.tell()

    def tell(self) -> None:
        """Say what is new."""
        kept = self._service.manager.kept
        for call_id, facts_of_it in kept.items():
            if self._told.get(call_id) != facts_of_it:
                self._channel.tell("call", call_id, *facts_of_it)
        for call_id in self._told.keys() - kept.keys():
            self._channel.tell("gone", call_id)
        self._told = dict(kept)

    async def run(self) -> None:
        """Say how it goes, again and again."""
        while True:
            load = self._service.load()
            if self._service.manager.draining:
                load = Load("the process is being stopped", load.lag_ms)
            self._channel.tell("load", load)
            self.tell()
            await asyncio.sleep(TELL_EVERY)


class Work:
    """What the service may ask for.

    Args:
        doors: Where connections are handed over.
    """

    def __init__(self, doors: socket) -> None:
        self._doors = doors
        self._begun: asyncio.Future[Brief] = asyncio.get_running_loop().create_future()
        self._ready: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
        self._leaving = asyncio.Event()
        self._showing: asyncio.Task[None] | None = None
        self._service: Service
        self._manager: CallManager
        self._hub: JournalHub
        self._teller: Teller
        self.channel = Channel(
            "the service",
            {
                "begin": self._begin,
                "take": self._take,
                "webhook": self._webhook,
                "status": self._status,
                "show": self._show,
            },
            {"stop": self._stop, "hurry": self._hurry, "hide": self._hide},
        )

    async def run(self) -> None:
        """Work until told to stop."""
        brief = await self._begun
        async with AsyncExitStack() as stack:
            try:
                self._service = await self._open(stack, brief)
            except VoiceCallError as error:
                self._ready.set_exception(error)
                await asyncio.sleep(TELL_EVERY)  # for the answer to leave
                return
            keep_collections_short()
            self._ready.set_result(self._service.socket_path)
            stopped = asyncio.create_task(self._service.wait_stopped())
            leaving = asyncio.create_task(self._leaving.wait())
            await asyncio.wait({stopped, leaving}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            leaving.cancel()
            await self._service.drain()

    async def _open(self, stack: AsyncExitStack, brief: "Brief") -> Service:
        options = ServiceOptions(config_source=brief.config_source, overrides=brief.overrides)
        begun = settled(options)
        registry, config = begun.registry, begun.config
        _log(config, "error")  # what is to be said of the settings the service has said
        config = config.model_copy(update={"public_url": brief.public_url})
        state = StateDir.open(brief.state_dir, create=False)
        store = await open_store(stack, registry, config, state)
        place = Place(
            state=state,
            here=brief.here,
            admissions=AskedPolicies(self.channel),
            prefix=prefix(brief.number),
            holds_local=False,
        )
        opened = await open_calls(stack, registry, config, store=store, host=None, place=place)
        _log(config, config.logging.level)
        self._manager, self._hub = opened.manager, opened.shared[HUB]
        control = sites.ControlPlace(
            state.control_socket(f"worker-{brief.number}.sock"), state.path / "control.token"
        )
        service = Service(
            manager=self._manager,
            config=config,
            notices=(),
            url=f"http://{brief.here}",
            socket_path=control.socket_path,
            started=self._manager.clock.wall(),
            engines=self._manager.engines.in_use,
            load=opened.load,
        )
        streams = await sites.serve_streams(stack, config, opened.shared)
        service.gauges = streams.gauges
        receiver = Receiver(self._doors, streams.gate)
        receiver.open()
        stack.callback(receiver.close)
        self._teller = Teller(self.channel, service)
        self._hub.observe(self._teller)
        await stack.enter_async_context(self._manager.reconciled(own=True))
        await sites.serve_control(stack, service, opened.shared, control)
        handle_signals(stack, service)
        stack.callback(self._teller.tell)
        await stack.enter_async_context(beside(self._teller.run()))
        return service

    async def _begin(self, brief: "Brief") -> Path:
        self._begun.set_result(brief)
        return await self._ready

    async def _take(self, known: Any, call: Assignment) -> CallRecord:
        self._manager.addresses.adopt(known)
        try:
            return await self._manager.take(call)
        except BaseException:
            self.channel.tell("gone", call.call_id)
            raise
        finally:
            self._teller.tell()

    async def _webhook(self, known: Any, name: str, webhook: VerifiedWebhook) -> WebhookReply:
        self._manager.addresses.adopt(known)
        carrier = self._manager.engines.carriers.get(name)
        if carrier is None:
            raise ServiceError(f"no carrier {name!r} is open")
        try:
            return await carried_out(self._manager, name, carrier, webhook, facts(name, carrier, webhook))
        finally:
            self._teller.tell()

    async def _status(self) -> tuple[dict[str, Any], list[CallRecord]]:
        told = self._service.describe()
        wanted = ("draining", "breakers", "liveCalls", "loopLagMs", "resources")
        return {name: told[name] for name in wanted}, list(self._manager.live)

    async def _show(self) -> None:
        if self._showing is None or self._showing.done():
            self._showing = asyncio.create_task(self._entries())
            await asyncio.sleep(0)  # lets the feed begin

    async def _entries(self) -> None:
        async for record, entry in self._hub.feed():
            self.channel.tell("entry", record, entry)

    def _hide(self) -> None:
        if self._showing is not None:
            self._showing.cancel()
            self._showing = None

    def _stop(self, patient: bool) -> None:
        if patient:
            self._service.stop()
        self._leaving.set()

    def _hurry(self) -> None:
        self._service.stop()
        self._service.stop()


def _log(config: "VoiceCallConfig", level: str) -> None:
    logs.configure(level, full_numbers=config.logging.full_numbers, secrets=secret_values(config))


async def work(spoken: socket, doors: socket) -> None:
    """Work for the service at the other end of two sockets."""
    asked = Work(doors)
    await asked.channel.connect(spoken)
    listening = asyncio.create_task(asked.channel.run())
    # Nobody may be left talking with callers whom nobody can reach, beside a new service that ends their calls.
    listening.add_done_callback(lambda task: None if task.cancelled() else os._exit(LEFT_ALONE))
    await asked.run()
    listening.cancel()


if __name__ == "__main__":
    logs.configure("error")
    run_service_loop(work(*(socket(fileno=int(number)) for number in sys.argv[1:3])))
