"""Splits: the same every time, one text in one split, every label in its share."""

import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects import tables
from projects.profiling import splits
from projects.profiling.texts import Labels, digest, normalise

FRACTIONS = splits.DEFAULT_FRACTIONS


def store(tmp_path, rows, columns=("text", "label")):
    path = tmp_path / "rows.parquet"
    tables.write([dict(zip(columns, row, strict=True)) for row in rows], columns, path)
    return path


def indexed(rows):
    labels = Labels()
    digests = np.array([digest(text) for text, _ in rows], np.uint64)
    codes = np.array([labels.code(label) for _, label in rows], np.int32)
    return splits.Index(digests, codes, labels.names)


def test_each_label_gets_its_share_to_the_row():
    rows = [(f"text {i}", "common" if i % 10 else "rare") for i in range(2000)]
    assignment = splits.assign_index(indexed(rows), FRACTIONS, seed=3)
    counts = Counter((label, assignment.names[code]) for (_, label), code in zip(rows, assignment.codes, strict=True))
    assert counts == {
        ("common", "train"): 1440,
        ("common", "validation"): 180,
        ("common", "test"): 180,
        ("rare", "train"): 160,
        ("rare", "validation"): 20,
        ("rare", "test"): 20,
    }


def test_the_same_seed_gives_the_same_splits_in_any_order_of_rows(tmp_path):
    rows = [(f"text {i % 700}", f"label {i % 7}") for i in range(1000)]
    shuffled = random.Random(1).sample(rows, len(rows))
    first = splits.assign_index(indexed(rows), FRACTIONS, seed=5)
    second = splits.assign_index(indexed(shuffled), FRACTIONS, seed=5)
    assert dict(zip(rows, first.codes, strict=True)) == dict(zip(shuffled, second.codes, strict=True))
    other = splits.assign_index(indexed(rows), FRACTIONS, seed=6)
    assert (first.codes != other.codes).any()
    stored = splits.assign(store(tmp_path, rows), "text", "label", FRACTIONS, seed=5)
    assert (stored.codes == first.codes).all()


def test_an_added_row_moves_few_others():
    rows = [(f"text {i}", "a") for i in range(1000)]
    before = splits.assign_index(indexed(rows), FRACTIONS, seed=1).codes
    after = splits.assign_index(indexed([*rows, ("one more", "a")]), FRACTIONS, seed=1).codes[:-1]
    assert (before != after).sum() <= 2


texts = st.sampled_from(["a", "A ", "b", "c  d", "C d", "ｅ", "e", "", "f", "g", "h"]) | st.text(max_size=3)
rows_strategy = st.lists(st.tuples(texts, st.sampled_from(["x", "y", "z", None])), max_size=60)


@given(rows=rows_strategy, seed=st.integers(0, 2**63), thirds=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_text_is_ever_in_two_splits(rows, seed, thirds):
    fractions = {"train": 1 / 3, "validation": 1 / 3, "test": 1 / 3} if thirds else FRACTIONS
    assignment = splits.assign_index(indexed(rows), fractions, seed)
    again = splits.assign_index(indexed(rows), fractions, seed)
    assert (assignment.codes == again.codes).all()
    assert len(assignment.codes) == len(rows)
    where = defaultdict(set)
    for (text, _), code in zip(rows, assignment.codes, strict=True):
        if normalise(text):
            where[normalise(text)].add(int(code))
    assert all(len(codes) == 1 for codes in where.values())


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_every_label_with_enough_texts_is_in_every_split(sizes, seed):
    rows = [(f"{label} {i}", str(label)) for label, size in enumerate(sizes) for i in range(size)]
    assignment = splits.assign_index(indexed(rows), FRACTIONS, seed)
    for label, size in enumerate(sizes):
        codes = [int(c) for (_, name), c in zip(rows, assignment.codes, strict=True) if name == str(label)]
        assert len(set(codes)) == min(size, 3)
        if size >= 10:
            assert abs(codes.count(0) - 0.8 * size) <= 1


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.2, "test": -0.2}, {"train": float("nan")}])
def test_shares_that_do_not_add_up_are_refused(fractions):
    with pytest.raises(ValueError, match="share"):
        splits.assign_index(indexed([("a", "x")]), fractions, 0)


def test_a_ready_made_column_is_taken_as_it_is(tmp_path):
    path = store(tmp_path, [("a", "Train"), ("b", "test"), ("c", "dev"), ("d", "training")], ("text", "split"))
    assignment = splits.from_column(path, "split")
    assert assignment.counts() == {"train": 2, "validation": 1, "test": 1}
    assert assignment.codes.tolist() == [0, 2, 1, 0]


def test_a_ready_made_column_without_validation_has_two_splits(tmp_path):
    path = store(tmp_path, [("a", "test"), ("b", "train")], ("text", "split"))
    assignment = splits.from_column(path, "split")
    assert assignment.names == ["train", "test"]
    assert assignment.codes.tolist() == [1, 0]


@pytest.mark.parametrize(("value", "said"), [("maybe", "'maybe' in row 2"), (None, "nothing in row 2")])
def test_a_ready_made_column_must_say_a_split_in_every_row(tmp_path, value, said):
    path = store(tmp_path, [("a", "train"), ("b", value)], ("text", "split"))
    with pytest.raises(ValueError, match=said):
        splits.from_column(path, "split")


def test_each_split_is_written_as_a_table_of_its_own(tmp_path):
    rows = [(f"text {i}", "ab"[i % 2]) for i in range(100)]
    path = store(tmp_path, rows)
    assignment = splits.assign(path, "text", "label", FRACTIONS, 1)
    (tmp_path / "out").mkdir()
    written = splits.write(path, assignment, tmp_path / "out")
    assert {name: table.rows for name, table in written.items()} == assignment.counts()
    back = [tuple(row.values()) for name in written for row in tables.iterate(tmp_path / "out" / f"{name}.parquet")]
    assert sorted(back) == sorted(rows)
