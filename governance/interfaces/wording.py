"""Which words of a text changed, for a page that shows what is different. Pure functions; nothing is marked up here."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

_PIECES = re.compile(r"\w+|\s+|[^\w\s]")
MAX_PIECES = 4000
"""Beyond this many words and marks a text is compared line by line: the comparison's cost grows with the square."""


@dataclass(frozen=True)
class Piece:
    """A run of text that both have ("same"), or that only the older ("removed") or only the newer one has ("added")."""

    kind: str
    text: str


@dataclass(frozen=True)
class Change:
    """One part of the material in both versions, and the runs of words between them."""

    part: str
    before: str
    after: str
    pieces: list[Piece]

    @property
    def kind(self) -> str:
        """Return "added", "removed" or "changed": the whole part, as far as it was there before and is now."""
        if not self.before:
            return "added"
        return "changed" if self.after else "removed"


def compare(before: str, after: str) -> list[Piece]:
    """Return the runs that lead from `before` to `after`; joined without the added they give `before`, and so on.

    Words are never cut. A run of one or two common words between changes is shown as changed with them, since a text
    that switches at every other word cannot be read.
    """
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    if len(old) + len(new) > MAX_PIECES:
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    runs: list[tuple[str, list[str], list[str]]] = []
    for tag, i, j, k, m in matcher.get_opcodes():
        removed, added = old[i:j], new[k:m]
        if tag == "equal" and runs and j < len(old) and m < len(new) and not "".join(removed).strip():
            # Only the space between two changed words is common: one change, not two.
            tag = "replace"
        if tag != "equal" and runs and runs[-1][0] != "equal":
            runs[-1] = ("replace", runs[-1][1] + removed, runs[-1][2] + added)
        else:
            runs.append((tag, removed, added))
    pieces = []
    for tag, removed, added in runs:
        if tag == "equal":
            pieces.append(Piece("same", "".join(added)))
            continue
        if removed:
            pieces.append(Piece("removed", "".join(removed)))
        if added:
            pieces.append(Piece("added", "".join(added)))
    return pieces


def changes(differences) -> list[Change]:
    """Return the word-level changes of differences that have `part`, `before` and `after`."""
    return [Change(d.part, d.before, d.after, compare(d.before, d.after)) for d in differences]
