"""Our plugin in a real OpenClaw, with a scripted model and real audio on the local line: see `gateway_scenes`.

What goes wrong, and where it is proven:

* wrong or missing Node, OpenClaw missing or too old, Python moved: `test_install`; Python gone or without the package
  under a running gateway: `bridge_service.test.mjs`, and under a command: `bridge_plugin.test.mjs`;
* a second service on the store or the port, so also a second gateway on one state directory: `test_openclaw_child`;
* the child killed during a call: here; one that dies again and again, hangs at its start or at its end:
  `bridge_service.test.mjs`;
* the plugin reloaded during a call: here; with other settings or other code: `bridge_service.test.mjs`;
* a model that fails, so that the agent's run takes too long: here; a run that fails or is given up:
  `test_openclaw_agent`; what the caller hears when no words come: `test_twilio_reply_faults`, whoever writes the turn;
* a gateway that is down, hangs or refuses the token, for a service outside of it: `contract/test_openclaw_gateway`.
"""

import json

import gateway_scenes as scenes
import pytest
from gateway_cast import DAY, LONG, MAIN, OPENING, ORDER, WHO, news, text_of

from openclaw_voicecall import __version__
from openclaw_voicecall.testing.audio import segments, split_channels

pytestmark = [pytest.mark.inside, pytest.mark.timeout(300)]

RESPAWN_SECONDS = 6.0
"""Generous against a busy machine; `bench/agent_turn.py` prints the figure, which is to be 2 s or less."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What was seen in each scene, by its name."""
    return scenes.play(
        [
            {"install": scenes.install},
            {"command": scenes.call_by_command, "barge-in": scenes.barge_in},
            {"agent": scenes.call_by_agent, "failing": scenes.failing_model},
            {"kill": scenes.kill_the_child},
            {"stop": scenes.stop},
        ],
        tmp_path_factory.mktemp("openclaw"),
    )


def lines(record):
    return [(line["speaker"], line["text"]) for line in record["transcript"]]


def words(record, speaker):
    return " ".join(text for who, text in lines(record) if who == speaker)


def test_our_command_installs_the_plugin_and_the_gateway_loads_it(seen):
    install = seen("install")
    assert install.standing["problems"] == []
    assert install.standing["bridge"] == __version__


def test_a_call_by_command_is_heard_answered_and_recorded(seen):
    call = seen("command")
    assert call.done.code == 0, call.done.err
    record = call.done.json()
    assert lines(record)[0] == ("agent", OPENING)
    assert "day" in words(record, "caller"), "the phone speaks only once it has heard us"
    assert DAY in lines(record)[-1][1], "on a busy machine a filler comes first"
    assert record["endReason"] == "agent-hung-up"
    for channel in split_channels(record["recording"]):
        assert sum(sound.duration for sound in segments(channel, 8000)) > 1.0


def test_commands_and_methods_reach_the_one_service_of_the_gateway(seen):
    call = seen("command")
    assert call.status.code == call.method.code == 0, (call.status, call.method)
    assert call.status.json()["service"]["pid"] == call.before["pid"]
    own = call.done.json()["callId"]
    for answer in (call.status, call.method):
        assert own in {live["callId"] for live in answer.json()["calls"]}


def test_a_reload_of_the_plugin_ends_no_call(seen):
    call = seen("command")
    assert call.reloaded
    assert call.after["pid"] == call.before["pid"]
    assert call.done.json()["endReason"] == "agent-hung-up", "the method found the call after the reload"


def test_the_agent_rings_somebody_and_learns_the_outcome_in_the_chat_that_asked(seen):
    call = seen("agent")
    assert call.record["metadata"]["requesterSessionKey"] == MAIN
    assert lines(call.record)[0] == ("agent", OPENING)
    told = news(call.report)
    for part in ("ended by the other side", f"you: {OPENING}", "them: ", call.record["recording"]):
        assert part in told
    assert any(ORDER in text_of(message) for message in call.report), "it is the chat that asked"


def test_two_turns_with_the_agent_and_a_tool_it_uses_on_the_way(seen):
    call = seen("agent")
    said = lines(call.record)
    assert [who for who, _ in said] == ["agent", "caller", "agent", "caller", "agent"], said
    assert WHO in said[2][1]
    assert "The line is " in said[4][1], "it speaks of what the tool told it"


def test_what_a_caller_said_is_remembered_in_the_session_of_the_call(seen):
    call = seen("agent")
    first, second = (text for who, text in lines(call.record) if who == "caller")
    assert first in news(call.turns[0])
    remembered = [text_of(message) for message in call.turns[-1]]
    for words in (first, WHO, second):
        assert any(words in text for text in remembered), (words, remembered)


def test_the_events_of_a_call_can_be_followed_and_its_waits_are_counted(seen):
    call = seen("agent")
    events = [json.loads(line) for line in call.tail.out.splitlines()]
    assert events[-1]["call"]["endReason"] == call.record["endReason"]
    assert call.latency.code == 0, call.latency.err
    assert call.latency.json()["recordsScanned"] >= 1


def test_who_talks_over_the_agent_stops_its_run_and_it_learns_what_was_heard(seen):
    call = seen("barge-in")
    assert call.cancelled == 1, "the model writes on for nobody"
    heard = next(line for line in call.record["transcript"] if line["interrupted"])
    assert LONG.startswith(heard["text"].rstrip(" —")), heard
    assert len(heard["text"]) < len(LONG) / 2
    told = news(call.turns[-1])
    assert f'they heard only: "{heard["text"]}"' in told
    assert DAY in lines(call.record)[-1][1]
    assert call.witness.gaps == []
    assert max(call.witness.yield_delays()) < 1.0


def test_a_model_that_fails_is_told_to_the_caller_and_never_read_out(seen):
    failing = seen("failing")
    said = words(failing.record, "agent")
    assert "something went wrong on my side" in said
    assert said.replace(OPENING, "").count(".") <= 2, "an error message is not for the ear"
    failures = [entry["data"] for entry in failing.journal if entry["event"] == "vendor-failed"]
    assert failures, "the journal says who failed, and why"
    assert failures[0]["hop"] == "responder"


def test_a_killed_child_is_back_at_once_and_its_call_is_resolved(seen):
    kill = seen("kill")
    assert kill.back <= RESPAWN_SECONDS
    assert kill.after["pid"] != kill.before["pid"]
    assert "SIGKILL" in " ".join(kill.sick), "`openclaw health` says why"
    assert kill.record["endReason"] == "interrupted"
    assert kill.record["endedAt"] is not None
    assert "cut off because the phone service died" in news(kill.report)
    assert kill.phones


def test_a_gateway_that_stops_leaves_nothing_behind(seen):
    stop = seen("stop")
    assert (stop.code, stop.left, stop.ports) == (0, [], [])
    assert stop.check == "ok"
    assert not stop.service_file
    assert stop.open_calls == 0
