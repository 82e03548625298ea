"""Calls that nobody talks on any more, hours of them in milliseconds: who is asked when, and when a record closes."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from openclaw_voicecall.api.carrier import CarrierCapabilities, CarrierEvent, LegStatus
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.calls.live import LiveCalls
from openclaw_voicecall.calls.reconcile import Reconciler
from openclaw_voicecall.calls.sweep import sweep_for_ever
from openclaw_voicecall.core.events import CallEnded, HangUpRequested
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import VendorUnavailable
from openclaw_voicecall.testing.scripted import LoopClock

pytestmark = [pytest.mark.session, pytest.mark.looptime]

OURS, THEIRS = "+15550001111", "+15550002222"
NAME = "scripted"


class Carrier:
    """Has legs by id, and may be out of reach."""

    def __init__(self) -> None:
        self.legs: dict[str, LegStatus] = {}
        self.begun: dict[str, float] = {}
        self.reachable = True
        self.asked: list[float] = []
        self.hung_up: list[str] = []

    def begin(self, leg: str, at: float | None = None) -> None:
        self.legs[leg] = LegStatus(state="live")
        self.begun[leg] = LoopClock().wall() if at is None else at

    def _reach(self) -> None:
        self.asked.append(asyncio.get_running_loop().time())
        if not self.reachable:
            raise VendorUnavailable("nobody answers", vendor=NAME, operation="anything")

    async def fetch_status(self, leg) -> LegStatus:
        self._reach()
        return self.legs.get(leg.carrier_call_id, LegStatus(state="unknown"))

    async def hang_up(self, leg) -> None:
        self._reach()
        self.hung_up.append(leg.carrier_call_id)
        self.legs[leg.carrier_call_id] = LegStatus(state="ended")

    async def find_legs(self, *, to_number, from_number, since, until) -> list[str]:
        self._reach()
        assert (to_number, from_number) == (THEIRS, OURS)
        return [leg for leg, begun in self.begun.items() if since - 1 <= begun <= until]


class Store:
    """Records in a dictionary; as the hub it takes what is written."""

    def __init__(self) -> None:
        self.records: dict[str, CallRecord] = {}
        self.entries: list[tuple[str, str, dict]] = []

    async def list_calls(self, *, limit, open_only) -> list[CallRecord]:
        return [record for record in self.records.values() if not record.over]

    async def journal(self, call_id) -> list:
        return []

    async def get_call(self, call_id) -> CallRecord | None:
        by_leg = [each for each in self.records.values() if each.carrier_call_id == call_id]
        return self.records.get(call_id) or next(iter(by_leg), None)

    def write(self, record, entry) -> None:
        self.records[record.call_id] = record
        self.entries.append((record.call_id, entry.event, entry.data))

    def unsaved(self, call_id) -> None:
        return None

    async def flush(self) -> None:
        pass


class Rig:
    def __init__(self) -> None:
        self.carrier, self.store, self.live = Carrier(), Store(), LiveCalls()
        engines = SimpleNamespace(
            carriers={NAME: self.carrier}, capabilities={NAME: CarrierCapabilities(finds_legs=True)}
        )
        self.sweeping: asyncio.Task | None = None
        self.reconciler = Reconciler(self.store, engines, self.live, self.store, LoopClock())

    def add(self, call_id: str = "call-1", leg: str = "leg-1", **changes) -> None:
        """A record that an earlier process left open."""
        now = LoopClock().wall()
        self.store.records[call_id] = CallRecord(
            **{
                "call_id": call_id,
                "carrier": NAME,
                "carrier_call_id": leg,
                "direction": "outbound",
                "from_number": OURS,
                "to_number": THEIRS,
                "mode": "conversation",
                "state": "ringing",
                "created_at": now,
                "metadata": {"deadline": now + 300},
                **changes,
            }
        )

    def event(self, kind: str, **more) -> CarrierEvent:
        return CarrierEvent(kind=kind, **{"carrier_call_id": "leg-1", "call_id": "call-1", **more})

    def record(self, call_id: str = "call-1") -> CallRecord:
        return self.store.records[call_id]

    async def closed(self, call_id: str = "call-1", limit: float = 20_000.0) -> float:
        """Wait until a record is closed; seconds of the loop's time."""
        async with asyncio.timeout(limit):
            while not self.record(call_id).over:
                await asyncio.sleep(0.05)
        return asyncio.get_running_loop().time()


@pytest.fixture
async def rig():
    rig = Rig()
    yield rig
    if rig.sweeping is not None:
        rig.sweeping.cancel()
    await rig.reconciler.close(0.0)


async def test_a_leg_that_has_ended_closes_the_record_with_the_carriers_times_and_reason(rig):
    rig.add()
    created = rig.record().created_at
    await asyncio.sleep(100)
    rig.carrier.legs["leg-1"] = LegStatus(
        state="ended", reason=EndReason.NO_ANSWER, answered_at=created + 5, ended_at=created + 30
    )
    await rig.reconciler.begin()
    record = rig.record()
    assert (record.end_reason, record.state) == ("no-answer", "no-answer")
    assert (record.answered_at, record.ended_at) == (created + 5, created + 30)
    assert rig.carrier.hung_up == []


async def test_a_leg_that_lives_is_hung_up(rig):
    rig.add()
    rig.carrier.begin("leg-1")
    await rig.reconciler.begin()
    assert rig.carrier.hung_up == ["leg-1"]
    assert (rig.record().end_reason, rig.record().state) == ("interrupted", "error")


async def test_an_unreachable_carrier_is_asked_less_and_less_often_and_the_start_does_not_wait(rig):
    rig.add(metadata={"deadline": LoopClock().wall() + 1000})
    rig.carrier.begin("leg-1")
    rig.carrier.reachable = False
    await rig.reconciler.begin()
    assert asyncio.get_running_loop().time() <= 2.0
    await asyncio.sleep(300)
    pauses = [after - before for before, after in zip(rig.carrier.asked, rig.carrier.asked[1:], strict=False)]
    assert pauses[:8] == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    assert rig.record().state == "ending"
    rig.carrier.reachable = True
    await rig.closed()
    assert rig.carrier.hung_up == ["leg-1"]


async def test_past_its_deadline_a_call_is_asked_for_once_more_and_closed(rig):
    rig.add()
    rig.carrier.reachable = False
    await asyncio.sleep(301)
    await rig.reconciler.begin()
    assert len(rig.carrier.asked) == 1
    assert rig.record().end_reason == "interrupted"
    assert "could not be asked" in rig.record().detail


async def test_an_end_that_was_decided_keeps_its_reason(rig):
    rig.add(metadata={"endsAs": "agent-hung-up"})
    rig.carrier.begin("leg-1")
    await rig.reconciler.begin()
    assert (rig.record().end_reason, rig.record().detail) == ("agent-hung-up", "")
    assert rig.record().metadata == {}


async def test_a_dial_that_nobody_knows_of_is_looked_for_until_it_is_found(rig):
    rig.add(leg="")
    beginning = asyncio.create_task(rig.reconciler.begin())
    await asyncio.sleep(3)
    rig.carrier.begin("leg-9")
    await beginning
    assert await rig.closed() == pytest.approx(5.0, abs=0.3)
    assert rig.record().carrier_call_id == "leg-9"
    assert rig.carrier.hung_up == ["leg-9"]


async def test_a_dial_that_was_never_carried_out_is_closed_after_ten_seconds(rig):
    rig.add(leg="")
    await rig.reconciler.begin()
    assert 9 <= await rig.closed() <= 11
    assert "knows of no such call" in rig.record().detail
    assert rig.carrier.hung_up == []


async def test_a_leg_that_belongs_to_another_record_is_not_taken_for_a_lost_one(rig):
    rig.add("call-2", "leg-2", ended_at=LoopClock().wall(), end_reason="completed")
    rig.carrier.begin("leg-2")
    rig.add(leg="")
    await rig.reconciler.begin()
    await rig.closed()
    assert rig.carrier.hung_up == []


async def test_two_lost_dials_to_one_number_are_two_legs(rig):
    for number in (1, 2):
        rig.add(f"call-{number}", "")
        rig.carrier.begin(f"leg-{number}")
    await rig.reconciler.begin()
    await asyncio.gather(rig.closed("call-1"), rig.closed("call-2"))
    assert sorted(rig.carrier.hung_up) == ["leg-1", "leg-2"]


async def test_a_leg_that_may_be_somebody_elses_is_left_alone_until_it_names_itself(rig):
    rig.add(leg="")
    rig.carrier.begin("leg-1")
    rig.carrier.begin("foreign")
    await rig.reconciler.begin()
    await asyncio.sleep(20)
    assert rig.carrier.hung_up == []
    await rig.reconciler.heard(NAME, rig.event("ringing"))
    await rig.closed()
    assert rig.carrier.hung_up == ["leg-1"]


async def test_the_carriers_own_word_that_a_leg_is_over_closes_the_record(rig):
    rig.add()
    rig.carrier.reachable = False
    await rig.reconciler.begin()
    await rig.reconciler.heard(NAME, rig.event("ended", reason=EndReason.BUSY))
    assert rig.record().end_reason == "busy"


async def test_a_leg_that_comes_up_after_its_call_was_closed_is_hung_up(rig):
    rig.add(leg="", ended_at=LoopClock().wall(), end_reason="carrier-error")
    rig.carrier.begin("leg-1")
    rig.carrier.reachable = False
    await rig.reconciler.heard(NAME, rig.event("ringing"))
    await asyncio.sleep(5)
    rig.carrier.reachable = True
    await asyncio.sleep(5)
    assert rig.carrier.hung_up == ["leg-1"]
    assert rig.record().end_reason == "carrier-error"


async def test_who_was_handed_over_is_asked_for_now_and_then_until_their_time_is_over(rig):
    rig.add(metadata={"deadline": LoopClock().wall() + 100, "handedOver": True})
    rig.carrier.begin("leg-1")
    await rig.reconciler.begin()
    await asyncio.sleep(95)
    assert (len(rig.carrier.asked), rig.carrier.hung_up) == (4, [])
    await rig.closed()
    assert rig.carrier.hung_up == ["leg-1"]
    assert rig.record().end_reason == "transferred"


async def test_a_transfer_that_nobody_took_ends_as_any_other_left_call(rig):
    rig.add(metadata={"deadline": LoopClock().wall() + 100, "handedOver": True})
    rig.carrier.begin("leg-1")
    await rig.reconciler.begin()
    await rig.reconciler.heard(NAME, rig.event("transfer", verdict="busy"))
    await rig.closed()
    assert rig.record().end_reason == "interrupted"


async def test_a_carrier_that_is_not_configured_any_more_leaves_no_record_open(rig):
    rig.add(carrier="gone")
    await rig.reconciler.begin()
    assert "not configured" in rig.record().detail


async def test_what_is_left_at_a_stop_is_tried_once_more_and_stays_open(rig):
    rig.add()
    rig.carrier.begin("leg-1")
    rig.carrier.reachable = False
    await rig.reconciler.begin()
    await asyncio.sleep(100)
    before = len(rig.carrier.asked)
    await rig.reconciler.close(0.5)
    assert len(rig.carrier.asked) == before + 1
    assert not rig.record().over


class Live:
    """A call that somebody owns, as the sweep sees it."""

    def __init__(self, rig: Rig) -> None:
        rig.add()
        rig.carrier.begin("leg-1")
        self.posted: list = []
        self.noted: list[str] = []
        call = SimpleNamespace(snapshot=lambda: SimpleNamespace(transferring=False))
        self.session = SimpleNamespace(
            carrier_call_id="leg-1",
            leg="leg-1",
            leg_open=True,
            released=False,
            heard_at=0.0,
            call=call,
            post=self.posted.append,
            carrier_failed=lambda *words: self.noted.append(words[0]),
            parts=SimpleNamespace(carrier=SimpleNamespace(fetch_status=self._status)),
        )
        self.status = LegStatus(state="live")
        self.asked: list[float] = []
        self.entry = SimpleNamespace(
            session=self.session,
            record=rig.record(),
            plan=SimpleNamespace(policy=CallPolicy(ring_timeout=30, max_duration=100)),
            created=0.0,
            overdue=False,
            task=asyncio.create_task(asyncio.Event().wait()),
        )
        rig.live.add(self.entry)
        rig.sweeping = asyncio.create_task(sweep_for_ever(rig.live, rig.reconciler, LoopClock()))

    async def _status(self, leg) -> LegStatus:
        self.asked.append(asyncio.get_running_loop().time())
        if isinstance(self.status, Exception):
            raise self.status
        return self.status


async def test_a_live_call_that_its_carrier_speaks_of_is_not_asked_for(rig):
    live = Live(rig)
    for _ in range(10):
        await asyncio.sleep(9)
        live.session.heard_at = asyncio.get_running_loop().time()
    assert (live.asked, live.posted) == ([], [])
    live.entry.task.cancel()


async def test_a_call_whose_carrier_is_silent_is_asked_for_once_a_sweep(rig):
    live = Live(rig)
    live.status = VendorUnavailable("nobody answers", vendor=NAME, operation="status")
    await asyncio.sleep(95)
    assert live.asked == pytest.approx([30, 60, 90], abs=0.1)
    assert live.noted == ["status"] * 3
    live.status = LegStatus(state="ended", reason=EndReason.BUSY)
    await asyncio.sleep(30)
    assert live.posted == [CallEnded(EndReason.BUSY)]
    assert not live.session.leg_open
    live.entry.task.cancel()


async def test_a_call_past_its_limit_is_hung_up_and_then_given_up(rig):
    live = Live(rig)
    await asyncio.sleep(155)
    assert live.posted == []
    await asyncio.sleep(30)
    assert live.posted == [HangUpRequested(EndReason.MAX_DURATION)]
    assert not live.entry.task.cancelled()
    await asyncio.sleep(31)
    assert live.entry.task.cancelled()


async def test_an_open_record_that_nobody_owns_is_found_by_the_sweep(rig):
    live = Live(rig)
    live.session.heard_at = 1e9
    rig.add("call-2", "leg-2")
    rig.carrier.begin("leg-2")
    await asyncio.sleep(35)
    assert rig.record("call-2").end_reason == "interrupted"
    assert not rig.record("call-1").over, "this one is somebody's"
    assert replace(rig.record("call-1")) == live.entry.record
    live.entry.task.cancel()
