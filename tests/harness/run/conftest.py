"""A backend as a third party ships it, and a folder to run experiments of it in."""

from __future__ import annotations

from pathlib import Path

import pytest

from .place import Place


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed distribution that offers the backend, as a third party would ship it."""
    site = tmp_path_factory.mktemp("site")
    (site / "steady_backend.py").write_text((Path(__file__).parents[1] / "steady.py").read_text())
    info = site / "steady_backend-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: steady-backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[harness.plugins]\nbackend.steady = steady_backend:Steady\n"
    )
    return site


@pytest.fixture
def place(tmp_path: Path, plugin: Path) -> Place:
    here = Place(tmp_path)
    here.environment = {"PYTHONPATH": str(plugin), "CUDA_VISIBLE_DEVICES": ""}
    return here
