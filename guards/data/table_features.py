"""What the scalar columns say of each label: probabilities by models that did not see it.

Five folds, stratified by label; a histogram gradient boosting classifier (scikit-learn) is
trained on four and asked about the fifth, so no row's label has any say in its own probability.
Small tables are cut in folds three times over and the answers averaged, so that the seed decides
little. Measured on 6,000 rows of 9 columns: 1 CPU second.
Numbers go in as they are, missing ones included; words as the codes of their 60 commonest values.
Source and id are left out: a model that knows the source would learn the source's errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.data.dataset import Dataset, short_words
from guards.errors import Skip

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

FOLDS = 5
TREES = 60
REPEATS = 3
_WORDS = 60
# Above this many rows a model is trained on a sample of its folds, asked about all.
_TRAINED = 200_000
_FEW = 50_000
# Above this many rows one cut is steady enough.
_REPEATED = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFeatures:
    """Out-of-fold probabilities beside the labels; arrays are over the rows that were kept.

    `rows` are global row numbers, ascending, shape (n,); `labels` codes into `classes`, shape
    (n,); `probabilities` shape (n, classes). `unlabelled` rows have no label; `too_small` are the
    classes with fewer rows than folds, by name, with their rows; neither kind is in the arrays.
    """

    rows: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    classes: tuple[str, ...]
    probabilities: np.ndarray[Any, Any]
    unlabelled: int
    too_small: tuple[tuple[str, int], ...]


def table_features(dataset: Dataset, *, seed: int) -> TableFeatures:
    """Fit and ask the models; the same seed gives the same numbers.

    Raises:
        Skip: fewer than two classes have enough rows, or no column is of any use.
    """
    import numpy as np

    words = label_words(dataset)
    sizes = dict(words.drop_nulls().value_counts().iter_rows())
    classes = tuple(sorted(name for name, rows in sizes.items() if rows >= FOLDS))
    if len(classes) < 2:
        raise Skip(
            f"{len(classes)} of {len(sizes)} classes has {FOLDS} rows or more; a model needs two: "
            "give rows of another class, or another label column"
        )
    codes = dict(zip(classes, range(len(classes)), strict=True))
    coded = words.replace_strict(list(codes), list(codes.values()), default=-1).fill_null(-1)
    rows = np.flatnonzero(coded.to_numpy() >= 0)
    labels = coded.to_numpy()[rows].astype(np.int64)
    table, is_word = _table(dataset)
    seeds = [seed + cut for cut in range(REPEATS if len(rows) <= _REPEATED else 1)]
    cuts = [_out_of_fold(table[rows], labels, is_word, one) for one in seeds]
    return TableFeatures(
        rows=rows,
        labels=labels,
        classes=classes,
        probabilities=np.mean(cuts, axis=0),
        unlabelled=words.null_count(),
        too_small=tuple(sorted((k, v) for k, v in sizes.items() if v < FOLDS)),
    )


def label_words(dataset: Dataset) -> pl.Series:
    """The label of every row as a string; NaN is null. Skip when no column is the label."""
    if dataset.roles.label is None:
        raise Skip("no column has the role label")
    labels = dataset.frame([dataset.roles.label]).to_series()
    return short_words(labels.fill_nan(None) if labels.dtype.is_float() else labels)


def _table(dataset: Dataset) -> tuple[np.ndarray[Any, Any], list[bool]]:
    """The features as float64, shape (rows, columns), and which columns are codes of words."""
    import numpy as np

    from guards.data.profiles.values import values_of

    columns, is_word = [], []
    for name in dataset.roles.features:
        values = values_of(dataset, name)
        if values.n_unique() < 2:
            continue
        is_word.append(not values.dtype.is_numeric())
        columns.append(_coded(values) if is_word[-1] else values.to_numpy())
    if not columns:
        raise Skip("every feature column is constant; nothing could tell the classes apart")
    table = np.column_stack(columns).astype(np.float64)
    table[np.isinf(table)] = np.nan
    return table, is_word


def _coded(words: pl.Series) -> np.ndarray[Any, Any]:
    """The commonest values as 0, 1, ...; all others share the next code; null is NaN."""
    import polars as pl

    counted = words.drop_nulls().value_counts(name="\0count").rename({words.name: "\0value"})
    common = counted.sort(["\0count", "\0value"], descending=[True, False]).head(_WORDS)["\0value"]
    codes = pl.Series(range(len(common)), dtype=pl.Float64)
    replaced = words.replace_strict(
        common, codes, default=float(len(common)), return_dtype=pl.Float64
    )
    return pl.select(pl.when(words.is_not_null()).then(replaced)).to_series().to_numpy()


def _out_of_fold(
    table: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], is_word: list[bool], seed: int
) -> np.ndarray[Any, Any]:
    import sklearn.ensemble  # noqa: F401  loads the OpenMP whose threads are limited
    from threadpoolctl import threadpool_limits

    # On few rows a second thread gains nothing, and on a busy machine it waits, spinning.
    with threadpool_limits(1 if len(labels) < _FEW else None, user_api="openmp"):
        return _asked(table, labels, is_word, seed)


def _asked(
    table: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], is_word: list[bool], seed: int
) -> np.ndarray[Any, Any]:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold

    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    generator = np.random.default_rng(seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed % 2**32)
    for seen, held in folds.split(table, labels):
        if len(seen) > _TRAINED:
            seen = np.sort(generator.choice(seen, _TRAINED, replace=False))
        # A column of which these rows have no value at all has no bins, and sklearn crashes on it.
        blank = np.isnan(table[seen]).all(axis=0)
        shown = np.where(blank, 0.0, table) if blank.any() else table
        model = HistGradientBoostingClassifier(
            max_iter=TREES,
            learning_rate=0.12,
            max_leaf_nodes=15,
            min_samples_leaf=20,
            l2_regularization=1.0,
            categorical_features=is_word,
            early_stopping=False,
            random_state=seed % 2**32,
        )
        model.fit(shown[seen], labels[seen])
        probabilities[np.ix_(held, model.classes_)] = model.predict_proba(shown[held])
    return probabilities
