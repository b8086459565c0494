"""The report: the right numbers, holes in sight, and no comparison that must not be made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import harness.results.report
from harness import papers
from harness.results import reading as results
from harness.results import statistics as stats
from harness.results.report import markdown, plots, summary, terminal, text
from harness.results.report.model import Report
from tests.harness import synthetic_run


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a sweep, a failed and an unfinished trial, and its report."""
    run = synthetic_run.make(tmp_path_factory.mktemp("full"))
    assert harness.results.report.write(run) == run / "report"
    return run


@pytest.fixture(scope="module")
def report(full: Path) -> Report:
    return summary.build(results.load(full))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    arms = {name: synthetic_run.ARMS[name] for name in ("base", "mm_upt", "grpo")}
    return synthetic_run.make(tmp_path, arms=arms, sweep=False, holes=False, steps=3)


def edit(run: Path, trial: str, change: dict[str, Any]) -> None:
    """Change what a trial says of its MathVista scores."""
    path = run / "trials" / trial / "result.json"
    result = json.loads(path.read_text())
    result["scores"]["mathvista"] |= change
    path.write_text(json.dumps(result))


def row(report: Report, name: str) -> Any:
    return next(r for r in report.rows if r.label == name)


def delta(run: Path, arm: str = "mm_upt", metric: str = "mathvista/accuracy") -> Any:
    return row(summary.build(results.load(run)), arm).cells[metric].delta


def test_a_cell_is_the_plain_mean_and_the_spread_over_seeds(full: Path, report: Report) -> None:
    recorded = [
        json.loads((full / f"trials/mm_upt-s{s}/result.json").read_text())["metrics"][
            "wemath/accuracy"
        ]
        for s in (0, 1, 2)
    ]
    cell = row(report, "mm_upt").cells["wemath/accuracy"]
    assert cell.mean == pytest.approx(np.mean(recorded))
    assert cell.sd == pytest.approx(np.std(recorded, ddof=1))
    assert (cell.n, cell.clusters) == (240, 80)


def test_the_difference_is_paired_by_unit_and_seed(small: Path) -> None:
    loaded = {t.id: t for t in results.load(small).trials}
    name = "mathverse/accuracy"
    units = {i: t.scores["mathverse"].metrics[name] for i, t in loaded.items()}
    base = units["base-s0"]
    paired = np.stack([units[f"mm_upt-s{s}"].values - base.values for s in (0, 1, 2)])
    want = stats.interval(paired, base.clusters)
    found = delta(small, metric=name)
    assert (found.mean, found.low, found.high) == pytest.approx((want.mean, want.low, want.high))
    assert found.p == pytest.approx(want.p)


def test_known_effects_are_found(small: Path) -> None:
    """+20 and +25 points in truth: both significant, and inside their intervals."""
    assert delta(small).star
    assert delta(small, "grpo").star
    assert delta(small).low < 0.2 < delta(small).high


def test_an_untrained_arm_has_no_spread_over_seeds(report: Report) -> None:
    cell = row(report, "base").cells["mathvista/accuracy"]
    assert cell.shared
    assert cell.sd is None
    assert "±" not in text.score(cell)
    assert cell.sources == ["store/score/mathvista-base"]


def test_arms_with_holes_are_shown_and_not_compared(report: Report) -> None:
    sft = row(report, "sft")
    assert sft.cells["mathvista/accuracy"].mean is not None
    assert "seed 2 is failed" in sft.cells["mathvista/accuracy"].delta.refused
    assert "no_thinking · seed 2: missing, not finished: train 12/30 steps" in report.holes
    page = markdown.render(report)
    assert "sft · seed 2: failed, train: the loss is not finite at step 12" in page
    assert "| sft | 2/3 |" in page


def test_a_hole_still_counts_in_the_correction(full: Path, report: Report) -> None:
    """Four arms were planned, so the smallest p is multiplied by four although two are refused."""
    deltas = [r.cells["mathvista/accuracy"].delta for r in report.rows]
    smallest = min((d for d in deltas if d and d.p is not None), key=lambda d: d.p)
    assert smallest.p_holm == pytest.approx(4 * smallest.p)


def test_one_seed_gets_no_star(tmp_path: Path) -> None:
    arms = {name: synthetic_run.ARMS[name] for name in ("base", "grpo")}
    run = synthetic_run.make(tmp_path, arms=arms, seeds=(0,), sweep=False, holes=False, steps=2)
    found = delta(run, "grpo")
    assert found.p_holm < 0.001
    assert not found.star
    cell = row(summary.build(results.load(run)), "grpo").cells["mathvista/accuracy"]
    assert text.score(cell).endswith("(n=1 seed)")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"scorer": "mathvista-strict-1"}, "scorers differ"),
        ({"data": "tiny/mathvista@2"}, "data differ"),
        ({"n": 299}, "numbers of items differ"),
        ({"decoding": {"max_tokens": 64}}, "decoding differ"),
    ],
)
def test_results_of_different_identity_are_not_compared(
    small: Path, change: dict[str, Any], word: str
) -> None:
    for seed in (0, 1, 2):
        edit(small, f"mm_upt-s{seed}", change)
    assert word in delta(small).refused
    assert not delta(small).star
    assert delta(small, "grpo").refused == ""


def test_seeds_of_one_arm_scored_differently_have_no_mean(small: Path) -> None:
    edit(small, "mm_upt-s1", {"scorer": "other"})
    cell = row(summary.build(results.load(small)), "mm_upt").cells["mathvista/accuracy"]
    assert cell.mean is None
    assert "scorers differ" in cell.refused


def test_different_items_are_not_compared(small: Path) -> None:
    for seed in (0, 1, 2):
        path = small.parent / f"store/score/mathvista-mm_upt-s{seed}"
        table = synthetic_run.unit_values("mathvista", 300, 1, 0.7, [seed])
        table["unit"] = [f"other-{u}" for u in table["unit"]]
        synthetic_run.write_values(path, table)
    assert "different items" in delta(small).refused


def test_other_prompts_of_a_method_are_compared_and_said(small: Path) -> None:
    for seed in (0, 1, 2):
        edit(small, f"mm_upt-s{seed}", {"prompt": "direct@1234"})
    assert delta(small).refused == ""
    page = markdown.render(summary.build(results.load(small)))
    assert "base: boxed, mm_upt: direct@1234" in page


def test_the_terminal_table_fits(report: Report) -> None:
    for width in (100, 110):
        console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        terminal.show(report, console)
        console.file.close()
        printed = console.export_text()
        assert max(map(len, printed.splitlines())) <= width
        assert "+18.1 [+9.4, +26.8] *" in printed
        assert "not comparable" in printed


def test_the_sweep_compares_with_the_arm_itself(report: Report) -> None:
    assert report.sweep is not None
    first, *points = report.sweep.rows
    assert first.point == {}
    assert [p.point for p in points][:2] == [{"group_size": 4}, {"group_size": 16}]
    assert {p.cells["mathvista/accuracy"].delta.to for p in points} == {"mm_upt"}


def test_files_of_the_report(full: Path) -> None:
    folder = full / "report"
    for stem in ("training", "sweep_group_size", "sweep_synthetic_ratio"):
        assert (folder / f"{stem}.png").stat().st_size > 10_000
        assert (folder / f"{stem}.svg").read_text().startswith("<?xml")
        assert f"]({stem}.png)" in (folder / "report.md").read_text()
    written = json.loads((folder / "report.json").read_text())
    assert Report.model_validate(written).figures.keys() == {
        "training", "sweep_group_size", "sweep_synthetic_ratio"
    }  # fmt: skip
    schema = json.loads((folder / "report.schema.json").read_text())
    assert written.keys() == schema["properties"].keys()
    now = harness.results.report.as_json(full)
    assert now["rows"] == written["rows"]


def test_a_reward_is_drawn_whole_whatever_its_range(small: Path) -> None:
    for path in (small.parent / "store" / "train").glob("*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows = [row | {"reward": 2.0 - 3.0 * (row["step"] == 1)} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    figure = plots.training(results.load(small).arms)
    assert figure is not None
    limits = {ax.get_title("left"): ax.get_ylim() for ax in figure.axes}
    plots.plt.close(figure)
    assert limits["reward"][0] < -1
    assert limits["reward"][1] > 2
    assert limits["majority ratio"] == (-0.02, 1.02)


def test_every_number_names_its_sources(full: Path, report: Report) -> None:
    for r in report.rows:
        for cell in r.cells.values():
            assert cell.sources
            assert all((full.parent / s / "values.parquet").is_file() for s in cell.sources)
        assert {t.id for t in r.trials} == {f"{r.label}-s{s}" for s in (0, 1, 2)}


def test_published_numbers_stand_beside_ours_with_a_caveat(report: Report) -> None:
    page = markdown.render(report)
    assert "| MM-UPT | MMR1 | 72.90 | 68.74 | 44.87 |" in page
    assert "only the direction of an effect" in page
    assert "Qwen2.5-VL-7B" in report.published.caveat  # type: ignore[union-attr]


def test_published_averages_are_those_of_their_rows() -> None:
    """A slip in our copy would show: the paper's own averages are off by 0.01 at most."""
    paper = papers.load("mm_upt")
    rows = [r for table in paper["tables"] for r in table["rows"]]
    assert len(rows) == 32
    off = [abs(np.mean(values) - average) for *_, values, average in rows]
    assert max(off) < 0.016


def test_an_unknown_paper_names_its_neighbour() -> None:
    with pytest.raises(KeyError, match="did you mean 'mm_upt'"):
        papers.load("mmupt")


def test_a_run_without_any_result_is_reported(tmp_path: Path) -> None:
    arms = {name: synthetic_run.ARMS[name] for name in ("base", "grpo")}
    run = synthetic_run.make(tmp_path, arms=arms, sweep=True, holes=False, steps=2)
    for path in run.glob("trials/*/*.json"):
        path.unlink()
    page = (harness.results.report.write(run) / "report.md").read_text()
    assert "0 of 6 trials finished" in page
    assert page.count("missing, not started") == 6


def test_asterisks_do_not_become_markup(report: Report) -> None:
    page = markdown.render(report)
    assert not re.search(r"\] \*(?!\*)", page)
