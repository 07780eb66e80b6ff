"""The words in which every source speaks: row, batch, problem in a row, refusal of a file, limits and options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MAX_NAME_CHARS = 200


class Refused(Exception):
    """The file as a whole cannot be read; ``sentence`` says what is wrong and where, ``advice`` what to do about it."""

    def __init__(self, code: str, sentence: str, advice: str) -> None:
        super().__init__(f"{sentence} {advice}".strip())
        self.code = code
        self.sentence = sentence
        self.advice = advice


class Row(NamedTuple):
    """One record: ``line`` is where it starts (from 1, in the source's ``UNIT``); ``values`` maps column to text."""

    line: int
    values: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class RowError:
    """One problem at one place; ``severity`` is ``error`` when the row was left out and ``warning`` when it was kept.

    ``line`` 0 means the file as a whole.
    """

    line: int
    column: str | None
    code: str
    message: str
    advice: str
    severity: str = "error"

    def as_dict(self) -> dict[str, object]:
        """The same as plain JSON values, in the order in which a person reads them."""
        return {
            "line": self.line,
            "column": self.column,
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one file may ask of this process. Every figure is a count of what its name says."""

    max_cell_chars: int = 1_000_000
    max_columns: int = 500
    max_rows: int = 10_000_000
    max_row_errors: int = 1_000
    max_record_bytes: int = 16 * 1024 * 1024
    batch_rows: int = 10_000
    sample_rows: int = 20


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may say about a file. None means: find out.

    ``delimiter`` is for CSV, ``sheet`` names a worksheet, ``records`` names the list inside a JSON object. ``nested``
    keeps a list or an object in a cell as compact JSON text; without it such a cell is an error in its row.
    """

    delimiter: str | None = None
    sheet: str | None = None
    records: str | None = None
    nested: bool = False
    limits: Limits = Limits()


DEFAULTS = Options()


@dataclass(frozen=True, slots=True)
class Preview:
    """The columns of a file in their order, its first rows, the problems seen so far and how it was understood."""

    columns: list[str]
    sample: list[Row]
    errors: list[RowError]
    details: dict[str, object]


@dataclass(slots=True)
class Batch:
    """A bounded stretch of rows in file order with the problems met on the way.

    ``left_off`` counts problems in this stretch that were not kept because ``Limits.max_row_errors`` was reached;
    ``rejected`` counts the rows left out, whether or not their problem was kept.
    """

    rows: list[Row] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    left_off: int = 0
    rejected: int = 0


class Batches:
    """Gathers rows and problems into batches bounded by rows and by characters, and holds the limits that span batches.

    Warnings and errors have a budget of ``max_row_errors`` each, so that odd characters cannot hide broken rows.
    """

    max_chars = 8_000_000

    def __init__(self, limits: Limits, unit: str) -> None:
        self.limits = limits
        self.unit = unit
        self.rows_seen = 0
        self._kept = {"error": 0, "warning": 0}
        self._chars = 0
        self._batch = Batch()

    def add(self, line: int, values: dict[str, str | None], chars: int = 0) -> Batch | None:
        """Keep a row; returns a full batch when there is one. Raises Refused when the file has too many rows."""
        self.rows_seen += 1
        if self.rows_seen > self.limits.max_rows:
            raise too_many_rows(self.limits)
        rows = self._batch.rows
        rows.append(Row(line, values))
        self._chars += chars
        if len(rows) >= self.limits.batch_rows or self._chars >= self.max_chars:
            return self.take()
        return None

    def problem(
        self, line: int, column: str | None, code: str, message: str, advice: str, severity: str = "error"
    ) -> None:
        """Note a problem, or only count it once the budget is spent."""
        if severity == "error" and line:
            self._batch.rejected += 1
        if self._kept[severity] >= self.limits.max_row_errors:
            self._batch.left_off += 1
            return
        self._kept[severity] += 1
        self._batch.errors.append(RowError(line, column, code, message, advice, severity))

    def take(self) -> Batch:
        """Hand over what has been gathered and start anew."""
        batch, self._batch, self._chars = self._batch, Batch(), 0
        return batch

    @property
    def waiting(self) -> bool:
        """Whether anything has been gathered since the last batch."""
        batch = self._batch
        return bool(batch.rows or batch.errors or batch.left_off)


def too_many_rows(limits: Limits) -> Refused:
    """The refusal for a file with more rows than ``limits.max_rows``."""
    return Refused(
        "too_many_rows",
        f"The file has more than {limits.max_rows:,} rows.",
        "Split it into several files, or ask an administrator to raise the limit.",
    )


def no_rows(columns: int) -> Refused:
    """The refusal for a file that has a header and nothing below it."""
    return Refused(
        "no_rows",
        f"The file has a header with {columns} column{'s' if columns != 1 else ''} and no rows below it.",
        "Check that the export finished, then upload the file with its rows.",
    )


def empty_file() -> Refused:
    """The refusal for a file without content."""
    return Refused("empty_file", "The file is empty.", "Check that the export finished, then upload it again.")
