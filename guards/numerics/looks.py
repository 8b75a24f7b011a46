"""A picture as a few dozen numbers that need no training: where it is bright, how it is textured.

The mean grey of 7 x 7 cells, and the logarithm of the mean amplitude of the two-dimensional Fourier
transform in 9 x 8 bands (signed vertical, horizontal frequency). Nothing is learnt and nothing is
drawn, so between two samples of one population their class means move by sampling alone, which is
what makes earlier versions so tight a null: a mark that a tenth of a class bears moves one of them
by tenths of a standard deviation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

CELLS, VERTICAL, HORIZONTAL = 7, 9, 8
LOWEST = 6
_LEVEL = 8.0  # what makes a mean grey weigh as much as an amplitude does
_BLOCK = 4096
_SILENCE = 1e-2  # added to amplitudes: grey levels in [0, 1], below a thousandth of them per pixel


def looks(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pictures (n, C, H, W) uint8 -> (n, measures) float32; fewer where H or W is small."""
    blocks = [_looks(pixels[start : start + _BLOCK]) for start in range(0, len(pixels), _BLOCK)]
    found: npt.NDArray[np.float32] = np.concatenate(blocks)
    return found


def spectra(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """What moving a subject keeps: grey pictures (n, H, W) -> (n, 2 LOWEST^2 + 1).

    Sides have to be 2 LOWEST at least. The roots of the amplitudes of the LOWEST x LOWEST lowest
    frequencies of both signs, and beside them the mean grey. The amplitudes are the same wherever
    in the picture its subject stands, and noise of single pixels is spread over all frequencies, so
    near copies of one picture lie close together: a pixel's move and noise of four levels are a
    twentieth of a standard deviation of all pictures (Fashion-MNIST; a quarter for :func:`looks`).
    """
    light = grey.astype(np.float64) / 255
    level = light.mean(axis=(1, 2))
    amplitude = np.abs(np.fft.rfft2(light - level[:, None, None]))[:, :, :LOWEST]
    low = np.concatenate([amplitude[:, :LOWEST], amplitude[:, -LOWEST:]], axis=1)
    roots = np.sqrt(low).reshape(len(grey), -1)
    return np.column_stack([roots, _LEVEL * level])


def _looks(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    grey = pixels.astype(np.float32).mean(1) / 255
    level = grey.mean((1, 2), keepdims=True)
    amplitude = np.fft.fftshift(np.abs(np.fft.rfft2(grey - level)), axes=1)
    bands = np.log(_cells(amplitude, VERTICAL, HORIZONTAL) + _SILENCE)
    return np.concatenate([_cells(grey, CELLS, CELLS), bands], 1).astype(np.float32)


def _cells(
    planes: npt.NDArray[np.floating[Any]], tall: int, wide: int
) -> npt.NDArray[np.floating[Any]]:
    """Means over at most tall x wide cells of (n, H, W), flat."""
    height, width = planes.shape[1:]
    rows = np.linspace(0, height, min(tall, height), endpoint=False).astype(int)
    columns = np.linspace(0, width, min(wide, width), endpoint=False).astype(int)
    sums = np.add.reduceat(np.add.reduceat(planes, rows, 1), columns, 2)
    areas = np.diff([*rows, height])[:, None] * np.diff([*columns, width])
    means: npt.NDArray[np.floating[Any]] = (sums / areas).reshape(len(planes), -1)
    return means
