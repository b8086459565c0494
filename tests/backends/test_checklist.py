"""The checklist of the trainer names tests that exist, and all of its items."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
CHECKLIST = (HERE.parents[1] / "docs" / "trainer_checklist.md").read_text()


def test_every_test_that_the_checklist_names_exists() -> None:
    named = set(re.findall(r"`(\S+\.py)::(test_\w+)`", CHECKLIST))
    assert len(named) > 60
    for file, test in named:
        text = (HERE / file).read_text()  # of a module, or of a class that both trainers subclass
        assert re.search(rf"^(    )?def {test}\(", text, re.MULTILINE), f"{file}::{test}"


def test_no_item_is_left_out() -> None:
    numbers = [int(n) for n in re.findall(r"^\| (\d+) \|", CHECKLIST, re.MULTILINE)]
    assert numbers == list(range(1, 41))
    lines = [x for x in CHECKLIST.splitlines() if re.match(r"\| (?!-|#|what)", x)]
    for line in lines:
        assert "::test_" in line or "cannot apply" in line, line
