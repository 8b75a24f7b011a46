"""One narrow band with one phase in many pictures: what a wave laid over them leaves in spectra.

A picture is first *limited*: less its mean over 7 x 7 pixels, cut at 16 grey levels, so that an
edge weighs no more than what is faint but everywhere. Its quarters q are transformed one by one,
at whole frequencies k (periods across the picture), without padding their places away:

    Z_q(k) = sum of x e^(-2 pi i k.(r - centre) / size),    Z = Z_1 + Z_2 + Z_3 + Z_4

A *peak* is a frequency that is the largest of its 5 x 5 bins, HEIGHT times the root mean square of
the ring around these, and whose quarters agree: |sum of Z_q e^(-2 pi i d.c_q) / |Z_q|| >= 4 AGREE
for a drift d of at most half a bin, which is how far the true frequency is off the whole one (c_q
is the quarter's centre from the picture's). Its phase is told at the picture's centre, where the
drift does not turn it. Natural spectra have few peaks, at low frequencies, with phases all round.

Rows are counted in windows of 2 x 2 bins and a quarter turn of phase, so that a wave between two
bins or two sectors is not cut in parts; a window is held against what is *around* it: windows of
the same bins with other phases, and what the other groups lead to expect of this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from guards.numerics.tails import negative_binomial

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Small = npt.NDArray[np.float32]
    Complex = npt.NDArray[np.complex64]

BLUR, LIMIT = 7, 16.0  # pixels, grey levels
HEIGHT, AGREE, FAINT = 2.5, 0.9, 0.4
LOWEST = 2.5  # periods across the picture: what is slower is what pictures show
SECTORS, WIDE = 12, 3  # of a turn, and how many of them a window spans
TOP, RING = 2, 4  # bins: half the side of the square that a peak tops, and of the ring's
DRIFTS = (0.0, -0.25, 0.25, -0.5, 0.5)
PIECES = 4  # a side: the picture is looked at in so many pieces, to see that the wave is everywhere
DISPERSION = 0.02
COLUMNS = ("down", "right", "sector", "rows", "around")
_VALUES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Peaks of some pictures, parallel arrays (m,).

    `rows` are indices of pictures, ascending; `bins` (m, 2) whole periods down (signed) and right
    (0 or more) across the picture, `frequency` (m, 2) the same with the drift; `phase` in turns at
    the centre, in [0, 1); `height` over the ring.
    """

    rows: Ints
    bins: Ints
    frequency: Floats
    phase: Floats
    height: Floats

    def only(self, which: Bools) -> Peaks:
        """Some of them."""
        return Peaks(
            rows=self.rows[which],
            bins=self.bins[which],
            frequency=self.frequency[which],
            phase=self.phase[which],
            height=self.height[which],
        )


def limited(pixels: npt.NDArray[np.uint8]) -> Small:
    """Pictures (n, C, H, W) -> (n, H, W): grey, less the mean nearby, cut at LIMIT both ways."""
    grey = pixels[:, 0].astype(np.float32) if pixels.shape[1] == 1 else pixels.mean(1, np.float32)
    height, width = grey.shape[1:]
    smooth = _running(height) @ grey @ _running(width).T
    found: Small = np.clip(grey - smooth, -LIMIT, LIMIT)
    return found


@lru_cache(maxsize=8)
def _running(size: int) -> Small:
    """(size, size): the mean over BLUR values, the first and last repeated beyond the ends."""
    places = np.clip(np.arange(size)[:, None] + np.arange(BLUR) - BLUR // 2, 0, size - 1)
    found: Small = np.zeros((size, size), np.float32)
    np.add.at(found, (np.arange(size)[:, None], places), np.float32(1 / BLUR))
    return found


def peaks(pixels: npt.NDArray[np.uint8]) -> Peaks:
    """The peaks of all pictures (n, C, H, W), a part of them at a time."""
    parts = [_peaks(limited(pixels[start:stop]), start) for start, stop in _parts(pixels)]
    return Peaks(
        rows=np.concatenate([part.rows for part in parts]),
        bins=np.concatenate([part.bins for part in parts]),
        frequency=np.concatenate([part.frequency for part in parts]),
        phase=np.concatenate([part.phase for part in parts]),
        height=np.concatenate([part.height for part in parts]),
    )


def _parts(pixels: npt.NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Where parts of them begin and end that fit into the processor's own memory."""
    rows = max(1, _VALUES // (pixels.shape[2] * pixels.shape[3]))
    for start in range(0, len(pixels), rows):
        yield start, start + rows


def _peaks(pictures: Small, first: int) -> Peaks:
    height, width = pictures.shape[1:]
    quarters = list(_quarters(pictures))
    size = np.abs(quarters[0] + quarters[1] + quarters[2] + quarters[3])
    heights = size / (_ring(size, width) + 1e-6)
    tall = (heights >= HEIGHT) & (size > FAINT) & _told(height, width)
    row, down, right = _topmost(size, width, *np.nonzero(tall))
    signed = np.where(down > height // 2, down - height, down)
    turn = signed * (height - 1) / 2 / height + right * (width - 1) / 2 / width
    here = np.stack([quarter[row, down, right] for quarter in quarters], 1)
    here = here * np.exp(2j * np.pi * turn).astype(np.complex64)[:, None]
    drift, phase, agreed = _agreement(here, height, width)
    bins = np.column_stack([signed, right])
    found = Peaks(
        rows=row + first,
        bins=bins,
        frequency=bins + drift,
        phase=phase,
        height=heights[row, down, right].astype(np.float64),
    )
    return found.only(agreed >= AGREE)


@lru_cache(maxsize=8)
def _told(height: int, width: int) -> Bools:
    """(H, W // 2 + 1): the frequencies that are looked at, each of k and -k once."""
    down = np.arange(height)[:, None]
    right = np.arange(width // 2 + 1)
    twice = ((right == 0) | (2 * right == width)) & (down > height // 2)
    told: Bools = (np.hypot(np.minimum(down, height - down), right) >= LOWEST) & ~twice
    return told


def _quarters(pictures: Small) -> Iterator[Complex]:
    """The spectra (n, H, W // 2 + 1) of the four quarters, each where it lies and less its mean."""
    from scipy.fft import rfft2

    height, width = pictures.shape[1:]
    tall, wide = height // 2, width // 2
    for top in (0, height - tall):
        for left in (0, width - wide):
            part = pictures[:, top : top + tall, left : left + wide]
            alone = np.zeros_like(pictures)
            alone[:, top : top + tall, left : left + wide] = part - part.mean((1, 2), keepdims=True)
            yield rfft2(alone) * np.float32(2 / (height * width))


@lru_cache(maxsize=16)
def _framed(height: int, width: int, margin: int) -> Ints:
    """Where the bins of a half spectrum lie with a frame of `margin` around it, which mirrors."""
    right = width // 2 + 1
    down = np.arange(-margin, height + margin)[:, None] % height
    along = np.arange(-margin, right + margin)[None] % width
    mirrored = along >= right
    return np.where(mirrored, -down % height, down) * right + np.where(
        mirrored, width - along, along
    )


def _ring(size: Small, width: int) -> Small:
    """(n, H, K): the root mean square of the bins further than TOP and not further than RING."""
    height = size.shape[1]
    squares = (size * size).reshape(len(size), -1)[:, _framed(height, width, RING)]
    bins = (2 * RING + 1) ** 2 - (2 * TOP + 1) ** 2
    mean = (_summed(squares, RING) - _summed(squares, TOP)) / bins
    found: Small = np.sqrt(np.maximum(mean, 0)).astype(np.float32)
    return found


def _summed(framed: Small, reach: int) -> Small:
    """Sums over squares of bins, from arrays with a frame of RING."""
    down, along = (_band(size - 2 * RING, reach) for size in framed.shape[1:])
    summed: Small = (down @ framed @ along.T).astype(np.float32)
    return summed


@lru_cache(maxsize=16)
def _band(size: int, reach: int) -> Small:
    places = np.arange(size + 2 * RING)[None] - RING - np.arange(size)[:, None]
    found: Small = (np.abs(places) <= reach).astype(np.float32)
    return found


def _topmost(
    size: Small, width: int, row: Ints, down: Ints, right: Ints
) -> tuple[Ints, Ints, Ints]:
    """Those of the bins that no bin at most TOP away exceeds."""
    frame, flat = _framed(size.shape[1], width, TOP), size.reshape(len(size), -1)
    here, best = size[row, down, right], np.zeros(len(row), np.float32)
    for below in range(2 * TOP + 1):
        for beside in range(2 * TOP + 1):
            np.maximum(best, flat[row, frame[down + below, right + beside]], out=best)
    keep = here >= best
    return row[keep], down[keep], right[keep]


def _agreement(here: Complex, height: int, width: int) -> tuple[Floats, Floats, Floats]:
    """For four quarters (m, 4): the drift (m, 2) at which they agree most, the phase, how much."""
    drifts = np.array([(down, right) for down in DRIFTS for right in DRIFTS])
    down, right = (height - height // 2) / 2 / height, (width - width // 2) / 2 / width
    centres = np.array([(-down, -right), (-down, right), (down, -right), (down, right)])
    turned = np.exp(-2j * np.pi * centres @ drifts.T).astype(np.complex64)
    agreed = np.abs(here / (np.abs(here) + 1e-6) @ turned) / 4
    best = agreed.argmax(1)
    phase = np.angle((here * turned.T[best]).sum(1)) / (2 * np.pi) % 1
    return drifts[best], phase.astype(np.float64) % 1, agreed[np.arange(len(best)), best]


def windows(found: Peaks, size: tuple[int, int]) -> Ints:
    """How many peaks lie in each window of 2 x 2 bins and WIDE sectors: (H, W // 2 + 1, SECTORS).

    A window is named by its first bins, down modulo H, and by its middle sector.
    """
    height, right = size[0], size[1] // 2 + 1
    place = (found.bins[:, 0] % height) * right + found.bins[:, 1]
    cells = np.bincount(place * SECTORS + _sector(found), minlength=height * right * SECTORS)
    table = cells.reshape(height, right, SECTORS)
    table = table + np.roll(table, 1, 2) + np.roll(table, -1, 2)
    table += np.roll(table, -1, 0)
    table[:, :-1] += table[:, 1:].copy()
    return table


def _sector(found: Peaks) -> Ints:
    return np.minimum((found.phase * SECTORS).astype(np.int64), SECTORS - 1)


def standing(table: Ints, expected: Floats, *, least: int, lift: float) -> Ints:
    """Windows of `table` with `least` rows and `lift` times what is around them.

    Args:
        table: of one group, from :func:`windows`.
        expected: the counts, same shape, that the other groups lead to expect.
        least: rows.
        lift: over what is around, plus 1/2.

    Returns:
        int64, (cells, 5), columns :data:`COLUMNS`; `around` is the largest of what is expected,
        rounded up, and of the counts of the same bins with phases that share no sector.
    """
    cells = np.argwhere(table >= least)
    down, right, sector = cells.T
    turned = (sector[:, None] + np.arange(WIDE, SECTORS - WIDE + 1)) % SECTORS
    other = table[down[:, None], right[:, None], turned].max(1)
    around = np.maximum(other, np.ceil(expected[down, right, sector]).astype(np.int64))
    rows = table[down, right, sector]
    found: Ints = np.column_stack([cells, rows, around])[rows >= lift * (around + 0.5)]
    return found


def log_tails(rows: Ints, around: Ints) -> Floats:
    """log10 P(N >= rows) for N negative binomial of mean around + 1/2, one per window."""
    tails = negative_binomial(
        rows, np.asarray(around + 0.5, np.float64), np.full(len(rows), 1 / DISPERSION)
    )
    return np.asarray(tails / np.log(10))


def members(found: Peaks, cell: Ints, height: int) -> Bools:
    """Which peaks lie in the window `cell`, a row of :func:`standing`."""
    down = (found.bins[:, 0] - cell[0]) % height
    right = found.bins[:, 1] - cell[1]
    sector = (_sector(found) - cell[2] + WIDE // 2) % SECTORS
    inside: Bools = (down < 2) & (right >= 0) & (right < 2) & (sector < WIDE)
    return inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """cos 2 pi (f.(r - centre) / size + phase): f = `frequency` (2,), down and right; in turns.

    `pure` is the share of the sum of squares of the picture that it was fitted to.
    """

    frequency: Floats
    phase: float
    pure: float

    def drawn(self, height: int, width: int) -> Small:
        """(H, W): the wave, of amplitude 1."""
        tall, wide = _axes(height, width)
        turns = self.frequency[0] * tall[:, None] + self.frequency[1] * wide + self.phase
        found: Small = np.cos(2 * np.pi * turns).astype(np.float32)
        return found


def fitted(pattern: Floats) -> Wave:
    """The wave that a picture (H, W) holds most of, to an eighth of a period across it."""
    height, width = pattern.shape
    whole = np.abs(np.fft.rfft2(pattern)) * _told(height, width)
    down, right = np.unravel_index(int(whole.argmax()), whole.shape)
    steps = np.arange(-4, 5) / 8
    near = (down - height if down > height // 2 else down) + steps, right + steps
    tall, wide = _axes(height, width)
    spectrum = np.exp(-2j * np.pi * np.outer(near[0], tall)) @ pattern
    spectrum = spectrum @ np.exp(-2j * np.pi * np.outer(wide, near[1]))
    best = np.unravel_index(int(np.abs(spectrum).argmax()), spectrum.shape)
    power = 2 * float(np.abs(spectrum[best])) ** 2 / pattern.size
    return Wave(
        frequency=np.array([near[0][best[0]], near[1][best[1]]]),
        phase=float(np.angle(spectrum[best]) / (2 * np.pi) % 1),
        pure=power / max(float((pattern**2).sum()), 1e-9),
    )


def _axes(height: int, width: int) -> tuple[Floats, Floats]:
    tall, wide = (np.arange(size) - (size - 1) / 2 for size in (height, width))
    return tall / height, wide / width


def amplitudes(pictures: Small, drawn: Small) -> Small:
    """How much of a wave, `drawn` (H, W), is in each piece of each picture: (n, PIECES**2).

    By least squares, in the unit of the pictures; the pieces go row by row.
    """
    down, right = (np.arange(size) * PIECES // size for size in drawn.shape)
    piece = (down[:, None] * PIECES + right).ravel()
    which = np.zeros((drawn.size, PIECES**2), np.float32)
    which[np.arange(drawn.size), piece] = 1
    flat = drawn.reshape(-1, 1)
    found: Small = pictures.reshape(len(pictures), -1) @ (which * flat) / (which.T @ flat**2)[:, 0]
    return found


def strengths(pixels: npt.NDArray[np.uint8], drawn: Small) -> Small:
    """How much of a wave, `drawn` (H, W), is in each of the pictures (n, C, H, W): (n,).

    The mean over its pieces, in limited grey levels; below 0 where the phase is the opposite.
    """
    found = np.empty(len(pixels), np.float32)
    for start, stop in _parts(pixels):
        found[start:stop] = amplitudes(limited(pixels[start:stop]), drawn).mean(1)
    return found


def cover(pieces: Small) -> float:
    """How much of the mean amplitude the third weakest of the twelve pieces at the rim has.

    What pictures show is mostly in their middle; what is laid over them is everywhere.
    """
    square = pieces.reshape(PIECES, PIECES)
    rim = np.concatenate([square[0], square[-1], square[1:-1, 0], square[1:-1, -1]])
    return float(np.sort(rim)[2] / max(float(pieces.mean()), 1e-6))
