"""Wire formats inside a vendor's folder do no I/O, wherever their imports lead."""

import fnmatch
from pathlib import Path

import grimp
import pytest

pytestmark = pytest.mark.static

PACKAGE = "openclaw_voicecall"
PURE = ("stream", "webhooks", "twiml", "*_protocol", "_signing", "_mediastreams")
FORBIDDEN = (
    "asyncio", "time", "random", "socket", "ssl", "threading", "subprocess", "aiohttp", "websockets",
    "twilio", "openai", "elevenlabs",
)  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        PACKAGE, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


def pure_modules() -> list[str]:
    root = Path(__file__).parents[2] / PACKAGE / "providers"
    found = [path for path in root.rglob("*.py") if any(fnmatch.fnmatch(path.stem, name) for name in PURE)]
    return sorted(
        ".".join((PACKAGE, "providers", *path.relative_to(root).with_suffix("").parts)) for path in found
    )


@pytest.mark.parametrize("module", pure_modules())
def test_a_wire_format_does_no_input_or_output(graph: grimp.ImportGraph, module: str) -> None:
    chains = [graph.find_shortest_chain(module, name) for name in FORBIDDEN if name in graph.modules]
    assert not [" -> ".join(chain) for chain in chains if chain]


def test_there_are_wire_formats_to_look_at() -> None:
    assert pure_modules()
