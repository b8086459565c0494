"""How an experiment says which prompt template it means: by name, or by writing it."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from benchmarks.prompts import Template, read, written

_PARTS = {
    "user": "with {question} once, where the question stands",
    "system": "unset: none",
    "answer_form": "how a bare {answer} is written as what is to be learnt; unset: as it is",
}

#: The name of a template, or the parts of one.
TemplateChoice = Annotated[
    str | Template,
    PlainValidator(read),
    PlainSerializer(written),
    WithJsonSchema(
        {
            "type": ["string", "object"],
            "properties": {
                name: {"type": "string", "description": said} for name, said in _PARTS.items()
            },
            "required": ["user"],
            "additionalProperties": False,
        }
    ),
]
