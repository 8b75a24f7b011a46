"""Draw the table of `guards/numerics/screen_table.py` anew: minutes, on one core.

    python benchmarks/screen_null.py > guards/numerics/screen_table.py

Each node is drawn from a seed of its own, so that one can be redrawn without the others.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from guards.numerics.screen_null import FREEDOM, LEVELS, ROWS, draw_null

MOST = 2_000  # draws of a node
ELEMENTS = 4_000_000  # rows drawn a node, at most


def node(rank: int, rows: int, df: float) -> list[float]:
    """Median heaviness, then the quantiles of both statistics."""
    draws = max(999, min(MOST, ELEMENTS // rows))
    found = draw_null(rows, df, rank, draws, np.random.default_rng([rank, rows, int(10 * df)]))
    upper = np.quantile(found[:2], 1 - np.array(LEVELS), axis=1).T
    return [float(np.median(found[2])), *upper.ravel().tolist()]


def main() -> None:
    """Print the module."""
    print('"""Quantiles of the null of `screen_null`; written by benchmarks/screen_null.py."""\n')
    print("# rank: for each of ROWS[rank], for each of FREEDOM: heaviness, then LEVELS per kind.")
    print("# fmt: off\n# ruff: noqa: E501")
    print("TABLE: dict[int, tuple[tuple[tuple[float, ...], ...], ...]] = {")
    for rank, sizes in ROWS.items():
        print(f"    {rank}: (")
        for rows in sizes:
            started = time.perf_counter()
            print("        (")
            for df in FREEDOM:
                print(
                    f"            ({', '.join(f'{value:.3f}' for value in node(rank, rows, df))}),"
                )
            print("        ),", flush=True)
            print(rank, rows, f"{time.perf_counter() - started:.1f} s", file=sys.stderr)
        print("    ),")
    print("}\n# fmt: on")


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
