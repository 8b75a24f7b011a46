"""Do rows that were chosen without regard to their labels bear one that nothing else explains?

A group of rows that came as a surprise, by their number, is held against a model of sums that none
of them shaped (:mod:`guards.numerics.turns`): O of its N rows bear a label where it expects E. Who
counts rows says nothing of labels, so the level is corrected over the groups that are asked about,
which are few, and not over all that were counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.data.case import Case
from guards.errors import Skip
from guards.numerics import turns
from guards.numerics.enrichment import beta_binomial_tail

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.row_space import RowSpace

    Ints = npt.NDArray[np.int64]

LEAST = 8  # rows that bear the label beyond what is expected
TURN = 0.6  # of the rows that could have borne another label


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turned:
    """`hits` of `rows` rows bear `label`, where `expected` would; `bearing` (hits,) are which.

    Rows are those that a model was fitted to, `bearing` their global numbers; `p_value` is
    corrected over labels and groups.
    """

    label: str
    hits: int
    rows: int
    expected: float
    p_value: float
    bearing: Ints


def turned(case: Case, groups: Sequence[Sequence[int]]) -> list[Turned | None]:
    """The label that each group of global rows was turned to, the least likely one, if any.

    None for a group of which no label stands out; for all where nothing can be expected of labels,
    as without any, with too few rows or too many labels.
    """
    none: list[Turned | None] = [None] * len(groups)
    if not groups or not case.roles.label:
        return none
    try:
        space, view = case.row_space, case.label_view
    except Skip:
        return none
    tests = len(groups) * len(space.classes)
    return [_turned(space, view, _places(space, group), tests) for group in groups]


def _places(space: RowSpace, rows: Sequence[int]) -> Ints:
    """Where those of the rows that were looked at are."""
    return np.flatnonzero(np.isin(space.rows, np.asarray(rows, np.int64)))


def _turned(space: RowSpace, view: turns.View, places: Ints, tests: int) -> Turned | None:
    many, classes = len(places), len(space.classes)
    if many < LEAST or many == len(space.rows):
        return None
    hits = np.bincount(space.labels[places], minlength=classes)
    expected = turns.left_out(view, places).sum(axis=0)
    share = turns.turn(hits, expected, many)
    able = np.flatnonzero((share >= TURN) & (hits - expected >= LEAST))
    tails = [
        beta_binomial_tail(hits[c], many, min(expected[c] / many, 1 - 1e-9), turns.PRIOR)
        for c in able
    ]
    if not tails:
        return None
    best = int(np.argmin(tails))
    label = int(able[best])
    return Turned(
        label=space.classes[label],
        hits=int(hits[label]),
        rows=many,
        expected=round(float(expected[label]), 2),
        p_value=float(f"{min(tails[best] * tests, 1.0):.3g}"),
        bearing=space.rows[places[space.labels[places] == label]],
    )
