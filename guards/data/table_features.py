"""What the columns say of each label: probabilities by models that did not see it.

Five folds, stratified by label; a histogram gradient boosting classifier (scikit-learn) is
trained on four and asked about the fifth, so no row's label has any say in its own probability.
Small tables are cut in folds three times over and the answers averaged, so that the seed decides
little. Measured on 6,000 rows of 9 columns: 1 CPU second.

Trees are grown for each label. From five labels on there are half as many, at a higher rate, of
columns in 64 parts: what is found is the same within a row or two (sets of
`benchmarks/many_labels.py`, 10 and 16 labels), for two fifths to half of the time. Of more than
MANY_CLASSES other models are asked (:mod:`guards.data.many_labels`), and only the labels that are
likely are kept for each row.

Models are trained on a sample of the rows, at most so many that a column more, or a class more,
costs rows and not time; all rows are asked about, a block at a time. So memory is the sample, and
per row a label, a fold and a float32 a class.

Numbers go in as they are, missing ones included; words as the codes of their 60 commonest values;
times as year, month, weekday and hour, since a model that knows the day would learn the errors of
that day, and what happened in a short window is for the rule `sources` to see. Source and id are
left out for the same reason. Texts and number lists go in by where they lie along a few directions
(:mod:`guards.data.wide`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.data.blocks import blocks
from guards.data.dataset import Dataset
from guards.data.labelled import FOLDS, Labelled, labelled
from guards.data.many_labels import many_labels
from guards.data.wide import DIRECTIONS, Wide, wide, wide_names
from guards.errors import Skip
from guards.numerics.conformal import folds

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from guards.numerics.likely import Likely

    Array = np.ndarray[Any, Any]

TREES = 60
REPEATS = 3
_SEVERAL, MANY_CLASSES = 5, 40
_WORDS = 60  # with the code of all others and one for what is missing at most the 64 bins of trees
# Rows that models are trained on: at most so many, so many numbers, and rows times classes.
_TRAINED, _NUMBERS, _WORK = 250_000, 40_000_000, 500_000
_LEAST_TRAINED, _OF_A_CLASS = 20_000, 25
_FEW = 50_000
# Above this many rows one cut is steady enough.
_REPEATED = 50_000
_HUGE = 8e307
_ASKED = 20_000_000  # rows times classes that a model is asked about at once
_PARTS = ("year", "month", "weekday", "hour")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableFeatures:
    """Out-of-fold probabilities beside the labels; arrays are over the rows that were kept.

    `rows` are global row numbers, ascending, shape (n,); `labels` codes into `classes`, shape
    (n,); `probabilities` float32 (n, classes), sparse where classes are many. `unlabelled` rows
    have no label; `too_small` are the classes with fewer rows than folds, by name, with their rows;
    neither kind is in the arrays.
    """

    rows: Array
    labels: Array
    classes: tuple[str, ...]
    probabilities: Array | Likely
    unlabelled: int
    too_small: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """How a column becomes one of numbers: a `part` of a time, or codes of its `common` words."""

    name: str
    part: str = ""
    common: pl.Series | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The columns of the table that models see: of scalars first, then of texts and lists."""

    columns: tuple[_Column, ...]
    wide: tuple[Wide, ...]

    @property
    def is_word(self) -> list[bool]:
        """Of each column of the table, whether its numbers are codes of words."""
        words = [column.common is not None for column in self.columns]
        return words + [False] * sum(one.width for one in self.wide)

    def table(self, frame: pl.DataFrame) -> Array:
        """Some rows as float64, (rows, columns); what is missing or infinite is NaN."""
        import numpy as np

        long = [one.places(frame[one.name]) for one in self.wide]
        return np.hstack([_table(self.columns, frame), *long])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A fold's classifier, and the columns of which it saw no value at all."""

    fitted: Any
    blank: Array


def table_features(dataset: Dataset, *, seed: int) -> TableFeatures:
    """Fit and ask the models; the same seed gives the same numbers.

    Raises:
        Skip: the labels are no classes, fewer than two have enough rows, or no column is of use.
    """
    import numpy as np

    known, long = labelled(dataset), wide_names(dataset)
    names = (*dataset.roles.features, *long)
    numbers = len(names) + DIRECTIONS * len(long)
    drawn = _drawn(known.labels, numbers, np.random.default_rng([seed, 5]))
    layout = _layout(sample := _gathered(dataset, names, known.rows[drawn]), long, seed)
    if not layout.is_word:
        raise Skip("every feature column is constant; nothing could tell the classes apart")
    table = layout.table(sample)

    def parts() -> Iterator[tuple[Array, Array]]:
        whole = len(drawn) == len(known.labels)
        return iter([(drawn, table)]) if whole else _parts(dataset, names, known, layout)

    several = many_labels if len(known.classes) > MANY_CLASSES else _of_trees
    with _threads(len(drawn)):
        probabilities = several(table, drawn, known.labels, layout.is_word, parts, seed=seed)
    return TableFeatures(
        rows=known.rows,
        labels=known.labels,
        classes=known.classes,
        probabilities=probabilities,
        unlabelled=known.unlabelled,
        too_small=known.too_small,
    )


def _drawn(labels: Array, columns: int, generator: np.random.Generator) -> Array:
    """Places of the rows that models are trained on, ascending; of small classes more of them."""
    import numpy as np

    classes = int(labels.max()) + 1
    most = min(_TRAINED, _NUMBERS // max(columns, 1), _WORK // (classes if classes > 2 else 1))
    most = max(most, _LEAST_TRAINED)
    if len(labels) <= most:
        return np.arange(len(labels))
    order = generator.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels, minlength=classes)
    quota = np.maximum(np.minimum(sizes, _OF_A_CLASS), sizes * most // len(labels))
    starts = np.cumsum(sizes) - sizes
    within = np.arange(len(labels)) - np.repeat(starts, sizes)
    drawn: Array = np.sort(by_class[within < np.repeat(quota, sizes)])
    return drawn


def _gathered(dataset: Dataset, names: Sequence[str], rows: Array) -> pl.DataFrame:
    """Some rows of the columns, in global row order."""
    import numpy as np
    import polars as pl

    if len(rows) == dataset.rows:
        return dataset.frame(names)
    parts = []
    for start, frame in blocks(dataset, names):
        inside = slice(*np.searchsorted(rows, [start, start + len(frame)]))
        parts.append(frame[rows[inside] - start])
    return pl.concat(parts)


def _parts(
    dataset: Dataset, names: Sequence[str], known: Labelled, layout: _Layout
) -> Iterator[tuple[Array, Array]]:
    """Every kept row, a block at a time: its places in the arrays, and its numbers."""
    import numpy as np

    for start, frame in blocks(dataset, names):
        first, last = np.searchsorted(known.rows, [start, start + len(frame)])
        here = frame[known.rows[first:last] - start]
        yield np.arange(first, last), layout.table(here)


def _layout(sample: pl.DataFrame, long: Sequence[str], seed: int) -> _Layout:
    """What is made of each column of a sample; `long` are texts and number lists."""
    short = [name for name in sample.columns if name not in long]
    return _Layout(
        columns=tuple(column for name in short for column in _columns(sample[name])),
        wide=tuple(one for name in long if (one := wide(sample[name], seed)) is not None),
    )


def _columns(values: pl.Series) -> list[_Column]:
    """What is made of one column; nothing of one that is constant."""
    import polars as pl

    name, kind = values.name, values.dtype
    if kind.is_temporal() and kind != pl.Duration:
        parts = [_Column(name=name, part=part) for part in _PARTS]
        return [part for part in parts if _numbers(part, values).fill_nan(None).n_unique() > 1]
    if values.n_unique() < 2:
        return []
    if kind.is_numeric() or kind == pl.Duration:
        return [_Column(name=name)]
    counted = values.cast(pl.String).drop_nulls().value_counts(name="\0count")
    ordered = counted.sort(["\0count", name], descending=[True, False])
    return [_Column(name=name, common=ordered[name].head(_WORDS))]


def _table(columns: Sequence[_Column], frame: pl.DataFrame) -> Array:
    """The columns as float64, shape (rows, columns); what is missing or infinite is NaN."""
    import numpy as np

    table = np.empty((len(frame), len(columns)))
    for place, column in enumerate(columns):
        table[:, place] = _numbers(column, frame[column.name]).to_numpy()
    table[np.isinf(table)] = np.nan
    # sklearn cuts halfway between two values, and the sum of these has to be a number.
    return np.clip(table, -_HUGE, _HUGE, out=table)


def _numbers(column: _Column, values: pl.Series) -> pl.Series:
    """Numbers of one column; of words the codes 0, 1, ... of the common ones, then all others'."""
    import polars as pl

    if column.part:
        return _part(values, column.part)
    if column.common is None:
        plain = values.to_physical() if values.dtype.is_temporal() else values
        return plain.cast(pl.Float64)
    words, codes = values.cast(pl.String), pl.Series(range(len(column.common)), dtype=pl.Float64)
    coded = words.replace_strict(
        column.common, codes, default=float(len(codes)), return_dtype=pl.Float64
    )
    return pl.select(pl.when(words.is_not_null()).then(coded)).to_series()


def _part(values: pl.Series, part: str) -> pl.Series:
    """The year, month, weekday or hour of times; nulls where their type has no such part."""
    import polars as pl

    without = {"Date": ("hour",), "Time": ("year", "month", "weekday")}
    if part in without.get(str(values.dtype), ()):
        return pl.Series(values.name, [None] * len(values), dtype=pl.Float64)
    found: pl.Series = getattr(values.dt, part)()
    return found.cast(pl.Float64)


def _threads(rows: int) -> Any:
    import sklearn.ensemble  # noqa: F401  loads the OpenMP whose threads are limited
    from threadpoolctl import threadpool_limits

    # On few rows a second thread gains nothing, and on a busy machine it waits, spinning.
    return threadpool_limits(1 if rows < _FEW else None, user_api="openmp")


def _of_trees(
    table: Array,
    drawn: Array,
    labels: Array,
    is_word: Sequence[bool],
    parts: Callable[[], Iterable[tuple[Array, Array]]],
    *,
    seed: int,
) -> Array:
    """As :func:`guards.data.many_labels.many_labels`, by trees, for every class a number."""
    import numpy as np

    cuts = range(REPEATS if len(labels) <= _REPEATED else 1)
    probabilities = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    for cut in cuts:
        held = folds(labels, FOLDS, np.random.default_rng([seed, cut]))
        models = _fitted(table, labels[drawn], held[drawn], is_word, seed + cut)
        for places, part in parts():
            _ask(models, held, places, part, probabilities)
    probabilities /= len(cuts)
    return probabilities


def _fitted(
    table: Array, labels: Array, held: Array, is_word: Sequence[bool], seed: int
) -> list[_Model]:
    """For every fold a model that was trained on the rows of the others."""
    import numpy as np

    models = []
    for fold in range(FOLDS):
        seen = np.flatnonzero(held != fold)
        # A column of which these rows have no value at all has no bins, and sklearn crashes on it.
        shown = table[seen]
        blank = np.asarray(np.isnan(shown).all(axis=0))
        shown[:, blank] = 0.0
        model = _trees(is_word, int(labels.max()) + 1, seed).fit(shown, labels[seen])
        models.append(_Model(fitted=model, blank=blank))
    return models


def _trees(is_word: Sequence[bool], classes: int, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Each turn grows a tree for every class, so of several there are fewer turns and lighter trees.
    several = classes >= _SEVERAL
    return HistGradientBoostingClassifier(
        max_iter=TREES // 2 if several else TREES,
        learning_rate=0.2 if several else 0.12,
        max_bins=64 if several else 255,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        l2_regularization=1.0,
        categorical_features=list(is_word),
        early_stopping=False,
        random_state=seed % 2**32,
    )


def _ask(
    models: Sequence[_Model], held: Array, places: Array, table: Array, probabilities: Array
) -> None:
    """Add what the models say of these rows, each asked of the one that did not see its fold."""
    import numpy as np

    for fold, model in enumerate(models):
        inside = np.flatnonzero(held[places] == fold)
        step = max(1, _ASKED // len(model.fitted.classes_))
        for first in range(0, len(inside), step):
            some = inside[first : first + step]
            told = model.fitted.predict_proba(np.where(model.blank, 0.0, table[some]))
            probabilities[np.ix_(places[some], model.fitted.classes_)] += told
