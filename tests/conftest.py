"""For every test: neither how fast a busy machine is nor what ran before decides anything."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import settings

settings.register_profile("harness", deadline=None)
settings.load_profile("harness")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``HARNESS_TEST_ORDER=<seed>`` shuffles the files, and the tests in each."""
    if seed := os.environ.get("HARNESS_TEST_ORDER"):
        draw = random.Random(seed)
        files = {item.path: draw.random() for item in items}
        items.sort(key=lambda item: (files[item.path], draw.random()))
