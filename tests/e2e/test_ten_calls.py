"""Ten calls at once in one process: nobody is starved, and nobody hears another's talk."""

from pathlib import Path

import pytest
from whole_calls import place_all

from openclaw_voicecall.testing.service import RunningService

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.timeout(180)]

NAMES = ("Anna", "David", "Emma", "Frank", "Helen", "James", "Laura", "Michael", "Peter", "Susan")
SCRIPT = """
name: {name}
ring: 0.2
steps:
  - wait: agent
  - say: "My name is {name}."
  - wait: agent
  - say: "What time is it, please?"
  - wait: agent
  - say: "That is all, thank you. Goodbye."
linger: 15
"""


def test_ten_calls_at_once_do_not_disturb_each_other(tmp_path: Path):
    orders = {}
    for number, name in enumerate(NAMES):
        script = tmp_path / f"{name}.yaml"
        script.write_text(SCRIPT.format(name=name))
        orders[name] = {"script": script, "to": f"+1555000100{number}", "message": "Hello, who is there?"}
    with RunningService(tmp_path / "s", port=0, config={"maxConcurrentCalls": 10}) as service:
        calls = place_all(service, tmp_path, orders)
    for name, call in calls.items():
        assert call.record["endReason"] == "agent-hung-up", (name, call.record)
        assert call.witness.gaps == [], f"the agent was starved on the call with {name}"
        assert call.witness.report["errors"] == []
        transcript = " ".join(line["text"] for line in call.record["transcript"])
        others = [other for other in NAMES if other != name and other in transcript]
        assert others == [], f"the call with {name} holds words of another"
    named = sum(name in call.words_of("caller") for name, call in calls.items())
    assert named >= 8, "single names are hard, but most are understood"
