"""Every source keeps the contract of the folder, and none leans on another."""

import ast
import datetime
import io
import json
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from governance.interfaces.spreadsheets import neutralise
from projects import sources

ROWS = [
    {"text": "printer is on fire", "label": "hardware", "urgency": "3"},
    {"text": "grüße aus köln, bitte", "label": "other", "urgency": None},
    {"text": "=1+1", "label": "formula", "urgency": "-1"},
]


def as_csv():
    lines = ["text,label,urgency"]
    lines += [",".join(f'"{v}"' if v else "" for v in row.values()) for row in ROWS]
    return "\n".join(lines).encode()


def as_workbook():
    book = openpyxl.Workbook()
    book.active.append(list(ROWS[0]))
    for number, row in enumerate(ROWS, start=2):
        for column, value in enumerate(row.values(), start=1):
            cell = book.active.cell(number, column)
            cell.value = value
            cell.data_type = "s"
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def as_parquet():
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), stream)
    return stream.getvalue()


def as_archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number, row in enumerate(ROWS):
            archive.writestr(f"{row['label']}/{number}.txt", row["text"])
    return stream.getvalue()


EXAMPLES = {
    "csv": as_csv,
    "json": lambda: json.dumps(ROWS).encode(),
    "jsonl": lambda: "\n".join(json.dumps(row) for row in ROWS).encode(),
    "parquet": as_parquet,
    "xlsx": as_workbook,
    "zip_texts": as_archive,
}
names = pytest.mark.parametrize("name", sorted(sources.all_sources()))


def example(name, tmp_path):
    path = tmp_path / ("example" + sources.all_sources()[name].SUFFIXES[0])
    path.write_bytes(EXAMPLES[name]())
    return path


@names
def test_a_source_says_what_it_is(name):
    source = sources.all_sources()[name]
    assert source.__doc__.strip()
    assert source.NAME
    assert "/" in source.MEDIA
    assert source.UNIT in ("line", "record", "row", "file")
    assert source.SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in source.SUFFIXES)


@names
def test_a_source_is_chosen_for_its_own_file_and_for_no_other(name, tmp_path):
    path = example(name, tmp_path)
    assert sources.choose(path, f"My Data{path.suffix.upper()}") is sources.all_sources()[name]
    # Text may always be CSV; every other format is recognised by itself alone.
    others = {n for n, s in sources.all_sources().items() if n != "csv" and s.sniff(path)}
    assert others == {name} - {"csv"}


@names
def test_a_source_reads_every_row_as_text_with_its_place(name, tmp_path):
    source, path = sources.all_sources()[name], example(name, tmp_path)
    preview = source.columns(path)
    rows = [row for batch in source.read(path) for row in batch.rows]
    assert [row.line for row in rows] == sorted({row.line for row in rows})
    assert all(list(row.values) == preview.columns for row in rows)
    assert rows == preview.sample
    read = sorted((row.values["text"], row.values["label"]) for row in rows)
    assert read == sorted((row["text"], row["label"]) for row in ROWS)
    if "urgency" in preview.columns:
        assert [row.values["urgency"] for row in rows] == ["3", None, "-1"]


@names
def test_a_source_refuses_more_rows_than_it_may_read(name, tmp_path):
    path = example(name, tmp_path)
    options = sources.Options(limits=sources.Limits(max_rows=2))
    with pytest.raises(sources.Refused) as caught:
        list(sources.all_sources()[name].read(path, options))
    assert caught.value.code in ("too_many_rows", "too_many_entries")


@names
def test_a_source_marks_an_overlong_cell_and_reads_on(name, tmp_path):
    path = example(name, tmp_path)
    options = sources.Options(limits=sources.Limits(max_cell_chars=20))
    batches = list(sources.all_sources()[name].read(path, options))
    assert [e.code for b in batches for e in b.errors] == ["cell_too_long"]
    assert sum(len(b.rows) for b in batches) == 2


@names
def test_a_source_cut_short_is_refused_or_loses_only_its_end(name, tmp_path):
    path = example(name, tmp_path)
    whole = path.read_bytes()
    for size in range(1, len(whole), max(1, len(whole) // 25)):
        path.write_bytes(whole[:size])
        try:
            source = sources.choose(path, path.name)
            rows = [row.values for batch in source.read(path) for row in batch.rows]
        except sources.Refused:
            rows = []
        assert len(rows) <= len(ROWS)


@names
def test_a_source_imports_no_sibling_and_no_django(name):
    path = Path(sources.__file__).parent / f"{name}.py"
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    assert not {i for i in imported if i.startswith("django")}
    ours = {i for i in imported if i.startswith("projects.")}
    assert all(i.startswith("projects.sources.reading") for i in ours), "a source may use projects.sources.reading only"


@names
def test_a_source_reads_a_stored_upload_whose_path_has_no_ending(name, tmp_path):
    path = example(name, tmp_path)
    stored = tmp_path / "0123456789abcdef"
    path.rename(stored)
    assert sum(len(batch.rows) for batch in sources.read(stored, path.name)) == len(ROWS)


def test_values_that_are_not_text_become_text(tmp_path):
    path = tmp_path / "typed.parquet"
    when = datetime.datetime(2026, 1, 31, 12, 30, tzinfo=None)  # noqa: DTZ001 - tables hold naive times
    row = {"n": 7, "x": 1.5, "yes": True, "day": datetime.date(2026, 1, 31), "at": when, "gap": float("nan"), "s": ""}
    pq.write_table(pa.Table.from_pylist([row]), path)
    (batch,) = sources.read(path, "typed.parquet")
    assert batch.rows[0].values == {
        "n": "7",
        "x": "1.5",
        "yes": "true",
        "day": "2026-01-31",
        "at": "2026-01-31 12:30:00",
        "gap": None,
        "s": None,
    }


def test_an_unknown_ending_is_answered_with_the_known_ones(tmp_path):
    path = tmp_path / "x"
    path.write_text("text,label\na,b\n")
    with pytest.raises(sources.Refused) as caught:
        sources.choose(path, "data.docx")
    assert ".csv" in caught.value.advice
    assert ".parquet" in caught.value.advice


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" \t=cmd|' /C calc'!A0", "' \t=cmd|' /C calc'!A0"),
        ("-2+3+cmd", "'-2+3+cmd"),
        ("+49 170", "'+49 170"),
        ("-12.5", "-12.5"),
        ("+1e5", "+1e5"),
        ("plain = text", "plain = text"),
        ("", ""),
        (None, ""),
        ("\r=1", "'\r=1"),
        ("＝1+1", "'＝1+1"),
    ],
)
def test_a_formula_leaves_as_text(value, shown):
    assert neutralise(value) == shown
