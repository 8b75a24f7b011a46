"""Has a value moved further than a few earlier ones lead one to expect?

Groups (classes, sources) each have a new value and m earlier ones. If they are alike, the new value
lies around the earlier mean with the variance s^2 (1 + 1/m) of a prediction, and

    t = (x - mean)/(s~ sqrt(1 + 1/m)),    s~^2 = (d_0 s_0^2 + (m - 1) s^2)/(d_0 + m - 1)

is Student's with d_0 + m - 1 degrees of freedom, where s_0^2 is the variance within groups pooled
over all of them (the moderated t of Smyth 2004, with d_0 fixed and small: groups differ). Three
values say next to nothing of a variance by themselves; their neighbours help. `floor` bounds s~
below, since earlier versions that are nearly the same data say nothing of what new data will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEAST = 3
PRIOR_DF = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How each group moved; all (groups,).

    `p_values` are two-sided, 1 where nothing is known; `change` is in the statistic's own unit;
    `before` the earlier mean, NaN where nothing is known.
    """

    p_values: Floats
    change: Floats
    before: Floats


def moved(new: npt.ArrayLike, earlier: npt.ArrayLike, *, floor: float, least: int = LEAST) -> Moved:
    """Hold each group's new value against its earlier ones.

    Args:
        new: (groups,); NaN where the group has no value now.
        earlier: (versions, groups); NaN where a version has none.
        floor: the least standard deviation that is believed, in the unit of the values.
        least: earlier values without which a group is not judged; at least 2.
    """
    from scipy.stats import t

    now = np.asarray(new, np.float64)
    past = np.asarray(earlier, np.float64).reshape(-1, len(now))
    known = ~np.isnan(past)
    count = known.sum(0)
    judged = (count >= least) & ~np.isnan(now)
    mean = np.where(known, past, 0.0).sum(0) / np.maximum(count, 1)
    squares = (np.where(known, past - mean, 0.0) ** 2).sum(0)
    free = np.maximum(count - 1, 0)
    pooled = squares[judged].sum() / max(float(free[judged].sum()), 1.0)
    variance = (PRIOR_DF * pooled + squares) / (PRIOR_DF + free)
    spread = np.sqrt(variance).clip(floor) * np.sqrt(1 + 1 / np.maximum(count, 1))
    change = np.where(judged, now - mean, 0.0)
    p_values = np.where(judged, 2 * t.sf(np.abs(change) / spread, PRIOR_DF + free), 1.0)
    return Moved(p_values=p_values, change=change, before=np.where(judged, mean, np.nan))
