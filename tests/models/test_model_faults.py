"""Whatever a speech-to-speech model does on a call, the caller hears the right voice, or is told, and never nothing."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hearing import LONGEST_SILENCE, Outcomes, carrier_listens, first_heard
from model_faults_scenes import APOLOGY, GOODBYE, Held, Place, Scenes, Script, at_once, static
from model_line import GREETING, VOICE
from twilio_scenes import keys_heard

from openclaw_voicecall.media.tones import beep
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.emulators.twilio import Person
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.ports import free_port

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
    "static-greeting": ("static", {}, "noise"),
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


def opened(*names: str) -> Scenes:
    """Sessions that are hard to open; in each call the model then ends it by a tool."""

    async def scenes(on: Place) -> dict[str, Coroutine[Any, Any, Held]]:
        on.mind.answers(THANKS, Reply(FAREWELL, (ToolUse("end_call", {"reason": "done"}),)))
        faults = {name: OPENINGS[name][:2] for name in names}
        person = on.stays((THANKS, FAREWELL))
        return {name: on.ring_into(fault, person, **options) for name, (fault, options) in faults.items()}

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


async def busy(on: Place) -> dict[str, Coroutine[Any, Any, Held]]:
    """What else there is in calls: keys, commands, machines, interruptions, and a vendor that hears nothing."""

    async def later(scene: Coroutine[Any, Any, Held]) -> Held:
        await on.taken("expire")
        return await scene

    async def old() -> Held:
        await on.taken("quiet")
        on.line.model.fail_next("expire", seconds=5.0)
        return await on.ring(on.talk(*HOUR))

    on.mind.answers(DEAF[0], DEAF[1])
    on.mind.answers(LONG[0], STORY)
    on.mind.answers(LONG[1], ENOUGH)
    on.mind.fails_to_say(STORY, "late-deltas")
    on.mind.answers("", KEYS_HEARD)
    on.mind.answers(MENU, Reply("", (ToolUse("send_digits", {"digits": "5#"}),)))
    on.mind.answers(IT_IS_SAM, GOOD)
    for words, answer in HOUR:
        on.mind.answers(words, answer)
    return {
        "deaf": on.ring(on.talk(DEAF, arm="quiet")),
        "old": old(),
        "late-deltas": later(on.ring(interrupts(on))),
        "keys-in": later(on.ring(presses(on))),
        "keys-out": later(on.ring(in_menu(on))),
        "commands": later(commanded(on)),
        "notify": later(on.place(talks_into(on), message=MESSAGE, mode="notify")),
        "machine": later(on.place(machine(on), message=MESSAGE, mode="notify")),
        "caller-static": later(on.ring(noisy(on))),
    }


def interrupts(on: Place) -> Script:
    """Somebody who does not want to hear the story."""
    clips = [on.line.words(text) for text in LONG]
    on.line.will_say(STORY, ENOUGH)

    async def person(phone: Person) -> None:
        await first_heard(phone, on.line.agent, GREETING, since=0.0)
        await phone.say(clips[0])
        await phone.wait_for_sound()
        await phone.wait(0.4)
        await phone.say(clips[1])
        await first_heard(phone, on.line.agent, ENOUGH)
        await phone.wait(0.5)
        phone.hang_up()

    return person


def presses(on: Place) -> Script:
    """Somebody who presses keys instead of talking."""
    on.line.will_say(KEYS_HEARD)

    async def person(phone: Person) -> None:
        await first_heard(phone, on.line.agent, GREETING, since=0.0)
        await phone.press("12#")
        await first_heard(phone, on.line.agent, KEYS_HEARD, since=0.0)
        phone.hang_up()

    return person


def in_menu(on: Place) -> Script:
    """A telephone menu."""
    menu = on.line.words(MENU)

    async def person(phone: Person) -> None:
        await first_heard(phone, on.line.agent, GREETING, since=0.0)
        await phone.say(menu)
        await phone.wait(3.0)
        phone.hang_up()

    return person


def talks_into(on: Place) -> Script:
    """Somebody who asks something while the message is said."""
    clip = on.line.words(WHO)
    on.line.will_say(MESSAGE)

    async def person(phone: Person) -> None:
        await phone.wait_for_sound()
        await phone.say(clip)
        await phone.listen()

    return person


def machine(on: Place) -> Script:
    """An answering machine."""
    clip = on.line.words(ANNOUNCEMENT)
    on.line.will_say(MESSAGE)

    async def person(phone: Person) -> None:
        await phone.say(clip)
        await phone.wait(0.3)
        await phone.say(beep(500))
        await phone.listen()

    return person


def noisy(on: Place) -> Script:
    """Somebody whose carrier has the codec wrong."""

    async def person(phone: Person) -> None:
        await first_heard(phone, on.line.agent, GREETING, since=0.0)
        phone.sit_in(static)
        await phone.wait(6.0)
        phone.hang_up()

    return person


async def commanded(on: Place) -> Held:
    """A call that its owner leads by commands, beside the model."""
    sam = on.line.words(IT_IS_SAM)
    on.line.will_say(MESSAGE, SPOKEN, ASKED, GOOD, PARTING)

    async def person(phone: Person) -> None:
        await first_heard(phone, on.line.agent, ASKED, since=0.0)
        await phone.say(sam)
        await phone.listen()

    async def lead(call_id: str) -> None:
        while not (await on.client.get_call(call_id))["answeredAt"]:
            await asyncio.sleep(0.05)
        await on.client.speak(call_id, SPOKEN)
        answer = await on.client.continue_call(call_id, ASKED, timeout_ms=15000)
        assert answer["transcript"] == IT_IS_SAM
        while (await on.client.get_call(call_id))["transcript"][-1]["text"] != GOOD:
            await asyncio.sleep(0.1)
        await on.client.end_call(call_id, farewell=PARTING)

    return await on.place(person, lead=lead, message=MESSAGE)


async def owned(on: Place) -> dict[str, Coroutine[Any, Any, Held]]:
    """A call with a line that has to be said, and a last minute."""
    clip = on.line.words(WHO)
    on.mind.answers(WHO, Reply(NOBODY, delay=0.2))
    on.line.will_say(DISCLOSURE, NOBODY, WARNING)

    async def person(phone: Person) -> None:
        await phone.wait_for_sound()
        await phone.wait(0.3)
        await phone.say(clip)
        await first_heard(phone, on.line.agent, GREETING, since=0.0)
        await phone.say(clip)
        await phone.listen()

    async def disclosed() -> Held:
        async with on.opening:
            return await on.ring(person)

    async def patient(phone: Person) -> None:
        await carrier_listens(phone, on.line)
        phone.hang_up()

    return {"disclosed": disclosed(), "never-ready": on.ring_into("no-session-updated", patient, times=0)}


async def piped(on: Place) -> dict[str, Coroutine[Any, Any, Held]]:
    """A vendor that goes away in a call, and is not back for the next one; a pipeline takes over."""
    on.line.chat.replies.extend([NOON, NOON])
    on.mind.answers(TELL, STORY)
    on.mind.fails_to_say(STORY, "mid-sentence-close")
    on.mind.fails_to_say(STORY, "http-500", times=0)
    clips = {text: on.line.words(text) for text in (TELL, TIME)}
    on.line.agent.add(STORY, babble(STORY, seed=VOICE))

    async def loses(phone: Person) -> None:
        await first_heard(phone, on.line.agent, GREETING, since=0.0)
        await phone.say(clips[TELL])
        await phone.wait_for_sound()
        await phone.wait_for_agent(quiet=1.5)
        await phone.say(clips[TIME])
        await first_heard(phone, on.line.agent, NOON, since=0.0)
        phone.hang_up()

    async def never_has(phone: Person) -> None:
        await phone.wait_for_agent(quiet=1.0)
        await phone.say(clips[TIME])
        await first_heard(phone, on.line.agent, NOON, since=0.0)
        phone.hang_up()

    async def second() -> Held:
        await on.taken("http-500")
        return await on.ring(never_has)

    return {"piped": on.ring(loses), "piped-at-once": second()}


async def unknown(on: Place) -> dict[str, Coroutine[Any, Any, Held]]:
    """A model that is gone, and nobody else who could answer."""
    return {"retired": on.ring(None)}


async def unreachable(on: Place) -> dict[str, Coroutine[Any, Any, Held]]:
    """A vendor that is not there; the carrier can talk by turns, and a responder answers."""
    on.line.chat.replies.append(NOON)
    return {"dead": on.ring(by_turns(on))}


async def wrong_key(on: Place) -> dict[str, Coroutine[Any, Any, Held]]:
    """The same, for a key that is refused in the middle of a call."""
    on.line.chat.replies.append(NOON)
    on.mind.answers(TELL, STORY)
    on.mind.fails_to_say(STORY, "mid-sentence-close", code=1011)
    on.mind.fails_to_say(STORY, "http-401")
    return {"wrong-key": on.ring(by_turns(on, TELL))}


def by_turns(on: Place, first: str = "") -> Script:
    """Somebody who asks for the time once the carrier has taken over."""
    clips = [on.line.words(text) for text in (first, TIME) if text]
    on.line.will_say(STORY)

    async def person(phone: Person) -> None:
        if first:
            await first_heard(phone, on.line.agent, GREETING, since=0.0)
            await phone.say(clips[0])
        await carrier_listens(phone, on.line)
        await phone.wait_for_agent(quiet=1.8)
        await phone.say(clips[-1])
        await first_heard(phone, on.line.agent, NOON)
        phone.hang_up()

    return person


MESSAGE = "Your parcel is at the front office."
SPOKEN = "It is there until Friday."
ASKED = "Am I talking to Sam?"
IT_IS_SAM = "Yes, it is me, Sam."
GOOD = "Good to know, thank you."
PARTING = "Goodbye then, Sam."
WHO = "Who is calling me?"
NOBODY = "Nobody but a machine."
ANNOUNCEMENT = "You have reached Sam. Please leave a message after the tone."
MENU = "For the office press five."
KEYS_HEARD = "You pressed one and two."
DEAF = ("Does anybody hear me?", "Yes, I hear you now.")
LONG = ("Tell me a story, please.", "Stop, that is enough now.")
STORY = (
    "Once upon a time there was a telephone that nobody ever answered, although it rang all day and all night, and "
    "one day somebody came by who had never seen one before and did not know what it was for."
)
ENOUGH = "All right, no more stories."
HOUR = (("What day is it?", "It is a Monday in May."), ("And after that?", "Then comes a Tuesday."))
DISCLOSURE = "This is an AI assistant."
WARNING = "We have only a few seconds left."
TELL = "Tell me something."
TIME = "What is the time, please?"
NOON = "It is noon now."

LANES = {
    **{f"opened-{at}": (opened(*list(OPENINGS)[at::3]), {}) for at in range(3)},
    "broken": (broken, {}),
    "busy": (busy, {}),
    "owned": (
        owned,
        {
            "config": {
                "disclosure": DISCLOSURE,
                "maxDurationSeconds": 18,
                "limits": {"warnBeforeSeconds": 6},
                "phrases": {"durationWarning": WARNING},
            }
        },
    ),
    "unknown": (unknown, {"config": {"responseModel": None}, "openai": {"model": "gpt-4o-realtime-preview"}}),
    "unreachable": (unreachable, {"openai": {"baseUrl": f"http://127.0.0.1:{free_port()}/v1"}}),
    "wrong-key": (wrong_key, {}),
    "piped": (piped, {"pipeline": True}),
}


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
    if name != "static-greeting":
        assert not any(session.responses for session in call.sessions[:-1]), (
            "nobody speaks before it is set up"
        )
    if name == "static-greeting":
        assert call.noise <= 0.3
        assert [told["direction"] for told in call.words("line-static")] == ["agent"]
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


def test_a_caller_whom_the_model_does_not_hear_is_answered_by_the_next_session(held):
    call = held("deaf")
    assert call.lines == [("agent", GREETING), ("caller", DEAF[0]), ("agent", DEAF[1])]
    assert call.heard == [GREETING, DEAF[1]]
    call.require_failure("does not notice", "opened again")
    call.require_live_line()


def test_nobody_notices_that_a_session_is_over(held):
    call = held("old")
    said = [GREETING, *(answer for _, answer in HOUR)]
    assert call.heard == said
    assert call.agent_words == said
    assert len(call.sessions) == 2
    call.require_failure("session_expired", "opened again")
    call.require_live_line()


def test_what_comes_late_of_a_reply_that_was_cut_is_not_heard(held):
    call = held("late-deltas")
    assert "late-deltas" in call.line.model.taken
    greeting, story, enough = call.heard
    assert (greeting, enough) == (GREETING, ENOUGH)
    assert STORY.startswith(story)
    assert len(story) < len(STORY) / 2
    assert call.noise <= 0.1
    [cut] = [line for line in call.record["transcript"] if line["interrupted"]]
    assert STORY.startswith(cut["text"])
    call.require_live_line()


def test_keys_of_the_caller_are_told_to_the_model(held):
    call = held("keys-in")
    assert call.lines == [("agent", GREETING), ("caller", "[keys 12]"), ("agent", KEYS_HEARD)]
    assert call.heard == [GREETING, KEYS_HEARD]
    call.require_live_line()


def test_the_model_presses_keys(held):
    call = held("keys-out")
    assert keys_heard(bytes(call.call.line.heard)) == "5#"
    assert call.agent_words == [GREETING], "nothing is said to a menu"
    call.require_live_line()


def test_commands_work_beside_the_model(held):
    call = held("commands")
    assert call.heard == [MESSAGE, SPOKEN, ASKED, GOOD, PARTING]
    assert call.agent_words == call.heard
    assert call.record["endReason"] == "agent-hung-up"
    call.require_live_line()


def test_a_notification_is_said_to_its_end_and_answers_nobody(held):
    call = held("notify")
    assert call.heard == [MESSAGE]
    assert call.agent_words == [MESSAGE]
    assert call.record["endReason"] == "completed"
    [session] = call.sessions
    assert not any(response.why == "turn" for response in session.responses)
    assert session.config["audio"]["input"]["turn_detection"]["create_response"] is False


def test_a_machine_gets_the_message_after_its_beep(held):
    call = held("machine")
    assert call.record["endReason"] == "voicemail"
    beeped, _ = call.call.phone.said[1]
    after = [
        found for found in call.line.agent.read(bytes(call.call.line.heard)) if found.start > 8000 * beeped
    ]
    assert [(found.text, found.whole) for found in after] == [(MESSAGE, True)]


def test_noise_that_comes_instead_of_the_caller_is_named(held):
    call = held("caller-static")
    assert [(told["hop"], told["direction"]) for told in call.words("line-static")] == [("carrier", "caller")]
    assert call.record["endReason"] == "caller-hung-up"
    assert call.heard[0] == GREETING
    assert call.line.heard_wrong(call.call.line.heard) == []


def test_a_line_that_has_to_be_said_is_and_the_end_is_announced(held):
    call = held("disclosed")
    assert call.heard[:3] == [DISCLOSURE, GREETING, NOBODY]
    assert WARNING in call.heard
    assert call.record["endReason"] == "max-duration"
    call.require_live_line()


def test_who_can_be_answered_by_nobody_is_said_goodbye_to(held):
    call = held("retired")
    assert call.agent_words == [GOODBYE]
    assert call.record["endReason"] == "response-failed"
    assert len(bytes(call.call.line.heard).strip(b"\xff\x7f")) > 2 * 8000, "in the voice of this machine"
    call.require_failure("gpt-4o-realtime-preview", "given up")
    assert call.silence <= LONGEST_SILENCE
    assert "gpt-4o-realtime-preview" in call.line.service.stderr.partition("initiated")[0], (
        "a notice at the start"
    )


@pytest.mark.parametrize("name", ["dead", "wrong-key"])
def test_the_carrier_and_a_responder_go_on_when_no_model_is_left(held, name):
    call = held(name)
    assert call.heard[-1] == NOON
    assert call.agent_words[0] == GREETING, "by whomever"
    assert call.lines[-2:] == [("caller", TIME), ("agent", NOON)]
    assert any(verb.startswith("<Gather") for verb in call.call.verbs)
    call.require_failure({"dead": "Connect", "wrong-key": "401"}[name], "given up")
    assert [told["hop"] for told in call.words("takeover")] == ["model"]
    assert call.silence <= LONGEST_SILENCE


def test_a_pipeline_goes_on_in_the_same_call_when_no_model_is_left(held):
    call = held("piped")
    greeting, story, *others = call.lines
    assert (greeting, story) == (("agent", GREETING), ("caller", TELL))
    [cut, apology, asked, answer] = others
    assert STORY.startswith(cut[1])
    assert [apology, asked, answer] == [("agent", APOLOGY), ("caller", TIME), ("agent", NOON)]
    assert call.heard[-1] == NOON
    call.require_failure("500", "given up")
    call.require_live_line()


def test_a_pipeline_greets_where_no_model_can_be_reached(held):
    call = held("piped-at-once")
    assert call.lines == [("agent", GREETING), ("caller", TIME), ("agent", NOON)]
    assert call.heard[-1] == NOON
    call.require_live_line()


def test_a_vendor_that_sets_no_session_up_costs_neither_the_disclosure_nor_the_greeting(held):
    call = held("never-ready")
    assert call.agent_words[:2] == [DISCLOSURE, GREETING]
    call.require_failure("not ready in time", "given up")
    assert call.silence <= LONGEST_SILENCE
    voices = [entry["elapsed"] for entry in call.journal if entry["event"] == "first-audio"]
    assert voices[0] <= LONGEST_SILENCE, "a voice, not only a sound"
    assert call.line.heard_wrong(call.call.line.heard) == []
