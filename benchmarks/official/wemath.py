"""We-Math (arXiv 2407.01284): 525 composite questions, each with its two or three sub-questions.

Rules of ``four_dimensional_metrics.py`` and ``accuracy.py`` of We-Math/We-Math. A *group* is one
composite question (``multi``) and its steps 1..s; they share an ID.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.aggregate import accuracies, by_item, slug
from benchmarks.answers import rules
from benchmarks.answers.asked import asked_of
from benchmarks.answers.reading import read
from benchmarks.base import DataError, Edition, Item, Ratio, Scorer, Values, Verdict
from benchmarks.official.benchmark import FunctionScorer, OfficialBenchmark, image

REVISION = "a57a0e8"
KEY = re.compile(r"([23])steps_([123]|multi)")
#: The owners' tree of concepts, beside their rows: which of its twelve domains a concept is of.
TREE = "knowledge_structure_nodes.json"
CLEANED = str.maketrans("", "", "><:.")


class WeMath(OfficialBenchmark):
    name = "wemath"
    title = "We-Math (testmini)"
    headline = "wemath/accuracy"
    scorers = ("rules", "official+extract", "official")
    templates = ("wemath",)

    editions = (
        Edition(
            "testmini",
            1740,
            525,
            {("key", f"2steps_{step}"): 360 for step in ("1", "2", "multi")}
            | {("key", f"3steps_{step}"): 165 for step in ("1", "2", "3", "multi")},
            "testmini.json of We-Math/We-Math",
            ("WeMath.tsv", "WeMath_COT.tsv"),
        ),
    )
    judged = ("key", "options", "knowledge_concept")

    def read(self, source: Path | str, split: str | None, pictures: bool) -> list[Item]:
        items = super().read(source, split, pictures)
        domain = domains(self.files(source, split).folder / TREE)
        return [
            replace(item, meta={**item.meta, "domain": domain[item.meta["knowledge_concept"]]})
            if item.meta["knowledge_concept"] in domain
            else item
            for item in items
        ]

    def item(self, where: str, row: Mapping[str, Any], pictures: Path | None) -> Item:
        group, key, answer = str(row["ID"]), str(row["key"]), str(row["answer"]).strip()
        match = KEY.fullmatch(key)
        if match is None or not group.startswith(f"{match[1]}steps"):
            raise DataError(f"{where}: key {key!r} of {group!r} must be one of its steps or multi.")
        named = options(row["option"])
        if answer not in named:
            raise DataError(
                f"{where}: answer {answer!r} names none of the options {', '.join(named)}."
            )
        return Item(
            id=f"{group}/{match[2]}",
            question=f"{row['question']}\n{row['option']}",
            answer=answer,
            images=image(where, row, pictures, "image_path"),
            cluster=group,
            meta={
                "ID": group,
                "key": key,
                "steps": int(match[1]),
                "step": match[2],
                "text": row["question"],
                "option": row["option"],
                "options": named,
                "knowledge_concept": row["knowledge concept"],
            },
        )

    def facets(self, item: Item) -> Iterable[tuple[str, str]]:
        return ()

    def counted(self, item: Item) -> Iterable[tuple[str, str]]:
        yield "key", item.meta["key"]

    def make_scorers(self) -> Mapping[str, Scorer]:
        base = f"wemath/official@{REVISION}"
        return {
            "rules": FunctionScorer(
                f"wemath/rules{rules.VERSION}",
                lambda item, text: rules.judge(item, text, asked(item)),
            ),
            "official+extract": FunctionScorer(f"{base}+extract4", score_extracted),
            "official": FunctionScorer(base, score_official),
        }

    def values(self, items: Sequence[Item], verdicts: Iterable[Verdict]) -> list[Values]:
        """``accuracy`` over items; ``S1`` over steps, ``S2`` and ``S3`` over composite questions;
        over groups ``score_strict``, ``score_loose``, ``IK``, ``IG``, ``CM_strict``, ``CM_loose``;
        and over steps again each ``concept`` and, where the owners' tree of concepts is beside the
        rows, each ``domain``: the unweighted mean of its concepts.

        Where a group is incomplete the figures over groups are withheld: the owners' formula, 525
        minus penalties, would count it as mastered.
        """
        found = by_item(items, verdicts)
        out = accuracies(self.name, items, found.values(), self.facets)
        parts = {
            "S1": [i for i in items if i.meta["step"] != "multi"],
            "S2": [i for i in items if i.meta["step"] == "multi" and i.meta["steps"] == 2],
            "S3": [i for i in items if i.meta["step"] == "multi" and i.meta["steps"] == 3],
        }
        for part, members in parts.items():
            if members:
                right = {i.id: found[i.id] for i in members}
                (one,) = accuracies(self.name, members, right.values(), self.facets)
                out.append(Values(f"{self.name}/{part}", one.units, one.clusters, one.values))
        states = {} if incomplete(items) else group_states(items, found)
        units = tuple(states)
        for metric, value in _GROUP_METRICS.items() if states else ():
            values = tuple(value(state) for state in states.values())
            out.append(Values(f"{self.name}/{metric}", units, units, values))
        return out + self._concepts(parts["S1"], found)

    def _concepts(self, steps: Sequence[Item], found: Mapping[str, Verdict]) -> list[Values]:
        members: dict[str, list[Item]] = {}
        for item in steps:
            members.setdefault(item.meta["knowledge_concept"], []).append(item)
        out: list[Values] = []
        under: dict[str, dict[str, float]] = {}
        for concept, those in sorted(members.items()):
            right = [found[item.id] for item in those]
            (one,) = accuracies(self.name, those, right, self.facets)
            name = f"{self.name}/concept/{slug(concept)}"
            out.append(Values(name, one.units, one.clusters, one.values))
            if "domain" in those[0].meta:
                under.setdefault(those[0].meta["domain"], {})[concept] = one.mean
        for domain, means in under.items():
            names = tuple(means)
            name = f"{self.name}/domain/{slug(domain)}"
            out.append(Values(name, names, names, tuple(means.values())))
        return out

    def extra(self, items: Sequence[Item], verdicts: Iterable[Verdict]) -> dict[str, Ratio]:
        """``RM_strict`` and ``RM_loose``: of the groups whose composite question is right, the
        share that is rote memorisation. NaN where there is no such group; withheld where a group
        is incomplete."""
        if incomplete(items):
            return {}
        states = group_states(items, by_item(items, verdicts)).values()
        composed = [s for s in states if s in (MASTERED, PARTLY, ROTE)]
        rote = {
            "RM_strict": sum(s != MASTERED for s in composed),
            "RM_loose": sum(s == ROTE for s in composed),
        }
        return {f"{self.name}/{rate}": Ratio(k, len(composed)) for rate, k in rote.items()}

    def withheld(self, items: Sequence[Item]) -> str:
        missing = incomplete(items)
        if not missing:
            return ""
        shown = "; ".join(f"{g} lacks {', '.join(k)}" for g, k in list(missing.items())[:3])
        more = "; ..." if len(missing) > 3 else ""
        return (
            f"no score_strict, score_loose, IK, IG, CM, RM: {len(missing)} groups are incomplete "
            f"({shown}{more}), and the owners' formula would count them as mastered; they need "
            "every row that shares an ID"
        )


#: What a group's verdicts say. Composite question wrong: INSUFFICIENT (a step wrong too) or
#: INADEQUATE (all steps right). Composite right: MASTERED (all steps right), PARTLY (some) or ROTE
#: (none).
INSUFFICIENT, INADEQUATE, MASTERED, PARTLY, ROTE = "IK", "IG", "CM", "partly", "RM"

_GROUP_METRICS = {
    "score_strict": lambda s: {MASTERED: 1.0, INADEQUATE: 0.5}.get(s, 0.0),
    "score_loose": lambda s: {MASTERED: 1.0, PARTLY: 1.0, INADEQUATE: 0.5}.get(s, 0.0),
    "IK": lambda s: float(s == INSUFFICIENT),
    "IG": lambda s: float(s == INADEQUATE),
    "CM_strict": lambda s: float(s == MASTERED),
    "CM_loose": lambda s: float(s in (MASTERED, PARTLY)),
}


def group_states(items: Sequence[Item], verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    """The state of each group by its ID. The groups must be complete."""
    steps: dict[str, list[bool]] = {}
    multi: dict[str, bool] = {}
    for item in items:
        group, right = item.meta["ID"], verdicts[item.id].correct
        if item.meta["step"] == "multi":
            multi[group] = right
        else:
            steps.setdefault(group, []).append(right)
    return {group: _state(steps[group], multi[group]) for group in steps}


def _state(steps: Sequence[bool], multi: bool) -> str:
    if not multi:
        return INADEQUATE if all(steps) else INSUFFICIENT
    return MASTERED if all(steps) else PARTLY if any(steps) else ROTE


def domains(tree: Path) -> dict[str, str]:
    """The domain (``root2``) of each concept, by the owners' tree; empty where there is no file.

    A concept is the last part of a node's ``full node``. Raises :class:`DataError` on a file that
    is no such tree.
    """
    if not tree.is_file():
        return {}
    try:
        nodes = json.loads(tree.read_text(encoding="utf-8-sig"))
        return {str(n["full node"]).rpartition("_")[2]: str(n["root2"]) for n in nodes}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{tree}: not a list of concept nodes ({error!r}).") from None


def incomplete(items: Sequence[Item]) -> dict[str, list[str]]:
    """The steps that are missing from each incomplete group."""
    there: dict[str, set[str]] = {}
    wanted: dict[str, list[str]] = {}
    for item in items:
        group = item.meta["ID"]
        there.setdefault(group, set()).add(item.meta["step"])
        wanted[group] = [str(i + 1) for i in range(item.meta["steps"])] + ["multi"]
    lacks = {g: [s for s in wanted[g] if s not in there[g]] for g in there}
    return {group: steps for group, steps in lacks.items() if steps}


def options(text: str) -> dict[str, str]:
    """The options of a row, letter -> text.

    Rows write ``A. 12; B. 15;C. 20``, some without a separator, some with letters inside a text:
    each letter is looked for behind the one before.
    """
    marks: list[tuple[str, re.Match[str]]] = []
    for letter in "ABCDEFGH":
        start = marks[-1][1].end() if marks else 0
        if match := re.compile(rf"(?:^|[;\s])\s*{letter}\s*[.．、:]").search(text, start):
            marks.append((letter, match))
    ends = [match.start() for _, match in marks[1:]] + [len(text)]
    return {
        letter: text[match.end() : end].strip(" ;")
        for (letter, match), end in zip(marks, ends, strict=True)
    }


def asked(item: Item) -> rules.Asked:
    """What an item asks for, to our reader."""
    return asked_of(item.question, item.meta, item.answer)


def score_official(item: Item, response: str) -> Verdict:
    """The owners' string rule: what follows the last "Answer", without ``> < : .``, starts with the
    letter. It reads no ``\\boxed{B}`` and no ``(C)``. Without that word all of the response is what
    follows: "Because ..." is B by ``official/first character``."""
    *before, rest = response.rsplit("Answer", 1)
    rest = rest.strip().translate(CLEANED).strip()
    rule = "official/after Answer" if before else "official/first character"
    letter = rest[:1] if rest[:1] in tuple("ABCDEFGH") else None
    if letter is None:
        return Verdict(item.id, False, None, "unparsed", rule)
    return Verdict(item.id, letter == item.answer, letter, "ok", rule)


def score_extracted(item: Item, response: str) -> Verdict:
    """Right if the answer that :func:`benchmarks.answers.reading.read` reads is the gold letter, or
    its option."""
    reading = read(response, asked(item))
    right = reading.answer == item.answer
    return Verdict(item.id, right, reading.answer, reading.status, reading.rule, span=reading.span)
