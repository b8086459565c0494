"""The plots: training curves and the sweep. Colours are Okabe and Ito's, told apart without hue."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from harness.results.reading import ConditionResult, Results
from harness.results.report import text
from harness.results.report.model import Report, Row

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
_MARKERS = "osD^vPXd"
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
}
#: What is drawn of a training, and how it is called.
_CURVES = {
    "reward": "reward",
    "majority_ratio": "majority ratio",
    "label_accuracy": "label accuracy (never seen by an unsupervised arm)",
    "response_length": "response length (tokens)",
}

_RATIOS = ("majority_ratio", "label_accuracy")


def write(report: Report, results: Results, folder: Path) -> dict[str, str]:
    """Draw what the run has data for; returns {file stem: caption}."""
    drawn: dict[str, str] = {}
    with plt.rc_context(_STYLE):
        figure = training(results.arms)
        if figure:
            _save(figure, folder / "training")
            drawn["training"] = (
                "Training curves by arm: thin lines are seeds, thick lines their mean over the "
                "steps that all of them reached."
            )
        for axis in report.sweep.axes if report.sweep else ():
            figure = sweep(report, axis)
            if figure:
                stem = f"sweep_{axis.replace('.', '_').replace('/', '_')}"
                _save(figure, folder / stem)
                drawn[stem] = (
                    f"Score against {axis}: mean over seeds with its 95 % interval (questions and "
                    "seeds); dots are seeds, the dashed line is the baseline."
                )
    return drawn


def _save(figure: Figure, stem: Path) -> None:
    figure.savefig(stem.with_suffix(".png"))
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


def training(arms: Sequence[ConditionResult]) -> Figure | None:
    """Training curves, one panel a quantity; stages of one trial follow each other."""
    data = {(arm.label, t.seed): t.curve() for arm in arms for t in arm.trials}
    names = [n for n in _CURVES if any(n in row for rows in data.values() for row in rows)]
    if not names:
        return None
    width = min(len(names), 2)
    height = math.ceil(len(names) / width)
    figure, axes = plt.subplots(
        height,
        width,
        figsize=(5.2 * width, 3.2 * height + 0.5),
        squeeze=False,
        layout="constrained",
    )
    handles: dict[str, Any] = {}
    for name, ax in zip(names, axes.flat, strict=False):
        for i, arm in enumerate(arms):
            colour = _COLOURS[i % len(_COLOURS)]
            seeds = [_series(data[arm.label, t.seed], name) for t in arm.trials]
            seeds = [s for s in seeds if len(s[0])]
            for x, y in seeds:
                ax.plot(x, y, color=colour, alpha=0.3, linewidth=0.8)
            if seeds:
                x = seeds[0][0]
                for other, _ in seeds[1:]:
                    x = np.intersect1d(x, other)
                mean = np.mean([y[np.isin(s, x)] for s, y in seeds], axis=0)
                every = max(1, len(x) // 6)
                (handles[arm.label],) = ax.plot(
                    x,
                    mean,
                    color=colour,
                    linewidth=2.2,
                    label=arm.label,
                    marker=_MARKERS[i % len(_MARKERS)],
                    markevery=(i % every, every),
                    markersize=5,
                )
        ax.set_title(_CURVES[name], loc="left")
        ax.set_xlabel("step")
        if name in _RATIOS:
            ax.set_ylim(-0.02, 1.02)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=min(len(handles), 5))
    return figure


def _series(rows: Sequence[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(r["step"], r[name]) for r in rows if isinstance(r.get(name), int | float)]
    pairs = [(s, v) for s, v in pairs if math.isfinite(v)]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], dtype=float)


def sweep(report: Report, axis: str) -> Figure | None:
    """Headline metrics against one axis; a line for each setting of the other axes."""
    assert report.sweep is not None
    lines = _lines(report, axis)
    if not lines:
        return None
    metrics = [m for m in report.metrics if m.kind == "headline"]
    figure, axes = plt.subplots(
        1,
        len(metrics),
        figsize=(3.9 * len(metrics), 3.5),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    numeric = all(isinstance(r.point_value, int | float) for line in lines.values() for r in line)
    ticks = sorted(
        {r.point_value for line in lines.values() for r in line},
        key=lambda v: v if numeric else str(v),
    )
    base = next((r for r in report.rows if r.baseline), None)
    handles: dict[str, Any] = {}
    for metric, ax in zip(metrics, axes.flat, strict=True):
        for i, (name, line) in enumerate(lines.items()):
            found = [(ticks.index(r.point_value), r.row.cells[metric.name]) for r in line]
            shown = [(x, c) for x, c in sorted(found, key=lambda f: f[0]) if c.mean is not None]
            colour = _COLOURS[i % len(_COLOURS)]
            x = np.array([x for x, _ in shown]) + 0.12 * (i - (len(lines) - 1) / 2)
            mean = 100 * np.array([c.mean for _, c in shown], dtype=float)
            low = 100 * np.array([np.nan if c.low is None else c.low for _, c in shown])
            high = 100 * np.array([np.nan if c.high is None else c.high for _, c in shown])
            handles[name] = ax.errorbar(
                x,
                mean,
                yerr=np.stack([mean - low, high - mean]),
                color=colour,
                linewidth=2,
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=6,
                capsize=3,
                elinewidth=1.2,
            )
            for at, (_, cell) in zip(x, shown, strict=True):
                dots = 100 * np.array(list(cell.per_seed.values()))
                ax.plot(np.full(len(dots), at + 0.06), dots, ".", color=colour, alpha=0.45)
        floor = base.cells[metric.name].mean if base else None
        if floor is not None:
            line2d = ax.axhline(100 * floor, color="#555555", linestyle="--", linewidth=1.2)
            handles[f"{report.baseline} (baseline)"] = line2d
        ax.set_xticks(range(len(ticks)), [str(t) for t in ticks])
        ax.set_xlim(-0.5, len(ticks) - 0.5)
        ax.set_xlabel(axis.replace("_", " "))
        ax.set_title(f"{text.title(report, metric.benchmark)}", loc="left")
    axes.flat[0].set_ylabel("points")
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=min(len(handles), 4))
    return figure


class _Point:
    def __init__(self, row: Row, value: Any) -> None:
        self.row, self.point_value = row, value


def _lines(report: Report, axis: str) -> dict[str, list[_Point]]:
    """Points by the settings of the other axes; a lone point makes no line."""
    assert report.sweep is not None
    groups: dict[str, list[_Point]] = {}
    names: dict[str, str] = {}
    for row in report.sweep.rows:
        full = {**report.sweep.default, **row.point}
        if axis not in full:
            continue
        rest = {k: v for k, v in full.items() if k != axis}
        key = json.dumps(rest, sort_keys=True)
        names[key] = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in rest.items())
        groups.setdefault(key, []).append(_Point(row, full[axis]))
    return {
        names[k] or report.sweep.of: v
        for k, v in groups.items()
        if len({str(p.point_value) for p in v}) > 1
    }
