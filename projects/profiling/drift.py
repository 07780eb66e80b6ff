"""What changed between two versions of a dataset: columns, rows, labels, lengths."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from projects import tables
from projects.profiling.columns import lengths
from projects.profiling.duplicates import Rows
from projects.profiling.texts import Index, Labels, index, shorten

EXAMPLES = 10
_BINS = 10


def compare(
    old: Mapping[str, str | Path],
    new: Mapping[str, str | Path],
    text_column: str,
    label_column: str | None,
) -> dict[str, object]:
    """How ``new`` differs from ``old`` (both: split name to table), rows being told apart by their normalised text.

    A text that is in both with different labels counts under ``relabelled``, not as added and removed. Length drift is
    the population stability index (see ``stability``). Raises KeyError when a table lacks a named column.
    """
    labels = Labels()
    before = {split: index(path, text_column, label_column, labels) for split, path in old.items()}
    after = {split: index(path, text_column, label_column, labels) for split, path in new.items()}
    names = labels.names
    rows = _rows(before, after, names, old, new, text_column)
    old_lengths, new_lengths = _lengths(old.values(), text_column), _lengths(new.values(), text_column)
    return {
        "columns": _columns(old, new),
        "splits": [
            {
                "name": split,
                "before": len(before[split]) if split in before else 0,
                "after": len(after[split]) if split in after else 0,
            }
            for split in dict.fromkeys([*old, *new])
        ],
        "rows": rows,
        "classes": _classes(before, after, names),
        "lengths": {
            "before": lengths(old_lengths),
            "after": lengths(new_lengths),
            **stability(old_lengths, new_lengths),
        },
        "unchanged": rows["added"] == rows["removed"] == rows["relabelled"] == 0,
    }


def _columns(old: Mapping[str, str | Path], new: Mapping[str, str | Path]) -> dict[str, list[str]]:
    before = list(dict.fromkeys(name for path in old.values() for name in tables.columns(path)))
    after = list(dict.fromkeys(name for path in new.values() for name in tables.columns(path)))
    return {
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
    }


def _rows(
    before: Mapping[str, Index],
    after: Mapping[str, Index],
    names: list[str],
    old: Mapping[str, str | Path],
    new: Mapping[str, str | Path],
    text_column: str,
) -> dict[str, object]:
    first, second = Rows(before), Rows(after)
    count = len(first.digests)
    digests, group = np.unique(np.concatenate([first.digests, second.digests]), return_inverse=True)
    label = np.concatenate([first.labels, second.labels]).astype(np.int64) + 1
    had = np.bincount(group[:count], minlength=len(digests))
    has = np.bincount(group[count:], minlength=len(digests))
    pairs, pair = np.unique(group * (len(names) + 1) + label, return_inverse=True)
    pair_had = np.bincount(pair[:count], minlength=len(pairs))
    pair_has = np.bincount(pair[count:], minlength=len(pairs))
    kept = np.bincount(
        pairs // (len(names) + 1), weights=np.minimum(pair_had, pair_has), minlength=len(digests)
    ).astype(np.int64)
    both = np.minimum(had, has)
    relabelled = both - kept
    return {
        "before": count,
        "after": len(second.digests),
        "added": int(np.maximum(has - had, 0).sum()),
        "removed": int(np.maximum(had - has, 0).sum()),
        "relabelled": int(relabelled.sum()),
        "kept": int(kept.sum()),
        "examples": {
            "added": _examples(second, group[count:], has > had, names, new, text_column),
            "removed": _examples(first, group[:count], had > has, names, old, text_column),
            "relabelled": _changes(first, second, group, relabelled > 0, names, new, text_column),
        },
    }


def _label(rows: Rows, position: int, names: list[str]) -> str | None:
    code = int(rows.labels[position])
    return shorten(names[code]) if code >= 0 else None


def _examples(
    rows: Rows,
    group: np.ndarray,
    wanted: np.ndarray,
    names: list[str],
    paths: Mapping[str, str | Path],
    text_column: str,
) -> list[dict[str, object]]:
    found = []
    for position in np.flatnonzero(wanted[group])[:EXAMPLES]:
        split, row = rows.place(int(position))
        text = tables.take(paths[split], [row], [text_column])[0][text_column]
        found.append(
            {"split": split, "row": row + 1, "text": shorten(text), "label": _label(rows, int(position), names)}
        )
    return found


def _changes(
    first: Rows,
    second: Rows,
    group: np.ndarray,
    wanted: np.ndarray,
    names: list[str],
    new: Mapping[str, str | Path],
    text_column: str,
) -> list[dict[str, object]]:
    count = len(first.digests)
    shown: set[int] = set()
    found: list[dict[str, object]] = []
    for position in np.flatnonzero(wanted[group[count:]]):
        code = int(group[count + position])
        if code in shown:
            continue
        shown.add(code)
        split, row = second.place(int(position))
        text = tables.take(new[split], [row], [text_column])[0][text_column]
        was = {_label(first, int(p), names) for p in np.flatnonzero(group[:count] == code)}
        now = {_label(second, int(p), names) for p in np.flatnonzero(group[count:] == code)}
        found.append(
            {
                "split": split,
                "row": row + 1,
                "text": shorten(text),
                "before": sorted(was, key=str),
                "after": sorted(now, key=str),
            }
        )
        if len(found) == EXAMPLES:
            break
    return found


def _classes(before: Mapping[str, Index], after: Mapping[str, Index], names: list[str]) -> list[dict[str, object]]:
    counts = []
    for indexes in (before, after):
        rows = Rows(indexes)
        counts.append(np.bincount(rows.labels[rows.labels >= 0], minlength=len(names)))
    totals = [max(1, int(c.sum())) for c in counts]
    found: list[dict[str, object]] = []
    for code, name in enumerate(names):
        had, has = int(counts[0][code]), int(counts[1][code])
        found.append(
            {
                "label": shorten(name),
                "before": had,
                "after": has,
                "share_before": round(had / totals[0], 4),
                "share_after": round(has / totals[1], 4),
                "share_change": round(has / totals[1] - had / totals[0], 4),
            }
        )
    return sorted(found, key=lambda entry: (-abs(float(str(entry["share_change"]))), str(entry["label"])))


def _lengths(paths: Iterable[str | Path], text_column: str) -> Counter[int]:
    counts: Counter[int] = Counter()
    for path in paths:
        for batch in tables.batches(path, [text_column]):
            counts.update(len(cell) for cell in batch[text_column] if cell and not cell.isspace())
    return counts


def stability(old: Mapping[int, int], new: Mapping[int, int]) -> dict[str, object]:
    """The population stability index of two counted distributions: the sum over bins of (q - p) ln(q / p).

    Ten bins with edges at the deciles of ``old``; half a row is added to each so that an empty bin stays finite. Read
    as usual (Siddiqi, Credit Risk Scorecards, 2006): below 0.1 stable, below 0.25 some shift, above that a clear one.
    None where either has no rows.
    """
    before, after = sum(old.values()), sum(new.values())
    if not before or not after:
        return {"psi": None, "reading": "unknown"}
    edges: list[int] = []
    seen = 0
    for value, count in sorted(old.items()):
        seen += count
        if seen * _BINS >= before * (len(edges) + 1) and len(edges) < _BINS - 1:
            edges.append(value)
            while seen * _BINS >= before * (len(edges) + 1) and len(edges) < _BINS - 1:
                edges.append(value)
    bounds = sorted(set(edges))
    shares = []
    for counts, total in ((old, before), (new, after)):
        bins = [0.5] * (len(bounds) + 1)
        for value, count in counts.items():
            bins[int(np.searchsorted(bounds, value, side="left"))] += count
        shares.append([b / (total + 0.5 * len(bins)) for b in bins])
    psi = math.fsum((q - p) * math.log(q / p) for p, q in zip(*shares, strict=True))
    reading = "stable" if psi < 0.1 else "some shift" if psi < 0.25 else "clear shift"
    return {"psi": round(psi, 4), "reading": reading}
