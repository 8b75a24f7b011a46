"""What the ledger costs as it grows: an append, a proof, and verifying all of it.

A log is grown to each size in turn; the last appends before it are measured, and proofs of entries
all over it. An append must not cost more in a log of 10,000 entries than in one of 100: what it
reads are the tiles at the right edge. Wall time is with every fsync, and so of the disk beneath
`--data`; CPU time is of this process. The records are 16 bytes, so none of it is their writing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from guards.digest import Digest
from guards.provenance import ledger, logproof
from guards.provenance.lines import Entry
from guards.provenance.manifest import Name
from guards.provenance.signing import PrivateKey, generate, load_private
from guards.provenance.trust import Trust, TrustedKey

SIZES = (100, 1_000, 10_000)
MEASURED = 40
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of the log")
    parser.add_argument("--data", type=Path, help="grow the log here; default: a temporary place")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.data) as place:
        print(table(Path(place), given.sizes))


def table(home: Path, sizes: list[int]) -> str:
    """A line a size: milliseconds an append and a proof take, seconds to verify, bytes."""
    public = generate(home / "key")
    key, directory = load_private(home / "key" / "key.pem"), home / "ledger"
    trust = Trust(keys=(TrustedKey(key=public, roles=("scanner",), names=("acme/*",)),))
    lines = [
        "| entries | append wall ms | CPU ms | proof ms | proof bytes | verify CPU s | tiles MB |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    done = 0
    for size in sorted(sizes):
        appended = [timed(lambda: append(directory, key)) for _ in range(size - done)][-MEASURED:]
        done = size
        told = [f"{size:,}", *(f"{middle(appended, clock):.1f}" for clock in (0, 1))]
        lines.append(f"| {' | '.join([*told, *proofs(directory, trust, size)])} |")
    return "\n".join(lines)


def append(directory: Path, key: PrivateKey) -> None:
    stated = ledger.current(directory)
    number = stated.size if stated else 0
    data = b"record %09d" % number
    entry = Entry(
        record=Digest.of(data),
        name=Name("acme/flights", f"{number:09}"),
        version=1,
        root=Digest.of(data),
        decision="PASS",
        policy=Digest.of(b"policy"),
        time=NOW,
    )
    ledger.append(directory, entry, data, key, since=stated)


def proofs(directory: Path, trust: Trust, size: int) -> list[str]:
    some = [size * n // MEASURED for n in range(MEASURED)]
    made = [logproof.prove(directory, index) for index in some]
    assert all(logproof.check(proof, trust).index == i for proof, i in zip(made, some, strict=True))
    took = [timed(lambda index=index: logproof.prove(directory, index)) for index in some]
    _, cpu = timed(lambda: ledger.verify(directory, trust))
    weight = sum(path.stat().st_size for path in (directory / "tile").rglob("*") if path.is_file())
    longest = max(map(len, made))
    return [f"{middle(took, 0):.1f}", f"{longest:,}", f"{cpu:.2f}", f"{weight / 1e6:.1f}"]


def timed(what: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - wall, time.process_time() - cpu


def middle(times: list[tuple[float, float]], clock: int) -> float:
    """The median, in milliseconds."""
    return 1000 * statistics.median(one[clock] for one in times)


if __name__ == "__main__":
    main()
