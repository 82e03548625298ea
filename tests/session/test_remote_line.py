"""A line whose audio a vendor has: it may lose the call and get it back, and its sound is heard by nobody here."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.errors import CallIsGone, VendorRejected
from openclaw_voicecall.session.chain import Link, Rotation
from openclaw_voicecall.session.modelkeeper import SessionKeeper, Supply
from openclaw_voicecall.session.remote import ASKED_WITHIN, RemoteLegs
from openclaw_voicecall.testing.scripted import LoopClock
from openclaw_voicecall.testing.scripted_model import ScriptedModel

pytestmark = [pytest.mark.session, pytest.mark.looptime]

GONE = CallIsGone("gone", vendor="openai", operation="talk")
REFUSED = VendorRejected("refused", vendor="openai", operation="talk")


class Vendor(ScriptedModel):
    """Has the audio of the call."""

    def __init__(self):
        super().__init__()
        self.legs = []

    @asynccontextmanager
    async def open_session(self, leg, request):
        self.legs.append(leg.carrier_call_id)
        async with super().open_session(request) as session:
            yield session


class Owner:
    """Whoever talks in the sessions; notes what became of them."""

    def __init__(self):
        self.happened = []

    def take(self, line, event):
        pass

    def begin(self, line):
        self.happened.append("begin")

    def look(self):
        pass

    def is_resting(self):
        return True

    def broke_off(self, detail):
        self.happened.append("broke off")

    def lost(self, detail):
        self.happened.append("lost")


@asynccontextmanager
async def kept(vendor, again):
    """A keeper of sessions on a call that another carrier has the leg of."""
    owner, notes = Owner(), []
    legs = RemoteLegs(vendor, "call-1", are_the_call=False, again=again)

    def note(word, data):
        notes.append(word)

    supply = Supply(
        rotation=Rotation((Link("openai", legs.open, None),), note),
        limits={"openai": 3600.0},
        request=lambda: r.RealtimeRequest(call_id="call-1", instructions=""),
        there=legs.wait_joined,
    )
    keeper = SessionKeeper(supply, owner, note=note, clock=LoopClock())
    running = asyncio.create_task(keeper.run())
    try:
        yield keeper, legs, owner, notes
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_call_that_is_away_is_waited_for_however_long_that_takes():
    vendor, asked = Vendor(), []
    async with kept(vendor, asked.append) as (keeper, legs, owner, notes):
        legs.joined("rtc_1")
        await asyncio.sleep(1)
        assert keeper.is_ready
        vendor.session.fail(GONE)
        await asyncio.sleep(3000)
        assert "lost" not in owner.happened
        assert notes.count("line-left") == 1
        assert "vendor-failed" not in notes
        legs.joined("rtc_2")
        await asyncio.sleep(1)
        assert keeper.is_ready
        assert vendor.legs == ["rtc_1", "rtc_2"]
    assert asked == [ASKED_WITHIN]


async def test_a_session_that_is_refused_has_the_call_brought_again_once():
    vendor, asked = Vendor(), []
    async with kept(vendor, asked.append) as (_, legs, owner, _notes):
        for leg in ("rtc_1", "rtc_2"):
            legs.joined(leg)
            await asyncio.sleep(1)
            vendor.session.fail(REFUSED)
            await asyncio.sleep(20)
        assert vendor.legs == ["rtc_1", "rtc_2"]
        assert owner.happened[-1] == "lost"
    assert asked == [0.0, 0.0]
