"""Math-Verify's own test suite, as it says and as we say: ``math_verify_pairs.py CHECKOUT``.

Reads the pairs of a gold and a prediction, with the verdict that is expected, out of the test files
of a checkout of https://github.com/huggingface/Math-Verify. Nothing of it is executed or copied.
Each pair whose gold is shorter than ``--longest`` is judged by

- ``equality``: :func:`benchmarks.answers.equality.equivalent` on the answer alone, which is what
  stands in the prediction's last boxes, the text that Math-Verify extracts, or a short prediction
  as it is;
- ``rules`` and ``accuracy``: the scorer and the reward, on the whole prediction;
- ``math-verify``: the installed one.

A pair that the suite judges in two ways, by an option, agrees with either. Seconds are those of one
process for all pairs, what it asks its child included, after a first question that loads it.
"""

from __future__ import annotations

import argparse
import ast
import logging
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from backends.base.reward import Rollout
from backends.rewards.correctness import Accuracy
from benchmarks.answers import rules
from benchmarks.answers.equality import MAX_ANSWER, equivalent
from benchmarks.base import Item

#: A prediction of so many characters, without a box, is an answer as it is.
SHORT = 60
_EXTRACT = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
Pairs = dict[tuple[str, str], set[bool]]
Judge = Callable[[str, str], bool]


def pairs(checkout: Path) -> Pairs:
    """Gold and prediction of every parametrised test, and the verdicts that are expected."""
    found: Pairs = {}
    for file in sorted((checkout / "tests").glob("test_*.py")):
        for function in ast.parse(file.read_text()).body:
            for row in _rows(function):
                verdict = row.get("expected", row.get("result"))
                if "gold" in row and verdict is not None:
                    key = str(row["gold"]), str(row["pred"])
                    found.setdefault(key, set()).add(bool(verdict))
    return found


def _rows(function: ast.stmt) -> Iterator[dict[str, object]]:
    """The rows of a test's ``parametrize`` that are literals, by name."""
    for decorator in getattr(function, "decorator_list", ()):
        match decorator:
            case ast.Call(ast.Attribute(attr="parametrize"), [ast.Constant(names), ast.List(rows)]):
                for row in rows:
                    try:
                        values = ast.literal_eval(row)
                    except ValueError:
                        continue
                    yield dict(zip([n.strip() for n in names.split(",")], values, strict=True))


@cache
def answers(prediction: str) -> list[str]:
    """The texts that may be a prediction's answer."""
    end = prediction[-MAX_ANSWER:]
    extracted = [text for text in parse(prediction, _EXTRACT) if isinstance(text, str)]
    if r"\boxed" in end:
        extracted.append(end[end.index(r"\boxed") :])
    elif len(prediction) <= SHORT:
        extracted.append(prediction)
    return extracted


def by_equality(gold: str, prediction: str) -> bool:
    return any(equivalent(text, gold) for text in answers(prediction))


def by_rules(gold: str, prediction: str) -> bool:
    item = Item("0", "", gold)
    return rules.judge(item, prediction, rules.Asked("formula", "", gold)).correct


def by_accuracy(gold: str, prediction: str) -> bool:
    group = Rollout("0", "", (prediction,), (1,), ("stop",), 1, answer=gold)
    return Accuracy()(group).rewards == (1.0,)


def by_math_verify(gold: str, prediction: str) -> bool:
    return bool(verify(parse(gold, _EXTRACT), parse(prediction, _EXTRACT)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--longest", type=int, default=200, help="characters of a gold")
    given = parser.parse_args()
    if not (given.checkout / "tests").is_dir():
        raise SystemExit(
            f"{given.checkout} has no folder tests: a checkout of Math-Verify has one."
        )
    found = {
        key: said for key, said in pairs(given.checkout).items() if len(key[0]) < given.longest
    }
    if not found:
        raise SystemExit(f"no pairs in {given.checkout / 'tests'}")
    logging.disable(logging.WARNING)
    for _, prediction in found:  # not on the clock
        answers(prediction)
    judges: dict[str, Judge] = {
        "equality": by_equality,
        "rules": by_rules,
        "accuracy": by_accuracy,
        "math-verify": by_math_verify,
    }
    print(f"| {len(found)} pairs | as the suite says | credited wrongly | missed | seconds |")
    print("|---|---:|---:|---:|---:|")
    verdicts = {name: judged(judge, found, name) for name, judge in judges.items()}
    for name in ("rules", "accuracy"):
        print(f"\n{name}: what differs, and whether the answer alone is judged as the suite says")
        for (gold, prediction), said in found.items():
            verdict = verdicts[name][gold, prediction]
            if verdict not in said:
                alone = (
                    "equality too"
                    if verdicts["equality"][gold, prediction] not in said
                    else "reader"
                )
                kind = "credited" if verdict else "missed"
                print(f"  {kind:8} {alone:12} {gold[:60]!r} {prediction[-70:]!r}")


def judged(judge: Judge, found: Pairs, name: str) -> dict[tuple[str, str], bool]:
    """The verdicts on all pairs. Prints their line of the table."""
    judge(r"$\sqrt{x^2+1}+x$", r"$x+\sqrt{1+x^2}$")
    began = time.perf_counter()
    verdicts = {key: judge(*key) for key in found}
    seconds = time.perf_counter() - began
    credited, missed = (
        sum(verdicts[key] is kind and kind not in said for key, said in found.items())
        for kind in (True, False)
    )
    agreed = 1 - (credited + missed) / len(found)
    print(f"| {name} | {agreed:.1%} | {credited} | {missed} | {seconds:.1f} |", flush=True)
    return verdicts


if __name__ == "__main__":
    main()
