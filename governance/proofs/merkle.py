"""The Merkle tree of RFC 6962 / RFC 9162 section 2.1 over SHA-256: grown leaf by leaf, and its proofs.

The frontier of a tree of n leaves is the list of roots of its complete subtrees, largest first, one for each bit that
is set in n. It is all that is needed to append a leaf and to know the root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def append(frontier: list[bytes], size: int, leaf: bytes) -> list[bytes]:
    """Return the frontier of the tree with `size` leaves after one more leaf hash is appended."""
    grown = [*frontier, leaf]
    while size & 1:
        right = grown.pop()
        grown[-1] = node_hash(grown[-1], right)
        size >>= 1
    return grown


def root(frontier: list[bytes]) -> bytes:
    """Return the root of the tree with this frontier; the empty tree has the hash of the empty string."""
    if not frontier:
        return hashlib.sha256(b"").digest()
    value = frontier[-1]
    for peak in reversed(frontier[:-1]):
        value = node_hash(peak, value)
    return value


# Proofs. A range is [start, end) of leaves; a node is a complete subtree (height, index) over the leaves
# [index * 2^height, (index + 1) * 2^height). What a proof needs is known before anything is read.


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges whose roots prove leaf `index` in the tree of `size` leaves, from the leaf to the root.

    PATH of RFC 6962 section 2.1.1. Raises ValueError where the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    found, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Return the ranges whose roots prove that the tree of `new` leaves begins with the tree of `old` leaves.

    PROOF of RFC 6962 section 2.1.2; empty where both are the same tree. Raises ValueError unless 0 < old <= new.
    """
    if not 0 < old <= new:
        raise ValueError(f"a tree of {old} leaves is no beginning of one of {new}")
    found, start, end, whole = [], 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start, whole = middle, False
    return ([] if whole else [(start, end)]) + found[::-1]


def peaks(start: int, end: int) -> list[tuple[int, int]]:
    """Return the nodes that a range consists of, largest first; `start` is a multiple of the largest."""
    found = []
    while start < end:
        height = (end - start).bit_length() - 1
        found.append((height, start >> height))
        start += 1 << height
    return found


def path(ranges: list[tuple[int, int]], nodes: Mapping[tuple[int, int], bytes]) -> list[bytes]:
    """Return the hashes of a proof from the hashes of the nodes that its ranges consist of."""
    return [root([nodes[node] for node in peaks(start, end)]) for start, end in ranges]


def fold(hashes: list[bytes]) -> bytes:
    """Return the root over 2^n hashes of one height."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to (RFC 9162 section 2.1.3.2), None where it is malformed."""
    if not 0 <= index < size:
        return None
    position, last, value = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return None
        if position & 1 or position == last:
            value = node_hash(step, value)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, step)
        position, last = position >> 1, last >> 1
    return value if last == 0 else None


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """Return whether the proof shows that the newer tree begins with the older one (RFC 9162 section 2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if not 0 < old < new:
        return False
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not steps:
        return False
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, step)
        position, last = position >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _split(size: int) -> int:
    """Return the largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
