"""Equality of two LaTeX expressions by math-verify, in a process that can be killed.

math-verify hands text of unknown origin to sympy, which may compute for ever. Its own time limit is
an alarm signal, which works in the main thread only. Here it runs in a child process with a timer
of its own whose signal has the default action: it ends the child, whatever the child is computing,
even when the parent is gone. So the limit holds in threads, in worker processes and in daemons
alike.

Loading math-verify takes longer than most of what it is asked. A server process loads it once, at
the first question, and forks a child for each process that connects to its socket: worker processes
share it, and a child that was ended is replaced in no time.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

#: Seconds of processor time for one question (so that a busy machine changes no verdict), and bytes
#: of address space for the child.
TIME_LIMIT = 2.0
MEMORY_LIMIT = 4 << 30
#: So many answers are remembered.
MAX_KNOWN = 100_000


def sockets_folder() -> str:
    """The temporary folder, or one whose name leaves room for that of a socket, which has 104 bytes
    at most."""
    found = tempfile.gettempdir()
    return found if len(os.fsencode(found)) <= 60 else "/tmp"


class _Server:
    """The process that has loaded math-verify. It ends when the process that started it has, and
    every process that inherited it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.folder = tempfile.mkdtemp(prefix="math-verify-", dir=sockets_folder())
        self.address = os.path.join(self.folder, "s")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.address)
            listening.listen(64)
            # -P: this folder must not be on the child's path, its modules have everyday names.
            self.process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(listening.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[listening.fileno()],
            )

    def stop(self) -> None:
        if os.getpid() != self.owner:
            return
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Asker:
    """This process's child: one question at a time, one line of JSON each way. ``address`` is that
    of another process's server; None starts one."""

    def __init__(self, address: str | None = None) -> None:
        self.lock = threading.Lock()
        self.address = address
        self.lines: Any = None

    def ask(self, *question: str) -> Any:
        with self.lock:
            try:
                lines = self.lines or self.connect()
                lines.write(json.dumps(question) + "\n")
                lines.flush()
                line = lines.readline()
            except OSError:
                line = ""
            except BaseException:  # interrupted between question and answer: they must not mix
                self.close()
                raise
            if not line:
                self.close()
                return None
            return json.loads(line)

    def connect(self) -> Any:
        try:
            greeting = self.greeted() if self.address is not None else ""
        except OSError:  # the server that was shared is gone
            greeting = ""
        if not greeting:
            self.close()
            try:
                self.address = _start().address
            except OSError as error:  # no verdict would be right
                raise RuntimeError(f"math-verify's process does not start: {error}") from error
            greeting = self.greeted()
        if greeting.strip() != '"ready"':
            self.close()
            raise RuntimeError(
                "math-verify does not start in its child process: "
                + (greeting.strip() or f"{sys.executable} ended without a word")
            )
        return self.lines

    def greeted(self) -> str:
        assert self.address is not None
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.address)
            self.lines = connection.makefile("rw", encoding="utf-8")
        greeting: str = self.lines.readline()
        return greeting

    def close(self) -> None:
        lines, self.lines = self.lines, None
        try:
            if lines:
                lines.close()
        except OSError:
            pass


_asker = _Asker()
_server: _Server | None = None
_known: dict[tuple[str, ...], Any] = {}


def _start() -> _Server:
    global _server
    _stop()
    _server = _Server()
    return _server


@atexit.register
def _stop() -> None:
    if _server is not None:
        _asker.close()
        _server.stop()


def _forget() -> None:
    """After a fork the parent's connection is not ours to talk on, nor is its lock; its server
    is."""
    global _asker
    _inherited.append(_asker)
    _asker = _Asker(_asker.address)


_inherited: list[_Asker] = []  # kept: closing one would send what the parent has half written
os.register_at_fork(after_in_child=_forget)


def address() -> str:
    """Where this process's server listens, for :func:`share` in a worker. Starts it, without
    waiting until it is ready."""
    with _asker.lock:
        if _asker.address is None:
            _asker.address = _start().address
        return _asker.address


def share(address: str) -> None:
    """Ask the server of another process."""
    global _asker
    _asker = _Asker(address)


def known(since: int = 0) -> dict[tuple[str, ...], Any]:
    """The questions that were answered here, with their answers, but for the first ``since``."""
    return dict(islice(_known.items(), since, None))


def learn(answers: Mapping[tuple[str, ...], Any]) -> None:
    """Take over what another process knows."""
    if len(_known) + len(answers) > MAX_KNOWN:
        _known.clear()
    _known.update(answers)


def _answered(*question: str) -> Any:
    try:
        return _known[question]
    except KeyError:
        answer = _asker.ask(*question)
        learn({question: answer})
        return answer


def same(a: str, b: str) -> bool | None:
    """Whether two LaTeX expressions are equal; None where that took too long or too much memory."""
    verdict: bool | None = _answered(a, b)
    return verdict


def value(latex: str) -> int | float | None:
    """The real number that a LaTeX expression comes to; None where it is none, or takes too
    long."""
    number: int | float | None = _answered(latex)
    return number


def _serve(listening: socket.socket) -> None:
    """The server: load math-verify, then fork a child for each connection until stdin ends."""
    import select
    import signal

    try:
        compare, compute = _load()
        compute(r"\frac{2}{2}")
        compare("1", r"\frac{2}{2}")  # the first one loads the grammar: not on the clock
        greeting = "ready"
    except Exception as error:
        greeting = repr(error)
    while listening in select.select([listening, sys.stdin], [], [])[0]:
        connection, _ = listening.accept()
        if os.fork() == 0:
            try:
                signal.signal(signal.SIGPROF, signal.SIG_DFL)
                listening.close()
                with connection.makefile("rw", encoding="utf-8") as lines:
                    lines.write(json.dumps(greeting) + "\n")
                    lines.flush()
                    if greeting == "ready":
                        _answer(lines, compare, compute)
            finally:
                os._exit(0)
        connection.close()
        _reap(os.WNOHANG)
    shutil.rmtree(os.path.dirname(listening.getsockname()), ignore_errors=True)
    listening.close()
    _reap(0)


def _reap(flags: int) -> None:
    try:
        while os.waitpid(-1, flags)[0]:
            pass
    except ChildProcessError:
        pass


def _answer(lines: Any, compare: _Compare, compute: _Compute) -> None:
    """The child: answer one line at a time, end by the timer where one takes too long."""
    import signal

    for line in lines:
        signal.setitimer(signal.ITIMER_PROF, TIME_LIMIT)
        question = json.loads(line)
        answer = compare(*question) if len(question) == 2 else compute(*question)
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines.write(json.dumps(answer) + "\n")
        lines.flush()


_Compare = Callable[[str, str], bool | None]
_Compute = Callable[[str], int | float | None]


def _load() -> tuple[_Compare, _Compute]:
    """math-verify's comparison and the value of an expression, within the limits of memory."""
    import random
    import resource
    from functools import lru_cache

    from latex2sympy2_extended import (  # type: ignore[import-untyped]
        NormalizationConfig,
        latex2sympy,
        normalize_latex,
    )
    from math_verify import verify
    from math_verify.grader import should_treat_as_complex
    from sympy import (  # type: ignore[import-untyped]
        Eq,
        Expr,
        MatrixBase,
        Rational,
        fraction,
        solve,
        together,
    )

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    sys.set_int_max_str_digits(5000)
    # Units are read before: math-verify takes the h of "2\pi r h" for hours.
    plain = NormalizationConfig(
        basic_latex=True, malformed_operators=True, nits=False, boxed="none"
    )

    @lru_cache(maxsize=4096)
    def parsed(latex: str) -> Any:
        latex = normalize_latex(latex, config=plain)
        real = not should_treat_as_complex(latex)
        return latex2sympy(latex, is_real=real, convert_degrees=True, normalization_config=None)

    def number(expression: Any) -> Any:
        if isinstance(expression, MatrixBase) or not getattr(expression, "is_number", False):
            return None
        return expression.doit()

    def close(a: Any, b: Any, tolerance: float) -> bool:
        """Relative to their size: math-verify rounds to so many decimals."""
        if (a.is_Rational and b.is_Rational) or not (a.is_finite and b.is_finite):
            return bool(a == b)
        a, b = a.evalf(30), b.evalf(30)
        return bool(abs(a - b) <= tolerance * max(abs(a), abs(b)))

    def values(*expressions: Any) -> list[list[Any]]:
        """The values of expressions at a few points that nobody has chosen."""
        symbols = sorted(set().union(*(e.free_symbols for e in expressions)), key=str)
        found = []
        for point in range(1, 6):
            draw = random.Random(point)
            at = {s: Rational(draw.randrange(-3000, 3000) * 2 + 1, 997) for s in symbols}
            line = [expression.evalf(30, subs=at) for expression in expressions]
            if all(value.is_number and value.is_finite for value in line):
                found.append(line)
        return found

    def identical(a: Any, b: Any) -> bool | None:
        """Whether two expressions have the same value everywhere; None where they have none."""
        found = values(a, b)
        if not all(close(x, y, 1e-15) for x, y in found):
            return False
        return True if len(found) > 2 else None

    def proportional(a: Any, b: Any) -> bool | None:
        """Whether two equations are each other's multiple; None where that cannot be said."""
        sides = [fraction(together(e.lhs - e.rhs))[0] for e in (a, b)]
        found = values(*sides)
        if len(found) < 3 or any(x == 0 or y == 0 for x, y in found):
            return None
        first = found[0][0] / found[0][1]
        return all(close(x / y, first, 1e-15) for x, y in found)

    def verified(a: Any, b: Any) -> bool:
        options = {"timeout_seconds": None, "allow_set_relation_comp": True}
        return any(bool(verify(x, y, **options)) for x, y in ((a, b), (b, a)))

    def compare(a: str, b: str) -> bool | None:
        try:
            left, right = parsed(a), parsed(b)
            if left == right:
                return True
            x, y = number(left), number(right)
            if x is not None and y is not None:
                return close(x, y, 1e-9)
            if isinstance(left, Expr) and isinstance(right, Expr):
                same = identical(left, right)
                return verified(left, right) if same is None else same
            if isinstance(left, Eq) and isinstance(right, Eq):
                if proportional(left, right):
                    return True
                # math-verify solves them, and takes any two without solutions for equal
                if len(left.free_symbols | right.free_symbols) > 1 or not solve(left):
                    return False
            return verified(left, right)
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

    return compare, compute


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
