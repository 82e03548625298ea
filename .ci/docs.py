"""Writes what the documentation repeats of the sources: hook signatures, error codes, end reasons, settings.

A generated part stands between `<!-- generated: KIND NAME -->` and `<!-- end -->`. With `--check` nothing is written,
and the exit code is 1 when a part is missing or not what would be written.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from openclaw_voicecall import errors
from openclaw_voicecall.core.reasons import EndReason

ROOT = Path(__file__).parents[1]
HOOKSPECS = ROOT / "openclaw_voicecall" / "hookspecs.py"
PART = re.compile(r"(<!-- generated: (?P<kind>[\w-]+)(?: (?P<name>\w+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def signatures() -> dict[str, str]:
    """Every hook's exact signature as Python, with its marker."""
    found: dict[str, str] = {}
    for node in ast.parse(HOOKSPECS.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("voicecall_"):
            continue
        # Quoted annotations are quoted for Python's sake; readers do without.
        for annotation in (*(argument for argument in node.args.args), node):
            field = "returns" if isinstance(annotation, ast.FunctionDef) else "annotation"
            value = getattr(annotation, field)
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                setattr(annotation, field, ast.parse(value.value, mode="eval").body)
        returns = ast.unparse(node.returns) if node.returns else "None"
        marker = ast.unparse(node.decorator_list[0])
        found[node.name] = f"@{marker}\ndef {node.name}({ast.unparse(node.args)}) -> {returns}: ..."
    return found


def error_classes(
    base: type[errors.VoiceCallError] = errors.VoiceCallError,
) -> Iterator[type[errors.VoiceCallError]]:
    """Every error of this package, parents first."""
    yield base
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child)


def error_table() -> str:
    """One row per error: its code and what it means for programs."""
    rows = ["| code | error | HTTP | exit | again? | what it means |", "|---|---|---|---|---|---|"]
    for error in error_classes():
        meaning = " ".join((error.__doc__ or "").split("\n\n")[0].split())
        again = "yes" if error.retryable else ""
        rows.append(
            f"| `{error.code}` | `{error.__name__}` | {error.http_status} | {error.exit_code} | {again} | {meaning} |"
        )
    return "\n".join(rows)


def reason_table() -> str:
    """One row per end reason, with the word that OpenClaw's users know."""
    rows = ["| end reason | OpenClaw's state |", "|---|---|"]
    rows += [f"| `{reason}` | `{reason.to_openclaw()}` |" for reason in EndReason]
    return "\n".join(rows)


def generate(kind: str, name: str | None) -> str:
    """The text of one part. Raises `KeyError` for a kind or a hook that does not exist."""
    if kind == "hook":
        return f"```python\n{signatures()[name or '']}\n```"
    return {"errors": error_table, "end-reasons": reason_table}[kind]()


def renewed(text: str) -> str:
    """A page with its generated parts written anew."""
    return PART.sub(lambda part: f"{part[1]}{generate(part['kind'], part['name'])}\n{part[4]}", text)


def problems() -> list[str]:
    """What is not documented, or not as the sources have it."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
    found = [f"{path.name} is out of date" for path, text in pages.items() if renewed(text) != text]
    parts = {(part["kind"], part["name"]) for text in pages.values() for part in PART.finditer(text)}
    wanted = [("hook", name) for name in signatures()] + [("errors", None), ("end-reasons", None)]
    return found + [
        f"no page documents {kind} {name or ''}".rstrip()
        for kind, name in wanted
        if (kind, name) not in parts
    ]


def main(arguments: list[str]) -> int:
    """Check or write; return the exit code."""
    if "--check" in arguments:
        found = problems()
        print("\n".join([*found, "run: make docs"]) if found else "the documentation is up to date")
        return int(bool(found))
    for path in (ROOT / "docs").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        if renewed(text) != text:
            path.write_text(renewed(text), encoding="utf-8")
            print(f"wrote {path}")
    pages = [[sys.executable, "-m", f"openclaw_voicecall.{package}.docs"] for package in ("config", "cli")]
    written = subprocess.run(pages[1], cwd=ROOT, check=True, capture_output=True, text=True)
    (ROOT / "docs" / "cli.md").write_text(written.stdout, encoding="utf-8")
    return subprocess.run(pages[0], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
