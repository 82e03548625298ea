"""What a call would be taken and set up with, checked against the official SDK's types and our own rules.

OpenAI answers 200 to a body that it refuses later, on a call that then has no voice, so it is worth knowing before.
"""

from functools import cache
from typing import Any, Final

from openclaw_voicecall.api.realtime import RealtimeRequest
from openclaw_voicecall.errors import EngineMissing
from openclaw_voicecall.providers.openai.refusals import VENDOR
from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig
from openclaw_voicecall.providers.openai.voice_settings import (
    accept_tree,
    full_session,
    own_problems,
    voice_settings,
)

_SHOWN: Final = 5


def accept_problems(config: OpenAIVoiceConfig, request: RealtimeRequest) -> list[str]:
    """What OpenAI would not take of a call's set-up on its SIP endpoint, a phrase each with the name of the field.

    Raises:
        EngineMissing: The SDK is not installed.
    """
    try:
        from openai.types.realtime import session_update_event_param
        from openai.types.realtime.call_accept_params import CallAcceptParams
    except ModuleNotFoundError as error:
        raise EngineMissing(
            "OpenAI's SDK is not installed; install it with `pip install 'openclaw-voicecall[openai]'`",
            vendor=VENDOR,
            operation="check the set-up",
        ) from error
    settings = voice_settings(config, request, sip=True)
    update = {"type": "session.update", "session": full_session(settings)}
    found = own_problems(settings)
    if not found:  # else the SDK says the same again, in more words
        found += [f"accept: {problem}" for problem in sdk_problems(CallAcceptParams, accept_tree(settings))]
        expected = session_update_event_param.SessionUpdateEventParam
        found += [f"session.update: {problem}" for problem in sdk_problems(expected, update)]
    return found


def sdk_problems(expected: Any, value: Any) -> list[str]:
    """What of a value does not fit a typed dictionary of the SDK, where no key may be unknown."""
    from pydantic import ValidationError

    try:
        _validator(expected).validate_python(value, strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return [
            f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}" for detail in details[:_SHOWN]
        ]
    return []


@cache
def _validator(expected: Any) -> Any:
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    return SchemaValidator(_strict(TypeAdapter(expected).core_schema))


def _strict(schema: Any) -> Any:
    """A schema in which dictionaries have no unknown keys, and iterables are read at once."""
    if isinstance(schema, list | tuple):
        return type(schema)(_strict(each) for each in schema)
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(each) for key, each in schema.items()}
    if strict.get("type") == "typed-dict":
        strict["extra_behavior"] = "forbid"
    elif strict.get("type") == "generator":
        strict["type"] = "list"
    return strict
