"""A text and a number that is to be predicted from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from projects.layouts import Layout, Problem, Role, empty, filled

LAYOUT = Layout(
    name="numbers",
    title="Text and a number",
    help="Each row is a text and a number that belongs to it, such as a price, a score or a duration.",
    roles=(
        Role("text", "Text", "What the model reads."),
        Role(
            "number",
            "Number",
            "What the model should estimate, written like 3, -0.5 or 1.2e3.",
            ("score", "rating", "stars", "value", "price", "amount", "number", "hours", "duration", "target", "label"),
        ),
    ),
    text="text",
    category="text-classification",
)


def read(values: Mapping[str, str | None]) -> dict[str, str] | Problem:
    """Return the text and the number as it was written, trimmed; a decimal point, no thousands separators."""
    if not filled(values, "text"):
        return empty("text", "The text")
    if not filled(values, "number"):
        return empty("number", "The number")
    written = str(values["number"]).strip()
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or "_" in written:
        return Problem(
            "number",
            "not_a_number",
            f"“{written[:40]}” is not a number.",
            "Write it with a decimal point and without separators or units, like 1234.5.",
        )
    return {"text": str(values["text"]), "number": written}


def labels(values: Mapping[str, str]) -> Sequence[str]:
    """Return nothing: numbers are no classes."""
    return ()
