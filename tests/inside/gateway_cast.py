"""Who takes part in what happens in a real OpenClaw: the phones that are called, and the model of its agent."""

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from openclaw_voicecall.testing.emulators.chat import Reply

MAIN = "agent:main:main"
ASKED_BY_COMMAND, ASKED_BY_AGENT, INTERRUPTER, UNLUCKY, VICTIM = (f"+1555000100{digit}" for digit in range(5))
OPENING = "Hello, this is the assistant of Ada Byron. Do you have a minute?"
ORDER = "Please ring Sam for me."
WHO = "I am the assistant of Ada Byron."
DAY = "It is Monday."
LONG = " ".join(
    f"I can do thing number {name} for you, whenever you like."
    for name in ("one", "two", "three", "four", "five", "six")
)
TOKEN_DELAY = 0.06
"""Seconds: the long answer is still being written while its beginning is heard."""

PHONES = {
    "asks": """
name: asks
ring: 0.1
steps:
  - wait: agent
    timeout: 120
  - say: "Sorry, wait a moment. Which day is it?"
linger: 60
""",
    "talks": """
name: talks
ring: 0.1
steps:
  - wait: agent
    timeout: 120
  - say: "Yes, this is Sam. Who is calling?"
  - wait: agent
    timeout: 30
  - say: "What time is it, please?"
  - wait: agent
    timeout: 30
  - hang_up
""",
    "interrupts": """
name: interrupts
ring: 0.1
steps:
  - wait: agent
    timeout: 120
  - say: "Can you explain what you can do for me?"
  - interrupt:
      after_ms: 2000
      timeout: 60
      say: "Sorry, wait a moment. Which day is it?"
  - wait: agent
    timeout: 30
  - hang_up
""",
    "unlucky": """
name: unlucky
ring: 0.1
steps:
  - wait: agent
    timeout: 120
  - say: "My phone number is two four six, zero one three nine."
linger: 60
""",
    "listens": """
name: listens
ring: 0.1
linger: 60
""",
}

Message = dict[str, Any]


def text_of(message: Message) -> str:
    """The words of a message, which may come in parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


class Model:
    """What OpenClaw's agent thinks, by what it was last told; and all that it was told."""

    def __init__(self) -> None:
        self.asked: list[list[Message]] = []

    def __call__(self, messages: list[Message], body: Mapping[str, Any]) -> Reply:
        self.asked.append(messages)
        on_the_phone = re.search(r"this call has the id ([\w-]+)", text_of(messages[0]))
        if results := tool_results(messages):
            state = re.search(r'"state":"([\w-]+)"', results[-1])
            return f"The line is {state[1]}." if on_the_phone and state else "It rings."
        if on_the_phone:
            return _on_the_phone(news(messages).lower(), on_the_phone[1])
        if ORDER in news(messages):
            order = {"to": ASKED_BY_AGENT, "message": OPENING, "mode": "conversation"}
            return _voice_call("initiate_call", **order)
        return "Noted."

    def turns_of(self, call_id: str) -> list[list[Message]]:
        """The requests that were made on a call."""
        return [asked for asked in self.asked if f"this call has the id {call_id}" in text_of(asked[0])]

    def find(self, *words: str) -> list[Message] | None:
        """The first request with all these words in what was new to it."""
        return next((asked for asked in self.asked if all(word in news(asked) for word in words)), None)


def tool_results(messages: list[Message]) -> list[str]:
    """What the tools said that the model has just called."""
    return [text_of(message) for message in _since_own(messages) if message["role"] == "tool"]


def news(messages: list[Message]) -> str:
    """What the model had not been told before: everything after its own last words."""
    return "\n".join(map(text_of, _since_own(messages)))


def _since_own(messages: list[Message]) -> list[Message]:
    own = max((at for at, message in enumerate(messages) if message["role"] == "assistant"), default=0)
    return messages[own + 1 :]


def _on_the_phone(words: str, call_id: str) -> Reply:
    # What the agent was interrupted in comes along with what was said instead, so the last question counts.
    known = [
        question
        for question in ("can you explain", "which day", "phone number", "what time")
        if question in words
    ]
    match max(known, key=words.rfind, default=""):
        case "can you explain":
            return LONG
        case "which day":
            return DAY
        case "phone number":
            raise web.HTTPInternalServerError
        case "what time":
            return _voice_call("get_status", callId=call_id)
    return WHO


def _voice_call(action: str, **arguments: str) -> Reply:
    return {"tool_calls": [{"name": "voice_call", "arguments": {"action": action, **arguments}}]}
