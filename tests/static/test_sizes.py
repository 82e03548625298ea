"""No file and no function grows beyond what fits into a head."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.static

PACKAGE = Path(__file__).parents[2] / "openclaw_voicecall"
MODULE_LINES = 500
FUNCTION_LINES = 60


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_module_is_longer_than_500_lines() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    long = [f"{path}: {size} lines" for path, size in sizes.items() if size > MODULE_LINES]
    assert not long, "\n".join(long)


def test_no_function_is_longer_than_60_lines() -> None:
    sizes = {
        f"{path}:{function.lineno} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in sources()
        for function in functions(path)
    }
    long = [f"{place}: {size} lines" for place, size in sizes.items() if size > FUNCTION_LINES]
    assert not long, "\n".join(long)
