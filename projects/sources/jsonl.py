"""JSON Lines: one JSON object per line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from projects.sources.reading import signatures, text
from projects.sources.reading.rows import DEFAULTS, Batch, Batches, Options, Preview, Refused, empty_file
from projects.sources.reading.values import (
    MAX_NUMBER_CHARS,
    Nested,
    Number,
    Records,
    duplicate_name,
    not_finite,
)

NAME = "JSON Lines"
SUFFIXES = (".jsonl", ".ndjson", ".json")
MEDIA = "application/jsonl"
UNIT = "line"

# Names that only some records have are common; so many lines are looked at before the columns are fixed.
COLUMN_LINES = 1_000


def sniff(path: str | Path) -> bool:
    """Whether the file begins with an object; a ``.json`` file that is one document is taken by its own source."""
    start = signatures.head(path)
    if not signatures.is_text(start):
        return False
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        start = start[2:].replace(b"\x00", b"")
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def columns(path: str | Path, options: Options = DEFAULTS) -> Preview:
    """Names from the first records in order of appearance, with the first rows."""
    batches = Batches(options.limits, UNIT)
    records = Records(batches)
    batch = next(_batches(path, options, records, options.limits.sample_rows))
    return Preview(records.columns, batch.rows, batch.errors, {"encoding": text.encoding(path)})


def read(path: str | Path, options: Options = DEFAULTS) -> Iterator[Batch]:
    """Yield every record as text, numbers as they were written; a broken line is an error in its row."""
    return _batches(path, options, Records(Batches(options.limits, UNIT)), options.limits.batch_rows)


class _DuplicateError(ValueError):
    pass


class _NotFiniteError(ValueError):
    pass


class _OversizedError(ValueError):
    pass


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _DuplicateError(name)
            seen.add(name)
    return record


def _constant(name: str) -> NoReturn:
    raise _NotFiniteError(name)


def _number(digits: str) -> Number:
    if len(digits) > MAX_NUMBER_CHARS:
        raise _OversizedError
    return Number(digits)


_decoder = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_number, parse_float=_number, strict=True
)


def _lines(path: str | Path, options: Options) -> Iterator[tuple[int, str]]:
    number = 0
    for block in text.blocks(path, options.limits):
        for line in io.StringIO(block.text, newline=""):
            number += 1
            if not line.isspace():
                yield number, line


def _names(path: str | Path, options: Options) -> list[str]:
    names: dict[str, None] = {}
    for index, (_, line) in enumerate(_lines(path, options)):
        if index >= COLUMN_LINES or len(names) > options.limits.max_columns:
            break
        try:
            record = _decoder.decode(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            names.update(dict.fromkeys(record))
    return list(names)


def _batches(path: str | Path, options: Options, records: Records, batch_rows: int) -> Iterator[Batch]:
    names = _names(path, options)
    if not names:
        first = next(_lines(path, options), None)
        if first is None:
            raise empty_file()
        raise Refused(
            "no_records",
            f"None of the first {COLUMN_LINES:,} lines is a JSON object with values; the first one is line {first[0]}.",
            'Write one object per line, as in {"text": "...", "label": "..."}.',
        )
    records.announce(names)
    for number, line in _lines(path, options):
        record = _decode(records, number, line, options.nested)
        if record is None:
            continue
        full = records.add(number, record)
        if full is None and records.batches.rows_seen == batch_rows:
            full = records.batches.take()
        if full is not None:
            yield full
    yield records.batches.take()


def _decode(records: Records, number: int, line: str, nested: bool) -> dict[str, object] | None:
    try:
        record = _decoder.decode(line)
    except _DuplicateError as error:
        duplicate_name(records, number, str(error))
        return None
    except _NotFiniteError as error:
        not_finite(records, number, str(error))
        return None
    except _OversizedError:
        records.reject(
            number,
            None,
            "number_too_long",
            f"The record holds a number of more than {MAX_NUMBER_CHARS} characters.",
            "Put it in quotation marks if it is text.",
        )
        return None
    except RecursionError:
        records.reject(
            number, None, "too_deep", "The record is nested too deeply to be read.", "Flatten it into named values."
        )
        return None
    except json.JSONDecodeError as error:
        records.reject(
            number,
            None,
            "broken_json",
            f"The line is not JSON: {error.msg} at character {error.colno}.",
            "Write one complete JSON object on each line, with names and texts in double quotation marks.",
        )
        return None
    if not isinstance(record, dict):
        records.reject(
            number,
            None,
            "not_an_object",
            "The line holds a single value or a list, not an object with names.",
            'Write {"text": "...", "label": "..."}.',
        )
        return None
    for name, value in record.items():
        if isinstance(value, dict):
            record[name] = Nested("an object", value if nested else None)
        elif isinstance(value, list):
            record[name] = Nested("a list", value if nested else None)
    return record
