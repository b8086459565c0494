"""Fabricates a run folder with known effects, in the layout that the runner writes.

Every arm has a true accuracy and a spread over seeds; items have a difficulty that all arms share
and clusters share part of it, so paired and clustered statistics have something to find.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BENCHMARKS = {
    "mathvista": ("MathVista (tiny)", "mathvista/accuracy", 300, 1),
    "wemath": ("We-Math (tiny)", "wemath/accuracy", 240, 3),
    "mathverse": ("MathVerse (tiny)", "mathverse/accuracy", 300, 5),
}
#: arm: (method, true accuracy, sd over seeds)
ARMS = {
    "base": ("none", 0.55, 0.0),
    "mm_upt": ("mm_upt", 0.75, 0.02),
    "grpo": ("grpo", 0.80, 0.01),
    "sft": ("sft", 0.40, 0.03),
    "no_thinking": ("no_thinking", 0.56, 0.02),
}
SEEDS = (0, 1, 2)
SWEEP = {
    "of": "mm_upt",
    "axes": {"group_size": [4, 8, 16], "synthetic_ratio": [0.0, 0.5, 1.0]},
    "default": {"group_size": 8, "synthetic_ratio": 0.0},
}
FAILED = "sft-s2"
RUNNING = "no_thinking-s2"


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


def make(
    root: Path,
    name: str = "tiny-ablation",
    arms: dict[str, tuple[str, float, float]] | None = None,
    seeds: tuple[int, ...] = SEEDS,
    sweep: bool = True,
    holes: bool = True,
    steps: int = 30,
) -> Path:
    """Write a finished run (with one failed and one unfinished trial unless ``holes`` is False)."""
    arms = ARMS if arms is None else arms
    folder = root / name
    planned: list[dict[str, Any]] = []
    for arm, (method, accuracy, sd) in arms.items():
        points: list[tuple[dict[str, Any], float]] = [({}, accuracy)]
        if sweep and arm == SWEEP["of"]:
            points += [
                ({axis: value}, accuracy + shift)
                for axis, values, shifts in (
                    ("group_size", (4, 16), (-0.06, 0.02)),
                    ("synthetic_ratio", (0.5, 1.0), (-0.01, -0.05)),
                )
                for value, shift in zip(values, shifts, strict=True)
            ]
        for point, truth in points:
            for seed in seeds:
                tail = "".join(f"-{k}={v}" for k, v in point.items())
                trial = {
                    "id": f"{arm}{tail}-s{seed}",
                    "arm": arm,
                    "point": point,
                    "seed": seed,
                    "method": method,
                    "label": " · ".join([arm, *(f"{k} {v}" for k, v in point.items())]),
                    "settings": {"method": method, "lr": 5e-5, "kl": {"beta": 0.01}, **point},
                    "steps": [],
                    "differences": [] if method == "none" else [f"method: none -> {method}"],
                }
                if method != "none":
                    trial["steps"] = [{"kind": "train", "name": "train", "key": trial["id"]}]
                planned.append(trial)
                state = {FAILED: "failed", RUNNING: "running"}.get(trial["id"]) if holes else None
                _trial(root, folder, trial, truth, sd, state or "ok", steps)
    write_json(
        folder / "plan.json",
        {
            "name": name,
            "baseline": "base",
            "paper": "mm_upt",
            "benchmarks": [
                {
                    "name": b,
                    "title": title,
                    "headline": headline,
                    "counts": {"n": 5 * n, "unparsed": 7, "truncated": 3},
                    "decoding": {
                        "greedy": True,
                        "sampled": {"n": 4, "temperature": 0.7},
                        "max_tokens": 32,
                    },
                    "data": f"tiny/{b}@1",
                    "scorer": f"{b}-official-1",
                    "n": n,
                }
                for b, (title, headline, n, _) in BENCHMARKS.items()
            ],
            "sweep": SWEEP if sweep else None,
            "trials": planned,
        },
    )
    write_json(folder / "spec.json", {"name": name, "model": "tiny", "seeds": list(seeds)})
    write_json(
        folder / "environment.json",
        {
            "git": {"commit": "10d9af6c0ffee", "dirty": False},
            "python": "3.11.7",
            "packages": {"torch": "2.13.0", "transformers": "5.19.0"},
            "device": "cpu, 2 cores",
        },
    )
    return folder


def _trial(
    root: Path, folder: Path, trial: dict[str, Any], truth: float, sd: float, state: str, steps: int
) -> None:
    place = folder / "trials" / trial["id"]
    status = {
        "state": state,
        "reason": "",
        "step": None,
        "progress": None,
        "started": 1763800000.0,
        "updated": 1763800060.0,
        "ended": 1763800060.0,
    }
    if state == "failed":
        status["reason"] = "train: the loss is not finite at step 12"
    if state == "running":
        status |= {
            "step": "train",
            "progress": {"done": 12, "total": 30, "unit": "steps"},
            "ended": None,
        }
    write_json(place / "status.json", status)
    (place / "log.txt").write_text("log\n")
    untrained = trial["method"] == "none"
    training = []
    if not untrained:
        key = f"train/{trial['id']}"
        training = [f"store/{key}/metrics.jsonl"]
        _curve(root / training[0], truth, trial["seed"], 12 if state != "ok" else steps)
    if state != "ok":
        return
    draw = np.random.default_rng([trial["seed"], *trial["id"].encode()])
    shift = sd * draw.standard_normal()
    metrics: dict[str, float] = {}
    scores = {}
    for benchmark, (_, headline, n, size) in BENCHMARKS.items():
        who = "base" if untrained else trial["id"]
        path = f"store/score/{benchmark}-{who}"
        rows = unit_values(benchmark, n, size, truth + shift, [0] if untrained else [*who.encode()])
        metrics |= write_values(root / path, rows)
        metrics[f"{benchmark}/unparsed"] = 0.01
        scores[benchmark] = {
            "scorer": f"{benchmark}-official-1",
            "prompt": "boxed",
            "data": f"tiny/{benchmark}@1",
            "n": n,
            "path": path,
            "headline": headline,
            "counts": {"n": 5 * n, "unparsed": 7, "truncated": 3},
            "decoding": {"greedy": True, "sampled": {"n": 4, "temperature": 0.7}, "max_tokens": 32},
        }
    write_json(
        place / "result.json",
        {
            "trial": trial["id"],
            "arm": trial["arm"],
            "point": trial["point"],
            "seed": trial["seed"],
            "status": "ok",
            "seconds": 60.0,
            "steps": [
                {
                    "kind": "train",
                    "name": "train",
                    "key": trial["id"],
                    "path": f"store/train/{trial['id']}",
                    "cached": False,
                    "seconds": 40.0,
                }
            ]
            if training
            else [],
            "metrics": metrics,
            "scores": scores,
            "training": training,
        },
    )


def unit_values(
    benchmark: str, n: int, size: int, accuracy: float, entropy: list[int]
) -> dict[str, list[Any]]:
    """A long table: accuracy, pass@1 and maj@4 of n items in clusters of ``size``."""
    shared = np.random.default_rng([*benchmark.encode()])
    own = np.random.default_rng([7, *benchmark.encode(), *entropy])
    difficulty = np.repeat(shared.standard_normal(-(-n // size)), size)[
        :n
    ] + shared.standard_normal(n)
    logit = np.log(accuracy / (1 - accuracy)) * 1.5 + difficulty
    p = 1 / (1 + np.exp(-logit))
    greedy = (own.random(n) < p).astype(float)
    samples = own.random((4, n)) < np.clip(p - 0.08, 0, 1)
    columns = {
        "accuracy": greedy,
        "pass_at_1": samples.mean(0),
        "maj_at_4": (samples.sum(0) >= 2).astype(float),
    }
    table: dict[str, list[Any]] = {"metric": [], "unit": [], "cluster": [], "value": []}
    for metric, values in columns.items():
        table["metric"] += [f"{benchmark}/{metric}"] * n
        table["unit"] += [f"{benchmark}-{i:04d}" for i in range(n)]
        table["cluster"] += [f"c{i // size}" for i in range(n)]
        table["value"] += values.tolist()
    return table


def write_values(path: Path, table: dict[str, list[Any]]) -> dict[str, float]:
    """Write values.parquet and return the mean of each metric."""
    path.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path / "values.parquet")
    metric, value = np.asarray(table["metric"]), np.asarray(table["value"])
    return {m: float(value[metric == m].mean()) for m in dict.fromkeys(table["metric"])}


def _curve(path: Path, truth: float, seed: int, steps: int) -> None:
    noise = np.random.default_rng([seed, *str(path.parent.name).encode()])
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for step in range(1, steps + 1):
        grown = 1 - np.exp(-step / 10)
        row = {
            "step": step,
            "reward": 0.5 + 0.4 * grown + 0.03 * noise.standard_normal(),
            "majority_ratio": 0.55 + 0.35 * grown + 0.03 * noise.standard_normal(),
            "label_accuracy": 0.5 + (truth - 0.5) * grown + 0.03 * noise.standard_normal(),
            "response_length": 14 - 2 * grown,
            "loss": 0.1 - 0.05 * grown,
            "kl": 0.01 * grown,
            "grad_norm": float("nan") if step == 3 else 1.0,
            "lr": 5e-5,
            "seconds_rollout": 0.4,
        }
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines) + "\n")
