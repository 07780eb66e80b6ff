"""Excel workbooks (.xlsx): one worksheet, values as they were last calculated, never formulas or macros."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from xml.parsers import expat
from zipfile import ZipFile

import openpyxl
from openpyxl.cell.cell import ERROR_CODES

from projects.sources.reading import archives, cells, signatures
from projects.sources.reading.rows import DEFAULTS, Batch, Batches, Options, Preview, Refused, empty_file, no_rows

NAME = "Excel workbook"
SUFFIXES = (".xlsx",)
MEDIA = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
UNIT = "row"

MAX_PARTS = 5_000
MAX_BYTES = 2_000_000_000
# openpyxl keeps these parts in memory; worksheets are streamed.
MAX_SHARED_STRINGS = 64 * 1024 * 1024
MAX_PART = 32 * 1024 * 1024
# The last row that Excel has. A crafted file may name one far behind it, and openpyxl fills the gap with empty rows.
LAST_ROW = 1_048_576
_PROLOGUE_BYTES = 1024 * 1024
_ADVICE = "Open it in Excel or LibreOffice and save it again as .xlsx, or save the sheet as CSV UTF-8."


def sniff(path: str | Path) -> bool:
    """Whether the file is a ZIP archive with a workbook in it."""
    if not signatures.head(path).startswith(b"PK\x03\x04"):
        return False
    try:
        with archives.opened(path, max_entries=MAX_PARTS, max_bytes=MAX_BYTES) as archive:
            return "[Content_Types].xml" in archive.namelist() and "xl/workbook.xml" in archive.namelist()
    except Refused as refused:
        # Only a reading can say why it is refused, so a workbook that is a bomb is still taken for a workbook.
        return refused.code != "broken_archive" and b"xl/" in signatures.head(path)


def columns(path: str | Path, options: Options = DEFAULTS) -> Preview:
    """The first row of the sheet as column names, the rows below it, and the names of all sheets."""
    with _opened(path) as book:
        sheet = _sheet(book, options)
        batches = Batches(options.limits, UNIT)
        names: list[str] = []
        batch = next(_batches(sheet, names, batches, options.limits.sample_rows))
        details = {"sheet": sheet.title, "sheets": [s.title for s in book.worksheets]}
        return Preview(names, batch.rows, batch.errors, details)


def read(path: str | Path, options: Options = DEFAULTS) -> Iterator[Batch]:
    """Yield every row of the sheet with its Excel row number; numbers, dates and truth values as text."""
    with _opened(path) as book:
        batches = Batches(options.limits, UNIT)
        yield from _batches(_sheet(book, options), [], batches, options.limits.batch_rows)


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    with archives.opened(path, max_entries=MAX_PARTS, max_bytes=MAX_BYTES) as archive:
        _check(archive)
    # An open file and not its path: openpyxl judges paths by their ending, and stored uploads have none.
    with open(path, "rb") as file, ExitStack() as stack:
        try:
            with warnings.catch_warnings():
                # openpyxl warns of styles, validation and print settings that it drops; only values matter here.
                warnings.simplefilter("ignore")
                book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            stack.callback(book.close)
            yield book
        except Refused:
            raise
        except Exception:
            # A damaged part surfaces as any of a dozen error types from zipfile, expat and openpyxl's descriptors.
            raise Refused("broken_workbook", "The workbook is damaged: a part of it cannot be read.", _ADVICE) from None


def _check(archive: ZipFile) -> None:
    names = set(archive.namelist())
    if any(name.lower().endswith("vbaproject.bin") for name in names):
        raise Refused(
            "macros", "The workbook contains macros.", "Save it as .xlsx, a workbook without macros, and upload that."
        )
    if "xl/workbook.xml" not in names:
        raise Refused("broken_workbook", "The file is not a workbook: it has no list of sheets.", _ADVICE)
    for entry in archive.infolist():
        sheet = entry.filename.startswith("xl/worksheets/")
        shared = entry.filename.lower().endswith("sharedstrings.xml")
        limit = MAX_SHARED_STRINGS if shared else MAX_PART
        xml = entry.filename.lower().endswith((".xml", ".rels"))
        if xml and not sheet and entry.file_size > limit:
            raise Refused(
                "archive_too_large",
                f"'{entry.filename[:80]}' in the workbook has {entry.file_size // 1_000_000:,} MB; at most "
                f"{limit // 1_000_000} MB are read.",
                "Save the sheet as CSV UTF-8, which has no such limit.",
            )
        if xml:
            _refuse_document_type(archives.content(archive, entry, _PROLOGUE_BYTES), entry.filename)


def _refuse_document_type(start: bytes, name: str) -> None:
    """Entities, internal or external, need a document type and no workbook has one: refuse it before it is read."""
    found: list[str] = []
    parser = expat.ParserCreate()

    def document_type(*_: object) -> None:
        found.append("doctype")
        raise StopIteration

    def element(*_: object) -> None:
        raise StopIteration

    parser.StartDoctypeDeclHandler = document_type
    parser.StartElementHandler = element
    try:
        parser.Parse(start, False)
    except StopIteration:
        pass
    except expat.ExpatError:
        raise Refused("broken_workbook", f"'{name[:80]}' in the workbook is not XML.", _ADVICE) from None
    else:
        raise Refused("broken_workbook", f"'{name[:80]}' in the workbook has no content.", _ADVICE)
    if found:
        raise Refused(
            "document_type",
            f"'{name[:80]}' in the workbook declares a document type, which can fetch or multiply content.",
            _ADVICE,
        )


def _sheet(book: Any, options: Options) -> Any:
    names = [sheet.title for sheet in book.worksheets]
    if not names:
        raise Refused("no_sheet", "The workbook has no worksheet.", _ADVICE)
    if options.sheet is None:
        visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        return (visible or book.worksheets)[0]
    if options.sheet not in names:
        raise Refused(
            "no_sheet",
            f"The workbook has no worksheet called '{options.sheet[:60]}'.",
            f"Choose one of: {', '.join(names[:20])}.",
        )
    return book.worksheets[names.index(options.sheet)]


def _as_text(value: object) -> str | None:
    if value is None or value == "":
        return None
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time(0)
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def _batches(sheet: Any, names: list[str], batches: Batches, batch_rows: int) -> Iterator[Batch]:
    # The declared extent of a sheet is often wrong, and in a crafted file it is enormous.
    sheet.reset_dimensions()
    rejected = 0
    for line, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        if line > LAST_ROW:
            raise Refused("too_many_rows", f"The sheet claims to have more than {LAST_ROW:,} rows.", _ADVICE)
        texts = [_as_text(value) for value in row]
        while texts and texts[-1] is None:
            texts.pop()
        if not texts:
            continue
        if not names:
            names += cells.header(texts, batches, line)
            continue
        if len(texts) > len(names):
            rejected += 1
            batches.problem(
                line,
                None,
                "cell_count",
                f"The row has {len(texts)} cells, the header has {len(names)}.",
                "Name the extra column in the first row, or clear the extra cells.",
            )
            continue
        texts += [None] * (len(names) - len(texts))
        values = dict(zip(names, texts, strict=True))
        broken = next((name for name, text in values.items() if text in ERROR_CODES), None)
        if broken is not None:
            rejected += 1
            batches.problem(
                line,
                broken,
                "cell_error",
                f"The cell shows the error {values[broken]}.",
                "Correct its formula, or replace it with a value.",
            )
            continue
        if not cells.check(batches, line, values.items()):
            rejected += 1
            continue
        full = batches.add(line, values, sum(len(text) for text in texts if text))
        if full is None and batches.rows_seen == batch_rows and batches.waiting:
            full = batches.take()
        if full is not None:
            yield full
    if not names:
        raise empty_file()
    if not batches.rows_seen and not rejected:
        raise no_rows(len(names))
    yield batches.take()
