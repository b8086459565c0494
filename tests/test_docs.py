"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/*.md")]
_PATH = re.compile(
    r"`((?:harness|backends|benchmarks|experiments|tests|docs)/[\w./-]*(?:\.(?:py|md|yaml|json)|/))`"
)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_path_and_link_of_a_page_exists(page: Path) -> None:
    text = page.read_text()
    if page.name == "CHANGELOG.md":  # speaks of what was
        return
    assert {name for name in _PATH.findall(text) if not (ROOT / name).exists()} == set()
    assert {name for name in _LINK.findall(text) if not (page.parent / name).exists()} == set()
