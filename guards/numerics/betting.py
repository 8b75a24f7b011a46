"""Do some of these rows look like others? Evidence by betting, from counts alone.

Rows of one kind are known to spread over the cells x of something as p(x), those of another kind as
q(x). Whoever bets, row by row, that a share s of the first is of the second, gains

    log e = sum over x of n(x) log(1 + s (q(x) / p(x) - 1)).

If p is right, no bet is expected to gain, whatever s and q: E[e] <= 1, and so P(e >= 1 / alpha) <=
alpha, without any asymptotics (Ville 1939; Shafer, Testing by betting, JRSS A 2021). The mean of
several e is an e too (Vovk and Wang, E-values, Annals of Statistics 2021), which is how the share
need not be known.

Two p are offered for rows of a value v in a source s. :func:`joint` takes the pairs (v, x), (s, x)
and says that value and source each do their own to x; if they do more together, that is a misfit,
and :func:`misfit` says how large. :func:`at_most` is never below what (v, x) and (s, x) allow,
whatever the three do together: no misfit can make an alarm of it, but it is far less sharp.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

STAKES = np.array([0.05, 0.1, 0.2, 0.4])
SHARES = np.linspace(0, 0.98, 99)
PRIOR = 5.0  # rows of the margin that each kind is granted
TELLING = 2.0  # a cell is more usual among the others by this much
FEW, AMPLE = 2.0, 1.5  # rows of a telling cell that count, or AMPLE times its share
MISFIT_PRIOR = 10.0  # degrees of freedom without any


def shares(counts: npt.ArrayLike) -> Reals:
    """P(x | kind) from counts (kinds, cells), each drawn to the margin by PRIOR rows."""
    held = np.asarray(counts, np.float64)
    margin = (held.sum(axis=0) + 0.5) / (held.sum() + 0.5 * held.shape[1])
    drawn: Reals = (held + PRIOR * margin) / (held.sum(axis=1, keepdims=True) + PRIOR)
    return drawn


def apart(spread: Reals) -> Reals:
    """How far rows of w lie from those of v, in nats (Kullback and Leibler 1951): (v, w)."""
    logs = np.log(spread)
    own: Reals = (spread * logs).sum(axis=1)
    return np.asarray(own[None, :] - logs @ spread.T)


def worth(spread: Reals, stake: float = 0.1) -> Reals:
    """What a row of w is expected to gain who bets that a row of v may be one: (v, w), in nats."""
    ratio = spread[None, :, :] / spread[:, None, :]
    return np.asarray((spread[None, :, :] * np.log1p(stake * (ratio - 1))).sum(axis=2))


def joint(of_value: Reals, of_source: Reals, margin: Reals) -> Reals:
    """P(x | v, s) if v and s have nothing to say of x together: (values, cells) for one source."""
    found = of_value * (of_source / np.maximum(margin, 1e-12))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def at_most(of_value: Reals, of_source: Reals, source_of: Reals, value_of: Reals) -> Reals:
    """What P(x | v, s) cannot exceed, (values, cells): P(x | v) / P(s | v), P(x | s) / P(v | s).

    Args:
        of_value: (values, cells).
        of_source: (cells,) of the source.
        source_of: (values,) the share of the source among rows of each value.
        value_of: (values,) the share of each value among rows of the source.
    """
    by_value, by_source = of_value / source_of[:, None], of_source / value_of[:, None]
    return np.asarray(np.minimum(np.minimum(by_value, by_source), 1.0))


def gains(counts: npt.ArrayLike, ratio: Reals) -> Reals:
    """The log of what each of STAKES gains: (stakes, bets), of counts and q / p (bets, cells)."""
    held = np.asarray(counts, np.float64)
    bets = np.log1p(STAKES[:, None, None] * (ratio - 1))
    return np.asarray((bets * held).sum(axis=2))


def evidence(gained: Reals) -> Reals:
    """log10 of the mean e of the stakes, (bets,), from their logs (stakes, bets)."""
    top = gained.max(axis=0)
    return np.asarray((top + np.log(np.exp(gained - top).mean(axis=0))) / np.log(10))


def either(first: Reals, second: Reals) -> Reals:
    """log10 of the mean of two e."""
    return np.asarray(
        np.logaddexp(first * np.log(10), second * np.log(10)) / np.log(10) - np.log10(2)
    )


def capped(counts: npt.ArrayLike, other: Reals, ratio: Reals) -> Reals:
    """Counts (bets, cells) of which no telling cell has more than befits rows of the other kind.

    What is new comes in one place (a route that somebody begins to fly), what was exchanged lies
    wherever the other kind lies. A telling cell counts with AMPLE times its share of all telling
    rows, as the other kind has them, and with FEW rows at least.
    """
    held = np.asarray(counts, np.float64)
    telling = ratio >= TELLING
    share = np.where(telling, other, 0.0)
    share = share / np.maximum(share.sum(axis=1, keepdims=True), 1e-12)
    rows = np.where(telling, held, 0.0).sum(axis=1, keepdims=True)
    most = np.maximum(FEW, AMPLE * rows * share)
    return np.where(telling, np.minimum(held, most), held)


def added(found: npt.ArrayLike, expected: npt.ArrayLike, known: float) -> float:
    """By how many standard deviations two kinds have more rows together than an exchange leaves.

    `found` and `expected` (2,) are the rows of the first and the other kind in the telling cells;
    what was exchanged for the first is missing in the other. `known` is how many times the rows
    that the expected ones are known from are those of the batch.
    """
    (own, other), before = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    spread = before[1] * (1 + 1 / max(known, 1e-9)) + own + 1
    return float((own + other - before.sum()) / np.sqrt(spread))


def misfit(counts: npt.ArrayLike, expected: Reals) -> tuple[Reals, Reals]:
    """Pearson's chi-squared of each kind against its shares, and its degrees of freedom, (kinds,).

    Cells of half an expected row and more count.
    """
    held = np.asarray(counts, np.float64)
    rows = expected * held.sum(axis=1, keepdims=True)
    known = rows > 0.5
    squares = np.where(known, (held - rows) ** 2 / np.maximum(rows, 1e-12), 0.0).sum(axis=1)
    return np.asarray(squares), np.maximum(known.sum(axis=1) - 1.0, 0.0)


def wider(squares: Reals, freedom: Reals) -> Reals:
    """Chi-squared over its degrees of freedom, with MISFIT_PRIOR more of them; at least 1."""
    return np.asarray(np.maximum(1.0, (squares + MISFIT_PRIOR) / (freedom + MISFIT_PRIOR)))


def widening(squares: Reals, freedom: Reals, first: Ints, second: Ints) -> Reals:
    """How much wider than chance the kinds lie around what is expected of them; at least 1.

    (bets,): over all kinds but the two, `first` and `second`, that the bet is about.
    """
    others = squares.sum() - squares[first] - squares[second]
    free = freedom.sum() - freedom[first] - freedom[second]
    return wider(others, free)


def likeliest(counts: npt.ArrayLike, ratio: Reals) -> float:
    """The share of the other kind that makes counts (cells,) likeliest, of SHARES."""
    held = np.asarray(counts, np.float64)
    return float(SHARES[int((np.log1p(SHARES[:, None] * (ratio - 1)) @ held).argmax())])


def chances(ratio: Reals, stake: float) -> Reals:
    """The chance that a row of each cell is of the other kind, if a share `stake` of them is."""
    return np.asarray(stake * ratio / (1 - stake + stake * ratio))
