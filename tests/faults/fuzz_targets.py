"""Every parser that is fuzzed, and every module that reads something and is not, with the reason."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import fuzz_agent
import fuzz_carriers
import fuzz_files
import fuzz_models
import fuzz_vendors
import fuzz_words

import openclaw_voicecall
from openclaw_voicecall.testing.fuzzing import Target

PACKAGE = Path(openclaw_voicecall.__file__).parent

TARGETS: dict[str, Target[Any]] = {
    target.name: target
    for target in (
        *fuzz_agent.TARGETS,
        *fuzz_carriers.TARGETS,
        *fuzz_vendors.TARGETS,
        *fuzz_files.TARGETS,
        *fuzz_models.TARGETS,
        *fuzz_words.TARGETS,
    )
}

_CONTRACT = "only says what a plugin has to have"
_CHECKED = "takes apart what the configuration has checked, or what this program wrote itself"
_OVER_SOCKETS = "is fuzzed over its sockets, in test_fuzz_doors.py"
_OWN_PIPE = "reads what another process of the same service writes into a pipe that nobody else has"
_BY_CONTRACT = "passes on what a target has read, or audio as it is; its contract tests hold the rest"

NOT_PARSERS: dict[str, str] = {
    "api.carrier": _CONTRACT,
    "api.numbers": _CONTRACT,
    "builtin.hours": _CHECKED,
    "builtin.notify": _CHECKED,
    "checks.numbers": _CHECKED,
    "checks.reach": "asks addresses of the owner's own; tests/e2e/test_doctor.py gives it wrong answers",
    "cli.settings_file": _CHECKED,
    "cli.trial": _CHECKED,
    "cli.tunnels": _CHECKED,
    "host.hermes.outcomes": "reads files that it wrote itself, in a folder of its owner's",
    "host.hermes.plugin": "passes the words of a command on",
    "host.openclaw.install": "runs a program of the owner's and reads what it prints",
    "host.stdio": "reads lines of the program that started the service and owns it",
    "observe.waveform": "draws a picture of a recording, by hand; api.wire and media.wav are targets",
    "providers._listening": _BY_CONTRACT,
    "providers.embedded.decoder": _OWN_PIPE,
    "providers.embedded.engine_process": _OWN_PIPE,
    "providers.embedded.moonshine": "reads the model's own list of words, which comes with a pinned package",
    "providers.embedded.programs": "reads WAV files of programs of this machine; media.wav is a target",
    "providers.embedded.silero": _BY_CONTRACT,
    "providers.embedded.synthesizer": _OWN_PIPE,
    "providers.embedded.transcriber": _BY_CONTRACT,
    "providers.embedded.voicing": _BY_CONTRACT,
    "providers.embedded.worker": _OWN_PIPE,
    "providers.local.phone.__main__": _OWN_PIPE,
    "providers.local.phone.job": _OWN_PIPE,
    "providers.local.phone.prompts": "reads a list that comes with the package",
    "providers.local.reporter": "a phone's side: reads answers of our own service",
    "providers._talking": _BY_CONTRACT,
    "providers.google.account": "asks for one model; its contract test gives it wrong answers",
    "providers.twilio.numbers": "asks for one number through the SDK; providers.twilio.rest is a target",
    "server.channel": _OWN_PIPE,
    "server.forwarded": _OVER_SOCKETS,
    "server.handover": _OWN_PIPE,
    "server.ownertoken": _OVER_SOCKETS,
    "server.reach": _CHECKED,
}
"""Modules that the rule below finds, by dotted name below the package, and why none of their input is fuzzed."""

READERS = ("parse", "read", "decode", "receive", "from_", "loads", "unpack", "understand", "import_")
"""How functions begin that read what comes from outside."""
CALLS = frozenset(
    {
        "loads", "parse_qsl", "parse_qs", "urlsplit", "urlparse", "b64decode", "a2b_base64", "unpack", "unpack_from",
        "frombuffer", "fromisoformat", "fromhex", "model_validate_json", "ip_address", "ip_network", "compose",
        "safe_load", "literal_eval", "unescape",
    }
)  # fmt: skip
"""Library functions by whose call a module shows that it reads."""


@cache
def reading_modules() -> dict[str, str]:
    """Modules that define or call something that reads, by dotted name below the package, and by what they show it."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if parts[0] == "testing":
            continue
        signs = sorted(set(_signs(ast.parse(path.read_text(encoding="utf-8")))))
        if signs:
            found[name] = ", ".join(signs)
    return found


def _signs(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _takes_input(node):
            yield f"def {node.name}"
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in CALLS:
                yield f"{called}()"


def _takes_input(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is called like a reader and takes text, bytes, or what JSON gives."""
    if not function.name.lstrip("_").startswith(READERS):
        return False
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    kinds = {ast.unparse(argument.annotation).strip("'\"") for argument in given if argument.annotation}
    return any(
        word in kind for kind in kinds for word in ("str", "bytes", "Any", "object", "Mapping", "dict")
    )


def fuzzed_modules() -> set[str]:
    """Dotted names below the package of all modules whose parsers a target feeds."""
    prefix = f"{openclaw_voicecall.__name__}."
    return {name.removeprefix(prefix) for target in TARGETS.values() for name in target.parsers}
