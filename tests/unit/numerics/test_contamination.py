"""The bound holds, finds what is there, and says where."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from guards.numerics.contamination import Table, _bounds, lifted, lower_bound


def bound(pairs, rng, *, dispersion=None, **more):
    """The bound of pairs of counts, each of its dispersion."""
    rho = dispersion or [0.0] * len(pairs)
    tables = [
        Table(then=np.asarray(then), now=np.asarray(now), rho=one)
        for (then, now), one in zip(pairs, rho, strict=True)
    ]
    return lower_bound(tables, rng, **more)


def drawn(rng: np.random.Generator, shape: np.ndarray, rows: int) -> np.ndarray:
    return rng.multinomial(rows, shape / shape.sum())


def test_the_bounds_of_shares_are_those_of_clopper_and_pearson():
    for then, rows_then, now, rows_now in (
        (3, 50, 30, 60),
        (0, 40, 7, 30),
        (40, 40, 9, 10),
        (0, 9, 0, 9),
    ):
        upper = binomtest(then, rows_then).proportion_ci(0.98).high
        lower = binomtest(now, rows_now).proportion_ci(0.98).low
        wanted = max(0.0, (lower - upper) / max(1 - upper, 1e-12))
        assert np.isclose(_bounds((then, rows_then), (now, rows_now), 0.02), wanted, atol=1e-9)


def test_nothing_is_claimed_of_batches_like_the_reference():
    claims = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        shapes = [rng.dirichlet(np.full(60, 0.5)) for _ in range(5)]
        pairs = [(drawn(rng, s, 4000), drawn(rng, s, 1000)) for s in shapes]
        claims += bound(pairs, rng).share > 0
    assert binomtest(claims, 300, 0.01, alternative="greater").pvalue > 1e-3


def test_the_share_is_not_overstated_and_most_of_a_new_cluster_is_found():
    shares, over = [], 0
    for seed in range(100):
        rng = np.random.default_rng([1, seed])
        shape = rng.dirichlet(np.full(400, 0.7))
        planted = np.zeros(400, np.int64)
        planted[rng.integers(400, size=2)] = 50
        now = drawn(rng, shape, 1900) + planted
        true = planted.sum() / now.sum()
        found = bound([(drawn(rng, shape, 8000), now)], rng)
        shares.append(found.share)
        over += found.share > true
        assert set(np.flatnonzero(planted)) & set(found.cells.tolist()) or not found.share
    assert np.median(shares) > 0.4 * 0.05
    assert binomtest(over, 100, 0.01, alternative="greater").pvalue > 1e-3


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_neither_the_order_of_cells_nor_more_of_both_can_break_it(seed, cells):
    rng = np.random.default_rng(seed)
    then, now = rng.integers(0, 50, (2, cells))
    found = bound([(then, now)], np.random.default_rng(0))
    assert 0 <= found.share <= 1
    assert (
        found.share == 0
        or then[found.cells].sum() / max(then.sum(), 1) < now[found.cells].sum() / now.sum()
    )


def test_all_new_is_almost_all_told_and_empty_counts_say_nothing():
    rng = np.random.default_rng(2)
    assert bound([([500, 0], [0, 500])], rng).share > 0.9
    assert bound([([0, 0], [3, 4]), ([1, 2], [0, 0])], rng).share == 0
    assert bound([], rng).share == 0


def one_more_block(rng: np.random.Generator, rho: float, blocks: int = 8) -> tuple:
    """Counts of a reference of several blocks, of one more of them, and what rho says of that."""
    shape = rng.dirichlet(np.full(60, 0.5))
    drift = [rng.dirichlet(shape * (1 - rho) / rho) for _ in range(blocks + 1)]
    then = sum(drawn(rng, one, 2000) for one in drift[:-1])
    return then, drawn(rng, drift[-1], 2000), rho * (1 + 1 / blocks)


def test_one_more_block_of_a_reference_that_differs_within_claims_nothing():
    claims, naive = 0, 0
    for seed in range(300):
        rng = np.random.default_rng([3, seed])
        then, now, rho = one_more_block(rng, [0.001, 0.01, 0.1][seed % 3])
        claims += bound([(then, now)], rng, dispersion=[rho]).share > 0
        naive += bound([(then, now)], rng).share > 0
    assert binomtest(claims, 300, 0.01, alternative="greater").pvalue > 1e-3
    assert naive > 200


def test_a_calendar_bounds_nothing_and_hides_no_other_table():
    """Each block has days of its own, as the batch has; a cluster shows in another table."""
    rng = np.random.default_rng(4)
    calendar = np.repeat([50, 0], [90, 30]), np.repeat([0, 50], [90, 30])
    shape = rng.dirichlet(np.full(400, 0.7))
    now = drawn(rng, shape, 5700)
    now[shape.argmin()] += 300
    cluster = drawn(rng, shape, 18_000), now
    many = [calendar] * 20
    seen = bound([*many, cluster], rng, dispersion=[0.08] * 20 + [0.0])
    assert seen.table == 20
    assert 0.02 < seen.share <= 0.05
    assert bound(many, rng, dispersion=[0.08] * 20).share == 0
    assert bound(many, rng).share > 0.9


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 0.9))
@settings(max_examples=30, deadline=None)
def test_dispersion_only_takes_away(seed, rho):
    rng = np.random.default_rng(seed)
    then, now = rng.integers(0, 50, 30), rng.integers(0, 50, 30)
    cells = rng.choice(30, 5, replace=False)
    held = (then[cells].sum(), then.sum()), (now[cells].sum(), now.sum())
    assert _bounds(*held, 0.01, rho, 0.01) <= _bounds(*held, 0.01)
    assert _bounds(*held, 0.01, rho, 1e-6) <= _bounds(*held, 0.01, rho, 0.01)


def test_tables_chosen_from_more_are_corrected_for_all_of_them():
    rng = np.random.default_rng(5)
    shape = rng.dirichlet(np.full(400, 0.7))
    then, now = drawn(rng, shape, 8000), drawn(rng, shape, 1900)
    now[shape.argmin()] += 100
    alone, chosen = (
        bound([(then, now)], np.random.default_rng(0), among=among).share for among in (0, 10_000)
    )
    assert 0 < chosen < alone


def slowly_lifted(table: Table) -> float:
    """The surplus of one table, cell by cell."""
    known, rows, found = table.then.sum(), table.now.sum(), 0.0
    both = table.then + table.now
    for cell in np.ndindex(table.now.shape):
        rho = table.rho
        for axis, side in enumerate(table.sides):
            rho += side * both[cell] / max(np.take(both, cell[axis], axis).sum(), 1)
        each = min(rho, 1.0) / max(1 - min(rho, 1.0), 1e-9)
        then, now = int(table.then[cell]), int(table.now[cell])
        most = (then + 2 * np.sqrt(then) + 1) / max(known, 1)
        most += 2 * np.sqrt(most * each) + 3 * each
        found += max(max(now - 2 * np.sqrt(now), 0) / max(rows, 1) - most, 0)
    return float(found)


def test_tables_of_any_shapes_have_the_surplus_that_each_has_alone():
    rng = np.random.default_rng(3)
    shapes = [(40,), (5, 8), (8, 5), (5, 8), (40,), (1, 1)]
    tables = [
        Table(
            then=rng.integers(0, 30, shape),
            now=rng.integers(0, 90, shape),
            rho=float(rng.choice([0.0, 0.002])),
            sides=tuple(rng.random(2) / 50) if len(shape) == 2 else (),
        )
        for shape in shapes
    ]
    empty = Table(then=np.zeros((5, 8), int), now=np.zeros((5, 8), int), sides=(0.0, 0.0))
    found = lifted([*tables, empty])
    assert np.allclose(found, [*map(slowly_lifted, tables), 0.0], rtol=1e-12)
    assert (found[:5] > 0).any()
    assert lifted([]).shape == (0,)
