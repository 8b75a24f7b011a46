"""Were these pixels decoded from JPEG, and which of them were changed since?

A JPEG decoder puts out pixels whose 8 x 8 block cosine transform lies on a lattice: every
coefficient is a multiple of its quantisation step, but for rounding. Whatever touches pixels
afterwards (a patch, a blend, a warp) leaves the lattice, and storing the result losslessly keeps
that. The steps are estimated from the pictures themselves (Fan and de Queiroz, IEEE Transactions
on Image Processing 12, 2003): step q is the largest that

    mean over coefficients |c| > 3 of cos(2 pi c / q)

is near its maximum for. The *misfit* of a block is the root mean square of what a lattice point
nearest to it gets wrong, in grey levels. Clipping breaks the lattice of honest pictures too, so
pixels at 0 or 255 count as bounds, and the lattice point is looked for by alternating projections.
Luminance only: chroma is mostly subsampled, and decoders differ in how they smooth it.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
SIDE = 8
T = TypeVar("T", bound=np.generic)
STEPS = np.arange(2, 122, dtype=np.float32)
_FLOOR, _VALUES, _LEAST, _SCORE = 3.0, 800, 30, 0.6
_KNOWN = 12  # frequencies whose step must be found before there is a lattice to speak of
_CHUNK = 1 << 24  # pixels that are transformed at once
_ROUNDS = 12


def quantisation(pixels: Pixels) -> Floats | None:
    """Estimate the steps (64,) of the lattice that most pictures (n, C, H, W) lie on, or None.

    A step of 0 is one that cannot be told: too fine, or of a frequency that is hardly ever there.
    Taking the latter for 0 would accuse every picture of more texture than its peers.
    None is the answer unless the pictures fit at least twice as well as when they are cut into
    blocks four pixels further on, where no lattice of theirs can be.
    """
    if min(pixels.shape[2:]) < 2 * SIDE or not len(pixels):
        return None
    blocks, _, clipped = _blocks(pixels)
    coefficients = np.abs(blocks[~clipped.any(1)] @ _transform().T)
    steps = np.array([_step(values) for values in coefficients.T], np.float32)
    if (steps > 0).sum() < _KNOWN:
        return None
    shifted = pixels[..., SIDE // 2 :, SIDE // 2 :]
    here, there = (np.median(misfits(cut, steps)) for cut in (pixels, shifted))
    return steps if 2 * here <= there else None


def misfits(pixels: Pixels, steps: Floats) -> Floats:
    """How far every block is from the lattice of `steps`, in grey levels: (n, blocks)."""
    count = max(_CHUNK // max(int(np.prod(pixels.shape[1:])), 1), 1)
    parts = [_misfits(pixels[i : i + count], steps) for i in range(0, len(pixels), count)]
    height, width = (-(-size // SIDE) for size in pixels.shape[2:])
    return np.concatenate(parts) if parts else np.zeros((0, height * width), np.float32)


def _misfits(pixels: Pixels, steps: Floats) -> Floats:
    blocks, bounds, clipped = _blocks(pixels)
    found = _distance(blocks, _nearest(blocks, steps), bounds, clipped)
    # Only blocks that were clipped can lie nearer than their first lattice point says.
    again = np.flatnonzero((found > 1) & clipped.any(1))
    found[again] = _projected(blocks[again], bounds[again], clipped[again], steps)
    return found.reshape(len(pixels), -1)


def _projected(
    blocks: Floats, bounds: npt.NDArray[np.int8], clipped: npt.NDArray[np.bool_], steps: Floats
) -> Floats:
    """The least misfit on the way to a lattice point that explains the clipped pixels."""
    x, best = blocks, np.full(len(blocks), np.inf, np.float32)
    for _ in range(_ROUNDS):
        model = _nearest(x, steps)
        best = np.minimum(best, _distance(blocks, model, bounds, clipped))
        beyond = np.where(bounds > 0, np.maximum(model, blocks), np.minimum(model, blocks))
        x = np.where(clipped, np.where(bounds == 0, model, beyond), blocks)
    return best


def _distance(
    blocks: Floats, model: Floats, bounds: npt.NDArray[np.int8], clipped: npt.NDArray[np.bool_]
) -> Floats:
    """Root mean square of model - blocks; what was clipped counts only on the wrong side."""
    gap = model - blocks
    # Colour clipped in one channel says nothing about luminance, white and black bound it.
    one_sided = np.where(bounds > 0, np.minimum(gap, 0), np.maximum(gap, 0))
    gap = np.where(clipped, np.where(bounds == 0, 0, one_sided), gap)
    return np.asarray(np.sqrt((gap**2).mean(1)), np.float32)


def _nearest(blocks: Floats, steps: Floats) -> Floats:
    """The lattice point nearest to each block (m, 64), as pixels."""
    c = blocks @ _transform().T
    safe = np.where(steps == 0, 1, steps)
    snapped = np.where(steps == 0, c, np.rint(c / safe) * safe)
    return np.asarray(snapped, np.float32) @ _transform()


def _blocks(pixels: Pixels) -> tuple[Floats, npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    """Luminance less 128 of every block (m, 64); bounds there (1 white, -1 black); clipped."""
    weights = np.array([0.299, 0.587, 0.114] if pixels.shape[1] == 3 else [1.0], np.float32)
    luminance = np.tensordot(weights, pixels.astype(np.float32), axes=(0, 1)) - 128
    white, black = pixels == 255, pixels == 0
    bounds = white.all(1).astype(np.int8) - black.all(1).astype(np.int8)
    # An encoder fills up the last blocks by repeating the edge; what it cut off is not known.
    over = [(0, 0), *((0, -size % SIDE) for size in pixels.shape[2:])]
    return (
        _cut(np.pad(luminance, over, "edge")),
        _cut(np.pad(bounds, over)),
        _cut(np.pad((white | black).any(1), over, constant_values=True)),
    )


def _cut(planes: npt.NDArray[T]) -> npt.NDArray[T]:
    """Planes (n, H, W) of whole blocks as blocks (n H/8 W/8, 64)."""
    n, height, width = len(planes), planes.shape[1] // SIDE, planes.shape[2] // SIDE
    cut = planes.reshape(n, height, SIDE, width, SIDE).transpose(0, 1, 3, 2, 4)
    return cut.reshape(-1, SIDE * SIDE)


def _step(values: Floats) -> float:
    """The step of one frequency from its coefficients' sizes (m,); 0 when they do not say."""
    large = values[values > _FLOOR]
    if len(large) < _LEAST:
        return 0.0
    picked = large[:: max(len(large) // _VALUES, 1)]
    scores = np.cos(2 * np.pi * picked[:, None] / STEPS).mean(0)
    if scores.max() < _SCORE:
        return 0.0
    # Every divisor of the step fits as well as the step.
    return float(STEPS[np.flatnonzero(scores >= max(_SCORE, 0.9 * scores.max()))[-1]])


def _transform() -> Floats:
    """The orthonormal 8 x 8 cosine transform of a block as one matrix (64, 64)."""
    k, x = np.arange(SIDE)[:, None], np.arange(SIDE)[None]
    one = np.cos(np.pi * (2 * x + 1) * k / (2 * SIDE)) / 2
    one[0] /= np.sqrt(2)
    return np.kron(one, one).astype(np.float32)
