"""The label-free space: what a picture looks like to somebody who never sees a label.

Blunt on purpose: three 3 x 3 medians take away small marks, standardising each picture takes away
faint overlays, and what is left, at 14 x 14, is what the picture looks like.

Way around it: a trigger that is large, moving, or part of the scene survives medians.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

EMBEDDING_SIDE, LEAST_SIDE = 28, 8
MEDIANS, COMPONENTS = 3, 64


def embed(pixels: npt.NDArray[np.uint8], device: str = "cpu") -> npt.NDArray[np.float32]:
    """The label-free space: (n, C, H, W) uint8 -> (n, min(COMPONENTS, C * 196)) float32.

    Shrink to 28 pixels, three medians, 14 x 14 means, each picture standardised, principal
    components. Signs of the components are fixed.
    """
    import torch

    flat = torch.cat([_blunt(part) for part in parts(pixels, EMBEDDING_SIDE, device)]).double()
    flat -= flat.mean(0)
    _, vectors = torch.linalg.eigh(flat.T @ flat)
    basis = vectors[:, -COMPONENTS:].flip(1)
    basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
    found: npt.NDArray[np.float32] = (flat @ basis).float().cpu().numpy()
    return found


def _blunt(pictures: Tensor) -> Tensor:
    from torch.nn.functional import adaptive_avg_pool2d

    for _ in range(MEDIANS):
        pictures = _median(pictures)
    height, width = pictures.shape[2:]
    flat = adaptive_avg_pool2d(pictures, (-(-height // 2), -(-width // 2))).flatten(1)
    return (flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 0.05)


def _median(pictures: Tensor) -> Tensor:
    """The 3 x 3 median of each channel, edges repeated."""
    import torch
    from torch.nn.functional import pad

    wide = pad(pictures, (1, 1, 1, 1), mode="replicate")
    height, width = pictures.shape[2:]
    shifted = [wide[..., y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return torch.stack(shifted).median(0).values


def parts(pixels: npt.NDArray[np.uint8], side: int, device: str) -> Iterator[Tensor]:
    """Pictures in [0, 1], a few hundred at a time, of LEAST_SIDE to `side` pixels a side."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    for start in range(0, len(pixels), 512):
        part = torch.as_tensor(pixels[start : start + 512], device=device).float() / 255
        height, width = part.shape[2:]
        wanted = (
            min(max(height, LEAST_SIDE), side),
            min(max(width, LEAST_SIDE), side),
        )
        # Pooling to a larger size repeats pixels.
        yield part if wanted == (height, width) else adaptive_avg_pool2d(part, wanted)
