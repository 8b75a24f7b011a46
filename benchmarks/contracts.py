"""What a contract costs, compiled and by real GX; and how long an inferred one lasts.

`--suite cost`: 30 expectations over 50 columns. Each case is a process of its own, so that imports
and peak memory are those of one runner. Both read the same Parquet shards (40 columns of numbers,
10 of words) and list the rows that break what is broken; the table says whether they agree on every
verdict and count. GX gets only the columns that the suite names. `--suite inferred`: of a contract
inferred from a sample month of flights, how many expectations the next month breaks, and all later
ones.

    python benchmarks/contracts.py --out build/bench/contracts.jsonl [--rows 100000]
    python benchmarks/contracts.py --table build/bench/contracts.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import runs

ENGINES = ("polars", "gx")
SIZES = (100_000, 1_000_000)
SHARD = 100_000
SEED = 100
FLIGHTS = Path(__file__).parents[1] / "data_samples" / "flights"
HEAD = (
    "rows",
    "runner",
    "import, CPU s",
    "look, CPU s",
    "wall, s",
    "peak, MB",
    "CPU of GX",
    "alike",
)
LASTED = ("strictness", "from", "expectations", "broken by the next month", "by any later month")


def main() -> None:
    """Run the cases, print their table, or be one case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    parser.add_argument("--suite", choices=("cost", "inferred"), default="cost")
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--be", choices=ENGINES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.be:
        print(json.dumps(look(given.be, given.data)))
    elif given.table:
        lines = runs.read(*given.table)
        if costs := [line for line in lines if "engine" in line]:
            print(runs.table(HEAD, rows(costs)))
        if months := [line for line in lines if "strictness" in line]:
            print(runs.table(LASTED, lasted(months)))
    elif given.suite == "inferred":
        runs.go(inferences(), given)
    else:
        runs.go(cases(given.rows), given)


def cases(sizes: Sequence[int]) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Every size by every runner."""
    for size in sizes:
        for engine in ENGINES:
            yield f"{size}/{engine}", lambda size=size, engine=engine: measured(size, engine)


def measured(size: int, engine: str) -> dict[str, Any]:
    """One runner in its own process, over data that is made for it."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        plant(data, size)
        command = [sys.executable, __file__, "--be", engine, "--data", str(data)]
        here = str(Path(__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": here}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return {"rows": size, "engine": engine, **json.loads(done.stdout.splitlines()[-1])}


def plant(folder: Path, size: int) -> None:
    """Shards of 39 columns of reals, one of whole numbers, ten of words; some are missing."""
    import numpy as np
    import polars as pl

    folder.mkdir()
    words = np.array([f"AB-{place:04d}" for place in range(50)])
    for start in range(0, size, SHARD):
        random, n = np.random.default_rng([SEED, start]), min(SHARD, size - start)
        reals = {f"x{place}": random.standard_normal(n) for place in range(1, 40)}
        texts = {f"w{place}": words[random.integers(0, 50, n)] for place in range(10)}
        frame = pl.DataFrame({"x0": np.arange(start, start + n), **reals, **texts})
        gaps = pl.Series(random.random(n) < 0.02)
        holes = [pl.when(~gaps).then(pl.col(f"x{place}")) for place in range(1, 6)]
        frame.with_columns(holes).write_parquet(folder / f"{start:09d}.parquet")


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


def look(engine: str, data: Path) -> dict[str, Any]:
    """Import what a runner needs, look at the data, and say what both took."""
    began, started = time.process_time(), time.perf_counter()
    imported(engine)
    ready = time.process_time()
    from guards.data.contract.runner import source_of, validate
    from guards.data.contract.suite import parse_suite
    from guards.data.dataset import open_dataset

    names = sorted(path.name for path in data.iterdir())
    source = source_of(open_dataset(data, names))
    results = validate(parse_suite(suite()), source, engine=engine, most=1000)
    assert {result.runner for result in results} == {engine}
    return {
        "import_cpu_s": round(ready - began, 3),
        "look_cpu_s": round(time.process_time() - ready, 3),
        "look_wall_s": round(time.perf_counter() - started, 3),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "said": [[result.success, result.unexpected] for result in results],
    }


def imported(engine: str) -> None:
    """Import the libraries of a runner."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    for name in ("polars", "great_expectations", "pandas") if engine == "gx" else ("polars",):
        import_module(name)


def rows(lines: Sequence[runs.Line]) -> Iterator[tuple[object, ...]]:
    """One row a case, beside what GX took for as many rows."""
    peers = {line["rows"]: line for line in lines if line["engine"] == "gx"}
    for line in sorted(lines, key=lambda one: (one["rows"], one["engine"])):
        peer = peers.get(line["rows"])
        share = f"{total(line) / total(peer):.3f}" if peer else "?"
        alike = peer["said"] == line["said"] if peer else "?"
        took = (line["import_cpu_s"], line["look_cpu_s"], line["look_wall_s"], line["peak_mb"])
        yield (f"{line['rows']:,}", line["engine"], *took, share, alike)


def inferences() -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """Every strictness by every month that has a next one."""
    months = sorted(path.name for path in FLIGHTS.iterdir() if path.is_dir())
    for level in ("strict", "default", "loose"):
        for place, month in enumerate(months[:-1]):
            later = months[place + 1 :]
            yield (
                f"{level}/{month}",
                lambda level=level, month=month, later=later: inferred(level, month, later),
            )


def inferred(level: str, month: str, later: Sequence[str]) -> dict[str, Any]:
    """What becomes of one month's contract in those after it."""
    from guards.contracts import Asked, check, propose

    with tempfile.TemporaryDirectory() as folder:
        contract = Path(folder) / "contract.json"
        contract.write_text(json.dumps(propose(FLIGHTS / month, month, level, {})))
        checked = [check(FLIGHTS / other, contract, Asked()) for other in later]
    broken = [{one.expectation.place for one in each.broken} for each in checked]
    told = {"expectations": len(checked[0].results), "next": len(broken[0])}
    return {"strictness": level, "month": month, **told, "later": len(set().union(*broken))}


def lasted(lines: Sequence[runs.Line]) -> Iterator[tuple[object, ...]]:
    """One row a strictness, over the months."""
    for level in dict.fromkeys(line["strictness"] for line in lines):
        mine = [line for line in lines if line["strictness"] == level]
        sums = (sum(line[name] for line in mine) for name in ("expectations", "next", "later"))
        yield (level, f"{len(mine)} months", *sums)


def total(line: runs.Line) -> float:
    """CPU seconds with the import."""
    return float(line["import_cpu_s"] + line["look_cpu_s"])


if __name__ == "__main__":
    main()
