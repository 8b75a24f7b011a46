"""The labels of a batch beside what models say, with the source and the time of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.data.case import Case
from guards.data.times import time_column, times_of
from guards.data.words import words_of
from guards.errors import Skip

if TYPE_CHECKING:
    import numpy as np

    from guards.data.table_features import TableFeatures
    from guards.numerics.flips import Sure

    Array = np.ndarray[Any, Any]

_TOLD = 200  # sources whose figures are told


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sourced:
    """Arrays over the rows of `features`, (n,): `source` codes into `names`, -1 for none.

    `times` are as :func:`guards.data.times.times_of` gives them, NaN for none, of `column`; `seen`
    is what the models say of each row, and of which they are surest.
    """

    features: TableFeatures
    seen: Sure
    names: tuple[str, ...]
    source: Array
    times: Array
    column: str | None


def sourced(case: Case, *, time: str, sure: float, most: int) -> Sourced:
    """Look at a case: `time` names a column or is empty, `most` sources are told apart.

    Raises:
        Skip: there is neither a second source nor a time; or no model of the labels.
    """
    import numpy as np

    from guards.numerics.flips import surest

    features, column = case.table_features, time_column(case.dataset, time)
    names, source = _sources(case, features.rows, most)
    if len(names) < 2 and column is None:
        raise Skip(f"{len(names)} source(s); what is usual can only be told from other sources")
    times = np.full(len(features.rows), np.nan)
    if column is not None:
        times = times_of(case.dataset, column)[features.rows]
    return Sourced(
        features=features,
        seen=surest(features.probabilities, sure),
        names=names,
        source=source,
        times=times,
        column=column,
    )


def _sources(case: Case, rows: Array, most: int) -> tuple[tuple[str, ...], Array]:
    """The largest sources, and of each row the code of its own, -1 for any other."""
    import numpy as np
    import polars as pl

    column = case.dataset.roles.source
    if column is None:
        return (), np.full(len(rows), -1)
    words = words_of(case.dataset.frame([column]).to_series())[rows]
    top = words.drop_nulls().value_counts(name="\0count").rename({words.name: "\0value"})
    top = top.sort(["\0count", "\0value"], descending=[True, False]).head(most)
    names = tuple(top["\0value"])
    codes = words.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64)
    return names, codes.fill_null(-1).to_numpy()


def tallied(looked: Sourced) -> list[dict[str, Any]]:
    """How many rows of each source are sure, and how many of those are contradicted."""
    import numpy as np

    known, count = looked.source >= 0, len(looked.names)
    sure = known & looked.seen.sure
    wrong = sure & (looked.seen.predicted != looked.features.labels)
    rows, certain, contradicted = (
        np.bincount(looked.source[marked], minlength=count).tolist()
        for marked in (known, sure, wrong)
    )
    return [
        {
            "source": name,
            "rows": rows[place],
            "sure": certain[place],
            "contradicted": contradicted[place],
            "rate": round(contradicted[place] / max(certain[place], 1), 5),
        }
        for place, name in enumerate(looked.names[:_TOLD])
    ]
