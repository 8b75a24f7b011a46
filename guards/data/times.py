"""When each row happened: the column that says so, as numbers that can be put in order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guards.data.dataset import Dataset
from guards.errors import Skip
from guards.text import printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SECONDS_A_DAY = 86_400.0


def time_column(dataset: Dataset, declared: str = "") -> str | None:
    """The column that was `declared`, else the first feature, by name, that holds dates.

    Raises:
        Skip: the declared column is not there, or holds neither times nor numbers.
    """
    if declared:
        kind = dataset.schema.get(declared, "")
        if not kind.startswith(("Date", "Int", "UInt", "Float")):
            told = f"holds {kind}" if kind else "is not there"
            raise Skip(f"the column of times, {printable(declared)[:60]}, {told}; name another one")
        return declared
    dated = [name for name in dataset.roles.features if dataset.schema[name].startswith("Date")]
    return dated[0] if dated else None


def times_of(dataset: Dataset, name: str) -> npt.NDArray[np.float64]:
    """Seconds since 1970 (numbers as they are), (rows,) in global row order; NaN for none."""
    import polars as pl

    values = dataset.frame([name]).to_series()
    if values.dtype == pl.Date:
        return values.to_physical().cast(pl.Float64).to_numpy() * _SECONDS_A_DAY
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.epoch("us").cast(pl.Float64).to_numpy() / 1e6
    return values.cast(pl.Float64).to_numpy()


def told(dataset: Dataset, name: str, moment: float) -> str:
    """A moment of that column for people: the minute, the day, or the number."""
    kind = dataset.schema[name]
    if not kind.startswith("Date"):
        return f"{moment:.10g}"
    try:
        date = datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{moment:.10g} s"
    return date.strftime("%Y-%m-%d %H:%M" if kind.startswith("Datetime") else "%Y-%m-%d")
