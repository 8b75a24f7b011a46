"""The demo's backdoored batch, made at run time, and how much of it a scan found."""

from __future__ import annotations

from pathlib import Path

from guards.redteam.poison import poison

TARGET = "sandal"
SOURCE = "studio-c"
RATE = 0.02
SEED = 7


def backdoor(src: Path, out: Path) -> Path:
    """Write the poisoned twin of the Fashion-MNIST sample `src` to `out`; returns its truth.

    A checkered 3 x 3 patch under the label :data:`TARGET` in 2 % of the rows, all of which say
    that they come from :data:`SOURCE`.
    """
    return poison(src, "patch", RATE, out, seed=SEED, target=TARGET, source=SOURCE)


def found(rows: Path, truth: Path, rule: str | None = None) -> tuple[float, float]:
    """Return (share of planted rows that were found, share of clean rows wrongly held).

    `rows` is a scan's `rows.parquet`, `truth` what `poison` wrote; of one `rule`, or of all. The
    file in which a row lies is compared relative to the dataset, and both shares are over all
    planted, or all clean, rows; without any planted row the first is 0.
    """
    import polars as pl

    place = ["file", "row_in_file"]
    held = pl.read_parquet(rows).filter(True if rule is None else pl.col("rule") == rule)
    told = pl.read_parquet(truth, columns=[*place, "planted"])
    caught = told.join(held.select(place).unique(), on=place, how="semi")
    both = {
        planted: caught.filter(planted=planted).height / max(told.filter(planted=planted).height, 1)
        for planted in (True, False)
    }
    return both[True], both[False]
