"""The null: its draws against scipy's moments, its p-values against counting."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, multivariate_t

from guards.numerics import calibration


@pytest.mark.parametrize("df", [6.0, 12.0])
def test_degrees_of_freedom_come_back_from_a_t(df: float) -> None:
    rows = multivariate_t(np.zeros(5), np.eye(5), df=df, seed=1).rvs(200_000)
    assert calibration.degrees_of_freedom((rows**2).sum(1), 5) == pytest.approx(df, rel=0.25)


def test_a_gaussian_and_degenerate_rows_have_the_most_degrees() -> None:
    rows = np.random.default_rng(2).normal(size=(50_000, 8))
    assert calibration.degrees_of_freedom((rows**2).sum(1), 8) > 60
    assert calibration.degrees_of_freedom(np.zeros(10), 8) == calibration.MAX_DF
    assert calibration.degrees_of_freedom(np.ones(10), 8) == calibration.MAX_DF


def test_draws_have_the_covariance_the_tails_and_the_padding_asked_for() -> None:
    deviations, df = torch.tensor([[2.0, 0.5], [1.0, 1.0]]), torch.tensor([6.0, 150.0])
    mask = torch.arange(40_000)[None] < torch.tensor([40_000, 30_000])[:, None]
    drawn = calibration.draw_t(deviations, df, mask, np.random.default_rng(4))
    assert drawn[1, 30_000:].abs().max() == 0
    assert np.allclose(drawn[0].std(0).numpy(), [2.0, 0.5], rtol=0.05)
    scaled = drawn[0, :, 0].numpy() / 2 * np.sqrt(6 / 4)
    assert kstest(scaled, "t", args=(6,)).pvalue > 1e-3
    assert kstest(drawn[1, :30_000, 0].numpy(), "norm").statistic < 0.01


def test_draws_are_those_of_the_seed() -> None:
    arguments = torch.ones(1, 3), torch.tensor([9.0]), torch.ones(1, 20) > 0
    first, again, other = (
        calibration.draw_t(*arguments, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_p_values_count_the_maxima_of_the_null() -> None:
    rng = np.random.default_rng(9)
    null = rng.normal(size=(99, 4)) * [1, 2, 3, 4] + [0, 5, 0, 5]
    observed = np.array([0.0, 25.0, 4.0, 5.0])
    p_values, excess = calibration.max_null(observed, null)
    z_null = (null - null.mean(0)) / null.std(0, ddof=1)
    z = (observed - null.mean(0)) / null.std(0, ddof=1)
    assert np.allclose(excess, z)
    slow = [(1 + sum(line.max() >= value for line in z_null)) / 100 for value in z]
    assert np.allclose(p_values, slow)
    assert p_values[1] == 0.01


def test_the_family_level_is_held_under_the_null() -> None:
    rng = np.random.default_rng(12)
    smallest = [
        calibration.max_null(rng.gamma(2, size=10), rng.gamma(2, size=(99, 10)))[0].min()
        for _ in range(400)
    ]
    assert np.mean(np.array(smallest) <= 0.05) < 0.09


def test_a_null_that_never_varies_gives_finite_answers() -> None:
    p_values, excess = calibration.max_null([1.0, 0.0], np.zeros((9, 2)))
    assert p_values.tolist() == [0.1, 1.0]
    assert np.isfinite(excess).all()
