"""How the labels are spread over rows and splits, and which of them look like slips of the pen."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from projects.profiling.texts import Index, normalise, shorten

MAX_LABELS = 2_000
FEW_ROWS = 10
FEW_NAMES = 100
MAX_SUSPECTS = 100
_SEPARATORS = re.compile(r"[\W_]+")
_DIGITS = re.compile(r"\d+")


def balance(indexes: Mapping[str, Index], names: list[str]) -> dict[str, object]:
    """Rows per label, in all and per split, most frequent first; the imbalance ratio (most to least frequent); slips.

    At most MAX_LABELS labels are listed; ``distinct`` counts all.
    """
    counts = {split: _counts(index, len(names)) for split, index in indexes.items()}
    total = sum(counts.values(), np.zeros(len(names), np.int64))
    order = sorted(range(len(names)), key=lambda code: (-int(total[code]), names[code]))
    listed = order[:MAX_LABELS]
    present = {names[code]: int(total[code]) for code in order}
    most, least = (int(total[order[0]]), int(total[order[-1]])) if order else (0, 0)
    rows = int(total.sum())
    return {
        "distinct": len(names),
        "rows": rows,
        "gaps": sum(int((index.labels < 0).sum()) for index in indexes.values()),
        "imbalance_ratio": round(most / least, 2) if least else None,
        "classes": [
            {
                "label": shorten(names[code]),
                "rows": int(total[code]),
                "share": round(int(total[code]) / rows, 4),
                "splits": {split: int(found[code]) for split, found in counts.items()},
            }
            for code in listed
        ],
        "rare": [shorten(names[code]) for code in listed if total[code] < FEW_ROWS][:FEW_NAMES],
        "missing": {
            split: [shorten(names[code]) for code in listed if not found[code]][:FEW_NAMES]
            for split, found in counts.items()
        },
        "suspects": suspects(present),
    }


def _counts(index: Index, size: int) -> np.ndarray:
    return np.bincount(index.labels[index.labels >= 0], minlength=size).astype(np.int64)


def suspects(counts: Mapping[str, int]) -> list[dict[str, object]]:
    """Pairs of labels that are probably one, ``label`` the rarer of the two and ``instead`` the one that was meant.

    ``spelling``: alike but for case, spaces and punctuation. ``typo``: one edit apart (Levenshtein), at least five
    characters long, the rarer with at most a twentieth of the other's rows, and not told apart by their digits.
    Candidates come from shared deletions, so ten thousand labels cost a moment and not fifty million comparisons.
    """
    found: dict[tuple[str, str], str] = {}
    plain: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        plain[_SEPARATORS.sub("", normalise(label)) or label].append(label)
    for alike in plain.values():
        best = max(alike, key=lambda label: (counts[label], label))
        for label in alike:
            if label != best:
                found[label, best] = "spelling"
    if len(counts) <= 10 * MAX_LABELS:
        shared: dict[str, list[str]] = defaultdict(list)
        for label in counts:
            if 5 <= len(label) <= 100:
                for form in {label, *(label[:i] + label[i + 1 :] for i in range(len(label)))}:
                    shared[form].append(label)
        for alike in shared.values():
            for rare in alike:
                for common in alike:
                    close = rare != common and counts[rare] * 20 <= counts[common]
                    if close and (rare, common) not in found and _one_edit(rare, common):
                        found[rare, common] = "typo"
    pairs = sorted(found.items(), key=lambda item: (-counts[item[0][0]], item[0]))[:MAX_SUSPECTS]
    return [
        {
            "label": shorten(rare),
            "rows": counts[rare],
            "instead": shorten(common),
            "instead_rows": counts[common],
            "reason": reason,
        }
        for (rare, common), reason in pairs
    ]


def _one_edit(one: str, other: str) -> bool:
    if _DIGITS.sub("", one) == _DIGITS.sub("", other):
        return False
    if len(one) > len(other):
        one, other = other, one
    start = 0
    while start < len(one) and one[start] == other[start]:
        start += 1
    if len(one) == len(other):
        return one[start + 1 :] == other[start + 1 :]
    return len(one) + 1 == len(other) and one[start:] == other[start + 1 :]
