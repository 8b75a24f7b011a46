from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from guards.numerics.sketches import counted, exact_steps, thinned
from guards.numerics.twosample import (
    benjamini_hochberg,
    binomial_excess_p_value,
    homogeneity_p_value,
    jensen_shannon,
    ks_against_steps,
    ks_p_value,
    total_variation,
)

counts = st.lists(st.integers(0, 500), min_size=4, max_size=4).filter(any)


def distance(reference, sample, most=10_000):
    """D against the steps of a reference, and what it may be off by."""
    steps = thinned(exact_steps(np.sort(reference)), most)
    below, upto = counted(np.sort(sample), steps.points)
    return ks_against_steps(steps.weights, below, upto, len(sample)), steps.error / steps.rows


@pytest.mark.filterwarnings("ignore:divide by zero")  # scipy's p-value of two rows, not ours
@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=80),
    st.lists(st.integers(-7, 5), min_size=1, max_size=80),
    st.sampled_from([4, 16, 256]),
)
def test_distance_is_scipys_within_the_error_of_the_steps(reference, sample, most):
    exact = stats.ks_2samp(reference, sample, method="asymp").statistic
    found, off = distance(reference, sample, most)
    assert abs(found - exact) <= off + 1e-12


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_distance_on_continuous_values(shift):
    generator = np.random.default_rng(2)
    reference, sample = generator.normal(size=5000), generator.normal(shift, size=3000)
    exact = stats.ks_2samp(reference, sample, method="asymp").statistic
    assert distance(reference, sample)[0] == pytest.approx(exact)
    found, off = distance(reference, sample, 256)
    assert 0 < off < 0.52 / 256
    assert abs(found - exact) <= off


def test_distance_of_a_sample_from_itself_is_nothing():
    values = np.random.default_rng(3).integers(0, 30, 4000).astype(float)
    assert distance(values, values) == (0.0, 0.0)
    assert ks_against_steps([], [], [], 5) == ks_against_steps([1], [0], [0], 0) == 0.0


def test_ks_p_value_is_scipys():
    generator = np.random.default_rng(4)
    first, second = generator.normal(size=400), generator.normal(0.15, size=300)
    found = stats.ks_2samp(first, second, method="asymp")
    assert ks_p_value(found.statistic, 400, 300) == pytest.approx(found.pvalue, rel=0.15)
    assert ks_p_value(0.0, 400, 300) == 1.0
    assert ks_p_value(0.5, 0, 300) == 1.0


@given(counts, counts)
def test_jensen_shannon_is_scipys(first, second):
    expected = jensenshannon(first, second, base=2)
    assert jensen_shannon(first, second) == pytest.approx(np.nan_to_num(expected), abs=1e-7)


def test_total_variation_by_hand():
    assert total_variation([1, 1, 0], [0, 1, 1]) == pytest.approx(0.5)
    assert total_variation([2, 0], [0, 7]) == pytest.approx(1.0)


def test_homogeneity_is_the_chi_squared_test():
    first, second = [50, 60, 90], [70, 40, 60]
    expected = stats.chi2_contingency([first, second], correction=False).pvalue
    assert homogeneity_p_value(first, second) == pytest.approx(expected)


def test_homogeneity_pools_what_is_rare():
    first, second = [50, 60, 1, 0, 1], [70, 40, 0, 2, 0]
    pooled = stats.chi2_contingency([[50, 60, 2], [70, 40, 2]], correction=False).pvalue
    assert homogeneity_p_value(first, second) == pytest.approx(pooled)
    assert homogeneity_p_value([0, 0], [3, 4]) == 1.0
    assert homogeneity_p_value([9], [4]) == 1.0


@pytest.mark.parametrize(("hits", "rows", "rate"), [(7, 100, 0.02), (1, 5, 0.5), (100, 100, 0.9)])
def test_binomial_excess_is_the_exact_test(hits, rows, rate):
    expected = stats.binomtest(hits, rows, rate, alternative="greater").pvalue
    assert binomial_excess_p_value(hits, rows, rate) == pytest.approx(expected)
    assert binomial_excess_p_value(0, rows, rate) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(p_values):
    expected = stats.false_discovery_control(p_values, method="bh")
    assert benjamini_hochberg(p_values) == pytest.approx(expected)


def test_no_p_values_at_all():
    assert benjamini_hochberg([]).shape == (0,)
