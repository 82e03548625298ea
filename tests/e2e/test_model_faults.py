"""Whatever a speech-to-speech model does on a call, the caller hears the right voice, or is told, and never nothing."""

from collections.abc import Coroutine
from typing import Any

import pytest
from hearing import Outcomes
from model_faults_scenes import APOLOGY, Held, Place, at_once
from model_line import GREETING, VOICE

from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse

pytestmark = [pytest.mark.e2e, pytest.mark.timed]

NULL_FORMAT = "Invalid type for 'session.audio.input.format': expected an object, but got null instead."
REFUSALS: dict[str, dict[str, Any]] = {
    "refused-format": {
        "message": NULL_FORMAT,
        "param": "session.audio.input.format",
        "code": "invalid_type",
    },
    "refused-type": {"param": "session.type", "code": "missing_required_parameter"},
    "refused-voice": {
        "message": "Invalid value: 'marin'. Supported values are: 'alloy', and 'ash'.",
        "param": "session.audio.output.voice",
        "code": "invalid_value",
    },
    "refused-tools": {
        "message": "Invalid value: 'web_search'. Supported values are: 'function' and 'mcp'.",
        "param": "session.tools[0].type",
        "code": "invalid_value",
    },
}
"""How OpenAI has refused the first update of a session, each as its users have reported it."""
OPENINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "slow": ("slow-start", {"seconds": 1.5}, ""),
    "too-slow": ("slow-start", {"seconds": 12.0}, "not ready in time"),
    "never-updated": ("no-session-updated", {}, "not ready in time"),
    **{
        name: ("refuse-update", options, options.get("message", "Missing required parameter: 'session.type'"))
        for name, options in REFUSALS.items()
    },
    "http-429": ("http-429", {}, "429"),
    "http-500": ("http-500", {}, "500"),
}
"""What befalls a session that is being opened: the fault, its options, and the cause that the journal names."""

FAREWELL = "Goodbye, and have a good day."
THANKS = "Thank you, that was all."

RATE = {"type": "tokens", "code": "rate_limit_exceeded", "message": "Rate limit reached for gpt-realtime."}
BROKEN: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "static": ("What time is it?", "static", {}, "noise"),
    "stall": ("Where are you?", "stall", {}, "no sound within"),
    "rate-limit": ("Who is in today?", "response-failed", RATE, "Rate limit reached"),
    "closed-1000": ("Do you have tea?", "mid-sentence-close", {"code": 1000}, "1000"),
    "closed-1001": ("Do you have milk?", "mid-sentence-close", {"code": 1001}, "1001"),
    "closed-1011": ("Is it far to you?", "mid-sentence-close", {"code": 1011}, "1011"),
    "cut-off": ("May I come by?", "mid-sentence-close", {}, "ended"),
}
"""What befalls a reply: the question, the fault, its options, and the cause that the journal names."""
ANSWERS = {
    "static": "It is nine o'clock in the morning here.",
    "stall": "We are in the old town, next to the river.",
    "rate-limit": "Sam is in today, and so is Ada.",
    "closed-1000": "We have green tea and black tea today.",
    "closed-1001": "There is fresh milk in the big fridge.",
    "closed-1011": "It is ten minutes on foot from the station.",
    "cut-off": "Of course, come by whenever you like to.",
}
HEARD: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no-response": ("Are you still there?", "no-response", {}),
    "transcription-failed": ("Can you hear me well?", "transcription-failed", {}),
    "transcription-late": ("Do you know my name?", "transcription-late", {"seconds": 1.5}),
    "double": ("What is your name?", "double-response", {}),
}
REPLIES = {
    "no-response": "Yes, I am still here with you.",
    "transcription-failed": "I can hear you very well, thank you.",
    "transcription-late": "Of course I know your name, Sam.",
    "double": "They call me the front office.",
}
FIVE = [
    ("Is it one?", "It is the first of five."),
    ("Was it two?", "No, we were second of all."),
    ("Why three?", "Because third comes after that."),
    ("Who is four?", "Fourth place went to somebody else."),
    ("And five?", "The fifth one has nobody left."),
]


async def opened(on: Place) -> dict[str, Coroutine[Any, Any, Held]]:
    """Sessions that are hard to open; in each call the model then ends it by a tool."""
    on.mind.answers(THANKS, Reply(FAREWELL, (ToolUse("end_call", {"reason": "done"}),)))
    scenes = {
        name: on.ring_into(fault, on.stays((THANKS, FAREWELL)), **options)
        for name, (fault, options, _) in OPENINGS.items()
    }
    return scenes


async def broken(on: Place) -> dict[str, Coroutine[Any, Any, Held]]:
    """Replies that fail, and turns that are heard badly."""
    scenes = {}
    for name, (question, fault, options, _) in BROKEN.items():
        on.mind.answers(question, ANSWERS[name])
        on.mind.fails_to_say(ANSWERS[name], fault, **options)
        scenes[name] = on.ring(on.talk((question, ANSWERS[name])))
    for name, (question, fault, options) in HEARD.items():
        on.mind.answers(question, REPLIES[name])
        if fault == "double-response":
            on.mind.fails_to_say(REPLIES[name], fault, **options)
        else:
            on.mind.fails_after(question, fault, **options)
        scenes[name] = on.ring(on.talk((question, REPLIES[name])))
    for at, (question, answer) in enumerate(FIVE):
        on.mind.answers(question, answer)
        scenes[f"five-{at}"] = on.ring(on.talk((question, answer)))
    for fault in ("unknown-events", "gibberish"):
        on.line.model.fail_next(fault, times=100)
    return scenes


LANES = {"opened": (opened, {}), "broken": (broken, {})}


@pytest.fixture(scope="module")
def held() -> Outcomes:
    return at_once(LANES)


@pytest.mark.parametrize("name", OPENINGS)
def test_the_greeting_comes_in_the_right_voice_however_the_session_is_opened(held, name):
    """What was seen of OpenAI: the greeting in its default voice, tools that never fire, traces that never appear."""
    call, cause = held(name), OPENINGS[name][2]
    assert call.heard[0] == GREETING
    assert call.heard[-1] == FAREWELL
    assert call.record["endReason"] == "agent-hung-up", "the model's tool has ended the call"
    accepted = call.sessions[-1]
    assert accepted.responses, "the session in which it was said"
    assert {response.voice for response in accepted.responses} == {VOICE}
    assert accepted.updates[0]["session"]["type"] == "realtime"
    assert accepted.updates[0]["session"]["tracing"]["workflow_name"] == "front office"
    assert [len(session.responses) for session in call.sessions[:-1]] == [0] * (len(call.sessions) - 1)
    assert not any(session.early for session in call.sessions), "nothing is sent to who is not ready"
    if cause:
        call.require_failure(cause, "opened again")
    call.require_live_line()


@pytest.mark.parametrize("name", BROKEN)
def test_who_is_not_answered_to_the_end_is_told_and_answered_then(held, name):
    call, (question, _, _, cause) = held(name), BROKEN[name]
    assert call.heard[0] == GREETING
    assert call.heard[-2:] == [APOLOGY, ANSWERS[name]]
    assert call.caller_words == [question, question]
    assert call.agent_words[-2:] == [APOLOGY, ANSWERS[name]]
    assert call.record["endReason"] == "caller-hung-up"
    call.require_failure(cause)
    call.require_live_line()


def test_static_is_hardly_heard_and_its_session_is_replaced(held):
    call = held("static")
    assert call.noise <= 0.3
    [told] = call.words("line-static")
    assert (told["hop"], told["direction"]) == ("model", "agent")
    call.require_failure("noise", "opened again")
    assert len(call.sessions) == 2
    assert call.agent_words == [GREETING, APOLOGY, ANSWERS["static"]]


@pytest.mark.parametrize("name", HEARD)
def test_what_the_caller_said_is_answered_and_written_down_in_order(held, name):
    call, (question, _, _) = held(name), HEARD[name]
    assert call.heard == [GREETING, REPLIES[name]]
    said = [("agent", GREETING), ("caller", question), ("agent", REPLIES[name])]
    assert call.lines == [line for line in said if name != "transcription-failed" or line[0] == "agent"]
    call.require_live_line()


def test_calls_at_the_same_time_are_not_mixed(held):
    for at, (question, answer) in enumerate(FIVE):
        call = held(f"five-{at}")
        assert call.heard == [GREETING, answer]
        assert call.lines == [("agent", GREETING), ("caller", question), ("agent", answer)]
        call.require_live_line()
