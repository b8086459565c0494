"""How far scorers and the reward agree with the corpus: ``make answers``.

A table by file and by kind, with every scorer of every benchmark that can ask a row's question;
then each row that ``rules``, the default scorer or the reward credits otherwise. ``--only NAME``
shows the rows of one of them, ``--short`` no rows.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict

from tests.benchmarks.answers.corpus import items, paid, rows

REWARD = "accuracy reward"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--only", help="rows that this scorer, or 'reward', credits otherwise")
    asked.add_argument("--short", action="store_true", help="the tables alone")
    options = asked.parse_args()
    agree: dict[str, Counter[str]] = defaultdict(Counter)
    total: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: dict[str, list[str]] = defaultdict(list)
    for row in rows():
        for one, item in items(row):
            credited = {
                name: one.scorer(name).score(item, row.response).correct for name in one.scorers
            }
            credited[REWARD] = paid(item, row.response)
            for name, said in credited.items():
                same = said == row.right
                for group in (f"file {row.file}", f"kind {row.kind}", "all"):
                    agree[group][name] += same
                    total[group][name] += 1
                if not same and not (row.misread and name in ("rules", REWARD)):
                    wrong[name].append(f"{one.name} {row}")
    names = ["rules", "official+extract", REWARD, "official", "official-2023"]
    print("| | n | " + " | ".join(names) + " |")
    print("|---|---|" + "---|" * len(names))
    for group in sorted(total, key=lambda group: (group == "all", group)):
        counts = total[group]
        shares = (
            f"{100 * agree[group][name] / counts[name]:.1f}" if counts[name] else ""
            for name in names
        )
        print(f"| {group} | {counts['rules']} | " + " | ".join(shares) + " |")
    if options.short:
        return
    shown = ["rules", "official+extract", REWARD]
    if options.only:
        shown = [name for name in names if options.only in name]
    for name in shown:
        print(f"\n{name}: {len(wrong[name])} verdicts differ")
        print("\n".join(wrong[name]))


if __name__ == "__main__":
    main()
