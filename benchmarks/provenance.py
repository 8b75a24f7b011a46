"""What proving bytes costs, as ratios to the floor: one thread of sha256 that reads each file once.

Every measurement is a process of its own, on data made for it, in random bytes; the page cache is
warm, since the floor of each set is measured after a first reading. CPU is of the whole process;
`after start` leaves out what importing costs, and is what the ratios are of, as the floor's is.
Peers that are not installed are left out. The figures of the README are those of
`--files 20000 --large 4096`; the default takes a minute or two.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

MIB = 1 << 20
NAME = "acme/bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000, help="of 64 KiB")
    parser.add_argument("--large", type=int, default=256, help="MiB of the one large file")
    parser.add_argument("--data", type=Path, help="make the data here; default: a temporary place")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "HOME"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(alone(given.measure[0], Path(given.measure[1]))))
        return
    with tempfile.TemporaryDirectory(dir=given.data) as place:
        home = Path(place)
        os.environ["TOADSTONE_HOME"] = str(home / "state")
        print(compared(home / "many", many(given.files), MANY), end="\n\n")
        print(compared(home / "one", one(given.large * MIB), ONE))


def many(count: int) -> Callable[[Path], None]:
    def make(tree: Path) -> None:
        for number in range(count):
            path = tree / f"{number // 1000:03d}" / f"{number:06d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(1 << 16))

    return make


def one(size: int) -> Callable[[Path], None]:
    def make(tree: Path) -> None:
        tree.mkdir(parents=True)
        with (tree / "large.bin").open("wb") as file:
            for _ in range(size // MIB):
                file.write(os.urandom(MIB))

    return make


def compared(home: Path, make: Callable[[Path], None], what: Mapping[str, str]) -> str:
    """Make a set, measure all of `what` on it, and put it beside the floor."""
    from runs import table  # not where things are measured: it brings scipy

    make(home / "tree")
    time.sleep(3)  # what was written a moment ago is not remembered by the index
    apart("claim", home)
    lines = {told: apart(name, home) for name, told in what.items() if present(name)}
    floor = lines[what["floor"]]
    rows = [
        (
            told,
            f"{line['cpu']:.2f}",
            f"{line['after']:.3f}",
            f"{line['after'] / floor['after']:.2f}",
            f"{line['wall']:.3f}",
            f"{line['wall'] / floor['wall']:.2f}",
            f"{line['mib']:.0f}",
        )
        for told, line in lines.items()
    ]
    head = ("", "CPU s", "after start", "x floor", "wall s", "x floor", "MiB")
    size = sum(path.stat().st_size for path in (home / "tree").rglob("*") if path.is_file())
    weight = {
        told: sum(path.stat().st_size for path in home.glob(pattern)) / 1e6
        for told, pattern in (("manifest and list", "tree.manifest*"), ("OMS", "oms.sig"))
    }
    shutil.rmtree(home)
    beside = ", ".join(f"{told} {size:.2f} MB" for told, size in weight.items())
    return f"{size / MIB:.0f} MiB; {beside}\n\n{table(head, rows)}"


def present(name: str) -> bool:
    return name not in PEERS or shutil.which(name.split()[0].replace("-", "_")) is not None


def apart(name: str, home: Path) -> dict[str, float]:
    """Run one measurement in its own process: ours and the floor here, a peer as it is."""
    if name in PEERS:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = PEERS[name](home / "tree")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"cpu": spent, "after": spent, "wall": wall, "mib": float("nan")}
    command = [sys.executable, __file__, "--measure", name, str(home)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def alone(name: str, home: Path) -> dict[str, float]:
    work = MEASURES[name](home)
    gc.disable()  # as the command does
    start, began = time.process_time(), time.perf_counter()
    work()
    wall, cpu = time.perf_counter() - began, time.process_time()
    helped = resource.getrusage(resource.RUSAGE_CHILDREN)  # those that read beside it have ended
    cpu += helped.ru_utime + helped.ru_stime
    status = Path("/proc/self/status").read_text()  # ru_maxrss counts who started this, too
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {"cpu": cpu, "after": cpu - start, "wall": wall, "mib": peak}


Work = Callable[[], object]


def floor(home: Path) -> Work:
    def paths() -> Iterator[str]:
        for directory, _, names in os.walk(home / "tree"):
            yield from (f"{directory}/{name}" for name in names)

    def read(path: str) -> None:
        hasher = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            while block := file.read(MIB):
                hasher.update(block)
        hasher.hexdigest()

    return lambda: [read(path) for path in paths()]


def claim(home: Path) -> Work:
    """Not measured: the keys, the trust and the signed manifest of a set."""
    from guards.provenance import trust
    from guards.provenance.signing import generate

    def make() -> None:
        public = generate(home / "keys")
        generate(home / "ec", "ecdsa-p256")  # the peer's kind of key
        key = trust.TrustedKey(key=public, roles=trust.ROLES, names=("acme/*",))
        trust.create(home / "trust", key)
        sign(home)()

    return make


def sign(home: Path) -> Work:
    """Read, list, claim and sign; `toadstone sign` also looks into tables, and these are none."""
    from guards.provenance.listing import listing_path, write_listing
    from guards.provenance.manifest import Manifest, parse_name, payload
    from guards.provenance.signing import load_private
    from guards.provenance.signing import sign as seal
    from guards.provenance.snapshot import take

    path = home / "tree.manifest.json"

    def work() -> None:
        listing_path(path).unlink(missing_ok=True)
        now = datetime.now(UTC).replace(microsecond=0)
        found = take(home / "tree").snapshot
        claimed = Manifest(name=parse_name(NAME), version=1, snapshot=found, created=now)
        listing = write_listing(found.files, listing_path(path)) if claimed.is_large else None
        signed = seal(payload(claimed, listing), load_private(home / "keys" / "key.pem"))
        path.write_bytes(signed.to_json())

    return work


def verify(home: Path, *, index: bool = False) -> Work:
    from guards.provenance import trust
    from guards.verify import Claimed
    from guards.verify import verify as prove

    def work() -> None:
        claimed = Claimed(
            dataset=home / "tree",
            manifest=home / "tree.manifest.json",
            trust=trust.load(home / "trust"),
            index=home / "index" if index else None,
        )
        assert prove(claimed)

    return work


def changed(home: Path) -> Work:
    """Not held to be proved: one file of 1,000 has another byte than when it was signed."""
    from guards.provenance import trust
    from guards.verify import Claimed, repairs
    from guards.verify import verify as prove

    victims = files_of(home / "tree")[::1000]
    for path in victims:
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])

    def work() -> None:
        claimed = Claimed(
            dataset=home / "tree",
            manifest=home / "tree.manifest.json",
            trust=trust.load(home / "trust"),
            index=home / "index",
        )
        assert len(repairs(claimed, prove(claimed))) == len(victims)

    return work


def part(home: Path) -> Work:
    from guards.provenance import trust
    from guards.provenance.part import Range
    from guards.verify import Claimed, look_at_part

    size = (home / "tree" / "large.bin").stat().st_size
    asked = Range(path="large.bin", offset=size // 2, length=MIB)

    def work() -> None:
        claimed = Claimed(
            dataset=home / "tree",
            manifest=home / "tree.manifest.json",
            trust=trust.load(home / "trust"),
        )
        assert look_at_part(claimed, (), (asked,)).holds

    return work


MEASURES: dict[str, Callable[[Path], Work]] = {
    "claim": claim,
    "floor": floor,
    "sign": sign,
    "changed": changed,
    "verify": verify,
    "first": lambda home: verify(home, index=True),
    "again": lambda home: verify(home, index=True),
    "range": part,
}
PEERS: dict[str, Callable[[Path], list[str]]] = {
    "sha256sum": lambda tree: ["sha256sum", *map(str, files_of(tree))],
    "b3sum": lambda tree: ["b3sum", *map(str, files_of(tree))],
    "model-signing sign": lambda tree: [
        *("model_signing", "sign", "key", "--private_key", str(tree.parent / "ec" / "key.pem")),
        *("--signature", str(tree.parent / "oms.sig"), str(tree)),
    ],
    "model-signing verify": lambda tree: [
        *("model_signing", "verify", "key", "--public_key", str(tree.parent / "ec" / "key.pub")),
        *("--signature", str(tree.parent / "oms.sig"), str(tree)),
    ],
    "dvc": lambda tree: [
        "sh",
        "-c",
        f"cd {tree.parent} && dvc init -q --no-scm && dvc add -q tree",
    ],
}


def files_of(tree: Path) -> list[Path]:
    return sorted(path for path in tree.rglob("*") if path.is_file())


MANY = {
    "floor": "sha256, one thread, each file once",
    "sign": "toadstone sign",
    "verify": "toadstone verify",
    "first": "toadstone verify --index, the first time",
    "again": "toadstone verify --index, nothing changed",
    "changed": "toadstone verify --index --repair-list, one file of 1,000 changed",
    "sha256sum": "sha256sum",
    "b3sum": "b3sum",
    "model-signing sign": "model-signing sign",
    "model-signing verify": "model-signing verify",
    "dvc": "dvc add",
}
ONE = {
    "floor": "sha256, one thread",
    "sign": "toadstone sign",
    "verify": "toadstone verify",
    "first": "toadstone verify --index, the first time",
    "again": "toadstone verify --index, nothing changed",
    "range": "toadstone verify --range, 1 MiB",
    "sha256sum": "sha256sum",
    "b3sum": "b3sum",
    "model-signing sign": "model-signing sign",
    "model-signing verify": "model-signing verify",
    "dvc": "dvc add",
}

if __name__ == "__main__":
    main()
