"""Probabilities of labels by row, of which each row names the few that are not zero.

Ten thousand labels and sixty thousand rows are 2.4 GB of numbers, nearly all of them zero, if each
is written down. Here a row keeps the labels that something speaks for. Whatever is computed of it
(:mod:`guards.numerics.confidence`, :mod:`guards.numerics.flips`) is, to the bit, what is computed
of the same numbers written out, as tests/unit/numerics/test_likely.py holds: the functions below
are all that those modules ask of probabilities, of either form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer[Any]]

_MERGED = 2**18  # rows times places that are put together at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Likely:
    """Sparse probabilities of n rows and `width` labels; what a row does not name has 0.

    `labels` int32 (n, k), ascending in each row and each once; `width` where a place is unused.
    `values` float (n, k), at least 0, and 0 in unused places.
    """

    labels: npt.NDArray[np.int32]
    values: Floats
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and labels, as of the matrix."""
        return len(self.labels), self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision of the numbers."""
        return self.values.dtype

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.labels)

    def dense(self) -> Floats:
        """The matrix itself, (n, width)."""
        found = np.zeros((len(self), self.width + 1), self.dtype)
        np.put_along_axis(found, self.labels, self.values, axis=1)
        return found[:, :-1]


Probabilities = Floats | Likely


def merged(labels: Codes, values: Floats, width: int) -> Likely:
    """The sums of `values` (n, m) by row and label, float32; a label below 0 is none.

    Args:
        labels: int (n, m), in any order and as often as one likes.
        values: (n, m), at least 0.
        width: how many labels there are.
    """
    step = max(1, _MERGED // max(labels.shape[1], 1))
    parts = [
        _merged(labels[start : start + step], values[start : start + step], width)
        for start in range(0, max(len(labels), 1), step)
    ]
    most = max(1, *(part.labels.shape[1] for part in parts))
    return Likely(
        labels=np.vstack([_widened(part.labels, most, width) for part in parts]),
        values=np.vstack([_widened(part.values, most, 0) for part in parts]),
        width=width,
    )


def _merged(labels: Codes, values: Floats, width: int) -> Likely:
    rows = np.repeat(np.arange(len(labels)), labels.shape[1])
    flat, weights = labels.ravel().astype(np.int64), values.ravel()
    kept = (flat >= 0) & (weights > 0)
    keys, back = np.unique(rows[kept] * width + flat[kept], return_inverse=True)
    sums = np.bincount(back, weights[kept], minlength=len(keys)).astype(np.float32)
    row, label = np.divmod(keys, width)
    counts = np.bincount(row, minlength=len(labels))
    place = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    most = int(counts.max(initial=0))
    found = Likely(
        labels=np.full((len(labels), most), width, np.int32),
        values=np.zeros((len(labels), most), np.float32),
        width=width,
    )
    found.labels[row, place], found.values[row, place] = label, sums
    return found


def _widened(held: npt.NDArray[Any], most: int, fill: int) -> npt.NDArray[Any]:
    return np.pad(held, ((0, 0), (0, most - held.shape[1])), constant_values=fill)


def at(told: Probabilities, rows: Codes, labels: Codes | int) -> Floats:
    """The probability of one label for each of some rows (m,); `labels` (m,), or one for all."""
    if not isinstance(told, Likely):
        one: Floats = told[rows, labels]
        return one
    here = told.labels[rows] == np.asarray(labels)[..., None]
    named: Floats = np.where(here, told.values[rows], 0).sum(axis=1, dtype=told.dtype)
    return named


def block(told: Probabilities, rows: Codes, labels: Codes) -> Floats:
    """The probabilities of some rows and some labels, ascending, (m, l)."""
    if not isinstance(told, Likely):
        dense: Floats = told[rows[:, None], labels]
        return dense
    found = np.zeros((len(rows), len(labels)), told.dtype)
    if not len(labels):
        return found
    named = told.labels[rows]
    place = np.minimum(np.searchsorted(labels, named), len(labels) - 1)
    row, column = np.nonzero(labels[place] == named)
    found[row, place[row, column]] = told.values[rows[row], column]
    return found


def some(told: Probabilities, rows: Codes) -> Probabilities:
    """Some of the rows."""
    if not isinstance(told, Likely):
        dense: Floats = told[rows]
        return dense
    return replace(told, labels=told.labels[rows], values=told.values[rows])


def likeliest(told: Probabilities) -> tuple[Ints, Floats]:
    """The label of highest probability, the lowest of equal ones, and that probability, (n,)."""
    if not isinstance(told, Likely):
        return told.argmax(axis=1), told.max(axis=1)
    place, everyone = told.values.argmax(axis=1), np.arange(len(told))
    highest = told.values[everyone, place]
    return np.where(highest > 0, told.labels[everyone, place], 0).astype(np.int64), highest


def chunks(told: Probabilities, numbers: int) -> Iterator[slice]:
    """The rows, so many at a time that about so many numbers are looked at together."""
    width = told.values.shape[1] if isinstance(told, Likely) else told.shape[1]
    step = max(1, numbers // max(width, 1))
    for start in range(0, len(told), step):
        yield slice(start, start + step)
