"""A text and the one class it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from projects.layouts import Layout, Problem, Role, empty, filled

MAX_CHARS = 200

LAYOUT = Layout(
    name="classes",
    title="Text and one label",
    help="Each row is a text and the one class it belongs to.",
    roles=(
        Role("text", "Text", "What the model reads."),
        Role("label", "Label", "What the model should answer."),
    ),
    text="text",
    stratum="label",
    category="text-classification",
)


def read(values: Mapping[str, str | None]) -> dict[str, str] | Problem:
    """Return text and trimmed label; a label has at most MAX_CHARS characters."""
    if not filled(values, "text"):
        return empty("text", "The text")
    label = (values.get("label") or "").strip()
    if not label:
        return Problem("label", "no_label", "The label is empty.", "Label it, or remove the {unit}.")
    if len(label) > MAX_CHARS:
        return Problem(
            "label",
            "long_label",
            f"The label has {len(label):,} characters; at most {MAX_CHARS} are allowed.",
            "Check that text and label are in the right columns.",
        )
    return {"text": str(values["text"]), "label": label}


def labels(values: Mapping[str, str]) -> Sequence[str]:
    """Return the row's class."""
    return (values["label"],)
