"""The Merkle tree against pymerkle, an independent implementation, for every size up to 300."""

import hashlib

import pytest
from pymerkle import InmemoryTree

from governance.proofs import merkle, verify


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


# Proofs, exhaustively up to 300 leaves, against pymerkle and against the stand-alone verifier

SIZE = 300


@pytest.fixture(scope="module")
def tree():
    """Return (leaves, roots by size, every complete subtree, the same tree in pymerkle)."""
    leaves = [merkle.leaf_hash(f"entry {number}".encode()) for number in range(SIZE)]
    roots, frontier, other = [merkle.root([])], [], InmemoryTree(algorithm="sha256")
    for number, leaf in enumerate(leaves):
        frontier = merkle.append(frontier, number, leaf)
        roots.append(merkle.root(frontier))
        other.append_entry(f"entry {number}".encode())
    nodes = {(0, number): leaf for number, leaf in enumerate(leaves)}
    for height in range(SIZE.bit_length() - 1):
        for index in range(SIZE >> (height + 1)):
            nodes[height + 1, index] = merkle.node_hash(nodes[height, 2 * index], nodes[height, 2 * index + 1])
    return leaves, roots, nodes, other


def test_every_inclusion_proof_up_to_300(tree):
    leaves, roots, nodes, other = tree
    for size in range(1, SIZE + 1):
        for index in range(size):
            proof = merkle.path(merkle.inclusion_ranges(index, size), nodes)
            assert merkle.root_from_inclusion(leaves[index], index, size, proof) == roots[size]
            assert verify.climb(leaves[index], index, size, proof) == roots[size]
            # pymerkle counts from one and begins with the leaf itself.
            assert other.prove_inclusion(index + 1, size).path[1:] == proof


def test_every_consistency_proof_up_to_300(tree):
    _leaves, roots, nodes, other = tree
    for new in range(1, SIZE + 1):
        for old in range(1, new + 1):
            proof = merkle.path(merkle.consistency_ranges(old, new), nodes)
            assert merkle.is_consistent(old, new, roots[old], roots[new], proof)
            assert verify.both_roots(old, new, roots[old], proof) == (roots[old], roots[new])
            # pymerkle's own form of the proof differs from RFC 9162's; what it proves is the same two roots.
            other.prove_consistency(old, new).verify(roots[old], roots[new])


def climbed(leaf, index, size, proof):
    """Return where the stand-alone verifier gets to, None where it refuses the path."""
    try:
        return verify.climb(leaf, index, size, proof)
    except ValueError:
        return None


def test_a_proof_that_was_changed_proves_nothing(tree):
    leaves, roots, nodes, _other = tree
    for size in (1, 2, 3, 7, 8, 9, 31, 64, 100, 255):
        for index in {0, size // 2, size - 1}:
            proof = merkle.path(merkle.inclusion_ranges(index, size), nodes)
            wrong = [[*proof, roots[1]], proof[:-1]] if proof else [[roots[1]]]
            wrong += [[*proof[:at], roots[0], *proof[at + 1 :]] for at in range(len(proof))]
            for spoiled in wrong:
                assert merkle.root_from_inclusion(leaves[index], index, size, spoiled) != roots[size]
                assert climbed(leaves[index], index, size, spoiled) != roots[size]
        for old in range(1, size):
            proof = merkle.path(merkle.consistency_ranges(old, size), nodes)
            spoils = [[*proof[:at], roots[0], *proof[at + 1 :]] for at in range(len(proof))]
            spoils += [[*proof, roots[1]], proof[:-1], []]
            for spoiled in spoils:
                assert not merkle.is_consistent(old, size, roots[old], roots[size], spoiled)
            assert not merkle.is_consistent(old, size, roots[0], roots[size], proof)
            assert not merkle.is_consistent(old, size, roots[old], roots[0], proof)
    assert merkle.is_consistent(5, 5, roots[5], roots[5], [])
    assert not merkle.is_consistent(5, 5, roots[5], roots[4], [])
    assert not merkle.is_consistent(0, 5, roots[0], roots[5], [])
    assert not merkle.is_consistent(6, 5, roots[6], roots[5], [])


def test_a_tree_proves_no_leaf_and_no_beginning_that_it_does_not_have():
    for index, size in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(ValueError, match="has no leaf"):
            merkle.inclusion_ranges(index, size)
        assert merkle.root_from_inclusion(b"", index, size, []) is None
    for old, new in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="no beginning"):
            merkle.consistency_ranges(old, new)
        with pytest.raises(ValueError, match="older and a newer"):
            verify.both_roots(old, new, b"", [])
