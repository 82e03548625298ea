"""What OpenAI's API demands of a chat completion request, and how it says no.

Parameters and their types are those of the OpenAI SDK, types/chat/completion_create_params.py; the wording of the
errors is what the API answers in the world.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

NULLABLE = frozenset(
    {
        "audio", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "metadata",
        "modalities", "moderation", "n", "prediction", "presence_penalty", "prompt_cache_retention",
        "reasoning_effort", "seed", "service_tier", "stop", "store", "stream", "stream_options", "temperature",
        "top_logprobs", "top_p", "verbosity",
    }
)  # fmt: skip
NOT_NULLABLE = frozenset(
    {
        "function_call", "functions", "messages", "model", "parallel_tool_calls", "prompt_cache_key",
        "prompt_cache_options", "response_format", "safety_identifier", "tool_choice", "tools", "user",
        "web_search_options",
    }
)  # fmt: skip
TYPES: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "max_completion_tokens": (int, "an integer"),
    "max_tokens": (int, "an integer"),
    "messages": (list, "an array of objects"),
    "model": (str, "a string"),
    "parallel_tool_calls": (bool, "a boolean"),
    "reasoning_effort": (str, "a string"),
    "response_format": (dict, "an object"),
    "seed": (int, "an integer"),
    "stop": ((str, list), "a string or an array of strings"),
    "stream": (bool, "a boolean"),
    "stream_options": (dict, "an object"),
    "temperature": ((int, float), "a decimal"),
    "tools": (list, "an array of objects"),
    "top_p": ((int, float), "a decimal"),
    "user": (str, "a string"),
}
NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
ROLES = ("system", "assistant", "user", "function", "tool", "developer")
MESSAGE_KEYS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "function_call"}
)
REASONING = re.compile(r"o\d|gpt-5")
"""Models that know `max_completion_tokens` only."""
FIXED_TEMPERATURE = re.compile(r"o\d|gpt-5(-mini|-nano)?(-\d{4}-|$)")
WITHOUT_REASONING = re.compile(r"gpt-(3|4)")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error object of OpenAI's API."""

    message: str
    param: str | None = None
    code: str | None = None
    status: int = 400
    type: str = "invalid_request_error"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """Such as `{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}`."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def response(self) -> web.Response:
        """The HTTP answer."""
        return web.json_response(self.body, status=self.status, headers=dict(self.headers))


INVALID_KEY = Problem("Incorrect API key provided: ****.", code="invalid_api_key", status=401)
SERVER_ERROR = Problem(
    "The server had an error while processing your request. Sorry about that!",
    status=500,
    type="server_error",
)
NO_JSON = Problem("We could not parse the JSON body of your request. The API expects a JSON payload.")


def rate_limited(seconds: float) -> Problem:
    """Too many requests; `Retry-After` says when to come back."""
    return Problem(
        f"Rate limit reached. Please try again in {seconds:g}s.",
        code="rate_limit_exceeded",
        status=429,
        type="requests",
        headers={"Retry-After": f"{seconds:g}"},
    )


def unknown_model(model: str) -> Problem:
    """No such model, or not for this account."""
    return Problem(
        f"The model `{model}` does not exist or you do not have access to it.",
        code="model_not_found",
        status=404,
    )


def key_problem(request: web.Request, key: str) -> Problem | None:
    """What is wrong with the `Authorization` header; never the key itself."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not given:
        return Problem("You didn't provide an API key in an Authorization header of type Bearer.", status=401)
    return None if given == key else INVALID_KEY


async def read_json(request: web.Request) -> dict[str, Any] | Problem:
    """The JSON object a request carries."""
    if request.content_type != "application/json":
        return Problem(
            f"Invalid Content-Type header ({request.content_type}), expected application/json.", status=415
        )
    try:
        body = await request.json()
    except ValueError:
        return NO_JSON
    return body if isinstance(body, dict) else NO_JSON


def chat_problem(body: Mapping[str, Any], models: Collection[str]) -> Problem | None:
    """The first thing that is wrong with the body of a chat completion request; None when it is in order."""
    return next(_problems(body, models), None)


def _problems(body: Mapping[str, Any], models: Collection[str]) -> Iterator[Problem]:
    if unknown := sorted(set(body) - NULLABLE - NOT_NULLABLE):
        plural = "s" if len(unknown) > 1 else ""
        yield Problem(f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}")
    if "model" not in body:
        yield Problem("you must provide a model parameter")
    if "messages" not in body:
        yield _missing("messages")
    yield from _types(body)
    yield from _messages(body["messages"])
    yield from _tools(body)
    yield from _limits(body)
    if body["model"] not in models:
        yield unknown_model(body["model"])


def _types(body: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in body.items():
        if value is None and name in NULLABLE:
            continue
        kinds, said = TYPES.get(name, (object, "a value"))
        # True is an int to Python, and nothing but a boolean to JSON.
        wrong_boolean = isinstance(value, bool) and kinds not in (bool, object)
        if value is None or wrong_boolean or not isinstance(value, kinds):
            got = "null" if value is None else NAMES.get(type(value), "something else")
            yield Problem(
                f"Invalid type for '{name}': expected {said}, but got {got} instead.", name, "invalid_type"
            )
    if body.get("messages") == []:
        yield Problem(
            "Invalid 'messages': empty array. Expected a minimum length 1.", "messages", "empty_array"
        )


def _messages(messages: list[Any]) -> Iterator[Problem]:
    waiting: list[str] = []
    for at, message in enumerate(messages):
        where = f"messages[{at}]"
        if not isinstance(message, dict):
            yield Problem(f"Invalid type for '{where}': expected an object.", where, "invalid_type")
            return
        yield from _message(where, message)
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                yield Problem(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
                    " 'tool_calls'.",
                    f"messages.[{at}].role",
                )
                return
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            yield _unanswered(waiting, at)
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    if waiting:
        yield _unanswered(waiting, len(messages) - 1)


def _message(where: str, message: Mapping[str, Any]) -> Iterator[Problem]:
    role, content = message.get("role"), message.get("content")
    if role is None:
        yield _missing(f"{where}.role")
    if role not in ROLES:
        said = ", ".join(f"'{name}'" for name in ROLES[:-1])
        yield Problem(
            f"Invalid value: '{role}'. Supported values are: {said}, and '{ROLES[-1]}'.",
            f"{where}.role",
            "invalid_value",
        )
    for name in message.keys() - MESSAGE_KEYS:
        yield Problem(f"Unknown parameter: '{where}.{name}'.", f"{where}.{name}", "unknown_parameter")
    if content is None and not (role == "assistant" and message.get("tool_calls")):
        yield Problem(
            f"Invalid value for 'content': expected a string, got null. ({where})", f"{where}.content"
        )
    parts = content if isinstance(content, list) else []
    if not isinstance(content, str | list | None) or not all(map(_is_part, parts)):
        yield Problem(f"Invalid type for '{where}.content'.", f"{where}.content", "invalid_type")
    if "tool_calls" in message and (role != "assistant" or not message["tool_calls"]):
        yield Problem(f"Invalid '{where}.tool_calls'.", f"{where}.tool_calls", "empty_array")
    for call in message.get("tool_calls") or ():
        if not _is_call(call):
            yield Problem(
                f"Invalid '{where}.tool_calls': id, type and function needed.", f"{where}.tool_calls"
            )
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        yield Problem(
            "Missing parameter 'tool_call_id': messages with role 'tool' must have a 'tool_call_id'.",
            f"{where}.tool_call_id",
        )


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("type"), str)


def _is_call(call: Any) -> bool:
    if not isinstance(call, dict) or call.get("type") != "function" or not isinstance(call.get("id"), str):
        return False
    function = call.get("function")
    return isinstance(function, dict) and all(
        isinstance(function.get(key), str) for key in ("name", "arguments")
    )


def _unanswered(ids: list[str], at: int) -> Problem:
    return Problem(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
        f" The following tool_call_ids did not have response messages: {', '.join(ids)}",
        f"messages.[{at}].role",
    )


def _tools(body: Mapping[str, Any]) -> Iterator[Problem]:
    tools = body.get("tools")
    if tools == []:
        yield Problem("Invalid 'tools': empty array. Expected a minimum length 1.", "tools", "empty_array")
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and not tools:
            yield Problem(f"'{name}' is only allowed when 'tools' are specified.", name)
    for at, tool in enumerate(tools or ()):
        where = f"tools[{at}]"
        if not isinstance(tool, dict) or tool.get("type") != "function":
            yield Problem(
                f"Invalid value for '{where}.type'. Supported values are: 'function'.", where, "invalid_value"
            )
            return
        if "function" not in tool:
            yield _missing(f"{where}.function")
            return
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(tool["function"].get("name", ""))):
            yield Problem(f"Invalid '{where}.function.name'.", f"{where}.function.name", "invalid_value")
        for name in tool.keys() - {"type", "function"}:
            yield Problem(f"Unknown parameter: '{where}.{name}'.", f"{where}.{name}", "unknown_parameter")
        for name in tool["function"].keys() - {"name", "description", "parameters", "strict"}:
            place = f"{where}.function.{name}"
            yield Problem(f"Unknown parameter: '{place}'.", place, "unknown_parameter")


def _limits(body: Mapping[str, Any]) -> Iterator[Problem]:
    model = body["model"]
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        yield Problem(message, "stream_options")
    if body.get("max_tokens") is not None and REASONING.match(model):
        yield Problem(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'"
            " instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    for name in ("max_tokens", "max_completion_tokens"):
        if (body.get(name) or 1) < 1 or body.get(name) == 0:
            yield Problem(
                f"Invalid '{name}': integer below minimum value 1.", name, "integer_below_min_value"
            )
    temperature = body.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        yield Problem(
            "Invalid 'temperature': Expected a value from 0 to 2.", "temperature", "decimal_out_of_range"
        )
    if temperature not in (None, 1) and FIXED_TEMPERATURE.match(model):
        yield Problem(
            f"Unsupported value: 'temperature' does not support {temperature} with this model. Only the default (1)"
            " value is supported.",
            "temperature",
            "unsupported_value",
        )
    effort = body.get("reasoning_effort")
    if effort is not None and WITHOUT_REASONING.match(model):
        yield Problem("Unrecognized request argument supplied: reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        said = ", ".join(f"'{name}'" for name in EFFORTS)
        message = f"Invalid value: '{effort}'. Supported values are: {said}."
        yield Problem(message, "reasoning_effort", "invalid_value")


def _missing(name: str) -> Problem:
    return Problem(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
