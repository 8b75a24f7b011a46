"""What do the held pictures carry? The pattern, its place and its opacity, from data alone.

The model of a trigger is  x' = (1 - a m) x + a m t:  a pattern t, laid over the pixels of a mask m
with one opacity a (1 for a patch, .2 for a faint blend). The clean x of a held picture is not
known, but the pictures that it looks like are. With those as `like`, midmeans M and interquartile
ranges R over the rows, which a quarter of wrongly held rows at either end does not move, give

    1 - a = sum R(x') / sum R(x),    a t = M(x') - (1 - a) M(x)

The mask is where a pixel moved by more than chance, or stands still where it should not; it is
the whole picture where that is a tenth of it, or where what is left outside moved alike in two
halves of the rows. Nobody knows the truth in use, so the picture is believed as far as the two
halves, each on its own, give the same one (`agreement`, a correlation).

Measured against the true trigger, by the correlation of the pattern (Fashion-MNIST, lossless, 3,000
rows, seeds 1-3) or of what both do to mid-grey (CIFAR-10, JPEG, 4,000 rows, seeds 101-103):

    Fashion, patch 3 x 3, 60 or 15 rows     to the pixel in 6 of 6; with 12 clean rows of 72, 3 of 3
    Fashion, blend .2, 60 rows              .91-.95, opacity .23-.27; with 12 clean rows the same
    Fashion, blend .2, 15 rows              .84-.86; blend .1, 60 rows: .67-.79
    Fashion, 60 flipped labels              nothing recovered, 3 of 3
    CIFAR-10, patch, 80 rows                .98, agreement .99
    CIFAR-10, blend .2, 80 rows             .82-.87, agreement .61-.67
    CIFAR-10, sinusoid (SIG), 200 rows      .96-.98

Known ways around it: a pattern without a fixed place or shape (a warp, one pattern a picture)
leaves no common change; then nothing is recovered, or the halves disagree, and either is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Pictures = npt.NDArray[np.uint8]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

LEAST = 8
FAINT = 0.03  # the opacity below which a pattern only adds
STILL = 6.0  # grey levels: what a codec moves a pixel by
# Standard errors that are no chance; the share of the largest change that is no noise beside it.
_MOVED, _BESIDE = 5.0, 0.2
_WHOLE, _ALIKE = 0.1, 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A trigger as the held pictures show it.

    `mask` (H, W) is where it lies, `opacity` in [0, 1] how much it covers there, `pattern`
    (C, H, W) in [0, 255] what it shows (what it adds to mid-grey if it covers nothing), and
    `added` (C, H, W) what it adds to a picture darkened by 1 - opacity. `agreement` is the
    correlation between two halves of the rows, in [-1, 1].
    """

    mask: Bools
    opacity: float
    pattern: Floats
    added: Floats
    agreement: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The smallest (top, left, height, width) around the mask."""
        return _box(self.mask)


def recover(held: Pictures, like: Pictures, rng: np.random.Generator) -> Recovered | None:
    """Estimate the trigger of `held` against `like`; None if there are too few, or nothing moved.

    Args:
        held: (m, C, H, W) uint8, rows that carry it, most of them.
        like: (m, k, C, H, W) uint8, for each the clean pictures that it looks like.
        rng: parts the rows into halves.
    """
    if len(held) < LEAST:
        return None
    halves = [(held[half], like[half]) for half in np.array_split(rng.permutation(len(held)), 2)]
    changes = [_change(*half) for half in halves]
    local = _moved(held, like)
    left = [_sharp(change * ~local) for change in changes]
    whole = local.mean() >= _WHOLE or _correlation(*left) >= _ALIKE
    if not local.any():
        return None
    mask = np.ones_like(local) if whole else local
    opacity, added = _fit(held, like, mask)
    seen = (
        changes if whole else [c * _moved(*half) for c, half in zip(changes, halves, strict=True)]
    )
    return Recovered(
        mask=mask,
        opacity=opacity,
        pattern=np.clip(added / opacity if opacity > FAINT else (128 + added) * mask, 0, 255),
        added=added,
        agreement=_correlation(*seen),
    )


def stamp(pixels: Pictures, trigger: Recovered) -> Pictures:
    """Lay the recovered trigger on copies of the pictures (n, C, H, W) uint8."""
    under = pixels * (1.0 - trigger.opacity * trigger.mask)
    stamped: Pictures = np.rint(np.clip(under + trigger.added, 0, 255)).astype(np.uint8)
    return stamped


def _fit(held: Pictures, like: Pictures, mask: Bools) -> tuple[float, Floats]:
    """The opacity over the mask, and what is added to a picture there (C, H, W)."""
    middle, spread = _moments(held)
    usual, wide = _moments(_flat(like))
    there = wide[:, mask].sum()
    opacity = float(np.clip(1 - spread[:, mask].sum() / there, 0, 1)) if there > 0 else 1.0
    return opacity, (middle - (1 - opacity) * usual) * mask


def _moved(held: Pictures, like: Pictures) -> Bools:
    """Pixels (H, W) that moved, or stand still where the pictures alike do not."""
    change, clean = _change(held, like), _flat(like)
    residual = held - like.mean(1, dtype=np.float64)
    error = (residual.std(0) + STILL) / np.sqrt(len(held))
    middle = np.median(held, axis=0)
    still = (np.abs(held - middle) <= STILL).mean(0) >= 0.75
    unlike = (np.abs(clean - middle) <= STILL).mean(0) <= 0.5
    found = (np.abs(residual.mean(0)) > _MOVED * error) | (still & unlike)
    found &= np.abs(change) >= _BESIDE * (np.abs(change) * found).max()
    mask: Bools = found.any(0)
    if mask.any():
        # What stands still inside belongs to it: black squares on a black ground change nothing.
        top, left, height, width = _box(mask)
        inside = np.s_[top : top + height, left : left + width]
        if height * width < 2 * mask.sum() + 2:
            mask[inside] |= still.all(0)[inside]
    return mask


def _change(held: Pictures, like: Pictures) -> Floats:
    """How far the middle of every pixel lies from that of the pictures alike, (C, H, W)."""
    return _moments(held)[0] - _moments(_flat(like))[0]


def _moments(pictures: Pictures) -> tuple[Floats, Floats]:
    """Midmean and interquartile range of every pixel over the pictures."""
    cut = len(pictures) // 4
    inner = np.sort(pictures, axis=0)[cut : len(pictures) - cut].astype(np.float64)
    return inner.mean(0), inner[-1] - inner[0]


def _sharp(change: Floats) -> Floats:
    """Every pixel against the one below and the one beside: natural differences are smooth."""
    sharp: Floats = 2 * change[:, :-1, :-1] - change[:, 1:, :-1] - change[:, :-1, 1:]
    return sharp


def _flat(like: Pictures) -> Pictures:
    return like.reshape(-1, *like.shape[2:])


def _box(mask: Bools) -> tuple[int, int, int, int]:
    tops, lefts = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(tops[0]), int(lefts[0])
    return top, left, int(tops[-1]) - top + 1, int(lefts[-1]) - left + 1


def _correlation(one: Floats, other: Floats) -> float:
    if min(one.std(), other.std()) < 1e-9:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
