"""Hot cells by their definition, groups against a slow reading, tightness by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from guards.numerics import crowds
from guards.numerics.excess import log_tails

COUNTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=12)


@given(COUNTS, st.integers(1, 9), st.floats(1, 5), st.floats(1e-6, 0.5), st.floats(1, 9))
def test_hot_is_rows_and_lift_and_significance(pairs, least, lift, alpha, wider) -> None:
    then, now = np.array(pairs).T
    found = crowds.hot(then, now, least=least, lift=lift, alpha=alpha, inflation=wider)
    expected = (then + 1) * now.sum() / max(then.sum(), 1)
    sure = log_tails(now, expected, then, wider) <= np.log10(alpha)
    enough = (now >= least) & (now >= lift * expected)
    assert found.tolist() == (enough & sure).tolist()


def test_few_cells_are_hot_where_nothing_changed() -> None:
    """At `alpha` a cell, so many in all: 40 draws of 1,000 cells, within Poisson's limits."""
    rng = np.random.default_rng(7)
    rates = rng.gamma(0.5, 20, 1000)
    found = sum(
        int(
            crowds.hot(
                rng.poisson(2 * rates), rng.poisson(rates), least=1, lift=0, alpha=0.001
            ).sum()
        )
        for _ in range(40)
    )
    assert found < 40 + 5 * np.sqrt(40)


def slow_groups(cells: np.ndarray, alike: float) -> list[set[int]]:
    groups = [{row} for row in range(len(cells))]
    for a, b in combinations(range(len(cells)), 2):
        both = ((cells[a] == cells[b]) & (cells[a] >= 0)).sum()
        most = max((cells[a] >= 0).sum(), (cells[b] >= 0).sum())
        if both and both >= alike * most:
            one, two = (next(g for g in groups if row in g) for row in (a, b))
            if one is not two:
                groups.remove(two)
                one |= two
    return groups


@settings(deadline=None)
@given(st.integers(1, 14), st.integers(1, 6), st.sampled_from([0.3, 0.5, 0.8]), st.integers(0, 999))
def test_groups_are_those_of_a_slow_reading(rows, tables, alike, seed) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.integers(-1, 3, (rows, tables))
    found = crowds.grouped(cells, alike=alike)
    groups = {frozenset(np.flatnonzero(found == g).tolist()) for g in set(found.tolist())}
    assert groups == set(map(frozenset, slow_groups(cells, alike)))
    sizes = np.bincount(found)
    assert (np.diff(sizes) <= 0).all()
    order = rng.permutation(rows)
    again = crowds.grouped(cells[order], alike=alike)
    same = {frozenset(order[again == g].tolist()) for g in set(again.tolist())}
    assert same == groups


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9))
def test_entropy_is_scipys(counts: list[int]) -> None:
    expected = entropy(counts) if sum(counts) else 0.0
    assert crowds.entropy(counts) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 999))
def test_what_one_column_tells_of_another_is_their_mutual_information(a, b, seed) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, a, 60), rng.integers(0, b, 60)
    table = np.zeros((a, b), np.int64)
    np.add.at(table, (first, second), 1)
    least = min(entropy(table.sum(0)), entropy(table.sum(1)))
    told = mutual_info_score(first, second)
    expected = told / least if least > 0 else 0.0
    assert crowds.implied(table) == pytest.approx(expected, abs=1e-6)
    assert crowds.implied(table.T) == pytest.approx(crowds.implied(table), abs=1e-9)


def test_a_column_that_follows_from_another_is_implied_and_one_by_chance_is_not() -> None:
    assert crowds.implied(np.diag([5, 9, 2])) == pytest.approx(1)
    assert crowds.implied(np.outer([5, 9, 2], [3, 7])) == pytest.approx(0, abs=1e-9)


def test_tight_is_narrow_and_unusual() -> None:
    usual = [100] * 8
    assert crowds.tightness(usual, [0, 0, 30, 0, 0, 0, 0, 0]) == pytest.approx(1)
    assert crowds.tightness(usual, [4, 4, 4, 4, 4, 4, 4, 2]) == 0  # as wide as ever
    assert crowds.tightness([900, 50, 50], [30, 0, 0]) == 0  # narrow, and where all are
    assert crowds.tightness([900, 50, 50], [0, 30, 0]) == pytest.approx(1)
    assert crowds.tightness(usual, [0] * 8) == 0 == crowds.tightness([0] * 8, usual)


def test_a_column_counts_once_with_what_it_implies() -> None:
    tight = [("dest", 1.0), ("distance", 0.9), ("hour", 0.8), ("day", 0.4)]
    telling = {frozenset(("dest", "distance")): 0.95, frozenset(("hour", "dest")): 0.05}
    assert crowds.independent(tight, telling) == ["dest", "hour"]
    assert crowds.independent(tight[::-1], telling) == ["dest", "hour"]
    assert crowds.independent(tight, {}) == ["dest", "distance", "hour"]


@given(st.integers(1, 4), st.integers(0, 999))
def test_what_views_tell_of_another_is_the_r_squared_of_a_regression(many, seed) -> None:
    rows = np.random.default_rng(seed).normal(size=(60, many + 1))
    rows[:, -1] += rows[:, 0]
    rows -= rows.mean(axis=0)
    fitted = rows[:, :many] @ np.linalg.lstsq(rows[:, :many], rows[:, -1], rcond=None)[0]
    expected = (fitted**2).sum() / (rows[:, -1] ** 2).sum()
    correlations = np.corrcoef(rows.T).reshape(many + 1, many + 1)
    found = crowds.conditional(correlations, list(range(many)), many)
    assert found == pytest.approx(expected, abs=1e-6)


def test_what_nobody_counted_is_taken_to_tell_everything() -> None:
    assert crowds.conditional(np.array([[1, np.nan], [np.nan, 1]]), [0], 1) == 1
    assert crowds.conditional(np.eye(2), [], 1) == 0


def test_views_of_vectors_in_a_plane_count_as_two() -> None:
    """Pair by pair they may look independent; together two tell every other."""
    angles = np.pi * np.arange(6) / 6
    correlations = np.cos(angles[:, None] - angles)
    assert len(crowds.apart([(view, 0.9) for view in range(6)], correlations)) == 2
    assert crowds.apart([(view, 0.9) for view in range(6)], np.eye(6)) == list(range(6))
    assert crowds.apart([(0, 0.4), (1, 0.6), (2, 0.9)], np.eye(3)) == [2, 1]


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.6])
def test_the_correlation_of_counts_is_that_of_the_numbers(rho) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=20_000)
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=20_000)
    table = np.histogram2d(
        np.exp(x), y, [np.quantile(v, np.arange(9) / 8) for v in (np.exp(x), y)]
    )[0]
    assert crowds.scored_correlation(table) == pytest.approx(rho, abs=0.06)
    assert crowds.scored_correlation(table.T) == pytest.approx(crowds.scored_correlation(table))
    assert np.isnan(crowds.scored_correlation([[3, 4]]))
