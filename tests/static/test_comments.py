"""What must not stand in the sources."""

import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.static

ROOT = Path(__file__).parents[2]
BANNER = re.compile(r"#\s*([-=*#~_/+])\1{2,}|#.*([-=*#~])\2{4,}\s*$")
BARE_EXCUSE = re.compile(r"#\s*(?:type:\s*ignore(?:\[[^]]*\])?|noqa(?::\s*[A-Z0-9, ]*[A-Z0-9])?)\s*$")


def sources() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode == 0 and tracked.stdout:
        return [path for name in tracked.stdout.splitlines() if (path := ROOT / name).is_file()]
    folders = ("openclaw_voicecall", "tests", "bench", ".ci")
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def comments() -> Iterator[tuple[Path, int, str]]:
    for path in sources():
        with path.open("rb") as source:
            for token in tokenize.tokenize(source.readline):
                if token.type == tokenize.COMMENT:
                    yield path.relative_to(ROOT), token.start[0], token.string


def test_no_comment_is_a_banner() -> None:
    banners = [f"{path}:{line} {text}" for path, line, text in comments() if BANNER.search(text)]
    assert not banners, "\n".join(banners)


def test_every_switched_off_check_says_why_beside_it_or_in_the_comment_above() -> None:
    found = list(comments())
    places = {(path, line) for path, line, _ in found}
    bare = [
        f"{path}:{line} {text}"
        for path, line, text in found
        if BARE_EXCUSE.search(text) and (path, line - 1) not in places
    ]
    assert not bare, "\n".join(bare)


@pytest.mark.parametrize("text", ["# ---- helpers ----", "#####", "# ======", "# Section -----"])
def test_banners_are_recognised(text: str) -> None:
    assert BANNER.search(text)


@pytest.mark.parametrize(
    "text", ["# noqa", "# noqa: S101", "# type: ignore[attr-defined]", "# noqa: S101, PT018"]
)
def test_excuses_without_a_reason_are_recognised(text: str) -> None:
    assert BARE_EXCUSE.search(text)


@pytest.mark.parametrize("text", ["# one -- two", "# noqa: S101 set by open", "# a #hash and 0-9 * # A-D"])
def test_ordinary_comments_are_left_alone(text: str) -> None:
    assert not BANNER.search(text)
    assert not BARE_EXCUSE.search(text)
