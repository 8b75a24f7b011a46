"""What a statistic would be if nothing were wrong: a one-component null, and p-values from it.

A class without a hidden minority is modelled as one heavy-tailed component, a multivariate t with
the class's own spectrum and kurtosis. Draws go through the very functions that the data went
through, selection of the subspace included. Natural classes have sub-classes all the same, so
a small p-value says "not one blob", never "poison": the caller needs a second, independent fact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

MAX_DF = 200.0  # by then the t is a Gaussian for every purpose here


def degrees_of_freedom(squared_norms: npt.ArrayLike, dimensions: int) -> float:
    """The t's degrees of freedom by moments, from squared Mahalanobis lengths, shape (n,).

    Mardia's ratio m = E[D^4]/(E[D^2])^2 is (d + 2)/d (v - 2)/(v - 4) for a d-dimensional t,
    so with e = m d/(d + 2): v = (4 e - 2)/(e - 1). Lies in [4.5, MAX_DF].
    """
    lengths = np.asarray(squared_norms, np.float64)
    mean = lengths.mean()
    if mean <= 0:
        return MAX_DF
    excess = (lengths**2).mean() / mean**2 * dimensions / (dimensions + 2)
    return float(np.clip((4 * excess - 2) / (excess - 1), 4.5, MAX_DF)) if excess > 1 else MAX_DF


def draw_t(deviations: Tensor, df: Tensor, mask: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw every group from its own multivariate t, in the basis of its principal directions.

    Args:
        deviations: (groups, d) standard deviations along them.
        df: (groups,) degrees of freedom, above 2; the covariance is kept at `deviations` squared.
        mask: (groups, longest) bool, the rows that exist.
        rng: draws on the CPU, so that every device sees the same.

    Returns:
        float32 (groups, longest, d) on the device of `deviations`, padding 0.
    """
    import torch

    v = df.double().cpu().numpy()[:, None]
    stretch = np.sqrt((v - 2) / rng.chisquare(v, tuple(mask.shape))).astype(np.float32)
    normal = rng.standard_normal((*mask.shape, deviations.shape[1]), np.float32)
    drawn = torch.from_numpy(normal * stretch[..., None]).to(deviations.device)
    return drawn * deviations[:, None].float() * mask[..., None]


def max_null(
    observed: npt.ArrayLike, null: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """p-values for each group against the null of the maximum over groups.

    Args:
        observed: (groups,), larger is more suspicious.
        null: (draws, groups), the same statistic of the same groups under the null.

    Returns:
        `(p_values, excess)`, each (groups,): with z the statistic less the group's null mean, over
        the null's standard deviation, p = (1 + #{max over groups of the null's z >= z})/(1 + B)
        (never 0; Phipson & Smyth 2010), which holds the family level whatever the number of
        groups; and z itself.
    """
    draws = np.asarray(null, np.float64)
    mean, spread = draws.mean(0), np.maximum(draws.std(0, ddof=1), 1e-9)
    excess = (np.asarray(observed, np.float64) - mean) / spread
    highest = np.sort(((draws - mean) / spread).max(1))
    at_least = len(highest) - np.searchsorted(highest, excess, side="left")
    return (1 + at_least) / (1 + len(highest)), excess
