"""Extensions by name: ours, those that installed packages offer, and a user's own files.

A package offers extensions through the entry-point group ``harness.plugins``, each under the name
``<kind>.<name>``, such as ``reward.brevity = "my_package.rewards:Brevity"``. Nothing is imported
before it is asked for. It lies on the lowest floor because all three packages look names up.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, get_args

GROUP = "harness.plugins"

Kind = Literal[
    "backend",
    "benchmark",
    "engine",
    "executor",
    "family",
    "method",
    "reward",
    "scorer",
    "template",
    "tracker",
]

OURS = "harness"

_FILE = re.compile(r"(?P<file>.+\.py):(?P<attribute>[A-Za-z_]\w*)")


class UnknownExtension(KeyError):
    """A name that no extension has. Its message lists the known ones and the nearest."""

    def __str__(self) -> str:
        return str(self.args[0])


class BrokenExtension(KeyError):
    """An extension that is there and cannot be used. Its message says whose it is and why."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Extension:
    """One extension: ``target`` is "module:attribute" (or "file.py:attribute" of a user's own),
    ``origin`` whose it is: ``harness``, a package with its version, or the file."""

    kind: Kind
    name: str
    target: str
    origin: str

    @property
    def ours(self) -> bool:
        return self.origin == OURS

    def load(self) -> Any:
        """What ``target`` names. Raises :class:`BrokenExtension` where it cannot be imported."""
        place, _, attribute = self.target.rpartition(":")
        try:
            module = _of_file(Path(place)) if place.endswith(".py") else _module(place)
            return getattr(module, attribute)
        except Exception as error:  # a stranger's module may raise anything
            said = str(error).strip().splitlines()
            raise BrokenExtension(
                f"{self.kind} {self.name!r} of {self.origin} cannot be loaded from {self.target}: "
                f"{type(error).__name__}{': ' + said[0] if said else ''}"
            ) from error

    def version(self, loaded: Any) -> str:
        """What tells a result of this extension from one of its next version: for a user's file the
        hash of its source, else the ``version`` that it declares.

        A package's extension without one warns: a change of it would not be seen, and old results
        would be taken for its own.
        """
        place = self.target.rpartition(":")[0]
        if place.endswith(".py"):
            return hashlib.sha256(Path(place).read_bytes()).hexdigest()[:12]
        declared = getattr(loaded, "version", None)
        if declared is not None and not callable(declared):
            return str(declared)
        warnings.warn(
            f"{self.kind} {self.name!r} of {self.origin} declares no `version`: when it changes, "
            "results that are stored are taken for its own. Give it a class attribute `version`, "
            "and raise it with every change of what it computes",
            stacklevel=2,
        )
        return "unversioned"

    def identity(self, loaded: Any) -> str:
        """``name@version``: what a step's key carries of an extension."""
        name = Path(self.target.rpartition(":")[0]).name if self.name == self.target else self.name
        if self.name == self.target:
            name += ":" + self.target.rpartition(":")[2]
        return f"{name}@{self.version(loaded)}"


class Registry:
    """The extensions of one kind. ``ours`` maps a name to its "module:attribute": strings, so that
    naming one imports nothing. Names of ours are never a package's."""

    def __init__(self, kind: Kind, ours: Mapping[str, str]) -> None:
        self.kind, self._ours = kind, ours

    def all(self) -> dict[str, Extension]:
        """Every extension by name, ours first. What cannot be told apart is left out: see
        :func:`refused`."""
        known = {n: Extension(self.kind, n, target, OURS) for n, target in self._ours.items()}
        for one in offered():
            if one.kind == self.kind and one.name not in self._ours and not _twice(one):
                known[one.name] = one
        return known

    def names(self) -> list[str]:
        return list(self.all())

    def find(self, name: str) -> Extension:
        """The extension of this name, or of a user's file, ``path/to/file.py:attribute``.

        Raises :class:`UnknownExtension`, and :class:`BrokenExtension` for a name that two packages
        offer or a file that is not there.
        """
        if match := _FILE.fullmatch(name):
            path = Path(match["file"]).expanduser()
            if not path.is_file():
                raise BrokenExtension(f"{self.kind} {name!r}: there is no file {path}")
            path = path.resolve()
            target = f"{path}:{match['attribute']}"
            return Extension(self.kind, target, target, str(path))
        known = self.all()
        if name in known:
            return known[name]
        for one in offered():
            if (one.kind, one.name) == (self.kind, name):
                raise BrokenExtension(_twice(one))
        raise UnknownExtension(unknown(self.kind, name, known))

    def load(self, name: str) -> Any:
        """What :meth:`find` finds, imported."""
        return self.find(name).load()

    def identity(self, name: str) -> str:
        """``name@version`` of an extension: see :meth:`Extension.version`."""
        found = self.find(name)
        return found.identity(found.load())

    def refused(self) -> dict[str, str]:
        """Offered extensions of this kind that are never used, by what they are called, and why:
        they name themselves like one of ours, or like another package's."""
        reasons = {}
        for one in offered():
            if one.kind != self.kind:
                continue
            if one.name in self._ours:
                reasons[f"{one.name} ({one.origin})"] = (
                    f"{one.origin} names its {self.kind} {one.name!r} like ours, which is used; "
                    "another name makes it available"
                )
            elif said := _twice(one):
                reasons[f"{one.name} ({one.origin})"] = said
        return reasons


@cache
def offered() -> tuple[Extension, ...]:
    """What installed packages offer, of every kind. Warns of names that have no known kind."""
    extensions = []
    for point in entry_points(group=GROUP):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"
        kind, _, name = point.name.partition(".")
        if kind not in get_args(Kind) or not name:
            warnings.warn(
                f"{origin} offers {point.name!r} in {GROUP}: expected <kind>.<name>; "
                + unknown("kind", kind, get_args(Kind)),
                stacklevel=2,
            )
            continue
        extensions.append(Extension(kind, name, point.value, origin))  # type: ignore[arg-type]
    return tuple(sorted(extensions, key=lambda one: (one.kind, one.name, one.origin)))


def unknown(noun: str, name: object, known: Iterable[str]) -> str:
    """``unknown arm 'grp'; did you mean 'grpo'? Known: base, grpo``: what to say wherever a name is
    looked up. Of a long list the nearest name is enough."""
    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(str(name), names, 1)
    if near and len(names) > 12:
        return f"unknown {noun} {name!r}; did you mean {near[0]!r}?"
    hint = f"; did you mean {near[0]!r}?" if near else "."
    if len(names) > 100:
        return f"unknown {noun} {name!r}, and none of the {len(names)} known is like it"
    return f"unknown {noun} {name!r}{hint} Known: {', '.join(names) or 'none'}"


def summary(loaded: Any) -> str:
    """The first sentence of what an extension says of itself, for lists."""
    text = " ".join((inspect.getdoc(loaded) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def _twice(one: Extension) -> str:
    """Why a name that several packages offer is nobody's; empty where one alone has it."""
    all_of_name = [o for o in offered() if (o.kind, o.name) == (one.kind, one.name)]
    if len(all_of_name) == 1:
        return ""
    return (
        f"{' and '.join(o.origin for o in all_of_name)} both offer {one.kind} {one.name!r}: "
        "uninstall one of them"
    )


def _module(name: str) -> Any:
    return importlib.import_module(name)


@cache
def _of_file(path: Path) -> Any:
    """The module of a user's file, imported under a name that no package has."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"_harness_file_{digest}", path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
