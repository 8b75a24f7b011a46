"""What a million files cost to sign and to verify: time, peak memory, and what lies beside them.

The files are tiny, as many directories of pictures are; each step is a process of its own. The
floor lists the tree and opens, reads and hashes every file, and holds nothing. With `--rows` it
prints instead what naming the rows of one Parquet file costs beside opening it. The figures of
docs/provenance.md are those of `--files 1000000` and of `--rows 1000000`.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NAME = "acme/bench"
PEAK = "VmHWM:"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rows", type=int, help="of one Parquet file, instead of many files")
    parser.add_argument("--data", type=Path, help="make the data here; default: a temporary place")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "HOME"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(alone(STEPS[given.measure[0]], Path(given.measure[1]))))
        return
    with tempfile.TemporaryDirectory(dir=given.data) as place:
        home = Path(place)
        os.environ["TOADSTONE_HOME"] = str(home / "state")
        print(rows(home, given.rows) if given.rows else files(home, given.files))


def files(home: Path, count: int) -> str:
    from runs import table  # not where things are measured: it brings scipy

    for number in range(count):
        path = home / "tree" / f"{number // 1000:04d}" / f"{number:07d}.png"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(b"%d" % number)
    names = ("floor", "sign", "verify")
    told = [(name, *line(apart(name, home))) for name in names]
    beside = sorted(home.glob("tree.manifest*"))
    sizes = [f"{path.name}: {path.stat().st_size / 1e6:.2f} MB" for path in beside]
    head = ("", "wall s", "CPU s", "peak MiB")
    return "\n".join([f"{count} files\n", table(head, told), "", *sizes])


def rows(home: Path, count: int) -> str:
    from runs import table

    make_table(home / "tree", count)
    told = [(name, *line(apart(name, home))) for name in ("open", "name rows")]
    size = sum(path.stat().st_size for path in (home / "tree").iterdir()) / 1e6
    head = ("", "wall s", "CPU s", "peak MiB")
    return f"{count} rows of 20 columns, {size:.0f} MB\n\n{table(head, told)}"


def make_table(tree: Path, count: int) -> None:
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    numbers = {f"x{k}": rng.normal(size=count) for k in range(15)}
    words = {f"s{k}": rng.integers(0, 1000, count).astype(str) for k in range(5)}
    tree.mkdir()
    pl.DataFrame({**numbers, **words}).write_parquet(tree / "a.parquet")


def line(measured: dict[str, float]) -> tuple[str, str, str]:
    return f"{measured['wall']:.1f}", f"{measured['cpu']:.1f}", f"{measured['mib']:.0f}"


def apart(name: str, home: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", name, str(home)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def alone(step: Callable[[Path], object], home: Path) -> dict[str, float]:
    gc.disable()  # as the command does
    began, start = time.perf_counter(), time.process_time()
    step(home)
    wall, cpu = time.perf_counter() - began, time.process_time() - start
    status = Path("/proc/self/status").read_text()  # ru_maxrss counts who started this, too
    return {"wall": wall, "cpu": cpu, "mib": int(status.partition(PEAK)[2].split()[0]) / 1024}


def floor(home: Path) -> None:
    for directory, _, names in os.walk(home / "tree"):
        for name in names:
            with open(f"{directory}/{name}", "rb", buffering=0) as file:  # noqa: PTH123
                hashlib.sha256(file.read()).hexdigest()


def sign(home: Path) -> None:
    from guards.provenance import trust
    from guards.provenance.manifest import parse_name
    from guards.provenance.signing import generate, load_private
    from guards.publish import Claim, publish

    key = generate(home / "keys")
    trusted = trust.TrustedKey(key=key, roles=trust.ROLES, names=("acme/*",))
    trust.create(home / "trust", trusted)
    claim = Claim(name=parse_name(NAME), version=1)
    publish(home / "tree", claim, load_private(home / "keys" / "key.pem"))


def verify(home: Path) -> None:
    from guards.provenance import trust
    from guards.verify import Claimed
    from guards.verify import verify as prove

    manifest, trusted = home / "tree.manifest.json", trust.load(home / "trust")
    assert prove(Claimed(dataset=home / "tree", manifest=manifest, trust=trusted))


def opened(home: Path) -> object:
    from guards.data.dataset import open_dataset

    return open_dataset(home / "tree", ["a.parquet"])


def named(home: Path) -> None:
    from guards.data.content import content_digest
    from guards.data.dataset import open_dataset

    dataset = open_dataset(home / "tree", ["a.parquet"])
    content_digest(dataset, dataset.shards[0])


STEPS: dict[str, Callable[[Path], object]] = {
    "floor": floor,
    "sign": sign,
    "verify": verify,
    "open": opened,
    "name rows": named,
}

if __name__ == "__main__":
    main()
