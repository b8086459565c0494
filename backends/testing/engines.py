"""What every engine must do, as tests: a plug-in's suite subclasses :class:`EngineContract`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.base.engine import Engine, Request, Response, Sampling

HOT = Sampling(n=3, temperature=1.0, max_tokens=8, seed=5)


class EngineContract:
    """Subclass it, and give it a pytest fixture ``engine``: an engine over a model small enough
    that a test takes seconds. Give the other fixtures where the defaults do not suit."""

    #: Whether the same seed gives the same text: what a server does with a seed is its business.
    repeats = True

    @pytest.fixture
    def requests(self) -> list[Request]:
        """Some requests that the model can be asked, with pictures if it looks at any."""
        return [Request(f"r{i}", text) for i, text in enumerate(("one", "two and more", "3", "4?"))]

    @pytest.fixture
    def too_long(self) -> Request:
        """A prompt of more tokens than the engine reads."""
        return Request("long", "word " * 20_000)

    @pytest.fixture
    def forbidden(self) -> frozenset[int]:
        """Ids of the tokens that stand for pictures, of a model that would say them if it might."""
        return frozenset()

    def test_every_request_is_answered_once_with_n_samples(
        self, engine: Engine, requests: list[Request]
    ) -> None:
        answers = list(engine.generate(requests, HOT))
        assert sorted(index for index, _ in answers) == list(range(len(requests)))
        assert {len(responses) for _, responses in answers} == {HOT.n}
        assert list(engine.generate([], HOT)) == []

    def test_the_same_seed_gives_the_same_text(
        self, engine: Engine, requests: list[Request]
    ) -> None:
        if not self.repeats:
            pytest.skip("this engine does not promise it")
        expected = texts(engine, requests, HOT)
        assert texts(engine, requests, HOT) == expected
        assert texts(engine, requests, replace(HOT, seed=6)) != expected

    def test_a_text_does_not_depend_on_the_other_requests_or_their_order(
        self, engine: Engine, requests: list[Request]
    ) -> None:
        if not self.repeats:
            pytest.skip("this engine does not promise it")
        expected = texts(engine, requests, HOT)
        assert texts(engine, requests[::-1], HOT) == expected
        assert texts(engine, requests[1:2], HOT)[requests[1].id] == expected[requests[1].id]

    def test_greedy_is_deterministic_and_its_samples_are_one(
        self, engine: Engine, requests: list[Request]
    ) -> None:
        greedy = Sampling(n=2, temperature=0.0, max_tokens=8)
        first = texts(engine, requests, greedy)
        assert all(a == b for a, b in first.values())
        assert texts(engine, requests, replace(greedy, seed=9)) == first

    def test_it_says_why_each_response_ended(self, engine: Engine, requests: list[Request]) -> None:
        for max_tokens in (1, 8):
            sampling = replace(HOT, max_tokens=max_tokens)
            for response in all_of(engine, requests, sampling):
                assert response.finish in ("stop", "length")
                assert response.length <= max_tokens
                assert response.finish == "stop" or response.length == max_tokens

    def test_log_probabilities_are_those_of_the_sampled_tokens(
        self, engine: Engine, requests: list[Request]
    ) -> None:
        for _, responses in engine.generate(requests, HOT, logp=True):
            for response in responses:
                assert len(response.logp) in (0, response.length)
                assert all(logp <= 1e-6 for logp in response.logp)

    def test_a_prompt_that_is_too_long_has_no_responses(
        self, engine: Engine, requests: list[Request], too_long: Request
    ) -> None:
        answers = dict(engine.generate([too_long, *requests], HOT))
        assert answers[0] == []
        assert all(len(answers[i]) == HOT.n for i in range(1, len(requests) + 1))

    def test_what_stands_for_a_picture_is_never_sampled(
        self, engine: Engine, requests: list[Request], forbidden: frozenset[int]
    ) -> None:
        if not forbidden:
            pytest.skip("the fixture `forbidden` names no tokens")
        hot = Sampling(n=64, temperature=2.0, max_tokens=8)
        said = {token for r in all_of(engine, requests[:2], hot) for token in r.tokens}
        assert len(said) > len(forbidden), "a model that says little proves nothing"
        assert not said & forbidden

    def test_closing_twice_is_closing(self, engine: Engine) -> None:
        engine.close()
        engine.close()


def all_of(engine: Engine, requests: list[Request], sampling: Sampling) -> list[Response]:
    return [r for _, responses in engine.generate(requests, sampling) for r in responses]


def texts(engine: Engine, requests: list[Request], sampling: Sampling) -> dict[str, list[str]]:
    """The texts of each request, by its id."""
    answers = engine.generate(requests, sampling)
    return {requests[i].id: [r.text for r in responses] for i, responses in answers}
