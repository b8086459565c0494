"""The key of a step covers everything that can change its result, and nothing else."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base.stage import KL, RewardTerm, Stage
from harness.plan.specs import KINDS, Curate, Sampled, Score, StepSpec
from harness.store.keys import canonical, differences, plain, step_key
from tests.harness import specs

STAGE = Stage(
    rewards=(RewardTerm(name="majority"),),
    steps=30,
    questions_per_step=32,
    max_response_tokens=32,
    kl=KL(beta=0.01),
    lr=1e-6,
)
MODEL, POOL = "sha256:aa", "tiny/train@1"
SPECS: dict[str, StepSpec] = {
    "synthesize": specs.synthesize(MODEL, POOL),
    "respond": specs.respond(MODEL, POOL, samples=8, seed=1),
    "curate": Curate(questions=POOL, keep="judged", per_question=1, threshold=0.7),
    "train": specs.train(MODEL, POOL, STAGE, synthetic_ratio=0.5, seed=1),
    "generate": specs.generate(
        None,
        "wemath",
        "tiny/wemath@1",
        sampled=Sampled(n=4, temperature=0.7, top_p=1.0, seed=0),
    ),
    "score": Score(
        benchmark="wemath",
        data="tiny/wemath@1",
        limit=None,
        scorer="official+extract",
        scorer_id="wemath/official@1+extract1",
    ),
}
PARENTS = {"synthesize": {}, "respond": {}, "train": {"synthetic": "b" * 64}}
#: A key that moves makes every result on every disk unreachable. One that moves on purpose comes
#: with a bump of its kind's VERSION (or of hashing.SCHEMA) in the same commit.
GOLDEN = json.loads((Path(__file__).parent / "golden_keys.json").read_text())


def key(kind: str, spec: Any, parents: dict[str, str] | None = None) -> str:
    given = PARENTS.get(kind, {"model": "a" * 64}) if parents is None else parents
    return step_key(kind, KINDS[kind].VERSION, spec, given)


def dump(kind: str) -> dict[str, Any]:
    return SPECS[kind].model_dump(mode="json")


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_those_of_every_earlier_run(kind: str) -> None:
    assert {"version": KINDS[kind].VERSION, "key": key(kind, dump(kind))} == GOLDEN[kind]


def test_keys_do_not_depend_on_the_process() -> None:
    """Set order, hash randomisation and module state must not leak into a key."""
    code = (
        "from tests.harness.store import test_keys as t; "
        "print(*[t.key(k, t.dump(k)) for k in t.KINDS])"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).resolve().parents[3],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [GOLDEN[kind]["key"] for kind in KINDS]


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*place, name))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, (*place, i))
    else:
        yield place


def changed(value: Any, place: tuple[Any, ...]) -> Any:
    """The same data with the one leaf at ``place`` changed."""
    head, *rest = place
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[head] = changed(value[head], tuple(rest))
        return copy
    old = value[head]
    if isinstance(old, bool):
        copy[head] = not old
    elif isinstance(old, (int, float)):
        copy[head] = old + 1
    else:
        copy[head] = f"{old}x"
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_changing_any_field_changes_the_key(kind: str) -> None:
    """Every leaf of the spec counts, nested ones and those left at their default too."""
    spec = dump(kind)
    places = list(leaves(spec))
    assert len(places) >= len(KINDS[kind].model_fields)
    keys = [key(kind, changed(spec, place)) for place in places]
    keys += [key(kind, spec), key(kind, spec, {"model": "c" * 64})]
    keys.append(
        step_key(kind, KINDS[kind].VERSION + 1, spec, PARENTS.get(kind, {"model": "a" * 64}))
    )
    assert len(set(keys)) == len(keys)


def test_a_default_counts_as_much_as_a_value_that_was_written() -> None:
    short = STAGE
    plain = STAGE.model_dump(mode="json", exclude_unset=True)
    long = Stage.model_validate(plain | {"group_size": 8, "kl": {"beta": 0.01, "form": "k3"}})
    assert long.model_fields_set > short.model_fields_set
    assert canonical(short.model_dump(mode="json")) == canonical(long.model_dump(mode="json"))
    assert set(Stage.model_fields) == set(short.model_dump(mode="json"))


@pytest.mark.parametrize("bad", [math.nan, math.inf, {1, 2}, Path("x"), b"x", {1: 2}, object()])
def test_what_has_no_canonical_form_is_refused(bad: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"spec\.lr"):
        plain({"lr": bad})


def test_minus_zero_is_zero_but_one_is_not_true() -> None:
    assert canonical(-0.0) == canonical(0.0)
    assert canonical(1) != canonical(True)
    assert canonical({"a": {"b": 1}}) != canonical({"a.b": 1})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_is_json_and_order_of_keys_does_not_matter(value: Any) -> None:
    text = canonical(value)
    assert canonical(json.loads(text)) == text
    if isinstance(value, dict):
        assert canonical(dict(reversed(list(value.items())))) == text


@given(JSON, JSON)
def test_different_values_have_different_forms(a: Any, b: Any) -> None:
    assert (canonical(a) == canonical(b)) == (
        json.dumps(plain(a), sort_keys=True) == json.dumps(plain(b), sort_keys=True)
    )


def test_differences_name_the_leaf_and_both_values() -> None:
    old = {"kl": {"beta": 0.0, "form": "k3"}, "group_size": 8}
    new = {"kl": {"beta": 0.01, "form": "k3"}, "group_size": 8, "lr": 1e-6}
    assert differences(old, new) == ["kl.beta 0.0 → 0.01", "lr – → 1e-06"]
