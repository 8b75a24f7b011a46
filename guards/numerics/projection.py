"""A class laid flat: how far each row lies towards the held ones, and one direction across.

Along: the ridge discriminant of held against the rest (numerics/discriminant.py), every row scored
by one that did not see it, so that the gap between the two is no artefact of having looked for it.
Across: the leading principal direction of the class once the difference of the two means is taken
out. Both in robust standard deviations of the rows that are not held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.numerics.discriminant import FOLDS, area_under_curve, seed_scores

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """`along` and `across` (n,); `auc`, how well `along` parts the held rows from the rest."""

    along: Floats
    across: Floats
    auc: float


def project(features: npt.ArrayLike, held: Bools, rng: np.random.Generator) -> Projection | None:
    """Project one class (n, d); `held` (n,) bool. None with fewer than FOLDS rows of either kind.

    `rng` assigns the folds. The sign of `across` is that of its largest loading.
    """
    if min(held.sum(), (~held).sum()) < FOLDS:
        return None
    wide = np.asarray(features, np.float64).reshape(len(held), -1)
    along = seed_scores(wide, held, rng)
    return Projection(along=along, across=_across(wide, held), auc=area_under_curve(along, held))


def _across(wide: Floats, held: Bools) -> Floats:
    gap = wide[held].mean(0) - wide[~held].mean(0)
    unit = gap / (np.linalg.norm(gap) + 1e-12)
    centred = wide - wide.mean(0)
    centred -= (centred @ unit)[:, None] * unit
    _, vectors = np.linalg.eigh(centred.T @ centred)
    leading = vectors[:, -1] * np.sign(vectors[np.abs(vectors[:, -1]).argmax(), -1])
    scores = centred @ leading
    middle = np.median(scores[~held])
    spread = 1.4826 * np.median(np.abs(scores[~held] - middle)) + 1e-12
    found: Floats = (scores - middle) / spread
    return found
