"""One JSON document: a list of objects, or an object that holds such a list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import ijson

from projects.sources.reading import signatures, text
from projects.sources.reading.rows import DEFAULTS, Batch, Batches, Limits, Options, Preview, Refused
from projects.sources.reading.values import MAX_DEPTH, MAX_NUMBER_CHARS, Nested, Number, Records, duplicate_name

NAME = "JSON"
SUFFIXES = (".json",)
MEDIA = "application/json"
UNIT = "record"

# Names that only some records have are common; so many records are looked at before the columns are fixed.
COLUMN_RECORDS = 1_000
_READ_BYTES = 64 * 1024
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 4_000


def sniff(path: str | Path) -> bool:
    """Whether the file is one JSON list or object; several objects in a row are JSON Lines, which is another source."""
    start = signatures.head(path)
    if not signatures.is_text(start):
        return False
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        start = start[2:].replace(b"\x00", b"")
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return True
    if not start.startswith(b"{"):
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(start.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        # The first object is longer than the head, or broken: a document unless a line ends in the brace of an object.
        return b"}\n{" not in start and b"}\r\n{" not in start
    return not start.decode("utf-8", errors="replace")[end:].strip()


def columns(path: str | Path, options: Options = DEFAULTS) -> Preview:
    """Names from the first records in order of appearance, with the first rows."""
    records = Records(Batches(options.limits, UNIT))
    batch = next(_batches(path, options, records, options.limits.sample_rows))
    return Preview(records.columns, batch.rows, batch.errors, {"encoding": text.encoding(path)})


def read(path: str | Path, options: Options = DEFAULTS) -> Iterator[Batch]:
    """Yield every record as text; ``line`` counts the records of the list."""
    return _batches(path, options, Records(Batches(options.limits, UNIT)), options.limits.batch_rows)


class _Bounded:
    """The decoded file for ijson, which keeps one value in memory: refuses a value that does not end."""

    def __init__(self, path: str | Path, limits: Limits) -> None:
        self._chunks = text.chunks(path)
        self._limit = limits.max_record_bytes
        self._buffer = b""
        self._at = 0
        self._digits = b""
        self.since_event = 0

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``; empty at the end."""
        if size == 0:
            return b""
        if self._at >= len(self._buffer):
            self._buffer, self._at = next(self._chunks, b""), 0
        data = self._buffer[self._at : self._at + size]
        self._at += len(data)
        self.since_event += len(data)
        # Python refuses to turn 4,301 digits into a number, and ijson's C code loses that error and then the process.
        digits = (self._digits + data).translate(_DIGITS)
        if _LONG_NUMBER in digits:
            raise Refused(
                "number_too_long",
                f"The file holds a run of more than {len(_LONG_NUMBER):,} digits.",
                "Remove it: it is neither a usable number nor a text.",
            )
        self._digits = digits[len(digits.rstrip(b"0")) :]
        if self.since_event > self._limit:
            raise Refused(
                "value_too_long",
                f"One value in the file is longer than {self._limit // (1024 * 1024)} MB.",
                "Check that its quotation marks are closed; otherwise shorten it.",
            )
        return data


def _events(path: str | Path, limits: Limits) -> Iterator[tuple[str, object]]:
    file = _Bounded(path, limits)
    depth = 0
    for event, value in ijson.basic_parse(file, buf_size=_READ_BYTES):
        file.since_event = 0
        if event in ("start_map", "start_array"):
            depth += 1
            if depth > MAX_DEPTH:
                raise Refused(
                    "too_deep",
                    f"The file is nested more than {MAX_DEPTH} levels deep.",
                    "Write a list of flat objects.",
                )
        elif event in ("end_map", "end_array"):
            depth -= 1
        yield event, value


def _items(path: str | Path, options: Options) -> Iterator[tuple[int, object]]:
    """Yield (ordinal, record) where a record is a dict, a ``_Bad``, or a ``Nested`` for what is no object."""
    ordinal = 0
    events = _events(path, options.limits)
    try:
        _enter_list(events, options.records)
        for event, _ in events:
            if event == "end_array":
                break
            ordinal += 1
            if event == "start_map":
                yield ordinal, _record(events, options)
            elif event == "start_array":
                _skip(events)
                yield ordinal, Nested("a list")
            else:
                yield ordinal, Nested("a single value")
        # What follows the list is not used, but a file that is cut short there was not meant to end so.
        for _ in events:
            pass
    except ijson.JSONError as error:
        reason = str(error).splitlines()[0].strip(" .") if str(error) else "it ends too early"
        odd = "NaN" in str(error) or "Infinity" in str(error)
        raise Refused(
            "broken_json",
            f"The file is not JSON after record {ordinal:,}: {reason}.",
            "Write null for a missing number: NaN and Infinity are not JSON."
            if odd
            else "Export it again, or save it as JSON Lines, where a broken line does not hide the rest.",
        ) from None
    except (ValueError, ArithmeticError):
        raise Refused(
            "number_too_long",
            f"Record {ordinal:,} holds a number that is too long.",
            "Put it in quotation marks if it is text.",
        ) from None


def _enter_list(events: Iterator[tuple[str, object]], wanted: str | None) -> None:
    event, _ = next(events)
    if event == "start_array" and wanted is None:
        return
    lists: list[str] = []
    if event == "start_map":
        name = ""
        for event, value in events:
            if event == "map_key":
                name = str(value)
            elif event == "start_array":
                if wanted in (None, name):
                    return
                lists.append(name[:60])
                _skip(events)
            elif event == "start_map":
                _skip(events)
            elif event == "end_map":
                break
    if wanted is not None:
        raise Refused(
            "no_records",
            f"The document has no list called '{wanted[:60]}'.",
            f"It has these lists: {', '.join(lists[:8])}." if lists else "Name no list to use the first one.",
        )
    raise Refused(
        "no_records",
        "The document holds no list of records.",
        'Write a list of objects, as in [{"text": "...", "label": "..."}].',
    )


def _skip(events: Iterator[tuple[str, object]]) -> None:
    depth = 1
    for event, _ in events:
        depth += 1 if event in ("start_map", "start_array") else -1 if event in ("end_map", "end_array") else 0
        if depth == 0:
            return


class _Bad:
    """A record that cannot be a row, and the name at fault."""

    def __init__(self, code: str, name: str) -> None:
        self.code = code
        self.name = name


def _build(events: Iterator[tuple[str, object]], event: str) -> object:
    """Return the object or list that has just begun, numbers as they were written."""
    if event == "start_array":
        items: list[object] = []
        for inner, value in events:
            if inner == "end_array":
                break
            items.append(_value(events, inner, value))
        return items
    held: dict[str, object] = {}
    name = ""
    for inner, value in events:
        if inner == "end_map":
            break
        if inner == "map_key":
            name = str(value)
        else:
            held[name] = _value(events, inner, value)
    return held


def _value(events: Iterator[tuple[str, object]], event: str, value: object) -> object:
    if event in ("start_map", "start_array"):
        return _build(events, event)
    return Number(value) if event == "number" else value


def _record(events: Iterator[tuple[str, object]], options: Options) -> object:
    limits = options.limits
    record: dict[str, object] = {}
    bad: _Bad | None = None
    size = 0
    name = ""
    for event, value in events:
        if event == "end_map":
            return bad or record
        if event == "map_key":
            name = str(value)
            size += len(name)
            if name in record:
                bad = bad or _Bad("duplicate_name", name)
            elif len(record) >= limits.max_columns:
                bad = bad or _Bad("too_many_names", name)
            continue
        if event in ("start_map", "start_array"):
            content = _build(events, event) if options.nested else _skip(events)
            cell: object = Nested("an object" if event == "start_map" else "a list", content)
        elif event == "number":
            cell = Number(value)
            if len(cell) > MAX_NUMBER_CHARS:
                bad = bad or _Bad("number_too_long", name)
        else:
            cell = value
        if bad is None:
            size += len(cell) if isinstance(cell, str) else 1
            if size > limits.max_record_bytes:
                bad = _Bad("record_too_long", name)
                record.clear()
            record[name] = cell
    return bad or record


def _names(path: str | Path, options: Options) -> list[str]:
    names: dict[str, None] = {}
    for ordinal, record in _items(path, options):
        if ordinal > COLUMN_RECORDS or len(names) > options.limits.max_columns:
            break
        if isinstance(record, dict):
            names.update(dict.fromkeys(record))
    return list(names)


def _batches(path: str | Path, options: Options, records: Records, batch_rows: int) -> Iterator[Batch]:
    names = _names(path, options)
    if not names:
        raise Refused(
            "no_records",
            "The list in the document has no object with values.",
            'Write a list of objects, as in [{"text": "...", "label": "..."}].',
        )
    records.announce(names)
    for ordinal, record in _items(path, options):
        full = None
        if isinstance(record, dict):
            full = records.add(ordinal, record)
        elif isinstance(record, _Bad):
            _reject(records, ordinal, record)
        else:
            assert isinstance(record, Nested)
            records.reject(
                ordinal,
                None,
                "not_an_object",
                f"The record is {record.kind}, not an object with names.",
                'Write {"text": "...", "label": "..."}.',
            )
        if full is None and records.batches.rows_seen == batch_rows and records.batches.waiting:
            full = records.batches.take()
        if full is not None:
            yield full
    yield records.batches.take()


def _reject(records: Records, ordinal: int, bad: _Bad) -> None:
    if bad.code == "duplicate_name":
        duplicate_name(records, ordinal, bad.name)
        return
    limits = records.batches.limits
    message, advice = {
        "too_many_names": (
            f"The record has more than {limits.max_columns} names.",
            "Keep only the columns that are needed.",
        ),
        "number_too_long": (
            f"A number has more than {MAX_NUMBER_CHARS} characters.",
            "Put it in quotation marks if it is text.",
        ),
        "record_too_long": (
            f"The record is longer than {limits.max_record_bytes // (1024 * 1024)} MB.",
            "Shorten its texts.",
        ),
    }[bad.code]
    records.reject(ordinal, bad.name[:200], bad.code, message, advice)
