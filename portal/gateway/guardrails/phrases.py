"""Topics that a model is not for, told by words and phrases that whoever set the policy wrote down."""

from __future__ import annotations

import re

from portal.gateway.guardrails import Finding, Option

LABEL = "Words and phrases"
NOTE = (
    "Whole words and phrases of a list, whatever their case and spacing. Other words for the same thing are not found."
)
STAGES = ("input", "output")
ACTIONS = ("note", "mask", "refuse")
OPTIONS = {
    "phrases": Option("Words and phrases", "lines", [], "One on each line.", stricter="more"),
}


def find(text: str, options: dict, looker) -> list[Finding]:
    """Return every phrase of the list that is in the text, the longest where several begin together."""
    phrases = sorted((one for one in options.get("phrases", []) if one.strip()), key=len, reverse=True)
    if not phrases:
        return []
    shapes = (r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(shapes)})(?!\w)", re.IGNORECASE)
    return [
        Finding("a word or phrase that this model is not for", one.start(), one.end()) for one in pattern.finditer(text)
    ]
