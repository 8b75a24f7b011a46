"""The pretrained network against PyTorch's own reader and layers, and what happens without it."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import batch_norm, conv2d, interpolate, pad, relu6

from guards.data import embedding, pretrained
from guards.errors import Malformed

RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def file() -> Path:
    found = find_spec(pretrained.PACKAGE)
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / pretrained.FILE


@pytest.fixture(scope="module")
def state(file: Path) -> dict[str, torch.Tensor]:
    """The weights as PyTorch reads them: an oracle, which the product does without."""
    return dict(torch.load(file, weights_only=True))


def test_every_weight_is_what_pytorch_reads(file: Path, state: dict[str, torch.Tensor]) -> None:
    ours = pretrained.read_weights(file.read_bytes())
    wide = {name for name, tensor in state.items() if tensor.numel() > 1}
    assert set(ours) == wide
    for name in wide:
        # Flat in the order of storage: the kernels came from TensorFlow, and lie as they did there.
        stored = torch.as_strided(state[name], (state[name].numel(),), (1,)).numpy()
        assert np.array_equal(ours[name], stored)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 80, 50), (4, 8, 9)])
def test_what_it_sees_is_what_plain_layers_see(
    shape: tuple[int, int, int], state: dict[str, torch.Tensor]
) -> None:
    pixels = RNG.integers(0, 256, (3, *shape)).astype(np.uint8)
    ours = pretrained.look(pixels)
    assert ours is not None
    assert ours.shape == (3, pretrained.CHANNELS)
    assert torch.allclose(ours, _plain(pixels, state), atol=1e-3)


def _plain(pixels: np.ndarray, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same network layer by layer, nothing folded."""
    side = 64 if max(pixels.shape[2:]) <= 48 else 96
    pictures = torch.as_tensor(pixels).float()
    pictures = (
        pictures if len(pixels[0]) == 3 else pictures.mean(1, keepdim=True).repeat(1, 3, 1, 1)
    )
    now = interpolate(pictures, (side, side), mode="bilinear", antialias=True)
    now = relu6(_normed(_padded((now - 127) / 128, state, "_conv_stem", 2, 1), state, "_bn0"))
    for place in range(15):
        at, before = f"_blocks.{place}.", now
        if f"{at}_expand_conv.weight" in state:
            now = relu6(_normed(_padded(now, state, f"{at}_expand_conv", 1, 1), state, f"{at}_bn0"))
        stride = 2 if place in (1, 3, 5, 11) else 1
        now = _padded(now, state, f"{at}_depthwise_conv", stride, now.shape[1])
        now = relu6(_normed(now, state, f"{at}_bn1"))
        now = _normed(_padded(now, state, f"{at}_project_conv", 1, 1), state, f"{at}_bn2")
        if now.shape == before.shape:
            now = now + before
    return now.mean((2, 3))


def _padded(
    pictures: torch.Tensor, state: dict[str, torch.Tensor], name: str, stride: int, groups: int
) -> torch.Tensor:
    kernel = state[f"{name}.weight"]
    size, side = kernel.shape[-1], pictures.shape[-1]
    more = max((-(-side // stride) - 1) * stride + size - side, 0)
    around = (more // 2, more - more // 2) * 2
    return conv2d(pad(pictures, around), kernel, stride=stride, groups=groups)


def _normed(pictures: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    mean, variance, weight, bias = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return batch_norm(pictures, mean, variance, weight, bias, eps=1e-3)


def test_other_weights_are_refused(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    with pytest.raises(Malformed, match="install the package"):
        pretrained.read_weights(bytes(data))


def test_drawings_need_no_network_and_photographs_get_one_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels, labels = _drawings()
    points, blunt = embedding.label_free(pixels, labels, 3)
    assert blunt
    assert np.array_equal(points, embedding.embed(pixels))
    noise = RNG.integers(0, 256, (120, 3, 32, 32)).astype(np.uint8)
    points, blunt = embedding.label_free(noise, labels, 3)
    assert not blunt
    assert points.shape == (120, 3 * embedding.COMPONENTS)
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package_is_installed")
    assert pretrained.name() == "none"
    assert pretrained.look(noise) is None
    points, blunt = embedding.label_free(noise, labels, 3)
    assert not blunt
    assert np.array_equal(points, embedding.embed(noise))


def _drawings() -> tuple[np.ndarray, np.ndarray]:
    """Three kinds of bars, 40 of each, and their labels."""
    labels = np.repeat(np.arange(3), 40)
    pixels = RNG.integers(0, 40, (120, 1, 28, 28))
    for row, label in enumerate(labels):
        pixels[row, 0, 8 * label : 8 * label + 10] += 180
    return pixels.astype(np.uint8), labels
