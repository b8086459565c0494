"""We-Math: groups, and the owners' formulas against an independent count."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.base import DataError, Item, Verdict
from benchmarks.official.wemath import incomplete, options
from benchmarks.registry import benchmark
from harness.steps.score import figures
from tests.benchmarks.owners_files import PNG

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "wemath"
published = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data/wemath here")
ONE = benchmark("wemath")


def row(group: str, step: str, **changed: object) -> dict[str, object]:
    return {
        "ID": group,
        "key": f"{group.partition('_')[0]}_{step}",
        "question": "How long is it?",
        "option": "A. 3 cm; B. 4 cm;C. 12 cm ; D. No correct answer",
        "answer": "C",
        "image_path": "1.png",
        "knowledge concept": "Length",
    } | changed


def group(name: str) -> list[dict[str, object]]:
    return [row(name, s) for s in [*"123"[: int(name[0])], "multi"]]


def items(rows: list[dict[str, object]]) -> list[Item]:
    return [ONE.item("row", r, None) for r in rows]  # type: ignore[attr-defined]


def test_loading(tmp_path) -> None:
    (tmp_path / "1.png").write_bytes(PNG)
    (tmp_path / "testmini.json").write_text(json.dumps(group("2steps_7") + group("3steps_7")))
    loaded = ONE.load(tmp_path)
    assert [i.id for i in loaded[:3]] == ["2steps_7/1", "2steps_7/2", "2steps_7/multi"]
    assert {i.cluster for i in loaded} == {"2steps_7", "3steps_7"}
    assert loaded[0].question == f"How long is it?\n{row('2steps_7', '1')['option']}"
    assert loaded[0].images == (tmp_path / "1.png",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("2steps_1", "1")] * 2, r"row 2: id '2steps_1/1' is already taken by .*row 1"),
        ([row("2steps_1", "1", key="3steps_1")], "row 1: key '3steps_1' of '2steps_1'"),
        ([row("2steps_1", "1", image_path="2.png")], r"row 1: picture .*2\.png does not exist"),
        ([row("2steps_1", "1", answer="yes")], "row 1: answer 'yes' names none of the options"),
        ([row("2steps_1", "1", answer="E")], "row 1: answer 'E' names none of .* A, B, C, D"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, rows, message) -> None:
    (tmp_path / "1.png").write_bytes(PNG)
    (tmp_path / "testmini.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message):
        ONE.load(tmp_path)


@pytest.mark.parametrize(
    ("response", "official", "default"),
    [
        ("<Answer>: <<C>>", "C", "C"),
        ("C. 12 cm", "C", "C"),
        (r"\boxed{C}", None, "C"),
        ("Answer: (C)", None, "C"),
        ("**Answer:** C", None, "C"),
        ("The answer is C", None, "C"),
        (r"A rectangle, so \boxed{C}", "A", "C"),
        (r"\boxed{12\text{ cm}}", None, "C"),
        ("Because of it\nchoose D", "B", "D"),
        ("It is not (A); it is (C).", None, "C"),
        ("I cannot tell from this picture.\nSorry.", None, None),
        (r"\boxed{5}", None, "5"),
        (r"\boxed{H}", None, "H"),
        ("", None, None),
    ],
)
def test_letters(response, official, default) -> None:
    (item,) = items([row("2steps_1", "1")])
    for name, expected in (("official", official), ("official+extract", default)):
        verdict = ONE.scorer(name).score(item, response)
        assert (verdict.extracted, verdict.correct) == (expected, expected == "C"), name
        assert verdict.status == ("unparsed" if expected is None else "ok")


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("A. 45° B. 60° ;C. 120°; D. No correct answer", "ABCD"),
        ("A. Yes, around ;O.;B. Yes, twice ;O.;C. No.; F. No correct answer", "ABCF"),
        ("A. First to B, then to ;C. ;B. To B, then to ;C. ;C. To ;C. ;D. No", "ABCD"),
    ],
)
def test_options_with_letters_inside(text, letters) -> None:
    assert "".join(options(text)) == letters


DOMAINS = {f"concept {i}": f"Domain {i % 3}" for i in range(7)}
TREE = [
    {"root0": "Geometry", "root1": "R", "root2": d, "root3": c, "full node": f"R_{d}_{c}"}
    for c, d in DOMAINS.items()
]


def owners_domains(rows: list[tuple[str, bool]]) -> dict[str, float]:
    """By concept of one-step rows, and by domain the mean of its concepts' means."""
    by_concept: dict[str, list[bool]] = {}
    for concept, right in rows:
        by_concept.setdefault(concept, []).append(right)
    out = {f"wemath/concept/{c.replace(' ', '_')}": sum(r) / len(r) for c, r in by_concept.items()}
    for domain in set(DOMAINS.values()):
        leaves = [sum(r) / len(r) for c, r in by_concept.items() if DOMAINS[c] == domain]
        out[f"wemath/domain/{domain.lower().replace(' ', '_')}"] = sum(leaves) / len(leaves)
    return out


def owners_score(rows: list[tuple[str, str, bool]]) -> dict[str, float]:
    """The four dimensions as their definitions say, 525 minus penalties."""
    by_group: dict[str, dict[str, bool]] = {}
    for name, step, right in rows:
        by_group.setdefault(name, {})[step] = right
    n = Counter()
    for answers in by_group.values():
        steps = [v for k, v in answers.items() if k != "multi"]
        multi = answers["multi"]
        n["IK"] += not all(steps) and not multi
        n["IG"] += all(steps) and not multi
        n["CM_strict"] += all(steps) and multi
        n["CM_loose"] += any(steps) and multi
        n["RM_strict"] += not all(steps) and multi
        n["RM_loose"] += not any(steps) and multi
    total = 525
    out = {k: n[k] / total for k in ("IK", "IG", "CM_strict", "CM_loose")}
    for mode in ("strict", "loose"):
        lost = 0.5 * n["IG"] + n[f"RM_{mode}"] + n["IK"]
        out[f"score_{mode}"] = (total - lost) / total
        out[f"RM_{mode}"] = n[f"RM_{mode}"] / (n[f"CM_{mode}"] + n[f"RM_{mode}"])
    one_step = [right for _, step, right in rows if step != "multi"]
    out["S1"] = sum(one_step) / len(one_step)
    for s in "23":
        multi = [r for name, step, r in rows if step == "multi" and name.startswith(s)]
        out[f"S{s}"] = sum(multi) / len(multi)
    out["accuracy"] = sum(right for *_, right in rows) / len(rows)
    return {f"wemath/{k}": v for k, v in out.items()}


@pytest.mark.parametrize("rate", [0.3, 0.6, 0.95])
def test_figures_of_a_complete_run_are_the_owners(rate, tmp_path) -> None:
    draw = random.Random(rate)
    names = [f"2steps_{i}" for i in range(1, 361)] + [f"3steps_{i}" for i in range(1, 166)]
    rows = [r for name in names for r in group(name)]
    for number, one in enumerate(r for r in rows if not str(r["key"]).endswith("multi")):
        one["knowledge concept"] = f"concept {min(number % 29, 6)}"
    (tmp_path / "1.png").write_bytes(PNG)
    (tmp_path / "testmini.json").write_text(json.dumps(rows))
    (tmp_path / "knowledge_structure_nodes.json").write_text(json.dumps(TREE))
    asked = ONE.load(tmp_path)
    assert len(asked) == 1740
    verdicts = [Verdict(i.id, draw.random() < rate) for i in asked]
    pairs = list(zip(asked, verdicts, strict=True))
    judged = [(i.meta["ID"], i.meta["step"], v.correct) for i, v in pairs]
    steps = [
        (i.meta["knowledge_concept"], v.correct) for i, v in pairs if i.meta["step"] != "multi"
    ]
    values = ONE.values(asked, verdicts)
    ours = {v.metric: v.mean for v in values} | ONE.extra(asked, verdicts)
    assert ours == pytest.approx(owners_score(judged) | owners_domains(steps), abs=1e-12)
    sizes = {v.metric: len(v.units) for v in values}
    assert sizes["wemath/S1"] == 1215
    assert sizes["wemath/score_strict"] == 525


def test_a_tree_that_is_none_is_named_and_without_one_no_domain_is_figured(tmp_path) -> None:
    (tmp_path / "1.png").write_bytes(PNG)
    (tmp_path / "testmini.json").write_text(json.dumps(group("2steps_1")))
    asked = ONE.load(tmp_path)
    names = {v.metric for v in ONE.values(asked, [Verdict(i.id, True) for i in asked])}
    assert "wemath/concept/length" in names
    assert not any(name.startswith("wemath/domain/") for name in names)
    (tmp_path / "knowledge_structure_nodes.json").write_text('[{"root2": "R"}]')
    with pytest.raises(DataError, match=r"knowledge_structure_nodes\.json: .*'full node'"):
        ONE.load(tmp_path)


def test_with_an_incomplete_group_no_figure_over_groups_is_given() -> None:
    whole = items(group("2steps_1") + group("3steps_4"))
    asked = whole[:-2]
    assert incomplete(asked) == {"3steps_4": ["3", "multi"]}
    said = [Verdict(i.id, True) for i in asked]
    given = {v.metric: v.mean for v in ONE.values(asked, said)} | ONE.extra(asked, said)
    assert given["wemath/accuracy"] == given["wemath/S1"] == 1.0
    all_said = [Verdict(i.id, True) for i in whole]
    all_given = {v.metric for v in ONE.values(whole, all_said)} | set(ONE.extra(whole, all_said))
    names = "S3 score_strict score_loose IK IG CM_strict CM_loose RM_strict RM_loose"
    assert all_given - set(given) == {f"wemath/{name}" for name in names.split()}
    assert "1 groups are incomplete (3steps_4 lacks 3, multi)" in ONE.withheld(asked)
    assert ONE.withheld(whole) == ""


def test_the_rote_memorisation_rate_is_undefined_without_a_right_composite() -> None:
    asked = items(group("2steps_1"))
    undefined = {"wemath/RM_strict": math.nan, "wemath/RM_loose": math.nan}
    found = ONE.extra(asked, [Verdict(i.id, False) for i in asked])
    assert found == pytest.approx(undefined, nan_ok=True)


@published
def test_the_published_file() -> None:
    loaded = ONE.load(DATA)
    assert len(loaded) == 1740
    assert len({i.cluster for i in loaded}) == 525
    keys = Counter(i.meta["key"] for i in loaded)
    assert keys == {f"2steps_{s}": 360 for s in ("1", "2", "multi")} | {
        f"3steps_{s}": 165 for s in ("1", "2", "3", "multi")
    }
    assert incomplete(loaded) == {}
    steps = [i for i in loaded if i.meta["step"] != "multi"]
    assert len({i.meta["knowledge_concept"] for i in steps}) == 67
    under = Counter(
        domain for _, domain in {(i.meta["knowledge_concept"], i.meta["domain"]) for i in steps}
    )
    assert sorted(under.values()) == sorted((3, 2, 16, 14, 7, 8, 3, 5, 2, 3, 2, 2))
    names = {v.metric for v in ONE.values(loaded, [Verdict(i.id, True) for i in loaded])}
    assert sum(name.startswith("wemath/domain/") for name in names) == 12
    assert sum(name.startswith("wemath/concept/") for name in names) == 67
    for item in loaded:
        assert item.answer in item.meta["options"], item.id
        assert ONE.scorer().score(item, f"\\boxed{{{item.answer}}}").correct


(ASKED,) = items([row("2steps_1", "1")])


@given(st.text(max_size=80), st.sampled_from(["{}", "\\boxed{{{}}}", "Answer: {}"]))
def test_any_response_gets_a_verdict(text, around) -> None:
    for name in ONE.scorers:
        verdict = ONE.scorer(name).score(ASKED, around.format(text))
        assert verdict.status == "ok" or not verdict.correct


@pytest.mark.parametrize(
    ("response", "letter", "rule"),
    [
        ("<Answer>: <<C>>", "C", "after Answer"),
        ("Because it is long", "B", "first character"),
        ("Answer: it is C", None, "after Answer"),
    ],
)
def test_the_rule_of_an_official_verdict_says_what_it_read(response, letter, rule) -> None:
    verdict = ONE.scorer("official").score(ASKED, response)
    assert (verdict.extracted, verdict.rule) == (letter, f"official/{rule}")


def test_the_rote_memorisation_rate_is_of_the_right_composites_in_all_samples() -> None:
    asked = items(group("2steps_1") + group("2steps_2"))
    #: Of each sample, by group: (steps right, composite right).
    rounds = [[(True, True), (False, True)], [(False, True), (True, False)]]
    verdicts = [
        Verdict(i.id, right[i.meta["step"] == "multi"], decoding="sampled", sample=sample)
        for sample, groups in enumerate(rounds)
        for i in asked
        for right in [groups[int(i.cluster[-1]) - 1]]
    ]
    values, extra = figures(ONE, asked, verdicts)
    assert extra["wemath/RM_strict"] == pytest.approx(2 / 3)
    assert (extra["wemath/RM_strict"].part, extra["wemath/RM_strict"].whole) == (2, 3)
    (strict,) = [v for v in values if v.metric == "wemath/score_strict"]
    assert strict.values == (0.5, 0.25)
    greedy = [replace(v, decoding="greedy") for v in verdicts if v.sample == 0]
    first = figures(ONE, asked, greedy)[1]["wemath/RM_loose"]
    assert (first, first.whole) == (0.5, 2)
    assert figures(ONE, asked[:-1], [v for v in verdicts if v.item != asked[-1].id])[1] == {}
