"""What the columns say of labels of which there are many: the likely ones of each row, sparse.

Trees would be grown for every label. Instead words become a column for each common value, numbers
their ranks, and the views of :mod:`guards.numerics.many_classes` are asked, in five folds as the
trees are: no row's label has any say in what a model says of it, but for the three shares by which
the views are added, which are the same for all rows. Once over the folds is enough: neighbours and
means hang less on the cut than trees do.

Memory is the sample, 300 bytes a row for what the views say, and 8 for each label that is likely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from guards.data.labelled import FOLDS
from guards.numerics.conformal import folds

if TYPE_CHECKING:
    import numpy as np

    from guards.numerics.likely import Likely
    from guards.numerics.many_classes import Fitted, Views

    Array = np.ndarray[Any, Any]
    Parts = Iterable[tuple[Array, Array]]

_RANKS = 4096
# Rows that vote: so many that asked rows times them are at most this, or _LEAST_NEAR.
_PAIRS, _LEAST_NEAR = 4_000_000_000, 20_000


def many_labels(
    table: Array,
    drawn: Array,
    labels: Array,
    is_word: Sequence[bool],
    parts: Callable[[], Parts],
    *,
    seed: int,
) -> Likely:
    """Probabilities of every label, by models that did not see the row.

    Args:
        table: (m, columns), the rows that models are trained on; NaN where a value is missing.
        drawn: int (m,), their places among all rows.
        labels: int (n,), of all rows.
        is_word: (columns,), whether a column's numbers are codes of words.
        parts: gives places among all rows, and their table, until every row was given once.
        seed: decides the folds, and which rows vote.
    """
    import numpy as np

    from guards.numerics.many_classes import mixed

    classes, generator = int(labels.max()) + 1, np.random.default_rng([seed, 0])
    held = folds(labels, FOLDS, generator)
    space = _space(table, is_word)
    models = [
        _fitted(space(table[seen]), labels[drawn[seen]], classes, len(labels), generator)
        for seen in (np.flatnonzero(held[drawn] != fold) for fold in range(FOLDS))
    ]
    return mixed(_asked(models, space, held, parts()), labels, classes)


def _space(table: Array, is_word: Sequence[bool]) -> Callable[[Array], Array]:
    """How rows become numbers that distances are measured by, as float64, after those of a table.

    Of words each code is a column, and another value is none of them; numbers are their ranks, the
    middle where they are missing, and what is missing is a column of its own.
    """
    import numpy as np

    known = [column[~np.isnan(column)] for column in table.T]
    words = [np.unique(codes) if word else None for codes, word in zip(known, is_word, strict=True)]
    grids = [_grid(numbers) for numbers in known]
    gaps = [bool(np.isnan(column).any()) for column in table.T]

    def space(rows: Array) -> Array:
        found = []
        for column, codes, grid, gap in zip(rows.T, words, grids, gaps, strict=True):
            if codes is not None:
                found.append(column[:, None] == codes)
                continue
            lacking = np.isnan(column)
            ranks = [np.searchsorted(grid, column, side=side) for side in ("left", "right")]
            found.append(np.where(lacking, 0.5, (ranks[0] + ranks[1]) / (2 * len(grid)))[:, None])
            if gap:
                found.append(lacking[:, None])
        return np.hstack(found, dtype=np.float64)

    return space


def _grid(numbers: Array) -> Array:
    """Numbers that part a column evenly, ascending; one where there is none."""
    import numpy as np

    if not len(numbers):
        return np.zeros(1)
    places = np.linspace(0, len(numbers) - 1, min(_RANKS, len(numbers))).round().astype(int)
    grid: Array = np.sort(numbers)[places]
    return grid


def _fitted(
    points: Array, labels: Array, classes: int, asked: int, generator: np.random.Generator
) -> Fitted:
    from guards.numerics.many_classes import fit

    most = max(_LEAST_NEAR, _PAIRS // asked)
    # In an order that is not that of the rows, which may be sorted by label.
    return fit(points, labels, classes, generator.permutation(len(points))[:most])


def _asked(
    models: Sequence[Fitted], space: Callable[[Array], Array], held: Array, parts: Parts
) -> Views:
    """What every row's own model says of it."""
    import numpy as np

    from guards.numerics.many_classes import Views, ask

    kept: dict[str, Array] = {}
    for places, part in parts:
        points = space(part)
        for fold, model in enumerate(models):
            inside = np.flatnonzero(held[places] == fold)
            told = ask(model, points[inside])
            for name in Views.__slots__:
                said = getattr(told, name)
                if name not in kept:
                    kept[name] = np.zeros((len(held), said.shape[1]), said.dtype)
                kept[name][places[inside]] = said
    return Views(**kept)
