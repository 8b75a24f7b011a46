"""How far the blocks of one dataset, or the parts of a merged one, lie from one another.

Each block in turn is held against all others together. The numbers here are what makes a later
batch usual or unusual, so they are rounded to what they are good for, and no more is claimed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from guards.numerics.sketches import REGISTERS

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
_NOTHING = 1e-9
Array = Any


def largest_distance(upto: Array, held: Array) -> float:
    """The largest D of one block from the others: rows at most each point, (blocks, points).

    `held` (blocks,) are all rows of each block.
    """
    found = [0.0]
    for block in _some(held):
        others = (upto.sum(axis=0) - upto[block]) / (held.sum() - held[block])
        found.append(float(np.abs(upto[block] / held[block] - others).max(initial=0.0)))
    return round(max(found), 6)


def word_variation(rows: Array, held: Array) -> float:
    """The largest total variation of one block from the others: rows of each word, (blocks, words).

    `held` (blocks,) are all rows with a word; those of words that are not told apart are one word.
    """
    whole = np.column_stack([rows, np.maximum(held - rows.sum(axis=1), 0)])
    found = [0.0]
    for block in _some(held):
        others = (whole.sum(axis=0) - whole[block]) / (held.sum() - held[block])
        found.append(float(np.abs(whole[block] / held[block] - others).sum()) / 2)
    return round(min(max(found), 1.0), 6)


def word_novelty(rows: Array, held: Array) -> float:
    """The largest share of a block's rows, `held` (blocks,), whose words are in no other block."""
    alone = np.where(rows == rows.sum(axis=0), rows, 0).sum(axis=1)
    several = len(held) > 1
    return round(float((alone / np.maximum(held, 1)).max(initial=0.0)), 6) if several else 0.0


def block_moments(count: Any, total: Any, squares: Any) -> tuple[Any, Any, float]:
    """Mean and variance over all blocks, (d,), and how far one block's mean lies from the others'.

    `count` is (blocks,), `total` and `squares` (blocks, d).
    """
    rows = max(int(count.sum()), 1)
    mean, level = total.sum(axis=0) / rows, squares.sum(axis=0) / rows
    # A sum that is nothing in one order of the rows is not quite nothing in another.
    mean = np.where(np.abs(mean) < _NOTHING * np.sqrt(level), 0.0, mean)
    variance = np.maximum(level - mean**2, 0.0)
    found = [0.0]
    for block in _some(count):
        others = (total.sum(axis=0) - total[block]) / (rows - count[block])
        gap = (total[block] / count[block] - others)[variance > 0] ** 2 / variance[variance > 0]
        found.append(float(np.sqrt(gap.mean())) if len(gap) else 0.0)
    return mean, variance, round(max(found), 6)


def rate_spread(hits: Any, rows: Any) -> float:
    """How far the rates of two blocks lie apart, at most; (blocks,) each."""
    rates = hits[rows > 0] / rows[rows > 0]
    return round(float(np.ptp(rates)), 6) if len(rates) else 0.0


def plainly(number: float) -> float:
    """A whole number as such, which is shorter; minus zero is zero."""
    value = float(number) + 0.0
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def short(number: float) -> float:
    """Seven significant digits: what a sum of floating-point numbers is good for in any order."""
    return plainly(float(f"{number:.7g}"))


def lettered(found: Any) -> str:
    """Registers as text, a letter each."""
    return "".join(_ALPHABET[value] for value in found.tolist())


def unlettered(text: str) -> Any:
    """Registers out of their text, (REGISTERS,); ValueError for another alphabet or length."""
    if len(text) != REGISTERS:
        raise ValueError(f"must have {REGISTERS} letters")
    return np.array([_ALPHABET.index(letter) for letter in text])


def _some(held: Array) -> Array:
    """The blocks that hold something, and not everything."""
    return np.flatnonzero((held > 0) & (held < held.sum()))
