"""Did a column move in one window of time, and not in the others?

The batch's rows are cut by time into windows of like many rows; each is held against the whole
reference, and against the other windows, as a group of a categorical column is
(:mod:`guards.numerics.cells`), with the dispersion of the reference's own blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from guards.data.contamination import dispersion_of
from guards.data.dataset import Dataset
from guards.data.profiles.nouns import CategoryColumn, NumericColumn, Profile, written
from guards.data.profiles.observe import Observed, encoded, numeric_part
from guards.numerics.cells import local_excess, moved_p_values, moved_shares
from guards.numerics.sketches import quantiles

Floats = npt.NDArray[np.float64]

WINDOWS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The column of times, and where it is cut: `names` (windows,)."""

    time: str
    edges: tuple[float, ...]
    names: tuple[str, ...]

    def codes(self, times: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The window of each row, (n,); -1 for rows without a time."""
        found = np.searchsorted(self.edges, times, side="left").astype(np.int64)
        return np.where(np.isfinite(times), found, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedWindow:
    """A window in which `column` `moved` beyond its peers by `excess`, as shares of its `rows`.

    `spread` is how far a block of the reference lies from the others.
    """

    column: str
    window: str
    rows: int
    moved: float
    excess: float
    p_value: float
    spread: float


def windows(seen: Observed, own: Profile) -> Windows | None:
    """How a batch is cut by its first column of moments; `own` is its profile. None without one."""
    time = next((column for column in own.columns if _is_time(column, seen)), None)
    if not isinstance(time, NumericColumn):
        return None
    cuts = np.unique(quantiles(time.steps, np.arange(1, WINDOWS) / WINDOWS)).tolist()
    told = [written(edge, "moment") for edge in cuts]
    inner = [f"after {low} until {high}" for low, high in pairwise(told)]
    names = (f"until {told[0]}", *inner, f"after {told[-1]}")
    return Windows(time=time.name, edges=tuple(cuts), names=names)


def moved_windows(
    dataset: Dataset, seen: Observed, cut: Windows, columns: Sequence[str]
) -> Iterator[MovedWindow]:
    """How each of these columns moved in each window; p-values times what was looked at."""
    names = [name for name in columns if name != cut.time]
    tables = _tables(dataset, seen, cut, names)
    many, blocks = len(cut.names) * max(len(names), 1), seen.profile.blocks
    for name in names:
        column, now = seen.profile.by_name[name], tables[name]
        part = column if isinstance(column, CategoryColumn) else numeric_part(column)
        then = np.tile(np.asarray(column.cells, np.int64), (len(now), 1))
        moved = moved_shares(then, now)
        excess = local_excess(moved, now.sum(axis=1) > 0)
        rho = dispersion_of(column, blocks)
        chance = np.minimum(moved_p_values(then, now, rho=rho, blocks=len(blocks)) * many, 1.0)
        for place, window in enumerate(cut.names):
            yield MovedWindow(
                column=name,
                window=window,
                rows=int(now[place].sum()),
                moved=round(float(moved[place]), 4),
                excess=round(float(excess[place]), 4),
                p_value=float(f"{chance[place]:.3g}"),
                spread=part.spread,
            )


def _is_time(column: object, seen: Observed) -> bool:
    known = isinstance(column, NumericColumn) and column.form == "moment" and column.count > 0
    return known and getattr(column, "name", "") in seen.columns


def _tables(
    dataset: Dataset, seen: Observed, cut: Windows, names: Sequence[str]
) -> dict[str, npt.NDArray[np.int64]]:
    """Rows of each window in each bin of each column, (windows, bins)."""
    found = {
        name: np.zeros((len(cut.names), len(seen.profile.by_name[name].bins)), np.int64)
        for name in names
    }
    for part in encoded(dataset, seen.profile, sorted({*names, cut.time})) if names else ():
        window = cut.codes(part.values[cut.time].to_numpy())
        timed = window >= 0
        for name, table in found.items():
            np.add.at(table, (window[timed], part.codes[name][timed]), 1)
    return found
