"""What a model may be called, and what each name comes to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from benchmarks.tiny import checkpoint
from harness.errors import HarnessError, StepError
from harness.store.sources import models
from harness.store.sources.hashes import Hashes
from harness.store.sources.located import Located

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(checkpoint(), tmp_path / "copy")


def test_a_copy_of_a_model_is_the_same_model(folder, tmp_path) -> None:
    hashes = Hashes(tmp_path)
    tiny, copy = models.locate("tiny", hashes), models.locate(str(folder), hashes)
    assert tiny.id == copy.id
    assert tiny.id.startswith("sha256:")
    assert (tiny.path(), copy.path()) == (checkpoint(), folder.resolve())


def test_each_kind_has_the_id_that_keys_were_made_of(tmp_path) -> None:
    hashes = Hashes(tmp_path)
    assert models.locate(f"owner/name@{COMMIT}", hashes).id == f"hub:owner/name@{COMMIT}"
    served = models.locate("server:gpt@2", hashes)
    assert (served, served.id) == (models.ServedModel.named("gpt@2"), "server:gpt@2")
    trained = models.TrainedModel.of("arm:teacher")
    assert trained is not None
    assert (trained.arm, trained.id) == ("teacher", "trained")
    assert models.TrainedModel.of("army/name") is models.ServedModel.of("tiny") is None


def test_a_trials_spec_gives_back_what_was_located(folder, tmp_path) -> None:
    hashes = Hashes(tmp_path)
    for text in ("tiny", str(folder), f"owner/name@{COMMIT}", "server:gpt"):
        model = models.locate(text, hashes)
        again = TypeAdapter(Located).validate_json(model.model_dump_json())
        assert (again, type(again)) == (model, type(model))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tinny", "'tinny' is no model: expected `tiny`, a folder in Hugging Face layout, or"),
        ("owner/name@main", "40 hex digits as the hub's history shows it, because 'main' can move"),
        ("arm:teacher", "'arm:teacher' is no model"),
    ],
)
def test_what_is_no_model_is_refused_with_what_would_be(source, message, tmp_path) -> None:
    with pytest.raises(HarnessError, match=message):
        models.locate(source, Hashes(tmp_path))


def test_a_folder_is_told_what_it_lacks_and_a_changed_one_is_refused(folder, tmp_path) -> None:
    hashes = Hashes(tmp_path)
    model = models.locate(str(folder), hashes)
    model.refuse_change("model", hashes)
    (folder / "config.json").write_text("{}")
    with pytest.raises(StepError, match=r"the model .*copy changed since the run was planned"):
        model.refuse_change("model", hashes)
    (folder / "config.json").unlink()
    with pytest.raises(HarnessError, match=r"has no config\.json"):
        models.locate(str(folder), hashes)
