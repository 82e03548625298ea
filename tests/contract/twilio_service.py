"""The Twilio carrier with its account at an emulated Twilio, and as much of the server as its webhooks need."""

import time
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr
from twilio_rig import emulated

from openclaw_voicecall.api.carrier import LegOrder, LegRef, WebhookRequest
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.providers import twilio as provider
from openclaw_voicecall.providers.twilio.config import TwilioConfig


class Service:
    """What the server does with webhooks, and no more: each event is answered by `orders`, by its kind."""

    def __init__(self, carrier, twilio):
        self.carrier, self.twilio = carrier, twilio
        self.events = []
        self.orders = {}

    async def handle(self, request, form):
        url = self.twilio.app.base + request.path_qs
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = (await request.read()) or b""
        asked = WebhookRequest(method="POST", url=url, headers=headers, body=body)
        webhook = self.carrier.verify(asked, 0.0)
        order = LegOrder(action="none")
        for event in self.carrier.parse(webhook):
            self.events.append(event)
            order = self.orders.get(event.kind, order)
            if callable(order):
                order = await order(event)
        return self.carrier.reply(webhook, order).body.decode()

    def of(self, kind):
        return [event for event in self.events if event.kind == kind]


class Clock:
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class Ids:
    def __init__(self):
        self.count = 0

    def token(self):
        self.count += 1
        return f"nonce-{self.count}"


@asynccontextmanager
async def served(orders, **options):
    """The service and its Twilio."""
    found = []
    provider.voicecall_register_carriers(register=found.append)
    async with emulated(**options) as twilio:
        runtime = Runtime(
            clock=Clock(), ids=Ids(), state_dir=Path(), webhook_url=lambda name: twilio.app.url()
        )
        config = TwilioConfig(
            account_sid=twilio.account_sid,
            auth_token=SecretStr(twilio.auth_token),
            api_base_url=twilio.url,
        )
        async with found[0].open(config, runtime) as carrier:
            service = Service(carrier, twilio)
            service.orders |= orders
            twilio.app.on_webhook = service.handle
            yield service, twilio


def leg_of(call):
    return LegRef(call_id="our-call", carrier_call_id=call.sid)
