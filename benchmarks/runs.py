"""Runs that can be stopped, gone on with and shared out: one JSON line each.

A benchmark is a list of cases, each named by a key. `--shard i/n` takes every n-th of them,
`--out F` is where their lines are appended, and a case whose key stands in F already is not run
again. Lines of several shards may be put into one file; the order does not matter.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from scipy.stats import beta

Line = Mapping[str, Any]


def options(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark of this kind takes."""
    parser.add_argument("--data", type=Path, help="where the sets lie that no package brings")
    parser.add_argument("--out", type=Path, help="JSON lines; gone on with")
    parser.add_argument("--table", nargs="+", type=Path, help="print the table of these lines")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th case, from the i-th")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no case after them")


def carry_out(
    parser: argparse.ArgumentParser,
    cases: Callable[[argparse.Namespace], Iterable[tuple[str, Callable[[], Line]]]],
    tabulated: Callable[[list[Line]], str],
) -> None:
    """Run what is asked for, or print the table of what was run."""
    given = parser.parse_args()
    if given.table:
        print(tabulated(read(*given.table)))
    elif given.out:
        go(cases(given), given)
    else:
        parser.error("give --out to run, or --table to print")


def go(cases: Iterable[tuple[str, Callable[[], Line]]], given: argparse.Namespace) -> None:
    """Run those cases of the shard that the lines do not hold yet."""
    first, every = (int(part) for part in given.shard.split("/"))
    out, began = given.out, time.perf_counter()
    done = {line["key"] for line in read(out)}
    out.parent.mkdir(parents=True, exist_ok=True)
    for place, (key, measure) in enumerate(cases):
        if place % every != first or key in done:
            continue
        if (started := time.perf_counter()) - began > given.seconds:
            break
        line = {"key": key, **measure()}
        line |= {
            "wall_s": round(time.perf_counter() - started, 2),
            "machine": machine(given.device),
        }
        with out.open("a", encoding="utf-8") as sink:
            # Begins with a line end, so that it never hangs on to a line that was cut off.
            sink.write("\n" + json.dumps(line) + "\n")
        print(f"{key}: {line['wall_s']} s", flush=True)


def read(*paths: Path) -> list[Line]:
    """The whole lines of all these files that exist; one cut off by a kill is run again."""
    texts = [path.read_text(encoding="utf-8") for path in paths if path.is_file()]
    return [
        json.loads(line)
        for text in texts
        for line in text.splitlines()
        if line.startswith("{") and line.endswith("}")
    ]


def machine(device: str) -> str:
    """What the figures were taken on."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} thread(s) of {platform.machine()}"


def upper(hits: int, runs: int, level: float = 0.95) -> float:
    """The exact one-sided upper bound of a rate."""
    return 1.0 if hits == runs else float(beta.ppf(level, hits + 1, runs - hits))


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
