"""What the rule `patches` sees in folders of pictures of unlike sizes.

Each case draws rows of one set and brings every picture to a width and a height of its own, 22 to
44 pixels each (`resized`), or cuts so much out of it at random (`cropped`, no less than two thirds
of a side). They are written as a folder, a directory for each class, poisoned as by `redteam`
(all pictures stored again by their own codec, each trigger at the picture's own size), and the rule
is asked; without `--looks` what it says of labels is counted alone, and no network is trained.

    python benchmarks/mixed_sizes.py --data DIR --out mixed.jsonl [--first-seed 100 --seeds 2]
    python benchmarks/mixed_sizes.py --data DIR --out mixed.jsonl --attacks none --seeds 8
    python benchmarks/mixed_sizes.py --table mixed.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import batches
import numpy as np
import polars as pl
import runs
import sets
from PIL import Image

from guards.checks import run
from guards.data.case import Case
from guards.findings import Severity
from guards.provenance.snapshot import take
from guards.redteam.poison import open_path, poison

SHAPES = ("resized", "cropped")
SIDES = (22, 44)
CLEAN_ROWS = (800, 2_000, 6_000)
ATTACKS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "patch 3 x 3": ("patch", 0.01, {"size": 3}),
    "patch 3 x 3, upper left, margin 2": (
        *("patch", 0.01),
        {"size": 3, "corner": "upper-left", "margin": 2},
    ),
    "patch, a tenth of the side": ("patch", 0.01, {}),
    "white patch 3 x 3": ("patch", 0.01, {"size": 3, "style": "white"}),
    "white patch, a tenth": ("patch", 0.01, {"style": "white"}),
    "TaCT 3 x 3": ("tact", 0.01, {"size": 3}),
    "Adaptive-Patch 3 x 3": ("adaptive-patch", 0.02, {"size": 3}),
    "patch 3 x 3, 0.5 %": ("patch", 0.005, {"size": 3}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--sets", nargs="+", default=["fashion", "cifar10"])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS))
    parser.add_argument("--shapes", nargs="+", default=["resized"], choices=SHAPES)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--looks", action="store_true", help="ask whether labels are denied")
    runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Seed by seed; clean batches are of several sizes, half of them with unequal classes."""
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name in given.sets:
            for shape in given.shapes:
                for attack in given.attacks:
                    for rows in CLEAN_ROWS if attack == "none" else (given.rows,):
                        key = f"{name}/{shape}/{rows}/{attack}/{seed}"
                        key += "/looks" * given.looks
                        what = (name, shape, rows, attack, seed)
                        yield key, partial(measured, *what, given.data, given.looks)


def measured(
    name: str, shape: str, rows: int, attack: str, seed: int, data: Path | None, looks: bool
) -> runs.Line:
    """One case from pictures to what the rule says."""
    rng = np.random.default_rng(seed)
    pictures = sets.load(name, data)
    unequal = attack == "none" and seed % 2 == 1
    chosen = drawn(pictures.labels, rows, unequal, rng)
    called = f"{attack}, with the looks" if looks else attack
    line = {"set": name, "shape": shape, "attack": called, "seed": seed, "rows": len(chosen)}
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "clean"
        write(folder, pictures.only(chosen), shape, rng)
        bad = np.zeros(len(chosen), bool)
        cover = bad
        if attack != "none":
            kind, rate, settings = ATTACKS[attack]
            truth = poison(
                folder, kind, rate, Path(directory) / "twin", seed=seed, settings=settings
            )
            told = pl.read_parquet(truth)
            bad, cover = told["planted"].to_numpy(), told["cover"].to_numpy()
            folder = Path(directory) / "twin"
        return {**line, **asked(folder, bad, cover, looks)}


def drawn(labels: np.ndarray, rows: int, unequal: bool, rng: np.random.Generator) -> np.ndarray:
    """Rows at random; where classes are to be unequal, by weights from a Dirichlet law."""
    if not unequal:
        return rng.permutation(len(labels))[:rows]
    weights = rng.dirichlet(np.ones(labels.max() + 1))[labels]
    return rng.choice(len(labels), rows, replace=False, p=weights / weights.sum())


def write(folder: Path, pictures: sets.Pictures, shape: str, rng: np.random.Generator) -> None:
    """The folder: 1 % of the pictures once more."""
    suffix = {"png": "png", "jpeg": "jpg"}[pictures.codec]
    for row, (pixels, label) in enumerate(zip(pictures.pixels, pictures.labels, strict=True)):
        one = np.ascontiguousarray(unlike(pixels, shape, rng))
        (data,) = batches.encoded(one[None], pictures.codec)
        home = folder / f"class-{label}"
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{row}.{suffix}").write_bytes(data)
        if row % 100 == 0:
            (home / f"{row}-again.{suffix}").write_bytes(data)


def unlike(pixels: np.ndarray, shape: str, rng: np.random.Generator) -> np.ndarray:
    """One picture (C, H, W) at a size of its own."""
    height, width = pixels.shape[1:]
    if shape == "cropped":
        tall, wide = (int(rng.integers(2 * side // 3, side + 1)) for side in (height, width))
        top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        return pixels[:, top : top + tall, left : left + wide]
    size = tuple(int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, 2))
    planes = [np.asarray(Image.fromarray(plane).resize(size)) for plane in pixels]
    return np.stack(planes)


def asked(folder: Path, bad: np.ndarray, cover: np.ndarray, looks: bool) -> dict[str, Any]:
    """What the rule says of it, and which rows it holds."""
    snapshot, opened = take(folder).snapshot, open_path(folder)
    case = Case(snapshot=snapshot, roles=opened.roles, opened=opened)
    _ = case.images
    examination = run("patches", case, {} if looks else {"denied": 0.0})
    found = examination.outcome.measured
    held = np.zeros(opened.rows, bool)
    held[[score.row for score in found.row_scores]] = True
    if not bad.any():
        bad = cover = np.zeros(opened.rows, bool)
    clean = ~bad & ~cover
    return {
        "high": any(finding.severity == Severity.HIGH for finding in found.findings),
        "alarm": any(finding.severity >= Severity.MEDIUM for finding in found.findings),
        "marks": [(m["view"], m["rows"], m["over_expected"]) for m in found.statistics["marks"]],
        "tpr": round(float(held[bad].mean()), 4) if bad.any() else None,
        "fpr": round(float(held[clean].mean()), 5),
        "s": round(examination.run.seconds, 2),
    }


def tabulated(lines: list[runs.Line]) -> str:
    """A line for each set, shape and attack."""
    groups: dict[tuple[str, str, str], list[runs.Line]] = defaultdict(list)
    for line in lines:
        groups[line["set"], line["shape"], line["attack"]].append(line)
    rows = []
    for key, group in sorted(groups.items(), key=lambda item: (item[0][2] != "none", item[0])):
        alarms, held = sum(line["alarm"] for line in group), [line["tpr"] for line in group]
        rows.append(
            (
                *key,
                f"{alarms} of {len(group)}",
                sum(line.get("high", False) for line in group),
                "-" if held[0] is None else ", ".join(f"{share:.2f}" for share in held),
                f"{max(line['fpr'] for line in group):.5f}",
                sum(len(line["marks"]) for line in group),
                f"{np.median([line['s'] for line in group]):.1f}",
            )
        )
    head = (
        "set",
        "shape",
        "attack",
        "alarms",
        "high",
        "planted held",
        "clean held, most",
        "marks",
        "s",
    )
    return runs.table(head, rows)


if __name__ == "__main__":
    main()
