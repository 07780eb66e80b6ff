"""The Merkle tree against pymerkle, an independent implementation, for every size up to 300."""

import hashlib

import pytest
from pymerkle import InmemoryTree

from governance.proofs import merkle


def test_roots_equal_those_of_another_implementation_for_every_size_up_to_300():
    other = InmemoryTree(algorithm="sha256")
    frontier: list[bytes] = []
    assert merkle.root(frontier) == hashlib.sha256(b"").digest()
    for size in range(300):
        data = f"entry {size}".encode()
        other.append_entry(data)
        frontier = merkle.append(frontier, size, merkle.leaf_hash(data))
        assert merkle.root(frontier) == other.get_root(), size + 1
        assert len(frontier) == (size + 1).bit_count()


def test_known_answers_of_rfc_6962():
    # The test vectors of the certificate-transparency reference implementation.
    leaves = [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43"]
    frontier: list[bytes] = []
    for size, data in enumerate(leaves):
        frontier = merkle.append(frontier, size, merkle.leaf_hash(data))
    assert merkle.leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle.root(frontier).hex() == "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"


@pytest.mark.parametrize("position", range(7))
def test_any_other_leaf_gives_another_root(position):
    def root(leaves):
        frontier: list[bytes] = []
        for size, data in enumerate(leaves):
            frontier = merkle.append(frontier, size, merkle.leaf_hash(data))
        return merkle.root(frontier)

    leaves = [bytes([n]) for n in range(7)]
    changed = [*leaves[:position], b"changed", *leaves[position + 1 :]]
    swapped = leaves[1:] + leaves[:1]
    assert len({root(leaves), root(changed), root(swapped), root(leaves[:-1])}) == 4


def test_a_leaf_is_never_a_node():
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)
