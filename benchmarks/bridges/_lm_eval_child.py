"""Verdicts of an lm-eval task, in a process that can be killed.

The child loads the task's definition without its data set (one document is handed over in its
place) and applies its filters and its metric to one response at a time. A response that takes too
long ends the child by a timer's signal, as in ``_equivalence``; the next one starts another.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Seconds of processor time for one verdict.
TIME_LIMIT = 10.0


class TaskChild:
    """The verdicts of one task; ``folder`` holds the file that defines it and ``definition`` names
    what is in it, so that an edited task gets another child. Can be pickled and forked: every
    process has children of its own."""

    def __init__(self, folder: Path, task: str, definition: str) -> None:
        self.folder = folder
        self.task = task
        self.definition = definition

    def judge(
        self, doc: Mapping[str, Any], targets: int, text: str, metric: str, pipeline: str
    ) -> dict[str, Any]:
        """{"value": of the metric, "read": what the filter made of the text, None without one}, or
        {"error": why there is none}. ``targets`` is lm-eval's count of alternative golds."""
        key = (os.getpid(), str(self.folder), self.task, self.definition)
        with _lock:
            try:
                process = _children.get(key) or self._start(key, doc)
                said = _ask(process, [doc, targets, text, metric, pipeline])
            except BaseException:  # interrupted between question and answer: they must not mix
                _stop(key)
                raise
            if said is None:
                _stop(key)
                return {"error": f"took more than {TIME_LIMIT:g} s"}
            return said

    def _start(self, key: _Key, doc: Mapping[str, Any]) -> subprocess.Popen[str]:
        # -P: this folder must not be on the child's path, its modules have everyday names.
        process = _children[key] = subprocess.Popen(
            [sys.executable, "-P", __file__, str(self.folder), self.task, str(TIME_LIMIT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        greeting = _ask(process, doc)
        if greeting != {"ready": self.task}:
            raise RuntimeError(f"the lm-eval task {self.task!r} does not start: {greeting}")
        return process


_Key = tuple[int, str, str, str]
_children: dict[_Key, subprocess.Popen[str]] = {}
_lock = threading.Lock()


def _forget() -> None:
    """After a fork another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)


def _ask(process: subprocess.Popen[str], question: Any) -> dict[str, Any] | None:
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    return json.loads(line) if line else None


def _stop(key: _Key) -> None:
    process = _children.pop(key, None)
    if process is None:
        return
    process.kill()
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe:
                pipe.close()
        except OSError:
            pass
    process.wait()


@atexit.register
def _stop_all() -> None:
    for key in [key for key in _children if key[0] == os.getpid()]:
        _stop(key)


def _serve(folder: str, name: str, limit: str) -> None:
    """The child: answer one line at a time, end by the timer where one takes too long."""
    import signal

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing that a task prints can pass for an answer

    def say(what: object) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    try:
        task = _task(folder, name, json.loads(sys.stdin.readline()))
    except Exception as error:
        say({"error": f"{type(error).__name__}: {error}"})
        return
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    say({"ready": name})
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, float(limit))
        try:
            said = _judge(task, *question)
        except (Exception, RecursionError, MemoryError) as error:
            said = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        say(said)


def _task(folder: str, name: str, doc: Mapping[str, Any]) -> Any:
    """The task with a data set of this one document, which its metric asks for its columns."""
    from datasets import Dataset
    from lm_eval.tasks import TaskManager

    without = ["dataset_path", "dataset_name", "dataset_kwargs", "training_split"]
    without += ["validation_split", "fewshot_split", "fewshot_config", "process_docs"]
    own: dict[str, Any] = dict.fromkeys(without) | {
        "task": name,
        "custom_dataset": lambda **settings: {"test": Dataset.from_list([dict(doc)])},
        "test_split": "test",
        "num_fewshot": 0,
    }
    manager = TaskManager(include_path=folder, include_defaults=False)
    return manager.load([{"group": "one", "task": [own]}])["tasks"][name]


def _judge(
    task: Any, doc: Mapping[str, Any], targets: int, text: str, metric: str, pipeline: str
) -> dict[str, Any]:
    from lm_eval.api.instance import Instance

    task.multiple_target = targets
    asked = Instance("generate_until", doc, ("", {}), 0, (task.config.task, 0, 1), [text])
    (ensemble,) = (each for each in task._filters if each.name == pipeline)
    ensemble.apply([asked])
    read = asked.filtered_resps[pipeline]
    value = task.process_results(doc, [read])[metric]
    whole = isinstance(read, str) and read == text
    return {"value": float(value), "read": None if whole else _shown(read)}


def _shown(read: Any) -> str:
    while isinstance(read, list) and len(read) == 1:
        (read,) = read
    return str(read)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
