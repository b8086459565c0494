"""VLMEvalKit's verdicts come back item by item. With HARNESS_VLMEVALKIT_PYTHON, an interpreter that
has it, its real scorer is asked."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks.registry import benchmark
from harness.errors import HarnessError
from harness.interop.vlmevalkit import bridge
from harness.rescoring import scoring as rescore
from harness.rescoring.saved import Saved

from .kit_answers import answered, constructed, items_of

KIT = os.environ.get("HARNESS_VLMEVALKIT_PYTHON", "")
kit = pytest.mark.skipif(
    not KIT, reason="HARNESS_VLMEVALKIT_PYTHON names no interpreter that has VLMEvalKit"
)
DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"

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
