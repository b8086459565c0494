"""VLMEvalKit: its prediction files hold what the models said, and its verdicts come back item by
item. With HARNESS_VLMEVALKIT_PYTHON, an interpreter that has it, its real scorer is asked."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.base import Generation, Item
from benchmarks.registry import benchmark
from benchmarks.saved.published import Answer
from benchmarks.tiny import write_benchmark
from harness.errors import HarnessError
from harness.interop.vlmevalkit import bridge
from harness.interop.vlmevalkit.export import READ_AS_MISSING, export, export_all
from harness.rescoring import saved
from harness.rescoring import scoring as rescore
from harness.rescoring.saved import Saved

KIT = os.environ.get("HARNESS_VLMEVALKIT_PYTHON", "")
kit = pytest.mark.skipif(
    not KIT, reason="HARNESS_VLMEVALKIT_PYTHON names no interpreter that has VLMEvalKit"
)
DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"

MATHVISION = [
    {
        "id": "1",
        "question": "How many?\n<image1>",
        "options": ["1", "2", "3", "4", "5"],
        "answer": "B",
        "level": 2,
        "subject": "counting",
    },
    {"id": "2", "question": "<image1>", "options": [], "answer": "8.0", "level": 3, "subject": "x"},
]

#: Ways to say a letter. Constructed, not a model's: right and wrong letters are equally often said.
PHRASES = (
    "<Thought process>: <<We look.>> <Answer>: <<{letter}>>",
    "We compute step by step, so it is \\boxed{{{letter}}}",
    "The answer is {letter}.",
    "**Answer:** ({letter})",
    "<think>Area first.</think><answer>{letter}</answer>",
    "{letter}",
    "Because the sides are equal, choose {letter}",
    "Answer: {letter}. Check: this fits, Answer confirmed.",
    "",
    "None",
    "I cannot tell.",
)


def items_of(name: str, folder: Path) -> list[Item]:
    if name == "mathvision":
        (folder / "test.jsonl").write_text("\n".join(map(json.dumps, MATHVISION)))
        return list(benchmark(name).items("test", [("row", row) for row in MATHVISION]))  # type: ignore[attr-defined]
    write_benchmark(name, folder / name)
    return benchmark(name).load(folder / name)


def answered(name: str, items: Sequence[Item], texts: Sequence[str]) -> Saved:
    said = [
        Answer(Generation(item.id, "greedy", 0, text))
        for item, text in zip(items, texts, strict=True)
    ]
    return Saved(benchmark(name), "test", tuple(items), tuple(said), len(items))


def constructed(items: Sequence[Item]) -> list[str]:
    draw = random.Random(0)
    letters = [item.answer if draw.random() < 0.5 else draw.choice("ABCDE") for item in items]
    return [PHRASES[n % len(PHRASES)].format(letter=letter) for n, letter in enumerate(letters)]


# ------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("name", ["wemath", "mathvista", "mathverse", "mathvision"])
def test_an_exported_file_comes_back_whole(tmp_path: Path, name: str) -> None:
    """The same golds, the same responses, and so the same verdicts: nothing was lost."""
    items = items_of(name, tmp_path)
    texts = ["=3+4", "a\tb\r\nc\x00\x07", 'say "B"', "x" * 40_000, "B"]
    ours = answered(name, items, [texts[n % 5] for n in range(len(items))])
    (file,) = export(ours, "tiny-1.5b", tmp_path / "out")
    assert file.path.parent == tmp_path / "out" / "tiny-1.5b"
    dataset = {
        "wemath": "WeMath",
        "mathvista": "MathVista_MINI",
        "mathverse": "MathVerse_MINI",
        "mathvision": "MathVision_MINI",
    }[name]
    assert file.path.name == f"tiny-1.5b_{dataset}.tsv"
    assert (file.n, file.total, file.changed) == (len(items), len(items), {})

    theirs = saved.load(file.path, None, None)
    assert theirs.benchmark.name == name
    assert [a.generation for a in theirs.answers] == [a.generation for a in ours.answers]
    assert [item.answer for item in theirs.items] == [item.answer for item in items]
    assert [item.cluster for item in theirs.items] == [item.cluster for item in items] or (
        name == "mathvista"  # the picture's path is not in the file
    )
    if name != "wemath":  # whose options stand in columns, without their punctuation
        assert [item.question for item in theirs.items] == [item.question for item in items]
    for scorer in ("official+extract", "rules"):
        left, right = rescore.score(ours, [scorer]), rescore.score(theirs, [scorer])
        assert left[0].verdicts == right[0].verdicts


def test_the_columns_that_its_scorers_read(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = {}
    for name in ("wemath", "mathvista", "mathverse", "mathvision"):
        items = items_of(name, tmp_path)
        (file,) = export(answered(name, items, ["B"] * len(items)), "m", tmp_path / "out")
        table = pandas.read_csv(file.path, sep="\t")
        assert len(table) == len(items)
        assert table["index"].is_unique
        assert str(table["index"].dtype) == "int64"
        rows[name] = table.iloc[0]
        if name == "mathvista":
            for item, options, letter in zip(
                items, table["choices"], table["answer_option"], strict=True
            ):
                choices = eval(options)  # as its scorer does
                assert choices == item.meta["choices"]
                assert not choices or choices[ord(letter) - ord("A")] == item.answer
    assert {"ID", "key", "question", "A", "B", "answer", "knowledge concept", "prediction"} <= set(
        rows["wemath"].index
    )
    vista = rows["mathvista"]
    assert {"question_type", "answer_type", "answer_option", "choices", "task", "skills"} <= set(
        vista.index
    )
    # Its scorer turns every quote of the metadata into a double one.
    assert json.loads(rows["mathverse"]["metadata"].replace("'", '"'))["subject"]
    assert {"problem_version", "question_for_eval"} <= set(rows["mathverse"].index)
    assert eval(rows["mathvision"]["choices"]) == ["1", "2", "3", "4", "5"]
    assert rows["mathvision"]["category"] == "counting"


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=40), min_size=1, max_size=8))
def test_its_loader_reads_every_text_or_we_say_which_not(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    pandas = pytest.importorskip("pandas")
    texts = ["words, so that the column holds text", *texts]
    items = [
        Item(str(n), "Q", "1", meta={"options": (), "subject": "s", "level": 1})
        for n in range(len(texts))
    ]
    (file,) = export(answered("mathvision", items, texts), "m", tmp_path_factory.mktemp("hostile"))
    read = list(pandas.read_csv(file.path, sep="\t")["prediction"])
    for item, text, got in zip(items, texts, read, strict=True):
        if item.id in file.changed:
            assert got.rstrip(" ") == text.encode("utf-8", "replace").decode()
        else:
            assert got == text


def test_what_pandas_reads_as_missing_is_guarded_and_counted(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    from pandas._libs.parsers import STR_NA_VALUES

    assert set(STR_NA_VALUES) == READ_AS_MISSING
    texts = [*sorted(READ_AS_MISSING), "nothing"]
    items = [Item(str(n), "Q", meta={"options": (), "subject": "s", "level": 1}) for n in range(20)]
    (file,) = export(answered("mathvision", items, texts), "m", tmp_path)
    assert len(file.changed) == len(READ_AS_MISSING)
    read = pandas.read_csv(file.path, sep="\t")["prediction"]
    assert [text.strip() for text in read] == texts


def test_every_sample_has_its_file(tmp_path: Path) -> None:
    items = items_of("mathvision", tmp_path)
    said = [
        Answer(Generation(item.id, decoding, sample, f"{decoding} {sample}"))
        for item in items
        for decoding, sample in (("greedy", 0), ("sampled", 0), ("sampled", 1))
    ]
    ours = Saved(benchmark("mathvision"), "test", tuple(items), tuple(said), 3040)
    files = export(ours, "m", tmp_path / "out")
    assert [file.path.name for file in files] == [
        "m_MathVision.tsv",
        "m-sample0_MathVision.tsv",
        "m-sample1_MathVision.tsv",
    ]
    assert (files[0].n, files[0].total) == (2, 3040)
    texts = [a.generation.text for a in saved.load(files[2].path, None, None).answers]
    assert texts == ["sampled 1"] * 2


def test_one_version_of_mathverse_has_its_own_data_set(tmp_path: Path) -> None:
    items = items_of("mathverse", tmp_path)
    only = [item for item in items if item.meta["problem_version"] == "Vision Only"]
    (file,) = export(answered("mathverse", only, ["B"] * len(only)), "m", tmp_path / "out")
    assert file.dataset == "MathVerse_MINI_Vision_Only"
    text = [replace(only[0], meta={**only[0].meta, "problem_version": "Text Only"})]
    with pytest.raises(HarnessError, match="no data set of MathVerse's Text Only version"):
        export(answered("mathverse", text, ["B"]), "m", tmp_path / "out")


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    items = items_of("mathvision", tmp_path)
    ours = answered("mathvision", items, ["A", "B"])
    with pytest.raises(HarnessError, match=r"--model 'a/b': must be a name for files"):
        export(ours, "a/b", tmp_path)
    with pytest.raises(HarnessError, match="numbers its items, and 'x1' is no number"):
        export(answered("mathvision", [replace(items[0], id="x1")], ["A"]), "m", tmp_path)
    twins = [items[0], replace(items[1], id="01")]
    with pytest.raises(HarnessError, match="two items of MathVision_MINI would share an index"):
        export(answered("mathvision", twins, ["A", "B"]), "m", tmp_path)
    other = replace(ours, benchmark=type("Other", (), {"name": "gsm8k"})())
    with pytest.raises(
        HarnessError, match="wemath, mathvista, mathverse, mathvision, and not for gs"
    ):
        export(other, "m", tmp_path)


def test_its_verdicts_on_earlier_responses_are_not_left_beside_new_ones(tmp_path: Path) -> None:
    items = items_of("mathvision", tmp_path)
    (file,) = export(answered("mathvision", items, ["A", "B"]), "m", tmp_path / "out")
    judged = file.path.with_name("m_MathVision_MINI_gpt-4o-mini.xlsx")
    judged.write_bytes(b"")
    export(answered("mathvision", items, ["A", "B"]), "m", tmp_path / "out")  # the same
    with pytest.raises(HarnessError, match=f"earlier responses.*{judged.name}. Delete them"):
        export(answered("mathvision", items, ["A", "C"]), "m", tmp_path / "out")
    judged.unlink()
    export(answered("mathvision", items, ["A", "C"]), "m", tmp_path / "out")
    assert "C" in file.path.read_text()


def run_folder(root: Path) -> Path:
    """A run with two trials of one generate step each, as the harness leaves them."""
    write_benchmark("wemath", root / "data")
    items = benchmark("wemath").load(root / "data")
    for trial in ("base-s0", "grpo-s0"):
        generated = root / "store" / "generate" / trial
        generated.mkdir(parents=True)
        rows = [
            {"item": i.id, "decoding": "greedy", "sample": 0, "text": "NA", "finish": "stop"}
            for i in items
        ]
        pq.write_table(
            pa.Table.from_pylist([{**row, "tokens": 1} for row in rows]),
            generated / "generations.parquet",
        )
        spec = {"benchmark": "wemath", "data": "sha256:d", "limit": None}
        manifest = {"kind": "generate", "spec": spec}
        (generated / "manifest.json").write_text(json.dumps(manifest))
        folder = root / "run" / "trials" / trial
        folder.mkdir(parents=True)
        result = {"scores": {"wemath": {"path": f"store/generate/{trial}"}}}
        (folder / "result.json").write_text(json.dumps(result))
        sources = {"sha256:d": {"id": "sha256:d", "source": str(root / "data")}}
        (folder / "spec.json").write_text(json.dumps({"sources": sources}))
    (root / "run" / "plan.json").write_text("{}")
    return root / "run"


def test_the_command_exports_every_trial_of_a_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    command = [sys.executable, "-m", "harness.cli", "export", str(run), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    n = len(benchmark("wemath").load(tmp_path / "data"))
    for trial in ("run-base-s0", "run-grpo-s0"):
        path = tmp_path / trial / f"{trial}_WeMath.tsv"
        assert f"{path}: {n} responses to WeMath" in done.stdout
        assert len(saved.load(path, None, None).answers) == n
    assert "'NA' is read as an empty cell: a space added at its end" in done.stdout

    (file,) = export_all(run / "trials" / "base-s0", None, None, "other", tmp_path / "out")
    assert file.path == tmp_path / "out" / "other" / "other_WeMath.tsv"
    with pytest.raises(HarnessError, match=r"unknown benchmark of .*'mathvista'"):
        list(export_all(run, "mathvista", None, None, tmp_path))
    with pytest.raises(HarnessError, match="the trials of a run have names of their own"):
        list(export_all(run, None, None, "m", tmp_path))
    done = subprocess.run(
        [*command, "--format", "lmms"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "unknown format 'lmms'" in done.stderr


# ------------------------------------------------------------------------------------------- bridge

SAID = ("<Answer>: <<B>>", "\\boxed{B}", "Because of C", "None", "B", "It is A or B", "Answer: A")
#: What VLMEvalKit (ms-vlmeval 0.0.20) said of them, recorded; B is right everywhere.
EXACT = (("B", True), (None, False), ("B", True), (None, False), ("B", True), (None, False))
PREFETCH = ((None, None), ("B", True), ("C", False), ("A", False), ("B", True), (None, None))
LAST = ("A", False)


def seven(folder: Path) -> Saved:
    """The responses to a question of two steps and one of three."""
    rows = [
        {
            "ID": f"{steps}steps_1",
            "key": f"{steps}steps_{step}",
            "question": "Which?",
            "option": "A. one; B. two; C. three",
            "answer": "B",
            "knowledge concept": "Understanding Angles (Using a Protractor)",
        }
        for steps in (2, 3)
        for step in [*map(str, range(1, steps + 1)), "multi"]
    ]
    items = benchmark("wemath").items("test", [("row", row) for row in rows])  # type: ignore[attr-defined]
    return answered("wemath", items, SAID)


def interpreter(path: Path, body: str) -> Path:
    """An executable that is called as an interpreter: with a script and a job."""
    path.write_text(
        f"#!{sys.executable}\nimport json, os, sys, time\n"
        f"job = json.load(open(sys.argv[2]))\n{body}\n"
    )
    path.chmod(0o755)
    return path


def test_verdicts_come_back_item_by_item(tmp_path: Path) -> None:
    ways = {"exact_matching": (*EXACT, LAST), "prefetch": (*PREFETCH, LAST)}
    file = {
        "verdicts": {
            way: [
                {"index": n, "correct": correct, "extracted": letter}
                for n, (letter, correct) in reversed(list(enumerate(verdicts)))
            ]
            for way, verdicts in ways.items()
        },
        "read": {str(n): text for n, text in enumerate([*SAID[:3], "None ", "5.0", *SAID[5:]])},
        "figures": {"Score (Strict)": "99.62%", "Direction": "nan%"},
        "failed": "ZeroDivisionError: division by zero",
    }
    answer = json.dumps({"version": "ms-vlmeval-0.0.20", "files": [file]})
    python = interpreter(tmp_path / "python", f"open(job['out'], 'w').write({answer!r})")
    ours = seven(tmp_path)
    found = bridge.score(ours, python)
    exact, prefetch = found.scored
    assert (exact.name, prefetch.name) == ("vlmevalkit", "vlmevalkit-prefetch")
    assert exact.id == "wemath/exact_matching@ms-vlmeval-0.0.20"
    assert [(v.extracted, v.correct) for v in exact.verdicts] == [*EXACT, LAST]
    assert [v.item for v in exact.verdicts] == [item.id for item in ours.items]
    states = [v.status for v in exact.verdicts]
    assert states == ["ok", "unparsed", "ok", "unparsed", "ok", "unparsed", "ok"]
    assert [v.status for v in prefetch.verdicts].count("judge_failed") == 2
    assert prefetch.verdicts[0].rule == "needs a judge"
    columns = rescore.judges(ours, found.scored)
    assert rescore.agreement(*columns.values()) == (3, 5)  # of what both judged
    assert exact.metrics["wemath/S1"] == 0.4
    assert found.figures == {}
    said = " | ".join(found.notes)
    assert "own figures stopped with ZeroDivisionError" in said
    assert "read as other text: 1, the first to 3steps_1/2" in said
    assert "responses changed: 1, the first to 3steps_1/1: 'None' is read as an empty" in said
    assert "own figures on these 7 of 1740 items are left out" in said


def test_what_its_interpreter_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set at the place where it looks, no network, and none of our own packages."""
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    body = (
        "home = os.environ['LMUData']\n"
        "assert os.path.samefile(os.getcwd(), home) and os.environ['HF_HUB_OFFLINE'] == '1'\n"
        "assert 'PYTHONPATH' not in os.environ and sys.argv[1].startswith(home)\n"
        "(file,) = job['files']\n"
        "assert open(file).read() == open(os.path.join(home, job['dataset'] + '.tsv')).read()\n"
        "open(job['out'], 'w').write(json.dumps({'error': 'all is well'}))"
    )
    with pytest.raises(HarnessError, match="failed: all is well"):
        bridge.score(seven(tmp_path), interpreter(tmp_path / "python", body))


def test_what_its_interpreter_can_do_wrong(tmp_path: Path) -> None:
    ours = seven(tmp_path)
    with pytest.raises(HarnessError, match=r"no such interpreter; it is installed with: pip"):
        bridge.score(ours, tmp_path / "nowhere")
    with pytest.raises(
        HarnessError, match=r"failed: ModuleNotFoundError: No module named 'vlmeval"
    ):
        bridge.score(ours, Path(sys.executable))  # ours, which has no VLMEvalKit
    dying = interpreter(tmp_path / "dying", "print('out of luck', file=sys.stderr); os._exit(7)")
    with pytest.raises(HarnessError, match=r"ended with exit code 7:\nout of luck"):
        bridge.score(ours, dying)
    sleeping = interpreter(tmp_path / "sleeping", "time.sleep(60)")
    with pytest.raises(HarnessError, match=r"no verdicts within 0\.5 s"):
        bridge.score(ours, sleeping, time_limit=0.5)
    (tmp_path / "text").write_text("no program")
    with pytest.raises(HarnessError, match="text: cannot be run"):
        bridge.score(ours, tmp_path / "text")
    for name in ("mathverse", "mathvision"):
        items = items_of(name, tmp_path)
        with pytest.raises(
            HarnessError, match="`harness export` writes the file for a run of your"
        ):
            bridge.score(answered(name, items, ["A"] * len(items)), Path(sys.executable))


@kit
def test_the_recorded_verdicts_are_its_own(tmp_path: Path) -> None:
    exact, prefetch = bridge.score(seven(tmp_path), Path(KIT)).scored
    assert [(v.extracted, v.correct) for v in exact.verdicts] == [*EXACT, LAST]
    theirs = [
        (v.extracted, None if v.status == "judge_failed" else v.correct) for v in prefetch.verdicts
    ]
    assert theirs == [*PREFETCH, LAST]


@kit
@pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the repository")
def test_exact_matching_is_the_owners_string_rule(tmp_path: Path) -> None:
    """On all of We-Math testmini: the verdicts of our ``official`` and the figures that it prints,
    from letters said in many ways."""
    items = benchmark("wemath").load_text(DATA / "wemath")  # type: ignore[attr-defined]
    ours = answered("wemath", items, constructed(items))
    (official,) = rescore.score(ours, ["official"])
    found = bridge.score(ours, Path(KIT))
    assert [(v.correct, v.extracted) for v in found.scored[0].verdicts] == [
        (v.correct, v.extracted) for v in official.verdicts
    ]
    for theirs, metric in [
        ("Score (Strict)", "score_strict"),
        ("Score (Loose)", "score_loose"),
        ("InsufficientKnowledge (Strict)", "IK"),
        ("InadequateGeneralization (Strict)", "IG"),
        ("CompleteMastery (Loose)", "CM_loose"),
        ("RoteMemorization (Loose)", "RM_loose"),
        ("One-step(S1)", "S1"),
        ("Two-step(S2)", "S2"),
        ("Three-step(S3)", "S3"),
    ]:
        printed = found.figures[theirs].partition("%")[0]
        assert printed == f"{100 * official.metrics[f'wemath/{metric}']:.2f}"


@kit
def test_mathvista_by_what_it_reads_without_a_judge(tmp_path: Path) -> None:
    items = items_of("mathvista", tmp_path)
    letters = [
        chr(ord("A") + item.meta["choices"].index(item.answer)) if item.meta["choices"] else ""
        for item in items
    ]
    texts = [f"The answer is {letter}." if letter else "So it is 7." for letter in letters]
    (found,) = bridge.score(answered("mathvista", items, texts), Path(KIT)).scored
    for letter, verdict in zip(letters, found.verdicts, strict=True):
        expected = (True, letter, "ok") if letter else (False, None, "judge_failed")
        assert (verdict.correct, verdict.extracted, verdict.status) == expected
