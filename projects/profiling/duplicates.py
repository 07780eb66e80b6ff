"""Texts that occur more than once: exactly (after normalising), with different labels, across splits, and nearly."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from projects import tables
from projects.profiling.texts import Index, normalise, shorten

EXAMPLES = 20
ROWS_PER_EXAMPLE = 10
NEAR_ROWS = 20_000
NEAR_CHARS = 5_000
NEAR_THRESHOLD = 0.8
MAX_PAIRS = 10_000
# A crafted table can make every text a candidate for every other one without being near it.
MAX_COMPARISONS = 2_000_000
_SHINGLE = 4
_PERMUTATIONS = 64


class Rows:
    """All rows of all splits as one sequence, with the way back to split and row."""

    def __init__(self, indexes: Mapping[str, Index]) -> None:
        self.splits = list(indexes)
        parts = list(indexes.values())
        self.digests = np.concatenate([p.digests for p in parts]) if parts else np.zeros(0, np.uint64)
        self.labels = np.concatenate([p.labels for p in parts]) if parts else np.zeros(0, np.int32)
        sizes = [len(p) for p in parts]
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.split_of = np.repeat(np.arange(len(parts), dtype=np.uint8), sizes)

    def place(self, position: int) -> tuple[str, int]:
        """(split, 0-based row in it) of a position in the whole."""
        code = int(self.split_of[position])
        return self.splits[code], position - int(self.starts[code])


def exact(
    splits: Mapping[str, str | Path], indexes: Mapping[str, Index], names: list[str], text_column: str
) -> dict[str, object]:
    """Groups of rows with the same normalised text, most rows first, and those whose labels disagree.

    ``surplus_rows`` is how many rows could go without losing a text; rows in examples count from 1.
    """
    rows = Rows(indexes)
    order, starts, sizes = _groups(rows.digests)
    labelled = np.any(rows.labels >= 0)
    conflicts = _conflicting(rows.labels[order], starts, sizes) if labelled else np.zeros(len(starts), bool)
    ranking = np.lexsort((starts, -sizes, ~conflicts))[:EXAMPLES]
    examples = []
    for group in ranking:
        members = np.sort(order[starts[group] : starts[group] + sizes[group]])
        examples.append(_example(rows, members, names, splits, text_column, bool(conflicts[group])))
    return {
        "groups": len(starts),
        "rows": int(sizes.sum()),
        "surplus_rows": int(sizes.sum()) - len(starts),
        "conflicting_groups": int(conflicts.sum()),
        "conflicting_rows": int(sizes[conflicts].sum()),
        "examples": examples,
    }


def _groups(digests: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(order, starts, sizes): positions sorted by digest, and where in that order each group of two or more lies."""
    order = np.argsort(digests, kind="stable")
    ordered = digests[order]
    bounds = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.zeros(0, int)
    sizes = np.diff(np.concatenate([bounds, [len(ordered)]]))
    keep = sizes > 1
    if len(bounds):
        keep &= ordered[bounds] != 0
    return order, bounds[keep], sizes[keep]


def _conflicting(ordered: NDArray[np.int32], starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not len(starts):
        return np.zeros(0, bool)
    # A gap agrees with every label; only two different labels for one text are a conflict.
    members = np.concatenate([ordered[s : s + n] for s, n in zip(starts, sizes, strict=True)])
    at = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    highest = np.maximum.reduceat(members, at)
    lowest = np.minimum.reduceat(np.where(members < 0, np.iinfo(np.int32).max, members), at)
    return (highest >= 0) & (lowest != highest)


def _example(
    rows: Rows,
    members: NDArray[np.int64],
    names: list[str],
    splits: Mapping[str, str | Path],
    text_column: str,
    conflict: bool,
) -> dict[str, object]:
    split, row = rows.place(int(members[0]))
    text = tables.take(splits[split], [row], [text_column])[0][text_column]
    places = []
    for member in members[:ROWS_PER_EXAMPLE]:
        where, number = rows.place(int(member))
        code = int(rows.labels[member])
        places.append({"split": where, "row": number + 1, "label": shorten(names[code]) if code >= 0 else None})
    return {"text": shorten(text), "count": len(members), "conflict": conflict, "rows": places}


def leakage(indexes: Mapping[str, Index]) -> list[dict[str, object]]:
    """For every pair of splits: how many rows of the second hold a text that the first holds too.

    A test row that was trained on measures memory, not skill. Pairs run from the larger-named order given: the first
    split is what a model learns from.
    """
    found: list[dict[str, object]] = []
    split_names = list(indexes)
    for position, first in enumerate(split_names):
        known = np.unique(indexes[first].digests)
        known = known[known != 0]
        for second in split_names[position + 1 :]:
            inside = np.isin(indexes[second].digests, known)
            count = int(inside.sum())
            size = len(indexes[second])
            found.append(
                {
                    "seen_in": first,
                    "split": second,
                    "rows": count,
                    "share": round(count / size, 4) if size else 0,
                    "examples": [int(row) + 1 for row in np.flatnonzero(inside)[:EXAMPLES]],
                }
            )
    return found


def near(
    splits: Mapping[str, str | Path], indexes: Mapping[str, Index], names: list[str], text_column: str, seed: int
) -> dict[str, object]:
    """Pairs of different texts that share at least NEAR_THRESHOLD of their four-character pieces (Jaccard).

    Candidates come from MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
    chapter 3) and each is then measured exactly, so none is false; about one in twenty may be missed. One row per
    different text is looked at, all of them up to NEAR_ROWS, else a sample drawn with ``seed``; of each the first
    NEAR_CHARS characters.
    """
    rows = Rows(indexes)
    _, first = np.unique(rows.digests, return_index=True)
    first = np.sort(first[rows.digests[first] != 0])
    distinct = len(first)
    if distinct > NEAR_ROWS:
        first = np.sort(np.random.default_rng(seed).choice(first, NEAR_ROWS, replace=False))
    texts = _texts(rows, first, splits, text_column)
    shingles = [_shingles(text) for text in texts]
    pairs, complete = _pairs(shingles, seed)
    same = crossing = 0
    listed: list[dict[str, object]] = []
    for likeness, one, other in pairs:
        left, right = int(first[one]), int(first[other])
        agree = rows.labels[left] == rows.labels[right]
        same += bool(agree)
        crossing += bool(rows.split_of[left] != rows.split_of[right])
        if len(listed) < EXAMPLES:
            sides = []
            for position, member in ((one, left), (other, right)):
                split, row = rows.place(member)
                code = int(rows.labels[member])
                label = shorten(names[code]) if code >= 0 else None
                sides.append({"split": split, "row": row + 1, "label": label, "text": shorten(texts[position])})
            listed.append({"likeness": round(likeness, 3), "rows": sides})
    return {
        "threshold": NEAR_THRESHOLD,
        "texts": distinct,
        "texts_examined": len(first),
        "pairs": len(pairs),
        "pairs_is_exact": complete and distinct == len(first),
        "pairs_with_different_labels": len(pairs) - same,
        "pairs_across_splits": crossing,
        "examples": listed,
    }


def _texts(rows: Rows, positions: NDArray[np.int64], splits: Mapping[str, str | Path], text_column: str) -> list[str]:
    found: list[str] = []
    for code, split in enumerate(rows.splits):
        inside = positions[rows.split_of[positions] == code] - rows.starts[code]
        wanted = set(inside.tolist())
        at = 0
        for batch in tables.batches(splits[split], [text_column]):
            cells = batch[text_column]
            found += [(cells[i] or "")[:NEAR_CHARS] for i in range(len(cells)) if at + i in wanted]
            at += len(cells)
    return found


def _shingles(text: str) -> NDArray[np.uint32]:
    """The different pieces of a text as ascending numbers: four bytes each, where a set of them would take sixty."""
    plain = normalise(text)
    pieces = {plain[i : i + _SHINGLE] for i in range(max(1, len(plain) - _SHINGLE + 1))}
    return np.unique(np.fromiter((zlib.crc32(piece.encode()) for piece in pieces), np.uint32, len(pieces)))


def _likeness(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """How much of what either holds both hold (Jaccard), 0 where their sizes alone rule the threshold out."""
    if min(len(one), len(other)) < NEAR_THRESHOLD * max(len(one), len(other)):
        return 0.0
    places = np.minimum(np.searchsorted(other, one), len(other) - 1)
    common = int(np.count_nonzero(other[places] == one))
    return common / (len(one) + len(other) - common)


def _pairs(shingles: Sequence[NDArray[np.uint32]], seed: int) -> tuple[list[tuple[float, int, int]], bool]:
    if len(shingles) < 2:
        return [], True
    sketches = MinHash.generator(
        (pieces.tolist() for pieces in shingles),
        num_perm=_PERMUTATIONS,
        seed=seed & 0xFFFFFFFF,
        hashfunc=_identity,
    )
    # More weight on finding than on speed: every candidate is measured afterwards.
    forest = MinHashLSH(threshold=NEAR_THRESHOLD, num_perm=_PERMUTATIONS, weights=(0.1, 0.9))
    found: list[tuple[float, int, int]] = []
    compared = 0
    complete = True
    for position, sketch in enumerate(sketches):
        for other in sorted(forest.query(sketch)):
            compared += 1
            likeness = _likeness(shingles[position], shingles[other])
            if likeness >= NEAR_THRESHOLD:
                found.append((likeness, other, position))
        if len(found) >= MAX_PAIRS or compared >= MAX_COMPARISONS:
            complete = False
            break
        forest.insert(position, sketch)
    return sorted(found, key=lambda pair: (-pair[0], pair[1], pair[2]))[:MAX_PAIRS], complete


def _identity(value: int) -> int:
    return value
