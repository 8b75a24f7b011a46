"""The recovered trigger of an alarm, and what is drawn of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.contact_sheet import contact_sheet, strip
from guards.explain.alarms import Alarm
from guards.findings import Exhibit
from guards.numerics import recovery
from guards.numerics.recovery import Recovered

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.image_features import ImageFeatures

    Pictures = npt.NDArray[np.uint8]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

SHOWN, ALIKE, MOST, MOST_VALUES = 8, 5, 256, 20_000_000
AGREE = 0.5  # between two halves of the held rows: below, the picture is not to be relied on


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What the held rows of an alarm carry, if it could be told, and the same as JSON."""

    trigger: Recovered | None
    told: dict[str, Any]

    def stamp(self, pixels: Pictures) -> Pictures:
        """Copies of the pictures (n, C, H, W) that carry it."""
        return pixels if self.trigger is None else recovery.stamp(pixels, self.trigger)


def pattern_of(features: ImageFeatures, rows: Ints, held: Bools) -> Pattern:
    """Recover what `rows` carry from the pictures they look like; `held` (n,) are never those."""
    most = min(MOST, max(MOST_VALUES // features.pixels[0].size, recovery.LEAST))
    chosen = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)]
    like = _alike(features, chosen, held)
    rng = np.random.default_rng([features.seed, 9])
    found = None
    if like is not None:
        found = recovery.recover(features.pixels[chosen], features.pixels[like], rng)
    if found is None:
        why = (
            f"{len(rows)} rows are too few to tell"
            if len(rows) < recovery.LEAST
            else "the held pictures have no pixel in common that they should not"
        )
        return Pattern(trigger=None, told={"missing": why})
    return Pattern(trigger=found, told=_describe(found))


def exhibits_of(
    features: ImageFeatures, alarm: Alarm, pattern: Pattern, number: int
) -> tuple[Exhibit, ...]:
    """The trigger laid open, and held pictures above ordinary ones."""
    sheet = _sheet(features, alarm, pattern, number)
    if pattern.trigger is None:
        return (sheet,)
    return _strip(features, alarm, pattern, pattern.trigger, number), sheet


def _describe(found: Recovered) -> dict[str, Any]:
    return {
        "box": list(found.box),
        "whole_picture": bool(found.mask.all()),
        "pixels": int(found.mask.sum()),
        "size": list(found.mask.shape),
        "opacity": round(found.opacity, 4),
        "agreement": round(found.agreement, 4),
        "reliable": found.agreement >= AGREE,
    }


def _alike(features: ImageFeatures, rows: Ints, held: Bools) -> Ints | None:
    """(m, ALIKE): the rows nearest to each in the label-free space, of the label it looks like.

    Of any label where that one has too few rows that are not held; None where all have too few.
    """
    points = features.embedding / (np.linalg.norm(features.embedding, axis=1)[:, None] + 1e-12)
    found = np.full((len(rows), ALIKE), -1, np.int64)
    for look in np.unique(features.looks[rows]).tolist():
        mine = np.flatnonzero(features.looks[rows] == look)
        theirs = np.flatnonzero(~held & (features.labels == look))
        if len(theirs) < ALIKE:
            theirs = np.flatnonzero(~held)
        if len(theirs) < ALIKE:
            return None
        near = -(points[rows[mine]] @ points[theirs].T)
        found[mine] = theirs[np.argsort(near, axis=1, kind="stable")[:, :ALIKE]]
    return found


def _strip(
    features: ImageFeatures, alarm: Alarm, pattern: Pattern, trigger: Recovered, number: int
) -> Exhibit:
    """The pattern enlarged, where it lies, and a picture of another class without and with it."""
    other = np.setdiff1d(np.arange(len(features.labels)), alarm.rows)
    plain = other[(features.labels[other] != alarm.target) & (features.share[other] >= 0.5)]
    plain = plain[:1] if len(plain) else other[:1]
    shown = np.rint(trigger.pattern).astype(np.uint8)
    top, left, height, width = trigger.box
    # Black where it does not lie would be taken for a part of it.
    shown = np.where(trigger.mask, shown, np.uint8(128))[:, top : top + height, left : left + width]
    where = np.where(trigger.mask, np.uint8(0), np.uint8(225))[None]
    local = not trigger.mask.all()
    tiles = {
        "the pattern, enlarged": shown,
        **({"where it lies (dark)": where} if local else {}),
        "an ordinary picture": features.pixels[plain[0]],
        "the same, carrying it": pattern.stamp(features.pixels[plain])[0],
    }
    sure = f"Two halves of the rows agree on it with a correlation of {trigger.agreement:.2f}"
    doubt = "" if trigger.agreement >= AGREE else ": do not rely on this picture"
    return Exhibit(
        name=f"trigger-{number}.png",
        data=strip(tiles),
        caption="The pattern as estimated from the held pictures, enlarged; "
        f"{'where in the picture it lies; ' if local else ''}an ordinary picture of another class; "
        f"and the same with the pattern laid on it. {sure}{doubt}.",
    )


def _sheet(features: ImageFeatures, alarm: Alarm, pattern: Pattern, number: int) -> Exhibit:
    trigger, target = pattern.trigger, alarm.target
    surest = alarm.rows[np.argsort(features.share[alarm.rows], kind="stable")][:SHOWN]
    ordinary = features.share >= 0.5
    if target is not None:
        ordinary &= features.labels == target
    ordinary[alarm.rows] = False
    name = "of all classes" if target is None else f"labelled {features.classes[target]}"
    local = trigger is not None and not trigger.mask.all()
    return Exhibit(
        name=f"rows-{number}.png",
        data=contact_sheet(
            {
                "held rows": features.pixels[surest],
                "ordinary rows": features.pixels[np.flatnonzero(ordinary)[:SHOWN]],
            },
            trigger.box if trigger is not None and local else None,
        ),
        caption=f"Above: held rows {name}{', the region outlined' if local else ''}. "
        f"Below: ordinary rows {name}.",
    )
