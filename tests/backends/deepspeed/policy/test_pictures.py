"""A frozen vision tower sees each picture once in a training, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from backends.base.engine import Request
from backends.deepspeed.learner import Learner
from backends.models.encoding import Encoder
from backends.models.pictures import PictureBatch, PictureCache, joined, picture_features
from backends.models.prompt import distinct_pictures
from benchmarks.base import Item

from ..conftest import SMALL, Train, apart
from ..stopping import goes_on_bit_for_bit

#: Two epochs of eight questions, of which six have a picture, and all that reads their features.
STAGE: dict[str, Any] = SMALL | {
    "steps": 4,
    "freeze_vision": True,
    "kl": {"beta": 0.1},
    "updates_per_rollout": 2,
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, model: PreTrainedModel) -> list[int]:
    """Numbers of pictures in the forwards of any vision tower."""
    calls: list[int] = []
    kind = type(model)
    tower = kind.get_image_features

    def count(self: Any, pixel_values: Tensor, image_grid_thw: Tensor, **named: Any) -> Any:
        calls.append(len(image_grid_thw))
        return tower(self, pixel_values, image_grid_thw, **named)

    monkeypatch.setattr(kind, "get_image_features", count)
    return calls


@pytest.fixture
def pictures(encoder: Encoder, picture: Callable[..., bytes]) -> PictureBatch:
    """Three distinct pictures of two sizes in four places."""
    asked = [(picture(0), picture(1, 112, 56)), (picture(1, 112, 56),), (), (picture(2),)]
    prompts = encoder.encode_all([Request(str(i), "?", p) for i, p in enumerate(asked)])
    found = distinct_pictures([prompt for prompt in prompts if prompt is not None])
    assert found is not None
    return found


def only(pictures: PictureBatch, places: Sequence[int]) -> PictureBatch:
    return PictureBatch(tuple(pictures.pictures[i] for i in places), tuple(range(len(places))))


def test_kept_features_are_those_computed_again(
    model: PreTrainedModel, pictures: PictureBatch, seen: list[int]
) -> None:
    with torch.no_grad():
        alone = [picture_features(model, only(pictures, [i])) for i in range(3)]
        together = picture_features(model, pictures)
    model.picture_cache = PictureCache()
    seen.clear()
    kept = [picture_features(model, only(pictures, [1]))]
    kept += [picture_features(model, pictures) for _ in range(2)]
    assert seen == [1, 1, 1]
    assert torch.equal(kept[0], alone[1])
    assert torch.equal(kept[1], torch.cat([alone[i] for i in pictures.order]))
    assert torch.equal(kept[2], kept[1])
    torch.testing.assert_close(kept[1], together, rtol=1e-4, atol=1e-5)  # rounding of the batch


def test_what_was_not_asked_for_longest_makes_room_but_nothing_pinned() -> None:
    cache = PictureCache(limit=3 * 40)
    for name in "abc":
        cache.keep(name, torch.zeros(10))
    cache.get("a")
    cache.keep("d", torch.zeros(10))
    assert [name for name in "abcd" if name in cache] == ["a", "c", "d"]
    cache.pinned = frozenset("ac")
    cache.keep("e", torch.zeros(20))
    assert [name for name in "acde" if name in cache] == ["a", "c"]  # too large beside the pinned
    cache.pinned = frozenset("xyz")
    for name in "xyz":
        cache.keep(name, torch.zeros(20))
    assert [name for name in "acxyz" if name in cache] == ["x", "y", "z"]
    assert cache.get("a") is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"lora": {"rank": 4}}, {"advantage": "gae", "critic": {}}],
    ids=["frozen", "lora", "critic"],
)
def test_the_tower_runs_once_for_each_distinct_picture(
    train: Train, seen: list[int], items: list[Item], fields: dict[str, Any]
) -> None:
    """Through rollout, reference, critic and updates of two epochs."""
    distinct = {picture for item in items for picture in item.images}
    train("run", **STAGE | fields)
    assert seen == [1] * len(distinct)


def test_cached_features_train_what_features_computed_again_do(
    train: Train, monkeypatch: pytest.MonkeyPatch, seen: list[int]
) -> None:
    kept = train("kept", **STAGE)
    once = len(seen)

    def whole(model: Any, pictures: Any, cache: PictureCache) -> Any:
        found = model.get_image_features(**joined(pictures))
        return found.pooler_output

    with monkeypatch.context() as patch:
        patch.setattr(PictureCache, "get", lambda self, name: None)
        again = train("again", **STAGE)
    assert len(seen) > 4 * once
    assert apart(again.weights, kept.weights) < 1e-5  # the engine's tower rounds in its own way
    with monkeypatch.context() as patch:
        patch.setattr("backends.models.pictures._kept_features", whole)
        batches = train("batches", **STAGE)
    assert max(seen) > 1
    assert apart(batches.weights, kept.weights) < 1e-5


@pytest.mark.parametrize("zero_stage", [1, 3])
def test_a_stopped_training_goes_on_bit_for_bit(train: Train, zero_stage: int) -> None:
    """It looks at other pictures together than an undisturbed one."""
    resources = {"zero_stage": zero_stage, "save_every": 1}
    goes_on_bit_for_bit(train, 6, **STAGE, resources=resources)


@pytest.mark.parametrize("objective", ["grpo", "sft"])
def test_with_no_room_the_tower_still_never_runs_in_an_update(
    train: Train, monkeypatch: pytest.MonkeyPatch, seen: list[int], objective: str
) -> None:
    """Under ZeRO-3 that would be a rank that waits for others which have the features."""
    stage = STAGE | ({"objective": "sft", "rewards": [], "kl": {}} if objective == "sft" else {})
    roomy = train("roomy", **stage)
    per_token, in_update = Learner.per_token, []

    def watch(self: Learner, batch: Any, temperature: float) -> Tensor:
        before = len(seen)
        values = per_token(self, batch, temperature)
        in_update.append(len(seen) - before)
        return values

    monkeypatch.setattr(Learner, "per_token", watch)
    monkeypatch.setattr("backends.deepspeed.models.PictureCache", lambda: PictureCache(limit=1))
    seen.clear()
    tight = train("tight", **stage, resources={"zero_stage": 3})
    assert in_update
    assert set(in_update) == {0}
    assert len(seen) > 6  # forgotten between the steps
    assert apart(tight.weights, roomy.weights) < 1e-5
