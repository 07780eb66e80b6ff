"""The profile as a whole: what a steward must be told is found in a dataset made to hold it."""

import ast
import json
from pathlib import Path

import pytest

from projects import profiling, tables
from projects.profiling import columns, duplicates, labels, texts


def store(tmp_path, name, rows, names=("text", "label")):
    path = tmp_path / f"{name}.parquet"
    tables.write([dict(zip(names, row, strict=True)) for row in rows], names, path)
    return path


@pytest.fixture
def dataset(tmp_path):
    plain = [(f"request number {i} about the {'printer' if i % 2 else 'network'}", "ab"[i % 2] * 8) for i in range(80)]
    train = [*plain, ("My badge is lost", "access"), ("Mail carol@example.org today", "access"), ("  ", "access")]
    train += [("the same words", "access"), ("The  same WORDS", "aaaaaaaa"), ("typo", "aaaaaaab"), ("gap", None)]
    test = [("my badge is lost", "access"), ("request number 3 about the printer!", "bbbbbbbb")]
    return {"train": store(tmp_path, "train", train), "test": store(tmp_path, "test", test)}


def test_the_profile_names_what_is_wrong_with_a_dataset(dataset):
    report = profiling.profile(dataset, "text", "label", seed=1)
    assert report["rows"] == 89
    assert report["splits"] == [{"name": "train", "rows": 87}, {"name": "test", "rows": 2}]
    found = {finding["code"]: finding for finding in report["findings"]}
    assert set(found) >= {
        "leakage",
        "conflicting_labels",
        "personal_data",
        "empty_texts",
        "empty_labels",
        "label_suspects",
        "missing_labels",
        "rare_labels",
        "duplicates",
        "near_leakage",
        "imbalance",
    }
    assert found["leakage"]["sentence"] == "1 row of test holds a text that train holds too."
    assert all(finding["sentence"].endswith(".") and finding["advice"] for finding in report["findings"])
    severities = [finding["severity"] for finding in report["findings"]]
    assert severities == sorted(severities, key=["problem", "warning", "note"].index)


def test_the_profile_is_plain_json_and_the_same_every_time(dataset):
    first = json.dumps(profiling.profile(dataset, "text", "label", seed=1), sort_keys=True, allow_nan=False)
    second = json.dumps(profiling.profile(dataset, "text", "label", seed=1), sort_keys=True, allow_nan=False)
    assert first == second


def test_a_clean_dataset_has_no_findings(tmp_path):
    words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett"]
    rows = [
        (f"{a} {b} {c}", "ab"[i % 2])
        for i, (a, b, c) in enumerate((a, b, c) for a in words for b in words for c in words)
    ]
    path = store(tmp_path, "train", rows)
    assert profiling.profile({"train": path}, "text", "label")["findings"] == []


def test_a_dataset_without_labels_has_a_profile(tmp_path):
    path = store(tmp_path, "train", [("one text",), ("another",)], ("text",))
    report = profiling.profile({"train": path}, "text", None)
    assert report["labels"] is None
    assert report["duplicates"]["exact"]["groups"] == 0


def test_an_empty_table_has_a_profile(tmp_path):
    path = store(tmp_path, "train", [])
    report = profiling.profile({"train": path}, "text", "label")
    assert report["rows"] == 0
    assert report["labels"]["classes"] == []


def test_unknown_columns_are_named(dataset):
    with pytest.raises(KeyError, match="no column 'body'"):
        profiling.profile(dataset, "body", "label")


def test_examples_of_duplicates_carry_their_rows_and_labels(dataset):
    found, names = texts.indexes(dataset, "text", "label")
    report = duplicates.exact(dataset, found, names, "text")
    assert report["groups"] == 2
    assert report["surplus_rows"] == 2
    first = report["examples"][0]
    assert first["conflict"]
    assert first["rows"] == [
        {"split": "train", "row": 84, "label": "access"},
        {"split": "train", "row": 85, "label": "aaaaaaaa"},
    ]
    (pair,) = duplicates.leakage(found)
    assert pair == {"seen_in": "train", "split": "test", "rows": 1, "share": 0.5, "examples": [1]}


def test_nearly_equal_texts_are_found_and_different_ones_are_not(tmp_path):
    long = "the quick brown fox jumps over the lazy dog while the cat sleeps in the warm afternoon sun"
    rows = [(long, "a"), (long + "!", "b"), ("something else entirely, with other words in it", "a")]
    path = {"train": store(tmp_path, "train", rows)}
    found, names = texts.indexes(path, "text", "label")
    report = duplicates.near(path, found, names, "text", seed=1)
    assert report["pairs"] == report["pairs_with_different_labels"] == 1
    assert [side["row"] for side in report["examples"][0]["rows"]] == [1, 2]


def test_nearly_all_near_duplicates_are_found(tmp_path):
    bases = [
        f"{i * 7919 % 1000003:x} customer {i * 104729 % 999983:x} cannot open the {i:o} document any more"
        for i in range(200)
    ]
    rows = [(text, "a") for base in bases for text in (base, base + " today")]
    path = {"train": store(tmp_path, "train", rows)}
    found, names = texts.indexes(path, "text", "label")
    assert duplicates.near(path, found, names, "text", seed=1)["pairs"] >= 195


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-20", "+3"], "integer"),
        (["1", "2.5", "1e-3"], "decimal"),
        (["true", "False"], "boolean"),
        (["2026-01-31", "2026-02-01 10:00"], "date"),
        (["2026-02-30", "2026-02-01"], "text"),
        (["a", "b", "a", "b", "a", "b"], "category"),
        (["a", "b", "c"], "text"),
        ([None, " "], "empty"),
        (["1", None, "2"], "integer"),
        (["1", "two"], "text"),
    ],
)
def test_the_type_of_a_column_is_what_all_its_values_are(tmp_path, values, kind):
    (report,) = columns.profile([store(tmp_path, "t", [(value,) for value in values], ("c",))])
    assert report["type"] == kind


def test_lengths_are_characters_by_nearest_rank(tmp_path):
    (report,) = columns.profile([store(tmp_path, "t", [("ä" * n,) for n in range(1, 101)] + [(None,)], ("c",))])
    assert report["lengths"] == {"min": 1, "median": 50, "p95": 95, "max": 100}
    assert report["gaps"] == 1
    assert report["distinct"] == 100


def test_beyond_its_limit_a_column_counts_at_least(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "MAX_DISTINCT", 50)
    (report,) = columns.profile([store(tmp_path, "t", [(str(n),) for n in range(100)], ("c",))])
    assert (report["distinct"], report["distinct_is_exact"]) == (50, False)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"Billing": 50, "billing ": 3}, [("billing ", "Billing", "spelling")]),
        ({"sign-in": 50, "sign_in": 60}, [("sign-in", "sign_in", "spelling")]),
        ({"hardware": 100, "hardwar": 2}, [("hardwar", "hardware", "typo")]),
        ({"hardware": 100, "hardwate": 2}, [("hardwate", "hardware", "typo")]),
        ({"hardware": 100, "hardwate": 50}, []),
        ({"class_11": 100, "class_12": 1}, []),
        ({"cat": 100, "car": 1}, []),
        ({"network": 100, "printer": 1}, []),
    ],
)
def test_labels_that_look_like_slips_are_paired_with_what_was_meant(counts, expected):
    assert [(s["label"], s["instead"], s["reason"]) for s in labels.suspects(counts)] == expected


def test_ten_thousand_labels_are_no_burden(tmp_path):
    report = labels.suspects({f"label number {i:05}": 1 + i % 40 for i in range(10_000)})
    assert len(report) <= labels.MAX_SUSPECTS


def test_profiling_imports_no_django():
    for path in Path(profiling.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [n for n in names if n.split(".")[0] in ("django", "torch", "transformers", "sklearn")], path


def test_a_column_of_texts_is_refused_as_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "MAX_LABELS", 10)
    path = store(tmp_path, "t", [(f"text {i}", f"label {i}") for i in range(11)])
    with pytest.raises(ValueError, match="more than 10 different labels"):
        profiling.profile({"train": path}, "text", "label")
