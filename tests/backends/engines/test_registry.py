"""Engines by name: ours, one that a package offers, and one that nobody has."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.base.engine import EngineError, Request, Sampling
from backends.engines.registry import ENGINES, missing, open_engine, samples_locally
from benchmarks import plugins

ENGINE = '''\
from backends.base.engine import Response


class Echo:
    """Says what it is asked."""

    version = "7"
    samples_locally = True

    def missing(self):
        return None

    def open(self, model, settings):
        return self

    def generate(self, requests, sampling, *, logp=False):
        for index, request in enumerate(requests):
            yield index, [Response(request.text, (), "stop", counted=1)] * sampling.n

    def close(self):
        pass
'''


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "echo_engine.py").write_text(ENGINE)
    info = tmp_path / "echo_engine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-engine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness.plugins]\nengine.echo = echo_engine:Echo\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    plugins.offered.cache_clear()
    yield
    plugins.offered.cache_clear()


@pytest.mark.usefixtures("offered")
def test_a_packages_engine_is_opened_by_its_name_and_known_by_its_version() -> None:
    assert missing("echo") is None
    assert samples_locally("echo")
    assert ENGINES.identity("echo") == "echo@7"
    engine = open_engine("echo", None)
    answers = dict(engine.generate([Request("a", "hello")], Sampling(n=2)))
    assert [response.text for response in answers[0]] == ["hello", "hello"]


def test_an_engine_that_nobody_has_is_refused_with_the_nearest_name() -> None:
    said = missing("vlm")
    assert said is not None
    assert "did you mean 'vllm'" in said
    with pytest.raises(EngineError, match="did you mean 'vllm'"):
        open_engine("vlm", None)


def test_what_decides_an_engines_texts_has_a_version() -> None:
    assert {name: ENGINES.identity(name) for name in ("hf", "vllm", "openai")} == {
        "hf": "hf@2",
        "vllm": "vllm@2",
        "openai": "openai@2",
    }
