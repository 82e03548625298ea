"""Which process gets a call, whose a call is, and when a process takes no more."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from openclaw_voicecall.api.carrier import CarrierEvent
from openclaw_voicecall.api.policy import CallOffer, CallPlan
from openclaw_voicecall.calls.team import SAME_NUMBER, Assignment, CallWish, Load, Team
from openclaw_voicecall.config.sections import ServeConfig
from openclaw_voicecall.errors import LimitExceeded
from openclaw_voicecall.server.handover import StreamPaths
from openclaw_voicecall.server.load import LOOKS, LoadMonitor

pytestmark = pytest.mark.unit

FULL = Load("serve.maxLoopLagMs: too late")


@dataclass(eq=False)
class Colleague:
    name: str
    load: Load = field(default_factory=Load)

    async def take(self, call: Assignment) -> Any:
        raise NotImplementedError

    async def webhook(self, carrier: str, webhook: Any) -> Any:
        raise NotImplementedError


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class Rig:
    def __init__(self, *names: str) -> None:
        self.own = Load()
        self.clock = Clock()
        self.team = Team(self.clock, lambda: self.own)
        self.colleagues = [Colleague(name) for name in names]
        for colleague in self.colleagues:
            self.team.join(colleague)
        self.own_calls = 0
        self._count = 0

    def call(self, direction: str = "inbound", to: str = "+15550000001", *, shared: bool = True) -> str:
        """Decide about one more call; gives the name of who holds it."""
        offer = CallOffer(direction=direction, carrier="twilio", from_number="+15550000002", to_number=to)
        chosen = self.team.choose(offer, self.own_calls, shared=shared)
        self._count += 1
        if chosen is None:
            self.own_calls += 1
            return "own"
        call_id = f"call-{self._count}"
        wish = CallWish(carrier_call_id=f"CA{self._count}")
        self.team.assign(chosen, Assignment(call_id=call_id, offer=offer, plan=CallPlan(), wish=wish))
        self.team.taken(call_id)
        return chosen.name


def event(leg: str, call_id: str = "") -> CarrierEvent:
    return CarrierEvent(kind="answered", carrier_call_id=leg, call_id=call_id)


def test_calls_are_spread_evenly():
    rig = Rig("one", "two")
    assert sorted(rig.call() for _ in range(9)) == ["one"] * 3 + ["own"] * 3 + ["two"] * 3


def test_a_process_at_its_limit_gets_no_call_until_it_is_not():
    rig = Rig("one")
    rig.colleagues[0].load = FULL
    assert {rig.call() for _ in range(3)} == {"own"}
    rig.colleagues[0].load = Load()
    assert [rig.call() for _ in range(3)] == ["one"] * 3


def test_when_all_are_at_their_limit_the_call_is_refused_with_the_reason():
    rig = Rig("one")
    rig.colleagues[0].load = rig.own = FULL
    with pytest.raises(LimitExceeded, match="maxLoopLagMs"):
        rig.call()


def test_a_call_that_cannot_be_shared_stays_here_however_many_there_are():
    rig = Rig("one")
    assert {rig.call(shared=False) for _ in range(5)} == {"own"}


def test_calls_to_one_number_are_dialled_by_one_process_for_a_while():
    rig = Rig("one", "two")
    first = rig.call("outbound", "+15550009999")
    assert {rig.call("outbound", "+15550009999") for _ in range(4)} == {first}
    rig.clock.now += SAME_NUMBER + 1
    assert rig.call("outbound", "+15550009999") != first


def test_a_call_is_found_by_both_ids_until_it_is_closed():
    rig = Rig("one")
    assert rig.call() == "one"
    (one,) = rig.colleagues
    assert rig.team.of("twilio", event("CA1")) is one
    assert rig.team.of("twilio", event("CA9", "call-1")) is one
    assert rig.team.of("other", event("CA1")) is None
    assert rig.team.holder("call-1") is rig.team.holder("CA1") is one
    assert rig.team.holder("") is None
    rig.team.drop("call-1")
    assert rig.team.of("twilio", event("CA1")) is None
    assert "call-1" not in rig.team


def test_a_call_that_is_being_closed_holds_no_slot():
    rig = Rig("one")
    rig.call()
    assert rig.team.slots == 1
    rig.team.learn("call-1", "CA1", free=True)
    assert rig.team.slots == 0
    assert "call-1" in rig.team, "somebody still looks after it"


def test_calls_of_a_process_that_is_gone_are_nobodys():
    rig = Rig("one", "two")
    for _ in range(4):
        rig.call()
    assert rig.team.leave(rig.colleagues[0]) == 2
    assert rig.team.slots == 1
    assert rig.team.holder("CA1") is None


@pytest.mark.parametrize(
    ("head", "worker"),
    [
        (b"GET /voice/stream/twilio/w2.secret HTTP/1.1\r\n", 2),
        (b"GET /voice/stream/twilio/w12.secret?x=1 HTTP/1.1\r\n", 12),
        (b"GET /voice/stream/twilio/secret HTTP/1.1\r\n", None),
        (b"GET /voice/stream/twilio/w2secret HTTP/1.1\r\n", None),
        (b"GET /voice/streams/twilio/w2.secret HTTP/1.1\r\n", None),
        (b"GET /voice/stream/a/b/w2.secret HTTP/1.1\r\n", None),
        (b"POST /voice/stream/twilio/w2.secret HTTP/1.1\r\n", None),
        (b"GET /voice/stream/twilio/x HTTP/1.1\r\nA: GET /voice/stream/twilio/w2.s ", None),
        (b"\x00\xff", None),
    ],
)
def test_a_streams_address_says_whose_it_is(head, worker):
    assert StreamPaths("/voice/stream").worker(head) == worker


def test_a_loop_that_is_late_for_long_is_at_its_limit_and_one_hiccup_is_nothing():
    monitor = LoadMonitor(ServeConfig(max_loop_lag_ms=100))
    for _ in range(LOOKS):
        monitor.look(5.0)
    monitor.look(2000.0)
    assert monitor.load().strain == ""
    for _ in range(LOOKS):
        monitor.look(180.0)
    assert "serve.maxLoopLagMs" in monitor.load().strain
    for _ in range(LOOKS):
        monitor.look(5.0)
    assert monitor.load() == Load("", 5.0)
