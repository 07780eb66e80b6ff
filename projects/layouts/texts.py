"""Plain text, from which a model learns how such texts go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from projects.layouts import Layout, Problem, Role, empty, filled

LAYOUT = Layout(
    name="texts",
    title="Plain text",
    help="Each row is a text; the model learns the words and the style of such texts.",
    roles=(Role("text", "Text", "What the model learns to continue.", ("text", "content", "body", "document")),),
    text="text",
    category="text-generation",
)


def read(values: Mapping[str, str | None]) -> dict[str, str] | Problem:
    """Return the text as it was written."""
    return {"text": str(values["text"])} if filled(values, "text") else empty("text", "The text")


def labels(values: Mapping[str, str]) -> Sequence[str]:
    """Return nothing: plain text has no classes."""
    return ()
