"""Prompt templates: what is put around a question, in training and in evaluation alike.

Ours are data (``templates.yaml``); a package offers others as ``template.<name>``, and an
experiment file may write one where it names one. Those of a benchmark's owners need more of an item
than its question, such as a hint for its type of answer: they name the field of ``item.meta`` that
holds it, and fit only the items that have it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.base import Benchmark, DataError, Item
from benchmarks.plugins import Registry, UnknownExtension, unknown

#: As the name of an evaluation's template: each benchmark's own official prompt.
OFFICIAL = "official"

_FIELD = re.compile(r"\{([a-z_]+)\}")

TEMPLATE_EXTENSIONS = Registry("template", {})


@dataclass(frozen=True)
class Template:
    """``system`` (empty: none) and a ``user`` text with placeholders: ``{question}`` once, or
    ``{<field>}`` for a text of ``item.meta``. One that an experiment file writes has no name.

    ``answer_form`` is how a bare ``{answer}`` is written where that is all there is to learn of a
    question (supervised fine-tuning without worked solutions).
    """

    name: str
    user: str
    system: str = ""
    source: str = ""
    answer_form: str = "{answer}"

    @property
    def choice(self) -> str | Template:
        """What :func:`template` makes it of again: its name, or itself where it has none."""
        return self.name or self

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of ``item.meta`` that it needs; none: it fits any question."""
        return tuple(name for name in _FIELD.findall(self.user) if name != "question")

    def render(self, question: str) -> str:
        """The user text around a bare question. Raises ValueError where it needs more than that."""
        if self.fields:
            raise ValueError(
                f"template {self.name!r} asks the items of a benchmark by their "
                f"{', '.join(self.fields)}; a question alone has none"
            )
        return self.user.replace("{question}", question, 1)

    def render_item(self, item: Item) -> str:
        """The user text of an item. Raises :class:`DataError` where the item lacks a field."""

        def text(match: re.Match[str]) -> str:
            name = match[1]
            if name == "question":
                return item.question
            found = item.meta.get(name)
            if not isinstance(found, str) or not found:
                raise DataError(
                    f"item {item.id!r} has no {name!r}, which the template {self.name!r} asks "
                    f"with: it is for {self.source.partition(',')[0]}."
                )
            return found

        return _FIELD.sub(text, self.user)

    def answered(self, answer: str) -> str:
        """A bare answer in the form that the template asks for."""
        return self.answer_form.replace("{answer}", answer)

    @property
    def hash(self) -> str:
        """Part of a result's identity: 12 hex digits over the exact wording."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()[:12]


@cache
def templates() -> dict[str, Template]:
    """Ours by name, in the order of the file."""
    from ruamel.yaml import YAML

    file = Path(__file__).with_name("templates.yaml")
    read = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    return {name: Template(name, **parts) for name, parts in read.items()}


def names() -> list[str]:
    """Every name that :func:`template` takes, ours first."""
    return list(dict.fromkeys([*templates(), *TEMPLATE_EXTENSIONS.names()]))


def template(choice: str | Template) -> Template:
    """The template of this name: ours, or one that a package offers; a template is itself.

    Raises UnknownExtension naming the nearest known one, BrokenExtension for one that cannot be
    loaded.
    """
    if isinstance(choice, Template):
        return choice
    if (ours := templates().get(choice)) is not None:
        return ours
    if choice not in TEMPLATE_EXTENSIONS.names():
        raise UnknownExtension(unknown("template", choice, names()))
    made: Template = TEMPLATE_EXTENSIONS.load(choice)
    return made


def written(choice: str | Template) -> str | dict[str, str]:
    """A choice of a template as plain data: its name, or its parts."""
    if isinstance(choice, str):
        return choice
    return {"user": choice.user, "system": choice.system, "answer_form": choice.answer_form}


def read(given: object) -> str | Template:
    """A choice of a template from plain data, as :func:`written` has it. Raises ValueError with
    what is wrong; whether a name is known is not looked at."""
    if isinstance(given, (str, Template)):
        return given
    if not isinstance(given, Mapping):
        raise ValueError('expected the name of a template, or {user: "... {question} ..."}')
    known = ("user", "system", "answer_form")
    for key, text in given.items():
        if key not in known:
            raise ValueError(unknown("part of a template", key, known))
        if not isinstance(text, str):
            raise ValueError(f"{key} of a template is a text, not {text!r}")
    made = Template("", **{"user": "", **given})
    if made.user.count("{question}") != 1:
        raise ValueError("user of a template needs {question} once, where the question stands")
    if made.fields:
        raise ValueError(
            f"user of a template has {{{made.fields[0]}}}, and only {{question}} is filled in"
        )
    if "{answer}" not in made.answer_form:
        raise ValueError("answer_form of a template needs {answer}, where the answer stands")
    return made


def asked(choice: str | Template, benchmark: Benchmark) -> Template:
    """The template that a benchmark is asked with: ``official`` is the one of its owners, or the
    question as it is where they have none. Raises KeyError on an unknown name."""
    if choice == OFFICIAL:
        choice = next(iter(benchmark.templates), "plain")
    return template(choice)


#: How a model is asked to write new questions (MM-UPT section 3.3; its own wording is unpublished,
#: so these are ours). ``{question}`` is the seed question of in-context synthesis.
SYNTHESIS: dict[str, Template] = {
    "direct": Template("direct", "Please write a new question about this picture."),
    "in_context": Template(
        "in_context",
        "{question} Please write a new question about this picture that is different from this "
        "one.",
    ),
}
