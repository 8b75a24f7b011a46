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
    distance_interval,
    homogeneity_p_value,
    jensen_shannon,
    ks_against_steps,
    ks_p_value,
    means_apart,
    rates_apart,
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


def test_the_interval_of_a_distance_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(8)
    then, now = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.35, 0.25, 0.25, 0.15])
    held = {"D": 0, "total variation": 0}
    for _ in range(400):
        shares = rng.multinomial(900, then) / 900 - rng.multinomial(300, now) / 300
        told = {"D": np.abs(np.cumsum(shares)).max(), "total variation": np.abs(shares).sum() / 2}
        for name, distance in told.items():
            low, high = distance_interval(distance, 300, 900)
            held[name] += low <= 0.1 <= high
    assert min(held.values()) >= 0.95 * 400


@given(st.floats(0, 1), st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0.5, 0.999))
def test_the_interval_is_mcdiarmids_about_the_distance(distance, rows, known, level):
    low, high = distance_interval(distance, rows, known, level)
    assert 0 <= low <= distance <= high <= 1
    if low > 0 and high < 1:  # P(|T - E T| >= t) <= 2 exp(-2 t^2 / (1/n + 1/m))
        chance = 2 * np.exp(-2 * (high - distance) ** 2 / (1 / rows + 1 / known))
        assert chance == pytest.approx(1 - level, rel=1e-6)
        assert high - distance == pytest.approx(distance - low)
    fewer = distance_interval(distance, max(1, rows // 2), known, level)
    assert fewer[0] <= low
    assert fewer[1] >= high


def test_without_rows_a_distance_may_be_anything():
    assert distance_interval(0.0, 0, 10) == (0.0, 1.0)


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


@given(st.integers(0, 300), st.integers(0, 200))
def test_rates_apart_is_the_corrected_chi_squared_test(then, now):
    """z^2 with Yates's correction is Pearson's X^2 of the table of both, corrected."""
    (effect,), (p_value,) = rates_apart([then], [now], (300, 200))
    assert effect == pytest.approx(abs(then / 300 - now / 200))
    table = np.array([[then, 300 - then], [now, 200 - now]])
    if table.sum(axis=0).all():
        exact = stats.chi2_contingency(table, correction=True).pvalue
        assert p_value == pytest.approx(exact, abs=1e-9)
    else:
        assert p_value == 1.0


@given(st.integers(0, 90), st.integers(0, 200), st.integers(0, 10))
def test_what_a_count_may_be_off_by_is_no_movement(then, now, error):
    (effect,), (p_value,) = rates_apart([then], [now], (100, 200), error=error)
    (whole,), (surer,) = rates_apart([then], [now], (100, 200))
    assert effect == pytest.approx(max(whole - error / 100, 0.0))
    assert p_value >= surer


def test_rates_apart_cries_wolf_as_often_as_it_says():
    generator = np.random.default_rng(8)
    rates = generator.uniform(0.02, 0.5, 4000)
    then, now = generator.binomial(3000, rates), generator.binomial(1000, rates)
    _, p_values = rates_apart(then, now, (3000, 1000))
    assert (p_values <= 0.01).mean() <= 0.01 + 3 * np.sqrt(0.01 / 4000)
    assert (p_values <= 0.01).mean() >= 0.002


def moments(rows):
    return rows.mean(axis=0), rows.var(axis=0)


@given(st.integers(0, 2**32))
def test_means_apart_is_welchs_test_with_the_normal_law(seed):
    generator = np.random.default_rng(seed)
    then, now = generator.normal(0, 2, (400, 3)), generator.normal(0.2, 1, (300, 3))
    effects, p_values = means_apart(moments(then), moments(now), (400, 300))
    gap = np.abs(then.mean(axis=0) - now.mean(axis=0))
    z = gap / np.sqrt(then.var(axis=0) / 400 + now.var(axis=0) / 300)
    assert p_values == pytest.approx(2 * stats.norm.sf(z))
    welch = stats.ttest_ind(then, now, equal_var=False).pvalue
    assert p_values == pytest.approx(welch, rel=0.1, abs=1e-3)
    pooled = np.sqrt((400 * then.var(axis=0) + 300 * now.var(axis=0)) / 700)
    assert effects == pytest.approx(2 * stats.norm.cdf(gap / pooled / 2) - 1)


@pytest.mark.parametrize("shift", [0.1, 0.5, 2.0])
def test_a_shift_is_told_as_the_distance_of_two_normal_samples(shift):
    (effect,), _ = means_apart(([0.0], [1.0]), ([shift], [1.0]), (10, 10))
    points = np.linspace(-9, 9, 20_001)
    far = np.abs(stats.norm.cdf(points) - stats.norm.cdf(points - shift)).max()
    assert effect == pytest.approx(far, abs=1e-6)


@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_neither_unit_nor_origin_of_a_dimension_matters(unit, origin):
    then, now = ([0.25, 1.0], [2.0, 0.5]), ([0.75, 1.5], [1.0, 0.5])
    moved = [
        (origin + unit * np.array(mean), unit**2 * np.array(variance))
        for mean, variance in (then, now)
    ]
    plain, other = means_apart(then, now, (50, 70)), means_apart(*moved, (50, 70))
    for one, two in zip(plain, other, strict=True):
        # What is far below the seven digits of a mean is taken for nothing.
        assert two == pytest.approx(one, rel=1e-3) or unit * 0.5 <= 1e-5 * abs(origin)


def test_dimensions_that_never_vary_have_wholly_moved_or_not_at_all():
    then, now = ([1.0, 1.0, 0.1], [0.0, 0.0, 1e-18]), ([1.0, 2.0, 0.10000001], [0.0, 0.0, 0.0])
    effects, p_values = means_apart(then, now, (9, 9))
    assert effects.tolist() == [0.0, 1.0, 0.0]
    assert p_values.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("rows", [(1, 500), (500, 1), (1, 1)])
def test_beside_one_row_no_mean_has_moved(rows):
    moments = ([0.0, 1.0], [0.0, 0.0]), ([5.0, 1.0], [1.0, 1.0])
    effects, p_values = means_apart(*moments, rows)
    assert effects.tolist() == [0, 0]
    assert p_values.tolist() == [1, 1]
