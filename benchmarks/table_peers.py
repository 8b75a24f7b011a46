"""What others say of two tables: each column tested, the stability index, Evidently, cleanlab.

Every peer gets the rows of the reference themselves, and every column of it but texts. Evidently
needs a pandas that nothing else here does, so it is asked in a process of its own, by an
interpreter that has it (a virtual environment with `evidently==0.7.23 "pandas<3" pyarrow`); run by
that one, this file is the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

LEVEL = 0.01
INDEX, BINS = 0.1, 10


def tested(reference: pl.DataFrame, batch: pl.DataFrame) -> bool:
    """Kolmogorov-Smirnov on numbers and chi squared on words; Bonferroni over the columns."""
    from scipy.stats import chi2_contingency, ks_2samp

    least = 1.0
    for name in reference.columns:
        then, now = reference[name], batch[name]
        if reference.schema[name].is_numeric():
            then, now = then.drop_nulls(), now.drop_nulls()
            p_value = ks_2samp(then.to_numpy(), now.to_numpy(), method="asymp").pvalue
        else:
            counts = tallies(then, now)
            p_value = chi2_contingency(counts).pvalue if counts.shape[1] > 1 else 1.0
        least = min(least, float(p_value))
    return least <= LEVEL / reference.width


def stability(reference: pl.DataFrame, batch: pl.DataFrame) -> float:
    """The largest population stability index of any column: deciles of numbers, or words."""
    import numpy as np

    found = []
    for name in reference.columns:
        then, now = reference[name], batch[name]
        if reference.schema[name].is_numeric():
            edges = np.quantile(then.drop_nulls().to_numpy(), np.arange(1, BINS) / BINS)
            then, now = (binned(values, np.unique(edges)) for values in (then, now))
        counts = tallies(then, now)
        shares = np.maximum(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), 1e-4)
        found.append(float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()))
    return max(found)


def binned(values: pl.Series, edges: np.ndarray) -> pl.Series:
    """The number of the bin of every value, as a word; null where there is none."""
    import numpy as np
    import polars as pl

    places = np.searchsorted(edges, values.fill_null(0).to_numpy(), side="left")
    kept = pl.select(pl.when(values.is_not_null()).then(pl.Series(places))).to_series()
    return kept.cast(pl.String)


def tallies(then: pl.Series, now: pl.Series) -> np.ndarray:
    """Counts of every word and of nulls, then and now (2, values)."""
    import numpy as np

    both = np.concatenate([part.fill_null("\0").to_numpy() for part in (then, now)])
    values, codes = np.unique(both.astype(str), return_inverse=True)
    parts = codes[: len(then)], codes[len(then) :]
    return np.array([np.bincount(part, minlength=len(values)) for part in parts])


def label_issues(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The rows (n,) whose label cleanlab's default rule doubts."""
    from cleanlab.filter import find_label_issues

    issues: np.ndarray = find_label_issues(labels, probabilities, n_jobs=1)
    return issues


class Evidently:
    """A process that is asked about one pair of tables after the other."""

    def __init__(self, interpreter: Path) -> None:
        self.process = subprocess.Popen(
            [interpreter, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, reference: pl.DataFrame, batch: pl.DataFrame) -> dict[str, Any]:
        """Columns that it calls drifted by its defaults, and their share."""
        assert self.process.stdin
        assert self.process.stdout
        with tempfile.TemporaryDirectory() as directory:
            paths = [str(Path(directory) / name) for name in ("reference.parquet", "batch.parquet")]
            for frame, path in zip((reference, batch), paths, strict=True):
                frame.write_parquet(path)
            self.process.stdin.write(json.dumps(paths) + "\n")
            self.process.stdin.flush()
            answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def answer() -> None:
    """Of each line, two paths, say how many columns drifted; what is printed besides is dropped."""
    import pandas as pd
    from evidently import Report
    from evidently.metrics import DriftedColumnsCount

    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        reference, batch = (pd.read_parquet(path) for path in json.loads(line))
        # What the preset DataDriftPreset counts and judges by, without its pictures.
        found = Report([DriftedColumnsCount()]).run(batch, reference).dict()["metrics"][0]["value"]
        out.write(json.dumps({name: float(value) for name, value in found.items()}) + "\n")
        out.flush()


if __name__ == "__main__":
    answer()
