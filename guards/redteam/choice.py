"""Which rows an attack takes, and what they will be called: a pure function of the labels.

The same choice is made for a dataset (:mod:`guards.redteam.plan`) and for arrays
(:mod:`guards.redteam.arrays`). It depends on the labels, the request and the generator alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.errors import UsageError
from guards.redteam.attacks import Attack, Settled, flip

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The planted `rows` (m,), ascending, and their new `labels` (m,); the `cover` rows beside.

    `victim` is the class that the attack means, or None for all of them. `originals` (m,) are the
    rows that planted ones become near copies of, or None.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    cover: NDArray[np.int64]
    victim: int | None = None
    originals: NDArray[np.int64] | None = None


def count_of(rate: float, rows: int) -> int:
    """round(rate * rows); UsageError where that is no share, or no row."""
    if not 0 < rate < 1:
        raise UsageError(f"--rate is a share of all rows, between 0 and 1; got {rate:g}")
    if not (count := round(rate * rows)):
        raise UsageError(f"{rate:g} of {rows} rows is no row at all; raise --rate")
    return count


def aimed(attack: Attack, classes: int, target: int | None, rng: np.random.Generator) -> int | None:
    """The target class: as given, or drawn where the attack needs one."""
    if target is not None:
        if attack.label in {"uniform", "next"}:
            raise UsageError(f"attack {attack.name!r} means every other class: no --target")
        return target
    return int(rng.integers(classes)) if attack.label in {"target", "own"} else None


def choose(
    attack: Attack,
    labels: NDArray[np.int64],
    classes: int,
    rate: float,
    rng: np.random.Generator,
    *,
    may: NDArray[np.bool_],
    settings: Settled,
    target: int | None = None,
    victim: int | None = None,
) -> Choice:
    """Choose exactly round(rate * n) rows to plant, of labels (n,) in range(classes) or -1.

    `may` (n,) are the rows that can be used at all. Cover rows come on top: `cover` for each
    planted one, rounded. Raises UsageError when there are not as many rows as that.
    """
    count = count_of(rate, len(labels))
    if "victim" in settings and victim is None:
        victim = int(rng.choice([c for c in range(classes) if c != target]))
    if victim is not None and victim == target:
        raise UsageError("the victim is the target class; choose another")
    may = may & (labels >= 0)
    originals = _originals(attack, labels, may, count, target, settings, rng)
    fit = may & _fits(attack, labels, classes, target, victim)
    if originals is not None:
        fit[originals] = False
    rows = _drawn(fit, count, rng, int(settings.get("batches") or 1))
    renamed = _renamed(attack, labels[rows], classes, target, rng)
    cover = _covered(labels, may, rows, target, victim, settings, rng)
    return Choice(rows=rows, labels=renamed, cover=cover, victim=victim, originals=originals)


def _fits(
    attack: Attack,
    labels: NDArray[np.int64],
    classes: int,
    target: int | None,
    victim: int | None,
) -> NDArray[np.bool_]:
    """Rows (n,) whose label this attack starts from."""
    fit: NDArray[np.bool_] = np.ones(len(labels), np.bool_)
    if victim is not None:
        fit = labels == victim
    elif attack.label == "own":
        fit = labels == target
    elif attack.label == "target":
        fit = labels != target
    elif attack.label == "pair" and target is not None:
        fit = labels == (target - 1) % classes
    return fit


def _drawn(
    may: NDArray[np.bool_], count: int, rng: np.random.Generator, batches: int
) -> NDArray[np.int64]:
    """Draw `count` of the rows that may, as many (or one more) in each of `batches` runs."""
    runs = np.array_split(np.arange(len(may)), batches)
    shares = [len(share) for share in np.array_split(np.arange(count), batches)]
    drawn = []
    for run, share in zip(runs, shares, strict=True):
        free = run[may[run]]
        if share > len(free):
            where = f"a batch of {len(run)} rows" if batches > 1 else f"{len(may)} rows"
            raise UsageError(
                f"{share} of {where} are to be planted, but only {len(free)} rows can be used for "
                "this; lower --rate"
            )
        drawn.append(rng.choice(free, share, replace=False))
    return np.sort(np.concatenate(drawn))


def _renamed(
    attack: Attack,
    old: NDArray[np.int64],
    classes: int,
    target: int | None,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    if attack.label in {"target", "own"}:
        return np.full(len(old), target, np.int64)
    return flip(old, classes, attack.label, rng)


def _covered(
    labels: NDArray[np.int64],
    may: NDArray[np.bool_],
    planted: NDArray[np.int64],
    target: int | None,
    victim: int | None,
    settings: Settled,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The rows that will carry the trigger under their own label."""
    count = round(float(settings.get("cover") or 0) * len(planted))
    free = may.copy()
    free[planted] = False
    if victim is not None:
        free &= (labels != victim) & (labels != target)
    if count > free.sum():
        raise UsageError(
            f"{count} cover rows are wanted, but only {free.sum()} rows are left for them; "
            "lower --rate or the setting cover"
        )
    return np.sort(rng.choice(np.flatnonzero(free), count, replace=False))


def _originals(
    attack: Attack,
    labels: NDArray[np.int64],
    may: NDArray[np.bool_],
    count: int,
    target: int | None,
    settings: Settled,
    rng: np.random.Generator,
) -> NDArray[np.int64] | None:
    """For each planted row the one it will be a copy of, of another class than the target."""
    if "originals" not in settings:
        return None
    free = np.flatnonzero(may & (labels != target))
    wanted = min(int(settings["originals"] or 1), count)
    if wanted >= len(free):
        raise UsageError(f"{wanted} originals are wanted, and {len(free)} rows can be; take fewer")
    return np.resize(rng.choice(free, wanted, replace=False), count)
