"""Any dataset's numbers as one matrix, and what a row looks like there, labels aside.

A column of number lists of one length (an embedding) is taken as it is, else all numeric feature
columns by their ranks, so that no unit and no outlier decides. Every column then varies equally.
The view of labels is the neighbours': `share` of a row's 15 nearest (Euclid) bear its label. It
needs no training, and nothing that an attacker's labels shaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.dataset import Dataset
from guards.data.labelled import label_words
from guards.data.profiles.values import values_of
from guards.errors import Skip
from guards.numerics.neighbours import agreement

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl

NEIGHBOURS = 15
LEAST_ROWS = 100
MOST_ROWS = 20_000  # of more, so many are drawn: neighbours are searched by brute force
INCONSISTENT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrix:
    """The labelled rows that were looked at.

    `rows` (n,) are global row numbers, ascending, `labels` (n,) codes into `classes`. `values`
    (n, d) are the numbers as given, `columns` their names, `space` (n, d) float32 what distances
    are measured in. `share`, `looks` (n,) see :func:`guards.numerics.neighbours.agreement`.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    space: npt.NDArray[np.float32]
    share: npt.NDArray[np.float32]
    looks: npt.NDArray[np.int64]

    @property
    def inconsistent(self) -> npt.NDArray[np.bool_]:
        """Rows whose label hardly any of their neighbours bear."""
        return self.share < INCONSISTENT


def matrix(dataset: Dataset, *, seed: int) -> Matrix:
    """Read the numbers and find the neighbours.

    Raises:
        Skip: there are fewer than two classes, LEAST_ROWS labelled rows, or two numeric columns.
    """
    words = label_words(dataset)
    rows = np.flatnonzero(words.is_not_null().to_numpy())
    if len(rows) < LEAST_ROWS:
        raise Skip(f"{len(rows)} labelled rows; at least {LEAST_ROWS} are needed to compare them")
    if len(rows) > MOST_ROWS:
        drawn = np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False)
        rows = np.sort(drawn)
    classes, labels = np.unique(words.to_numpy()[rows].astype(str), return_inverse=True)
    if len(classes) < 2:
        raise Skip("all rows have one label; a second class is needed to compare with")
    columns, values, listed = _numbers(dataset, rows)
    space = _even(values) if listed else _ranks(values)
    share, looks, _ = agreement(_nearest(space), labels, len(classes))
    return Matrix(
        rows=rows,
        labels=labels.astype(np.int64),
        classes=tuple(map(str, classes)),
        columns=columns,
        values=values,
        space=space,
        share=share,
        looks=looks,
    )


def _numbers(
    dataset: Dataset, rows: npt.NDArray[np.int64]
) -> tuple[tuple[str, ...], npt.NDArray[np.float64], bool]:
    """Names and numbers (n, d) of the matrix; whether it is a column of lists."""
    for name, kind in dataset.schema.items():
        if kind.startswith(("List(", "Array(")):
            found = _listed(dataset.frame([name]).to_series(), rows)
            if found is not None:
                return tuple(f"{name}[{place}]" for place in range(found.shape[1])), found, True
    scalars = {name: values_of(dataset, name) for name in dataset.roles.features}
    kept = {
        name: series.cast(float).to_numpy()[rows]
        for name, series in scalars.items()
        if series.dtype.is_numeric() and series.n_unique() > 1
    }
    if len(kept) < 2:
        raise Skip(f"{len(kept)} numeric feature column(s); two are needed to compare rows by")
    return tuple(kept), np.column_stack(list(kept.values())), False


def _listed(series: pl.Series, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
    """Lists of one length above 1 as (n, d), or None where they are none or hold no numbers."""
    import polars as pl

    inner: Any = getattr(series.dtype, "inner", None)
    if inner is None or not inner.is_numeric():
        return None
    lists = series.cast(pl.List(pl.Float64))
    width = lists.list.len()
    if width.n_unique() != 1 or width[0] is None or width[0] < 2:
        return None
    flat: npt.NDArray[np.float64] = lists.explode().to_numpy().reshape(-1, width[0])
    return flat[rows]


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Ranks within their column from -1/2 to 1/2, ties shared; what is missing is in the middle."""
    from scipy.stats import rankdata

    known = np.where(np.isfinite(values), values, np.nan)
    ranks = rankdata(known, axis=0, nan_policy="omit")
    counts = np.maximum(np.isfinite(known).sum(axis=0), 1)
    even: npt.NDArray[np.float64] = np.nan_to_num(ranks / counts - (counts + 1) / (2 * counts))
    return even.astype(np.float32)


def _even(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Columns of mean 0 and variance 1; what is missing or not finite lies at the mean."""
    known = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(invalid="ignore"):
        middle = np.nan_to_num(np.nanmean(known, axis=0))
        spread = np.nan_to_num(np.nanstd(known, axis=0))
    even: npt.NDArray[np.float64] = np.nan_to_num(
        (known - middle) / np.where(spread > 0, spread, 1.0)
    )
    return even.astype(np.float32)


def _nearest(space: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The nearest rows of each row, (n, NEIGHBOURS), itself left out."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(space)
    found: npt.NDArray[np.int64] = search.kneighbors(return_distance=False)
    return found


def share_outside(table: Matrix, member: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The share of neighbours with a row's label, (n,), where members are nobody's neighbours.

    Many planted rows are each other's neighbours, and look right by that. 1 for non-members.
    """
    from sklearn.neighbors import NearestNeighbors

    share, rest = np.ones(len(member)), np.flatnonzero(~member)
    if member.any() and len(rest) > NEIGHBOURS:
        search = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(table.space[rest])
        near = rest[search.kneighbors(table.space[member], return_distance=False)]
        share[member] = (table.labels[near] == table.labels[member][:, None]).mean(1)
    return share
