"""One talk with a speech-to-speech model that is held on every kind of line, and what has to be true of it."""

from model_line import GREETING, ModelLine, lines

from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse

QUESTIONS = ("Who is at the office today?", "And who tomorrow?", "Stop, that is enough.", "Thank you, bye.")
LOOKING = ("Let me look.", "One moment.")
ANSWERS = (
    "Sam is here today.",
    "Tomorrow it is Ada, and then there is a very long story about the day after that.",
)
LISTENS = "All right, I am listening."
FAREWELL = "Goodbye, have a good day."
CONSULTS = ("Sam", "Ada")
REPLIES = (
    Reply(LOOKING[0], (ToolUse("ask_agent", {"question": "Who is at the office today?"}),)),
    Reply(ANSWERS[0]),
    Reply(LOOKING[1], (ToolUse("ask_agent", {"question": "Who is at the office tomorrow?"}),)),
    Reply(ANSWERS[1]),
    Reply(LISTENS),
    Reply(FAREWELL, (ToolUse("end_call", {"reason": "done"}),)),
)
SAID = (*LOOKING, *ANSWERS, LISTENS, FAREWELL)


def talking(line: ModelLine):
    """A person who asks twice, talks over the second answer, and says goodbye."""
    clips = [line.words(text) for text in QUESTIONS]
    line.will_say(*SAID)

    async def person(phone) -> None:
        await phone.wait_for_sound()
        await phone.wait_for_agent(quiet=0.5)
        await phone.say(clips[0])
        await phone.wait_for_agent(quiet=1.2)
        await phone.say(clips[1])
        await phone.wait_for_sound()
        await phone.wait(2.5)
        await phone.say(clips[2])
        await phone.wait_for_agent(quiet=1.0)
        await phone.say(clips[3])
        await phone.listen()

    return person


def check(line: ModelLine, record: dict, heard: bytes) -> None:
    """What the caller heard, what the record says, and what the model knows of it."""
    said = lines(record)
    assert [text for speaker, text in said if speaker == "caller"] == list(QUESTIONS)
    agent = [text for speaker, text in said if speaker == "agent"]
    assert agent[0] == GREETING
    assert agent[1] == f"{LOOKING[0]} {ANSWERS[0]}"
    assert agent[2].startswith(LOOKING[1])
    assert agent[2] != f"{LOOKING[1]} {ANSWERS[1]}"
    assert agent[3:] == [LISTENS, FAREWELL]
    [cut] = [entry for entry in record["transcript"] if entry["interrupted"]]
    assert cut["text"] == agent[2]
    assert record["endReason"] == "agent-hung-up"
    sounds = line.heard(heard)
    assert sounds[:3] == [GREETING, LOOKING[0], ANSWERS[0]]
    assert sounds[-2:] == [LISTENS, FAREWELL]
    assert line.heard_wrong(heard) == []
    assert line.chat.refusals == line.model.refusals == line.twilio.refusals == []
