"""Laws of the statistics of tables and texts: no order of rows, groups or values, no unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from guards.numerics import betting, cells, conformal, copies, crowds, flips, outside, surges
from guards.numerics.enrichment import dominant
from guards.numerics.sketches import distinct, registers
from guards.numerics.twosample import (
    binomial_excess_p_value,
    homogeneity_p_value,
    ks_p_value,
    total_variation,
)

seeds = st.integers(0, 2**32 - 1)
counts = arrays(np.int64, 6, elements=st.integers(0, 300)).filter(np.any)
some = settings(max_examples=40, deadline=None)


def drawn(seed):
    return np.random.default_rng(seed)


@given(counts, counts, seeds)
def test_no_distance_of_counts_knows_an_order_of_values_nor_which_sample_came_first(
    first, second, seed
):
    order = drawn(seed).permutation(6)
    apart = total_variation(first, second)
    assert apart == pytest.approx(total_variation(second[order], first[order]))
    assert apart == pytest.approx(total_variation(first * 7, second)), "shares, not rows"
    assert 0 <= apart <= 1
    chance = homogeneity_p_value(first, second)
    assert chance == pytest.approx(homogeneity_p_value(second[order], first[order]))
    assert homogeneity_p_value(first, first) == pytest.approx(1.0)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 5000), st.integers(1, 5000))
def test_a_larger_distance_is_no_likelier_and_nobody_is_the_reference(one, other, rows, known):
    near, far = sorted((one, other))
    assert ks_p_value(far, rows, known) <= ks_p_value(near, rows, known) + 1e-12
    assert ks_p_value(far, rows, known) == ks_p_value(far, known, rows)


@given(st.integers(0, 200), st.integers(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_more_hits_are_no_likelier_and_a_higher_rate_makes_them_so(hits, rows, one, other):
    hits = min(hits, rows)
    low, high = sorted((one, other))
    assert binomial_excess_p_value(hits, rows, low) <= binomial_excess_p_value(hits, rows, high) * (
        1 + 1e-9
    )
    assert binomial_excess_p_value(hits, rows, low) <= binomial_excess_p_value(
        max(hits - 1, 0), rows, low
    )


@some
@given(seeds, st.floats(0, 0.1), st.integers(1, 12))
def test_groups_move_by_themselves_whatever_they_and_the_bins_are_called(seed, rho, blocks):
    rng = drawn(seed)
    then, now = rng.integers(0, 60, (2, 5, 7))
    found = cells.moved_p_values(then, now, rho=rho, blocks=blocks)
    down, across = rng.permutation(5), rng.permutation(7)
    turned = [table[down][:, across] for table in (then, now)]
    assert cells.moved_p_values(*turned, rho=rho, blocks=blocks) == pytest.approx(found[down])
    calmer = cells.moved_p_values(then, now, rho=rho + 0.05, blocks=blocks)
    assert (calmer >= found - 1e-12).all(), "blocks that differ more make movement likelier"


@some
@given(counts, arrays(np.float64, 6, elements=st.floats(0.05, 20)), st.floats(0, 0.98), seeds)
def test_bets_know_no_order_of_cells_and_chances_rise_with_stake_and_ratio(
    rows, ratio, stake, seed
):
    order = drawn(seed).permutation(6)
    share = betting.likeliest(rows, ratio)
    gained = np.log1p(betting.SHARES[:, None] * (ratio - 1)) @ rows
    assert gained[np.searchsorted(betting.SHARES, share)] == pytest.approx(gained.max())
    again = betting.likeliest(rows[order], ratio[order])
    assert gained[np.searchsorted(betting.SHARES, again)] == pytest.approx(gained.max())
    found = betting.chances(ratio, stake)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found[np.argsort(ratio)]) >= 0).all()
    assert (betting.chances(ratio, stake / 2) <= found + 1e-12).all()
    even = stake * ratio[0] / (1 - stake) if ratio[0] else 0  # Bayes, by odds
    assert found[0] / (1 - found[0]) == pytest.approx(even)


@given(
    arrays(np.float64, 5, elements=st.floats(0, 90)),
    arrays(np.int64, 5, elements=st.integers(0, 9)),
)
def test_what_lies_wide_widens_and_never_narrows(squares, freedom):
    every = np.arange(5)
    for place in every:
        first, second = np.array([place]), np.array([(place + 1) % 5])
        others = np.setdiff1d(every, [first[0], second[0]])
        (found,) = betting.widening(squares, freedom, first, second)
        assert found == pytest.approx(betting.wider(squares[others].sum(), freedom[others].sum()))
        assert found >= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.01, 0.5), seeds)
def test_rejections_are_those_of_adjusted_p_values_in_any_order(p_values, rate, seed):
    p = np.array(p_values)
    adjusted = stats.false_discovery_control(p)
    assume((np.abs(adjusted - rate) > 1e-9).all())
    found = conformal.benjamini_hochberg(p, rate)
    assert found.tolist() == (adjusted <= rate).tolist()
    order = drawn(seed).permutation(len(p))
    assert conformal.benjamini_hochberg(p[order], rate).tolist() == found[order].tolist()


@given(st.integers(1, 10**6), st.integers(1, 1000), st.floats(0.001, 0.5))
def test_so_many_trusted_rows_are_the_least_that_could_tell(rows, found, rate):
    need, limit = conformal.rows_needed(rows, found, rate), rate * found / rows
    assert 1 / (need + 1) <= limit * (1 + 1e-9)
    assert need == 1 or 1 / need > limit * (1 - 1e-9)


@some
@given(st.lists(st.sets(st.integers(0, 60), max_size=12), min_size=1, max_size=12), seeds)
def test_families_know_no_order_of_words_nor_of_rows(sets, seed):
    rng = drawn(seed)
    shingles = [np.array(sorted(held), np.uint64) for held in sets]
    signed = copies.minima(shingles, seed=3)
    mixed = [rng.permutation(held) for held in shingles]
    assert (copies.minima(mixed, seed=3) == signed).all()
    union = np.unique(np.concatenate(shingles)).astype(np.uint64)
    if len(union):  # the minimum of a union is the least of the minima
        assert (copies.minima([union], seed=3)[0] == signed.min(0)).all()
    twice = np.concatenate([signed, signed])
    order = rng.permutation(len(twice))
    told = {frozenset(rows.tolist()) for rows in copies.similar(twice, least=2)}
    again = {frozenset(order[rows].tolist()) for rows in copies.similar(twice[order], least=2)}
    filled = {row for row, held in enumerate(sets * 2) if held}
    assert set().union(*told) == set().union(*again) == filled


@given(counts, counts, seeds)
def test_a_group_is_tight_in_any_order_of_cells_and_never_more_than_wholly(usual, group, seed):
    order = drawn(seed).permutation(6)
    found = crowds.tightness(usual, group)
    assert found == pytest.approx(crowds.tightness(usual[order], group[order]))
    assert found <= 1
    assert crowds.tightness(usual, usual) == 0


@given(seeds)
def test_normal_scores_turn_with_the_sides(seed):
    table = drawn(seed).integers(1, 40, (5, 4))
    found = crowds.scored_correlation(table)
    assert found == pytest.approx(crowds.scored_correlation(table.T))
    assert found == pytest.approx(-crowds.scored_correlation(table[::-1]), abs=1e-9)
    assert found == pytest.approx(crowds.scored_correlation(table * 3))
    assert crowds.scored_correlation(np.outer([1, 2, 3], [4, 5])) == pytest.approx(0, abs=1e-9)


@given(seeds, st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_columns_that_are_tight_are_named_in_one_order_and_none_follows_from_another(seed, shares):
    rng = drawn(seed)
    tight = [(f"c{place}", share) for place, share in enumerate(shares)]
    pairs = {frozenset((a, b)): rng.random() for a, _ in tight for b, _ in tight if a < b}
    found = crowds.independent(tight, pairs)
    mixed = [tight[place] for place in rng.permutation(len(tight))]
    assert crowds.independent(mixed, pairs) == found
    assert all(dict(tight)[name] >= crowds.TIGHT for name in found)
    implied = [pairs[frozenset((a, b))] for a in found for b in found if a < b]
    assert all(one < crowds.IMPLIED for one in implied)
    numbered = list(enumerate(shares))
    assert crowds.apart(numbered, np.eye(len(shares))) == [
        place for place, share in sorted(numbered, key=lambda one: (-one[1], one[0]))
        if share >= crowds.TIGHT
    ]  # fmt: skip


@some
@given(seeds)
def test_the_sloppy_source_is_the_same_whatever_it_is_called(seed):
    rng = drawn(seed)
    labels, sources = rng.integers(0, 3, 400), rng.integers(0, 4, 400)
    predicted = np.where(rng.random(400) < 0.05 + 0.4 * (sources == 1), (labels + 1) % 3, labels)
    seen = flips.Sure(predicted=predicted, winning=np.ones(400), sure=rng.random(400) < 0.9)
    found = flips.careless(labels, seen, sources, 4)
    renamed, order = rng.permutation(4), rng.permutation(400)
    mixed = flips.Sure(predicted=predicted[order], winning=np.ones(400), sure=seen.sure[order])
    again = flips.careless(labels[order], mixed, renamed[sources[order]], 4)
    for one in found:
        other = again[renamed[one.source]]
        assert (one.hits, one.size) == (other.hits, other.size)
        assert (one.lift, one.p_value) == pytest.approx((other.lift, other.p_value))
    assert max(found, key=lambda one: one.lift).source == 1


@some
@given(seeds)
def test_the_group_of_some_rows_is_told_in_any_order(seed):
    rng = drawn(seed)
    groups = rng.integers(0, 5, 500)
    rows = np.flatnonzero((groups == 2) | (rng.random(500) < 0.02))
    found = dominant(groups, rows, 5)
    order = rng.permutation(500)
    where = np.flatnonzero(np.isin(order, rows))
    again = dominant(groups[order], where, 5)
    assert found is not None
    assert found.group == 2
    assert again == found


@some
@given(arrays(np.uint64, st.integers(1, 400), elements=st.integers(0, 2**64 - 1)), seeds)
def test_distinct_values_are_counted_once_in_any_order_and_shard(hashes, seed):
    rng = drawn(seed)
    whole = registers(hashes)
    cut = int(rng.integers(0, len(hashes) + 1))
    mixed = rng.permutation(np.concatenate([hashes, hashes]))
    assert distinct(registers(mixed)) == distinct(whole)
    parts = np.maximum(registers(hashes[:cut]), registers(hashes[cut:]))
    assert distinct(parts) == distinct(whole)


@given(counts, counts, seeds, st.floats(0.001, 0.1))
def test_words_that_surge_know_no_order_and_are_corrected_for_no_more_than_all(
    then, now, seed, alpha
):
    rows, order = (400, 350), drawn(seed).permutation(6)
    found = surges.lifts(then, now, rows)
    assert surges.lifts(then[order], now[order], rows) == pytest.approx(found[order])
    assert (surges.lifts(then, now + 1, rows) > found).all()
    many = surges.attainable(then, now, rows, alpha=alpha)
    assert 1 <= many <= 6
    assert many == surges.attainable(then[order], now[order], rows, alpha=alpha)


@some
@given(seeds, st.floats(0.01, 100))
def test_whose_neighbours_bear_a_label_is_told_in_any_unit_and_order(seed, unit):
    rng = drawn(seed)
    points, labels = rng.normal(size=(120, 4)), rng.integers(0, 3, 120)
    rows, order = np.arange(0, 120, 7), rng.permutation(120)
    found = outside.shares(points, rows, labels, 1)
    where = np.argsort(order)[rows]
    assert outside.shares(points[order] * unit, where, labels[order], 1) == pytest.approx(found)
    slow = [
        (labels[np.argsort(((points - points[row]) ** 2).sum(1))[1:]][: outside.NEIGHBOURS] == 1)
        .mean()
        for row in rows
    ]  # fmt: skip
    assert found == pytest.approx(slow)
    asked = outside.around(points, rows, labels, 1, points[rows])
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0] * unit
    again = outside.around(points @ turned, rows, labels, 1, points[rows] @ turned)
    assert again.share == pytest.approx(asked.share)
    assert again.distance == pytest.approx(asked.distance * unit)
