"""A text and any number of tags that apply to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from projects.layouts import Layout, Problem, Role, empty, filled

MAX_CHARS = 200
SEPARATORS = ("|", ";", ",")

LAYOUT = Layout(
    name="tag_sets",
    title="Text and several labels",
    help="Each row is a text and the labels that apply to it: none, one or many.",
    roles=(
        Role("text", "Text", "What the model reads."),
        Role(
            "labels",
            "Labels",
            "The labels of the text: a JSON list, or names separated by |, ; or a comma. Empty where none applies.",
            ("labels", "tags", "categories", "topics", "genres", "classes", "label"),
        ),
    ),
    text="text",
    category="text-classification",
    nested=True,
)


def read(values: Mapping[str, str | None]) -> dict[str, str] | Problem:
    """Return the text and its labels as a sorted JSON list, without blanks around them or repetition."""
    if not filled(values, "text"):
        return empty("text", "The text")
    found = _names(str(values.get("labels") or "").strip())
    if isinstance(found, Problem):
        return found
    long = next((name for name in found if len(name) > MAX_CHARS), None)
    if long is not None:
        return Problem(
            "labels",
            "long_label",
            f"A label has {len(long):,} characters; at most {MAX_CHARS} are allowed.",
            "Check that text and labels are in the right columns, and how the labels are separated.",
        )
    return {"text": str(values["text"]), "labels": json.dumps(found, ensure_ascii=False)}


def _names(written: str) -> list[str] | Problem:
    if written.startswith("["):
        try:
            listed = json.loads(written)
        except (ValueError, RecursionError):
            listed = None
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            return Problem(
                "labels",
                "not_a_list",
                "The labels begin like a JSON list and are not a list of names.",
                'Write ["first", "second"], or the names separated by |.',
            )
    else:
        separator = next((sign for sign in SEPARATORS if sign in written), None)
        listed = written.split(separator) if separator else [written]
    return sorted({name.strip() for name in listed if name.strip()})


def labels(values: Mapping[str, str]) -> Sequence[str]:
    """Return the row's labels."""
    found: list[str] = json.loads(values["labels"])
    return found
