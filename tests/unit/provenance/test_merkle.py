"""The tree of RFC 6962: known answers, the RFC's own slow definition, and proofs that are not.

The known answers are the entries, roots and proofs of Certificate Transparency's test tree, as
github.com/transparency-dev/merkle has them (proof/verify_test.go, Apache-2.0).
"""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.digest import Digest
from guards.provenance import merkle
from guards.provenance.merkle import EMPTY, Peaks, is_consistent, leaf_hash, root_from_inclusion

LEAVES = [
    bytes.fromhex(text)
    for text in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
N4 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N5 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
N8 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
N7 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
INCLUSION = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            N4,
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (5, 8, [N5, N8, ROOTS[4]]),
    (2, 3, [ROOTS[2]]),
    (1, 5, [ROOTS[1], N4, N5]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, INCLUSION[1][2]),
    (6, 8, [N7, N8, ROOTS[4]]),
    (2, 5, [N4, N5]),
    (
        6,
        7,
        [N7, "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f", ROOTS[4]],
    ),
]


def entries(count):
    return [b"entry %d" % number for number in range(count)]


def reader(data):
    """The hashes of perfect subtrees, by the definition."""
    return lambda level, index: slow_root(tuple(data[index << level : (index + 1) << level]))


@cache
def slow_root(data):
    """RFC 6962, 2.1: MTH({}) = SHA-256(), MTH({d}) = SHA-256(0x00 || d), and by halves."""
    if not data:
        return hashlib.sha256(b"").digest()
    if len(data) == 1:
        return hashlib.sha256(b"\0" + data[0]).digest()
    k = largest_power_below(len(data))
    return hashlib.sha256(b"\1" + slow_root(data[:k]) + slow_root(data[k:])).digest()


def largest_power_below(n):
    """Let k be the largest power of two smaller than n (i.e., k < n <= 2k)."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def slow_path(m, data):
    """RFC 6962, 2.1.1: PATH(m, D[n]) = PATH(m, D[0:k]) : MTH(D[k:n]), or the other way round."""
    if len(data) == 1:
        return []
    k = largest_power_below(len(data))
    if m < k:
        return [*slow_path(m, data[:k]), slow_root(data[k:])]
    return [*slow_path(m - k, data[k:]), slow_root(data[:k])]


def slow_subproof(m, data, whole):
    """RFC 6962, 2.1.2: SUBPROOF(m, D[n], b)."""
    if m == len(data):
        return [] if whole else [slow_root(data)]
    k = largest_power_below(len(data))
    if m <= k:
        return [*slow_subproof(m, data[:k], whole), slow_root(data[k:])]
    return [*slow_subproof(m - k, data[k:], False), slow_root(data[:k])]


def root_of(count):
    return Digest(slow_root(tuple(entries(count))).hex())


def hexed(proof):
    return [step.hex() for step in proof]


def test_the_roots_of_the_known_tree():
    peaks = Peaks()
    for size, leaf in enumerate(LEAVES):
        assert peaks.root.hex == ROOTS[size]
        assert merkle.root(reader(LEAVES), size).hex == ROOTS[size]
        peaks.push(leaf_hash(leaf))
    assert peaks.root.hex == ROOTS[8]


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_the_known_proofs_of_inclusion(index, size, proof):
    assert hexed(merkle.inclusion(reader(LEAVES), index, size)) == proof
    steps = [bytes.fromhex(step) for step in proof]
    found = root_from_inclusion(leaf_hash(LEAVES[index]), index, size, steps)
    assert found == Digest(ROOTS[size])


@pytest.mark.parametrize(("old", "size", "proof"), CONSISTENCY)
def test_the_known_proofs_of_consistency(old, size, proof):
    assert hexed(merkle.consistency(reader(LEAVES), old, size)) == proof
    steps = [bytes.fromhex(step) for step in proof]
    assert is_consistent(old, Digest(ROOTS[old]), size, Digest(ROOTS[size]), steps)


@pytest.mark.parametrize("size", range(1, 71))
def test_every_proof_of_a_small_tree_is_that_of_the_definition(size):
    data = tuple(entries(size))
    read, root = reader(data), root_of(size)
    assert merkle.root(read, size) == root
    for index in range(size):
        proof = merkle.inclusion(read, index, size)
        assert proof == slow_path(index, data)
        assert root_from_inclusion(leaf_hash(data[index]), index, size, proof) == root
    for old in range(1, size + 1):
        proof = merkle.consistency(read, old, size)
        assert proof == slow_subproof(old, data, True)
        assert is_consistent(old, root_of(old), size, root, proof)
    assert merkle.consistency(read, 0, size) == []
    assert is_consistent(0, EMPTY, size, root, [])


def spoiled(proof):
    """Proofs near this one: a bit turned, a step taken away, added, or moved."""
    for place, step in enumerate(proof):
        yield [*proof[:place], bytes([step[0] ^ 8]) + step[1:], *proof[place + 1 :]]
        yield [*proof[:place], *proof[place + 1 :]]
    yield [*proof, b"\7" * 32]
    yield [b"\7" * 32, *proof]
    if len(set(proof)) > 1:
        yield proof[::-1]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 32, 63])
def test_no_proof_near_a_right_one_holds(size):
    data = entries(size)
    read, root = reader(data), root_of(size)
    for index in range(size):
        proof, leaf = merkle.inclusion(read, index, size), leaf_hash(data[index])
        for wrong in spoiled(proof):
            assert root_from_inclusion(leaf, index, size, wrong) != root
        for other in {index - 1, index + 1, index ^ 2, size} - {index}:
            assert root_from_inclusion(leaf, other, size, proof) != root
        assert root_from_inclusion(leaf_hash(b"other"), index, size, proof) != root
    for old in range(1, size):
        proof = merkle.consistency(read, old, size)
        for wrong in spoiled(proof):
            assert not is_consistent(old, root_of(old), size, root, wrong)
        for other in {old - 1, old + 1}:
            assert not is_consistent(other, root_of(old), size, root, proof)
        assert not is_consistent(old, root, size, root_of(old), proof)
        assert not is_consistent(old, root_of(old), size * 2, root, proof)
        assert not is_consistent(old, root_of(old), size, root, [])


@pytest.mark.parametrize(
    ("old", "old_root", "size", "root", "proof"),
    [
        (0, ROOTS[1], 1, ROOTS[1], []),
        (0, ROOTS[0], 1, ROOTS[1], [ROOTS[0]]),
        (1, ROOTS[1], 1, ROOTS[2], []),
        (1, ROOTS[1], 1, ROOTS[1], [ROOTS[1]]),
        (2, ROOTS[2], 1, ROOTS[1], []),
        (3, ROOTS[3], 5, ROOTS[5], []),
        (-1, ROOTS[0], 1, ROOTS[1], []),
    ],
)
def test_what_is_not_consistent_at_the_edges(old, old_root, size, root, proof):
    steps = [bytes.fromhex(step) for step in proof]
    assert not is_consistent(old, Digest(old_root), size, Digest(root), steps)


def test_no_index_outside_of_a_tree_is_in_it():
    assert root_from_inclusion(leaf_hash(b""), 0, 0, []) is None
    assert root_from_inclusion(leaf_hash(b""), -1, 1, []) is None
    assert root_from_inclusion(leaf_hash(b""), 1, 1, []) is None
    for make in (merkle.inclusion, merkle.consistency):
        with pytest.raises(ValueError, match="tree of"):
            make(reader(LEAVES), 9, 8)


@given(st.integers(1, 2000), st.data())
def test_proofs_of_larger_trees_hold_and_those_of_others_do_not(size, data):
    """However large: a proof ends in the root of its tree, and in no other."""
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    read = kept(leaves)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    root, before = merkle.root(read, size), merkle.root(read, old)
    proof = merkle.inclusion(read, index, size)
    assert len(proof) <= (size - 1).bit_length()
    assert root_from_inclusion(leaves[index], index, size, proof) == root
    assert root_from_inclusion(leaf_hash(b"x"), index, size, proof) != root
    between = merkle.consistency(read, old, size)
    assert is_consistent(old, before, size, root, between)
    assert not is_consistent(old, Digest("0" * 64), size, root, between) or old == size == 0
    peaks = Peaks()
    for leaf in leaves:
        peaks.push(leaf)
    assert peaks.root == root


def kept(leaves):
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append(
            [merkle.node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        )
    return lambda level, index: levels[level][index]
