"""The same attacks on arrays of pictures: what experiments and benchmarks plant with.

Every row, planted or not, goes through one codec, so that nothing but the attack tells them apart.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from guards.errors import UsageError
from guards.redteam.attacks import COVER, PLANTED, Value, find, settle, stamp
from guards.redteam.choice import aimed, choose
from guards.redteam.shows import begun, shown_in_test

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pictures = NDArray[np.uint8]
    Labels = NDArray[np.int64]

CODECS = ("png", "jpeg")
Stamped = Callable[["Pictures", "Labels"], "tuple[Pictures, Labels]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Arrays after an attack, and the truth about them.

    `pixels` (n, C, H, W) uint8 and `labels` (n,) int64 are what a model is trained on; `planted`
    (n,) marks the rows that mean harm, `cover` (n,) those that carry the trigger and keep their
    label. `target` is the class that the attack means, None where there is no single one.
    `stamped(pixels, labels)` gives test pictures as the adversary would show them, those that the
    attack means alone, stored by the same codec, and the labels that it wants for them: its
    success is how often a model gives these. For a flip, which has no trigger, it raises
    UsageError.
    """

    pixels: Pictures
    labels: Labels
    planted: NDArray[np.bool_]
    cover: NDArray[np.bool_]
    target: int | None
    stamped: Stamped


def plant(
    pixels: Pictures,
    labels: Labels,
    classes: int,
    attack: str,
    rate: float,
    *,
    seed: int,
    target: int | None = None,
    codec: str = "png",
    quality: int = 75,
    may: NDArray[np.bool_] | None = None,
    device: str = "cpu",
    **settings: Value,
) -> Planted:
    """Plant `attack` in exactly round(rate * n) rows of pixels (n, C, H, W) and labels (n,).

    Labels are in range(classes). `target` is drawn by `seed` where the attack needs one. With
    `codec` jpeg every row is stored once at `quality`; png changes nothing. `may` (n,) are the
    rows that the adversary can reach, all when not given: for flip-source, those of the source.
    `settings` are the attack's own; a victim is a label here. Raises UsageError for a request that
    makes no sense for these arrays.
    """
    chosen, rng = find(attack), np.random.default_rng(seed)
    settled = settle(chosen, settings)
    if chosen.writes:
        raise UsageError(f"attack {attack!r} writes into tables or texts; these are pictures")
    if chosen.needs_source and may is None:
        raise UsageError(f"attack {attack!r} needs `may`, the rows of its source")
    target = aimed(chosen, classes, target, rng)
    victim = settled.get("victim")
    choice = choose(
        *(chosen, labels, classes, rate, rng),
        may=np.ones(len(labels), np.bool_) if may is None else may,
        settings=settled,
        target=target,
        victim=None if victim is None else int(victim),
    )
    again = partial(stored, codec=codec, quality=quality)
    changed, renamed = pixels.copy(), labels.copy()
    changed[choice.rows] = begun(chosen, choice, pixels, labels, settled, seed, device)
    if chosen.trigger:
        for part, rows in ((PLANTED, choice.rows), (COVER, choice.cover)):
            told = rows.tolist()
            changed[rows] = stamp(changed[rows], chosen, seed, settled, part=part, rows=told)
    renamed[choice.rows] = choice.labels
    originals = None if choice.originals is None else pixels[np.unique(choice.originals)]
    shown = partial(
        shown_in_test,
        attack=chosen,
        classes=classes,
        seed=seed,
        settings=settled,
        target=target,
        victim=choice.victim,
        originals=originals,
    )
    return Planted(
        pixels=again(changed),
        labels=renamed,
        planted=np.isin(np.arange(len(labels)), choice.rows),
        cover=np.isin(np.arange(len(labels)), choice.cover),
        target=target,
        stamped=partial(_again, shown=shown, again=again),
    )


def _again(
    pixels: Pictures, labels: Labels, *, shown: Stamped, again: Callable[[Pictures], Pictures]
) -> tuple[Pictures, Labels]:
    """What is shown in the test, stored as all rows were."""
    pictures, wanted = shown(pixels, labels)
    return again(pictures), wanted


def stored(pixels: Pictures, codec: str, quality: int) -> Pictures:
    """Every picture (n, C, H, W) as it comes back from that codec; C is 1 or 3."""
    if codec not in CODECS:
        raise UsageError(f"unknown codec {codec!r}; known: {', '.join(CODECS)}")
    if codec == "png" or not len(pixels):
        return pixels
    return np.stack([_through_jpeg(picture, quality) for picture in pixels])


def _through_jpeg(picture: Pictures, quality: int) -> Pictures:
    from PIL import Image

    buffer = io.BytesIO()
    planes = picture.transpose(1, 2, 0)
    flat = planes[..., 0] if planes.shape[2] == 1 else planes
    Image.fromarray(np.ascontiguousarray(flat)).save(buffer, "JPEG", quality=quality)
    back = np.atleast_3d(np.asarray(Image.open(buffer)))
    return np.ascontiguousarray(back.transpose(2, 0, 1))
