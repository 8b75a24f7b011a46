"""Laws of the statistics: what they may depend on, and slow obvious versions of some of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guards.numerics.calibration import max_null
from guards.numerics.conformal import conformal_p_values, folds
from guards.numerics.contamination import Table, lifted
from guards.numerics.dispersion import from_distance, from_range, from_variation
from guards.numerics.enrichment import beta_binomial_tail, dispersion, enriched, holm
from guards.numerics.intervals import clopper_pearson, empirical, estimated
from guards.numerics.neighbours import agreement
from guards.numerics.prediction import moved
from guards.numerics.sources import leaning
from guards.numerics.turns import calibrated
from guards.numerics.windows import dispersion_at

some = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed):
    return np.random.default_rng(seed)


@some
@given(seeds, st.integers(2, 12))
def test_enrichment_knows_no_order_of_cells(seed, cells):
    rng = drawn(seed)
    sizes = rng.integers(0, 200, cells)
    hits = rng.binomial(sizes, rng.uniform(0, 0.5, cells))
    order = rng.permutation(cells)
    for one, other in zip(enriched(hits, sizes), enriched(hits[order], sizes[order]), strict=True):
        assert other == pytest.approx(one[order], rel=1e-9)


@some
@given(seeds, st.integers(3, 12))
def test_one_more_hit_makes_a_cell_no_less_enriched(seed, cells):
    rng = drawn(seed)
    sizes = rng.integers(2, 200, cells)
    hits = rng.binomial(sizes, 0.3)
    hits[0] = min(hits[0], sizes[0] - 1)
    more = hits + (np.arange(cells) == 0)
    (before, lift), (after, higher) = (
        [found[0] for found in enriched(each, sizes)] for each in (hits, more)
    )
    assert after <= before
    assert higher >= lift


@some
@given(st.integers(0, 80), st.integers(1, 80), st.floats(0.01, 0.99), st.floats(0.001, 0.9))
def test_the_tail_is_scipys(hits, size, rate, rho):
    """rho = 1 / (a + b + 1), rate = a / (a + b)."""
    hits = min(hits, size)
    total = (1 - rho) / rho
    exact = stats.betabinom.sf(hits - 1, size, rate * total, (1 - rate) * total)
    assert beta_binomial_tail(hits, size, rate, rho) == pytest.approx(exact, rel=1e-3, abs=1e-12)


@some
@given(seeds)
def test_dispersion_of_cells_is_no_less_for_cells_that_differ_more(seed):
    rng = drawn(seed)
    sizes = rng.integers(50, 200, 40)
    narrow, wide = (
        rng.binomial(sizes, rng.beta(0.3 * total, 0.7 * total, 40)) for total in (500.0, 2.0)
    )
    rates = np.full(40, 0.3)
    assert 0 <= dispersion(narrow, sizes, rates) < dispersion(wide, sizes, rates) <= 1


@some
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), seeds)
def test_holm_is_the_step_down_that_it_says(p_values, seed):
    found = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    largest, slow = 0.0, np.zeros(len(p_values))
    for step, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[place]))
        slow[place] = largest
    assert found == pytest.approx(slow)
    mixed = drawn(seed).permutation(len(p_values))
    assert holm(np.array(p_values)[mixed]) == pytest.approx(found[mixed])


@some
@given(seeds, st.sampled_from([np.exp, np.cbrt, lambda x: 3 * x - 7]))
def test_p_values_by_rank_know_no_scale_of_scores(seed, scale):
    rng = drawn(seed)
    scores, null = rng.normal(size=20), rng.normal(size=50)
    slow = [(1 + sum(n >= s for n in null)) / 51 for s in scores]
    assert empirical(scores, null) == pytest.approx(slow)
    assert (empirical(scale(scores), scale(null)) == empirical(scores, null)).all()
    found = conformal_p_values(scores, null)
    assert (conformal_p_values(scale(scores), scale(null)) == found).all()
    assert (conformal_p_values(scores, rng.permutation(null)) == found).all()
    assert (found[np.argsort(scores)] == np.sort(found)[::-1]).all()


@some
@given(st.integers(0, 60), st.integers(1, 60))
def test_an_interval_is_scipys_and_holds_the_share(hits, rows):
    hits = min(hits, rows)
    exact = stats.binomtest(hits, rows).proportion_ci(0.95, method="exact")
    assert clopper_pearson(hits, rows) == pytest.approx((exact.low, exact.high), abs=1e-9)
    told = estimated(hits, rows)
    assert told["low"] <= told["estimate"] + 1e-6
    assert told["estimate"] - 1e-6 <= told["high"]
    assert told["estimate"] == pytest.approx(hits / rows, abs=1e-6)


@some
@given(seeds, st.integers(2, 6))
def test_folds_part_every_group_alike(seed, count):
    rng = drawn(seed)
    groups = rng.integers(0, 4, 90).astype(np.int64)
    held = folds(groups, count, rng)
    assert set(np.unique(held)) <= set(range(count))
    for group in range(4):
        sizes = np.bincount(held[groups == group], minlength=count)
        assert np.ptp(sizes) <= 1


@some
@given(seeds, st.integers(2, 5))
def test_votes_of_neighbours_are_counted_row_by_row(seed, classes):
    rng = drawn(seed)
    near, labels = rng.integers(0, 30, (30, 7)), rng.integers(0, classes, 30)
    share, majority, most = agreement(near, labels, classes)
    for row in range(30):
        votes = Counter(labels[near[row]].tolist())
        assert share[row] == pytest.approx(votes[int(labels[row])] / 7)
        assert majority[row] == min(c for c in votes if votes[c] == max(votes.values()))
        assert most[row] == pytest.approx(max(votes.values()) / 7)


@some
@given(seeds, st.integers(3, 8))
def test_a_move_has_no_unit_and_versions_no_order(seed, versions):
    rng = drawn(seed)
    past, now = rng.normal(5, 1, (versions, 6)), rng.normal(5, 2, 6)
    plain = moved(now, past, floor=0.01)
    scaled = moved(now * 10 + 3, past * 10 + 3, floor=0.1)
    mixed = moved(now, past[rng.permutation(versions)], floor=0.01)
    assert scaled.p_values == pytest.approx(plain.p_values)
    assert mixed.p_values == pytest.approx(plain.p_values)
    assert plain.change == pytest.approx(now - past.mean(axis=0))


@some
@given(seeds)
def test_a_leaning_knows_no_order_of_rows_nor_names_of_sources(seed):
    rng = drawn(seed)
    member, labels, sources = (
        rng.random(400) < 0.2,
        rng.integers(0, 3, 400),
        rng.integers(0, 4, 400),
    )
    found = leaning(member, labels, sources, 3)
    order, names = rng.permutation(400), rng.permutation(4)
    mixed = leaning(member[order], labels[order], sources[order], 3)
    named = leaning(member, labels, names[sources], 3)
    for other in (mixed, named):
        assert other.lift == pytest.approx(found.lift)
        assert other.p_value == pytest.approx(found.p_value)
    assert (mixed.source == found.source).all()


@some
@given(seeds, st.integers(1, 9))
def test_scores_become_probabilities_each_by_the_curve_of_its_class(seed, classes):
    rng = drawn(seed)
    curves = tuple((np.sort(rng.normal(size=5)), np.sort(rng.random(5))) for _ in range(classes))
    scores = rng.normal(size=(20, classes))
    found = calibrated(scores, curves)
    for c, (x, y) in enumerate(curves):
        assert found[:, c] == pytest.approx(np.interp(scores[:, c], x, y))
        assert (np.diff(found[np.argsort(scores[:, c]), c]) >= 0).all(), "monotone"


@some
@given(seeds)
def test_windows_that_differ_are_more_dispersed_than_windows_that_do_not(seed):
    rng = drawn(seed)
    even = rng.random(1_024) < 0.2
    lumps = np.repeat(rng.random(64) < 0.2, 16)
    assert 0 < dispersion_at(even, 16) < dispersion_at(lumps, 16) <= 1


@some
@given(seeds, st.integers(1, 6))
def test_a_table_of_one_distribution_is_lifted_by_next_to_nothing(seed, times):
    """Both halves of one table are in proportion; rows put into one cell are a lift of theirs."""
    rng = drawn(seed)
    then = rng.integers(50, 500, (4, 5))
    (same,) = lifted([Table(then=then * times, now=then)])
    put = then.copy()
    put[2, 3] += 3 * then.sum()
    (more,) = lifted([Table(then=then * times, now=put)])
    assert same <= 0.01
    assert more >= 0.3
    order = rng.permutation(4)
    assert lifted([Table(then=then[order], now=put[order])])[0] == pytest.approx(
        lifted([Table(then=then, now=put)])[0]
    )


@some
@given(st.lists(st.integers(50, 2_000), min_size=2, max_size=9), st.floats(0.001, 0.4))
def test_the_dispersion_read_off_blocks_grows_with_how_far_they_lie_apart(blocks, far):
    for read in (
        lambda d: from_distance(d, blocks),
        lambda d: from_variation(d, blocks, [30, 50, 20]),
        lambda d: from_range(d, blocks, 0.3),
    ):
        near, apart = read(far / 2), read(far)
        assert 0 <= near <= apart <= 1
        assert read(0.0) == 0.0
    assert from_distance(far, blocks[:1]) == from_range(far, blocks, 0.0) == 0.0


@some
@given(seeds)
def test_the_null_of_the_largest_is_that_of_every_draw(seed):
    """P over all classes: of how many draws is the largest of all classes as large?"""
    rng = drawn(seed)
    observed, null = rng.normal(1, 1, 4), rng.normal(size=(99, 4))
    p_values, scaled = max_null(observed, null)
    assert p_values.shape == scaled.shape == (4,)
    assert ((p_values > 0) & (p_values <= 1)).all()
    order = rng.permutation(4)
    mixed, _ = max_null(observed[order], null[:, order])
    assert mixed == pytest.approx(p_values[order])
