"""What flagging wrong labels costs, ours and cleanlab's, and whether the flags are the same.

    python benchmarks/label_issues.py [--case 1000000x10 200000x1000 20000x10000] [--repeats 3]

Each line is a process of its own that reads labels and probabilities (float64, 10 % of the labels
wrong, rows normalised) into memory and asks once: ours, `guards.numerics.confidence.label_issues`;
cleanlab's default, `find_label_issues`, with as many jobs as it takes itself and with one; and its
low-memory mode, `find_label_issues_batched`. *CPU s* is of the process and its children, *MB* what
the process held at most beyond data and imports (Linux; what its children copied is not in it), and
*same flags* compares the mask with that of cleanlab's default. The median of the repeats is given;
wall seconds of a machine that others use too say little. cleanlab comes with the extra `bench`;
without it only our lines are printed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import runs

CASES = ("1000000x10", "200000x1000", "20000x10000")
HEAD = ("rows x classes", "who", "CPU s", "wall s", "MB", "flagged", "same flags")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", default=CASES, help="ROWSxCLASSES")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--who", nargs="+", default=list(ASKED), choices=list(ASKED))
    parser.add_argument("--ask", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask:
        print(json.dumps(asked(given.ask[0], Path(given.ask[1]))))
        return
    lines = []
    for case in given.case:
        rows, classes = map(int, case.split("x"))
        with tempfile.TemporaryDirectory() as directory:
            generate(Path(directory), rows, classes)
            lines += compared(case, Path(directory), given)
    print(runs.table(HEAD, lines))


def compared(case: str, folder: Path, given: argparse.Namespace) -> list[tuple[object, ...]]:
    """The lines of one case, the peer's default first, since it is what all are held against."""
    lines: list[tuple[object, ...]] = []
    for who in given.who:
        if who != "ours" and not find_spec("cleanlab"):
            continue
        ran = [measured(who, folder) for _ in range(given.repeats)]
        cpu, wall, grown = (
            np.median([one[what] for one in ran]) for what in ("cpu", "wall", "grown")
        )
        flagged = np.load(folder / f"{who}.npy")
        default = folder / "cleanlab.npy"
        same = "-" if not default.is_file() else bool((np.load(default) == flagged).all())
        line = (f"{cpu:.2f}", f"{wall:.2f}", f"{grown:.0f}", int(flagged.sum()), same)
        lines.append((case, who, *line))
        print(*lines[-1], file=sys.stderr, flush=True)
    return lines


def measured(who: str, folder: Path) -> dict[str, float]:
    """Ask one of them in a process of its own."""
    command = [sys.executable, __file__, "--ask", who, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def asked(who: str, folder: Path) -> dict[str, float]:
    """What one call took; its mask is left in the folder."""
    warnings.simplefilter("ignore")
    labels, probabilities = np.load(folder / "labels.npy"), np.load(folder / "probabilities.npy")
    call = ASKED[who]()
    call(labels[:500] % 5, np.full((500, 5), 0.2) + np.eye(5)[labels[:500] % 5] / 100)  # imports
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held now
    before, cpu, wall = held("VmRSS"), spent(), time.perf_counter()
    flagged = call(labels, probabilities)
    cpu, wall = spent() - cpu, time.perf_counter() - wall
    found = {"cpu": cpu, "wall": wall, "grown": held("VmHWM") - before}
    np.save(folder / f"{who}.npy", flagged)
    return found


def held(which: str) -> float:
    """Memory of this process in MB: `VmRSS` now, `VmHWM` at most; as Linux counts it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith(which)).split()[1]) / 1024


def spent() -> float:
    """Processor seconds of this process and its finished children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def ours() -> Callable[..., np.ndarray]:
    from guards.numerics.confidence import label_issues

    return label_issues


def cleanlab(**more: int) -> Callable[..., np.ndarray]:
    from cleanlab.filter import find_label_issues

    return lambda labels, told: np.asarray(find_label_issues(labels, told, **more))


def batched() -> Callable[..., np.ndarray]:
    from cleanlab.experimental.label_issues_batched import find_label_issues_batched

    def call(labels: np.ndarray, told: np.ndarray) -> np.ndarray:
        return np.asarray(find_label_issues_batched(labels, told, verbose=False, return_mask=True))

    return call


ASKED: dict[str, Callable[[], Callable[..., np.ndarray]]] = {
    "cleanlab": cleanlab,
    "cleanlab, one job": lambda: cleanlab(n_jobs=1),
    "cleanlab, low memory": batched,
    "ours": ours,
}


def generate(folder: Path, rows: int, classes: int, seed: int = 100) -> None:
    """Labels of which a tenth is wrong, and probabilities that mostly know better, on disk."""
    rng = np.random.default_rng(seed)
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


if __name__ == "__main__":
    main()
