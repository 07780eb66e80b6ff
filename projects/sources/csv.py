"""Comma-, semicolon-, tab- and pipe-separated text with a header line."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from projects.sources.reading import cells, signatures, text
from projects.sources.reading.rows import DEFAULTS, Batch, Batches, Options, Preview, Refused, empty_file, no_rows

NAME = "CSV"
SUFFIXES = (".csv", ".tsv", ".tab")
MEDIA = "text/csv"
UNIT = "line"

DELIMITERS = (",", ";", "\t", "|")
_SNIFF_CHARS = 64 * 1024
_JSON = re.compile(rb"\s*(?:\[\s*[\[{]|\{\s*\"[^\"]{0,200}\"\s*:)")


def sniff(path: str | Path) -> bool:
    """Whether the content may be CSV: any text that is not another known format, nor begins like JSON."""
    start = signatures.head(path)
    return signatures.is_text(start) and _JSON.match(start.removeprefix(b"\xef\xbb\xbf")) is None


def columns(path: str | Path, options: Options = DEFAULTS) -> Preview:
    """Header, first rows, delimiter and encoding found. Raises Refused for whatever ``read`` would refuse at once."""
    reading = _Reading(path, options)
    batch = next(reading.batches(options.limits.sample_rows))
    return Preview(
        reading.columns,
        batch.rows,
        batch.errors,
        {"delimiter": reading.delimiter, "encoding": text.encoding(path)},
    )


def read(path: str | Path, options: Options = DEFAULTS) -> Iterator[Batch]:
    """Yield every row as text (an empty cell is None) with the line on which it starts; see the contract."""
    return _Reading(path, options).batches(options.limits.batch_rows)


class _Lines:
    """Feeds csv.reader line by line and knows which block it is in: a record may span lines, but not without end."""

    def __init__(self, blocks: Iterator[text.Block], max_blocks: int) -> None:
        self._blocks = blocks
        self._max_blocks = max_blocks
        self.block = 0
        self.record_block = 0
        self.suspicious = False

    def __iter__(self) -> Iterator[str]:
        before = False
        for block in self._blocks:
            self.block += 1
            spanning = self.block - self.record_block > 1
            self.suspicious = block.suspicious or (self.suspicious if spanning else before)
            before = block.suspicious
            if self.block - self.record_block > self._max_blocks:
                raise Refused(
                    "record_too_long",
                    f"One row is longer than {self._max_blocks} MB.",
                    "A quotation mark is probably opened and never closed; double the quotation marks inside a cell.",
                )
            # Unlike str.splitlines this breaks at LF, CR and CRLF only, as RFC 4180 readers do.
            yield from io.StringIO(block.text, newline="")


class _Reading:
    def __init__(self, path: str | Path, options: Options) -> None:
        self._limits = options.limits
        self._path = path
        self.delimiter = options.delimiter or sniff_delimiter(path, options)
        if self.delimiter not in DELIMITERS:
            raise Refused(
                "delimiter",
                f"'{self.delimiter}' is not a separator that is read.",
                "Choose comma, semicolon, tab or pipe.",
            )
        self.columns: list[str] = []

    def batches(self, batch_rows: int) -> Iterator[Batch]:
        limits = self._limits
        # The limit belongs to the whole process: only ever raise it, so that two readers cannot cut each other short.
        if csv.field_size_limit() < limits.max_cell_chars:
            csv.field_size_limit(limits.max_cell_chars)
        lines = _Lines(text.blocks(self._path, limits), max(1, limits.max_record_bytes // text.BLOCK_BYTES))
        records = csv.reader(lines, delimiter=self.delimiter, strict=True)
        batches = Batches(limits, UNIT)
        rejected = 0
        last_line = 0
        flushed = 0
        names: list[str] = []
        width = 0
        max_chars = limits.max_cell_chars
        while True:
            lines.record_block = lines.block
            try:
                record = next(records)
            except StopIteration:
                break
            except csv.Error as error:
                if not names:
                    raise _broken_header(error, last_line + 1) from None
                rejected += 1
                _note(batches, error, last_line + 1, records.line_num)
                last_line = records.line_num
                continue
            line = last_line + 1
            last_line = records.line_num
            if not record:
                continue
            if not names:
                names = self.columns = cells.header(record, batches, line)
                width = len(names)
                flushed = lines.block
                continue
            if len(record) != width:
                rejected += 1
                _miscounted(batches, line, len(record), width, self.delimiter)
                continue
            values = dict(zip(names, [cell or None for cell in record], strict=True))
            # Looking into every cell of every row would double the time of reading; blocks say where it is needed.
            if (lines.suspicious or max(map(len, record)) > max_chars) and not cells.check(
                batches, line, values.items()
            ):
                rejected += 1
                continue
            full = batches.add(line, values)
            if full is not None:
                yield full
                flushed = lines.block
            elif lines.block != flushed or batches.rows_seen == batch_rows:
                # A block is one MiB of text: a batch of long rows stays as small as one of short rows.
                yield batches.take()
                flushed = lines.block
        if not names:
            raise empty_file()
        if not batches.rows_seen and not rejected:
            raise no_rows(width)
        yield batches.take()


def sniff_delimiter(path: str | Path, options: Options = DEFAULTS) -> str:
    """The separator that splits the first 64 thousand characters most evenly; a comma when none does."""
    sample = next(text.blocks(path, options.limits)).text
    cut = sample[:_SNIFF_CHARS]
    if len(sample) > _SNIFF_CHARS:
        cut = cut[: cut.rfind("\n") + 1] or cut
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        try:
            widths = [len(r) for r in csv.reader(io.StringIO(cut, newline=""), delimiter=delimiter) if r]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        even = Counter(widths)[widths[0]] / len(widths)
        score = (round(even, 2), widths[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _broken_header(error: csv.Error, line: int) -> Refused:
    if "field larger" in str(error):
        return Refused(
            "cell_too_long",
            f"The first cell, on line {line}, does not end.",
            "Check that the file has line ends and closed quotation marks.",
        )
    return Refused(
        "broken_header",
        f"The header on line {line} has quotation marks that do not match.",
        "Put quotation marks around a whole name or leave them out.",
    )


def _note(batches: Batches, error: csv.Error, first: int, last: int) -> None:
    where = f"line {first:,}" if first == last else f"lines {first:,} to {last:,}"
    if "field larger" in str(error):
        batches.problem(
            first,
            None,
            "cell_too_long",
            f"A cell in {where} has more than {batches.limits.max_cell_chars:,} characters.",
            "A quotation mark is probably opened and never closed; otherwise shorten the text.",
        )
        return
    end = "unexpected end" in str(error)
    batches.problem(
        first,
        None,
        "broken_quotes",
        f"The quotation marks in {where} do not match" + ("; the last one is never closed." if end else "."),
        'Write a quotation mark inside a quoted cell twice ("").',
    )


def _miscounted(batches: Batches, line: int, found: int, wanted: int, delimiter: str) -> None:
    shown = {"\t": "tab"}.get(delimiter, f"'{delimiter}'")
    batches.problem(
        line,
        None,
        "cell_count",
        f"The row has {found} cell{'s' if found != 1 else ''}, the header has {wanted}.",
        f"Put quotation marks around cells that contain the separator ({shown}).",
    )
