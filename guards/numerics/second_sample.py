"""How many such rows may a second sample have, if it is drawn where the first one was?

Of n first rows x have a property, of m second ones k. If the rows are exchangeable, which of the
x + k are first is a draw without replacement, so that, given x + k, x is hypergeometric (Fisher's
exact test; as a prediction limit Hahn & Meeker 1991). :func:`most` is the largest k that this does
not contradict at `alpha`. No distribution is assumed, and no rate is known: with x = 0 and m = n it
is log2(1/alpha), whatever the property is. That holds for a property that the first sample itself
defines, as "above all of the first", since it is decided by ranks alone.
"""

from __future__ import annotations


def most(hits: int, rows: int, others: int, alpha: float) -> int:
    """The largest count in `others` further rows that `hits` in `rows` does not contradict.

    The chance that an exchangeable second sample has more is at most `alpha`.

    Args:
        hits: rows of the first sample that have the property, 0 to `rows`.
        rows: the first sample, at least 1.
        others: the second sample, at least 1.
        alpha: the one-sided level.
    """
    low, high = -1, others
    while low < high:
        middle = (low + high + 1) // 2
        if middle == 0 or _chance(hits, middle, rows, others) > alpha:
            low = middle
        else:
            high = middle - 1
    return low


def _chance(hits: int, more: int, rows: int, others: int) -> float:
    """How likely at most `hits` of `hits + more` fall among the first `rows` of all."""
    from scipy.stats import hypergeom

    return float(hypergeom.cdf(hits, rows + others, hits + more, rows))
