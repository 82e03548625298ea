"""The built-in front desk: what it recognises, what it says, what it remembers."""

import re
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from openclaw_voicecall.api.responder import EndCall, Line, TextDelta, TurnRequest
from openclaw_voicecall.builtin import frontdesk
from openclaw_voicecall.builtin.frontdesk import FrontDesk, FrontDeskConfig
from openclaw_voicecall.builtin.frontdesk_rules import ABILITIES, DISCLOSURE
from openclaw_voicecall.builtin.frontdesk_words import digits_in, letters_in, name_in, say_digits

pytestmark = pytest.mark.unit


class StoppedClock:
    def __init__(self, *when):
        self._wall = datetime(*when, tzinfo=UTC).timestamp()

    def monotonic(self):
        return 0.0

    def wall(self):
        return self._wall


class Talk:
    """A call with the front desk; every reply is recorded as heard in full unless it is cut off."""

    def __init__(self, *when, direction="inbound", objective="", zone="UTC"):
        self.desk = FrontDesk(StoppedClock(*(when or (2026, 11, 21, 15, 5))), FrontDeskConfig(time_zone=zone))
        self.history = []
        self.ended = False
        self._turns = count(1)
        self._about = {"direction": direction, "objective": objective}

    def say(self, text="", digits="", cut_after=None):
        request = TurnRequest(
            call_id="call",
            turn=next(self._turns),
            text=text,
            digits=digits,
            history=tuple(self.history),
            **self._about,
        )
        events = drain(self.desk.respond(request))
        reply = "".join(event.text for event in events if isinstance(event, TextDelta))
        self.ended = any(isinstance(event, EndCall) for event in events)
        heard = reply if cut_after is None else " ".join(reply.split()[:cut_after])
        self.history += [Line("caller", text), Line("agent", heard, interrupted=cut_after is not None)]
        return reply.replace(f" {DISCLOSURE}", "")


def drain(events):
    """Everything an asynchronous generator gives that never waits."""
    found = []
    while True:
        try:
            events.__anext__().send(None)
        except StopIteration as result:
            found.append(result.value)
        except StopAsyncIteration:
            return found


def test_it_says_once_per_call_that_it_is_a_demo_without_a_language_model():
    talk = Talk()
    for text in ("Hello.", "What time is it?", "Tell me about yourself.", "How are you?"):
        talk.say(text)
    told = [line.text for line in talk.history if DISCLOSURE in line.text]
    assert told == [talk.history[1].text]


def test_it_does_not_repeat_what_the_greeting_said_about_it():
    talk = Talk()
    talk.history.append(Line("agent", "Hello, I'm a demo without a language model."))
    talk.say("Hello.")
    assert DISCLOSURE not in talk.history[-1].text


def test_another_call_is_told_again_and_knows_nothing_of_the_first():
    desk = FrontDesk(StoppedClock(2026, 1, 1), FrontDeskConfig())
    desk.answer(TurnRequest(call_id="a", turn=1, text="My name is Sam."))
    reply = desk.answer(TurnRequest(call_id="b", turn=1, text="What's my name?"))
    assert reply.text.startswith("You haven't told me your name")
    assert DISCLOSURE in reply.text


def test_it_forgets_old_calls_so_that_memory_stays_bounded():
    desk = FrontDesk(StoppedClock(2026, 1, 1), FrontDeskConfig())
    desk.answer(TurnRequest(call_id="first", turn=1, text="My name is Sam."))
    for number in range(1000):
        desk.answer(TurnRequest(call_id=str(number), turn=1, text="Hello."))
    assert len(desk._talks) == 1000
    assert "haven't told me" in desk.answer(TurnRequest(call_id="first", turn=2, text="What's my name?")).text


def test_it_speaks_word_by_word_and_loses_no_character():
    desk = FrontDesk(StoppedClock(2026, 1, 1), FrontDeskConfig())
    request = TurnRequest(call_id="call", turn=1, text="What can you do?")
    events = drain(desk.respond(request))
    assert "".join(event.text for event in events) == f"{ABILITIES} {DISCLOSURE}"
    assert all(len(event.text.split()) == 1 for event in events)


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("Hello.", "Hello! What can I do for you?"),
        ("Hi, good morning.", "Hello! What can I do for you?"),
        ("How are you today?", "I'm working well, thank you. What can I do for you?"),
        ("What can you do?", ABILITIES),
        ("I need help.", ABILITIES),
        ("What time is it?", "It's 3:05 PM."),
        ("Could you tell me the time, please?", "It's 3:05 PM."),
        ("What day is it today?", "Today is Saturday, November 21st."),
        ("What's the date tomorrow?", "Tomorrow is Sunday, November 22nd."),
        ("What year is it?", "It's 2026."),
        ("Can you hear me?", "Yes, I can hear you."),
        ("Thank you very much.", "You're welcome. Anything else?"),
        ("Yes.", "Good. What else can I do for you?"),
        ("No.", "All right. Then tell me what you would like instead."),
        ("Wait.", "Sure, take your time."),
        ("", "Sorry, I didn't catch that. Could you say it again?"),
        ("...", "Sorry, I didn't catch that. Could you say it again?"),
        ("My number is 555 0142.", "I have five five five, zero one four two. Is that right?"),
        ("It's five five five, oh one four two.", "I have five five five, zero one four two. Is that right?"),
        ("My PIN is 1 2 3 4.", "I have one two three four. Is that right?"),
        ("S-A-M", "I have the letters S, A, M. Together that is Sam."),
        ("How do you spell apple?", "Apple is spelled A, P, P, L, E."),
        ("What's my name?", "You haven't told me your name yet. What is it?"),
        ("Read my message.", "I have no message from you yet. Say: take a message."),
    ],
)
def test_a_caller_is_answered(said, reply):
    assert Talk().say(said) == reply


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("Who are you?", "demo that answers by rules"),
        ("What's your name?", "demo that answers by rules"),
        ("Are you a real person?", "machine"),
        ("Am I talking to a robot?", "machine"),
        ("Can I talk to a human?", "nobody I can put you through to"),
        ("There is an emergency, send an ambulance.", "can't help in an emergency"),
        ("Why are you calling?", "no special reason"),
    ],
)
def test_it_does_not_pretend(said, part):
    assert part in Talk().say(said)


@pytest.mark.parametrize(
    "said",
    [
        "Goodbye!",
        "Good-by.",
        "Okay, bye bye.",
        "You can hang up now.",
        "That's all, thanks.",
        "No, nothing else.",
    ],
)
def test_a_farewell_is_answered_and_ends_the_call(said):
    talk = Talk()
    assert talk.say(said).endswith("Goodbye!")
    assert talk.ended


def test_a_story_in_which_a_goodbye_occurs_does_not_end_the_call():
    talk = Talk()
    talk.say("I told my brother that I would never say goodbye to that old house of ours.")
    assert not talk.ended


def test_no_after_anything_else_ends_the_call():
    talk = Talk()
    assert talk.say("Thanks.").endswith("Anything else?")
    talk.say("No.")
    assert talk.ended


@pytest.mark.parametrize("text", ["Explain how this works.", "Tell me about yourself.", "Tell me a story."])
def test_it_can_talk_for_a_while_so_that_one_can_interrupt_it(text):
    assert 4 <= len(re.findall(r"[.!?]", Talk().say(text))) <= 6


def test_stop_after_an_interruption_is_acknowledged():
    talk = Talk()
    talk.say("Explain how this works.", cut_after=12)
    assert talk.say("Stop.") == "Okay, I've stopped. Go ahead."


def test_it_goes_on_from_the_sentence_in_which_it_was_interrupted():
    talk = Talk()
    story = talk.say("Explain how this works.", cut_after=20)
    sentences = re.findall(r"[^.]+\.", story)
    assert len(sentences[0].split()) < 20 < len((sentences[0] + sentences[1]).split())
    assert talk.say("Go on.") == "As I was saying: " + "".join(sentences[1:]).strip()


def test_it_repeats_its_last_words():
    talk = Talk()
    first = talk.say("What time is it?")
    assert talk.say("Can you say that again?") == first
    assert talk.say("Pardon?") == first


def test_a_name_is_remembered_and_used():
    talk = Talk()
    assert talk.say("My name is Sam Miller.").startswith("Nice to meet you, Sam Miller.")
    assert talk.say("Do you know my name?") == "Your name is Sam Miller."
    assert talk.say("Thanks.") == "You're welcome, Sam. Anything else?"
    assert talk.say("Spell my name.").startswith("Sam Miller is spelled S, A, M, M, I, L, L, E, R")
    assert talk.say("Goodbye.") == "Thank you for calling, Sam. Goodbye!"


def test_a_name_that_comes_with_a_question_is_remembered_too():
    talk = Talk()
    assert talk.say("My name is Sam, what time is it?") == "It's 3:05 PM."
    assert talk.say("What's my name?") == "Your name is Sam."


def test_a_number_is_remembered():
    talk = Talk()
    talk.say("You can reach me at 555-0142.")
    assert talk.say("What is my number?") == "Your number is five five five, zero one four two."


def test_a_message_is_taken_read_back_and_confirmed():
    talk = Talk()
    assert talk.say("I'd like to leave a message.") == "Of course. Please say your message now."
    assert (
        talk.say("Please bring the keys at 5")
        == "Your message is: Please bring the keys at 5. Is that right?"
    )
    assert talk.say("Yes, that's right.") == "Good. It stays in the record of this call. Anything else?"
    assert talk.say("What was my message?") == "Your message is: Please bring the keys at 5."


def test_a_message_heard_wrong_is_taken_again():
    talk = Talk()
    talk.say("Take a message.")
    talk.say("Ring the peas.")
    assert talk.say("No, that's not right.") == "Let's try again. Please say your message."
    assert talk.say("Bring the keys.") == "Your message is: Bring the keys. Is that right?"


def test_a_message_said_at_once_is_taken_at_once():
    talk = Talk()
    assert (
        talk.say("Take a message: the train comes an hour late.")
        == "Your message is: the train comes an hour late. Is that right?"
    )


def test_a_message_may_sound_like_a_question_and_may_be_given_up():
    talk = Talk()
    talk.say("Take a message.")
    assert talk.say("What time is it over there?").startswith("Your message is: What time")
    assert talk.say("Never mind.") == "All right, no message. Anything else?"
    assert talk.say("What time is it?") == "It's 3:05 PM."


def test_a_caller_may_hang_up_instead_of_leaving_a_message():
    talk = Talk()
    talk.say("Take a message.")
    talk.say("Goodbye.")
    assert talk.ended


def test_keys_are_read_back():
    assert Talk().say(digits="5550142#") == "You pressed five five five, zero one four, two pound."


def test_what_it_does_not_understand_it_repeats_and_varies_its_answer():
    talk = Talk()
    replies = [talk.say("Purple monkeys dance on Tuesdays.") for _ in range(4)]
    assert all("Purple monkeys dance on Tuesdays" in reply for reply in replies)
    assert len(set(replies)) == 4


def test_a_long_speech_is_not_read_back_in_full():
    reply = Talk().say("blah " * 60)
    assert reply.count("blah") == 14
    assert "and more" in reply


def test_on_an_outbound_call_it_says_what_it_calls_about():
    talk = Talk(direction="outbound", objective="confirm the appointment on Monday")
    assert talk.say("Hello?").endswith("about this: confirm the appointment on Monday.")
    assert talk.say("What is this about?").endswith("about this: confirm the appointment on Monday.")
    assert talk.say("Bye.") == "Thank you for your time. Goodbye!"


def test_the_time_is_that_of_the_configured_zone():
    assert Talk(zone="Europe/Berlin").say("What time is it?") == "It's 4:05 PM."
    with pytest.raises(ValidationError, match="there is no time zone"):
        FrontDeskConfig(time_zone="Mars/Olympus")


@pytest.mark.parametrize(
    ("when", "time", "date"),
    [
        ((2026, 1, 1, 0, 0), "12:00 AM", "Thursday, January 1st"),
        ((2026, 2, 2, 12, 30), "12:30 PM", "Monday, February 2nd"),
        ((2026, 3, 13, 9, 9), "9:09 AM", "Friday, March 13th"),
        ((2026, 12, 23, 23, 59), "11:59 PM", "Wednesday, December 23rd"),
    ],
)
def test_times_and_dates_are_said_the_usual_way(when, time, date):
    talk = Talk(*when)
    assert talk.say("What time is it?") == f"It's {time}."
    assert talk.say("What's the date?") == f"Today is {date}."


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("call 555 0142 now", "5550142"),
        ("double five five triple zero", "555000"),
        ("one two three", "123"),
        ("+1 (555) 010-0199", "15550100199"),
        ("no digits here", ""),
        ("I have 2 cats and 3 dogs", "2"),
    ],
)
def test_digits_are_found_as_figures_and_as_words(text, digits):
    assert digits_in(text) == digits


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My name is Sam.", "Sam"),
        ("my name is sam", "Sam"),
        ("Hi, this is Mary Ann, how are you?", "Mary Ann"),
        ("I'm Peter.", "Peter"),
        ("It's Monday.", ""),
        ("I'm fine.", ""),
        ("My name is not important.", ""),
        ("This is a test.", ""),
    ],
)
def test_names_are_found_and_other_words_are_not_taken_for_them(text, name):
    assert name_in(text) == name


def test_letters_need_to_be_spelled_to_be_found():
    assert letters_in("It is spelled J, O, N.") == "JON"
    assert letters_in("I have a plan") == ""


@pytest.mark.parametrize(
    ("digits", "spoken"),
    [
        ("1", "one"),
        ("12", "one two"),
        ("1234", "one two three four"),
        ("5550100", "five five five, zero one zero zero"),
        ("5550100199", "five five five, zero one zero, zero one nine nine"),
    ],
)
def test_digits_are_said_in_groups(digits, spoken):
    assert say_digits(digits) == spoken


@given(
    texts=st.lists(st.text(max_size=80), min_size=1, max_size=6),
    digits=st.text("0123456789*#ABCD", max_size=5),
)
def test_it_has_an_answer_to_anything(texts, digits):
    talk = Talk()
    for text in texts:
        assert talk.say(text).strip()
    assert talk.say(digits=digits).strip()


def test_the_plugin_registers_it_and_says_that_there_is_no_model():
    specs = []
    frontdesk.voicecall_register_responders(register=specs.append)
    assert [spec.name for spec in specs] == ["frontdesk"]
    assert "no language model" in specs[0].describe(specs[0].config())
