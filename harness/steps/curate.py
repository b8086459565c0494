"""Curate: training data out of what a model said, by the stage's rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from backends.base.stage import Curation
from backends.curation import Said, choose
from benchmarks.base import Item
from benchmarks.data.questions import save_questions
from harness.errors import StepError
from harness.plan.specs import Curate
from harness.steps import respond
from harness.steps.context import Context
from harness.store.files import write_json

#: What a run of the rule can count, in the words that a person is told.
WORDS = {
    "over_long": "have a prompt that is too long",
    "unlabelled": "have no label that can be read",
    "none_correct": "have no response that agrees with the label",
    "no_answer": "have no response with an answer",
    "cut": "have such responses only cut by the length limit",
    "not_judged": "have no response whose judgement can be read",
    "none_judged_right": "have no response that is judged right with enough certainty",
    "ties": "have responses of which none is best",
    "no_picture": "have no picture",
    "no_contrast": "have no two descriptions that differ",
}


def run(spec: Curate, context: Context) -> None:
    """Write ``questions.jsonl``: one row for each demonstration (its ``solution``) or pair (in
    ``meta``: ``chosen``, ``rejected``), and ``summary.json`` with what was kept and why the rest
    was not.

    No row has an answer: what is learnt is the response. Raises :class:`StepError` with the reason
    where nothing is kept.
    """
    pool = context.questions(spec.questions)
    rule = Curation.model_validate(
        {"keep": spec.keep, "per_question": spec.per_question}
        | ({} if spec.threshold is None else {"threshold": spec.threshold})
    )
    responses = respond.read(context.parents["responses"])
    beside: dict[str, respond.Responses] = {}
    for role in {"judgements", "rejected"} & context.parents.keys():
        beside = respond.read(context.parents[role])
    counts: Counter[str] = Counter()
    kept: list[Item] = []
    for done, item in enumerate(pool, 1):
        own = responses[item.id]
        if own.over_long:
            counts["over_long"] += 1
            context.progress(done, len(pool), "questions")
            continue
        other = beside[item.id].said if beside else ()
        choice = choose(rule, item, own.said, other)
        counts += choice.counts
        made = [
            _row(item, own.question, f"{item.id}/{i}", solution=own.said[i].text)
            for i in choice.demonstrations
        ]
        against = other if rule.keep == "contrast" else own.said
        made += [
            _row(item, own.question, f"{item.id}/{i}-{j}", pair=(own.said[i], against[j]))
            for i, j in choice.pairs
        ]
        counts["questions_kept"] += bool(made)
        kept += made
        context.progress(done, len(pool), "questions")
    responses_asked = sum(len(responses[item.id].said) for item in pool)
    summary = {"questions": len(pool), "responses": responses_asked, "kept": len(kept), **counts}
    write_json(context.out / "summary.json", summary)
    if not kept:
        raise StepError(_why(rule, len(pool), counts))
    save_questions(kept, context.out)


def _row(
    item: Item,
    question: str,
    name: str,
    solution: str = "",
    pair: tuple[Said, Said] | None = None,
) -> Item:
    meta = {"question": item.id}
    if pair is not None:
        meta |= {"chosen": pair[0].text, "rejected": pair[1].text}
    return replace(item, id=name, question=question, answer="", solution=solution, meta=meta)


def _why(rule: Curation, questions: int, counts: Counter[str]) -> str:
    said = [f"{counts[key]} {words}" for key, words in WORDS.items() if counts[key]]
    if counts["unreadable_judgements"]:
        form = "no Yes or No" if rule.keep == "judged" else "no score"
        said.append(f"{counts['unreadable_judgements']} judgements hold {form}")
    return f"curation by {rule.keep!r} keeps nothing of {questions} questions: {'; '.join(said)}"
