"""Drift: what came, what went, what was relabelled, and how far lengths moved."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects import tables
from projects.profiling import drift


def store(tmp_path, name, rows, names=("text", "label")):
    path = tmp_path / f"{name}.parquet"
    tables.write([dict(zip(names, row, strict=True)) for row in rows], names, path)
    return path


def test_rows_are_told_apart_by_their_text(tmp_path):
    old = {"train": store(tmp_path, "old", [("one", "a"), ("two", "a"), ("three", "b")])}
    new = {
        "train": store(tmp_path, "new", [(" ONE ", "a"), ("three", "a")]),
        "test": store(tmp_path, "t", [("four", "c")]),
    }
    report = drift.compare(old, new, "text", "label")
    rows = report["rows"]
    assert (rows["before"], rows["after"]) == (3, 3)
    assert (rows["added"], rows["removed"], rows["relabelled"], rows["kept"]) == (1, 1, 1, 1)
    assert rows["examples"]["added"] == [{"split": "test", "row": 1, "text": "four", "label": "c"}]
    assert rows["examples"]["removed"] == [{"split": "train", "row": 2, "text": "two", "label": "a"}]
    assert rows["examples"]["relabelled"] == [
        {"split": "train", "row": 2, "text": "three", "before": ["b"], "after": ["a"]}
    ]
    assert not report["unchanged"]
    assert report["splits"] == [{"name": "train", "before": 3, "after": 2}, {"name": "test", "before": 0, "after": 1}]


def test_class_shares_and_columns_are_compared(tmp_path):
    old = {"train": store(tmp_path, "old", [("one", "a", "x"), ("two", "b", "x")], ("text", "label", "source"))}
    new = {"train": store(tmp_path, "new", [("one", "a", "x"), ("three", "a", "x")], ("text", "label", "region"))}
    report = drift.compare(old, new, "text", "label")
    assert report["columns"] == {"added": ["region"], "removed": ["source"]}
    shares = {entry["label"]: entry["share_change"] for entry in report["classes"]}
    assert shares == {"a": 0.5, "b": -0.5}


def test_the_stability_index_is_its_formula():
    old = {1: 50, 2: 50}
    new = {1: 80, 2: 20}
    p = [(50 + 0.5) / 101, (50 + 0.5) / 101]
    q = [(80 + 0.5) / 101, (20 + 0.5) / 101]
    expected = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert drift.stability(old, new)["psi"] == pytest.approx(expected, abs=0.01)
    assert drift.stability(old, new)["reading"] == "clear shift"
    assert drift.stability(old, old) == {"psi": 0.0, "reading": "stable"}
    assert drift.stability({}, old)["psi"] is None


rows_strategy = st.lists(st.tuples(st.sampled_from("pqrst"), st.sampled_from(["a", "b", None])), max_size=12)


@given(first=rows_strategy, second=rows_strategy)
@settings(max_examples=60, deadline=None)
def test_every_row_is_kept_relabelled_or_moved(tmp_path_factory, first, second):
    folder = tmp_path_factory.mktemp("drift")
    old, new = {"train": store(folder, "old", first)}, {"train": store(folder, "new", second)}
    rows = drift.compare(old, new, "text", "label")["rows"]
    assert rows["kept"] + rows["relabelled"] + rows["removed"] == len(first)
    assert rows["kept"] + rows["relabelled"] + rows["added"] == len(second)
    assert (rows["added"] == rows["removed"] == rows["relabelled"] == 0) == (
        sorted(first, key=str) == sorted(second, key=str)
    )
