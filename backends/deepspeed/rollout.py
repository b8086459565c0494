"""Where a step's groups come from: the policy's samples, those of other models, and which of them
are trained on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from backends.base.backend import TrainingError
from backends.base.engine import Response, Sampling
from backends.base.stage import Stage
from backends.models.encoding import Encoder
from backends.models.prompt import Prompt
from backends.training.clock import Clock
from backends.training.groups import Group
from backends.training.samples import (
    Drawn,
    QuestionOrder,
    Sample,
    agreement,
    mixed,
    request,
    reward,
)
from benchmarks.base import Item

#: A drawn question with its encoded prompt.
Asked = tuple[Drawn, Prompt]
#: Samples the policy: yields (index of the question, its responses), in any order.
Sampler = Callable[[Sequence[Asked], Sampling], Iterable[tuple[int, list[Response]]]]


@dataclass
class ExternalResponses:
    """What other models said to a question, and how many of their responses are left out: cut by
    the length limit, too long to train on, or never given."""

    responses: list[Response] = field(default_factory=list)
    dropped: int = 0


class Rollouts:
    """The groups of each step. What a step samples is a function of (seed, step, question) alone:
    the same on any number of ranks, and after a resume.
    """

    def __init__(
        self,
        stage: Stage,
        seed: int,
        items: Sequence[Item],
        encoder: Encoder,
        sample: Sampler,
        external: Mapping[str, ExternalResponses] | None = None,
    ) -> None:
        self.stage, self.seed, self.encoder, self.sample = stage, seed, encoder, sample
        self.external = external or {}
        self.items = items
        self.order = QuestionOrder(items, stage.questions_per_step, seed)

    def at(
        self, step: int, drawn: Sequence[Drawn], clock: Clock
    ) -> tuple[list[Sample], Counter[str]]:
        """Rewarded groups for these questions of the step, in the order of their places, and what
        went into them: ``dropped_prompts`` (over-long), and the ``sampled_tokens`` and ``pictures``
        of all groups, those included that were replaced or only voted.

        With dynamic sampling (DAPO, arXiv 2503.14476 section 3.2) a question whose responses all
        have one reward is replaced, up to ``stage.dynamic_sampling`` times, by one that the step
        has not drawn; the last replacement stays whatever its rewards are.
        """
        found: dict[int, list[Sample]] = {}
        counts = Counter(dropped_prompts=0, sampled_tokens=0, pictures=0)
        for turn in range(1 + self.stage.dynamic_sampling):
            groups = self._groups(step, turn, drawn, counts, clock)
            found |= groups
            agreed = [place for place, parts in groups.items() if not parts[0].contrast]
            if turn == self.stage.dynamic_sampling or not agreed:
                break
            spares = self._spares(step, turn)
            drawn = [spares[place] for place in sorted(agreed) if spares]
        samples = [sample for place in sorted(found) for sample in found[place]]
        return samples, counts

    def _spares(self, step: int, turn: int) -> list[Drawn]:
        """A replacement for each place, of the questions that the step asks nowhere; none where it
        asks them all. Before each of the others was drawn, none is drawn again."""
        asked = {drawn.item.id for drawn in self.order.at(step)}
        others = [item for item in self.items if item.id not in asked]
        if not others:
            return []
        seed = mixed(self.seed, "spares", step)
        return QuestionOrder(others, self.stage.questions_per_step, seed).at(turn - 1)

    def _groups(
        self, step: int, turn: int, drawn: Sequence[Drawn], counts: Counter[str], clock: Clock
    ) -> dict[int, list[Sample]]:
        stage = self.stage
        encoded = [(d, self.encoder.encode(request(d, stage.template))) for d in drawn]
        kept = [(d, prompt) for d, prompt in encoded if prompt is not None]
        sampling = Sampling(
            n=stage.vote_size or stage.group_size,
            temperature=stage.temperature,
            top_p=stage.top_p,
            max_tokens=stage.max_response_tokens,
            seed=mixed(self.seed, step) if turn == 0 else mixed(self.seed, step, turn),
        )
        found = {}
        for index, responses in self.sample(kept, sampling):
            question, prompt = kept[index]
            counts["sampled_tokens"] += sum(len(r.tokens) for r in responses)
            counts["pictures"] += len(prompt.pictures)
            own, *taught = self._group(question, prompt, responses, clock)
            if turn:
                own = own.logging(replaced_questions=float(turn))
            found[question.place] = [own, *taught]
        counts["dropped_prompts"] += len(drawn) - len(kept)
        return found

    def _group(
        self, question: Drawn, prompt: Prompt, responses: list[Response], clock: Clock
    ) -> list[Sample]:
        """The group of one question, and behind it what is learnt from others as it is."""
        stage = self.stage
        others = self.external.get(question.item.id, ExternalResponses())
        pool = [*responses, *others.responses]
        sample = Sample(
            question.place,
            Group(prompt, [list(r.tokens) for r in pool]),
            truncated=[r.finish == "length" for r in pool],
            engine_logp=[r.logp or (float("nan"),) * len(r.tokens) for r in pool],
            external=[i >= len(responses) for i in range(len(pool))],
        )
        with clock.timed("reward"):
            sample = reward(question, sample, pool, stage)
        if stage.external is None:
            # TTRL (arXiv 2504.16084): all vote, the first group_size of them are trained on.
            group = sample.keep([i < stage.group_size for i in range(len(pool))])
            return [group.logging(**agreement(group))]
        sample = sample.logging(external_dropped=float(others.dropped))
        if stage.external.off_policy == "sft":
            return _taught(sample)
        plain, chosen = (
            best(sample.rewards, sample.external, stage.group_size, keep)
            for keep in (False, stage.external.keep_contrast)
        )
        group = sample.keep(chosen)
        return [
            group.logging(
                **agreement(group),
                external_share=sum(group.external) / len(group.external),
                external_reward=_mean([r for r, e in _scored(sample) if e]),
                contrast_kept=float(chosen != plain),
            )
        ]


def best(
    rewards: Sequence[float | None], external: Sequence[bool], size: int, keep_contrast: bool
) -> list[bool]:
    """Which of a pool [n] are the ``size`` best by reward; the policy's own go before equals.

    With ``keep_contrast``, where these all have one reward, the last of them gives way to the
    policy's best response with another: a group that agrees teaches nothing. (Vision-EKIPL keeps
    the best and does not say what becomes of such groups.)
    """

    def rank(i: int) -> tuple[bool, float, bool, int]:
        value = rewards[i]
        return value is None, -(value or 0.0), external[i], i

    order = sorted(range(len(rewards)), key=rank)
    chosen, rest = order[:size], order[size:]
    if keep_contrast and len({rewards[i] for i in chosen}) == 1:
        same = rewards[chosen[0]]
        others = [i for i in rest if not external[i] and rewards[i] not in (None, same)]
        if others:
            chosen[-1] = others[0]
    return [i in set(chosen) for i in range(len(rewards))]


def _taught(sample: Sample) -> list[Sample]:
    """The policy's own group, and of the external responses those better than its mean."""
    own = sample.keep([not e for e in sample.external])
    mean = _mean([r for r, e in _scored(sample) if not e])
    better = [
        e and r is not None and r > mean
        for r, e in zip(sample.rewards, sample.external, strict=True)
    ]
    own = own.logging(
        **agreement(own),
        external_share=sum(better) / max(sum(sample.external), 1),
        external_reward=_mean([r for r, e in _scored(sample) if e]),
    )
    if not any(better):
        return [own]
    return [own, replace(sample.keep(better), figures={}, taught=True)]


def _scored(sample: Sample) -> list[tuple[float, bool]]:
    pairs = zip(sample.rewards, sample.external, strict=True)
    return [(r, e) for r, e in pairs if r is not None]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def read_external(path: Path, encoder: Encoder, max_tokens: int) -> dict[str, ExternalResponses]:
    """The external responses to each question, by its id; those too long to train on are left out.

    Raises :class:`TrainingError` naming the line that is not as
    :class:`backends.base.backend.Inputs` says.
    """
    found: dict[str, ExternalResponses] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                name, texts = str(row["id"]), [str(text) for text in row["texts"]]
                dropped = int(row.get("dropped", 0))
            except (ValueError, KeyError, TypeError) as error:
                raise TrainingError(
                    f"{path}, line {number}: no external responses ({error!r}); expected "
                    '{"id": ..., "model": ..., "texts": [...]}'
                ) from None
            of_question = found.setdefault(name, ExternalResponses())
            of_question.dropped += dropped
            for text in texts:
                tokens = tuple(encoder.response(text))
                if len(tokens) > max_tokens:
                    of_question.dropped += 1
                else:
                    of_question.responses.append(Response(text, tokens, "stop"))
    return found
