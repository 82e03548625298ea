"""Any order of carrier, vendor, owner and timer facts keeps the promises of a call."""

import pytest
from call_machine import CallMachine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

pytestmark = pytest.mark.unit


def test_any_order_of_facts_keeps_the_promises_and_gets_far_enough_to_mean_it():
    CallMachine.reached.clear()
    run_state_machine_as_test(
        CallMachine,
        settings=settings(
            max_examples=300,
            stateful_step_count=40,
            deadline=None,
            # Explaining a failure would trace every line of every example again, which takes minutes.
            phases=[phase for phase in Phase if phase is not Phase.explain],
            suppress_health_check=list(HealthCheck),
        ),
    )
    reached = CallMachine.reached
    examples = reached["examples"]
    assert examples >= 300
    assert reached["StartResponse"] >= 0.3 * examples, reached
    for command in ("ClearAudio", "HoldAudio", "CancelResponse"):
        assert reached[command] >= 0.1 * examples, reached
    for outcome in ("ResumeAudio", "Rehearse", "DropRehearsal", "adopted"):
        assert reached[outcome] >= 0.05 * examples, reached
