"""The commands by which the owner lets callers in, and what the service makes of them while it runs."""

import json
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_rig import ControlService, invoke, serving

from openclaw_voicecall.api.policy import CallOffer, CallPlan
from openclaw_voicecall.builtin import policies
from openclaw_voicecall.builtin.policies import InboundPolicy
from openclaw_voicecall.builtin.system import SystemClock
from openclaw_voicecall.calls.admission import Admissions
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.store.pairing import CODES, PairingBook
from openclaw_voicecall.store.statedir import StateDir

pytestmark = pytest.mark.server

KNOWN, STRANGER = "+15550001234", "+15550004321"
PLAN = CallPlan(policy=CallPolicy(greeting="Hello.", max_duration=300.0), session_key="agent:main:voice:x")


class Line:
    """The pairing of a running service: what becomes of a caller."""

    def __init__(self, folder: Path, **settings) -> None:
        config = build_config_model().model_validate(
            {"inboundPolicy": "pairing", "allowFrom": [KNOWN], **settings}
        )
        registered = []
        runtime = SimpleNamespace(state_dir=folder, clock=SystemClock(), store=None)
        policies.voicecall_lifespan(runtime)
        policies.voicecall_register_policies(registered.append, config)
        self.admissions = Admissions(registered)

    async def rings(self, caller: str) -> CallPlan | str:
        """The plan of the caller's call, or why there is none."""
        offer = CallOffer(direction="inbound", carrier="local", from_number=caller, to_number="+15550100000")
        admission = await self.admissions.decide(offer)
        plan = await self.admissions.route(offer, PLAN)
        return plan if admission.allowed else admission.reason


def code_said(plan: CallPlan) -> str:
    groups = {part for part in plan.policy.greeting.split(". ") if part[-1].isdigit()}
    codes = {"".join(filter(str.isdigit, part)) for part in groups}
    assert len(codes) == 1
    return codes.pop()


@pytest.fixture
def line(state_dir):
    return Line(state_dir)


def cli(state_dir, *arguments: str, code: int = 0):
    done = invoke("pairing", *arguments, "--state-dir", str(state_dir))
    assert done.exit_code == code, done.output
    return done


async def test_a_stranger_hears_a_code_and_gets_through_once_it_is_approved(line, state_dir):
    plan = await line.rings(STRANGER)
    policy = plan.policy
    assert (policy.respond, policy.hang_up_after_greeting) == (False, 1.0)
    assert policy.max_duration == 60.0
    code = code_said(plan)
    assert policy.greeting.count(", ".join(code)) == 2
    shown = json.loads(cli(state_dir, "list", "--json").stdout)
    assert [(entry["number"], entry["code"]) for entry in shown["waiting"]] == [(STRANGER, code)]
    assert code_said(await line.rings(STRANGER)) == code, "the same code while it waits"
    assert cli(state_dir, "approve", code).stdout == f"{STRANGER} may call from now on\n"
    assert await line.rings(STRANGER) == PLAN
    assert code_said(await line.rings(STRANGER + "1")) != code, "another number is another caller"


async def test_numbers_of_the_list_talk_at_once_and_outbound_calls_are_left_alone(line):
    assert await line.rings(KNOWN) == PLAN
    offer = CallOffer(direction="outbound", carrier="local", from_number="+15550100000", to_number=STRANGER)
    assert (await line.admissions.decide(offer)).allowed
    assert await line.admissions.route(offer, PLAN) == PLAN


async def test_a_denied_and_a_removed_number_do_not_get_through(line, state_dir):
    code = code_said(await line.rings(STRANGER))
    cli(state_dir, "deny", code)
    assert code_said(await line.rings(STRANGER)) != code
    cli(state_dir, "approve", STRANGER)
    assert await line.rings(STRANGER) == PLAN
    assert cli(state_dir, "remove", STRANGER).stdout == f"{STRANGER} is let in no more\n"
    assert (await line.rings(STRANGER)).policy.respond is False


async def test_who_hides_the_number_or_has_none_is_refused_and_gets_no_code(line, state_dir):
    assert "allowAnonymous" in await line.rings("anonymous")
    assert "no number that can be approved" in await line.rings("+1555000123\uff14")
    assert json.loads(cli(state_dir, "list", "--json").stdout) == {"waiting": [], "approved": []}


async def test_hidden_numbers_talk_where_the_owner_allows_it(state_dir):
    line = Line(state_dir, allowAnonymous=True)
    assert await line.rings("+266696687") == PLAN


async def test_when_too_many_wait_a_stranger_is_refused(line):
    for number in range(CODES):
        await line.rings(f"+1555000{number:04}")
    assert "20 callers wait" in await line.rings(STRANGER)
    assert await line.rings(KNOWN) == PLAN


async def test_a_book_that_cannot_be_used_lets_no_stranger_in(line, state_dir, caplog):
    (state_dir / "pairing.json").write_text("not a book")
    assert "pairing.json is damaged" in await line.rings(STRANGER)
    assert await line.rings(KNOWN) == PLAN


async def test_a_caller_whose_code_is_gone_before_the_call_is_planned_talks_to_nobody(state_dir):
    line = Line(state_dir)
    line.admissions = Admissions([item for item in line.admissions._routers if item.name == "pairing"])
    plan = await line.rings(STRANGER)
    assert (plan.policy.respond, plan.policy.hang_up_after_greeting) == (False, 1.0)
    assert plan.policy.greeting == PLAN.policy.goodbye


async def test_the_owner_writes_the_phrase(state_dir):
    line = Line(state_dir, phrases={"pairing": "Ihr Code ist {code}."})
    greeting = (await line.rings(STRANGER)).policy.greeting
    assert greeting.startswith("Ihr Code ist ")
    assert len(greeting) == len("Ihr Code ist 1, 2, 3, 4, 5, 6.")


async def test_a_policy_without_its_book_raises_rather_than_lets_in():
    class Broken:
        async def admit(self, number):
            raise StoreError("the disk is gone")

    admissions = Admissions([InboundPolicy("pairing", frozenset(), desk=Broken())])
    offer = CallOffer(direction="inbound", carrier="local", from_number=STRANGER, to_number="+15550100000")
    assert not (await admissions.decide(offer)).allowed


def test_the_commands_work_without_a_service_and_before_there_ever_was_one(tmp_path):
    state = tmp_path / "state"
    assert cli(state, "list").stdout == "Nobody waits, and no number is approved.\n"
    assert not state.exists(), "looking creates nothing"
    cli(state, "approve", STRANGER)
    assert "approved" in cli(state, "list").stdout
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "pairing.json").stat().st_mode) == 0o600


def test_the_commands_work_while_a_service_runs(tmp_path):
    with serving(ControlService(), tmp_path / "state") as state:
        code = PairingBook(state.path).meet(STRANGER).code_of(STRANGER)
        cli(state.path, "approve", code)
        assert PairingBook(state.path).read().is_approved(STRANGER)


def test_the_list_is_for_people_and_for_programs(state_dir):
    StateDir.open(state_dir)
    book = PairingBook(state_dir)
    code = book.meet(STRANGER).code_of(STRANGER)
    book.approve(KNOWN)
    rows = [row.split() for row in cli(state_dir, "list").stdout.splitlines()]
    assert rows[0] == ["number", "state", "since", "code"]
    assert [(row[0], row[1], row[-1]) for row in rows[1:]] == [
        (STRANGER, "waits", code),
        (KNOWN, "approved", rows[2][-1]),
    ]
    shown = json.loads(cli(state_dir, "list", "--json").stdout)
    assert set(shown["waiting"][0]) == {"number", "code", "askedAt", "expiresAt"}
    assert shown["approved"][0]["number"] == KNOWN


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("approve", "000000"), 66, "no caller waits with the code 000000"),
        (("approve", "12345"), 66, "expected a code of 6 digits or a phone number"),
        (("approve", "+1555"), 64, "expected a phone number in E.164"),
        (("deny", "000000"), 66, "no caller waits with the code 000000"),
        (("deny", STRANGER), 66, "does not wait"),
        (("remove", STRANGER), 66, "is not approved"),
        (("approve",), 2, "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_said_clearly(state_dir, arguments, exit_code, message):
    assert message in cli(state_dir, *arguments, code=exit_code).output
    assert PairingBook(state_dir).read().approved == ()


def test_an_error_is_one_object_for_programs(state_dir):
    error = json.loads(cli(state_dir, "approve", "000000", "--json", code=66).stdout)["error"]
    assert (error["code"], error["exitCode"]) == ("pairing", 66)
    done = json.loads(cli(state_dir, "approve", STRANGER, "--json").stdout)
    assert done == {"number": STRANGER, "outcome": "approved"}


def test_a_damaged_book_is_reported_in_one_line(state_dir):
    (state_dir / "pairing.json").write_text("[")
    done = cli(state_dir, "list", code=74)
    assert "pairing.json is damaged" in done.output
    assert len(done.output.splitlines()) == 1
