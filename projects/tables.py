"""The one on-disk form of imported rows: a Parquet file whose columns are all text, written and read in bounded memory.

The same rows in the same order give the same bytes: row groups are cut by counting rows and characters, compression
is fixed and no time or path is written. Rows are numbered from 0 here and shown from 1 to people.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 20_000
GROUP_CHARS = 16_000_000
_READ_ROWS = 5_000
_TURN_ROWS = 250
_KINDS = {str, type(None)}


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: rows, bytes, sha256 of the file, and its columns with their stored type (always ``text``)."""

    rows: int
    size: int
    sha256: str
    schema: list[dict[str, str]]


class Writer:
    """Writes rows to a new Parquet file; a context manager whose ``written`` is set once it is left without an error.

    An interrupted file is not a Parquet file: its footer is missing, so nothing can take half a table for a whole one.
    """

    def __init__(self, path: str | Path, columns: Sequence[str]) -> None:
        if not columns or len(set(columns)) != len(columns):
            raise ValueError("A table needs columns, each with a name of its own.")
        self.path = Path(path)
        self.columns = list(columns)
        self.written: Written | None = None
        self._schema = pa.schema([pa.field(name, pa.string()) for name in self.columns])
        self._writer = pq.ParquetWriter(
            self.path,
            self._schema,
            version="2.6",
            compression="zstd",
            compression_level=3,
            use_dictionary=True,
            write_statistics=False,
            store_schema=False,
        )
        self._pending: list[Mapping[str, str | None]] = []
        self._start()
        self.rows = 0

    def _start(self) -> None:
        self._cells: list[list[str | None]] = [[] for _ in self.columns]
        self._chars = 0

    def append(self, values: Mapping[str, str | None]) -> None:
        """Add one row; a column that ``values`` lacks becomes a gap. Raises TypeError for anything but text or None.

        The error may come some rows later: rows are turned into columns a few hundred at a time, which is four times
        as fast, and always at the same rows, so that the bytes do not depend on how the rows arrived.
        """
        self._pending.append(values)
        self.rows += 1
        if len(self._pending) == _TURN_ROWS:
            self._turn()

    def extend(self, rows: Iterable[Mapping[str, str | None]]) -> None:
        """Add many rows."""
        for values in rows:
            self.append(values)

    def _turn(self) -> None:
        for name, cells in zip(self.columns, self._cells, strict=True):
            found = [values.get(name) for values in self._pending]
            kinds = set(map(type, found))
            if not kinds <= _KINDS:
                odd = next(value for value in found if type(value) not in _KINDS)
                raise TypeError(f"Every cell of a table is text or None; column '{name}' got {odd!r:.80}.")
            self._chars += sum(map(len, filter(None, found)))
            cells += found
        self._pending = []
        if len(self._cells[0]) >= GROUP_ROWS or self._chars >= GROUP_CHARS:
            self._flush()

    def _flush(self) -> None:
        if not self._cells[0]:
            return
        arrays = [pa.array(cells, pa.string()) for cells in self._cells]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=GROUP_ROWS)
        self._start()

    def _discard(self) -> None:
        self._writer.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._turn()
            self._flush()
        except BaseException:
            self._discard()
            raise
        self._writer.close()
        with open(self.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        schema = [{"name": name, "type": "text"} for name in self.columns]
        self.written = Written(self.rows, self.path.stat().st_size, digest, schema)


def write(rows: Iterable[Mapping[str, str | None]], columns: Sequence[str], path: str | Path) -> Written:
    """Write all rows; raises what ``rows`` raises, or TypeError for a cell that is no text, and leaves no file."""
    writer = Writer(path, columns)
    with writer:
        writer.extend(rows)
    assert writer.written is not None
    return writer.written


def count(path: str | Path) -> int:
    """How many rows the table has, from its footer."""
    return pq.read_metadata(path).num_rows


def columns(path: str | Path) -> list[str]:
    """The column names in their order."""
    return list(pq.read_schema(path).names)


def batches(
    path: str | Path, names: Sequence[str] | None = None, rows: int = _READ_ROWS
) -> Iterator[dict[str, list[str | None]]]:
    """Yield lists per column, in order, at most ``rows`` long; raises KeyError for a column that is not there."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        wanted = _wanted(file, names)
        for batch in file.iter_batches(batch_size=rows, columns=wanted, use_threads=False):
            yield {name: batch.column(name).to_pylist() for name in wanted}


def arrow_batches(path: str | Path, rows: int = _READ_ROWS) -> Iterator[pa.RecordBatch]:
    """Yield the rows as they are stored, for what is computed without turning every cell into a Python object."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(batch_size=rows, use_threads=False)


def iterate(path: str | Path, names: Sequence[str] | None = None) -> Iterator[dict[str, str | None]]:
    """Yield every row in order as a mapping."""
    for batch in batches(path, names):
        keys = list(batch)
        for cells in zip(*batch.values(), strict=True):
            yield dict(zip(keys, cells, strict=True))


def take(path: str | Path, rows: Sequence[int], names: Sequence[str] | None = None) -> list[dict[str, str | None]]:
    """The rows at these 0-based positions, in the order asked for; only the row groups that hold them are read.

    Raises IndexError for a position outside the table.
    """
    found: dict[int, dict[str, str | None]] = {}
    wanted = sorted(set(rows))
    with pq.ParquetFile(path, pre_buffer=False) as file:
        keys = _wanted(file, names)
        if wanted and (wanted[0] < 0 or wanted[-1] >= file.metadata.num_rows):
            raise IndexError(f"The table has {file.metadata.num_rows} rows.")
        start = 0
        position = 0
        for group in range(file.metadata.num_row_groups):
            if position == len(wanted):
                break
            size = file.metadata.row_group(group).num_rows
            inside = []
            while position < len(wanted) and wanted[position] < start + size:
                inside.append(wanted[position])
                position += 1
            if inside:
                table = file.read_row_group(group, columns=keys, use_threads=False)
                picked = table.take(pa.array([row - start for row in inside])).to_pydict()
                for index, row in enumerate(inside):
                    found[row] = {key: picked[key][index] for key in keys}
            start += size
    return [found[row] for row in rows]


def page(path: str | Path, offset: int, limit: int, names: Sequence[str] | None = None) -> list[dict[str, str | None]]:
    """At most ``limit`` rows from the 0-based ``offset``; an offset behind the end gives none."""
    last = min(offset + limit, count(path))
    return take(path, range(max(0, offset), last), names)


def sample(path: str | Path, size: int, seed: int) -> list[int]:
    """``size`` different 0-based positions, ascending (all of them in a smaller table), the same for the same seed."""
    total = count(path)
    if size >= total:
        return list(range(total))
    return sorted(random.Random(seed).sample(range(total), size))


def _wanted(file: pq.ParquetFile, names: Sequence[str] | None) -> list[str]:
    present = list(file.schema_arrow.names)
    if names is None:
        return present
    unknown = [name for name in names if name not in present]
    if unknown:
        raise KeyError(f"The table has no column '{unknown[0]}'; it has {', '.join(present)}.")
    return list(names)
