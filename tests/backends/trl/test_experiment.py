"""One experiment file trains by two backends, and says which trained what."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.experiment import checks
from harness.plan import planner as plan
from harness.store.sources.hashes import Hashes

FILE = Path(__file__).resolve().parents[3] / "experiments" / "backends.yaml"


def test_the_shipped_file_pairs_the_backends(tmp_path: Path) -> None:
    experiment, _ = checks.read(FILE, tmp_path)
    made = plan.make(experiment, Hashes(tmp_path))
    training = {
        (trial.arm, trial.seed): step.spec
        for trial in made.trials
        for step in trial.steps
        if step.kind == "train"
    }
    assert len(training) == 6 * 3
    for method in ("mm_upt", "grpo", "sft"):
        for seed in (0, 1, 2):
            ours, theirs = training[method, seed], training[f"{method}_trl", seed]
            assert (ours["backend"], theirs["backend"]) == ("deepspeed", "trl")
            assert {k: v for k, v in ours.items() if k not in ("backend", "backend_id")} == {
                k: v for k, v in theirs.items() if k not in ("backend", "backend_id")
            }
    keys = {step.key for trial in made.trials for step in trial.steps if step.kind == "train"}
    assert len(keys) == 6 * 3
    unlike = {trial.arm: trial.differences for trial in made.trials}
    assert any("trl" in line for line in unlike["grpo_trl"])
    assert not any("backend" in line for line in unlike["grpo"])


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("backend: trl }", "backend: trlx }", "arms.mm_upt_trl.backend", "did you mean 'trl'"),
        ("advantage_eps: 1.0e-4", "advantage_eps: 1.0e-6", "arms.mm_upt_trl", "Set advantage_eps"),
        ("{ method: none }", "{ method: none, backend: trl }", "arms.base.backend", "no use"),
        ("seeds:", "backend: trll\nseeds:", "backend", "did you mean 'trl'"),
    ],
)
def test_a_mistake_is_reported_at_its_place(
    tmp_path: Path, old: str, new: str, place: str, said: str
) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(FILE.read_text().replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        checks.read(file, tmp_path)
    assert any(p.where == place and said in p.message for p in caught.value.problems)
