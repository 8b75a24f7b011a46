"""The tree of RFC 6962 over a log's entries, and the proofs that are read off it.

    leaf  H(0x00 || entry)        node  H(0x01 || left || right)        empty tree  H("")

What makes a proof takes a :data:`Read`: the hash of the perfect subtree of `2**level` leaves that
is the `index`-th of its kind. So proofs cost what they say, however long the log is. What checks
one takes nothing but hashes, and is RFC 9162's algorithm (2.1.3.2 and 2.1.4.2), which is written
down independently of the one that makes it (2.1.3.1 and 2.1.4.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from guards.digest import Digest

EMPTY = Digest.of(b"")
Read = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Peaks:
    """A tree that grows leaf by leaf, and knows its root at every size."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []

    def push(self, leaf: bytes) -> None:
        """Add the hash of one more entry."""
        level = 0
        while self._peaks and self._peaks[-1][0] == level:
            leaf = node_hash(self._peaks.pop()[1], leaf)
            level += 1
        self._peaks.append((level, leaf))

    @property
    def root(self) -> Digest:
        """The root of the tree as it is now."""
        if not self._peaks:
            return EMPTY
        *others, (_, found) = self._peaks
        for _, peak in reversed(others):
            found = node_hash(peak, found)
        return Digest(found.hex())


def root(read: Read, size: int) -> Digest:
    """The root of the tree of the first `size` entries."""
    return Digest(_range(read, 0, size).hex()) if size else EMPTY


def inclusion(read: Read, index: int, size: int) -> list[bytes]:
    """The proof that entry `index` is in the tree of `size` entries, the leaf's sibling first."""
    if not 0 <= index < size:
        raise ValueError(f"no entry {index} in a tree of {size}")
    proof, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range(read, middle, end))
            end = middle
        else:
            proof.append(_range(read, start, middle))
            start = middle
    return proof[::-1]


def consistency(read: Read, old: int, size: int) -> list[bytes]:
    """The proof that the tree of `size` entries begins with the tree of `old` entries."""
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} does not go on from one of {old}")
    if old in (0, size):
        return []
    proof, start, end, whole = [], 0, size, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_range(read, middle, end))
            end = middle
        else:
            proof.append(_range(read, start, middle))
            start, whole = middle, False
    return proof[::-1] if whole else [_range(read, start, end), *proof[::-1]]


def root_from_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes]
) -> Digest | None:
    """The root in which such a proof ends; None where it is too long or too short."""
    if not 0 <= index < size:
        return None
    place, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return None
        if place & 1 or place == last:
            found = node_hash(step, found)
            place, last = _up_to_odd(place, last)
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    return Digest(found.hex()) if last == 0 else None


def is_consistent(
    old: int, old_root: Digest, size: int, new_root: Digest, proof: Sequence[bytes]
) -> bool:
    """Whether the proof shows that the tree of `size` goes on from the tree of `old`."""
    if not 0 <= old <= size:
        return False
    if old in (0, size):
        return not proof and old_root == (new_root if old == size else EMPTY)
    path = [old_root.raw, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    was = now = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            was, now = node_hash(step, was), node_hash(step, now)
            place, last = _up_to_odd(place, last)
        else:
            now = node_hash(now, step)
        place, last = place >> 1, last >> 1
    return (was, now, last) == (old_root.raw, new_root.raw, 0)


def _up_to_odd(place: int, last: int) -> tuple[int, int]:
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _split(count: int) -> int:
    """The largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _range(read: Read, start: int, end: int) -> bytes:
    """The hash over entries `start` to `end`, a subtree of the whole tree."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range(read, start, middle), _range(read, middle, end))
