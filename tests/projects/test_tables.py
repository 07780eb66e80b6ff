"""The stored form of imported rows: same rows, same bytes; nothing half-written; rows by position."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects import tables

ROWS = [{"text": f"text {i}", "label": "ab"[i % 2] if i % 7 else None} for i in range(45_000)]


def test_the_same_rows_give_the_same_bytes(tmp_path):
    first = tables.write(iter(ROWS), ["text", "label"], tmp_path / "a.parquet")
    second = tables.write(ROWS, ["text", "label"], tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert first == second
    assert first.rows == 45_000 == tables.count(tmp_path / "a.parquet")
    assert first.schema == [{"name": "text", "type": "text"}, {"name": "label", "type": "text"}]


def test_rows_come_back_in_order_by_position_and_by_page(tmp_path):
    path = tmp_path / "t.parquet"
    tables.write(ROWS, ["text", "label"], path)
    assert list(tables.iterate(path)) == ROWS
    assert tables.take(path, [44_999, 0, 20_001, 0]) == [ROWS[44_999], ROWS[0], ROWS[20_001], ROWS[0]]
    assert tables.page(path, 19_998, 5) == ROWS[19_998:20_003]
    assert tables.page(path, 44_998, 10) == ROWS[44_998:]
    assert tables.page(path, 99_999, 10) == []
    with pytest.raises(IndexError, match="45000 rows"):
        tables.take(path, [45_000])


def test_an_unknown_column_is_named(tmp_path):
    tables.write(ROWS[:2], ["text", "label"], tmp_path / "t.parquet")
    with pytest.raises(KeyError, match="no column 'nope'; it has text, label"):
        list(tables.batches(tmp_path / "t.parquet", ["nope"]))


def test_nothing_stays_behind_when_the_rows_fail(tmp_path):
    def rows():
        yield {"text": "a"}
        raise RuntimeError("the file ended early")

    with pytest.raises(RuntimeError):
        tables.write(rows(), ["text"], tmp_path / "t.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_is_not_text_is_refused(tmp_path):
    with pytest.raises(TypeError, match="text or None"):
        tables.write([{"text": 3}], ["text"], tmp_path / "t.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_sample_is_the_same_for_the_same_seed(tmp_path):
    path = tmp_path / "t.parquet"
    tables.write(ROWS[:1000], ["text", "label"], path)
    assert tables.sample(path, 10, 1) == tables.sample(path, 10, 1) != tables.sample(path, 10, 2)
    assert tables.sample(path, 5000, 1) == list(range(1000))


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), st.none() | st.text(st.characters(codec="utf-8")))))
@settings(max_examples=50, deadline=None)
def test_any_text_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    tables.write(rows, ["a", "b"], path)
    assert list(tables.iterate(path)) == [{"a": r.get("a"), "b": r.get("b")} for r in rows]
