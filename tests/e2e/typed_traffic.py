"""Whether everything an emulated OpenAI was sent fits the typed parameters of the installed SDK, to the last key.

The parameters are typed dictionaries. Here they take no unknown key at any depth, turn no text into a number, and have
their lists read to the end, which pydantic by itself puts off.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from openai.types.live.client_event_param import ClientEventParam
from openai.types.live.connect_client_event_param import ConnectClientEventParam
from openai.types.live.session_accept_params import SessionAcceptParams
from openai.types.live.session_refer_params import SessionReferParams
from openai.types.live.session_reject_params import SessionRejectParams
from openai.types.realtime.call_accept_params import CallAcceptParams
from openai.types.realtime.call_refer_params import CallReferParams
from openai.types.realtime.call_reject_params import CallRejectParams
from openai.types.realtime.realtime_client_event_param import RealtimeClientEventParam
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import get_type_hints

from openclaw_voicecall.testing.emulators.gpt_live import GptLiveEmulator
from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator

VendorWithTypes = OpenAIVoiceEmulator | GptLiveEmulator
UNREADABLE = ("message", "binary message")
"""Where an emulator says that it refused what was no event at all, which is recorded nowhere else."""
REALTIME_BODIES = {"accept": CallAcceptParams, "reject": CallRejectParams, "refer": CallReferParams}
LIVE_BODIES = {"accept": SessionAcceptParams, "reject": SessionRejectParams, "refer": SessionReferParams}
SHOWN = 10


def require_typed(vendor: VendorWithTypes) -> None:
    """Raises `AssertionError` where anything that this emulator was sent is not of OpenAI's types."""
    problems = traffic_problems(vendor)
    assert not problems, f"{len(problems)} wrong messages, such as:\n" + "\n".join(problems[:SHOWN])


def traffic_problems(vendor: VendorWithTypes) -> list[str]:
    """What of all that an emulator was sent does not fit, a line for each message."""
    found = [f"{refusal.where}: {refusal.why}" for refusal in vendor.refusals if refusal.where in UNREADABLE]
    found += [f"{where}: {problem}" for where, problem in _of_sockets(vendor) if problem]
    return found + [f"{where}: {problem}" for where, problem in _of_calls(vendor) if problem]


def event_problem(union: Any, event: Any) -> str:
    """What of a message of a socket does not fit; empty when all of it does.

    Args:
        union: All messages that a client may send there.
        event: The message.
    """
    kind = event.get("type") if isinstance(event, dict) else None
    expected = _members(union).get(kind) if isinstance(kind, str) else None
    return f"there is no message {kind!r}" if expected is None else problem_of(expected, event)


def problem_of(expected: Any, value: Any) -> str:
    """What of a value does not fit a typed dictionary; empty when all of it does."""
    try:
        _read_to_the_end(_adapter(expected).validate_python([value]))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return "; ".join(
            f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}" for each in details
        )
    return ""


def _of_sockets(vendor: VendorWithTypes) -> Iterator[tuple[str, str]]:
    if isinstance(vendor, OpenAIVoiceEmulator):
        streams = [(RealtimeClientEventParam, session.received) for session in vendor.sessions]
    else:
        streams = [(ClientEventParam, session.events) for session in vendor.sessions]
        streams += [(ConnectClientEventParam, call.events) for call in vendor.sip.calls.values()]
    for number, (union, events) in enumerate(streams, 1):
        for place, event in enumerate(events, 1):
            name = event.get("type") if isinstance(event, dict) else event
            yield f"session {number}, message {place}, {name}", event_problem(union, event)


def _of_calls(vendor: VendorWithTypes) -> Iterator[tuple[str, str]]:
    if isinstance(vendor, OpenAIVoiceEmulator):
        calls, types = vendor.calls.all, REALTIME_BODIES
    else:
        calls, types = list(vendor.sip.calls.values()), LIVE_BODIES
    for call in calls:
        for action, body in call.bodies:
            if action in types:
                yield f"{action} of {call.id}", problem_of(types[action], body)
            else:
                yield f"{action} of {call.id}", f"it takes no body, and got {body}" if body else ""


@cache
def _members(union: Any) -> dict[str, Any]:
    """The messages of a union by their `type`."""
    return {name: each for each in get_args(union) for name in get_args(get_type_hints(each)["type"])}


@cache
def _adapter(expected: Any) -> TypeAdapter[Any]:
    # In a list, because a typed dictionary that stands alone does not take the settings.
    return TypeAdapter(list[expected], config=ConfigDict(extra="forbid", strict=True))


def _read_to_the_end(value: Any) -> None:
    """What is annotated as an iterable is checked when it is iterated over, and not before."""
    if isinstance(value, dict):
        for each in value.values():
            _read_to_the_end(each)
    elif isinstance(value, list | tuple) or type(value).__name__ == "ValidatorIterator":
        for each in value:
            _read_to_the_end(each)
