"""A few rows of each benchmark in its owners' columns, and the files that hold them: parquet in the
hub's schemas, the owners' JSON and JSONL with images, and VLMEvalKit's TSV."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    b"\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q\x00\x00\x00\x00IEND\xaeB`\x82"
)


def mathvista(n: int = 4) -> list[Row]:
    kinds = [
        ("multi_choice", "text", ["red bar", "blue", "both"], None, "blue", None),
        ("free_form", "integer", None, None, "14", "cm"),
        ("free_form", "float", None, 1, "1.2", None),
        ("free_form", "list", None, None, "[1, 2]", None),
    ]
    rows = []
    for i in range(n):
        question_type, answer_type, choices, precision, answer, unit = kinds[i % 4]
        rows.append(
            {
                "pid": str(i + 1),
                "question": f"What is asked {i}?",
                "image": f"images/{i + 1}.png",
                "choices": choices,
                "unit": unit,
                "precision": precision,
                "answer": answer,
                "question_type": question_type,
                "answer_type": answer_type,
                "metadata": {
                    "split": "testmini",
                    "language": "english",
                    "img_width": 1,
                    "img_height": 1,
                    "source": "PlotQA",
                    "category": "math-targeted-vqa",
                    "task": "figure question answering",
                    "context": "bar chart",
                    "grade": "daily life",
                    "skills": ["arithmetic reasoning", "statistical reasoning"],
                },
                "query": "as released",
            }
        )
    return rows


def wemath(groups: int = 2) -> list[Row]:
    return [
        {
            "ID": f"2steps_{group}",
            "split": "testmini",
            "knowledge concept": "Length",
            "question": f"How long is it, {step}?",
            "option": "A. 3 cm; B. 4 cm; C. 12 cm; D. No correct answer",
            "answer": "C",
            "image_path": f"2steps/image/{group}-{step}.png",
            "key": f"2steps_{step}",
            "question number": group,
            "knowledge concept description": "Length: how long something is",
        }
        for group in range(1, groups + 1)
        for step in ("1", "2", "multi")
    ]


VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")


def mathverse(problems: int = 2) -> list[Row]:
    rows = []
    for problem in range(1, problems + 1):
        for version in VERSIONS:
            asked = f"What is the angle of {problem}?\nChoices:\nA:40°\nB:60°"
            shown = version == "Vision Only"
            rows.append(
                {
                    "sample_index": str(len(rows) + 1),
                    "problem_index": str(problem),
                    "problem_version": version,
                    "question": "" if shown else asked,
                    "image": f"images_version_{6 if shown else '1-4'}/image_{problem}.png",
                    "answer": "B",
                    "question_type": "multi-choice",
                    "metadata": {
                        "split": "testmini",
                        "source": "GeoQA",
                        "subject": "Plane Geometry",
                        "subfield": "Angle",
                    },
                    "query_wo": f"Please directly answer.\nQuestion: {asked}",
                    "query_cot": f"Please first conduct reasoning.\nQuestion: {asked}",
                    "question_for_eval": asked,
                }
            )
    return rows


def mathvision(n: int = 3) -> list[Row]:
    return [
        {
            "id": str(i + 1),
            "question": "How many ducks weigh as much?\n<image1>",
            "options": ["1", "2", "3", "4", "5"] if i % 2 == 0 else [],
            "answer": "C" if i % 2 == 0 else "3",
            "solution": None,
            "level": i % 5 + 1,
            "subject": "counting",
            "image": f"images/{i + 1}.png",
        }
        for i in range(n)
    ]


ROWS = {
    "mathvista": mathvista,
    "wemath": wemath,
    "mathverse": mathverse,
    "mathvision": mathvision,
}
#: The column that the hub's parquet embeds the picture in.
EMBEDDED = {
    "mathvista": "decoded_image",
    "wemath": "image_path",
    "mathverse": "image",
    "mathvision": "decoded_image",
}
SPLIT = {"mathvision": "test"}


def write_json(name: str, rows: Sequence[Row], folder: Path, split: str = "testmini") -> Path:
    """The owners' file with its images: by pid, as a list, or as lines."""
    column = "image_path" if name == "wemath" else "image"
    for row in rows:
        if row[column]:
            path = folder / row[column]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PNG)
    if name == "mathvision":
        file = folder / f"{split}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file
    file = folder / f"{split}.json"
    content = {row["pid"]: row for row in rows} if name == "mathvista" else list(rows)
    file.write_text(json.dumps(content))
    return file


def both_splits(folder: Path) -> Path:
    """MathVision's two splits in one folder: three rows of ``test``, two of ``testmini``."""
    folder.mkdir()
    write_json("mathvision", mathvision(3), folder, "test")
    write_json("mathvision", mathvision(2), folder, "testmini")
    return folder


def schema(name: str) -> Any:
    """The schema of the dataset on the hub, pictures as ``{bytes, path}``."""
    import pyarrow as pa

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    text = pa.string()
    return pa.schema(
        {
            "mathvista": [
                ("pid", text), ("question", text), ("image", text), ("decoded_image", picture),
                ("choices", pa.list_(text)), ("unit", text), ("precision", pa.float64()),
                ("answer", text), ("question_type", text), ("answer_type", text),
                ("metadata", pa.struct([
                    ("category", text), ("context", text), ("grade", text),
                    ("img_height", pa.int64()), ("img_width", pa.int64()), ("language", text),
                    ("skills", pa.list_(text)), ("source", text), ("split", text), ("task", text),
                ])),
                ("query", text),
            ],
            "wemath": [
                ("ID", text), ("split", text), ("knowledge concept", text), ("question", text),
                ("option", text), ("answer", text), ("image_path", picture), ("key", text),
                ("question number", pa.int64()), ("knowledge concept description", text),
            ],
            "mathverse": [
                ("sample_index", text), ("problem_index", text), ("problem_version", text),
                ("question", text), ("image", picture), ("answer", text), ("question_type", text),
                ("metadata", pa.struct([
                    ("split", text), ("source", text), ("subject", text), ("subfield", text),
                ])),
                ("query_wo", text), ("query_cot", text), ("question_for_eval", text),
            ],
            "mathvision": [
                ("id", text), ("question", text), ("options", pa.list_(text)), ("image", text),
                ("decoded_image", picture), ("answer", text), ("solution", text),
                ("level", pa.int64()), ("subject", text),
            ],
        }[name]
    )  # fmt: skip


def write_parquet(name: str, rows: Sequence[Row], path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = [{**row, EMBEDDED[name]: {"bytes": PNG, "path": "1.png"}} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(held, schema(name)), path)
    return path


def kit_row(name: str, row: Row) -> Row:
    """The row in the columns that VLMEvalKit's code reads."""
    if name == "mathvista":
        letters = dict(zip("ABCDEFGH", row["choices"] or [], strict=False))
        named = "".join(f"\n({a}) {text}" for a, text in letters.items())
        unit = f" (Unit: {row['unit']})" if row["unit"] else ""
        hint = "Please answer with one decimal place." if row["precision"] else "Please answer."
        query = f"Hint: {hint}\nQuestion: {row['question']}{unit}"
        return {
            "index": row["pid"],
            "question": query + (f"\nChoices:{named}" if named else ""),
            "question_type": row["question_type"],
            "answer_type": row["answer_type"],
            "answer": row["answer"],
            "answer_option": next((a for a, t in letters.items() if t == row["answer"]), ""),
            "choices": repr(row["choices"] or []),
            "task": row["metadata"]["task"],
            "skills": repr(row["metadata"]["skills"]),
        }
    if name == "wemath":
        options = {part[0]: part[3:].strip() for part in row["option"].split("; ")}
        same = ("ID", "key", "question", "answer", "knowledge concept")
        return {"index": f"{row['ID']}-{row['key']}", **{k: row[k] for k in same}, **options}
    if name == "mathverse":
        same = ("problem_version", "question", "answer", "query_cot", "question_for_eval")
        return {
            "index": row["sample_index"],
            "problem_index": row["problem_index"],
            "metadata": repr(row["metadata"]),
            **{key: row[key] for key in same},
        }
    return {
        "index": row["id"],
        "question": row["question"],
        "answer": row["answer"],
        "choices": repr(row["options"]),
        "category": row["subject"],
    }


def write_tsv(name: str, rows: Sequence[Row], path: Path, pictures: Sequence[str] = ()) -> Path:
    """VLMEvalKit's table. ``pictures`` are the cells of ``image``; default: each holds its own."""
    import csv

    own = base64.b64encode(PNG).decode()
    table = [kit_row(name, row) for row in rows]
    for number, row in enumerate(table):
        row["image"] = pictures[number] if pictures else own
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    return path
