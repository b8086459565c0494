"""GPUs are handed out to trials as the surroundings name them, and never shared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.base.resources import Resources
from harness.errors import HarnessError
from harness.run.executors.local import LocalExecutor

from .place import TEXT, Place


def nvidia_smi(folder: Path) -> Path:
    """A folder with the nvidia-smi of a machine with four GPUs."""
    tools = folder / "bin"
    tools.mkdir()
    rows = "".join(f"echo '{i}, NVIDIA H200, 143771 MiB, GPU-{i}a-{i}b'\n" for i in range(4))
    (tools / "nvidia-smi").write_text(f"#!/bin/sh\n{rows}")
    (tools / "nvidia-smi").chmod(0o755)
    return tools


@pytest.mark.parametrize(
    ("visible", "free"),
    [
        ("GPU-3a,GPU-1a-1b", ["GPU-3a", "GPU-1a-1b"]),
        ("MIG-7-8, MIG-9-0", ["MIG-7-8", "MIG-9-0"]),
        ("2,0", ["2", "0"]),
        ("", [""]),
    ],
)
def test_gpus_are_handed_out_as_the_surroundings_name_them(
    visible: str, free: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{nvidia_smi(tmp_path)}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    executor = LocalExecutor(Resources(), workers=len(free))
    assert executor._free == free


def test_too_few_gpus_are_an_error_and_not_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{nvidia_smi(tmp_path)}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0a,GPU-1a")
    with pytest.raises(HarnessError, match=r"4 GPU.* offers 2"):
        LocalExecutor(Resources(processes=4))
    assert LocalExecutor(Resources(processes=4, device="cpu"), workers=1)._free == [""]


def test_gpus_are_handed_out_and_never_shared(place: Place, tmp_path: Path) -> None:
    """A machine with four GPUs by its nvidia-smi; two for each trial."""
    tools = nvidia_smi(tmp_path)
    text = TEXT.replace("workers: 2", "resources: {{processes: 2}}")
    place.write("test", text.replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    place.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    place.environment["CUDA_VISIBLE_DEVICES"] = "0,1,2,3"
    code, out, error = place.run(STEADY_SECONDS="0.1")
    assert code == 0, out + error
    assert "2 at a time" in out
    held: set[str] = set()
    for line in place.log.read_text().splitlines():
        what, _, _, gpus = line.split()
        if what == "begin":
            assert gpus not in held
            held.add(gpus)
            assert gpus in ("0,1", "2,3")
        else:
            held.remove(gpus)
