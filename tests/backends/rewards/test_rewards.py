"""Rewards: who wins a vote, who is paid, and what a reward may see."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base.reward import GroupReward, Rollout
from backends.base.stage import RewardTerm
from backends.rewards import mistakes, reward, reward_class, score
from backends.rewards.majority import last_boxed, vote
from tests.backends.offered import offer


def group(*responses: str, answer: str = "") -> Rollout:
    lengths = tuple(map(len, responses))
    return Rollout("q", "?", responses, lengths, ("stop",) * len(responses), 9999, answer)


def boxed(*answers: str) -> tuple[str, ...]:
    return tuple(f"so \\boxed{{{a}}}" for a in answers)


def paid(name: str, rollout: Rollout) -> tuple[float | None, ...]:
    return score(rollout, [RewardTerm(name=name)]).rewards


def test_majority_votes_on_equivalence_classes() -> None:
    responses = boxed("7", "0.5", "7", r"\frac{1}{2}", "1/2")
    assert paid("majority", group(*responses)) == (0, 1, 0, 1, 1)
    assert vote(responses).ratio == pytest.approx(3 / 5)


def test_no_answer_never_wins_and_is_never_paid() -> None:
    responses = ("I do not know, there is nothing to be read in this picture.",) * 3 + boxed("4")
    assert paid("majority", group(*responses)) == (0, 0, 0, 1)
    assert vote(responses).unparsed == pytest.approx(3 / 4)


def test_a_group_without_any_answer_has_no_rewards() -> None:
    result = score(group(*("\\boxed{}",) * 4), [RewardTerm(name="majority")])
    assert result.rewards == (None,) * 4


def test_ties_go_to_the_class_seen_first_and_are_counted() -> None:
    result = score(group(*boxed("7", "5", "5", "7")), [RewardTerm(name="majority")])
    assert result.rewards == (1, 0, 0, 1)
    assert result.stats["ties"] == 1
    assert score(group(*boxed("5", "5", "7")), [RewardTerm(name="majority")]).stats["ties"] == 0


def test_semantic_entropy_is_that_of_the_classes() -> None:
    assert vote(boxed("1", "1", "2", "2")).entropy == pytest.approx(math.log(2))
    assert vote(boxed("3", "3.0", "3", "3")).entropy == 0


@given(st.lists(st.sampled_from(["1", "2", "3", ""]), min_size=2, max_size=10))
def test_the_paid_responses_are_one_largest_class(answers: list[str]) -> None:
    rewards = paid("majority", group(*boxed(*answers)))
    given_answers = [a for a in answers if a]
    if not given_answers:
        assert set(rewards) == {None}
        return
    winners = {a for a, r in zip(answers, rewards, strict=True) if r == 1}
    assert len(winners) == 1
    assert sum(r or 0 for r in rewards) == max(map(given_answers.count, given_answers))


def test_the_released_vote_pays_missing_answers_that_win() -> None:
    responses = ("no box", "none here either", "\\boxed{4")
    result = score(group(*responses, *boxed("4")), [RewardTerm(name="majority_released")])
    assert result.rewards == (1, 1, 1, 0)
    assert result.stats["missing_won"] == 1


def test_the_released_vote_counts_strings_and_pays_equivalents() -> None:
    # As classes 1/2 has three votes; as strings "7" has two, and each way of writing one half one.
    responses = boxed("7", "7", "0.5", r"\frac{1}{2}", "1/2")
    assert paid("majority_released", group(*responses)) == (1, 1, 0, 0, 0)
    assert paid("majority", group(*responses)) == (0, 0, 1, 1, 1)
    assert paid("majority_released", group(*boxed("0.5", "0.5", r"\frac{1}{2}"))) == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2", "None"),
        (r"\boxed{}", ""),
        (r"\boxed{ 7 }", "7"),
        ("nothing", "None"),
    ],
)
def test_the_released_extraction_takes_the_last_balanced_box(text: str, content: str) -> None:
    assert last_boxed(text) == content


def test_accuracy_is_equivalence_with_the_label() -> None:
    responses = (*boxed("0.5", "2"), "no idea what this is about, it shows nothing at all")
    assert paid("accuracy", group(*responses, answer=r"\frac{1}{2}")) == (1, 0, 0)


@pytest.mark.parametrize(
    "response",
    [
        "<think> Since $3+4=7$. </think><answer> $7$ </answer>",
        "<answer>7</answer> <reason>3 and 4</reason>",
        "<think>$1+2=3$, or 4</think>\n<answer>\n7.0\n</answer>",
        r"<answer> the answer is $\boxed{7}$ </answer>",
        r"So \boxed{\frac{14}{2}}",
    ],
)
def test_accuracy_reads_every_template(response: str) -> None:
    assert paid("accuracy", group(response, "<answer> $8$ </answer>", answer="$7$")) == (1, 0)


@pytest.mark.parametrize(
    "label",
    [
        *("$$", r"\boxed{}", "<answer> </answer>", "None", "N/A", "n.a.", "null", "?", "???"),
        *(r"\frac{1}{", r"\boxed{", "}{", r"\boxed{None}", "<answer>nan</answer>"),
    ],
)
def test_a_label_that_cannot_be_read_is_counted_and_pays_nobody(label: str) -> None:
    for name in ("accuracy", "exact", "tag"):
        result = score(group("7", "$$", r"\boxed{}", label, answer=label), [RewardTerm(name=name)])
        assert result.rewards == (None,) * 4
        assert result.stats["unlabelled"] == 1


@pytest.mark.parametrize("label", [r"\{1, 2\}", r"\frac{1}{2}", "none of these", "0", "A", "Na"])
def test_a_label_that_can_be_read_is_one(label: str) -> None:
    for name in ("accuracy", "exact", "tag"):
        assert paid(name, group(label, "17", answer=label)) == (1, 0)


@pytest.mark.parametrize("name", ["accuracy", "exact", "tag"])
def test_a_group_in_which_nobody_answers_is_not_rewarded(name: str) -> None:
    silent = "I do not know, there is nothing to be read in this picture."
    assert paid(name, group(silent, r"\boxed{", answer="7")) == (None, None)
    assert paid(name, group(silent, "5", answer="7")) == (0, 0)
    assert paid("exact", group(silent, r"\boxed{", answer=silent)) == (1, 0)


def test_tag_compares_the_text_in_the_tags() -> None:
    responses = (
        *("<think>dog</think><answer> cat </answer>", "Cat", "<answer>dog</answer> cat"),
        *("<answer>\nCat</answer>", "<answer>CAT</answer>"),
    )
    rollout = group(*responses, answer="<answer> Cat </answer>")
    assert paid("tag", rollout) == (1, 1, 0, 0, 1)
    # The three matchers differ, so that which one is used can be told from what else is.
    half = group("<answer>0.5</answer>", "<answer>1/2</answer>", "1/2", answer="1/2")
    found = {name: paid(name, half) for name in ("accuracy", "tag", "exact")}
    assert found == {"accuracy": (1, 1, 1), "tag": (0, 1, 1), "exact": (0, 0, 1)}


def test_a_missing_label_pays_nobody() -> None:
    for name in ("accuracy", "exact", "tag"):
        result = score(group("", "5", answer="  "), [RewardTerm(name=name)])
        assert result.rewards == (None, None)
        assert result.stats["unlabelled"] == 1


def test_exact_compares_the_whole_response_as_it_is() -> None:
    responses = ("Cat", "cat", " Cat", "Cat.")
    assert paid("exact", group(*responses, answer="<answer> Cat </answer>")) == (1, 0, 0, 0)


def test_think_format() -> None:
    good = "<think>\na</think>\n<answer>b</answer>"
    tight = "<think>a</think><answer>b</answer>"
    twice = "<think><think>a</think><answer>b</answer>"
    bad = ("<answer>b</answer>", f"{good} more", "<think>a<answer>b</answer>")
    assert paid("format_think", group(good, tight, *bad)) == (1, 1, 0, 0, 0)
    assert paid("format_lmm_r1", group(good, f" {tight}\n", twice)) == (0, 1, 0)


def test_answer_first_format() -> None:
    good = "<answer>b</answer>\n<reason>a\nb</reason>"
    bad = ("<reason>a</reason><answer>b</answer>", f"{good}.", "<answer>b</answer>")
    assert paid("format_answer_first", group(good, *bad)) == (1, 0, 0, 0)


def test_adaptive_format_takes_both_and_counts_the_thoughts() -> None:
    responses = (
        *("<answer>b</answer>", "<think>a</think> <answer>b</answer>", "b"),
        "<think>a</think>",
    )
    result = score(group(*responses), [RewardTerm(name="format_adaptive")])
    assert result.rewards == (1, 1, 0, 0)
    assert result.stats["thinking"] == 0.5


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("<think>a</think><answer>b</answer>", True),
        ("<think>a\nb</think><answer>\nb</answer>", True),
        ("  <think>a</think><answer>b</answer>\n", True),
        ("<think>a</think> <answer>b</answer>", False),
        ("<think>a</think>\n<answer>b</answer>", False),
        ("x<think>a</think><answer>b</answer>", False),
        ("<think>a</think><answer>b</answer>x", False),
        ("<think>a</think>b</think><answer>b</answer>", False),
        ("<think>a <think></think><answer>b</answer>", False),
        ("<think>a</think><answer>b<answer></answer>", False),
        ("<think></think><answer></answer>", True),
    ],
)
def test_the_lmm_r1_format_is_its_regular_expression(text: str, valid: bool) -> None:
    assert paid("format_lmm_r1", group(text)) == (float(valid),)


def test_boxed_format() -> None:
    responses = (r"\boxed{3}", r"\boxed{}", r"\boxed{3", "3")
    assert paid("format_boxed", group(*responses)) == (1, 0, 0, 0)


def test_rewards_add_up_by_weight() -> None:
    rollout = group("<think>x</think><answer>4</answer>", "<answer>4</answer>", answer="4")
    parts = [RewardTerm(name="accuracy"), RewardTerm(name="format_think", weight=0.5)]
    assert score(rollout, parts).rewards == (1.5, 1.0)


def test_a_reward_that_is_no_number_is_no_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    values = (float("nan"), float("inf"), 1.0, None)
    offer(monkeypatch, "odd", lambda rollout: GroupReward(values, {}))
    assert paid("odd", group("a", "b", "c", "d")) == (None, None, 1.0, None)


def test_only_a_reward_that_declares_the_need_sees_the_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    def spy(rollout: Rollout) -> GroupReward:
        seen.append(rollout.answer)
        return GroupReward((0.0,), {})

    for needs in (False, True):
        offer(monkeypatch, "spy", spy, needs)
        score(group("x", answer="secret"), [RewardTerm(name="spy")])
    assert seen == ["", "secret"]


@pytest.mark.parametrize("function", [lambda r: 1 / 0, lambda r: GroupReward((1.0,), {})])
def test_a_reward_that_fails_takes_its_question_out(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    function: Callable[[Rollout], GroupReward],
) -> None:
    offer(monkeypatch, "bad", function)
    result = score(group("x", "y"), [RewardTerm(name="bad")])
    assert result.rewards == (None, None)
    assert result.stats["reward_errors"] == 1
    assert "question 'q'" in caplog.text


def test_an_unknown_reward_is_answered_with_the_nearest() -> None:
    with pytest.raises(KeyError, match="did you mean 'majority'"):
        reward_class("majorty")


def test_equal_terms_are_one_reward_and_other_parameters_another() -> None:
    four, again, five = (
        reward(RewardTerm(name="repetition", parameters={"ngram": n})) for n in (4, 4, 5)
    )
    assert four is again
    assert four is not five


@pytest.mark.parametrize(
    ("term", "place", "said"),
    [
        ({"name": "overlnog"}, ("name",), "unknown reward 'overlnog'; did you mean 'overlong'?"),
        (
            {"name": "overlong", "parameters": {"bufer": 4}},
            ("parameters", "bufer"),
            "unknown parameter of reward 'overlong' 'bufer'; did you mean 'buffer'? "
            "Known: max_length, buffer",
        ),
        (
            {"name": "overlong", "parameters": {"buffer": "much"}},
            ("parameters", "buffer"),
            "buffer of reward 'overlong': expected a valid integer, unable to parse string as an "
            "integer, not 'much'",
        ),
        (
            {"name": "overlong", "parameters": {"buffer": 0}},
            ("parameters", "buffer"),
            "buffer of reward 'overlong': expected greater than or equal to 1, not 0",
        ),
        (
            {"name": "accuracy", "parameters": {"strict": True}},
            ("parameters", "strict"),
            "unknown parameter of reward 'accuracy' 'strict'. Known: none",
        ),
        (
            {"name": "gone.py:Mine"},
            ("name",),
            "reward 'gone.py:Mine': there is no file gone.py",
        ),
    ],
)
def test_a_wrong_term_is_told_once_with_its_place(
    term: dict[str, Any], place: tuple[str, ...], said: str
) -> None:
    terms = [RewardTerm(name="accuracy"), RewardTerm.model_validate(term)]
    assert list(mistakes(terms)) == [((1, *place), said)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module", "cannot be loaded from"),
        ("def Mine(group): ...", "is no subclass of backends.base.reward.Reward"),
        (
            "from backends.base.reward import Reward\nclass Mine(Reward):\n    name = 'mine'\n",
            "cannot be made: TypeError: Can't instantiate abstract class Mine",
        ),
        (
            "from backends.base.reward import Reward\nclass Mine(Reward):\n"
            "    def __call__(self, group): ...",
            "says no `name`",
        ),
        ("class Other: ...", "cannot be loaded from"),
    ],
)
def test_a_users_broken_file_is_told_in_a_sentence(tmp_path: Path, source: str, said: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source)
    ((place, told),) = mistakes([RewardTerm(name=f"{file}:Mine")])
    assert place == (0, "name")
    assert said in told
    assert "\n" not in told


def test_a_term_is_written_down_without_parameters_where_it_has_none() -> None:
    plain, set_ = RewardTerm(name="a"), RewardTerm(name="b", parameters={"n": 1})
    assert plain.model_dump() == {"name": "a", "weight": 1.0}
    assert set_.model_dump() == {"name": "b", "weight": 1.0, "parameters": {"n": 1}}
    assert RewardTerm.model_validate_json(set_.model_dump_json()) == set_
