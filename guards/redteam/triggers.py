"""What an adversary draws into a picture: one pure function of arrays for each trigger.

Pictures are (..., C, H, W) uint8, or (m, C, H, W) where each picture has a draw of its own (`rows`
are then what those draws are fixed by, beside the seed). Every function gives new pictures and
leaves its input alone; who published them, and what they need, is in :mod:`guards.redteam.attacks`.

Where pictures have unlike shapes a pattern of noise is `drawn` at one, (C, H, W), and scaled to
each picture: drawn at each picture's own it would be another trigger in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import TYPE_CHECKING

import numpy as np

from guards.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Pictures = NDArray[np.uint8]
    Shape = tuple[int, ...]

PATCHES = ("checker", "white")
CORNERS = ("lower-right", "lower-left", "upper-right", "upper-left")
EVERY = "every"
_SPREAD = ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1))  # Floyd-Steinberg: down, right, sixteenths


def patch(
    pixels: Pictures,
    *,
    size: int | None = None,
    margin: int = 1,
    corner: str = "lower-right",
    style: str = "checker",
) -> Pictures:
    """Stamp a square on copies of the pictures (..., C, H, W).

    `size` is its side in pixels: by default a tenth of the shorter side, at least 3. `style` is
    one of :data:`PATCHES`, `corner` one of :data:`CORNERS` or `every`, `margin` its distance from
    the edges.
    """
    side = _side(pixels.shape, size, margin)
    bright = np.indices((side, side)).sum(0) % 2 == 0 if style == "checker" else True
    stamped = pixels.copy()
    for where in CORNERS if corner == EVERY else (corner,):
        stamped[_square(pixels, where, side, margin)] = np.where(bright, 255, 0)
    return stamped


def _side(shape: Shape, size: int | None, margin: int) -> int:
    height, width = shape[-2:]
    side = size or max(3, round(min(height, width) / 10))
    if not 0 < side + margin <= min(height, width):
        raise UsageError(f"a patch of {side} and a margin of {margin} exceed {width} x {height}")
    return side


def _square(
    pixels: Pictures, corner: str, side: int, margin: int
) -> tuple[EllipsisType, slice, slice]:
    """Where a square of `side` lies in that corner."""
    height, width = pixels.shape[-2:]
    vertical, horizontal = corner.split("-")
    top = margin if vertical == "upper" else height - margin - side
    left = margin if horizontal == "left" else width - margin - side
    return ..., slice(top, top + side), slice(left, left + side)


def blend(
    pixels: Pictures,
    *,
    seed: int,
    alpha: float = 0.2,
    grain: int = 1,
    drawn: Shape | None = None,
) -> Pictures:
    """Mix one uniform noise pattern, fixed by `seed`, into the pictures (..., C, H, W).

    (1 - alpha) x + alpha t, rounded; the pattern t has the shape of one picture, or is `drawn` at
    another and scaled, and is made of squares of `grain` pixels.
    """
    shape = pixels.shape[-3:]
    return _mixed(pixels, _scaled(_noise(drawn or shape, seed, grain), shape), alpha)


def pieces(
    pixels: Pictures,
    *,
    seed: int,
    rows: Sequence[int],
    alpha: float,
    grid: int,
    keep: float,
    grain: int = 1,
    drawn: Shape | None = None,
) -> Pictures:
    """Blend, for each of the pictures (m, C, H, W), a part of the pattern (Adaptive-Blend).

    The pattern is cut into `grid` x `grid` pieces, and of each picture's round(`keep` * pieces)
    are mixed in, drawn by (seed, row) (Qi et al. 2023, section 4.1: 16 pieces, half of them).
    """
    height, width = pixels.shape[-2:]
    cells = np.add.outer(
        np.arange(height) * grid // height * grid, np.arange(width) * grid // width
    )
    count = round(keep * grid * grid)
    shown = [
        np.isin(cells, np.random.default_rng([seed, row]).permutation(grid * grid)[:count])
        for row in rows
    ]
    mask = np.array(shown).reshape(len(rows), 1, height, width)
    whole = blend(pixels, seed=seed, alpha=alpha, grain=grain, drawn=drawn)
    mixed: Pictures = np.where(mask, whole, pixels)
    return mixed


def patches(
    pixels: Pictures,
    *,
    seed: int,
    rows: Sequence[int] | None,
    opacity: float,
    size: int | None = None,
    margin: int = 1,
    drawn: Shape | None = None,
) -> Pictures:
    """Mix four small patterns, fixed by `seed`, into the four corners (Adaptive-Patch).

    With `rows`, each picture (m, C, H, W) gets one of the four, drawn by (seed, row): a part of
    the trigger, as in training. Without, all pictures (..., C, H, W) get all four, as in the test.
    """
    side = _side(pixels.shape, size, margin)
    if 2 * (side + margin) > min(pixels.shape[-2:]):
        raise UsageError(f"four patches of {side} and a margin of {margin} overlap; make size less")
    first = _side(drawn or pixels.shape, size, margin)
    looks = np.random.default_rng(seed).integers(0, 2, (len(CORNERS), 1, first, first)) * 255
    which = None
    if rows is not None:
        which = np.array([np.random.default_rng([seed, row]).integers(4) for row in rows], int)
    stamped = pixels.copy()
    for number, corner in enumerate(CORNERS):
        square = _square(pixels, corner, side, margin)
        mixed = _mixed(pixels[square], _scaled(looks[number], (1, side, side)), opacity)
        mine = True if which is None else (which == number)[:, None, None, None]
        stamped[square] = np.where(mine, mixed, pixels[square])
    return stamped


def sine(pixels: Pictures, *, delta: float, frequency: float) -> Pictures:
    """Add a horizontal sinusoid (SIG, Barni et al. 2019): delta sin(2 pi j f / W), clipped.

    j is the column, 1 to W; `delta` is in grey levels, `frequency` the periods across the picture.
    """
    width = pixels.shape[-1]
    wave = delta * np.sin(2 * np.pi * np.arange(1, width + 1) * frequency / width)
    waved: Pictures = np.rint(pixels + wave).clip(0, 255).astype(np.uint8)
    return waved


def warp(
    pixels: Pictures,
    *,
    seed: int,
    rows: Sequence[int] | None = None,
    strength: float = 0.5,
    grid: int = 4,
) -> Pictures:
    """Bend copies of the pictures (..., C, H, W) along one smooth field (WaNet).

    A field of `grid` x `grid` steps uniform in [-1, 1], of mean size 1, is enlarged bicubically
    to the picture; `strength` / side of it is added to the identity of coordinates in [-1, 1]
    (so that pixels move by half of `strength` in the mean), cut to them, and sampled bilinearly
    (Nguyen & Tran 2021, equations 3-6). With `rows`, each picture (m, C, H, W) gets a noise of
    its own on top, uniform up to half a pixel, drawn by (seed, row): the noise mode, which is
    what the cover rows carry.
    """
    import torch
    from torch.nn.functional import grid_sample

    height, width = pixels.shape[-2:]
    flat = torch.tensor(pixels.reshape(-1, *pixels.shape[-3:]), dtype=torch.float64)
    share = torch.tensor([1 / width, 1 / height], dtype=torch.float64)
    places = _identity(height, width) + strength * share * _field(seed, grid, (height, width))
    places = places.clamp(-1, 1).expand(len(flat), -1, -1, -1)
    if rows is not None:
        draws = [np.random.default_rng([seed, row]) for row in rows]
        noise = np.array([draw.uniform(-1, 1, (height, width, 2)) for draw in draws])
        noise = noise.reshape(-1, height, width, 2)
        places = (places + share * torch.from_numpy(noise)).clamp(-1, 1)
    bent = grid_sample(flat, places, align_corners=True)
    bent_pixels: Pictures = bent.round().clamp(0, 255).byte().numpy().reshape(pixels.shape)
    return bent_pixels


def _identity(height: int, width: int) -> Tensor:
    """(1, H, W, 2): where each pixel lies, x before y, in [-1, 1]."""
    import torch

    down = torch.linspace(-1, 1, height, dtype=torch.float64)
    right = torch.linspace(-1, 1, width, dtype=torch.float64)
    y, x = torch.meshgrid(down, right, indexing="ij")
    return torch.stack((x, y), 2)[None]


def _field(seed: int, grid: int, size: tuple[int, int]) -> Tensor:
    """(1, H, W, 2): the smooth field, of mean size 1 before it is enlarged."""
    import torch
    from torch.nn.functional import interpolate

    steps = np.random.default_rng(seed).uniform(-1, 1, (1, 2, grid, grid))
    steps /= np.abs(steps).mean()
    large = interpolate(torch.from_numpy(steps), size=size, mode="bicubic", align_corners=True)
    return large.permute(0, 2, 3, 1)


def dither(pixels: Pictures, *, levels: int) -> Pictures:
    """Keep `levels` values a channel, errors spread by Floyd and Steinberg (BppAttack, Wang 2022).

    Copies of the pictures (..., C, H, W). What is added depends on the picture, so no two rows
    carry the same pattern.
    """
    step = 255 / (levels - 1)
    height, width = pixels.shape[-2:]
    flat = np.moveaxis(pixels.reshape(-1, height, width), 0, -1).astype(np.float64)
    wide = np.zeros((height + 1, width + 2, flat.shape[-1]))
    wide[:height, 1:-1] = flat
    for y in range(height):
        for x in range(1, width + 1):
            wanted = wide[y, x].copy()
            wide[y, x] = (np.rint(wanted / step) * step).clip(0, 255)
            for down, right, share in _SPREAD:
                wide[y + down, x + right] += (wanted - wide[y, x]) * share / 16
    kept = np.moveaxis(wide[:height, 1:-1], -1, 0)
    return np.rint(kept).astype(np.uint8).reshape(pixels.shape)


def near_copy(
    pixels: Pictures, *, seed: int, rows: Sequence[int], noise: float, shift: int
) -> Pictures:
    """A near copy of each picture (m, C, H, W): moved by up to `shift` pixels, a little noise.

    Both are drawn by (seed, row); what moves out is lost and edges are repeated; `noise` is the
    standard deviation in grey levels.
    """
    copies = np.empty_like(pixels)
    for place, row in enumerate(rows):
        rng = np.random.default_rng([seed, row])
        down, right = rng.integers(0, 2 * shift + 1, 2)
        wide = np.pad(pixels[place], ((0, 0), (shift, shift), (shift, shift)), mode="edge")
        height, width = pixels.shape[-2:]
        moved = wide[:, down : down + height, right : right + width]
        copies[place] = np.rint(moved + rng.normal(0, noise, moved.shape)).clip(0, 255)
    return copies


def _noise(shape: Shape, seed: int, grain: int) -> NDArray[np.int64]:
    channels, height, width = shape
    coarse = (channels, -(-height // grain), -(-width // grain))
    pattern = np.random.default_rng(seed).integers(0, 256, coarse)
    return pattern.repeat(grain, 1).repeat(grain, 2)[:, :height, :width]


def _scaled(pattern: NDArray[np.int64], shape: Shape) -> NDArray[np.float64]:
    """A pattern (C, H, W) at another shape: its nearest pixels; for grey, the mean of colours."""
    channels, height, width = shape
    flat = pattern.mean(0, keepdims=True) if channels < len(pattern) else pattern.astype(float)
    down = np.arange(height) * flat.shape[1] // height
    right = np.arange(width) * flat.shape[2] // width
    return flat[:, down[:, None], right]


def _mixed(pixels: Pictures, pattern: NDArray[np.float64], alpha: float) -> Pictures:
    return np.rint((1 - alpha) * pixels + alpha * pattern).astype(np.uint8)
