"""How long an inferred contract lasts.

Of a contract inferred from a sample month of flights: how many expectations the next month breaks,
and all later ones. What a contract costs, compiled and by its peers, prints statistics.py.

    python benchmarks/contracts.py --out build/bench/contracts.jsonl
    python benchmarks/contracts.py --table build/bench/contracts.jsonl
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import runs

FLIGHTS = Path(__file__).parents[1] / "data_samples" / "flights"
LASTED = ("strictness", "from", "expectations", "broken by the next month", "by any later month")


def main() -> None:
    """Run the cases, or print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    runs.carry_out(parser, lambda _: inferences(), lambda lines: runs.table(LASTED, lasted(lines)))


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


if __name__ == "__main__":
    main()
