"""What is in a table: types, gaps, labels, duplicates, leakage, personal data; pure functions over stored tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from projects import tables
from projects.profiling import columns, duplicates, labels, personal_data
from projects.profiling.texts import indexes

SCHEMA = 1


def profile(
    splits: Mapping[str, str | Path], text_column: str, label_column: str | None, seed: int = 0
) -> dict[str, object]:
    """The profile of a dataset version, as plain JSON values; the same tables and seed give the same profile.

    ``splits`` maps split names to their tables, training first. Rows in examples count from 1 in their split. Keys:

    ``schema`` 1; ``text_column``, ``label_column``, ``seed``; ``rows``;
    ``splits``         list of ``name``, ``rows``;
    ``columns``        list, see ``columns.profile``;
    ``labels``         see ``labels.balance``, or None without a label column;
    ``duplicates``     ``exact`` and ``near``, see ``duplicates``;
    ``leakage``        list per pair of splits, see ``duplicates.leakage``;
    ``personal_data``  see ``personal_data.scan``;
    ``findings``       list of ``code``, ``severity`` (``problem``, ``warning`` or ``note``), ``sentence``, ``advice``.

    Raises KeyError when a table lacks a named column, ValueError without any split or with too many labels.
    """
    if not splits:
        raise ValueError("There is no table to profile.")
    found, names = indexes(splits, text_column, label_column)
    report: dict[str, object] = {
        "schema": SCHEMA,
        "text_column": text_column,
        "label_column": label_column,
        "seed": seed,
        "rows": sum(tables.count(path) for path in splits.values()),
        "splits": [{"name": name, "rows": tables.count(path)} for name, path in splits.items()],
        "columns": columns.profile(splits.values()),
        "labels": labels.balance(found, names) if label_column is not None else None,
        "duplicates": {
            "exact": duplicates.exact(splits, found, names, text_column),
            "near": duplicates.near(splits, found, names, text_column, seed),
        },
        "leakage": duplicates.leakage(found),
        "personal_data": personal_data.scan(splits, seed),
    }
    report["findings"] = _findings(report)
    return report


def _findings(report: dict) -> list[dict[str, str]]:
    """What a steward should see first, worst first, as sentences with what to do."""
    found: list[tuple[str, str, str, str]] = []
    for pair in report["leakage"]:
        if pair["rows"]:
            found.append(
                (
                    "leakage",
                    "problem",
                    f"{_rows(pair['rows'])} of {pair['split']} {_verb(pair['rows'], 'holds', 'hold')} "
                    f"a text that {pair['seen_in']} holds too.",
                    "Remove them from one of the two, or let the splits be drawn anew: equal texts then stay together.",
                )
            )
    exact, near = report["duplicates"]["exact"], report["duplicates"]["near"]
    if exact["conflicting_groups"]:
        found.append(
            (
                "conflicting_labels",
                "problem",
                f"{_count(exact['conflicting_groups'], 'text', 'occurs', 'occur')} with different labels "
                f"({_rows(exact['conflicting_rows'])}).",
                "Decide on one label for each: a model cannot learn both.",
            )
        )
    personal = report["personal_data"]
    sampled = personal["rows_examined"] < personal["rows"]
    if personal["rows_with_findings"]:
        kinds = ", ".join(kind["name"] for kind in personal["kinds"][:4])
        found.append(
            (
                "personal_data",
                "problem",
                f"{_rows(personal['rows_with_findings'], 'seems', 'seem')} to hold personal data ({kinds})"
                + (f", in a sample of {personal['rows_examined']:,}." if sampled else "."),
                "Remove or pseudonymise it, or state the lawful basis on the dataset.",
            )
        )
    elif personal["shapes"]:
        first = personal["shapes"][0]
        found.append(
            (
                "personal_data_by_shape",
                "warning",
                f"A sample of {personal['rows_examined']:,} rows shows no personal data, but at a glance over all rows "
                f"there is: {first['name']}, in {_rows(first['rows'])}.",
                "Search the table for it, or remove the column that holds it.",
            )
        )
    text = next((c for c in report["columns"] if c["name"] == report["text_column"]), None)
    if text and text["gaps"]:
        found.append(
            (
                "empty_texts",
                "problem",
                f"{_rows(text['gaps'], 'has', 'have')} no text.",
                "Fill them in or remove them.",
            )
        )
    found += _label_findings(report["labels"])
    if exact["surplus_rows"]:
        found.append(
            (
                "duplicates",
                "warning",
                f"{_rows(exact['surplus_rows'], 'repeats', 'repeat')} the text of another row.",
                "Keep one of each, unless how often a text occurs is part of the task.",
            )
        )
    if near["pairs_across_splits"]:
        found.append(
            (
                "near_leakage",
                "warning",
                f"{_count(near['pairs_across_splits'], 'pair')} of nearly equal texts "
                f"{_verb(near['pairs_across_splits'], 'lies', 'lie')} in different splits.",
                "Look at the examples: results on the test split may look better than they are.",
            )
        )
    order = ("problem", "warning", "note")
    found.sort(key=lambda finding: order.index(finding[1]))
    return [dict(zip(("code", "severity", "sentence", "advice"), finding, strict=True)) for finding in found]


def _label_findings(report: dict | None) -> list[tuple[str, str, str, str]]:
    if report is None:
        return []
    found: list[tuple[str, str, str, str]] = []
    if report["gaps"]:
        found.append(
            (
                "empty_labels",
                "problem",
                f"{_rows(report['gaps'], 'has', 'have')} no label.",
                "Label or remove them.",
            )
        )
    if report["distinct"] == 1:
        found.append(("one_label", "problem", "All rows have the same label.", "Add rows of at least one other label."))
    if report["distinct"] > max(100, report["rows"] // 5):
        found.append(
            (
                "too_many_labels",
                "warning",
                f"There are {report['distinct']:,} different labels for {_rows(report['rows'])}.",
                "Check that the label column is the right one.",
            )
        )
        return found
    if report["suspects"]:
        first = report["suspects"][0]
        found.append(
            (
                "label_suspects",
                "warning",
                f"{_count(len(report['suspects']), 'label', 'looks like a slip', 'look like slips')}, "
                f"as '{first['label']}' for '{first['instead']}'.",
                "Correct the spelling so that each class has one name.",
            )
        )
    absent = [f"'{label}' in {split}" for split, missing in report["missing"].items() for label in missing[:3]]
    if absent:
        found.append(
            (
                "missing_labels",
                "warning",
                f"Some labels do not occur in every split: {', '.join(absent[:5])}.",
                "Add rows of them: what is not in the test split cannot be measured.",
            )
        )
    if report["rare"]:
        found.append(
            (
                "rare_labels",
                "warning",
                f"{_count(len(report['rare']), 'label', 'has', 'have')} fewer than {labels.FEW_ROWS} rows.",
                "Add examples, or merge them into another label.",
            )
        )
    if report["imbalance_ratio"] and report["imbalance_ratio"] >= 10:
        found.append(
            (
                "imbalance",
                "note",
                f"The most frequent label has {report['imbalance_ratio']:g} times the rows of the least frequent one.",
                "Judge results by macro F1, and consider class weights.",
            )
        )
    return found


def _rows(count: int, one: str = "", many: str = "") -> str:
    return _count(count, "row", one, many)


def _verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _count(count: int, noun: str, one: str = "", many: str = "") -> str:
    """A number with its noun and, where given, the verb that fits: "1 row has", "3 rows have"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'} {_verb(count, one, many)}".strip()
