"""The null of :mod:`guards.numerics.screen`: tabulated over a class's rows and its tail.

The screen's statistics do not know the width of the features, the class's covariance or the
directions, so their law under one elliptical component is drawn once for all data, as t samples
that go through the same :func:`guards.numerics.screen.look`: TABLE holds their quantiles for each
rank, size and degrees of freedom. A class finds its degrees of freedom by its *heaviness*, the log
ratio of the 90th and 50th percentile of its rows' squared lengths, which a few planted rows cannot
move as they move a kurtosis. Between the nodes quantiles are interpolated, linearly in log rows
and in heaviness; beyond the last one log p goes on in a straight line, which errs to the large
side for tails that bend down as these do. A class of more rows than the largest node is held
against that node, which is too wide for it: it errs to the same side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guards.numerics.screen_table import TABLE

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

LEVELS = (0.95, 0.8, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
FREEDOM = (200.0, 20.0, 8.0, 5.0, 3.5, 2.5)
ROWS = {
    1: (17, 32, 64, 256, 1024, 4096),
    2: (17, 32, 64, 256, 1024, 4096),
    4: (33, 64, 128, 256, 1024, 4096),
    8: (65, 128, 256, 512, 1024, 2048, 4096),
}
KINDS = 2  # spectral, cluster
LEAST_P = 1e-12
ROUNDED = 6e-4  # the table's last digit


def draw_null(rows: int, df: float, rank: int, draws: int, rng: np.random.Generator) -> Floats:
    """(3, draws): unevenness, silhouette and heaviness of one-component classes of `rows` rows."""
    import torch

    from guards.numerics import calibration, spectrum
    from guards.numerics.screen import look

    half = np.tile([rows - rows // 2, rows // 2], draws)
    mask = torch.arange(int(half.max()))[None] < torch.from_numpy(half)[:, None]
    freedom = torch.full((len(half),), df)
    drawn = calibration.draw_t(torch.ones(len(half), rank), freedom, mask, rng)
    seen = look(spectrum.centre(drawn, mask), mask)
    each = torch.stack((seen.lopsided, seen.silhouette, seen.heaviness)).double()
    pairs: Floats = each.view(3, draws, 2).mean(2).numpy()
    return pairs


def upper_tail(
    kind: int, statistic: Floats, rows: npt.NDArray[np.int64], rank: int, heaviness: Floats
) -> Floats:
    """P(null >= statistic) of single classes, (classes,), uncorrected.

    Args:
        kind: 0 unevenness, 1 silhouette.
        statistic: (classes,), the mean of both halves.
        rows: (classes,), of the whole class.
        rank: the directions that were looked at, one of ROWS.
        heaviness: (classes,), the mean of both halves.
    """
    nodes = np.log(ROWS[rank])
    place = np.clip(np.interp(np.log(rows), nodes, np.arange(len(nodes))), 0, len(nodes) - 1)
    below = np.minimum(place.astype(np.int64), len(nodes) - 2)
    share = (place - below)[:, None]
    low, high = (_quantiles(kind, rank, below + step, heaviness) for step in (0, 1))
    return _tail((1 - share) * low + share * high, statistic)


def _quantiles(kind: int, rank: int, node: npt.NDArray[np.int64], heaviness: Floats) -> Floats:
    """(classes, levels), interpolated over heaviness at each class's node of rows."""
    found = np.empty((len(node), len(LEVELS)))
    for one in np.unique(node):
        of = node == one
        table = np.array(TABLE[rank][one])  # (df, 1 + KINDS * levels), heaviness first, ascending
        levels = table[:, 1:].reshape(len(table), KINDS, len(LEVELS))[:, kind]
        for level in range(len(LEVELS)):
            found[of, level] = np.interp(heaviness[of], table[:, 0], levels[:, level])
    return found


def _tail(quantiles: Floats, statistic: Floats) -> Floats:
    """The p-values, by log p linear between the quantiles (classes, levels) and beyond."""
    logs = np.log(LEVELS)
    rising = np.maximum.accumulate(quantiles, axis=1)
    # Small classes have few values and many ties: a tie has the largest p of all that share it.
    statistic = statistic - ROUNDED
    left = np.clip((rising < statistic[:, None]).sum(1) - 1, 0, len(LEVELS) - 2)
    everyone = np.arange(len(left))
    # The last stretch is noisy in the table: beyond it the slope is that of the last three.
    start = np.where(statistic > rising[:, -1], len(LEVELS) - 4, left)
    end = np.where(statistic > rising[:, -1], len(LEVELS) - 1, left + 1)
    span = rising[everyone, end] - rising[everyone, start]
    slope = (logs[end] - logs[start]) / np.maximum(span, 1e-9)
    log_p = logs[end] + slope * (statistic - rising[everyone, end])
    p_values: Floats = np.exp(np.clip(log_p, np.log(LEAST_P), 0.0))
    return p_values
