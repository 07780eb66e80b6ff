"""What a single cell or column name may contain."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from projects.sources.reading.rows import MAX_NAME_CHARS, Batches, Limits, Refused

# Tab, line feed and carriage return are ordinary in text. U+202A..U+202E and U+2066..U+2069 reorder what a reader sees
# (Unicode Technical Report 36, section 2.7); lone surrogates cannot be stored as UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ODD = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]")
# Either: a text in which this finds nothing needs no further look.
NOTEWORTHY = re.compile(_UNSTORABLE.pattern[:-1] + _ODD.pattern[1:])
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")


def check(batches: Batches, line: int, values: Iterable[tuple[str, str | None]]) -> bool:
    """Whether a row may be kept; notes on ``batches`` what is wrong with it, or odd about it."""
    limit = batches.limits.max_cell_chars
    for column, value in values:
        if value is None:
            continue
        if len(value) > limit:
            batches.problem(
                line,
                column,
                "cell_too_long",
                f"The cell has {len(value):,} characters; at most {limit:,} are read.",
                "Shorten the text, or split it over several rows.",
            )
            return False
        if NOTEWORTHY.search(value) is None:
            continue
        bad = _UNSTORABLE.search(value)
        if bad is not None:
            name = "a NUL character" if bad.group() == "\x00" else "half of a character pair (a lone surrogate)"
            batches.problem(
                line,
                column,
                "unstorable_character",
                f"The cell holds {name} at position {bad.start() + 1}, which cannot be stored as text.",
                "Remove that character where the file was made.",
            )
            return False
        odd = _ODD.search(value)
        if odd is None:
            continue
        kind = "reorders the text for its reader" if _BIDI.match(odd.group()) else "is invisible"
        batches.problem(
            line,
            column,
            "bidi_character" if _BIDI.match(odd.group()) else "control_character",
            f"The cell holds U+{ord(odd.group()):04X} at position {odd.start() + 1}, a character that {kind}.",
            "The row is kept as it is; check that the text says what it seems to say.",
            severity="warning",
        )
    return True


def header(names: Iterable[str | None], batches: Batches, line: int = 1) -> list[str]:
    """Column names as they will be stored: trimmed, NFC, unnamed ones called ``column_N``.

    Raises Refused for too many columns, duplicates, overlong names and names with control characters.
    """
    raw = list(names)
    check_width(len(raw), batches.limits)
    columns: list[str] = []
    for position, name in enumerate(raw, start=1):
        clean = unicodedata.normalize("NFC", " ".join((name or "").split()))
        if not clean:
            clean = f"column_{position}"
            batches.problem(
                line,
                clean,
                "unnamed_column",
                f"Column {position} has no name; it is called '{clean}' here.",
                "Name it in the file if it matters.",
                severity="warning",
            )
        columns.append(clean)
    check_names(columns)
    return columns


def check_width(count: int, limits: Limits) -> None:
    """Raises Refused when a file has more columns than are read."""
    if count > limits.max_columns:
        raise Refused(
            "too_many_columns",
            f"The file has {count:,} columns; at most {limits.max_columns} are read.",
            "Keep only the columns that are needed. If there should be fewer, check the separator.",
        )


def check_names(columns: list[str]) -> None:
    """Raises Refused for names that are overlong, unreadable or used twice."""
    seen: dict[str, int] = {}
    for position, name in enumerate(columns, start=1):
        if len(name) > MAX_NAME_CHARS:
            raise Refused(
                "column_name_too_long",
                f"The name of column {position} has {len(name):,} characters; at most {MAX_NAME_CHARS} are allowed.",
                "Check that the first row of the file holds the column names.",
            )
        if NOTEWORTHY.search(name):
            raise Refused(
                "column_name_unreadable",
                f"The name of column {position} holds a control or text-reordering character.",
                "Rename the column with plain letters.",
            )
        if name in seen:
            raise Refused(
                "duplicate_columns",
                f"Columns {seen[name]} and {position} are both called '{name}'.",
                "Give every column a name of its own.",
            )
        seen[name] = position
