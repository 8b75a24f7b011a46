"""One piece of work, done once by one library, and what it took: what `statistics.py` runs.

    PYTHON benchmarks/asked.py WORK WHO FOLDER

A process of its own, by the Python that has the library, so imports and memory are those of one
library; nothing of this package is needed unless ours is asked. It prints one JSON line: processor
seconds of the process and its children, those of the imports apart, wall seconds, the most memory
that the process held (`peak`), how much of that came after imports and input (`grown`; of children
neither, and Linux only), and what was answered (`said`).
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

Call = Callable[[], Any]
REGEX = r"^[A-Z]{2}-\d{4}$"


def main() -> None:
    warnings.simplefilter("ignore")
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    work, who, folder = sys.argv[1:]
    call = WORKS[work, who](Path(folder))
    ready, wall = spent(), time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held now
    before = held("VmRSS")
    said = call()
    print(
        json.dumps(
            {
                "cpu": spent() - ready,
                "import": ready,
                "wall": time.perf_counter() - wall,
                "peak": held("VmHWM"),
                "grown": held("VmHWM") - before,
                "said": said,
            }
        )
    )


def held(which: str) -> float:
    """Memory of this process in MB: `VmRSS` now, `VmHWM` at most; as Linux counts it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith(which)).split()[1]) / 1024


def spent() -> float:
    """Processor seconds of this process and its children, of which none is left."""
    if "guards.data.trial" in sys.modules:
        sys.modules["guards.data.trial"].stop()
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def shards(folder: Path, part: str) -> list[Path]:
    """The Parquet files of one part of the input."""
    return sorted((folder / part).glob("*.parquet"))


def floor(folder: Path) -> Call:
    """Read every column with polars, and sort those of numbers with what sorts them fastest."""
    import numpy as np
    import polars as pl

    def call() -> int:
        frame = pl.read_parquet(shards(folder, "current"))
        numbers = [column for column in frame if column.dtype.is_numeric()]
        return sum(len(np.sort(column.to_numpy())) > 0 for column in numbers)

    return call


def drift_ours(folder: Path, *, opened: bool = False) -> Call:
    """Rule `drift` against the stored profile; opening is decoding all to see that it is whole."""
    from types import SimpleNamespace

    import pyarrow.compute  # noqa: F401  what is imported late otherwise
    import scipy.stats  # noqa: F401

    from guards.checks.drift import Settings, examine
    from guards.data.dataset import Dataset, open_dataset
    from guards.data.earlier import History
    from guards.data.profile import observe, read_profile

    def opening() -> Dataset:
        return open_dataset(folder / "current", [path.name for path in shards(folder, "current")])

    ready = opening() if opened else None

    def call() -> list[str]:
        profile = read_profile(folder / "reference.profile")
        dataset = ready or opening()
        # The batch's own profile, which a scan keeps for later versions, is no part of this work.
        seen = SimpleNamespace(observed=(observe(dataset, profile),), profile=profile)
        case: Any = SimpleNamespace(
            reference=profile, dataset=dataset, survey=seen, history=History()
        )
        return [finding.code for finding in examine(case, Settings()).findings]

    return call


def drift_evidently(folder: Path) -> Call:
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    def call() -> int:
        parts = (shards(folder, part) for part in ("current", "reference"))
        frames = [pd.concat(map(pd.read_parquet, files), ignore_index=True) for files in parts]
        told = Report([DataDriftPreset()]).run(*frames).dict()
        return len(told["metrics"])

    return call


def drift_alibi_detect(folder: Path) -> Call:
    import numpy as np
    import pandas as pd
    from alibi_detect.cd import TabularDrift

    def call() -> list[int]:
        parts = (shards(folder, part) for part in ("reference", "current"))
        frames = [pd.concat(map(pd.read_parquet, files), ignore_index=True) for files in parts]
        both = pd.concat(frames, ignore_index=True)
        words = [name for name in both if not pd.api.types.is_numeric_dtype(both[name])]
        both[words] = both[words].apply(lambda column: pd.factorize(column)[0])
        rows = both.to_numpy(np.float64)
        places = {list(both).index(name): None for name in words}
        asked = TabularDrift(rows[: len(frames[0])], categories_per_feature=places)
        return [int(asked.predict(rows[len(frames[0]) :])["data"]["is_drift"])]

    return call


def labels(ask: Callable[[], Callable[..., Any]]) -> Callable[[Path], Call]:
    """Which of the labels in the folder are flagged."""

    def prepared(folder: Path) -> Call:
        import numpy as np

        asked = ask()
        few = np.arange(500) % 5
        asked(few, np.full((500, 5), 0.2) + np.eye(5)[few] / 100)  # imports
        given, told = np.load(folder / "labels.npy"), np.load(folder / "probabilities.npy")

        def call() -> list[object]:
            flagged = np.asarray(asked(given, told), bool)
            return [int(flagged.sum()), sha256(np.packbits(flagged).tobytes()).hexdigest()]

        return call

    return prepared


def ours() -> Callable[..., Any]:
    from guards.numerics.confidence import label_issues

    return label_issues


def cleanlab(**more: int) -> Callable[..., Any]:
    from cleanlab.filter import find_label_issues

    return lambda given, told: find_label_issues(given, told, **more)


def batched() -> Callable[..., Any]:
    from cleanlab.experimental.label_issues_batched import find_label_issues_batched

    return lambda given, told: find_label_issues_batched(
        given, told, verbose=False, return_mask=True
    )


def contract(engine: str) -> Callable[[Path], Call]:
    """The suite in the folder by one of our two runners."""

    def prepared(folder: Path) -> Call:
        if engine == "gx":
            import great_expectations  # noqa: F401
            import pandas  # noqa: F401
        from guards.data.contract.runner import source_of, validate
        from guards.data.contract.suite import parse_suite
        from guards.data.dataset import open_dataset

        suite = parse_suite(json.loads((folder / "suite.json").read_text()))
        names = [path.name for path in shards(folder, "current")]

        def call() -> list[list[object]]:
            source = source_of(open_dataset(folder / "current", names))
            results = validate(suite, source, engine=engine, most=1000)
            assert {result.runner for result in results} == {engine}
            return [[result.success, result.unexpected] for result in results]

        return call

    return prepared


def contract_pandera(folder: Path) -> Call:
    """The same suite as a schema; what pandera has no check of its own for is an expression."""
    import pandera.polars as pa
    import polars as pl

    suite = json.loads((folder / "suite.json").read_text())["expectations"]
    schema = pa.DataFrameSchema(
        columns=None, checks=[pa.Check(whether(one)) for one in suite], strict=False
    )

    def call() -> int:
        frame = pl.read_parquet(shards(folder, "current"))
        try:
            schema.validate(frame, lazy=True)
        except pa.errors.SchemaErrors as broken:
            return len({case["check_number"] for case in broken.failure_cases.to_dicts()})
        return 0

    return call


def whether(one: dict[str, Any]) -> Callable[[Any], Any]:
    """A check of one expectation, as pandera asks it: a frame of whether each row keeps it."""
    import polars as pl

    kwargs = one["kwargs"]
    column = pl.col(kwargs.get("column", kwargs.get("column_A", "x0")))
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    kinds: dict[str, Callable[[], Any]] = {
        "column_values_to_not_be_null": lambda: column.is_not_null().mean() >= kwargs["mostly"],
        "column_values_to_be_between": lambda: column.is_between(
            -float("inf") if low is None else low, high
        ),
        "column_values_to_match_regex": lambda: column.str.contains(kwargs["regex"]),
        "column_values_to_be_in_set": lambda: column.is_in(kwargs["value_set"]),
        "column_distinct_values_to_be_in_set": lambda: column.is_in(kwargs["value_set"]),
        "column_value_lengths_to_equal": lambda: column.str.len_chars() == kwargs["value"],
        "column_values_to_be_unique": lambda: column.is_unique(),
        "column_mean_to_be_between": lambda: column.mean().is_between(low, high),
        "column_stdev_to_be_between": lambda: column.std().is_between(low, high),
        "column_quantile_values_to_be_between": lambda: pl.all_horizontal(
            column.quantile(share).is_between(*bounds)
            for share, bounds in zip(*kwargs["quantile_ranges"].values(), strict=True)
        ),
        "column_pair_values_a_to_be_greater_than_b": lambda: column > pl.col(kwargs["column_B"]),
        "table_row_count_to_be_between": lambda: pl.len() >= low,
    }
    asked = kinds[one["type"].removeprefix("expect_")]()
    return lambda data: data.lazyframe.select(asked)


WORKS: dict[tuple[str, str], Callable[[Path], Call]] = {
    ("drift", "floor"): floor,
    ("drift", "ours, opened before"): lambda folder: drift_ours(folder, opened=True),
    ("drift", "ours"): drift_ours,
    ("drift", "alibi-detect"): drift_alibi_detect,
    ("drift", "Evidently"): drift_evidently,
    ("labels", "cleanlab"): labels(cleanlab),
    ("labels", "cleanlab, one job"): labels(lambda: cleanlab(n_jobs=1)),
    ("labels", "cleanlab, low memory"): labels(batched),
    ("labels", "ours"): labels(ours),
    ("contract", "Great Expectations"): contract("gx"),
    ("contract", "pandera"): contract_pandera,
    ("contract", "ours"): contract("polars"),
}


if __name__ == "__main__":
    main()
