"""The Merkle tree of RFC 6962 / RFC 9162 section 2.1 over SHA-256, grown leaf by leaf from its frontier.

The frontier of a tree of n leaves is the list of roots of its complete subtrees, largest first, one for each bit that
is set in n. It is all that is needed to append a leaf and to know the root.
"""

from __future__ import annotations

import hashlib


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
