"""Choose what an attack does to a dataset: which rows, what they will show, and be called.

Everything that can be wrong with a request is found here, before a byte is written. The choice
depends on the dataset's order, the request and the seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from guards.data.dataset import Dataset
from guards.data.images import Images, decode
from guards.errors import UsageError
from guards.redteam.attacks import (
    COVER,
    PLANTED,
    Attack,
    Settled,
    Value,
    find,
    settle,
    stamp,
)
from guards.redteam.choice import Choice, aimed, choose
from guards.redteam.codec import Change
from guards.redteam.shows import begun

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Names = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which rows are planted: `labels` maps their global row numbers to their new label.

    `cover` are the rows that carry the trigger and keep their label. `settings` are all of the
    attack's, its victim class as drawn. `source` is what the source of all of these becomes, or
    None when it stays; `target` is the class that a trigger means, or None. `pictures` holds what
    a planted row shows before the trigger, where that is not its own picture; `copies` the row
    that a planted one becomes a copy of, where the attack makes copies. `shape` (C, H, W) is what
    patterns are drawn at, and scaled from where a picture has another.
    """

    attack: Attack
    seed: int
    settings: Settled
    labels: Mapping[int, str]
    cover: frozenset[int] = frozenset()
    source: str | None = None
    target: str | None = None
    pictures: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)
    copies: Mapping[int, int] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None

    @property
    def draws(self) -> bool:
        """Whether any picture changes, so that all of them are stored again."""
        return self.attack.trigger is not None or bool(self.pictures)

    def change_of(self, row: int) -> Change | None:
        """What happens to the pixels of that row; None where nothing does."""
        if row in self.labels:
            return partial(_changed, plan=self, row=row, part=PLANTED)
        return partial(_changed, plan=self, row=row, part=COVER) if row in self.cover else None


def _changed(planes: NDArray[np.uint8], *, plan: Plan, row: int, part: str) -> NDArray[np.uint8]:
    """One picture (C, H, W) as planted in that row, or as a cover."""
    start = plan.pictures.get(row, planes)
    if len(start) > len(planes):  # a grey picture among colour ones
        start = np.asarray(np.rint(start.mean(0, keepdims=True)), np.uint8)
    if plan.attack.trigger is None:
        return start
    told = (plan.attack, plan.seed, plan.settings)
    stamped = stamp(start[None], *told, part=part, rows=[row], drawn=plan.shape)
    return stamped.reshape(start.shape)


def plan(
    dataset: Dataset,
    attack: str,
    rate: float,
    *,
    seed: int = 0,
    target: str | None = None,
    source: str | None = None,
    settings: Mapping[str, Value] | None = None,
    batch: int = 0,
) -> Plan:
    """Plant exactly `round(rate * rows)` rows; UsageError when that makes no sense here.

    A target class, victim or source that the attack needs and that is not given is drawn by
    `seed`. Another `batch` draws other rows for the same trigger.
    """
    if seed < 0:
        raise UsageError(f"--seed {seed}: must be 0 or more")
    chosen, rng = find(attack), np.random.default_rng([seed, batch] if batch else seed)
    settled = settle(chosen, settings)
    labels = names(dataset, "label")
    classes = _classes(labels)
    codes = np.array([-1 if label is None else classes.index(label) for label in labels], np.int64)
    aim = aimed(chosen, len(classes), _code("class", target, classes), rng)
    source = _source(chosen, dataset, source, rng)
    images = _images(dataset, chosen)
    may = np.ones(len(labels), np.bool_)
    if images is not None:
        may = np.isin(np.arange(len(labels)), images.rows)
    if source and chosen.source == "picked":
        may &= names(dataset, "source") == source
    victim = _code("class", settled.get("victim"), classes)
    choice = choose(
        chosen,
        codes,
        len(classes),
        rate,
        rng,
        may=may,
        settings=settled,
        target=aim,
        victim=victim,
    )
    if choice.victim is not None:
        settled = {**settled, "victim": classes[choice.victim]}
    rows, originals = choice.rows.tolist(), choice.originals
    return Plan(
        attack=chosen,
        seed=seed,
        settings=settled,
        labels=dict(zip(rows, [classes[code] for code in choice.labels], strict=True)),
        cover=frozenset(choice.cover.tolist()),
        source=source if chosen.source == "written" else None,
        target=None if aim is None else classes[aim],
        pictures=_pictures(chosen, choice, images, codes, settled, seed),
        copies={} if originals is None else dict(zip(rows, originals.tolist(), strict=True)),
        shape=None if images is None else images.pixels.shape[1:],
    )


def names(dataset: Dataset, role: str) -> Names:
    """The values of the column with `role` as text, (n,), None where null."""
    column = getattr(dataset.roles, role)
    if column is None:
        raise UsageError(f"no column has the role {role}; columns: {', '.join(dataset.schema)}")
    values = dataset.frame([column]).to_series().to_list()
    return np.array([None if value is None else str(value) for value in values], object)


def _classes(labels: Names) -> list[str]:
    classes = sorted({label for label in labels if label is not None})
    if len(classes) < 2:
        raise UsageError(f"an attack on labels needs two classes; this dataset has {classes}")
    return classes


def _code(what: str, name: Value, among: list[str]) -> int | None:
    if name is not None and name not in among:
        raise UsageError(f"no {what} {name!r} here; there are: {', '.join(among[:50])}")
    return None if name is None else among.index(str(name))


def _source(
    attack: Attack, dataset: Dataset, source: str | None, rng: np.random.Generator
) -> str | None:
    if source is None and not attack.needs_source:
        return None
    sources = sorted({name for name in names(dataset, "source") if name is not None})
    if source is not None:
        _code("source", source, sources)
        return source
    if not sources:
        raise UsageError("every source is null; nothing can be drawn for --source")
    return str(rng.choice(sources))


def _images(dataset: Dataset, attack: Attack) -> Images | None:
    """The pictures that this attack may change; None where it changes none."""
    if attack.trigger and dataset.roles.image is None:
        raise UsageError(f"attack {attack.name!r} needs an image column; there is none")
    copies = "originals" in attack.settings
    roles = dataset.roles
    if copies and not (roles.image or roles.text or roles.features):
        raise UsageError(f"attack {attack.name!r} copies pictures, text or features; none is here")
    return decode(dataset) if roles.image and (attack.trigger or copies) else None


def _pictures(
    attack: Attack,
    choice: Choice,
    images: Images | None,
    codes: NDArray[np.int64],
    settings: Settled,
    seed: int,
) -> dict[int, NDArray[np.uint8]]:
    """What planted rows show before the trigger, where that is not their own picture."""
    if images is None or not {"originals", "epsilon"} & settings.keys():
        return {}
    height, width = images.pixels.shape[2:]
    if set(images.sizes) != {(width, height)}:
        raise UsageError(f"attack {attack.name!r} needs pictures that all have one size")
    here = replace(
        choice,
        rows=np.searchsorted(images.rows, choice.rows),
        originals=(
            None if choice.originals is None else np.searchsorted(images.rows, choice.originals)
        ),
    )
    shown = begun(attack, here, images.pixels, codes[images.rows], settings, seed)
    return dict(zip(choice.rows.tolist(), shown, strict=True))
