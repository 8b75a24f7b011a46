"""Choose what an attack does to a dataset: which rows, and what they will be called.

Everything that can be wrong with a request is found here, before a byte is written. The choice
depends on the dataset's order, the request and the seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from guards.data.dataset import Dataset
from guards.data.images import decode
from guards.errors import UsageError
from guards.redteam.attacks import Attack, find, flip, stamp
from guards.redteam.codec import Change

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Names = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which rows are planted: `labels` maps their global row numbers to their new label.

    `source` is what their source becomes, or None when it stays; `target` is the class that a
    trigger means, or None.
    """

    attack: Attack
    seed: int
    labels: dict[int, str]
    source: str | None = None
    target: str | None = None

    @property
    def change(self) -> Change | None:
        """What happens to the pixels of a planted row; None when labels alone change."""
        return partial(stamp, attack=self.attack, seed=self.seed) if self.attack.trigger else None


def plan(
    dataset: Dataset,
    attack: str,
    rate: float,
    *,
    seed: int = 0,
    target: str | None = None,
    source: str | None = None,
) -> Plan:
    """Plant exactly `round(rate * rows)` rows; UsageError when that makes no sense here.

    A target class or source that the attack needs and that is not given is drawn by `seed`.
    """
    chosen, rng = find(attack), np.random.default_rng(seed)
    count = _count(rate, dataset.rows)
    labels = names(dataset, "label")
    classes = _classes(labels)
    target = _target(chosen, classes, target, rng)
    source = _source(chosen, dataset, source, rng)
    may = _usable(dataset, chosen, labels, classes, target)
    if source and chosen.source == "picked":
        may &= names(dataset, "source") == source
    if count > may.sum():
        raise UsageError(
            f"{rate:g} of {dataset.rows} rows is {count}, but only {may.sum()} rows "
            "can be used for this; lower --rate"
        )
    rows = np.sort(rng.choice(np.flatnonzero(may), count, replace=False))
    renamed = _renamed(chosen, labels[rows], classes, target, rng)
    return Plan(
        attack=chosen,
        seed=seed,
        labels=dict(zip(rows.tolist(), renamed, strict=True)),
        source=source if chosen.source == "written" else None,
        target=target,
    )


def names(dataset: Dataset, role: str) -> Names:
    """The values of the column with `role` as text, (n,), None where null."""
    column = getattr(dataset.roles, role)
    if column is None:
        raise UsageError(f"no column has the role {role}; columns: {', '.join(dataset.schema)}")
    values = dataset.frame([column]).to_series().to_list()
    return np.array([None if value is None else str(value) for value in values], object)


def _count(rate: float, rows: int) -> int:
    if not 0 < rate < 1:
        raise UsageError(f"--rate is a share of all rows, between 0 and 1; got {rate:g}")
    if not (count := round(rate * rows)):
        raise UsageError(f"{rate:g} of {rows} rows is no row at all; raise --rate")
    return count


def _classes(labels: Names) -> list[str]:
    classes = sorted({label for label in labels if label is not None})
    if len(classes) < 2:
        raise UsageError(f"an attack on labels needs two classes; this dataset has {classes}")
    return classes


def _known(what: str, name: str, among: list[str]) -> str:
    if name not in among:
        raise UsageError(f"no {what} {name!r} here; there are: {', '.join(among[:50])}")
    return name


def _target(
    attack: Attack, classes: list[str], target: str | None, rng: np.random.Generator
) -> str | None:
    if target is not None:
        if attack.label == "uniform":
            raise UsageError(f"attack {attack.name!r} flips to every other class: no --target")
        return _known("class", target, classes)
    return str(rng.choice(classes)) if attack.label == "target" else None


def _source(
    attack: Attack, dataset: Dataset, source: str | None, rng: np.random.Generator
) -> str | None:
    if source is None and not attack.needs_source:
        return None
    sources = sorted({name for name in names(dataset, "source") if name is not None})
    if source is not None:
        return _known("source", source, sources)
    if not sources:
        raise UsageError("every source is null; nothing can be drawn for --source")
    return str(rng.choice(sources))


def _usable(
    dataset: Dataset, attack: Attack, labels: Names, classes: list[str], target: str | None
) -> NDArray[np.bool_]:
    """Rows (n,) that this attack may plant: labelled, not yet of the target, and decodable."""
    may = np.array([label is not None for label in labels])
    match attack.label:
        case "target":
            may &= labels != target
        case "pair" if target:
            may &= labels == classes[classes.index(target) - 1]
    if attack.trigger:
        if dataset.roles.image is None:
            raise UsageError(f"attack {attack.name!r} needs an image column; there is none")
        may[[row for row, _ in decode(dataset).failed]] = False
    return may


def _renamed(
    attack: Attack, old: Names, classes: list[str], target: str | None, rng: np.random.Generator
) -> list[str]:
    if attack.label == "target":
        return [str(target)] * len(old)
    codes = np.searchsorted(np.array(classes, object), old)
    return [classes[code] for code in flip(codes, len(classes), attack.label, rng)]
