"""Arms × seeds become trials and steps; equal work is one step, whoever needs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.base import Item
from harness.experiment import checks
from harness.plan.planner import Plan, Trial, make
from harness.steps.context import subset
from harness.steps.train import mix
from harness.store.sources.hashes import Hashes
from tests.harness.examples import EXAMPLE, model_folder, planned

EXPERIMENTS = Path(__file__).resolve().parents[3] / "experiments"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    model_folder(folder / "model")
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return EXAMPLE.format(model=folder / "model")


@pytest.fixture(scope="module")
def plan(folder: Path, text: str) -> Plan:
    return planned(text, folder)


def trial(plan: Plan, name: str) -> Trial:
    return next(t for t in plan.trials if t.id == name)


def keys(one: Trial, kind: str) -> list[str]:
    return [step.key for step in one.steps if step.kind == kind]


def test_every_arm_and_point_is_there_with_every_seed(plan: Plan) -> None:
    rows = ["base", "mm_upt", "grpo", "sft", "no_thinking"]
    rows += [f"mm_upt--{p}" for p in ("group_size=4", "group_size=16")]
    rows += [f"mm_upt--synthetic_ratio={r}" for r in ("0.5", "1.0")]
    assert [t.id for t in plan.trials] == [f"{row}-s{seed}" for row in rows for seed in range(3)]
    assert plan.sweep is not None
    assert plan.sweep["default"] == {"group_size": 8, "synthetic_ratio": 0.0}


def test_the_base_is_evaluated_once_for_all_seeds(plan: Plan) -> None:
    first, *others = [trial(plan, f"base-s{seed}") for seed in range(3)]
    assert [s.kind for s in first.steps] == ["generate", "score"] * 3
    for other in others:
        assert [s.key for s in other.steps] == [s.key for s in first.steps]


def test_a_trained_arm_has_its_own_steps_for_each_seed(plan: Plan) -> None:
    for kind in ("train", "generate", "score"):
        per_seed = [keys(trial(plan, f"mm_upt-s{seed}"), kind) for seed in range(3)]
        assert len({key for row in per_seed for key in row}) == sum(map(len, per_seed))


def test_one_synthetic_set_serves_every_ratio_and_seed(plan: Plan) -> None:
    made = Counter(key for t in plan.trials for key in keys(t, "synthesize"))
    assert list(made.values()) == [6]
    assert not keys(trial(plan, "mm_upt-s0"), "synthesize")


def test_steps_come_after_what_they_need(plan: Plan) -> None:
    for one in plan.trials:
        before: set[str] = set()
        for step in one.steps:
            assert set(step.parents.values()) <= before
            before.add(step.key)


def test_the_grid_holds_the_arm_once_and_shares_points_that_equal_another_arm(
    folder: Path, text: str
) -> None:
    crossed = text.replace("  of: mm_upt", "  of: mm_upt\n  design: grid")
    crossed = crossed.replace("arms:", "arms:\n  wide: {method: mm_upt, group_size: 16}")
    plan = planned(crossed, folder)
    swept = [t for t in plan.trials if t.arm == "mm_upt" and t.seed == 0]
    assert len(swept) == 9
    same = trial(plan, "mm_upt--group_size=16--synthetic_ratio=0.0-s0")
    assert [s.key for s in same.steps] == [s.key for s in trial(plan, "wide-s0").steps]


def moved(plan: Plan, other: Plan, kind: str) -> set[str]:
    """Ids of trials whose steps of this kind have other keys in the other plan."""
    return {t.id for t in plan.trials if keys(t, kind) != keys(trial(other, t.id), kind)}


def test_a_scorer_changes_scores_and_nothing_that_needs_a_model(
    plan: Plan, folder: Path, text: str
) -> None:
    other = planned(
        text.replace("data: tiny/wemath", "data: tiny/wemath, scorer: official"), folder
    )
    assert moved(plan, other, "score") == {t.id for t in plan.trials}
    assert not moved(plan, other, "train") | moved(plan, other, "generate")


def test_resources_workers_and_names_change_no_key(plan: Plan, folder: Path, text: str) -> None:
    more = "\nresources: {processes: 2, zero_stage: 3, tokens_per_micro_batch: 99}\nworkers: 7\n"
    other = planned(text.replace("tiny-ablation", "another") + more, folder)
    assert [t.steps for t in other.trials] == [t.steps for t in plan.trials]


def test_a_result_in_one_precision_is_none_in_another(plan: Plan, folder: Path, text: str) -> None:
    other = planned(text + "\nresources: {dtype: bfloat16}\n", folder)
    assert moved(plan, other, "generate") == {t.id for t in plan.trials}
    assert moved(plan, other, "train") == {t.id for t in plan.trials if t.arm != "base"}


def test_supervised_fine_tuning_ignores_shared_settings_of_rollouts(
    plan: Plan, folder: Path, text: str
) -> None:
    other = planned(text.replace("group_size: 8, lr", "group_size: 12, lr"), folder)
    trained = moved(plan, other, "train")
    assert not {name for name in trained if name.startswith(("sft", "base"))}
    assert "grpo-s0" in trained


def test_a_models_content_counts_and_its_place_does_not(
    plan: Plan, folder: Path, text: str, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    model_folder(tmp_path / "copy")
    model_folder(tmp_path / "other", weights=b"other weights")
    copy = planned(EXAMPLE.format(model=tmp_path / "copy"), tmp_path)
    other = planned(EXAMPLE.format(model=tmp_path / "other"), tmp_path)
    assert not moved(plan, copy, "train") | moved(plan, copy, "score")
    assert moved(plan, other, "train") == {t.id for t in plan.trials if t.method != "none"}


def test_differences_are_from_the_baseline(folder: Path, text: str, plan: Plan) -> None:
    assert trial(plan, "base-s0").differences == ()
    assert trial(plan, "mm_upt-s0").differences == ("method none → mm_upt",)
    assert trial(plan, "mm_upt--group_size=4-s0").differences[-1] == "group_size 8 → 4"
    other = planned(text.replace("baseline: base", "baseline: mm_upt"), folder)
    assert (
        "rewards [{name: majority, weight: 1.0}] → [{name: accuracy, weight: 1.0}]"
        in trial(other, "grpo-s0").differences
    )


def test_ids_are_names_that_every_file_system_takes(folder: Path, text: str) -> None:
    odd = text.replace("group_size: [4, 8, 16]", "kl: [{beta: 0.1}, {beta: 0}]")
    odd = odd.replace("synthetic_ratio: [0.0, 0.5, 1.0]", "advantage: [group_mean]")
    ids = [t.id for t in planned(odd, folder).trials]
    assert len(set(ids)) == len(ids)
    assert "mm_upt--kl.beta=0.1-s0" in ids
    assert all(c.isalnum() or c in "-_.=+" for name in ids for c in name)


def test_plan_json_says_what_the_report_reads(plan: Plan) -> None:
    summary = json.loads(json.dumps(plan.summary()))
    assert {"name", "baseline", "paper", "benchmarks", "sweep", "trials"} <= set(summary)
    assert {"name", "title", "headline", "data", "scorer"} <= set(summary["benchmarks"][0])
    step = summary["trials"][0]["steps"][0]
    assert set(step) == {"kind", "name", "key", "label", "benchmark", "of"}


def test_planning_creates_nothing_and_loads_neither_torch_nor_mlflow(
    folder: Path, text: str
) -> None:
    (folder / "experiment.yaml").write_text(text)
    code = (
        "import sys; from harness.cli import app; "
        "app(['plan', sys.argv[1], '--root', sys.argv[2]], standalone_mode=False); "
        "print([m for m in ('torch', 'mlflow', 'transformers', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "experiment.yaml"), str(folder / "none")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert "mm_upt · group_size 16" in done.stdout
    assert not (folder / "none").exists()


def items(prefix: str, count: int) -> list[Item]:
    return [Item(id=f"{prefix}{i}", question="?") for i in range(count)]


@pytest.mark.parametrize(("ratio", "made"), [(0.0, 0), (0.25, 25), (0.5, 50), (1.0, 100)])
def test_a_ratio_is_by_count_and_the_seed_decides_which(ratio: float, made: int) -> None:
    real, synthetic = items("r", 100), items("s", 200)
    mixed = mix(real, synthetic, ratio, seed=1)
    assert len({i.id for i in mixed}) == 100
    assert sum(i.id.startswith("s") for i in mixed) == made
    assert mixed == mix(real, synthetic, ratio, seed=1)
    if made:
        assert mixed != mix(real, synthetic, ratio, seed=2)


def test_too_few_synthetic_questions_make_a_smaller_pool_at_the_same_ratio() -> None:
    mixed = mix(items("r", 100), items("s", 20), 0.5, seed=0)
    assert len(mixed) == 40
    assert sum(i.id.startswith("s") for i in mixed) == 20


def test_a_subset_holds_whole_clusters_and_does_not_depend_on_the_order() -> None:
    pool = [Item(id=f"{c}-{i}", question="?", cluster=f"c{c}") for c in range(20) for i in range(3)]
    part = subset(pool, 10)
    assert len(part) == 12
    assert set(Counter(i.cluster for i in part).values()) == {3}
    assert {i.id for i in subset(pool[::-1], 10)} == {i.id for i in part}
    assert subset(pool, None) == subset(pool, 1000) == pool


@pytest.mark.parametrize(
    "file",
    sorted(p for p in EXPERIMENTS.glob("*.yaml") if p.stem != "eval_mm_upt_protocol"),
    ids=lambda path: path.stem,
)
def test_every_shipped_experiment_can_be_planned(file: Path, tmp_path: Path) -> None:
    """MM-UPT's protocol names folders that its reader has, and has a test of its own."""
    experiment, _ = checks.read(file, tmp_path)
    plan = make(experiment, Hashes(tmp_path))
    assert {trial.seed for trial in plan.trials} == set(experiment.seeds)
    assert not list(tmp_path.iterdir())
