"""Ridge regression of label indicators on rows, and what it says of rows that it never saw.

    Y ~ 1 m' + X B,      B = (X'X + a I)^-1 X'Y,  X and Y centred, the intercept not penalised

With the hat matrix H = 1/n + X (X'X + a I)^-1 X' the residuals of a group g of rows, had the model
been fitted without them, are (I - H_gg)^-1 e_g (Allen's PRESS for groups): exact, and no refit. So
every cell of a table can be judged by a model that none of its rows has shaped, thousands of them
in the time of a few fits. A model of sums is blunt on purpose: it cannot learn what a few rows
share, unless one column of the design says it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PENALTY = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ridge:
    """A fit on n rows of p columns and k classes, with what leaving rows out takes.

    `design` (n, p) and `wanted` (n, k) are centred; `means` (k,) the class shares, `gram` (p, p)
    is X'X + a I, `moments` (p, k) X'Y, `half` (n, p) X (X'X + a I)^-1, `residual` (n, k).
    """

    design: Floats
    wanted: Floats
    means: Floats
    gram: Floats
    moments: Floats
    half: Floats
    residual: Floats


def fit(design: npt.ArrayLike, labels: Ints, classes: int) -> Ridge:
    """Fit rows (n, p) to labels (n,) in range(classes).

    The penalty a is PENALTY times the sum of squares of the whole centred design, so that no
    unit and no number of columns decides.
    """
    given = np.asarray(design, np.float64)
    centred = given - given.mean(0)
    indicator = np.eye(classes)[labels]
    means = indicator.mean(0)
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += max(PENALTY * float(np.trace(gram)), 1e-9)
    moments = centred.T @ (indicator - means)
    half = np.linalg.solve(gram, centred.T).T
    return Ridge(
        design=centred,
        wanted=indicator - means,
        means=means,
        gram=gram,
        moments=moments,
        half=half,
        residual=indicator - means - half @ moments,
    )


def one_out(model: Ridge) -> Floats:
    """The scores (n, k) of every row by the model without it; they sum to 1 over the classes."""
    leverage = (model.half * model.design).sum(1) + 1 / len(model.design)
    left = model.residual / (1 - np.minimum(leverage, 1 - 1e-9))[:, None]
    scores: Floats = model.wanted - left + model.means
    return scores


def without(model: Ridge, rows: Ints) -> Floats:
    """The scores (m, k) of some rows (m < n) by the model without any of them."""
    n, p = model.design.shape
    inside = model.design[rows]
    if len(rows) <= p:
        hat = model.half[rows] @ inside.T + 1 / n
        left = np.linalg.solve(np.eye(len(rows)) - hat, model.residual[rows])
        return model.wanted[rows] - left + model.means
    # Many rows: refitting is cheaper. The rest has other means, as X and Y summed to nought.
    rest = n - len(rows)
    middle, share = -inside.sum(0) / rest, -model.wanted[rows].sum(0) / rest
    gram = model.gram - inside.T @ inside - rest * np.outer(middle, middle)
    moments = model.moments - inside.T @ model.wanted[rows] - rest * np.outer(middle, share)
    scores: Floats = (inside - middle) @ np.linalg.solve(gram, moments) + share + model.means
    return scores
