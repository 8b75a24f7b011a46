"""A classifier for hundreds to ten thousands of classes of a few rows each, that names the likely.

Three views of a row, in a space that is found by linear discriminants (Fisher 1936): rows vary by 1
within their classes along each direction, and the classes' means by `between` (by moments).

- *Normal*: each class is a normal cloud around a mean that is itself drawn from a normal
  distribution (probabilistic linear discriminants; Ioffe, ECCV 2006). A class of n rows with mean m
  predicts N(s m, 1 + between/(1 + n between)) along each direction, with s = n between/(1 + n
  between): where classes do not differ, or of one row only, little is believed.
- *Flatter*: the same likelihoods to the power .3, since columns are no normal clouds and, taken for
  independent, claim too much.
- *Near*: the votes of the nearest rows, each by the inverse of its distance, where a direction
  counts for the share of variance that is between classes. It knows classes of several clouds.

They are added by shares that make the given labels likeliest (stacking; three numbers for all rows,
by expectation maximization, with an even guess as a fourth that is not used). Each view names
AMONG labels of a row; the rest have probability 0.

What it finds, and what it costs, is measured by benchmarks/many_labels.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.numerics.likely import Likely, merged

Reals = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

AMONG = 15
FLATTER = 0.3
RANK = 64  # directions at most
_SHRINK = 0.01  # of each column's variance, added to that within classes
_NEAREST = 0.1  # of the spread within classes: nearer rows count alike
_BLOCK = 2**22  # likelihoods that are held together
_ROUNDS = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Space:
    """Where classes lie apart: (x - `middle`) @ `directions` (d, r), means vary by `between`."""

    middle: Reals
    directions: Reals
    between: Reals

    def of(self, points: npt.ArrayLike) -> Singles:
        """Rows (n, d) as (n, r)."""
        found = (np.asarray(points, np.float64) - self.middle) @ self.directions
        return found.astype(np.float32)

    @property
    def weights(self) -> Singles:
        """What a direction counts for in distances, (r,)."""
        weights: Singles = np.sqrt(self.between / (1 + self.between)).astype(np.float32)
        return weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """The log likelihood of a class is x^2 @ `square` + x @ `linear` + `constant`, (r or 1, k).

    `near` (m, r) and `near_labels` (m,) are the rows that vote.
    """

    space: Space
    square: Singles
    linear: Singles
    constant: Singles
    near: Singles
    near_labels: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Views:
    """What each view says of n rows, (n, AMONG) each: labels, -1 for none, and probabilities.

    `normal` and `flatter` are of the labels `likely`, `votes` of `near`, where a label may stand
    several times.
    """

    likely: npt.NDArray[np.int32]
    normal: Singles
    flatter: Singles
    near: npt.NDArray[np.int32]
    votes: Singles


def discriminants(points: npt.ArrayLike, labels: Ints, classes: int) -> Space:
    """The directions along which the classes of rows (n, d) differ most, at most RANK."""
    from scipy.linalg import eigh

    wide = np.asarray(points, np.float64)
    sizes = np.bincount(labels, minlength=classes)
    middle, present = wide.mean(axis=0), int((sizes > 0).sum())
    wide = wide - middle
    means = _means(wide, labels, sizes)
    apart = wide - means[labels]
    within = apart.T @ apart / max(len(wide) - present, 1)
    within[np.diag_indices(len(within))] += _SHRINK * np.square(wide).mean(axis=0) + 1e-9
    among = (means * sizes[:, None]).T @ means / max(present - 1, 1)
    rank = min(RANK, len(within))
    ratios, directions = eigh(among, within, subset_by_index=[len(within) - rank, len(within) - 1])
    usual = (len(wide) - np.square(sizes).sum() / len(wide)) / max(present - 1, 1)
    between = np.maximum((ratios - 1) / usual, 0)
    useful = between > 0 if (between > 0).any() else np.ones(rank, np.bool_)
    return Space(
        middle=middle,
        directions=directions[:, useful],
        between=np.maximum(between[useful], 1e-6),
    )


def fit(points: npt.ArrayLike, labels: Ints, classes: int, near: Ints) -> Fitted:
    """Learn rows (n, d) and their labels (n,) in range(classes); the rows `near` (m,) vote.

    Equally near rows come in the order of `near`, which should be one that says nothing of labels.
    """
    space = discriminants(points, labels, classes)
    rows = space.of(points)
    sizes = np.bincount(labels, minlength=classes)
    known = sizes[:, None] * space.between
    shrunk = known / (1 + known) * _means(rows.astype(np.float64), labels, sizes)
    spread = 1 + space.between / (1 + known)
    with np.errstate(divide="ignore"):
        prior = np.log(sizes / sizes.sum())
    constant = prior - 0.5 * (np.square(shrunk) / spread + np.log(spread)).sum(axis=1)
    return Fitted(
        space=space,
        square=(-0.5 / spread).T.astype(np.float32),
        linear=(shrunk / spread).T.astype(np.float32),
        constant=constant.astype(np.float32),
        near=rows[near] * space.weights,
        near_labels=labels[near],
    )


def ask(fitted: Fitted, points: npt.ArrayLike) -> Views:
    """What the three views say of rows (n, d)."""
    rows = fitted.space.of(points)
    likely, logs = _likeliest(fitted, rows)
    near, votes = _votes(fitted, rows)
    return Views(
        likely=np.where(np.isfinite(logs), likely, -1).astype(np.int32),
        normal=_shares(logs),
        flatter=_shares(logs * np.float32(FLATTER)),
        near=near.astype(np.int32),
        votes=votes,
    )


def mixed(views: Views, labels: Ints, classes: int) -> Likely:
    """The views together, in the shares that make the labels (n,), as given, likeliest."""
    shares = _stacked(_own(views, labels), classes)
    told = shares[0] * views.normal + shares[1] * views.flatter
    return merged(
        np.hstack([views.likely, views.near]),
        np.hstack([told, shares[2] * views.votes]).astype(np.float32),
        classes,
    )


def _means(wide: Reals, labels: Ints, sizes: Ints) -> Reals:
    """The mean of each class, 0 for one without rows."""
    from scipy.sparse import csr_array

    rows = len(labels)
    marks = csr_array((np.ones(rows), (labels, np.arange(rows))), shape=(len(sizes), rows))
    means: Reals = (marks @ wide) / np.maximum(sizes, 1)[:, None]
    return means


def _likeliest(fitted: Fitted, rows: Singles) -> tuple[Ints, Singles]:
    """The AMONG classes of highest likelihood, and its logarithm; -inf beyond those there are."""
    classes = len(fitted.constant)
    among, step = min(AMONG, classes), max(1, _BLOCK // classes)
    chosen, logs = np.zeros((len(rows), among), np.int64), np.zeros((len(rows), among), np.float32)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        told = np.square(some) @ fitted.square + some @ fitted.linear + fitted.constant
        best = np.argpartition(told, classes - among, axis=1)[:, classes - among :]
        chosen[start : start + step] = best
        logs[start : start + step] = np.take_along_axis(told, best, axis=1)
    return chosen, logs


def _shares(logs: Singles) -> Singles:
    """Likelihoods as shares of 1 in each row."""
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares: Singles = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _votes(fitted: Fitted, rows: Singles) -> tuple[Ints, Singles]:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(AMONG, len(fitted.near)), algorithm="brute")
    apart, places = search.fit(fitted.near).kneighbors(rows * fitted.space.weights)
    weights = 1 / np.maximum(apart, _NEAREST)
    votes: Singles = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return fitted.near_labels[places], votes


def _own(views: Views, labels: Ints) -> Reals:
    """What each view gives to the label of each row, (n, 3)."""
    likely = views.likely == labels[:, None]
    told = [
        np.where(likely, views.normal, 0).sum(axis=1),
        np.where(likely, views.flatter, 0).sum(axis=1),
        np.where(views.near == labels[:, None], views.votes, 0).sum(axis=1),
    ]
    return np.stack(told, axis=1).astype(np.float64)


def _stacked(own: Reals, classes: int) -> Reals:
    """The shares of the views, (3,), that sum to 1."""
    told = np.column_stack([own, np.full(len(own), 1 / classes)])
    shares = np.full(told.shape[1], 1 / told.shape[1])
    for _ in range(_ROUNDS):
        weighed = told * shares
        shares = (weighed / weighed.sum(axis=1, keepdims=True)).mean(axis=0)
    views: Reals = shares[:-1] / max(shares[:-1].sum(), 1e-300)
    return views
