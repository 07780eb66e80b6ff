"""What JSON may say in a cell, for both JSON sources: values become text, records become rows."""

from __future__ import annotations

import json

from projects.sources.reading import cells
from projects.sources.reading.rows import Batch, Batches, Refused

MAX_DEPTH = 64
# More than a 64-bit float ever prints; a longer one is not a number that anybody meant.
MAX_NUMBER_CHARS = 400


class Number(str):
    """A JSON number as it was written: ``1.10`` stays ``1.10``."""

    __slots__ = ()


class Nested:
    """Stands for an object or a list where text was expected; its content is there only where it was asked for."""

    __slots__ = ("content", "kind")

    def __init__(self, kind: str, content: object = None) -> None:
        self.kind = kind
        self.content = content


def as_json(value: object) -> str:
    """Return a value as compact JSON in which every number stands as it was written."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{as_json(str(name))}:{as_json(held)}" for name, held in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(as_json, value)) + "]"
    return str(value) if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


class Records:
    """Turns JSON objects into rows of fixed columns: those of the first record, unless more were announced.

    A file of millions of records cannot be read twice for its columns, so a name that first appears later is an error
    in its row, never a silent loss.
    """

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.columns: list[str] = []
        self._known: frozenset[str] = frozenset()
        self.rejected = 0

    def announce(self, names: list[str]) -> None:
        """Fix the columns. Raises Refused for names that cannot be columns."""
        cells.check_width(len(names), self.batches.limits)
        for position, name in enumerate(names, start=1):
            if not name.strip():
                raise Refused(
                    "unnamed_column",
                    f"Name {position} in the first record is empty.",
                    "Give every value a name.",
                )
        cells.check_names(names)
        self.columns = names
        self._known = frozenset(names)

    def reject(self, line: int, column: str | None, code: str, message: str, advice: str) -> None:
        """Leave a record out."""
        self.rejected += 1
        self.batches.problem(line, column, code, message, advice)

    def add(self, line: int, record: dict[str, object]) -> Batch | None:
        """Check one record and keep it; returns a full batch when there is one."""
        values: dict[str, str | None] = dict.fromkeys(self.columns)
        chars = 0
        for name, value in record.items():
            if name not in self._known:
                known = ", ".join(self.columns[:8])
                self.reject(
                    line,
                    name[:200],
                    "unknown_column",
                    f"The name '{name[:60]}' is not among the columns: {known}.",
                    "Columns are the names found in the first records; give every record the same names.",
                )
                return None
            if isinstance(value, Nested) and value.content is not None:
                value = as_json(value.content)
            elif isinstance(value, Nested):
                self.reject(
                    line,
                    name,
                    "nested_value",
                    f"The value is {value.kind}, where a text or a number is expected.",
                    "Flatten it into columns of its own, or write it as text.",
                )
                return None
            if value is None or value == "":
                continue
            if value is True or value is False:
                value = "true" if value else "false"
            assert isinstance(value, str)
            chars += len(value)
            values[name] = str(value)
        if not cells.check(self.batches, line, values.items()):
            self.rejected += 1
            return None
        return self.batches.add(line, values, chars)


def not_finite(records: Records, line: int, name: str) -> None:
    """Leave out a record with NaN or Infinity, which JSON does not have (RFC 8259, section 6)."""
    records.reject(
        line,
        None,
        "not_finite",
        f"The record holds {name}, which is not a JSON value.",
        "Write null for a missing number.",
    )


def duplicate_name(records: Records, line: int, name: str) -> None:
    """Leave out a record that says one name twice: readers disagree which of the two counts."""
    records.reject(
        line,
        name[:200],
        "duplicate_name",
        f"The record has two values called '{name[:60]}'.",
        "Give every value in a record a name of its own.",
    )
