"""YAML 1.2 with line numbers: ``1e-6`` is a number, ``on`` is text, a duplicate key is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import HarnessError, Problem, SpecError

#: Where something stands in a file, such as ``("benchmarks", 0, "name")``.
Place = tuple[str | int, ...]
#: A place, and what is wrong there.
Mistake = tuple[Place, str]

#: An experiment file is small; more is a mistake, or aliases that unfold without end.
_MAX_NODES = 100_000


class YamlFile:
    """A parsed file: ``data`` as plain values, and the line of each place in it."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`SpecError` with the line where the file is not the YAML that we accept."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise HarnessError(f"{path}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise HarnessError(f"{path}: cannot be read as a text file: {error}") from None
        try:
            self._tree = YAML(typ="rt", pure=True).load(self.text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = " ".join(str(error.problem or error.context or error).split())
            line = mark.line + 1 if mark else None
            raise self.error([Problem("", f"not valid YAML: {said}", line)]) from None
        except (YAMLError, ValueError) as error:
            raise self.error([Problem("", f"not valid YAML: {error}", None)]) from None
        self._nodes = 0
        if not isinstance(self._tree, dict):
            raise self.error([Problem("", "an experiment is a mapping such as `name: ...`", 1)])
        self.data: dict[str, Any] = self._plain(self._tree, ())

    def error(self, problems: list[Problem]) -> SpecError:
        return SpecError(str(self.path), problems)

    def line(self, place: Place) -> int | None:
        """The line (from 1) of ``("arms", "grpo", "lr")``, or of its nearest ancestor."""
        node = self._tree
        line = 1
        for part in place:
            try:
                marks: Any = node.lc
                line = (marks.key(part) if isinstance(node, dict) else marks.item(part))[0] + 1
                node = node[part]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
        return line

    def _plain(self, node: Any, place: Place) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise self.error([Problem("", f"more than {_MAX_NODES} values", None)])
        if isinstance(node, dict):
            for name in node:
                if not isinstance(name, str):
                    said = f"the key {name!r} is not text; write it in quotes"
                    raise self.error([Problem(dotted(place), said, self.line((*place, name)))])
            return {str(k): self._plain(v, (*place, k)) for k, v in node.items()}
        if isinstance(node, list):
            return [self._plain(v, (*place, i)) for i, v in enumerate(node)]
        for kind in (bool, int, float, str):
            if isinstance(node, kind):
                return kind(node)
        if node is None:
            return None
        said = f"a {type(node).__name__} is not a setting; write it in quotes if it is text"
        raise self.error([Problem(dotted(place), said, self.line(place))])


def dotted(place: Place) -> str:
    """``("benchmarks", 0, "name")`` as ``benchmarks[0].name``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
