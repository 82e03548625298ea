"""Rules about what a caller wants kept: a message, a name, a number, a spelling."""

import re
from typing import Final

from openclaw_voicecall.builtin.frontdesk_talk import NO, NOT_RIGHT, YES, Reply, Said, comma_name, sentence
from openclaw_voicecall.builtin.frontdesk_words import (
    digits_in,
    letters_in,
    name_in,
    say_digits,
    say_letters,
)

_WORDS_OF_A_MESSAGE: Final = 4
"""More words than this after "take a message" are the message itself."""
_MESSAGE_AT_ONCE: Final = re.compile(
    r"\bmessage\b\W*(?:that |saying )?(?!for\b|to\b|please\b|from\b)(.*)", re.I | re.S
)


def never_mind(said: Said) -> Reply | None:
    """The caller gives up leaving a message."""
    if not said.talk.expecting or not said.has("never mind", "forget it", "cancel"):
        return None
    said.talk.expecting = said.talk.message = ""
    return Reply("All right, no message. Anything else?")


def confirmation(said: Said) -> Reply | None:
    """The caller says whether the message was heard right; anything else drops the question."""
    if said.talk.expecting != "confirmation":
        return None
    said.talk.expecting = ""
    wrong = said.has(*NOT_RIGHT)
    if not wrong and said.has(*YES):
        return Reply("Good. It stays in the record of this call. Anything else?")
    if wrong or said.has(*NO):
        said.talk.expecting = "message"
        return Reply("Let's try again. Please say your message.")
    return None


def message(said: Said) -> Reply | None:
    """This turn is the message."""
    if said.talk.expecting != "message" or said.is_just("goodbye", "good by", "bye"):
        return None
    return _read_back(said, said.text)


def take_message(said: Said) -> Reply | None:
    """The caller wants to leave a message, and may have said it at once."""
    if not said.has("(?:take|leave|give|pass on|have) (?:a |you a |me a |my |the |this )?message"):
        return None
    at_once = _MESSAGE_AT_ONCE.search(said.text)
    if at_once and len(at_once[1].split()) >= _WORDS_OF_A_MESSAGE:
        return _read_back(said, at_once[1].strip())
    said.talk.expecting = "message"
    return Reply(f"Of course{comma_name(said.talk)}. Please say your message now.")


def read_message(said: Said) -> Reply | None:
    """The caller asks for the message again."""
    if not said.has("my message", "the message"):
        return None
    if not said.talk.message:
        return Reply("I have no message from you yet. Say: take a message.")
    return Reply(f"Your message is: {sentence(said.talk.message)}")


def ask_name(said: Said) -> Reply | None:
    """The caller asks whether their name was remembered."""
    if not said.has("what(?:'s| is) my name", "who am i", "(?:know|remember) my name", "say my name"):
        return None
    if said.talk.name:
        return Reply(f"Your name is {said.talk.name}.")
    return Reply("You haven't told me your name yet. What is it?")


def name(said: Said) -> Reply | None:
    """The caller gives their name."""
    given = name_in(said.text)
    if not given:
        return None
    said.talk.name = given
    return Reply(f"Nice to meet you, {given}. What can I do for you?")


def spell(said: Said) -> Reply | None:
    """The caller wants a word spelled."""
    found = re.search(r"\bspell(?:ed)?\b(?: the| that| word| name| me)* ([a-z']+)", said.plain)
    if found is None and not said.has("spell"):
        return None
    word = found[1] if found else "it"
    if word in {"my", "it", "back"}:
        word = said.talk.name
    if not word:
        return Reply("Tell me your name first, then I can spell it.")
    return Reply(f"{word[0].upper()}{word[1:]} is spelled {say_letters(word)}.")


def spelled(said: Said) -> Reply | None:
    """The caller spells something."""
    letters = letters_in(said.text)
    if not letters:
        return None
    return Reply(f"I have the letters {say_letters(letters)}. Together that is {letters.capitalize()}.")


def number(said: Said) -> Reply | None:
    """The caller gives a number, or asks for it again."""
    digits = digits_in(said.text)
    about = said.has("number", "phone", "extension", "code", "pin", "reach me", "call me", "dial", "digits")
    if len(digits) >= (3 if about else 5) or (len(digits) >= 3 and said.words <= len(digits) + 3):
        said.talk.number = digits
        return Reply(f"I have {say_digits(digits)}. Is that right?")
    if not said.has(
        "what(?:'s| is) my number", "(?:my|the) number again", "repeat my number", "read (?:it|that) back"
    ):
        return None
    if said.talk.number:
        return Reply(f"Your number is {say_digits(said.talk.number)}.")
    return Reply("You haven't given me a number yet.")


def _read_back(said: Said, text: str) -> Reply:
    said.talk.message = text
    said.talk.expecting = "confirmation"
    return Reply(f"Your message is: {sentence(text)} Is that right?")
