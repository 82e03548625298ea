"""The public surface is pinned: whoever changes it changes the snapshot with it, and the changelog.

After a change that is meant: `pytest tests/static/test_public_names.py --snapshot-update`.
"""

import ast
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

import openclaw_voicecall

pytestmark = pytest.mark.static

PACKAGE = Path(__file__).parents[2] / "openclaw_voicecall"


def api_modules() -> list[str]:
    return sorted(path.stem for path in (PACKAGE / "api").glob("*.py") if path.stem != "__init__")


def surface(source: str) -> dict[str, list[str]]:
    """Public names that a module defines itself, each with its public members and their arguments."""
    found: dict[str, list[str]] = {}
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name, body=body):
                found[name] = [entry for member in body if (entry := member_of(member))]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = [signature(node)]
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = []
    return {name: members for name, members in sorted(found.items()) if not name.startswith("_")}


def member_of(node: ast.stmt) -> str | None:
    match node:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
            text = f"{name}: {ast.unparse(annotation)}" + (f" = {ast.unparse(value)}" if value else "")
            return None if name.startswith("_") else text
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return None if name.startswith("_") else signature(node)
    return None


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{prefix}{node.name}({ast.unparse(node.args)}){returns}"


def test_the_package_exports_exactly_these_names() -> None:
    assert sorted(openclaw_voicecall.__all__) == ["__version__", "hookimpl"]


@pytest.mark.parametrize("module", api_modules())
def test_what_plugin_authors_import_has_not_changed(module: str, snapshot: SnapshotAssertion) -> None:
    assert surface((PACKAGE / "api" / f"{module}.py").read_text(encoding="utf-8")) == snapshot
