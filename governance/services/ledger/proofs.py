"""Proofs for those who hold a checkpoint: that an entry is in the ledger, and that the ledger only ever grew."""

from __future__ import annotations

from dataclasses import dataclass

from governance.models import Checkpoint, LedgerEntry
from governance.proofs import merkle
from governance.services.ledger import tiles
from governance.services.ledger.records import LedgerError


class NotSealed(LedgerError):
    """There is nothing to prove yet: the entry has no number, or no checkpoint covers it."""


@dataclass(frozen=True)
class Inclusion:
    """That entry `number` is a leaf of the tree of the checkpoint; `path` leads from the leaf to its root."""

    number: int
    path: list[bytes]
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Consistency:
    """That the tree of the checkpoint begins with the tree of `old_size` leaves, whose root is `old_root`."""

    old_size: int
    old_root: bytes
    path: list[bytes]
    checkpoint: Checkpoint


def inclusion(entry: LedgerEntry, *, checkpoint: Checkpoint | None = None) -> Inclusion:
    """Return the proof for an entry in the tree of a checkpoint, by default the newest; six queries at any size.

    Raises NotSealed, and LedgerError where the stored tree does not lead to the checkpoint's root.
    """
    number = entry.sealed.number if hasattr(entry, "sealed") else None
    mark = checkpoint or Checkpoint.objects.order_by("-size").first()
    if number is None or mark is None or mark.size <= number:
        raise NotSealed("No checkpoint covers this entry yet; that takes about a second.")
    ranges = merkle.inclusion_ranges(number, mark.size)
    path = merkle.path(ranges, tiles.nodes(_nodes(ranges)))
    if merkle.root_from_inclusion(bytes(entry.leaf_hash), number, mark.size, path) != bytes(mark.root):
        raise LedgerError(
            f"Entry {number} does not lead to the root of the checkpoint at {mark.size}: verify the ledger."
        )
    return Inclusion(number, path, mark)


def consistency(*, old: int, checkpoint: Checkpoint | None = None) -> Consistency:
    """Return the proof that the tree of a checkpoint, by default the newest, begins with the tree of `old` leaves.

    Raises NotSealed where the tree is not that large (or `old` is 0), and LedgerError as `inclusion` does.
    """
    mark = checkpoint or Checkpoint.objects.order_by("-size").first()
    if mark is None or not 0 < old <= mark.size:
        raise NotSealed(f"There is no checkpoint of at least {old} entries; give a size from 1 on that was signed.")
    ranges = merkle.consistency_ranges(old, mark.size)
    before = merkle.peaks(0, old)
    nodes = tiles.nodes({*_nodes(ranges), *before})
    old_root = merkle.root([nodes[node] for node in before])
    path = merkle.path(ranges, nodes)
    if not merkle.is_consistent(old, mark.size, old_root, bytes(mark.root), path):
        raise LedgerError(
            f"The tree of {old} entries does not lead to the checkpoint at {mark.size}: verify the ledger."
        )
    return Consistency(old, old_root, path, mark)


def frontier(size: int) -> list[bytes]:
    """Return the peaks of the tree of the first `size` entries; raises LedgerError where it is not that large."""
    wanted = merkle.peaks(0, size)
    nodes = tiles.nodes(wanted)
    return [nodes[node] for node in wanted]


def _nodes(ranges: list[tuple[int, int]]) -> set[tuple[int, int]]:
    return {node for start, end in ranges for node in merkle.peaks(start, end)}
