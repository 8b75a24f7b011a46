"""The label of every row as a class, or a clear word why it is none.

What is told apart here is one label a row, out of a list of names: a quantity (a regression
target), several labels a row, and more names than rows of each are refused with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.data.dataset import Dataset, short_words
from guards.data.words import words_of
from guards.errors import Skip
from guards.text import printable

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

FOLDS = 5  # a class of fewer rows is not looked at
MOST_CLASSES = 10_000
_FRACTIONS = 100  # so many values that are not whole are no names


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """The rows whose label is of a class that is large enough; arrays are over these.

    `rows` are global row numbers, ascending, int64 (n,); `labels` codes into `classes`, int64
    (n,). `unlabelled` rows have no label; `too_small` are the classes with fewer than FOLDS rows,
    by name, with their rows.
    """

    rows: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    classes: tuple[str, ...]
    unlabelled: int
    too_small: tuple[tuple[str, int], ...]


def labelled(dataset: Dataset) -> Labelled:
    """Read the labels.

    Raises:
        Skip: no column is the label, its values are no classes, or fewer than two have FOLDS rows.
    """
    import numpy as np

    words = label_words(dataset)
    sizes = dict(words.drop_nulls().value_counts().iter_rows())
    _refuse_quantity(dataset, words, len(sizes))
    classes = tuple(sorted(name for name, rows in sizes.items() if rows >= FOLDS))
    if len(classes) < 2:
        raise Skip(
            f"{len(classes)} of {len(sizes)} classes has {FOLDS} rows or more; a model needs two: "
            "give rows of another class, or another label column"
        )
    if len(classes) > MOST_CLASSES:
        raise Skip(
            f"{len(classes):,} classes; at most {MOST_CLASSES:,} are told apart: give a coarser "
            "label, or part the data by it"
        )
    codes = dict(zip(classes, range(len(classes)), strict=True))
    coded = words.replace_strict(list(codes), list(codes.values()), default=-1).fill_null(-1)
    rows = np.flatnonzero(coded.to_numpy() >= 0)
    return Labelled(
        rows=rows,
        labels=coded.to_numpy()[rows].astype(np.int64),
        classes=classes,
        unlabelled=words.null_count(),
        too_small=tuple(sorted((name, n) for name, n in sizes.items() if n < FOLDS)),
    )


def label_words(dataset: Dataset) -> pl.Series:
    """The label of every row as a string; NaN is null.

    Raises:
        Skip: no column is the label, or it holds several labels a row.
    """
    if dataset.roles.label is None:
        raise Skip("no column has the role label")
    labels = dataset.frame([dataset.roles.label]).to_series()
    if labels.dtype.is_nested():
        raise Skip(
            f"the label {printable(labels.name)[:60]} holds {labels.dtype}: several labels a row "
            "are not examined; give a column with one of them"
        )
    return short_words(labels.fill_nan(None) if labels.dtype.is_float() else labels)


def checked_labels(
    dataset: Dataset, trusted: Dataset | None, rows: np.ndarray[Any, Any]
) -> pl.Series:
    """The label that `trusted` gives to each of some global rows, as a string; null for none.

    A row is the same where it has the same id; an id that stands twice on either side names none.
    """
    import polars as pl

    name, label = dataset.roles.id, dataset.roles.label
    if trusted is None or name is None or not {name, label} <= set(trusted.schema):
        return pl.Series([None] * len(rows), dtype=pl.String)
    own, theirs = (words_of(each.frame([name]).to_series()) for each in (dataset, trusted))
    known = pl.DataFrame({"id": theirs, "label": label_words(trusted)})
    known = known.filter(theirs.is_unique() & theirs.is_not_null())
    asked = pl.DataFrame({"id": own.set(own.is_duplicated(), None)})[rows]
    return asked.join(known, on="id", how="left", maintain_order="left")["label"]


def _refuse_quantity(dataset: Dataset, words: pl.Series, values: int) -> None:
    """Skip where the labels are numbers on a scale, or hardly any two rows share one."""
    import polars as pl

    rows = len(words) - words.null_count()
    name = printable(dataset.roles.label or "")[:60]
    if 2 * values > rows and rows >= 10 * FOLDS:
        raise Skip(
            f"the label {name} has {values:,} values in {rows:,} rows: a quantity, or a name for "
            "each row, and no class; give a label that rows share, or bins of the quantity"
        )
    if values > _FRACTIONS and dataset.schema[dataset.roles.label or ""].startswith("Float"):
        numbers = words.cast(pl.Float64)
        if (numbers != numbers.round()).any():
            raise Skip(
                f"the label {name} has {values:,} values that are not whole: a quantity, and no "
                "class; give bins of it, or names as text"
            )
