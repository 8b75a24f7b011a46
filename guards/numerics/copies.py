"""Rows that repeat one another: exactly, in all columns but one, or in most of what they say.

Exact and all-but-one repetition are compared by sums of mixed 64-bit hashes, so that leaving a
column out is one subtraction. Sets of shingles are compared by MinHash (Broder 1997): the share of
HASHES minima that agree estimates the Jaccard index, and only rows that share a whole band of them
are compared at all (locality-sensitive hashing, Indyk and Motwani 1998).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from guards.numerics.turns import Ragged, ragged

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
HASHES, BAND = 64, 4
ALIKE = 0.6
_EMPTY = np.uint64(2**64 - 1)


def repeated(columns: Sequence[Ints], *, least: int, most: float) -> list[Ints]:
    """Groups of rows alike in all columns, then in all but one; each (rows,) and of `least` rows.

    Args:
        columns: codes (n,) of each column; equal codes are equal values.
        least: rows of a group.
        most: where more than this share of all rows is in groups of a kind, repetition is the
            nature of the table, and there are none of that kind.
    """
    if not columns:
        return []
    mixed = [mix(codes.astype(np.uint64), place + 1) for place, codes in enumerate(columns)]
    total: Hashes = np.stack(mixed).sum(0, dtype=np.uint64)
    found: dict[int, Ints] = {}
    kinds = [total, *(total - own for own in mixed)] if len(columns) > 2 else [total]
    for signature in kinds:
        for rows in _equal(signature, least, most):
            # Not by salt 0, by which 0 is mixed to 0: a group would be the same without row 0.
            found.setdefault(int(mix(rows.astype(np.uint64), 1).sum(dtype=np.uint64)), rows)
    return list(found.values())


def minima(shingles: Sequence[npt.NDArray[np.uint64]], *, seed: int) -> Hashes:
    """The MinHash signature (n, HASHES) of each set of shingles; the empty set has its own."""
    rng = np.random.default_rng(seed)
    salts = rng.integers(1, 2**63, HASHES, dtype=np.int64).astype(np.uint64)
    found = np.full((len(shingles), HASHES), _EMPTY, np.uint64)
    for row, held in enumerate(shingles):
        if len(held):
            found[row] = mix(held[:, None] ^ salts[None], 0).min(0)
    return found


def similar(signatures: Hashes, *, least: int) -> list[Ints]:
    """Families of at least `least` rows that agree in a share ALIKE of their minima, (rows,).

    Rows are linked to the first row of each bucket that they share; rows without a shingle are in
    no family.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(signatures)
    filled = np.flatnonzero(signatures[:, 0] != _EMPTY) if n else np.zeros(0, np.int64)
    firsts, others = [], []
    for start in range(0, HASHES, BAND):
        band = mix(signatures[filled, start : start + BAND], start + 1).sum(1, dtype=np.uint64)
        _, first, inverse = np.unique(band, return_index=True, return_inverse=True)
        head = filled[first[inverse]]
        near = (signatures[head] == signatures[filled]).mean(1) >= ALIKE
        linked = near & (head != filled)
        firsts.append(head[linked])
        others.append(filled[linked])
    one, two = np.concatenate(firsts), np.concatenate(others)
    graph = coo_array((np.ones(len(one)), (one, two)), shape=(n, n))
    family = connected_components(graph, directed=False)[1]
    groups = ragged(family.astype(np.int64))
    return [groups.of(g) for g in np.flatnonzero(groups.sizes >= least).tolist()]


def mix(values: npt.NDArray[np.uint64], salt: int) -> Hashes:
    """Scatter 64-bit integers (the finaliser of SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64((salt * 0x9E3779B97F4A7C15) % 2**64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def _equal(signature: Hashes, least: int, most: float) -> list[Ints]:
    codes = np.unique(signature, return_inverse=True)[1].astype(np.int64)
    groups: Ragged = ragged(codes)
    large = np.flatnonzero(groups.sizes >= least)
    if groups.sizes[large].sum() > most * len(signature):
        return []
    return [groups.of(g) for g in large.tolist()]
