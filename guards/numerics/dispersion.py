"""How much more do the blocks of one reference differ than sampling alone would have them?

Where a share p of all rows is p_b in block b, rho is what is left of its variance once sampling is
taken out, as a part of p (1 - p):

    E (p_b - p_others)^2  =  p (1 - p) (rho (1 + 1 / (B - 1)) + 1 / n_b + 1 / n_others)

A profile keeps, of a column, the largest distance of one block from the others. What that distance
would be for a given variance is known: of D it is the law of Kolmogorov, of total variation a sum
of folded normals, of a range that of B normal numbers. The medians of the largest of B are used
(x such that B draws stay below with probability 1/2), so rho is about 0 for blocks that differ by
chance, and is overstated rather than understated where the blocks are of one make.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def from_distance(largest: float, blocks: npt.ArrayLike) -> float:
    """The rho of a column of numbers by the largest D of a block; `blocks` (B,) are their rows."""
    from scipy.special import kolmogi

    held = np.asarray(blocks, np.float64)
    if len(held) < 2:
        return 0.0
    return _left((largest / float(kolmogi(1 - 0.5 ** (1 / len(held))))) ** 2, held)


def from_variation(largest: float, blocks: npt.ArrayLike, counts: npt.ArrayLike) -> float:
    """The rho of a column of words by the largest total variation; `counts` (words,) over all."""
    held, rows = np.asarray(blocks, np.float64), np.asarray(counts, np.float64)
    shares = rows / max(rows.sum(), 1.0)
    each = np.sqrt(shares * (1 - shares))
    mean = np.sqrt(2 / np.pi) * each.sum() / 2
    apart = np.sqrt((1 - 2 / np.pi) * (each**2).sum()) / 2
    if len(held) < 2 or not mean:
        return 0.0
    return _left((largest / (mean + _highest(len(held)) * apart)) ** 2, held)


def from_range(widest: float, blocks: npt.ArrayLike, rate: float) -> float:
    """The rho of a rate by the difference of its highest and lowest value over the blocks."""
    held = np.asarray(blocks, np.float64)
    if len(held) < 2 or not 0 < rate < 1:
        return 0.0
    usual = 2 * _highest(len(held)) * np.sqrt(rate * (1 - rate) * (1 - 1 / len(held)))
    return _left((widest / usual) ** 2, held)


def _left(variance: float, held: npt.NDArray[np.float64]) -> float:
    """What is left of a variance, in units of p (1 - p), once sampling is taken out."""
    many, rows = len(held), held.sum()
    sampling = float((1 / np.maximum(held, 1) + 1 / np.maximum(rows - held, 1)).mean())
    return float(np.clip((variance - sampling) * (1 - 1 / many), 0.0, 1.0))


def _highest(many: int) -> float:
    """The median of the highest of so many normal numbers."""
    from scipy.special import ndtri

    return float(ndtri(0.5 ** (1 / many)))
