"""Equality of two LaTeX expressions by math-verify, in a process that can be killed.

math-verify hands text of unknown origin to sympy, which may compute for ever. Its own time limit is
an alarm signal, which works in the main thread only. Here it runs in a child process with a timer
of its own whose signal has the default action: it ends the child, whatever the child is computing,
even when the parent is gone. So the limit holds in threads, in worker processes and in daemons
alike. The child starts with the first question.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from typing import Any

#: Seconds of processor time for one question (so that a busy machine changes no verdict), and bytes
#: of address space for the child.
TIME_LIMIT = 2.0
MEMORY_LIMIT = 4 << 30


class _Child:
    """One child process, one question at a time, one line of JSON each way."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None

    def ask(self, *question: str) -> Any:
        with self.lock:
            process = self.process or self.start()
            try:
                assert process.stdin
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                line = self.read(process)
            except BrokenPipeError:
                line = ""
            except BaseException:  # interrupted between question and answer: they must not mix
                self.stop()
                raise
            if not line:
                self.stop()
                return None
            return json.loads(line)

    def start(self) -> subprocess.Popen[str]:
        # -P: this folder must not be on the child's path, its modules have everyday names.
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        greeting = self.read(self.process)
        if greeting.strip() != '"ready"':
            self.stop()
            raise RuntimeError(
                "math-verify does not start in its child process: "
                + (greeting.strip() or f"{sys.executable} ended without a word")
            )
        return self.process

    @staticmethod
    def read(process: subprocess.Popen[str]) -> str:
        assert process.stdout
        return process.stdout.readline()

    def stop(self) -> None:
        process, self.process = self.process, None
        if process:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                try:
                    if pipe:
                        pipe.close()
                except OSError:
                    pass
            process.wait()


_child = _Child()


def _forget() -> None:
    """After a fork the parent's child is not ours to talk to, nor is its lock."""
    global _child
    _inherited.append(_child)
    _child = _Child()


_inherited: list[_Child] = []  # kept: collecting one would close pipes that the parent still uses
os.register_at_fork(after_in_child=_forget)
atexit.register(lambda: _child.stop())


def same(a: str, b: str) -> bool | None:
    """Whether two LaTeX expressions are equal; None where that took too long or too much memory."""
    verdict: bool | None = _child.ask(a, b)
    return verdict


def value(latex: str) -> int | float | None:
    """The real number that a LaTeX expression comes to; None where it is none, or takes too
    long."""
    number: int | float | None = _child.ask(latex)
    return number


def _serve() -> None:
    """The child: answer one line at a time, end by the timer where one takes too long."""
    import resource
    import signal

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing that a library prints can pass for an answer

    def say(what: object) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    try:
        from latex2sympy2_extended import latex2sympy  # type: ignore[import-untyped]
        from math_verify import LatexExtractionConfig, parse, verify
    except Exception as error:
        say(repr(error))
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    sys.set_int_max_str_digits(5000)
    latex = [LatexExtractionConfig()]

    def compare(a: str, b: str) -> bool | None:
        try:
            left, right = (
                parse(f"${x}$", latex, parsing_timeout=None, raise_on_error=False) for x in (a, b)
            )
            return bool(left and right) and any(
                verify(x, y, timeout_seconds=None, raise_on_error=False)
                for x, y in ((left, right), (right, left))
            )
        except (Exception, RecursionError, MemoryError):
            return None

    def compute(latex: str) -> int | float | None:
        try:
            expression = latex2sympy(latex)
            number = expression.doit() if expression.is_number else None
            if number is None or not number.is_real:
                return None
            value = int(number) if number.is_Integer else float(number)
            return value if abs(value) < 1e300 else None
        except (Exception, RecursionError, MemoryError):
            return None

    compute(r"\frac{2}{2}")
    compare("1", r"\frac{2}{2}")  # the first comparison loads the grammar: not on the clock
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    say("ready")
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, TIME_LIMIT)
        question = json.loads(line)
        answer = compare(*question) if len(question) == 2 else compute(*question)
        signal.setitimer(signal.ITIMER_PROF, 0)
        say(answer)


if __name__ == "__main__":
    _serve()
