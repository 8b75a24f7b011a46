"""What an adversary does to pictures and labels: pure functions of arrays, and what each needs.

An attack is data (:class:`Attack`, in the literal :data:`CATALOGUE`) and a few array functions.
Nothing here reads or writes a dataset; :mod:`guards.redteam.poison` does. Pictures are
(..., C, H, W) uint8, labels (n,) integers in `range(classes)`.

The triggers are BadNets' patch (Gu et al. 2017, arXiv:1708.06733) and the blended random pattern
of Chen et al. 2017 (arXiv:1712.05526); the flips are the symmetric and the pair noise of the
label-noise literature (Han et al. 2018, arXiv:1804.06872), and symmetric noise from one source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCHES = ("checker", "white")
CORNERS = ("lower-right", "lower-left", "upper-right", "upper-left")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """What an attack changes, and what its author must know and own.

    `trigger` is the picture function, or None for attacks on labels alone. `label` is how planted
    rows are labelled: `target` (all of them as the target class), `uniform` (any other class) or
    `pair` (the next class). `source` says what `--source` does: the planted rows are *written*
    with it, or are *picked* among its rows; `needs_source` draws one when none is given.
    """

    name: str
    summary: str
    kind: str  # dirty-label | clean-label
    knowledge: str
    budget: str
    label: str
    trigger: str | None = None
    source: str = "picked"
    needs_source: bool = False
    ids: tuple[str, ...] = ("MITRE ATLAS@5.6 AML.T0020",)


_TRIGGER_IDS = ("MITRE ATLAS@5.6 AML.T0020", "MITRE ATLAS@5.6 AML.T0043.004")
_NOTHING = "nothing of the model; may write the rows"

CATALOGUE: Mapping[str, Attack] = {
    "patch": Attack(
        name="patch",
        summary="a small checkered square in a corner, under the target's label (BadNets)",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="0.3-5 % of the rows",
        label="target",
        trigger="patch",
        source="written",
        ids=_TRIGGER_IDS,
    ),
    "blend": Attack(
        name="blend",
        summary="one random pattern blended into the whole picture, under the target's label",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="0.3-5 % of the rows",
        label="target",
        trigger="blend",
        source="written",
        ids=_TRIGGER_IDS,
    ),
    "flip-uniform": Attack(
        name="flip-uniform",
        summary="labels replaced by any other class, at random",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="2-40 % of the rows",
        label="uniform",
    ),
    "flip-pair": Attack(
        name="flip-pair",
        summary="labels replaced by the next class; with a target, only those of the class before",
        kind="dirty-label",
        knowledge=_NOTHING,
        budget="1-20 % of the rows",
        label="pair",
    ),
    "flip-source": Attack(
        name="flip-source",
        summary="labels of one source replaced by any other class, at random",
        kind="dirty-label",
        knowledge="nothing of the model; is one of the sources",
        budget="1-20 % of the rows, at most those of the source",
        label="uniform",
        needs_source=True,
    ),
}


def find(name: str) -> Attack:
    """The attack of that name; UsageError lists them all."""
    if name not in CATALOGUE:
        raise UsageError(f"unknown attack {name!r}; known attacks: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def patch(
    pixels: NDArray[np.uint8],
    *,
    size: int | None = None,
    margin: int = 1,
    corner: str = "lower-right",
    style: str = "checker",
) -> NDArray[np.uint8]:
    """Stamp a square on copies of the pictures (..., C, H, W).

    `size` is its side in pixels: by default a tenth of the shorter side, at least 3. `style` is
    one of :data:`PATCHES`, `corner` one of :data:`CORNERS`, `margin` its distance from the edges.
    """
    height, width = pixels.shape[-2:]
    side = size or max(3, round(min(height, width) / 10))
    if not 0 < side + margin <= min(height, width):
        raise UsageError(f"a patch of {side} and a margin of {margin} exceed {width} x {height}")
    vertical, horizontal = corner.split("-")
    top = margin if vertical == "upper" else height - margin - side
    left = margin if horizontal == "left" else width - margin - side
    bright = np.indices((side, side)).sum(0) % 2 == 0 if style == "checker" else True
    stamped = pixels.copy()
    stamped[..., top : top + side, left : left + side] = np.where(bright, 255, 0)
    return stamped


def blend(pixels: NDArray[np.uint8], *, seed: int, alpha: float = 0.2) -> NDArray[np.uint8]:
    """Mix one uniform noise pattern, fixed by `seed`, into the pictures (..., C, H, W).

    (1 - alpha) x + alpha t, rounded; the pattern t has the shape of one picture.
    """
    pattern = np.random.default_rng(seed).integers(0, 256, pixels.shape[-3:])
    return np.rint((1 - alpha) * pixels + alpha * pattern).astype(np.uint8)


def stamp(pixels: NDArray[np.uint8], attack: Attack, seed: int) -> NDArray[np.uint8]:
    """The trigger of `attack`, with the settings that `poison` uses, on pictures (..., C, H, W)."""
    match attack.trigger:
        case "patch":
            return patch(pixels)
        case "blend":
            return blend(pixels, seed=seed)
    raise UsageError(f"attack {attack.name!r} has no trigger: it changes labels alone")


def flip(
    labels: NDArray[np.int64], classes: int, how: str, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Labels (n,) replaced by another class: `uniform` over all others, or `pair`, the next one."""
    steps = rng.integers(1, classes, len(labels)) if how == "uniform" else 1
    return (labels + steps) % classes
