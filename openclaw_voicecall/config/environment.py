"""Settings from the environment: our own `VOICECALL_*`, and the names OpenClaw reads when a secret is missing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.problems import KeyPath, Problem, fold
from openclaw_voicecall.config.shapes import Shape, keys_of, nearest, shape_at, shape_of
from openclaw_voicecall.config.tree import MISSING, Tree, look_up, with_value
from openclaw_voicecall.errors import holds_secret

PREFIX = "VOICECALL_"
"""`VOICECALL_SERVE__PORT` is `serve.port`: two underscores go one level down."""

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")

_CARRIER_VARIABLES = {
    ("twilio", "accountSid"): "TWILIO_ACCOUNT_SID",
    ("twilio", "authToken"): "TWILIO_AUTH_TOKEN",
    ("telnyx", "apiKey"): "TELNYX_API_KEY",
    ("telnyx", "connectionId"): "TELNYX_CONNECTION_ID",
    ("telnyx", "publicKey"): "TELNYX_PUBLIC_KEY",
    ("plivo", "authId"): "PLIVO_AUTH_ID",
    ("plivo", "authToken"): "PLIVO_AUTH_TOKEN",
    ("openai-sip", "apiKey"): "OPENAI_API_KEY",
    ("openai-sip", "webhookSecret"): "OPENAI_WEBHOOK_SECRET",
}
_API_KEY_VARIABLES = {
    "openai": ("OPENAI_API_KEY",),
    "elevenlabs": ("ELEVENLABS_API_KEY", "XI_API_KEY"),
    "deepgram": ("DEEPGRAM_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "openrouter": ("OPENROUTER_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "ollama": ("OLLAMA_API_KEY",),
}
_VENDOR_GROUPS: tuple[tuple[str, ...], ...] = (
    ("streaming", "providers"),
    ("tts", "providers"),
    ("realtime", "providers"),
    ("responders",),
)


def child_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program that we start: without the variables that hold a secret of ours.

    What a program does not have it can neither show nor pass on.
    """
    return {name: value for name, value in env.items() if not holds_secret(value)}


@dataclass(slots=True)
class EnvironmentLayer:
    """What `VOICECALL_*` sets."""

    tree: Tree = field(default_factory=dict)
    given: dict[KeyPath, str] = field(default_factory=dict)
    """Variable by the folded path it sets."""
    notices: list[str] = field(default_factory=list)


def read_environment(
    env: Mapping[str, str], model: type[CamelModel], problems: list[Problem]
) -> EnvironmentLayer:
    """Read every `VOICECALL_*` variable that is not empty.

    Text is taken as it is; numbers, `true` and `false` as such; a list as JSON or with commas; a group as JSON. A
    name that is no setting gets a notice, because other programs may use the prefix too.
    """
    layer = EnvironmentLayer()
    for name in sorted(env):
        text = env[name]
        if not name.startswith(PREFIX) or not text.strip():
            continue
        path = _path_of(name, model, layer.notices)
        shape = shape_at(model, path) if path else None
        if shape is None:
            continue
        folded = fold(path)
        layer.given[folded] = name
        try:
            value = _value(text, shape)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
            continue
        layer.tree = with_value(layer.tree, [str(part) for part in path], value)
    return layer


def _path_of(name: str, model: type[CamelModel], notices: list[str]) -> KeyPath:
    path: list[str] = []
    group: type[CamelModel] | None = model
    words = name.removeprefix(PREFIX).split("__")
    for word in words:
        keys = keys_of(group) if group is not None else []
        key = next((key for key in keys if fold((key,)) == fold((word,))), None)
        if group is None or key is None:
            near = nearest(word, keys)
            hint = f'; did you mean "{near}"?' if near else "."
            notices.append(f"{name} is not a setting{hint}")
            return ()
        path.append(key)
        group = (shape_at(model, tuple(path)) or Shape()).model
    return tuple(path)


def _value(text: str, shape: Shape) -> Any:
    if shape.model is not None or shape.values is not None:
        return _json(text, dict, "a group of settings as JSON")
    if shape.items is not None:
        if text.lstrip().startswith("["):
            return _json(text, list, "a list as JSON")
        inner = shape_of(shape.items)
        return [_value(item.strip(), inner) for item in text.split(",") if item.strip()]
    if shape.text:
        return text
    word = text.strip().lower()
    if shape.boolean and word in (*_TRUE, *_FALSE):
        return word in _TRUE
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _json(text: str, wanted: type, name: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, wanted):
        raise ValueError(f"expected {name}")
    return value


def fill_from_openclaw_names(tree: Tree, model: type[CamelModel], env: Mapping[str, str]) -> Tree:
    """Set what is missing from the variables that OpenClaw reads.

    Only sections of vendors that the settings name are filled: a key in the environment alone configures none.
    """
    wanted: dict[tuple[str, ...], tuple[str, ...]] = {
        path: (variable,) for path, variable in _CARRIER_VARIABLES.items()
    }
    for group in _VENDOR_GROUPS:
        for vendor, variables in _API_KEY_VARIABLES.items():
            wanted[(*group, vendor, "apiKey")] = variables
    if look_up(tree, ("tunnel", "provider")) == "ngrok":
        wanted["tunnel", "ngrokAuthToken"] = ("NGROK_AUTHTOKEN",)
        wanted["tunnel", "ngrokDomain"] = ("NGROK_DOMAIN",)
    named = {group: _named(tree, group) for group in _VENDOR_GROUPS}
    for path, variables in wanted.items():
        section = look_up(tree, path[:-1])
        vendors = named.get(path[:-2], frozenset())
        wants = isinstance(section, dict) or (section is MISSING and path[-2] in vendors)
        if wants and shape_at(model, path) is not None:
            tree = _filled(tree, path, variables, env)
    if look_up(tree, ("provider",)) == "twilio":
        tree = _filled(tree, ("fromNumber",), ("TWILIO_FROM_NUMBER",), env)
    if state_dir := env.get("OPENCLAW_STATE_DIR"):
        tree = tree if "store" in tree else {**tree, "store": f"{state_dir.rstrip('/')}/voice-calls"}
    return tree


def _named(tree: Tree, group: tuple[str, ...]) -> frozenset[str]:
    """The vendors of a group that the settings call for by name, with or without a section of their own."""
    if group == ("responders",):
        models = [look_up(tree, ("responseModel",)), *_texts(look_up(tree, ("responseFallbacks",)))]
        return frozenset(model.partition("/")[0] for model in models if isinstance(model, str))
    names = [look_up(tree, (group[0], "provider")), *_texts(look_up(tree, (group[0], "fallbacks")))]
    return frozenset(name for name in names if isinstance(name, str))


def _texts(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _filled(tree: Tree, path: tuple[str, ...], variables: tuple[str, ...], env: Mapping[str, str]) -> Tree:
    if look_up(tree, path) is not MISSING:
        return tree
    value = next((env[name] for name in variables if env.get(name)), None)
    return tree if value is None else with_value(tree, path, value)
