"""VLMEvalKit's own verdicts on saved responses, from an interpreter that has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.base import Verdict
from harness.errors import HarnessError
from harness.interop.vlmevalkit import script
from harness.interop.vlmevalkit.export import Exported, export
from harness.rescoring.saved import Saved
from harness.rescoring.scoring import Scored, figured

#: Its import alone takes half a minute on two cores.
TIME_LIMIT = 1800
#: Items of the data set whose size its figures take for granted.
WEMATH = 1740
#: Why the others are not here.
REFUSED = {
    "mathverse": "VLMEvalKit asks a judge about every answer to MathVerse",
    "mathvision": "VLMEvalKit evaluates answers to MathVision as Python code",
}
HINT = "it is installed with: pip install ms-vlmeval 'transformers<5' 'datasets<4.5' 'pandas<3'"


@dataclass(frozen=True)
class Result:
    """``scored`` is each of its ways to judge: ``vlmevalkit`` (exact matching, its judge-free
    evaluation of We-Math) and ``vlmevalkit-prefetch`` (what it reads by rules before it asks a
    judge; where it would ask, the verdict's status is ``judge_failed``). ``figures`` are its own,
    as it prints them; ``notes`` what a reader of them must know."""

    scored: tuple[Scored, ...]
    figures: Mapping[str, str]
    notes: tuple[str, ...]


def score(saved: Saved, python: Path, time_limit: float = TIME_LIMIT) -> Result:
    """Let VLMEvalKit judge the responses. ``python`` is the interpreter that has it. Nothing is
    asked of a judge or of the network. Raises :class:`HarnessError`."""
    if saved.benchmark.name in REFUSED:
        raise HarnessError(
            f"{REFUSED[saved.benchmark.name]}; `harness export` writes the file for a run of yours"
        )
    if not python.is_file():
        raise HarnessError(f"--vlmevalkit-python {python}: no such interpreter; {HINT}")
    with tempfile.TemporaryDirectory(prefix="vlmevalkit-") as name:
        folder = Path(name)
        exported = export(saved, "model", folder)
        answer = _run(python, folder, exported, time_limit)
    return _result(saved, exported, answer)


def _run(
    python: Path, folder: Path, exported: Sequence[Exported], time_limit: float
) -> dict[str, Any]:
    first = exported[0]
    shutil.copy(first.path, folder / f"{first.dataset}.tsv")  # where it looks for its data set
    program = shutil.copy(script.__file__, folder / "judge.py")
    job, out = folder / "job.json", folder / "out.json"
    files = [str(each.path) for each in exported]
    job.write_text(json.dumps({"dataset": first.dataset, "files": files, "out": str(out)}))
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"LMUData": str(folder), "HF_HUB_OFFLINE": "1", "PRED_FORMAT": "xlsx"}
    command = [str(python.absolute()), str(program), str(job)]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=time_limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HarnessError(f"VLMEvalKit gave no verdicts within {time_limit:g} s") from None
    except OSError as error:
        raise HarnessError(f"--vlmevalkit-python {python}: cannot be run ({error})") from None
    try:
        answer: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        tail = "\n".join(done.stderr.splitlines()[-5:])
        raise HarnessError(f"{python} ended with exit code {done.returncode}:\n{tail}") from None
    if "error" in answer:
        raise HarnessError(f"VLMEvalKit in {python} failed: {answer['error']}\n{HINT}")
    return answer


def _result(saved: Saved, exported: Sequence[Exported], answer: Mapping[str, Any]) -> Result:
    found: dict[str, dict[tuple[str, str, int], Verdict]] = {}
    figures: dict[str, str] = {}
    notes = []
    for file, said in zip(exported, answer["files"], strict=True):
        item_of = {index: item for item, index in file.index.items()}
        for way, verdicts in said["verdicts"].items():
            column = found.setdefault(way, {})
            for each in verdicts:
                item = item_of[each["index"]]
                column[item, file.decoding, file.sample] = Verdict(
                    item,
                    bool(each["correct"]),
                    each["extracted"],
                    "judge_failed"
                    if each["correct"] is None
                    else "unparsed"
                    if each["extracted"] is None
                    else "ok",
                    "needs a judge" if each["correct"] is None else way,
                    file.decoding,
                    file.sample,
                )
        if not figures:
            figures = {name: value for name, value in said["figures"].items() if value != "nan%"}
        if said["failed"]:
            notes.append(f"VLMEvalKit's own figures stopped with {said['failed']}")
        notes += _differently(saved, file, said["read"])
        if file.changed:
            item, why = next(iter(file.changed.items()))
            notes.append(f"responses changed: {len(file.changed)}, the first to {item}: {why}")
    if figures and len(saved.items) != WEMATH:
        figures = {}
        notes.append(
            "VLMEvalKit counts We-Math's absent groups as mastered, so its own figures on these "
            f"{len(saved.items)} of {WEMATH} items are left out"
        )
    order = [(a.generation.item, a.generation.decoding, a.generation.sample) for a in saved.answers]
    scored = []
    for way, column in found.items():
        name = "vlmevalkit" if way == "exact_matching" else f"vlmevalkit-{way}"
        id = f"{saved.benchmark.name}/{way}@{answer['version']}"
        scored.append(figured(saved, name, id, [column[each] for each in order]))
    return Result(tuple(scored), figures, tuple(notes))


def _differently(saved: Saved, file: Exported, read: Mapping[str, str]) -> list[str]:
    """Responses that its loader read as something else, such as numbers."""
    other = []
    for answer in saved.answers:
        said = answer.generation
        if (said.decoding, said.sample) != (file.decoding, file.sample):
            continue
        if said.item not in file.changed and read[str(file.index[said.item])] != said.text:
            other.append(said.item)
    if not other:
        return []
    return [
        f"responses that VLMEvalKit's loader read as other text: {len(other)}, the first to "
        f"{other[0]}"
    ]
