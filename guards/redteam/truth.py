"""The truth about a poisoned twin: a line for each row, and the attack as it was carried out.

What cannot be read off the rows (seed, settings, the originals of near copies) lies as JSON in the
Parquet file's own metadata, so that the twin and its truth are enough to measure the attack.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guards.data.dataset import Dataset
from guards.errors import Unreadable
from guards.redteam.attacks import Attack, Settled, find
from guards.redteam.plan import Plan, names

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


def write_truth(
    dataset: Dataset, chosen: Plan, path: Path, *, twin: Dataset, was: NDArray[np.int64]
) -> None:
    """Write `row_id, file, row_in_file, planted, cover, original_*, attack, target` to `path`.

    Rows are those of the `twin`, named as a scan of it names them; `was` (n,) are the rows of the
    `dataset` that they were made of.
    """
    import polars as pl

    located = twin.locate(np.arange(twin.rows))
    sources = names(dataset, "source")[was] if dataset.roles.source else [None] * len(was)
    ids = located["row_id"] if twin is dataset else names(dataset, "id")[was]
    lines = located.select(
        "row_id",
        "file",
        "row_in_file",
        pl.Series("planted", np.isin(was, list(chosen.labels)), pl.Boolean),
        pl.Series("cover", np.isin(was, list(chosen.cover)), pl.Boolean),
        pl.Series("original_label", list(names(dataset, "label")[was]), pl.String),
        pl.Series("original_source", list(sources), pl.String),
        pl.lit(chosen.attack.name).alias("attack"),
        pl.Series("target", [chosen.labels.get(row) for row in was.tolist()], pl.String),
        pl.Series("original_row_id", list(ids), pl.String),
    )
    told = {
        "attack": chosen.attack.name,
        "seed": chosen.seed,
        "settings": dict(chosen.settings),
        "target": chosen.target,
        "originals": np.flatnonzero(np.isin(was, list(chosen.copies.values()))).tolist(),
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
