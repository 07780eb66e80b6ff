"""When two texts count as the same, and the compact index of a table that tells: a digest and a label code per row."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from projects import tables

EXAMPLE_CHARS = 300
# Every label is kept in memory once, and nobody tells a hundred thousand classes apart.
MAX_LABELS = 100_000


def normalise(text: str) -> str:
    """The form in which texts are compared: Unicode NFKC, case folded, white space runs as one space."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def digest(text: str | None) -> int:
    """64 bits of BLAKE2b of the normalised text; 0 for a gap.

    Among ten million different texts, two share a digest with a chance of about 3 in a million (n^2 / 2^65).
    """
    normal = normalise(text) if text else ""
    if not normal:
        return 0
    return int.from_bytes(hashlib.blake2b(normal.encode(), digest_size=8).digest(), "little") or 1


def shorten(text: str | None) -> str | None:
    """A text as an example on a page: its beginning, with an ellipsis where it was cut."""
    if text is None or len(text) <= EXAMPLE_CHARS:
        return text
    return text[: EXAMPLE_CHARS - 1] + "…"


@dataclass(frozen=True, slots=True)
class Index:
    """One entry per row, in order: ``digests`` (0 for no text), ``labels`` (position in ``names``, -1 for no label)."""

    digests: NDArray[np.uint64]
    labels: NDArray[np.int32]
    names: list[str]

    def __len__(self) -> int:
        return len(self.digests)


class Labels:
    """Gives every label a number in order of first appearance; shared by the tables that are compared."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """The labels by number."""
        return list(self.codes)

    def code(self, label: str | None) -> int:
        """The number of a label; -1 for a gap. White space around a label is part of it: see ``labels.suspects``."""
        if label is None or not label.strip():
            return -1
        code = self.codes.setdefault(label, len(self.codes))
        if code >= MAX_LABELS:
            raise ValueError(
                f"The label column has more than {MAX_LABELS:,} different labels; choose another column as the label."
            )
        return code


def index(path: str | Path, text_column: str, label_column: str | None, labels: Labels | None = None) -> Index:
    """Read a table once into an Index: 12 bytes per row.

    Raises KeyError for an unknown column and ValueError for more than MAX_LABELS labels.
    """
    labels = Labels() if labels is None else labels
    total = tables.count(path)
    digests = np.zeros(total, np.uint64)
    codes = np.full(total, -1, np.int32)
    start = 0
    columns = [text_column] if label_column is None else list(dict.fromkeys([text_column, label_column]))
    for batch in tables.batches(path, columns):
        cells = batch[text_column]
        end = start + len(cells)
        digests[start:end] = np.fromiter(map(digest, cells), np.uint64, len(cells))
        if label_column is not None:
            codes[start:end] = np.fromiter(map(labels.code, batch[label_column]), np.int32, len(cells))
        start = end
    return Index(digests, codes, labels.names)


def indexes(
    splits: Mapping[str, str | Path], text_column: str, label_column: str | None
) -> tuple[dict[str, Index], list[str]]:
    """An Index per split with label numbers in common, and the labels by number."""
    labels = Labels()
    found = {name: index(path, text_column, label_column, labels) for name, path in splits.items()}
    return found, labels.names
