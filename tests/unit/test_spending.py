"""What calls may cost: which numbers are dialled, how often, when, and up to which sum."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from openclaw_voicecall.api.policy import CallOffer
from openclaw_voicecall.api.store import CallTimes
from openclaw_voicecall.builtin import zones
from openclaw_voicecall.builtin.hours import QuietHours
from openclaw_voicecall.builtin.numbering import ONE_RING, kind_of
from openclaw_voicecall.builtin.rates import DAY, HOUR, DialLimits, SpendingCap
from openclaw_voicecall.builtin.spending import DestinationPolicy, check_destination
from openclaw_voicecall.builtin.zones import zones_of
from openclaw_voicecall.config.schema import build_config_model

pytestmark = pytest.mark.unit

MODEL = build_config_model()
OURS, THEIRS, OTHER = "+12670000000", "+15550001234", "+15550004321"
GERMAN, JAMAICAN, SATELLITE = "+4915112345678", "+18765551234", "+881612345678"
NOW = 1_790_000_000.0
OUTBOUND = CallOffer(direction="outbound", carrier="twilio", from_number=OURS, to_number=THEIRS)

SPECIAL = {
    "premium": (
        "+19005551234",
        "+449098790879",
        "+49900123456",
        "+33892123456",
        "+979123456789",
        "+12129761234",
        "+447601234567",
        "+972190012345",
    ),
    "shared-cost": ("+491801234567", "+80812345678"),
    "personal": ("+447012345678", "+15005550006"),
    "satellite": (SATELLITE, "+870771234567", "+88216123456", "+883510012345678", "+878101234567890"),
    "emergency": ("+49112", "+44999", "+1911", "+19115550000", "+61000"),
}


def config(**settings):
    return MODEL.model_validate({"fromNumber": OURS, **settings})


def admit(policy, offer):
    """The policy's answer, where it needs no event loop for it."""
    coroutine = policy.admit(offer)
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    return done.value.value


class Store:
    """Calls that were, and nothing else of a store."""

    def __init__(self, *calls):
        self.calls = calls

    async def call_times(self, *, since):
        return [call for call in self.calls if call.created_at >= since]


def dialled(ago, to=THEIRS, *, minutes=None, **changes):
    """A call of a while ago that lasted so long; unanswered if None."""
    at = NOW - ago
    call = CallTimes(carrier="twilio", direction="outbound", to_number=to, created_at=at, ended_at=at + 30)
    if minutes is not None:
        call = replace(call, answered_at=at, ended_at=at + 60 * minutes)
    return replace(call, **changes)


def limits(*calls, **outbound):
    return DialLimits(config(outbound=outbound), Store(*calls), lambda: NOW)


def capped(*calls, **settings):
    spending = {"perMinute": 0.1, "dailyCap": 2.0, "currency": "EUR"}
    return SpendingCap(
        config(spending=spending, maxDurationSeconds=300, **settings), Store(*calls), lambda: NOW
    )


@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind in SPECIAL for number in SPECIAL[kind]])
def test_numbers_that_cost_more_are_refused_until_their_kind_is_allowed(kind, number):
    anywhere = {"countries": ["*"]}
    reason = check_destination(number, config(outbound=anywhere))
    assert reason.startswith("outbound.allow: ")
    assert repr(kind) in reason
    assert check_destination(number, config(outbound={**anywhere, "allow": [kind]})) == ""


@pytest.mark.parametrize("number", [THEIRS, OTHER, "+15550100000", "+12125550123", "+18005551234", OURS])
def test_ordinary_and_invented_numbers_of_our_own_country_are_called(number):
    assert check_destination(number, config()) == ""


@pytest.mark.parametrize(
    "number",
    ["", "911", "112", "tel:+15550001234", "sip:a@b", "+1555000123", "15550001234", "+1 5550001234", "+๑555"],
)
def test_what_is_no_number_in_one_form_is_not_dialled(number):
    assert check_destination(number, config(outbound={"countries": ["*"]}))


def test_only_countries_of_numbers_in_the_configuration_are_called_unless_others_are_listed():
    reason = check_destination(GERMAN, config())
    assert reason.startswith("outbound.countries: ")
    assert "DE" in reason
    assert "(US)" in reason
    for owner in ({"toNumber": GERMAN}, {"allowFrom": [GERMAN]}, {"transfer": {"allowed": [GERMAN]}}):
        assert check_destination("+493012345678", config(**owner)) == ""
    assert check_destination(GERMAN, config(outbound={"countries": ["de"]})) == ""
    assert "not in the list" in check_destination(THEIRS, config(outbound={"countries": ["DE"]}))
    assert check_destination(THEIRS, config(outbound={"countries": []}))


@pytest.mark.parametrize("number", [JAMAICAN, "+22245000000", "+23225123456", "+12684601234", "+6777421234"])
def test_one_ring_countries_have_to_be_named_themselves(number):
    assert "one-ring" in check_destination(number, config())
    assert "one-ring" in check_destination(number, config(outbound={"countries": ["*"]}))
    country = kind_of(number).country
    assert country in ONE_RING
    assert check_destination(number, config(outbound={"countries": [country]})) == ""


def test_a_neighbour_behind_the_same_calling_code_is_another_country():
    assert "CA" in check_destination("+14165550123", config())


@given(st.text(max_size=20))
def test_any_text_gets_an_answer(text):
    assert isinstance(check_destination(text, config()), str)


def test_the_policy_leaves_callers_and_the_local_line_alone():
    policy = DestinationPolicy(config())
    expensive = replace(OUTBOUND, to_number=SATELLITE)
    assert not admit(policy, expensive).allowed
    assert not admit(policy, replace(expensive, mode="transfer")).allowed
    assert admit(policy, OUTBOUND) is None
    assert admit(policy, replace(expensive, billed=False)) is None
    assert admit(policy, replace(expensive, direction="inbound")) is None


@pytest.mark.parametrize("settings", [{"countries": ["Germany"]}, {"countries": ["XX"]}, {"allow": ["fax"]}])
def test_unknown_countries_and_kinds_are_mistakes(settings):
    with pytest.raises(ValidationError):
        config(outbound=settings)


def test_ten_calls_a_minute_are_enough():
    calls = [dialled(59, f"+1555000{number:04}") for number in range(10)]
    refusal = admit(limits(*calls), OUTBOUND)
    assert (refusal.allowed, refusal.busy) == (False, True)
    assert "outbound.dialsPerMinute" in refusal.reason
    assert admit(limits(*calls[:9]), OUTBOUND) is None
    assert admit(limits(*calls, dialsPerMinute=11), OUTBOUND) is None
    assert admit(limits(*(dialled(60, OTHER) for _ in range(10))), OUTBOUND) is None


def test_nobody_is_called_more_than_three_times_an_hour():
    calls = [dialled(3599), dialled(1800), dialled(61)]
    assert "outbound.dialsPerNumberPerHour" in admit(limits(*calls), OUTBOUND).reason
    assert admit(limits(*calls), replace(OUTBOUND, to_number=OTHER)) is None
    assert admit(limits(dialled(HOUR), *calls[:2]), OUTBOUND) is None


def test_a_day_has_a_limit_of_its_own():
    calls = [dialled(3700 + number, OTHER) for number in range(5)]
    assert "outbound.dialsPerDay" in admit(limits(*calls, dialsPerDay=5), OUTBOUND).reason
    assert admit(limits(*calls, dialsPerDay=6), OUTBOUND) is None
    assert admit(limits(*(dialled(DAY, OTHER) for _ in range(5)), dialsPerDay=5), OUTBOUND) is None


def test_only_dials_over_the_same_carrier_count():
    others = [dialled(1, carrier="local") for _ in range(20)] + [
        dialled(1, direction="inbound") for _ in range(20)
    ]
    assert admit(limits(*others), OUTBOUND) is None
    full = limits(*(dialled(1) for _ in range(20)))
    assert admit(full, replace(OUTBOUND, billed=False)) is None
    assert admit(full, replace(OUTBOUND, direction="inbound")) is None
    assert admit(full, replace(OUTBOUND, mode="transfer")) is None


def test_a_clock_that_was_set_back_holds_no_call_against_us_for_longer_than_its_span():
    ahead = [dialled(-2 * HOUR) for _ in range(3)]
    assert admit(limits(*ahead), OUTBOUND) is None
    assert admit(limits(*(dialled(-30) for _ in range(3))), OUTBOUND) is not None


def test_a_cap_counts_whole_minutes_of_answered_calls_in_both_directions():
    cost = capped().cost
    assert cost(dialled(9, minutes=0.1)) == pytest.approx(0.1)
    assert cost(dialled(9, minutes=2.5, direction="inbound")) == pytest.approx(0.3)
    assert cost(dialled(9)) == 0.0
    assert cost(dialled(9, minutes=2, end_reason="transferred")) == pytest.approx(0.4)


def test_a_live_call_and_the_new_one_count_with_the_longest_they_may_last():
    live = dialled(10, answered_at=NOW - 5, ended_at=None)
    assert capped().cost(live) == pytest.approx(0.5)
    assert admit(capped(live, live, live), OUTBOUND) is None
    refusal = admit(capped(live, live, live, live), OUTBOUND)
    assert (refusal.allowed, refusal.busy) == (False, True)
    assert "spending.dailyCap" in refusal.reason
    assert "2.00 EUR" in refusal.reason
    assert "maxDurationSeconds" in refusal.reason


def test_what_a_crash_left_open_for_days_does_not_cost_days():
    assert capped().cost(dialled(9, minutes=3000)) <= 0.61


def test_callers_are_refused_too_once_the_cap_is_reached_and_free_again_a_day_later():
    inbound = replace(OUTBOUND, direction="inbound")
    calls = [dialled(DAY - 60, minutes=5) for _ in range(4)]
    assert not admit(capped(*calls), inbound).allowed
    assert admit(capped(*(replace(call, created_at=NOW - DAY) for call in calls)), inbound) is None
    assert admit(capped(*calls), replace(inbound, billed=False)) is None


def test_handing_over_may_cost_two_lines_for_as_long_as_it_may_last():
    onward = replace(OUTBOUND, mode="transfer")
    assert "transfer.maxDurationSeconds" in admit(capped(), onward).reason
    assert admit(capped(transfer={"maxDurationSeconds": 600}), onward) is None


def test_without_a_cap_nothing_is_counted():
    assert admit(SpendingCap(config(), Store(*[dialled(9, minutes=5)] * 500), lambda: NOW), OUTBOUND) is None


def test_a_cap_needs_a_price():
    with pytest.raises(ValidationError, match="perMinute"):
        config(spending={"dailyCap": 5})


def quiet(clock, zone, **settings):
    hours = config(outbound={"quietHours": settings}).outbound.quiet_hours
    at = datetime.fromisoformat(f"2026-11-21T{clock}").replace(tzinfo=ZoneInfo(zone)).timestamp()
    return QuietHours(hours, lambda: at)


@pytest.mark.parametrize(
    ("clock", "allowed"), [("07:59:59", False), ("08:00", True), ("20:59:59", True), ("21:00", False)]
)
def test_at_night_nobody_is_called_by_their_own_clock(clock, allowed):
    refusal = admit(quiet(clock, "Europe/Berlin"), replace(OUTBOUND, to_number="+493012345678"))
    assert (refusal is None) == allowed
    if refusal is not None:
        assert refusal.reason.startswith("outbound.quietHours: it is ")
        assert "Europe/Berlin" in refusal.reason


def test_hours_may_lie_within_a_day():
    noon = {"start": "12:00", "end": "14:00"}
    number = replace(OUTBOUND, to_number="+493012345678")
    assert admit(quiet("13:00", "Europe/Berlin", **noon), number) is not None
    assert admit(quiet("22:00", "Europe/Berlin", **noon), number) is None


def test_where_a_number_may_be_in_several_zones_it_must_be_quiet_in_none():
    assert "one of " in admit(quiet("09:00", "America/New_York"), OUTBOUND).reason
    assert admit(quiet("15:00", "America/New_York"), OUTBOUND) is None
    new_york = replace(OUTBOUND, to_number="+12125550123")
    assert admit(quiet("09:00", "America/New_York"), new_york) is None


def test_where_nobody_can_tell_the_time_nobody_is_called_unless_the_zone_is_named():
    ship = replace(OUTBOUND, to_number=SATELLITE)
    assert "outbound.quietHours.zones" in admit(quiet("12:00", "UTC"), ship).reason
    known = {"zones": {"+88": "Asia/Tokyo", "+8816": "UTC"}}
    assert admit(quiet("12:00", "UTC", **known), ship) is None
    assert admit(quiet("22:00", "UTC", **known), ship) is not None


def test_quiet_hours_are_off_by_default_and_leave_the_local_line_and_transfers_alone():
    assert config().outbound.quiet_hours is None
    night = quiet("23:00", "America/New_York")
    for changes in ({"billed": False}, {"mode": "transfer"}, {"direction": "inbound"}):
        assert admit(night, replace(OUTBOUND, **changes)) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"start": "9pm"},
        {"start": "24:00"},
        {"start": "08:00"},
        {"zones": {"+49": "Berlin"}},
        {"zones": {"49": "UTC"}},
    ],
)
def test_hours_that_cannot_be_meant_are_mistakes(settings):
    with pytest.raises(ValidationError):
        config(outbound={"quietHours": settings})


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+12125550123", {"America/New_York"}),
        ("+18505550123", {"America/Chicago", "America/New_York"}),
        ("+14165550123", {"America/Toronto"}),
        ("+18085550123", {"Pacific/Honolulu"}),
        ("+18765551234", {"America/Jamaica"}),
        ("+493012345678", {"Europe/Berlin", "Europe/Busingen"}),
        ("+351212345678", {"Europe/Lisbon", "Atlantic/Madeira", "Atlantic/Azores"}),
    ],
)
def test_a_number_tells_its_zones(number, expected):
    assert zones_of(number, {}) == expected


def test_every_zone_in_the_table_exists_and_every_code_is_one_of_three_digits():
    known = available_timezones()
    for zone, codes in zones._AREA_CODES.items():
        assert zone in known
        assert all(len(code) == 3 and code.isdigit() for code in codes.split())


def test_almost_every_country_has_a_zone():
    without = [
        country for country in phonenumbers.SUPPORTED_REGIONS if not zones._zones_by_country().get(country)
    ]
    assert set(without) <= {"AC", "TA", "XK"}
