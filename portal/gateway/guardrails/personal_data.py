"""Personal data that has a shape: addresses, numbers with check digits; by the same recognisers as in datasets."""

from __future__ import annotations

from portal.gateway.guardrails import Finding
from projects.profiling import personal_data

LABEL = "Personal data"
NOTE = (
    "E-mail addresses, telephone numbers, payment cards, bank accounts and identity numbers of many countries. "
    "Names, street addresses and dates of birth have no fixed shape and are not found."
)
STAGES = ("input", "output")
ACTIONS = ("note", "mask", "refuse")
OPTIONS: dict = {}
_NAMES = {kind.entity: kind.name for kind in personal_data.KINDS}
# Longer than anything that is found: what lies across the end of a piece is found in the next.
_OVERLAP = 200


def find(text: str, options: dict, looker) -> list[Finding]:
    """Return every find; a long text is read in pieces, since the recognisers read no more at once."""
    found: list[Finding] = []
    step = personal_data.CELL_CHARS - _OVERLAP
    for start in range(0, max(1, len(text) - _OVERLAP), step):
        piece = text[start : start + personal_data.CELL_CHARS]
        for one in personal_data.find(piece):
            begin = start + one.start
            if not found or begin >= found[-1].end:
                found.append(Finding(_NAMES[one.entity], begin, start + one.end))
    return found
