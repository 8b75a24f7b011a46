"""The truth about a poisoned twin: a line for each row, and the attack as it was carried out.

What cannot be read off the rows (seed, settings, the originals of near copies) lies as JSON in the
Parquet file's own metadata, so that the twin and its truth are enough to measure the attack.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guards.data.dataset import Dataset
from guards.errors import Unreadable
from guards.redteam.attacks import Attack, Settled, find
from guards.redteam.plan import Plan, names

_KEY = "toadstone.redteam"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was done: `target` is the class that the attack means, None where there is none.

    `settings` are all of the attack's, its victim class as drawn; `originals` the global rows that
    near copies were made of.
    """

    attack: Attack
    seed: int
    settings: Settled
    target: str | None
    originals: tuple[int, ...]


def write_truth(dataset: Dataset, chosen: Plan, path: Path) -> None:
    """Write `row_id, file, row_in_file, planted, cover, original_*, attack, target` to `path`."""
    import polars as pl

    rows = np.arange(dataset.rows)
    sources = names(dataset, "source") if dataset.roles.source else [None] * len(rows)
    lines = dataset.locate(rows).select(
        "row_id",
        "file",
        "row_in_file",
        pl.Series("planted", np.isin(rows, list(chosen.labels)), pl.Boolean),
        pl.Series("cover", np.isin(rows, list(chosen.cover)), pl.Boolean),
        pl.Series("original_label", list(names(dataset, "label")), pl.String),
        pl.Series("original_source", list(sources), pl.String),
        pl.lit(chosen.attack.name).alias("attack"),
        pl.Series("target", [chosen.labels.get(row) for row in rows.tolist()], pl.String),
    )
    told = {
        "attack": chosen.attack.name,
        "seed": chosen.seed,
        "settings": dict(chosen.settings),
        "target": chosen.target,
        "originals": sorted(set(chosen.copies.values())),
    }
    lines.write_parquet(path, metadata={_KEY: json.dumps(told, sort_keys=True)})


def read_told(path: Path) -> Told:
    """The attack as it was carried out; Unreadable when the file does not say."""
    import polars as pl

    try:
        told = json.loads(pl.read_parquet_metadata(path)[_KEY])
    except (KeyError, OSError, pl.exceptions.PolarsError) as error:
        raise Unreadable(f"{path} is no truth of a poisoned twin: {error}") from error
    return Told(
        attack=find(told["attack"]),
        seed=told["seed"],
        settings=told["settings"],
        target=told["target"],
        originals=tuple(told["originals"]),
    )
