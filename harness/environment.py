"""What a run ran on: versions, the state of the source, hardware. Recorded, never hashed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    *("rl-harness", "torch", "torchvision", "transformers", "deepspeed", "vllm", "mlflow"),
    *("optuna", "numpy", "scipy", "pyarrow", "math-verify", "pydantic"),
)


@cache
def versions() -> dict[str, str]:
    """Installed packages that can change a result, without importing one."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def git(diff: bool = False) -> dict[str, Any]:
    """The commit of the source that runs, whether it has changes, and (``diff``) what they are.

    Empty where the source is no checkout or git is not installed.
    """
    here = Path(__file__).parent

    def ask(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=20,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return {}
    status = ask("status", "--porcelain", "--untracked-files=no") or ""
    state: dict[str, Any] = {"commit": commit.strip(), "dirty": bool(status.strip())}
    if diff:
        state["diff"] = ask("diff", "HEAD") or ""
    return state


def gpus() -> list[dict[str, str]]:
    """The NVIDIA GPUs that this process may use: index, name, memory; from nvidia-smi.

    Where ``CUDA_VISIBLE_DEVICES`` is set, its entries in its order, each as ``index``: a number,
    the (shortened) UUID of a GPU, or that of a MIG slice, which nvidia-smi does not list here.
    """
    if not shutil.which("nvidia-smi"):
        return []
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=index,name,memory.total,uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
    rows = [row for row in rows if len(row) == 4]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [_gpu(index, name, memory) for index, name, memory, _ in rows]
    allowed: list[dict[str, str]] = []
    for entry in filter(None, map(str.strip, visible.split(","))):
        if entry.startswith("MIG-"):
            allowed.append(_gpu(entry, "MIG slice", "memory unknown"))
        allowed += [
            _gpu(entry, name, memory)
            for index, name, memory, uuid in rows
            if entry == index or (entry.startswith("GPU-") and uuid.startswith(entry))
        ]
    return allowed


def _gpu(index: str, name: str, memory: str) -> dict[str, str]:
    return {"index": index, "name": name, "memory": memory}


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """``environment.json`` of a run."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "versions": versions(),
        "git": git(diff=True),
        "platform": platform.platform(),
        "executable": sys.executable,
        "cpu": cpu(),
        "cores": cores(),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": gpus(),
    }


def short() -> dict[str, Any]:
    """What a result's manifest records of where it was made."""
    return {"versions": versions(), "git": git(), "cpu": cpu(), "gpus": [g["name"] for g in gpus()]}
