"""``harness rescore``: published verdicts are reproduced, differences listed, mistakes named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from benchmarks.saved import parallel
from benchmarks.tiny import write_benchmark
from harness.errors import HarnessError
from harness.rescoring import saved
from harness.rescoring import scoring as rescore

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
published = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the repository")


def row(pid: int, response: str, extraction: str | None, correct: bool | None) -> dict[str, Any]:
    made = {
        "pid": str(pid),
        "question": "Which is it?",
        "image": f"{pid}.png",
        "choices": ["red bar", "blue"],
        "unit": None,
        "precision": None,
        "answer": "blue",
        "question_type": "multi_choice",
        "answer_type": "text",
        "metadata": {"task": "figures"},
        "response": response,
    }
    if extraction is not None:
        made["extraction"] = extraction
    return made if correct is None else {**made, "true_false": correct}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        row(1, "The answer is (B).", "B", True),
        row(2, "", "", True),  # the owners' credit for an empty answer: the shortest choice
        row(3, "It is the red bar.", "A", False),
        row(4, "It is blue.", None, None),  # neither extracted nor judged
    ]
    path = tmp_path / "output_model.json"
    path.write_text(json.dumps({r["pid"]: r for r in rows}))
    return path


def text(answers: saved.Saved, scored: list[rescore.Scored], first: int = 20) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    rescore.show(answers, scored, console, first)
    console.file.close()
    return console.export_text()


def test_official_starts_from_the_extraction_and_rules_from_the_response(file: Path) -> None:
    answers = saved.load(file, None, None)
    official, rules = rescore.score(answers, ["official", "rules"])
    assert [v.correct for v in official.verdicts] == [True, True, False, False]
    assert [v.correct for v in rules.verdicts] == [True, False, False, True]
    assert [v.status for v in rules.verdicts] == ["ok", "unparsed", "ok", "ok"]
    assert official.verdicts[3].status == "unparsed"  # no extraction, and prose
    assert (official.metrics["mathvista/accuracy"], official.ns["mathvista/accuracy"]) == (0.5, 4)

    columns = rescore.judges(answers, [official, rules])
    assert list(columns) == ["published", "official", "rules"]
    assert rescore.agreement(columns["published"], columns["official"]) == (3, 3)
    assert rescore.agreement(columns["published"], columns["rules"]) == (2, 3)
    assert rescore.agreement(columns["official"], columns["rules"]) == (2, 4)
    found = rescore.differences(answers, [official, rules])
    assert [d.item for d in found] == ["2", "4"]
    assert found[0].correct == {"published": True, "official": True, "rules": False}
    assert found[0].said["rules"] == "none (unparsed): None"
    assert found[1].correct == {"official": False, "rules": True}


def test_what_is_printed(file: Path) -> None:
    answers = saved.load(file, "mathvista", None)
    said = text(answers, rescore.score(answers, ["official", "rules"]))
    assert (
        "MathVista (testmini): 4 responses to 4 items (SUBSET of 1000), from a MathVista file"
        in said
    )
    assert "2/3 = 66.7%" in said
    assert "mathvista/task/figures" in said
    assert "2 responses differ, by rule" in said
    assert "rules - none (unparsed)" in said
    assert "the first 1 of 2" in text(answers, rescore.score(answers, ["official", "rules"]), 1)
    alone = text(answers, rescore.score(answers, []))
    assert "rules = mathvista/rules" in alone


def test_verdicts_and_disagreements_are_written(file: Path, tmp_path: Path) -> None:
    answers = saved.load(file, None, None)
    scored = rescore.score(answers, ["rules", "official", "rules"])
    assert [one.name for one in scored] == ["rules", "official"]
    rescore.write(tmp_path / "new" / "verdicts.jsonl", rescore.rows(answers, scored))
    lines = (tmp_path / "new" / "verdicts.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 8
    assert rows[0] == {
        "id": "1",
        "scorer": "rules",
        "scorer_id": scored[0].id,
        "correct": True,
        "extracted": "B",
        "rule": "statement/letter",
        "span": [14, 17],
        "status": "ok",
        "decoding": "greedy",
        "sample": 0,
        "published": True,
    }
    assert "published" not in rows[3]
    rescore.write(tmp_path / "d.jsonl", map(asdict, rescore.differences(answers, scored)))
    assert len((tmp_path / "d.jsonl").read_text().splitlines()) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.jsonl", "new", file.name]


def test_the_command_line_and_its_mistakes(file: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness.cli", "rescore", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    out = tmp_path / "v.jsonl"
    done = run(str(file), "--scorer", "official", "--scorer", "rules", "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(out.read_text().splitlines()) == 8

    cut = tmp_path / "cut.json"
    cut.write_text(file.read_text()[:-40])
    failed = run(str(cut), "--out", str(tmp_path / "w.jsonl"))
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"{cut}: not a readable JSON file")
    assert not (tmp_path / "w.jsonl").exists()


def test_mistakes_are_named(file: Path, tmp_path: Path) -> None:
    answers = saved.load(file, None, None)
    with pytest.raises(HarnessError, match="unknown scorer of mathvista 'rule'; did you mean 'rul"):
        rescore.score(answers, ["rule"])
    with pytest.raises(HarnessError, match="unknown benchmark 'mathvist'"):
        saved.load(file, "mathvist", None)
    with pytest.raises(HarnessError, match="is a MathVista file, not one of mathvision"):
        saved.load(file, "mathvision", None)
    with pytest.raises(HarnessError, match="--data nowhere: no such"):
        saved.load(file, None, "nowhere")
    with pytest.raises(HarnessError, match="no such file"):
        saved.load(tmp_path / "nothing.json", None, None)

    vision = tmp_path / "vision.jsonl"
    vision.write_text(json.dumps({"id": "1", "response": "A"}))
    with pytest.raises(HarnessError, match="holds no golds; add --data"):
        saved.load(vision, None, None)

    kit = tmp_path / "kit.tsv"
    kit.write_text("index\tprediction\n1\tA\n")
    with pytest.raises(HarnessError, match="does not tell its benchmark; add --benchmark"):
        saved.load(kit, None, None)

    half = {
        "ID": "2steps_1",
        "key": "2steps_1",
        "option": "A. 1; B. 2",
        "answer": "B",
        "response": "B",
    }
    wemath = tmp_path / "wemath.json"
    wemath.write_text(json.dumps([half]))
    answers = saved.load(wemath, None, None)
    scored = rescore.score(answers, ["rules"])
    assert scored[0].metrics["wemath/accuracy"] == 1.0
    assert "wemath/score_strict" not in scored[0].metrics
    assert any("2steps_1 lacks 2, multi" in note for note in answers.notes)


def test_data_gives_the_golds_and_unknown_ids_are_named(file: Path, tmp_path: Path) -> None:
    rows = {str(n): {**row(n, "", None, None), "answer": "red bar"} for n in range(1, 9)}
    data = tmp_path / "testmini.json"
    data.write_text(json.dumps(rows))
    answers = saved.load(file, None, str(data))
    assert (len(answers.items), answers.total) == (4, 1000)
    assert {item.answer for item in answers.items} == {"red bar"}
    assert "4 items (SUBSET of 1000)" in text(answers, rescore.score(answers, ["rules"]))
    rows.pop("3")
    data.write_text(json.dumps(rows))
    with pytest.raises(HarnessError, match=r"1 answers are to items .* unknown item '3'"):
        saved.load(file, None, str(data))


def generations(folder: Path, *changed: dict[str, Any]) -> Path:
    write_benchmark("mathvista", folder / "data")
    items = saved._named("mathvista").load(folder / "data")
    rows = [
        {
            "item": item.id,
            "decoding": decoding,
            "sample": sample,
            "text": f"\\boxed{{{item.answer}}}",
            "finish": "stop",
            "tokens": 3,
        }
        for item in items
        for decoding, sample in (("greedy", 0), ("sampled", 0), ("sampled", 1))
    ]
    path = folder / "work" / "generate" / "g" / "generations.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([*rows, *changed]), path)
    return path


def test_our_generations(tmp_path: Path) -> None:
    path = generations(tmp_path)
    for given in (path, path.parent):
        answers = saved.load(given, "mathvista", str(tmp_path / "data"))
        (rules,) = rescore.score(answers, ["rules"])
        assert len(answers.answers) == 3 * len(answers.items)
        assert rules.metrics["mathvista/accuracy"] == 1.0
        assert rules.metrics["mathvista/pass_at_2"] == 1.0
    with pytest.raises(HarnessError, match="does not tell its benchmark"):
        saved.load(path, None, str(tmp_path / "data"))
    with pytest.raises(HarnessError, match="does not say where the data of mathvista is"):
        saved.load(path, "mathvista", None)
    with pytest.raises(HarnessError, match="holds no saved responses"):
        saved.load(tmp_path / "data", "mathvista", None)


def test_a_generation_that_is_there_twice_is_named(tmp_path: Path) -> None:
    twice = {"item": "1", "decoding": "greedy", "sample": 7, "text": "", "finish": "", "tokens": 0}
    path = generations(tmp_path, twice, twice)
    with pytest.raises(HarnessError, match="greedy sample 7 of item '1' is there twice"):
        saved.load(path, "mathvista", str(tmp_path / "data"))


def test_workers_change_nothing(tmp_path: Path) -> None:
    said = [r"\boxed{\sqrt{%d}}", r"I take (A): 3x+%d.", "It is %d.", r"\boxed{%d+3x}", ""]
    path = generations(tmp_path)
    rows = pq.read_table(path).to_pylist()
    more = [
        {**row, "decoding": "sampled", "sample": 2 + n, "text": text.replace("%d", str(number % 7))}
        for number, row in enumerate(row for row in rows if row["decoding"] == "greedy")
        for n, text in enumerate(said)
    ]
    pq.write_table(pa.Table.from_pylist([*more, *rows]), path)  # an item's are not side by side
    answers = saved.load(path, "mathvista", str(tmp_path / "data"))
    assert len(answers.answers) > 2 * parallel.CHUNK
    alone, together = (rescore.score(answers, ["rules", "official"], workers) for workers in (1, 2))
    assert alone == together
    assert [v.item for v in alone[0].verdicts] == [a.generation.item for a in answers.answers]
    assert 0 < alone[0].metrics["mathvista/maj_at_7"] <= 1
    written = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for file, scored in zip(written, (alone, together), strict=True):
        rescore.write(file, rescore.rows(answers, scored))
    assert written[0].read_bytes() == written[1].read_bytes()


@published
def test_published_verdicts_are_reproduced() -> None:
    for file, data, scorer, n, floor in [
        ("mathvista/bard/output_bard.json", None, "official-2023", 1000, 970),
        ("mathvista/llava/output_llava_llama_2_13b.json", None, "official-2023", 1000, 970),
        ("mathvision/output_LLaVA-v1.5-7B.jsonl", "mathvision/test.jsonl", "official", 3040, 2949),
    ]:
        answers = saved.load(DATA / file, None, str(DATA / data) if data else None)
        official, rules = rescore.score(answers, [scorer, "rules"])
        columns = rescore.judges(answers, [official, rules])
        assert rescore.agreement(columns["published"], columns[scorer]) == (n, n)
        assert rescore.agreement(columns["published"], columns["rules"])[0] >= floor


def test_hostile_text_reaches_neither_the_file_nor_the_terminal_raw(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    hostile = {"1": "\ud800 \x1b[31mA\x1b[2J", "2": "\x07B"}
    rows = {k: {**row(int(k), text, text, None)} for k, text in hostile.items()}
    file.write_text(json.dumps(rows))
    answers = saved.load(file, "mathvista", None)
    scored = rescore.score(answers, ["official", "rules"])
    out = tmp_path / "verdicts.jsonl"
    rescore.write(out, rescore.rows(answers, scored))
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["1", "2"] * 2
    rescore.write(tmp_path / "pairs.jsonl", map(asdict, rescore.differences(answers, scored)))
    assert "\x1b" not in text(answers, scored)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "answers.json",
        "pairs.jsonl",
        "verdicts.jsonl",
    ]


def test_a_place_that_cannot_be_written_to_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="is a folder; name a file"):
        rescore.writable(tmp_path)


def test_a_run_is_no_trial(tmp_path: Path) -> None:
    trial = tmp_path / "trials" / "base-s0"
    trial.mkdir(parents=True)
    (trial / "result.json").write_text("{}")
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(HarnessError, match=r"is a run: name one of its trials, .*base-s0"):
        saved.load(tmp_path, None, None)


def test_standard_errors_truncation_and_empty_responses_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text(
        json.dumps({str(n): row(n, "A" if n % 2 else "", None, None) for n in range(1, 9)})
    )
    answers = saved.load(file, "mathvista", None)
    assert "4 of 8 responses are empty" in answers.notes
    scored = rescore.score(answers, ["rules"])
    assert set(scored[0].errors) <= set(scored[0].metrics)
    assert "truncated" in text(answers, scored)


def test_rows_that_are_not_as_published_are_told(file: Path) -> None:
    """The rows above ask what nobody published; ids of testmini with golds of their own."""
    answers = saved.load(file, None, None)
    assert answers.total == 1000
    told = [note for note in answers.notes if note.startswith(f"{file.name} is not as published")]
    assert "4 rows ask or answer otherwise than data/testmini.json" in " ".join(told)
