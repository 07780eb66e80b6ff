"""Which rows train, which tune and which test: the same for the same rows and seed, and one text in one split only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from projects import tables
from projects.profiling.texts import Index, index

DEFAULT_FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
_SPOKEN = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
    "holdout": "test",
}


@dataclass(frozen=True, slots=True)
class Assignment:
    """The split of every row in order, as a position in ``names``."""

    names: list[str]
    codes: NDArray[np.uint8]

    def counts(self) -> dict[str, int]:
        """Rows per split."""
        found = np.bincount(self.codes, minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, found, strict=True)}


def assign(
    path: str | Path, text_column: str, label_column: str | None, fractions: Mapping[str, float], seed: int
) -> Assignment:
    """Stratified splits of a table: see ``assign_index``."""
    return assign_index(index(path, text_column, label_column), fractions, seed)


def assign_index(rows: Index, fractions: Mapping[str, float], seed: int) -> Assignment:
    """Give every row a split, per label in these fractions, all rows with the same normalised text in the same one.

    Within a label, texts are put in the order of a keyed hash (SplitMix64 of digest and seed; Steele, Lea and Flood,
    2014) and the order is cut at the fractions, so a row added later moves few others. A label with fewer texts than
    splits fills the splits in the order given; with enough texts every split gets at least one. A text with several
    labels counts for the one it has most often. Rows without text are each on their own. The count of a label in a
    split is off by less than one row, or by half of the largest group of equal texts.

    Raises ValueError for fractions that are not positive or do not add up to 1.
    """
    names, wanted = _checked(fractions)
    digests = rows.digests.copy()
    gaps = np.flatnonzero(digests == 0)
    # Rows without text are no duplicates of one another; their place stands in for a text.
    digests[gaps] = _mix(gaps.astype(np.uint64) + np.uint64(1))
    texts, group, sizes = np.unique(digests, return_inverse=True, return_counts=True)
    strata = _majority(group, rows.labels, len(texts), rows.names)
    keys = _mix(texts ^ _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64))[0])
    order = np.lexsort((texts, keys, strata))
    chosen = np.zeros(len(texts), np.uint8)
    edges = np.flatnonzero(np.diff(strata[order])) + 1 if len(order) else np.zeros(0, np.int64)
    for members in np.split(order, edges):
        chosen[members] = _cut(sizes[members], wanted)
    return Assignment(names, chosen[group])


def _checked(fractions: Mapping[str, float]) -> tuple[list[str], list[float]]:
    if not fractions or any(not math.isfinite(f) or f <= 0 for f in fractions.values()):
        raise ValueError("Every split needs a share above 0.")
    total = math.fsum(fractions.values())
    if abs(total - 1) > 1e-9:
        raise ValueError(f"The shares of the splits add up to {total:.4g}; they must add up to 1.")
    return list(fractions), list(fractions.values())


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _majority(group: NDArray[np.int64], labels: NDArray[np.int32], groups: int, names: list[str]) -> NDArray[np.int64]:
    """The label that each group has most often, as its alphabetical rank; ties go to the first, -1 is no label.

    Ranks and not numbers of first appearance: the same rows in another order must give the same splits.
    """
    if not groups:
        return np.zeros(0, np.int64)
    ranks = np.empty(len(names) + 1, np.int64)
    ranks[np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)] = np.arange(len(names))
    # A missing label is -1, which picks the last entry.
    ranks[-1] = -1
    pairs, counts = np.unique(np.stack([group, ranks[labels]], axis=1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))
    pairs = pairs[order]
    heads = np.concatenate([[True], pairs[1:, 0] != pairs[:-1, 0]])
    return pairs[heads, 1]


def _cut(sizes: NDArray[np.int64], wanted: list[float]) -> NDArray[np.uint8]:
    """The split of each group, in order: cut where the middle of a group passes the sum of the shares."""
    total = int(sizes.sum())
    if len(sizes) < len(wanted):
        return np.arange(len(sizes), dtype=np.uint8)
    quotas: list[float] = [max(1, _round(total * fraction)) for fraction in wanted]
    # Whatever rounding gave or took is settled with the largest split.
    largest = max(range(len(wanted)), key=lambda split: (wanted[split], -split))
    quotas[largest] += total - sum(quotas)
    if quotas[largest] < 1 or sizes.max() > 1:
        quotas = [total * fraction for fraction in wanted]
    middles = np.cumsum(sizes) - sizes / 2
    codes = np.searchsorted(np.cumsum(quotas)[:-1], middles, side="left").astype(np.uint8)
    present = np.unique(codes)
    if len(present) < len(wanted):
        # A large group of equal texts may cover a whole share: then the last groups in order fill the empty splits.
        empty = [split for split in range(len(wanted)) if split not in present]
        for split in empty:
            counts = np.bincount(codes, minlength=len(wanted))
            donor = int(counts.argmax())
            codes[np.flatnonzero(codes == donor)[-1]] = split
    return codes


def _round(value: float) -> int:
    return math.floor(value + 0.5)


def from_column(path: str | Path, column: str) -> Assignment:
    """Splits as a column of the table says them (train, validation or val or dev, test; in any case).

    Raises ValueError for a gap or another word, naming the row, and when no row is for training.
    """
    names = ["train", "validation", "test"]
    codes = np.zeros(tables.count(path), np.uint8)
    row = 0
    for batch in tables.batches(path, [column]):
        for cell in batch[column]:
            split = _SPOKEN.get((cell or "").strip().lower())
            if split is None:
                said = f"'{cell[:60]}'" if cell and cell.strip() else "nothing"
                raise ValueError(
                    f"Column '{column}' says {said} in row {row + 1:,}; "
                    "it must say train, validation or test in every row."
                )
            codes[row] = names.index(split)
            row += 1
    if not (codes == 0).any():
        raise ValueError(f"Column '{column}' marks no row as train.")
    used = [code for code in range(3) if (codes == code).any()]
    renumber = np.zeros(3, np.uint8)
    renumber[used] = np.arange(len(used))
    return Assignment([names[code] for code in used], renumber[codes])


def write(path: str | Path, assignment: Assignment, directory: str | Path) -> dict[str, tables.Written]:
    """Write one table per split, ``<directory>/<split>.parquet``, rows in their old order; says what was written."""
    columns = tables.columns(path)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(tables.Writer(Path(directory) / f"{name}.parquet", columns))
            for name in assignment.names
        ]
        for values, code in zip(tables.iterate(path), assignment.codes.tolist(), strict=True):
            writers[code].append(values)
    written = {}
    for name, writer in zip(assignment.names, writers, strict=True):
        assert writer.written is not None
        written[name] = writer.written
    return written
