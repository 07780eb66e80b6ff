"""Apache Parquet, read one row group at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from projects.sources.reading import cells
from projects.sources.reading.rows import (
    DEFAULTS,
    Batch,
    Batches,
    Limits,
    Options,
    Preview,
    Refused,
    no_rows,
    too_many_rows,
)

NAME = "Parquet"
SUFFIXES = (".parquet", ".pq")
MEDIA = "application/vnd.apache.parquet"
UNIT = "row"

# A column of a row group is the unit that Parquet unpacks; writers make them 128 MB to 512 MB at most.
MAX_CHUNK_BYTES = 512 * 1024 * 1024
MAX_RATIO = 1_000
MAX_FOOTER_BYTES = 32 * 1024 * 1024
_READ_ROWS = 1_000
_FRACTION = re.compile(r"\.0+(?=Z?$)")
_ADVICE = "Write the file again, for example with pandas: df.to_parquet('data.parquet')."


def sniff(path: str | Path) -> bool:
    """Whether the file begins and ends as Parquet does."""
    with open(path, "rb") as file:
        if file.read(4) != b"PAR1":
            return False
        file.seek(-4, 2)
        return file.read(4) == b"PAR1"


def columns(path: str | Path, options: Options = DEFAULTS) -> Preview:
    """The columns that can be text, the first rows, and the number of rows that the file declares."""
    with _opened(path, options.limits) as file:
        batches = Batches(options.limits, UNIT)
        names = _header(file, batches, options.nested)
        batch = next(_batches(file, names, batches, options.limits.sample_rows))
        return Preview([stored for _, stored in names], batch.rows, batch.errors, {"rows": file.metadata.num_rows})


def read(path: str | Path, options: Options = DEFAULTS) -> Iterator[Batch]:
    """Yield every row as text (dates in ISO 8601); columns of bytes and nested ones are left out with a warning."""
    with _opened(path, options.limits) as file:
        batches = Batches(options.limits, UNIT)
        yield from _batches(file, _header(file, batches, options.nested), batches, options.limits.batch_rows)


@contextmanager
def _opened(path: str | Path, limits: Limits) -> Iterator[pq.ParquetFile]:
    """The file with its footer checked; whatever Arrow cannot read inside becomes a refusal."""
    _check_footer(path)
    try:
        # Text stays dictionary-encoded: a few bytes may stand for a million copies of a long text.
        with pq.ParquetFile(path) as plain:
            texts = [
                f.name for f in plain.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
            ]
            _check(plain.metadata, limits)
        with pq.ParquetFile(path, read_dictionary=texts, pre_buffer=False, buffer_size=1024 * 1024) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else "it is damaged"
        raise Refused("broken_parquet", f"The Parquet file cannot be read: {reason}.", _ADVICE) from None


def _check_footer(path: str | Path) -> None:
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - 8))
        end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if size < 12 or end[4:] != b"PAR1" or length > size - 12:
        raise Refused("broken_parquet", "The Parquet file is cut short: its footer is missing.", "Upload it again.")
    if length > MAX_FOOTER_BYTES:
        raise Refused(
            "footer_too_large",
            f"The footer of the Parquet file has {length // 1_000_000:,} MB.",
            "Write the file again with fewer row groups.",
        )


def _check(metadata: pq.FileMetaData, limits: Limits) -> None:
    if metadata.num_rows > limits.max_rows:
        raise too_many_rows(limits)
    cells.check_width(metadata.num_columns, limits)
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        for column in range(rows.num_columns):
            chunk = rows.column(column)
            unpacked, packed = chunk.total_uncompressed_size, max(1, chunk.total_compressed_size)
            if unpacked > MAX_CHUNK_BYTES:
                raise Refused(
                    "row_group_too_large",
                    f"Column '{chunk.path_in_schema[:60]}' of row group {group + 1} has {unpacked // 1_000_000:,} MB; "
                    f"at most {MAX_CHUNK_BYTES // 1_000_000:,} MB are unpacked at once.",
                    "Write the file with smaller row groups: df.to_parquet('data.parquet', row_group_size=100_000).",
                )
            if unpacked > 64 * 1024 * 1024 and unpacked > MAX_RATIO * packed:
                raise Refused(
                    "archive_bomb",
                    f"Column '{chunk.path_in_schema[:60]}' would grow from {packed:,} to {unpacked:,} bytes.",
                    _ADVICE,
                )


def _header(file: pq.ParquetFile, batches: Batches, nested: bool) -> list[tuple[str, str]]:
    """(name in the file, name as stored) of every column that can be text."""
    readable: list[str] = []
    for field in file.schema_arrow:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if (pa.types.is_nested(kind) and not nested) or _is_bytes(kind):
            batches.problem(
                0,
                field.name[:200],
                "nested_column",
                f"Column '{field.name[:60]}' holds {_kind(kind)} and is left out.",
                "Write its values as text or as columns of their own if they are needed.",
                severity="warning",
            )
        elif field.name != "__index_level_0__":
            readable.append(field.name)
    if not readable:
        raise Refused("no_columns", "The Parquet file has no column of text, numbers or dates.", _ADVICE)
    stored = cells.header(readable, batches, line=0)
    if len(set(file.schema_arrow.names)) != len(file.schema_arrow.names):
        cells.check_names(list(file.schema_arrow.names))
    if file.metadata.num_rows == 0:
        raise no_rows(len(readable))
    return list(zip(readable, stored, strict=True))


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _kind(kind: pa.DataType) -> str:
    if _is_bytes(kind):
        return "bytes"
    return "objects" if pa.types.is_struct(kind) else "lists"


def _as_text(value: object) -> str | None:
    if value is None or value == "":
        return None
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if isinstance(value, float):
        if value != value:
            return None  # pandas writes a gap in a column of numbers as NaN
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    isoformat: Callable[[], str] | None = getattr(value, "isoformat", None)
    return isoformat() if isoformat else str(value)


def _texts(column: pa.Array) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        # One Python string per different value, shared by the rows: this is what keeps a dictionary bomb small.
        words = [_as_text(value) for value in column.dictionary.to_pylist()]
        return [None if index is None else words[index] for index in column.indices.to_pylist()]
    if pa.types.is_timestamp(column.type) or pa.types.is_time(column.type) or pa.types.is_duration(column.type):
        # Nanoseconds do not fit into Python's datetime.
        texts = column.cast(pa.string()).to_pylist()
        return [text if text is None else _FRACTION.sub("", text) for text in texts]
    return [_as_text(value) for value in column.to_pylist()]


def _batches(file: pq.ParquetFile, names: list[tuple[str, str]], batches: Batches, batch_rows: int) -> Iterator[Batch]:
    line = 0
    stored = [name for _, name in names]
    for group in file.iter_batches(
        batch_size=min(_READ_ROWS, batch_rows), columns=[name for name, _ in names], use_threads=False
    ):
        position = {name: index for index, name in enumerate(group.schema.names)}
        lists = [_texts(group.column(position[name])) for name, _ in names]
        for row in zip(*lists, strict=True):
            line += 1
            values = dict(zip(stored, row, strict=True))
            if not cells.check(batches, line, values.items()):
                continue
            full = batches.add(line, values, sum(len(value) for value in row if value))
            if full is None and batches.rows_seen == batch_rows and batches.waiting:
                full = batches.take()
            if full is not None:
                yield full
    yield batches.take()
