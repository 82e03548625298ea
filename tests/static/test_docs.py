"""The documentation repeats nothing that the sources do not say, and leaves nothing out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from openclaw_voicecall import hookspecs

pytestmark = pytest.mark.static

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def hook_names() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("voicecall_")]


def test_generated_parts_are_what_the_sources_say_and_none_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, ".ci/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", hook_names())
def test_every_hook_is_documented_with_its_signature(name: str) -> None:
    page = (DOCS / "hooks.md").read_text(encoding="utf-8")
    assert re.search(rf"^@hookspec(\(firstresult=True\))?\ndef {name}\(", page, re.MULTILINE)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:openclaw_voicecall|tests|docs|bench|\.ci)/[\w./-]+)`", page.read_text(encoding="utf-8")
    )
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_changelog_has_a_section_for_what_is_not_released_yet() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
