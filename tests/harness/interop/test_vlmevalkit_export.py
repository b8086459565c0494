"""VLMEvalKit's prediction files hold what the models said."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.base import Generation, Item
from benchmarks.registry import benchmark
from benchmarks.saved.answer import Answer
from benchmarks.tiny import write_benchmark
from harness.errors import HarnessError
from harness.interop.vlmevalkit.export import READ_AS_MISSING, export, export_all
from harness.rescoring import saved
from harness.rescoring import scoring as rescore
from harness.rescoring.saved import Saved

from .kit_answers import answered, items_of


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
        (generated / "values.parquet").touch()
        scores = {"wemath": {"path": f"store/generate/{trial}"}}
        result = {"status": "ok", "steps": [], "metrics": {}, "scores": scores}
        (folder / "result.json").write_text(json.dumps(result))
        sources = {"sha256:d": {"id": "sha256:d", "source": str(root / "data")}}
        (folder / "spec.json").write_text(json.dumps({"sources": sources, "trial": {"steps": []}}))
    trials = [{"id": f"{arm}-s0", "arm": arm, "seed": 0} for arm in ("base", "grpo")]
    (root / "run" / "plan.json").write_text(json.dumps({"trials": trials}))
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
