"""Tiles: 256 neighbouring nodes of the tree in one row, from which any node is found without reading the leaves.

A tile of level L holds nodes of height 8 * L, as in C2SP `tlog-tiles`; it is written when all of its nodes are there.
Nodes at the right edge, which no tile holds yet, come from the leaves or from the roots of the tiles below.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.db.models import Q

from governance.models import SealedEntry, TreeTile
from governance.proofs import merkle
from governance.services.ledger.records import LedgerError

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH = 32


def grow(size: int) -> None:
    """Write the tiles that a tree of `size` leaves completes; inside the sequencer's transaction.

    What an older release sealed without tiles is made up for here.
    """
    level, nodes = 0, size
    while nodes >= WIDTH:
        newest = TreeTile.objects.filter(level=level).order_by("-index").values_list("index", flat=True).first()
        done = 0 if newest is None else newest + 1
        TreeTile.objects.bulk_create(
            (
                TreeTile(level=level, index=index, hashes=b"".join(hashes), root=merkle.fold(hashes))
                for index, hashes in _complete(level, done, nodes // WIDTH)
            ),
            batch_size=200,
        )
        level, nodes = level + 1, nodes // WIDTH


def _complete(level: int, first: int, beyond: int) -> Iterator[tuple[int, list[bytes]]]:
    for index in range(first, beyond):
        hashes = _row(level, index * WIDTH, (index + 1) * WIDTH)
        if len(hashes) != WIDTH:
            raise LedgerError(f"Nothing is sealed: entries below {(index + 1) << (HEIGHT * (level + 1))} are missing.")
        yield index, hashes


def _row(level: int, start: int, end: int) -> list[bytes]:
    """Return the nodes of height 8 * level at the places from `start` up to `end`, as far as they are complete."""
    if level == 0:
        rows = SealedEntry.objects.filter(number__gte=start, number__lt=end).order_by("number")
        return [bytes(leaf) for leaf in rows.values_list("entry__leaf_hash", flat=True)]
    below = TreeTile.objects.filter(level=level - 1, index__gte=start, index__lt=end).order_by("index")
    return [bytes(root) for root in below.values_list("root", flat=True)]


def nodes(wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Return the hashes of these nodes (height, index): one query, and one more for each level of the right edge.

    Raises LedgerError where the tree has not grown that far.
    """
    places = {node: _place(*node) for node in wanted}
    tiles = {(level, index) for level, index, _offset, _count in places.values()}
    held = _tiles(tiles)
    for level, index in tiles - held.keys():
        held[level, index] = _row(level, index * WIDTH, (index + 1) * WIDTH)
    found = {}
    for node, (level, index, offset, count) in places.items():
        hashes = held[level, index][offset : offset + count]
        if len(hashes) != count:
            raise LedgerError(f"The tree has no node {node[1]} of height {node[0]} yet; wait for the next checkpoint.")
        found[node] = merkle.fold(hashes)
    return found


def _place(height: int, index: int) -> tuple[int, int, int, int]:
    """Return (level, tile, offset, count): the nodes of a tile over which a node is computed."""
    level, rest = divmod(height, HEIGHT)
    first = index << rest
    return level, first // WIDTH, first % WIDTH, 1 << rest


def _tiles(wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], list[bytes]]:
    selection = Q(pk__in=[])
    for level in {level for level, _index in wanted}:
        selection |= Q(level=level, index__in=[index for at, index in wanted if at == level])
    return {
        (level, index): [bytes(hashes[at : at + HASH]) for at in range(0, WIDTH * HASH, HASH)]
        for level, index, hashes in TreeTile.objects.filter(selection).values_list("level", "index", "hashes")
    }
