"""The least likelihood per layer, against a loop over every channel and position."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from guards.numerics.extremes import likelihood_extremes, norm_layers, surprise


def small() -> nn.Sequential:
    """Two normalisation layers that have seen something, one that keeps no statistics."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.BatchNorm2d(3, track_running_stats=False, affine=False),
        nn.Flatten(),
        nn.Linear(48, 5),
        nn.BatchNorm1d(5),
    )
    net.train()
    for _ in range(5):
        net(torch.randn(32, 2, 6, 6) * 2 + 1)
    return net.eval()


def test_extremes_are_scipys_log_density_at_the_worst_place() -> None:
    net, inputs = small(), torch.randn(7, 2, 6, 6)
    found = likelihood_extremes(net, inputs)
    assert found.shape == (7, 2)
    with torch.no_grad():
        entering = [net[0](inputs), net[:6](inputs)]
    for layer, (made, norms) in enumerate(zip(entering, (net[1], net[6]), strict=True)):
        for row in range(7):
            worst = np.inf
            for channel in range(made.shape[1]):
                spread = float((norms.running_var[channel] + norms.eps).sqrt())
                for value in made[row, channel].reshape(-1).tolist():
                    mean = float(norms.running_mean[channel])
                    # log N(z), z standardised: the density of z, not of the activation
                    worst = min(worst, float(norm.logpdf((value - mean) / spread)))
            assert found[row, layer] == pytest.approx(worst, rel=1e-4)


def test_only_layers_that_keep_statistics_are_read_and_no_hook_stays() -> None:
    net = small()
    assert [name for name, _ in norm_layers(net)] == ["1", "6"]
    likelihood_extremes(net, torch.randn(3, 2, 6, 6))
    assert all(not layer._forward_pre_hooks for layer in net.modules())
    assert not net.training


def test_rows_do_not_hang_on_the_batch_they_come_in() -> None:
    net, inputs = small(), torch.randn(600, 2, 6, 6)
    del net[3]  # the one that looks at the whole batch
    whole = likelihood_extremes(net, inputs)
    np.testing.assert_allclose(whole[590:], likelihood_extremes(net, inputs[590:]), rtol=1e-5)


def test_a_mark_that_no_other_row_bears_is_the_greatest_surprise() -> None:
    net, inputs = small(), torch.randn(400, 2, 6, 6)
    inputs[:8, :, :3, :3] += 40.0
    scores = surprise(likelihood_extremes(net, inputs))
    assert set(np.argsort(-scores)[:8]) == set(range(8))


def test_surprise_is_the_robust_z_of_the_worst_layer() -> None:
    extremes = -np.exp(np.random.default_rng(0).normal(size=(50, 3)))
    logs = np.log(-extremes)
    middle = np.median(logs, 0)
    slow = [
        max(
            (logs[i, j] - middle[j]) / (1.4826 * np.median(abs(logs[:, j] - middle[j])))
            for j in range(3)
        )
        for i in range(50)
    ]
    np.testing.assert_allclose(surprise(extremes), slow)
    assert np.isfinite(surprise(np.full((5, 2), -1.0))).all(), (
        "a layer that is constant says nothing"
    )
