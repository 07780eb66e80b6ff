"""Reading and storing take the same memory for a file three times as large."""

import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from projects import sources, tables

ROW = {"text": "the printer on the third floor is out of paper again", "label": "hardware"}


def save(path, rows):
    if path.suffix == ".csv":
        path.write_text("text,label\n" + f"{ROW['text']},{ROW['label']}\n" * rows)
    elif path.suffix == ".jsonl":
        path.write_text((json.dumps(ROW) + "\n") * rows)
    elif path.suffix == ".json":
        path.write_text("[" + ",".join([json.dumps(ROW)] * rows) + "]")
    else:
        table = pa.table({name: [f"{value} {n}" for n in range(rows)] for name, value in ROW.items()})
        pq.write_table(table, path, row_group_size=10_000)


def peak(path, target):
    tracemalloc.start()
    try:
        rows = (row.values for batch in sources.read(path, path.name) for row in batch.rows)
        written = tables.write(rows, list(ROW), target)
        return written.rows, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
    small, large = tmp_path / f"small{suffix}", tmp_path / f"large{suffix}"
    save(small, 30_000)
    save(large, 90_000)
    rows, little = peak(small, tmp_path / "small.stored")
    assert rows == 30_000
    rows, much = peak(large, tmp_path / "large.stored")
    assert rows == 90_000
    assert much < little * 1.3
