"""What both trainers promise of a training, as a pytest class that each one's tests subclass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.base import Item

from .stopping import Killed
from .trained import Train, same


class TrainingContract:
    """``checkpoint_writer`` is the function that writes the final weights, where the trainer
    looks it up. A subclass stands beside the fixture ``train`` of its trainer."""

    checkpoint_writer: str

    def test_the_same_seed_gives_the_same_bits_and_another_does_not(self, train: Train) -> None:
        one, two, other = train("one"), train("two"), train("other", seed=1)
        assert same(one.weights, two.weights)
        assert one.figures() == two.figures()
        assert not same(one.weights, other.weights)

    def test_an_unsupervised_method_never_reads_the_label(
        self, train: Train, items: list[Item]
    ) -> None:
        poisoned = [
            replace(item, answer=f"\\boxed{{{'7' * n}}}", meta={"key": "7"})
            for n, item in enumerate(items)
        ]
        unlabelled = [replace(item, answer="") for item in items]
        runs = [train("true"), train("poisoned", items=poisoned), train("none", items=unlabelled)]
        assert same(runs[0].weights, runs[1].weights)
        assert same(runs[0].weights, runs[2].weights)
        assert "label_accuracy" not in runs[2].metrics[0]

    def test_the_state_of_another_training_is_not_continued(
        self, train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def stop(*_: object) -> None:
            raise Killed

        stage: dict[str, Any] = {"steps": 3, "kl": {"beta": 0.1}, "warmup_steps": 2}
        other, resources = stage | {"lr": 2e-4}, {"save_every": 2}
        whole = train("whole", resources=resources, **other)
        with monkeypatch.context() as patch:
            patch.setattr(self.checkpoint_writer, stop)
            with pytest.raises(Killed):
                train("run", resources=resources, **stage)
        assert list((tmp_path / "run" / "resume").iterdir())
        run = train("run", resources=resources, **other)
        assert same(run.weights, whole.weights)
        assert run.figures() == whole.figures()
