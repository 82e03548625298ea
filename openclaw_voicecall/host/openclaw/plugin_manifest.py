"""Writes the bridge's `openclaw.plugin.json` from the code: settings, secrets, tools and commands.

OpenClaw checks an owner's settings against the schema in it before the plugin sees them, and resolves references to
secrets at the paths it names. What is a valid setting is decided here in Python, where the message can say more; so
the schema tells names and types and forbids no key: owners also have keys of former days.
"""

from collections.abc import Iterator
from typing import Any, Final

from openclaw_voicecall import __version__
from openclaw_voicecall.config.schema import config_schema
from openclaw_voicecall.plugins import Registry

PLUGIN_ID: Final = "voice-call"
TOOL: Final = "voice_call"
COMMAND: Final = "voicecall"

_OWN_SETTINGS: Final = {
    "python": {
        "type": "string",
        "description": "Python interpreter that has openclaw-voicecall; the one that installed this plugin if not set.",
    },
    "prewarm": {
        "type": "boolean",
        "description": "Get the agent ready at start, so that its first turn on a call is as quick as later ones; "
        "true if not set.",
    },
}
"""Read by the bridge; the service never sees them."""


def plugin_manifest(registry: Registry) -> dict[str, Any]:
    """The manifest for the plugins in a registry."""
    schema = config_schema(registry.config_model())
    paths = sorted({".".join(path) for path in _secret_paths(schema, schema, ())})
    settings = _open(schema)
    settings["properties"] = {**settings["properties"], **_OWN_SETTINGS}
    settings.pop("$schema", None)
    return {
        "id": PLUGIN_ID,
        "name": "Voice Call",
        "description": "Phone calls for the agent, carried by openclaw-voicecall.",
        "version": __version__,
        "categories": ["voice"],
        "activation": {"onStartup": True, "onCommands": [COMMAND]},
        "contracts": {"tools": [TOOL]},
        "toolMetadata": {TOOL: {"sideEffecting": True, "profiles": ["messaging", "coding", "full"]}},
        "cliCommands": [
            {"name": COMMAND, "description": "Place and manage phone calls", "hasSubcommands": True}
        ],
        "skills": ["./skills"],
        "configSchema": settings,
        "configContracts": {
            "secretInputs": {"paths": [{"path": path, "expected": "string"} for path in paths]}
        },
    }


def _open(node: Any) -> Any:
    """The schema without its bans on other keys, and without defaults.

    OpenClaw would write defaults into what it hands over, and nobody could tell them from the owner's words.
    """
    if isinstance(node, list):
        return [_open(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _open(value)
        for key, value in node.items()
        if key != "default" and not (key == "additionalProperties" and value is False)
    }


def _secret_paths(node: Any, root: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where in the settings secrets stand; a map with names of the owner's choice is `*`."""
    if not isinstance(node, dict):
        return
    if reference := node.get("$ref"):
        name = str(reference).rpartition("/")[2]
        if name != "SecretReference":
            yield from _secret_paths(root["$defs"][name], root, path)
    if node.get("format") == "password":
        yield path
    for key, value in node.get("properties", {}).items():
        yield from _secret_paths(value, root, (*path, key))
    for word in ("anyOf", "allOf", "oneOf"):
        for part in node.get(word, ()):
            yield from _secret_paths(part, root, path)
    yield from _secret_paths(node.get("additionalProperties"), root, (*path, "*"))
