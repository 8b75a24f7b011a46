"""How much of a batch is not what the reference holds, at least, and where that shows.

Two axes. *Unlike* is the largest bound of any column or pair of columns: seasons count as well as
poison. *Joint* is that of any pair against the reference brought to the batch's own sides
(:mod:`guards.numerics.raking`): what no column shows alone. A season moves columns, so the first is
large and the second is a small part of it; rows that were put in are much of both. Joint takes the
reference's sides as known, so it is close to, and not exactly, of the confidence named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.data.profiles.observe import Observed
from guards.numerics.contamination import lower_bound
from guards.numerics.raking import raked

CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """`share` of the rows, at least, are not like the reference; `where` names the columns."""

    share: float
    where: tuple[str, ...]


def unlike_reference(seen: Observed) -> tuple[Unlike, Unlike]:
    """The bounds in all, and in what two columns do together; each of CONFIDENCE."""
    single = [(one.column.cells, one.cells) for one in seen.columns.values()]
    names = [(name,) for name in seen.columns]
    pairs, sides = [], []
    for pair, counts in zip(seen.profile.pairs, seen.tables, strict=True):
        if counts is not None:
            pairs.append((np.asarray(pair.counts, np.int64), counts))
            sides.append((pair.first, pair.second))
    whole = _bound([*single, *pairs], [*names, *sides])
    return whole, _bound([_moved_along(*both) for both in pairs], sides)


def _moved_along(then: npt.ArrayLike, now: npt.ArrayLike) -> tuple[npt.ArrayLike, npt.ArrayLike]:
    """The reference of a pair with the batch's sides, in as many rows as it has."""
    fitted = raked(then, now)
    return np.rint(fitted * (np.sum(then) / max(fitted.sum(), 1.0))), now


def _bound(
    tables: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]], names: Sequence[tuple[str, ...]]
) -> Unlike:
    # The halves are drawn from a fixed seed: the bound follows from the counts alone.
    found = lower_bound(tables, np.random.default_rng(0), confidence=CONFIDENCE)
    where = names[found.table] if found.share else ()
    return Unlike(share=round(found.share, 4), where=where)
