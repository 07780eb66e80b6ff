"""What is in each column of a table: type, gaps, different values, lengths, examples. One pass, bounded memory."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from projects import tables
from projects.profiling.texts import shorten

MAX_DISTINCT = 100_000
MAX_CATEGORIES = 200
MAX_CATEGORY_CHARS = 100
EXAMPLES = 5

_INTEGER = re.compile(r"[+-]?\d{1,30}")
_DECIMAL = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,4})?")
_BOOLEAN = frozenset({"true", "false", "yes", "no", "t", "f", "y", "n"})
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?")


def _is_date(value: str) -> bool:
    if not _DATE.fullmatch(value):
        return False
    try:
        datetime.datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


# In the order of preference: what every value satisfies first is the type of the column.
_TESTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("boolean", lambda value: value.lower() in _BOOLEAN),
    ("integer", lambda value: _INTEGER.fullmatch(value) is not None),
    ("decimal", lambda value: _DECIMAL.fullmatch(value) is not None),
    ("date", _is_date),
)


class _Column:
    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0
        self.gaps = 0
        self.lengths: Counter[int] = Counter()
        self.tests = _TESTS
        self.distinct: set[int] = set()
        self.values: Counter[str] = Counter()
        self.categorical = True
        self.examples: dict[str, None] = {}

    def add(self, cells: list[str | None]) -> None:
        self.rows += len(cells)
        values = [cell for cell in cells if cell and not cell.isspace()]
        self.gaps += len(cells) - len(values)
        self.lengths.update(map(len, values))
        if self.tests:
            self.tests = tuple((name, test) for name, test in self.tests if all(test(v.strip()) for v in values))
        if len(self.distinct) <= MAX_DISTINCT:
            self.distinct.update(map(hash, values))
        if len(self.examples) < EXAMPLES:
            for value in values:
                if len(self.examples) == EXAMPLES:
                    break
                self.examples.setdefault(value)
        if self.categorical:
            self.values.update(value for value in values if len(value) <= MAX_CATEGORY_CHARS)
            longest = max(map(len, values), default=0)
            if longest > MAX_CATEGORY_CHARS or len(self.values) > MAX_CATEGORIES:
                self.categorical = False
                self.values.clear()

    def report(self) -> dict[str, object]:
        filled = self.rows - self.gaps
        over = len(self.distinct) > MAX_DISTINCT
        report: dict[str, object] = {
            "name": self.name,
            "type": self._type(filled),
            "rows": self.rows,
            "gaps": self.gaps,
            "distinct": min(len(self.distinct), MAX_DISTINCT),
            "distinct_is_exact": not over,
            "lengths": lengths(self.lengths),
            "examples": [shorten(value) for value in self.examples],
        }
        if self.categorical and filled:
            top = sorted(self.values.items(), key=lambda item: (-item[1], item[0]))[:20]
            report["most_frequent"] = [{"value": value, "rows": count} for value, count in top]
        return report

    def _type(self, filled: int) -> str:
        if not filled:
            return "empty"
        if self.tests:
            return self.tests[0][0]
        # A handful of values that come back again and again are a category; a few rows of free text are not.
        if self.categorical and len(self.values) * 3 <= filled:
            return "category"
        return "text"


def lengths(counts: Mapping[int, int]) -> dict[str, int] | None:
    """Least, median, 95th percentile (nearest rank) and greatest of counted lengths; None when there are none."""
    total = sum(counts.values())
    if not total:
        return None
    ordered = sorted(counts.items())
    found: dict[str, int] = {"min": ordered[0][0]}
    for name, rank in (("median", -(-total // 2)), ("p95", -(-total * 95 // 100))):
        seen = 0
        for length, count in ordered:
            seen += count
            if seen >= rank:
                found[name] = length
                break
    found["max"] = ordered[-1][0]
    return found


def profile(paths: Iterable[str | Path]) -> list[dict[str, object]]:
    """A report per column over all these tables together, which have the same columns (the first table's order).

    Lengths are in characters and leave gaps out; a gap is no value or white space alone. ``distinct`` is exact up to
    MAX_DISTINCT and means "at least" beyond, as ``distinct_is_exact`` says. Types: text, category, integer, decimal,
    boolean, date (ISO 8601), empty.
    """
    found: dict[str, _Column] = {}
    for path in paths:
        for batch in tables.batches(path):
            for name, cells in batch.items():
                found.setdefault(name, _Column(name)).add(cells)
    return [column.report() for column in found.values()]
