"""Fused p-values hold their level, dependent tests included."""

import numpy as np
import pytest
from scipy.stats import combine_pvalues, false_discovery_control, norm

from guards.numerics.fusion import benjamini_yekutieli, cauchy, max_null


def normals(correlation: float, tests: int, repeats: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shared = np.sqrt(correlation) * rng.standard_normal((repeats, 1))
    return shared + np.sqrt(1 - correlation) * rng.standard_normal((repeats, tests))


@pytest.mark.parametrize("tests", [2, 8, 120])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, 1.0])
def test_the_cauchy_combination_holds_a_level_of_one_percent(tests, correlation):
    fused = cauchy(norm.sf(normals(correlation, tests, 10_000, 5)))
    assert 0.006 < (fused <= 0.01).mean() < 0.016


def test_the_formula():
    p = np.array([0.01, 0.2, 0.7])
    statistic = np.tan((0.5 - p) * np.pi).mean()
    assert cauchy(p) == pytest.approx(0.5 - np.arctan(statistic) / np.pi, rel=1e-9)


def test_one_strong_test_decides_and_a_constant_one_does_not_outweigh_it():
    assert cauchy([1e-12, 0.5, 0.5]) == pytest.approx(3e-12, rel=0.01)
    assert cauchy([1e-12, 1.0, 1.0]) < 1e-11
    assert cauchy([1e-300, 0.5], least=1 / 200) >= 1 / 200


def test_what_was_not_tested_counts_for_nothing():
    assert cauchy([[0.01, np.nan], [np.nan, np.nan]]).tolist() == pytest.approx([0.01, 1.0])


def test_benjamini_yekutieli_against_scipy():
    p = np.random.default_rng(6).random(50) ** 3
    assert np.allclose(benjamini_yekutieli(p), false_discovery_control(p, method="by"))
    assert benjamini_yekutieli([]).tolist() == []


def test_the_max_null_knows_the_dependence():
    """Eight copies of one test are one test; Bonferroni would pay eightfold."""
    draws = normals(1.0, 8, 999, 7)
    p = np.array([max_null(seen, draws) for seen in normals(1.0, 8, 1000, 8)])
    assert 0.03 < (p <= 0.05).mean() < 0.07


def test_independent_tests_agree_with_the_least_p_value_of_scipy():
    draws, seen = normals(0.0, 4, 4999, 9), normals(0.0, 4, 200, 10)
    ours = np.array([max_null(one, draws) for one in seen])
    theirs = [combine_pvalues(norm.sf(one), method="tippett").pvalue for one in seen]
    assert np.abs(ours - theirs).max() < 0.05
