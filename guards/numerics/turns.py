"""Cells of rows that bear a label which nothing else about them leads one to expect.

A cell is any group of rows that share something: a value, a pair of values, a token, a source, a
place. Of its N rows O bear the label T, and a view that none of them has shaped expects E. Then

    turn = (O - E)/(N - E)      the share of the rows that would have been something else

(Abbott's formula, J. Econ. Entomology 18, 1925). A trigger turns nearly all of them; natural cells
few, whatever their label. The tail of O is beta-binomial of mean E/N, its dispersion that of the
peer cells around their own E, at its upper bound (:mod:`guards.numerics.enrichment`): storm days
and honest rules of thumb are overdispersed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.numerics import enrichment
from guards.numerics.ridge import Ridge, fit, one_out, without

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Curve = tuple[Floats, Floats]
FLOOR = 0.01  # the least dispersion that is believed
PRIOR = 0.02
ALONE = 0.05  # where there is no peer
ASIDE = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """What each row leads one to expect of its label, by an additive model of all other rows.

    `labels` (n,) in range(k) and `sizes` (k,); `expected` (n, k) are calibrated probabilities by
    the model without the row itself; `curves` turn scores into them, one for each class.
    """

    model: Ridge
    labels: Ints
    sizes: Ints
    curves: tuple[Curve, ...]
    expected: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Ragged:
    """Groups of rows: group g holds rows[starts[g] : starts[g + 1]]; rows may be in several."""

    starts: Ints
    rows: Ints

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self.starts) - 1

    def of(self, group: int) -> Ints:
        """The rows of one group."""
        return self.rows[self.starts[group] : self.starts[group + 1]]

    @property
    def sizes(self) -> Ints:
        """Rows in each group, (groups,)."""
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Every cell of a family against every label: `rows` (g,), `hits` and `expected` (g, k)."""

    rows: Floats
    hits: Floats
    expected: Floats


def look(design: npt.ArrayLike, labels: Ints, classes: int) -> View:
    """Fit the additive model to rows (n, p) and labels (n,) in range(classes)."""
    model = fit(design, labels, classes)
    scores = one_out(model)
    curves = tuple(_curve(scores[:, c], labels == c) for c in range(classes))
    return View(
        model=model,
        labels=labels,
        sizes=np.bincount(labels, minlength=classes),
        curves=curves,
        expected=calibrated(scores, curves),
    )


def left_out(view: View, rows: Ints) -> Floats:
    """The probabilities (m, k) of some rows by the model without any of them."""
    return calibrated(without(view.model, rows), view.curves)


def calibrated(scores: Floats, curves: tuple[Curve, ...]) -> Floats:
    """Scores (m, k) as probabilities, each class by its own curve."""
    columns = [np.interp(scores[:, c], *curve) for c, curve in enumerate(curves)]
    return np.stack(columns, axis=1)


def ragged(codes: Ints) -> Ragged:
    """The groups of equal codes (n,), in ascending order of the codes; those below 0 are none."""
    order = np.argsort(codes, kind="stable")
    order = order[np.searchsorted(codes[order], 0) :]
    ordered = codes[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return Ragged(starts=np.concatenate([starts[: len(order)], [len(order)]]), rows=order)


def only(groups: Ragged, kept: Bools) -> Ragged:
    """The same groups without the rows that are not `kept` (n,)."""
    inside = kept[groups.rows]
    before = np.concatenate([[0], np.cumsum(inside)])
    return Ragged(starts=before[groups.starts], rows=groups.rows[inside])


def counted(view: View, groups: Ragged, exact: Bools) -> Counted:
    """Count every group; where `exact` (g,), what is expected comes from the other rows alone."""
    classes = len(view.sizes)
    group = np.repeat(np.arange(len(groups)), groups.sizes)
    places = group * classes + view.labels[groups.rows]
    hits = np.bincount(places, minlength=len(groups) * classes).reshape(-1, classes)
    expected = np.zeros(hits.shape)
    if len(groups.rows):
        full = groups.sizes > 0
        sums = np.add.reduceat(view.expected[groups.rows], groups.starts[:-1][full], axis=0)
        expected[full] = sums
    for g in np.flatnonzero(exact & (groups.sizes > 0)):
        expected[g] = left_out(view, groups.of(int(g))).sum(0)
    return Counted(rows=groups.sizes.astype(float), hits=hits.astype(float), expected=expected)


def turn(hits: npt.ArrayLike, expected: npt.ArrayLike, rows: npt.ArrayLike) -> Floats:
    """Abbott's share of the rows that were turned; 0 where hits are no more than expected."""
    o, e, n = (np.asarray(each, np.float64) for each in (hits, expected, rows))
    turned: Floats = np.clip((o - e) / np.maximum(n - e, 1e-9), 0.0, 1.0)
    return turned


def peer_dispersion(counts: Counted) -> Floats:
    """The rho of the other cells of a family around their expectations, for each cell, (g, k).

    By moments, as :func:`guards.numerics.enrichment.dispersion`, once weighting cells by their
    pairs of rows and once by their rows, since a few large tame cells say little of small wild
    ones; the larger counts. Whoever plants one cell may plant another: the ASIDE cells of most
    excess under a label are nobody's peers there. Taken at the upper end of what the peers allow
    and shrunk to a prior.
    """
    from scipy.stats import chi2

    rows = np.broadcast_to(counts.rows[:, None], counts.hits.shape)
    rate = np.clip(counts.expected / np.maximum(rows, 1), 1e-6, 1 - 1e-6)
    surplus = counts.hits - rows * rate
    peer = np.ones(rows.shape, np.bool_)
    first = np.argsort(-surplus / np.sqrt(np.maximum(rows, 1)), axis=0, kind="stable")[:ASIDE]
    np.put_along_axis(peer, first, False, axis=0)
    squares = surplus**2 / (rate * (1 - rate))
    peers = np.maximum(peer.sum(0) - peer, 0)
    seen = np.maximum(
        _others(squares - rows, rows * (rows - 1), peer),
        _others(squares / np.maximum(rows, 1) - 1, rows - 1, peer),
    )
    few = np.maximum(peers, 1)
    bound = np.clip(seen, 0, 0.99) * few / chi2.ppf(enrichment.DOUBT, few)
    weight = few / (few + enrichment.PRIOR_CELLS)
    rho = (weight * bound + (1 - weight) * PRIOR) * (1 + 1 / few)
    return np.where(peers > 0, np.clip(rho, FLOOR, 0.99), ALONE)


def _others(surplus: Floats, room: Floats, peer: Bools) -> Floats:
    """The ratio of two sums over the peers of each cell, itself left out, (g, k)."""
    above, below = (np.where(peer, each, 0.0) for each in (surplus, room))
    left = below.sum(0) - below
    return np.where(left > 0, (above.sum(0) - above) / np.maximum(left, 1e-9), 0.0)


def _curve(scores: Floats, hits: Bools) -> Curve:
    """The monotone curve from scores to rates (Zadrozny and Elkan 2002), never 0 and never 1."""
    from sklearn.isotonic import IsotonicRegression

    least = max(0.005, 0.5 / len(hits) ** 0.5)
    fitted = IsotonicRegression(y_min=least, y_max=1 - least).fit(scores, hits)
    return fitted.X_thresholds_, fitted.y_thresholds_
