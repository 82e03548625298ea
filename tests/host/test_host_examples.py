"""The host of docs/hosts.md is a whole one: it holds a call with real audio, and learns how it went."""

import json
import re
from pathlib import Path

import pytest

from openclaw_voicecall.api.host import Host
from openclaw_voicecall.api.responder import EndCall, TextDelta, TurnRequest

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "hosts.md").read_text(encoding="utf-8")


@pytest.fixture
def example() -> dict:
    (source,) = re.findall(r"```python\n# example: host\n(.*?)```", PAGE, re.DOTALL)
    module = {"__name__": "example_host"}
    exec(compile(source, "docs/hosts.md", "exec"), module)
    return module


async def test_the_example_answers_and_hangs_up(example):
    turn = TurnRequest(call_id="c", turn=1, text="Goodbye then")
    said = [event async for event in example["Butler"]().agent_turn(turn)]
    assert "".join(event.text for event in said if isinstance(event, TextDelta)) == "You said Goodbye then "
    assert isinstance(said[-1], EndCall)


async def test_the_example_holds_a_call(example, tmp_path, monkeypatch, capsys):
    script = str(TESTS / "e2e" / "scripts" / "asks-once.yaml")
    settings = {"provider": "local", "local": {"script": script}, "serve": {"bind": "127.0.0.1", "port": 0}}
    monkeypatch.setenv("OPENCLAW_VOICECALL_CONFIG", json.dumps(settings))
    monkeypatch.setenv("OPENCLAW_VOICECALL_STATE_DIR", str(tmp_path / "s"))
    await example["main"]("+15550001234")
    report = capsys.readouterr().out
    assert "Phone call to +15550001234 ended by the other side" in report
    assert re.search(r"them: What time is it.*\n  you: You said What time is it", report), report


def test_every_member_of_the_seam_is_on_the_page():
    members = {name for name in (*vars(Host), *Host.__annotations__) if not name.startswith("_")}
    rows = re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE)
    assert members <= set(rows)
