"""Crowds in columns of number lists: power by dose and radius, and false alarms, of `crowds`.

Two sets of vectors that have classes, as embeddings do: the 1,797 scans of scikit-learn's digits as
they are (64 numbers), and 6,000 pictures of Fashion-MNIST in their first 64 principal components.
A trial splits the rows in halves at random: the reference, of which the rule gets the stored
profile, and the batch, whose rows are few vectors and nothing else. A crowd takes the place of a
share of the batch's rows: vectors drawn from a normal of `radius` standard deviations of each
dimension around one row of the batch (`row`), or around a point drawn dimension by dimension
within the middle 90 % of the data's range (`point`). `class` plants nothing: the reference has no
row of one of the ten classes, of which the batch has its tenth, as after a new product.

Beside it the local two-sample test that needs the reference's rows: of the 10 nearest of each row
of the batch, in reference and batch together, at least 9 are of the batch (T rows are so); judged
by exchanging rows of both at random on the fixed graph, 200 times, at p <= .01.

*Precision* and *recall* are of the rows that `crowds` holds, medians over its alarms.

    python benchmarks/embeddings_crowds.py --out lines.jsonl
    python benchmarks/embeddings_crowds.py --table lines.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import polars as pl
import runs
import sets

from guards.checks.crowds import Settings, examine
from guards.data.case import Case
from guards.data.dataset import Dataset, open_dataset
from guards.data.profile import Profile, build_profile
from guards.numerics.intervals import clopper_pearson
from guards.provenance.snapshot import Snapshot

SETS = ("digits", "fashion")
ROWS, WIDTH = 6_000, 64
DOSES = (0.005, 0.01, 0.02, 0.05)
NEAREST, NEW, EXCHANGES, ALPHA = 10, 9, 200, 0.01
NONE, CLASS = "none", "class"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--first", type=int, default=100, help="the first trial")
    parser.add_argument("--trials", type=int, default=50, help="of each place, radius and dose")
    parser.add_argument("--nulls", type=int, default=100)
    parser.add_argument("--radii", nargs="+", type=float, default=[0.1])
    parser.add_argument("--sets", nargs="+", default=SETS)
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Trial by trial, so that a run that is cut short has some of everything."""
    planted = [
        (where, r, dose) for where in ("row", "point") for r in given.radii for dose in DOSES
    ]
    for trial in range(max(given.trials, given.nulls)):
        for name in given.sets:
            for where, radius, dose in [(NONE, 0.0, 0.0), (CLASS, 0.0, 0.0), *planted]:
                if trial < (given.nulls if where in (NONE, CLASS) else given.trials):
                    key = f"{name} {where} {radius} {dose} {given.first + trial}"
                    yield key, partial(measured, name, where, radius, dose, given.first + trial)


def measured(name: str, where: str, radius: float, dose: float, trial: int) -> runs.Line:
    reference, batch = halves(name, trial, without=where == CLASS)
    rng = np.random.default_rng([trial, 7])
    rows = rng.permutation(len(batch))[: round(dose * len(batch))]
    if len(rows):
        batch = batch.copy()
        batch[rows] = crowd(batch, where, radius, len(rows), rng)
    said = {"set": name, "where": where, "radius": radius, "dose": dose}
    known = profile_of(name, trial, where == CLASS)
    return {**said, **asked(known, batch, rows), "peer": nearest(reference, batch, rng)}


def crowd(
    batch: np.ndarray, where: str, radius: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    low, high = np.quantile(batch, [0.05, 0.95], axis=0)
    place = batch[rng.integers(len(batch))] if where == "row" else rng.uniform(low, high)
    return rng.normal(place, radius * batch.std(axis=0), (count, batch.shape[1]))


def asked(known: Profile, batch: np.ndarray, planted: np.ndarray) -> runs.Line:
    """What the rule says, and which of its rows are planted."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = opened(batch, Path(folder))
        case = Case(
            snapshot=Snapshot(files=()),
            roles=dataset.roles,
            opened=dataset,
            reference=known,
        )
        found = examine(case, Settings())
    held = {score.row for score in found.row_scores}
    both = len(held & {*planted.tolist()})
    return {
        "alarms": len(found.findings),
        "precision": both / max(len(held), 1),
        "recall": both / max(len(planted), 1),
        "told": [one.summary for one in found.findings],
    }


def nearest(reference: np.ndarray, batch: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether the test that has the rows alarms; one graph, and who is new exchanged."""
    from sklearn.neighbors import NearestNeighbors

    both = np.concatenate([reference, batch])
    graph = NearestNeighbors(n_neighbors=NEAREST).fit(both).kneighbors(return_distance=False)
    new = np.arange(len(both)) >= len(reference)

    def alone(labels: np.ndarray) -> int:
        return int((labels[graph].sum(axis=1) >= NEW)[labels].sum())

    seen = alone(new)
    beyond = sum(alone(rng.permutation(new)) >= seen for _ in range(EXCHANGES))
    return (1 + beyond) / (1 + EXCHANGES) <= ALPHA


@lru_cache(maxsize=4)
def profile_of(name: str, trial: int, without: bool) -> Profile:
    with tempfile.TemporaryDirectory() as folder:
        return build_profile(opened(halves(name, trial, without)[0], Path(folder)))


@lru_cache(maxsize=4)
def halves(name: str, trial: int, without: bool) -> tuple[np.ndarray, np.ndarray]:
    """Reference and batch; the reference without one class."""
    whole, labels = vectors(name)
    order = np.random.default_rng(trial).permutation(len(whole))
    first, second = order[: len(whole) // 2], order[len(whole) // 2 :]
    return whole[first[labels[first] != trial % 10] if without else first], whole[second]


@lru_cache(maxsize=4)
def vectors(name: str) -> tuple[np.ndarray, np.ndarray]:
    """All rows of a set, (n, 64), and their classes."""
    from sklearn.decomposition import PCA

    pictures = sets.load(name)
    pixels = pictures.pixels.reshape(len(pictures.pixels), -1)
    if name == "digits":
        return pixels.astype(float), pictures.labels
    drawn = np.random.default_rng(0).permutation(len(pixels))[:ROWS]
    found = PCA(WIDTH, random_state=0).fit_transform(pixels[drawn].astype(float))
    return found, pictures.labels[drawn]


def opened(rows: np.ndarray, folder: Path) -> Dataset:
    frame = pl.DataFrame({"embedding": pl.Series(rows, dtype=pl.Array(pl.Float64, rows.shape[1]))})
    frame.with_columns(embedding=pl.col("embedding").arr.to_list()).write_parquet(
        folder / "a.parquet"
    )
    return open_dataset(folder, ["a.parquet"])


def tabulated(lines: list[runs.Line]) -> str:
    groups = defaultdict(list)
    for line in lines:
        groups[line["set"], line["where"], line["radius"], line["dose"]].append(line)
    head = ("set", "planted at", "radius", "dose", "runs", "alarms", "95 % interval")
    rows = []
    for (name, where, radius, dose), group in sorted(groups.items()):
        hits = [line for line in group if line["alarms"]]
        low, high = clopper_pearson(len(hits), len(group))
        medians = [
            f"{np.median([line[what] for line in hits]):.2f}" if hits and dose else "-"
            for what in ("precision", "recall")
        ]
        peers = sum(line["peer"] for line in group)
        shown = (name, where, radius, f"{dose:.1%}", len(group), len(hits))
        rows.append((*shown, f"{low:.3f} to {high:.3f}", *medians, peers))
    return runs.table((*head, "precision", "recall", "nearest neighbours"), rows)


if __name__ == "__main__":
    main()
