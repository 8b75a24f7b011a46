"""Texts and number lists as a few columns of numbers each, for models that take tables.

A text lies in the leading directions of its TF-IDF (Deerwester et al. 1990), a vector in those of
its column (principal components), DIRECTIONS of them at most. The directions are found on a sample
of the rows, without regard to any label, and all rows are placed along them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.data.profiles.values import kinds
from guards.data.texts import tokens_of
from guards.data.words import words_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from guards.data.dataset import Dataset

    Array = np.ndarray[Any, Any]

DIRECTIONS = 32
_WORDS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    """How a column becomes `width` columns of numbers; what is missing is NaN throughout."""

    name: str
    width: int
    places: Callable[[pl.Series], Array]


def wide_names(dataset: Dataset) -> tuple[str, ...]:
    """The columns of a dataset that are running text, or lists of numbers."""
    found = kinds(dataset).values()
    return tuple(kind.name for kind in found if kind.wide and not kind.made)


def unmodelled(dataset: Dataset) -> str:
    """Why no model of a table could tell labels apart, by roles and types; empty if one could."""
    if dataset.roles.features or wide_names(dataset):
        return ""
    return "no column has the role feature or text, or holds number lists"


def wide(values: pl.Series, seed: int) -> Wide | None:
    """The directions of a sample of a column; None where there is nothing to tell rows by."""
    inner = getattr(values.dtype, "inner", None)
    numbers = inner is not None and inner.is_numeric()
    return _of_vectors(values, seed) if numbers else _of_texts(values, seed)


def _of_texts(values: pl.Series, seed: int) -> Wide | None:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    def read(texts: pl.Series) -> list[str]:
        return words_of(texts).fill_null("").to_list()

    if values.drop_nulls().n_unique() < 2:
        return None
    asked = TfidfVectorizer(analyzer=tokens_of, min_df=2, max_features=_WORDS, sublinear_tf=True)
    try:
        weights = asked.fit_transform(read(values))
    except ValueError:  # no word is in two texts
        return None
    directions = _leading(weights, seed)

    def places(texts: pl.Series) -> Array:
        found = asked.transform(read(texts)) @ directions
        return np.where(texts.is_null().to_numpy()[:, None], np.nan, found)

    return Wide(name=values.name, width=directions.shape[1], places=places)


def _of_vectors(values: pl.Series, seed: int) -> Wide | None:
    import numpy as np
    import polars as pl

    lengths = values.cast(pl.List(pl.Float64)).list.len().drop_nulls()
    width = int(lengths.mode().max() or 0) if len(lengths) else 0  # type: ignore[arg-type]
    known = _rows(values, width)
    known = known[np.isfinite(known).all(axis=1)]
    if not width or len(known) < 2:
        return None
    middle = known.mean(axis=0)
    few = width <= DIRECTIONS
    directions = np.eye(width) if few else _leading(known - middle, seed)
    return Wide(
        name=values.name,
        width=directions.shape[1],
        places=lambda lists: (_rows(lists, width) - middle) @ directions,
    )


def _rows(lists: pl.Series, width: int) -> Array:
    """The lists of that length as (n, width); all NaN where a list has another, or odd numbers."""
    import numpy as np
    import polars as pl

    read = lists.cast(pl.List(pl.Float64))
    fits = (read.list.len() == width).fill_null(False)
    found = np.full((len(lists), width), np.nan)
    if width and fits.any():
        found[fits.to_numpy()] = read.filter(fits).explode().to_numpy().reshape(-1, width)
    with np.errstate(over="ignore"):
        found[~np.isfinite(np.square(found).sum(axis=1))] = np.nan
    return found


def _leading(matrix: Any, seed: int) -> Array:
    """The leading right singular vectors, (columns, DIRECTIONS at most)."""
    from sklearn.utils.extmath import randomized_svd

    rank = min(DIRECTIONS, *matrix.shape)
    _, _, right = randomized_svd(matrix, rank, n_iter=3, random_state=seed % 2**32)
    found: Array = right.T
    return found
