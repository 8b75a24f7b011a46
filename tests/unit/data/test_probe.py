"""What the short training keeps, the same for the same seed, and the network of the GPU."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from guards.data.probe import SHORT, Course, Probe, large_network, probe

N = 300


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)[:N, None]
    return pixels, found.target[:N].astype(np.int64)


@pytest.fixture(scope="module")
def trained(digits: tuple[np.ndarray, np.ndarray]) -> Probe:
    return probe(*digits, seed=5)


def test_belief_is_the_later_half_of_the_history(trained: Probe) -> None:
    assert trained.history.shape == (N, SHORT.most)
    assert trained.history.min() >= 0
    assert trained.history.max() <= 1
    np.testing.assert_allclose(trained.belief, trained.history[:, 8:].mean(1), rtol=1e-6)
    assert trained.history[:, -1].mean() > trained.history[:, 0].mean() + 0.3


def test_the_layers_are_those_of_the_network(trained: Probe) -> None:
    with torch.no_grad():
        last = trained.net[:3](trained.inputs).half().numpy()
    np.testing.assert_allclose(trained.layers[2], last, atol=2e-3)


def test_one_seed_gives_one_network_and_leaves_torchs_generator_alone(
    digits: tuple[np.ndarray, np.ndarray], trained: Probe
) -> None:
    before = torch.get_rng_state()
    again, other = probe(*digits, seed=5), probe(*digits, seed=6)
    assert torch.equal(torch.get_rng_state(), before)
    for one, two in zip(trained.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, two)
    np.testing.assert_array_equal(trained.belief, again.belief)
    assert not np.array_equal(trained.belief, other.belief)


def test_the_course_says_how_often_rows_are_looked_at() -> None:
    course = Course(batch=8, rate=1e-3, looks=1000, least=2, most=5)
    assert [course.epochs(rows) for rows in (1, 250, 10_000)] == [5, 4, 2]


@pytest.mark.parametrize("side", [8, 28, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_gpus_network_takes_every_size_and_has_the_same_four_parts(
    channels: int, side: int
) -> None:
    net = large_network(channels, 7).eval()
    with torch.no_grad():
        early = net[0](torch.rand(2, channels, side, side))
        middle = net[1](early)
        last = net[2](middle)
        assert net[3](last).shape == (2, 7)
    assert early.dim() == middle.dim() == 4
    assert last.shape == (2, 512)


def test_the_gpus_network_has_no_backward_pass_that_sums_in_a_changing_order() -> None:
    changing = (nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)
    assert not [layer for layer in large_network(3, 2).modules() if isinstance(layer, changing)]


def test_the_gpus_network_learns() -> None:
    torch.manual_seed(0)
    net, inputs = large_network(1, 2), torch.rand(16, 1, 8, 8)
    targets = torch.arange(16) % 2
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(net(inputs + targets[:, None, None, None]), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
