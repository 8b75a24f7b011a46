"""Processor seconds, wall seconds and memory beside the peers, and which goals are reached.

    python benchmarks/statistics.py [--evidently PYTHON] [--alibi PYTHON] [--pandera PYTHON]
        [--large] [--repeats 3]

Each line is the median of processes of their own (`asked.py`), all of one run on one machine:

- *drift*: a table of 40 columns of numbers and 10 of words, in Parquet, held against another of the
  same distribution. Ours has the stored profile of that one; Evidently and alibi-detect (its
  TabularDrift: Kolmogorov-Smirnov and chi-squared by column) have the rows. The floor reads
  the table once and sorts each column of numbers once; it counts no pairs and no distinct values.
- *labels*: labels, a tenth of them wrong, and probabilities (float64) that are in memory already;
  ours, cleanlab's default, the same with one job, and its low-memory mode.
- *contract*: 30 expectations over 50 columns, five of them broken, with the rows that break them
  (pandera says which rows in its own way). Here the import counts, since a check is one process.

*CPU s* are of the work, *import* before it (for labels, reading the arrays too). *MB* is the most
that the process held, *grown* how much of it came with the work. *ratio* is ours by whoever the
goal names, in CPU seconds or grown memory; *same* says that the answer is that of the peer.
Evidently 0.7 needs a pandas that is older than ours, so it lives in an environment of its own, and
so may pandera and alibi-detect (whose licence, the BSL, is none to depend on); without the options
their lines are left out. `--large` asks for drift at a million
rows of Evidently too, which takes it minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import profiles
import runs

HERE = Path(__file__).resolve().parent
SHARD, SEED = 100_000, 100
HEAD = ("work", "who", "CPU s", "import", "wall s", "MB", "grown", "same", "ratio", "goal", "?")
Taken = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Ours is to take `most` of what another takes: `cpu`, `cpu with import` or `grown`."""

    who: str
    against: str
    what: str
    most: float

    def ratio(self, taken: Mapping[str, Taken]) -> float | None:
        """What it is, unless one of the two was not asked."""
        both = [taken.get(who) for who in (self.who, self.against)]
        ours, peer = (self._took(one) for one in both if one is not None) if all(both) else (0, 0)
        return ours / peer if peer else None

    def _took(self, one: Taken) -> float:
        imports = one["import"] if self.what == "cpu with import" else 0.0
        return float(one["grown"] if self.what == "grown" else one["cpu"] + imports)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A piece of work of some size: who is asked, in order, and what is to be reached."""

    kind: str
    size: str
    who: tuple[str, ...]
    goals: tuple[Goal, ...]


def works(large: bool) -> Iterator[Work]:
    """The lines of the table."""
    look, ours = "ours, opened before", "ours"
    for rows, most in ((100_000, 1 / 30), (1_000_000, 1 / 100)):
        peers = ["Evidently", "alibi-detect"] if large or rows < 1_000_000 else []
        asked = ("floor", look, ours, *peers)
        goals = [Goal(who=ours, against="Evidently", what="cpu", most=most)]
        if rows == 1_000_000:
            goals.append(Goal(who=look, against="floor", what="cpu", most=1.3))
        yield Work(kind="drift", size=f"{rows}x50", who=asked, goals=tuple(goals))
    for size in ("1000000x10", "200000x1000", "20000x10000"):
        yield Work(
            kind="labels",
            size=size,
            who=("cleanlab", "cleanlab, one job", "cleanlab, low memory", ours),
            goals=(
                Goal(who=ours, against="cleanlab", what="cpu", most=0.25),
                Goal(who=ours, against="cleanlab", what="grown", most=0.1),
            ),
        )
    against = Goal(who=ours, against="Great Expectations", what="cpu with import", most=0.1)
    for rows in (100_000, 1_000_000):
        asked = ("Great Expectations", "pandera", ours)
        yield Work(kind="contract", size=f"{rows}x50", who=asked, goals=(against,))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--evidently", metavar="PYTHON", help="one that has Evidently 0.7")
    parser.add_argument("--alibi", metavar="PYTHON", help="one with alibi-detect and pyarrow<21")
    parser.add_argument("--pandera", metavar="PYTHON", help="one that has pandera[polars]")
    parser.add_argument("--large", action="store_true", help="ask Evidently for a million rows too")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", nargs="+", default=["drift", "labels", "contract"])
    parser.add_argument("--size", nargs="+", help="only these, as 1000000x10")
    given = parser.parse_args()
    homes = pythons(given)
    lines: list[tuple[object, ...]] = []
    for work in works(given.large):
        if work.kind in given.work and (not given.size or work.size in given.size):
            taken = asked(work, homes, given.repeats)
            lines += table_lines(work, taken)
    print(runs.table(HEAD, lines))


def pythons(given: argparse.Namespace) -> dict[str, str]:
    """Who is to be had, and by which Python."""
    here = {"floor": "polars", "ours": "polars", "cleanlab": "cleanlab"}
    here |= {"Great Expectations": "great_expectations", "pandera": "pandera"}
    found = {who: sys.executable for who, module in here.items() if find_spec(module)}
    elsewhere = {"Evidently": given.evidently, "pandera": given.pandera}
    elsewhere |= {"alibi-detect": given.alibi}
    return found | {who: python for who, python in elsewhere.items() if python}


def asked(work: Work, homes: Mapping[str, str], repeats: int) -> dict[str, Taken]:
    """What each of them took, over data that is made for it."""
    taken: dict[str, Taken] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        MADE[work.kind](folder, *map(int, work.size.split("x")))
        for who in work.who:
            if home := homes.get(who.partition(",")[0]):
                slow = who in ("Evidently", "alibi-detect") and work.size.startswith("1000000")
                many = 1 if slow else repeats
                taken[who] = median([measured(home, work.kind, who, folder) for _ in range(many)])
                told = {name: value for name, value in taken[who].items() if name != "said"}
                print(work.kind, work.size, who, told, file=sys.stderr, flush=True)
    return taken


def measured(python: str, kind: str, who: str, folder: Path) -> Taken:
    """Ask once, in a process of its own."""
    command = [python, str(HERE / "asked.py"), kind, who, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    found: Taken = json.loads(done.stdout.splitlines()[-1])
    return found


def median(ran: Sequence[Taken]) -> Taken:
    """Of every number the median; the answer is that of the first."""
    numbers = [name for name in ran[0] if name != "said"]
    return {name: float(np.median([one[name] for one in ran])) for name in numbers} | {
        "said": ran[0]["said"]
    }


def table_lines(work: Work, taken: Mapping[str, Taken]) -> Iterator[tuple[object, ...]]:
    """One line for each who was asked."""
    peer = taken.get("cleanlab") or taken.get("Great Expectations")
    for who, took in taken.items():
        like = work.kind == "labels" or who == "ours"
        same = "yes" if peer and peer["said"] == took["said"] else "no"
        numbers = (f"{took['cpu']:.2f}", f"{took['import']:.2f}", f"{took['wall']:.2f}")
        memory = (f"{took['peak']:.0f}", f"{took['grown']:.0f}")
        line = (f"{work.kind} {work.size}", who, *numbers, *memory, same if peer and like else "")
        yield (*line, *verdicts(work, who, taken))


def verdicts(work: Work, who: str, taken: Mapping[str, Taken]) -> tuple[str, str, str]:
    """Ratios, goals and whether they are reached."""
    held = [(goal, goal.ratio(taken)) for goal in work.goals if goal.who == who]
    known = [(goal, ratio) for goal, ratio in held if ratio is not None]
    return (
        "; ".join(f"{ratio:.3f} of {goal.against} ({goal.what})" for goal, ratio in known),
        "; ".join(f"{goal.most:.3g}" for goal, _ in known),
        "; ".join("yes" if ratio <= goal.most else "no" for goal, ratio in known),
    )


def drifting(folder: Path, rows: int, _: int) -> None:
    """Two tables of one distribution, and the profile of the first."""
    from guards.data.dataset import open_dataset
    from guards.data.profile import build_profile, write_profile

    for part, first in (("reference", 0), ("current", 10 * rows)):
        profiles.generate(folder / part, rows, 4, first)
    names = sorted(path.name for path in (folder / "reference").iterdir())
    profile = build_profile(open_dataset(folder / "reference", names))
    write_profile(profile, folder / "reference.profile")


def labelled(folder: Path, rows: int, classes: int) -> None:
    """Labels of which a tenth is wrong, and probabilities that mostly know better."""
    rng = np.random.default_rng(SEED)
    true = rng.integers(0, classes, rows)
    wrong = rng.random(rows) < 0.1
    np.save(folder / "labels.npy", np.where(wrong, rng.integers(0, classes, rows), true))
    kind = {"mode": "w+", "dtype": np.float64, "shape": (rows, classes)}
    told = np.lib.format.open_memmap(folder / "probabilities.npy", **kind)
    step = max(1, 2**22 // classes)
    for start in range(0, rows, step):
        some = true[start : start + step]
        weights = rng.random((len(some), classes), np.float32).astype(np.float64) ** 8
        weights[np.arange(len(some)), some] += classes / 9 * rng.exponential(2.0, len(some))
        told[start : start + step] = weights / weights.sum(axis=1, keepdims=True)
    told.flush()


def promised(folder: Path, rows: int, _: int) -> None:
    """39 columns of reals, one of whole numbers, ten of words, some missing; and the suite."""
    (folder / "suite.json").write_text(json.dumps(suite()))
    (folder / "current").mkdir()
    words = np.array([f"AB-{place:04d}" for place in range(50)])
    for start in range(0, rows, SHARD):
        random, n = np.random.default_rng([SEED, start]), min(SHARD, rows - start)
        reals = {f"x{place}": random.standard_normal(n) for place in range(1, 40)}
        texts = {f"w{place}": words[random.integers(0, 50, n)] for place in range(10)}
        frame = pl.DataFrame({"x0": np.arange(start, start + n), **reals, **texts})
        gaps = pl.Series(random.random(n) < 0.02)
        holes = [pl.when(~gaps).then(pl.col(f"x{place}")) for place in range(1, 6)]
        frame.with_columns(holes).write_parquet(folder / "current" / f"{start:09d}.parquet")


MADE = {"drift": drifting, "labels": labelled, "contract": promised}


def suite() -> dict[str, Any]:
    """Thirty expectations of the common types; five of them are broken."""
    pattern = {"regex": r"^[A-Z]{2}-\d{4}$"}
    halves = {"quantiles": [0.25, 0.75], "value_ranges": [[-0.7, -0.6], [0.6, 0.7]]}
    asked: list[tuple[str, dict[str, Any]]] = [
        *(("values_to_not_be_null", {"column": f"x{n}", "mostly": 0.97}) for n in range(1, 7)),
        *(
            ("values_to_be_between", {"column": f"x{n}", "min_value": -6, "max_value": 6})
            for n in range(7, 14)
        ),
        *(("values_to_be_between", {"column": f"x{n}", "max_value": 3}) for n in range(14, 17)),
        *(("values_to_match_regex", {"column": f"w{n}", **pattern}) for n in range(2)),
        *(
            ("values_to_be_in_set", {"column": f"w{n}", "value_set": listed(50 - n // 5)})
            for n in range(2, 6)
        ),
        ("value_lengths_to_equal", {"column": "w6", "value": 7}),
        ("values_to_be_unique", {"column": "x0"}),
        ("mean_to_be_between", {"column": "x20", "min_value": -0.1, "max_value": 0.1}),
        ("stdev_to_be_between", {"column": "x21", "min_value": 0.9, "max_value": 1.1}),
        ("quantile_values_to_be_between", {"column": "x22", "quantile_ranges": halves}),
        ("distinct_values_to_be_in_set", {"column": "w7", "value_set": listed(50)}),
        ("pair_values_a_to_be_greater_than_b", {"column_A": "x0", "column_B": "x23"}),
    ]
    columns = [{"type": f"expect_column_{kind}", "kwargs": kwargs} for kind, kwargs in asked]
    table = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}
    return {"name": "thirty", "expectations": [*columns, table]}


def listed(most: int) -> list[str]:
    """The first of the words that there are."""
    return [f"AB-{place:04d}" for place in range(most)]


if __name__ == "__main__":
    main()
