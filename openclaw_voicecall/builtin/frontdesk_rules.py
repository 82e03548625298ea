"""The rules of the front desk: a list, read from the top, of what it recognises and what it says then.

A rule is a function from what was said to a reply, or to None if the rule is not about that. None of them does I/O,
and none of them claims to have understood what it only matched.
"""

import re
from datetime import timedelta
from typing import Final

from openclaw_voicecall.builtin import frontdesk_notes as notes
from openclaw_voicecall.builtin.frontdesk_talk import NO, YES, Reply, Rule, Said, Talk, comma_name, sentence
from openclaw_voicecall.builtin.frontdesk_words import name_in, say_date, say_digits, say_time

DISCLOSURE: Final = "By the way, I'm a demo without a language model: I follow a few simple rules."
"""Said once in a call, so that nobody takes the rules for a mind."""

ABILITIES: Final = (
    "I can tell you the time or the date, read back a number, remember your name, spell a word, take a message, "
    "and explain how this works."
)
_STORY: Final = (
    "I'm the demo that answers this phone line when no language model is set up. "
    "Your voice arrives here as small pieces of sound, fifty of them every second. "
    "One program notices when you begin to speak and when you stop. "
    "A second one turns your words into text, and I look for the words I know. "
    "Then a third one speaks my answer back to you. "
    "You can interrupt me at any time, and I stop talking at once."
)
_NOT_UNDERSTOOD: Final = (
    "I heard: {heard}. I have no rule for that. " + ABILITIES,
    "You said: {heard}. That is more than I can answer. Try asking what time it is, or give me a number.",
    "I got: {heard}. I'm afraid I can't help with that. I could take a message instead.",
    "I understood: {heard}. I don't know what to say to that. Ask me what I can do, or say goodbye to end the call.",
)
_LONGEST_QUOTE: Final = 14
"""Words. Reading more of it back would only try the caller's patience."""


def reply_to(said: Said) -> Reply:
    """The reply of the first rule that has one."""
    # A name may come with a question, so it is noted whatever the reply is about.
    if (given := name_in(said.text)) and said.has("my name"):
        said.talk.name = given
    for rule in RULES:
        if (reply := rule(said)) is not None:
            if rule is not _unknown:
                said.talk.misses = 0
            return reply
    raise AssertionError("the last rule always replies")


def _keys(said: Said) -> Reply | None:
    digits = said.request.digits
    if not digits:
        return None
    said.talk.number = re.sub(r"\D", "", digits)
    return Reply(f"You pressed {say_digits(digits)}.")


def _nothing(said: Said) -> Reply | None:
    if said.plain:
        return None
    return Reply("Sorry, I didn't catch that. Could you say it again?")


def _emergency(said: Said) -> Reply | None:
    if not said.has("emergency", "ambulance", "(?:call|dial) (?:the police|911|nine one one)"):
        return None
    return Reply("I can't help in an emergency. Please hang up and call the emergency services yourself.")


def _goodbye(said: Said) -> Reply | None:
    short = said.words <= _LONGEST_FAREWELL
    leaving = said.has(
        "goodbye", "good bye", "good by", "bye", "bye bye", "hang up", "see you", "talk to you later"
    )
    done = said.is_just(*_DONE) or (said.is_just(_NO_ALONE) and _asked_for_more(said.talk))
    if not (short and leaving) and not done:
        return None
    thanks = "Thank you for your time" if said.request.direction == "outbound" else "Thank you for calling"
    return Reply(f"{thanks}{comma_name(said.talk)}. Goodbye!", end=True)


def _stop(said: Said) -> Reply | None:
    if not said.is_just(_STOP):
        return None
    if said.interrupted:
        return Reply("Okay, I've stopped. Go ahead.")
    return Reply("Sure, take your time.")


def _go_on(said: Said) -> Reply | None:
    if not said.is_just(
        "go on", "continue", "please continue", "please go on", "carry on", "keep going", "and then"
    ):
        return None
    if not said.interrupted or not (rest := _unheard(said)):
        return Reply("I had said all I wanted to say. What would you like to know?")
    return Reply(f"As I was saying: {rest}")


def _repeat(said: Said) -> Reply | None:
    asked = said.has(
        "say that again", "say it again", "repeat", "come again", "what did you say", "once more"
    )
    if not asked and not said.is_just("what", "pardon", "pardon me", "sorry", "excuse me", "huh"):
        return None
    if not (last := said.talk.last_reply or said.last_heard):
        return Reply("I haven't said anything yet. Ask me what I can do.")
    return Reply(last)


def _time(said: Said) -> Reply | None:
    if said.has("what time", "the time", "time is it", "what's the time", "current time", "o'clock"):
        return Reply(f"It's {say_time(said.now)}.")
    return None


def _date(said: Said) -> Reply | None:
    if not said.has(
        "(?:what|which) (?:day|date|year|month)", "what's the date", "(?:the|today's) date", "day is it"
    ):
        return None
    if said.has("year"):
        return Reply(f"It's {said.now.year}.")
    if said.has("tomorrow"):
        return Reply(f"Tomorrow is {say_date(said.now + timedelta(days=1))}.")
    return Reply(f"Today is {say_date(said.now)}.")


def _purpose(said: Said) -> Reply | None:
    asked = said.has(
        "why (?:are|do|did) you call(?:ing)?", "what is this about", "what's this about", "purpose"
    )
    if not asked:
        return None
    if said.request.direction == "outbound" and said.request.objective:
        return Reply(f"I was asked to call you about this: {sentence(said.request.objective)}")
    return Reply("There is no special reason. This is a test of a phone line.")


def _who(said: Said) -> Reply | None:
    asked = said.has(
        "who are you", "your name", "who is (?:this|there|speaking|calling)", "who's (?:this|there|calling)"
    )
    human = said.has(
        "are you (?:a |an )?(?:real|human|robot|machine|bot|person|computer|ai)", "am i talking to"
    )
    if human:
        said.talk.disclosed = True
        return Reply("I'm a machine: a demo without a language model that follows a few simple rules.")
    if asked:
        said.talk.disclosed = True
        return Reply("I'm the front desk, a demo that answers by rules and has no language model behind it.")
    return None


def _person(said: Said) -> Reply | None:
    if not said.has(
        "(?:speak|talk) (?:to|with) (?:a|an|some|the)", "operator", "transfer me", "real person", "human"
    ):
        return None
    return Reply(
        "There is nobody I can put you through to, but I can take a message. Just say: take a message."
    )


def _explain(said: Said) -> Reply | None:
    asked = said.has(
        "about yourself", "how (?:does|do) (?:this|it|you) work", "how this works", "tell me more"
    )
    if not asked and not said.has("(?:a|long|longer) story", "explain", "tell me something"):
        return None
    said.talk.disclosed = True
    return Reply(_STORY)


def _help(said: Said) -> Reply | None:
    if not said.has(
        "help", "what can you do", "what do you do", "what can i (?:say|ask|do)", "options", "menu"
    ):
        return None
    return Reply(ABILITIES)


def _how_are_you(said: Said) -> Reply | None:
    if not said.has("how are you", "how do you do", "how's it going", "how are things"):
        return None
    return Reply(f"I'm working well, thank you{comma_name(said.talk)}. What can I do for you?")


def _thanks(said: Said) -> Reply | None:
    if not said.has("thank you", "thanks", "thank you very much"):
        return None
    return Reply(f"You're welcome{comma_name(said.talk)}. Anything else?")


def _can_you_hear(said: Said) -> Reply | None:
    if not said.has(
        "can you hear me", "do you hear me", "are you (?:still )?there", "anybody there", "anyone there"
    ):
        return None
    return Reply("Yes, I can hear you.")


def _greeting(said: Said) -> Reply | None:
    if not said.has("hello", "hi", "hey", "good morning", "good afternoon", "good evening"):
        return None
    if said.request.direction == "outbound" and said.request.objective:
        return Reply(f"Hello! I was asked to call you about this: {sentence(said.request.objective)}")
    return Reply(f"Hello{comma_name(said.talk)}! What can I do for you?")


def _yes_or_no(said: Said) -> Reply | None:
    if said.is_just(_YES_ALONE):
        return Reply("Good. What else can I do for you?")
    if said.is_just(_NO_ALONE):
        return Reply("All right. Then tell me what you would like instead.")
    return None


def _unknown(said: Said) -> Reply | None:
    words = said.text.rstrip(".!? ").split()
    heard = " ".join(words[:_LONGEST_QUOTE]) + (", and more" if len(words) > _LONGEST_QUOTE else "")
    reply = _NOT_UNDERSTOOD[said.talk.misses % len(_NOT_UNDERSTOOD)].format(heard=heard)
    said.talk.misses += 1
    return Reply(reply)


def _asked_for_more(talk: Talk) -> bool:
    return talk.last_reply.endswith("Anything else?")


def _unheard(said: Said) -> str:
    """What of the last reply the caller has not heard, from the start of the sentence that was broken off."""
    whole = said.talk.last_reply
    sentences = re.findall(r"[^.!?]+[.!?]+\s*", whole)
    heard = len(said.last_heard.split())
    position = 0
    for index, piece in enumerate(sentences):
        position += len(piece.split())
        if position > heard:
            return "".join(sentences[index:]).strip()
    return ""


_LONGEST_FAREWELL: Final = 9
"""Words. Who says more is telling something in which a goodbye occurs."""
_LONGEST_REQUEST: Final = 8
_YES_ALONE: Final = rf"(?:{'|'.join(YES)})(?: (?:please|it is|of course|{'|'.join(YES)}))*"
_NO_ALONE: Final = rf"(?:{'|'.join(NO)})(?: (?:no|nope|thanks|thank you|it isn't|it's not))*"
_DONE: Final = (
    r"(?:no )?(?:thanks |thank you )?(?:that's|that is|that was|that will be) (?:all|it|everything)(?: .{0,20})?",
    r"(?:no )?nothing else(?: .{0,20})?",
)
_STOP: Final = (
    r"(?:okay |please |hey )?(?:stop|wait|hold on|hang on|one moment|just a moment|shut up|be quiet)"
    r"(?: .{0,20})?"
)

RULES: Final[tuple[Rule, ...]] = (
    _keys,
    _nothing,
    _emergency,
    notes.never_mind,
    notes.confirmation,
    _stop,
    _repeat,
    notes.message,
    _goodbye,
    _go_on,
    notes.take_message,
    notes.read_message,
    notes.ask_name,
    notes.spell,
    notes.spelled,
    notes.number,
    _purpose,
    _time,
    _date,
    _who,
    _explain,
    _person,
    _help,
    notes.name,
    _how_are_you,
    _can_you_hear,
    _thanks,
    _greeting,
    _yes_or_no,
    _unknown,
)
"""From the special to the general; the order decides."""
