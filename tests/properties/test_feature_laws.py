"""Laws of the statistics of features and of their nulls: no order, no names, no axes, no unit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

from guards.numerics import calibration, fusion, seeds, spectrum
from guards.numerics.discriminant import FOLDS, ridge_scores, whitened
from guards.numerics.enrichment import beta_binomial_tail
from guards.numerics.minorities import concentration
from guards.numerics.screen import look
from guards.numerics.screen_null import draw_null, upper_tail

numbers = st.integers(0, 2**32 - 1)
some = settings(max_examples=20, deadline=None)
few = settings(max_examples=8, deadline=None)


def drawn(seed):
    return np.random.default_rng(seed)


def rotation(rng, columns):
    return np.linalg.qr(rng.normal(size=(columns, columns)))[0]


# calibration


@few
@given(numbers, st.floats(2.5, 100), st.floats(0.01, 50))
def test_draws_are_t_of_their_group_and_have_its_unit(seed, df, unit):
    """D^2/d v/(v - 2) is F(d, v) for the squared Mahalanobis length D^2 of a d-dimensional t."""
    rng = drawn(seed)
    wide = torch.from_numpy(rng.uniform(0.1, 5, (2, 6)))
    freedom, mask = torch.tensor([df, 30.0]), torch.arange(900)[None] < torch.tensor([[900], [600]])
    found = calibration.draw_t(wide, freedom, mask, drawn(seed))
    assert (found[1, 600:] == 0).all(), "padding"
    longer = calibration.draw_t(wide * unit, freedom, mask | True, drawn(seed))
    assert longer[:, :600].numpy() == pytest.approx(unit * found[:, :600].numpy(), rel=1e-4)
    for group, v in enumerate(freedom.tolist()):
        lengths = (found[group, :600].double() / wide[group]).square().sum(1).numpy()
        assert stats.kstest(lengths / 6 * v / (v - 2), stats.f(6, v).cdf).pvalue > 1e-6


@some
@given(numbers, st.integers(1, 40), st.floats(1e-3, 1e3), st.floats(1, 3))
def test_freedom_solves_mardias_equation_and_is_less_of_heavier_tails(seed, columns, unit, power):
    """m = E[D^4]/(E[D^2])^2 is (d + 2)/d (v - 2)/(v - 4)."""
    rng = drawn(seed)
    lengths = rng.chisquare(columns, 300) / rng.gamma(5, 0.2, 300)
    v = calibration.degrees_of_freedom(lengths, columns)
    ratio = (lengths**2).mean() / lengths.mean() ** 2 * columns / (columns + 2)
    least, most = 2.5 / 0.5, (calibration.MAX_DF - 2) / (calibration.MAX_DF - 4)
    assert (v - 2) / (v - 4) == pytest.approx(np.clip(ratio, most, least))
    assert 4.5 <= v <= calibration.MAX_DF
    assert calibration.degrees_of_freedom(
        unit * rng.permutation(lengths), columns
    ) == pytest.approx(v)
    assert calibration.degrees_of_freedom(lengths**power, columns) <= v + 1e-9


@some
@given(numbers, st.integers(1, 6), st.floats(0, 3))
def test_the_largest_of_several_knows_no_order_of_them_and_none_of_their_units(seed, tests, more):
    rng = drawn(seed)
    null, observed = rng.normal(size=(99, tests)), rng.normal(1, 1, tests)
    found = fusion.max_null(observed, null)
    spread = np.std(null, axis=0, ddof=1)
    highest = ((null - null.mean(0)) / spread).max(1)
    mine = ((observed - null.mean(0)) / spread).max()
    assert found == pytest.approx((1 + (highest >= mine).sum()) / 100)
    unit, level, order = rng.uniform(0.1, 9, tests), rng.normal(size=tests), rng.permutation(tests)
    again = fusion.max_null((unit * observed + level)[order], (unit * null + level)[:, order])
    assert again == pytest.approx(found)
    assert fusion.max_null(observed + more, rng.permutation(null)) <= found


# discriminant


@some
@given(numbers, st.floats(0.01, 100), st.integers(1, 9))
def test_white_rows_vary_alike_whatever_axes_and_unit_they_came_with(seed, unit, rank):
    rng = drawn(seed)
    rows = rng.normal(size=(80, 6)) * 2.0 ** np.arange(6) + 3
    found = whitened(torch.from_numpy(rows), rank).numpy()
    assert found.T @ found / 80 == pytest.approx(np.eye(min(rank, 6)), abs=1e-3)
    assert found.mean(0) == pytest.approx(0, abs=1e-4)
    order = rng.permutation(80)
    turned = torch.from_numpy((unit * rows @ rotation(rng, 6) - 7 * unit)[order])
    again = whitened(turned, rank).numpy()
    assert again @ again.T == pytest.approx((found @ found.T)[np.ix_(order, order)], abs=2e-2)
    most = np.linalg.svd(rows - rows.mean(0))[0][:, : min(rank, 6)] * np.sqrt(80)
    assert found @ found.T == pytest.approx(most @ most.T, abs=2e-2), "those that vary most"


@some
@given(numbers, st.floats(1e-3, 1))
def test_no_row_is_scored_by_a_discriminant_that_saw_it(seed, ridge):
    """w = (X'X/n + ridge I)^-1 X'y/n, X and y those of the other folds."""
    rng = drawn(seed)
    white, marks = rng.normal(size=(60, 4)), rng.random((60, 3)) < 0.3
    marks[:, 1] = False
    found = ridge_scores(torch.from_numpy(white), torch.from_numpy(marks), drawn(1), ridge=ridge)
    folds, slow = drawn(1).permutation(60) % FOLDS, np.zeros((60, 3))
    for row in range(60):
        rest = folds != folds[row]
        x, y = white[rest], marks[rest].astype(float)
        moments = x.T @ x / rest.sum() + ridge * np.eye(4)
        slow[row] = white[row] @ np.linalg.solve(moments, x.T @ y / rest.sum())
    middle = np.sort(slow, axis=0)[29]
    scale = 1.4826 * np.sort(np.abs(slow - middle), axis=0)[29]
    assert found.numpy() == pytest.approx((slow - middle) / (scale + 1e-12), abs=1e-8)
    assert (found[:, 1] == 0).all(), "a set of none"
    turned = torch.from_numpy(white @ rotation(rng, 4))
    again = ridge_scores(turned, torch.from_numpy(marks[:, ::-1].copy()), drawn(1), ridge=ridge)
    assert again.numpy()[:, ::-1] == pytest.approx(found.numpy(), abs=1e-8)


# minorities


@some
@given(numbers, st.floats(0.001, 0.3))
def test_a_property_gathers_in_each_minority_by_itself(seed, rho):
    rng = drawn(seed)
    labels, member = rng.integers(0, 4, 150), rng.random(150) < 0.3
    hits = rng.random(150) < 0.2
    member &= labels != 3
    found = concentration(member, labels, hits, 5, dispersion=rho)
    for label in range(5):
        mine = labels == label
        inside, other = hits[mine & member], hits[mine & ~member]
        base = (other.sum() + 0.5) / (len(other) + 1)
        assert (found.rows[label], found.hits[label]) == (len(inside), inside.sum())
        assert found.lift[label] == pytest.approx((inside.mean() if len(inside) else 0) / base)
        tail = beta_binomial_tail(int(inside.sum()), len(inside), base, rho)
        assert found.p_value[label] == pytest.approx(tail)
    assert (found.rate[3:] == 0).all()
    assert (found.p_value[3:] == 1).all()
    order, names = rng.permutation(150), rng.permutation(5)
    again = concentration(member[order], names[labels[order]], hits[order], 5, dispersion=rho)
    assert again.p_value[names] == pytest.approx(found.p_value)
    more = concentration(member, labels, hits | member, 5, dispersion=rho)
    assert (more.p_value <= found.p_value + 1e-12).all()


# screen_null


@few
@given(numbers, st.integers(40, 90), st.floats(2.5, 100), st.sampled_from([1, 2, 4]))
def test_a_draw_is_the_mean_of_its_two_halves_each_by_itself(seed, rows, df, rank):
    found = draw_null(rows, df, rank, 3, drawn(seed))
    half = [rows - rows // 2, rows // 2] * 3
    mask = torch.arange(max(half))[None] < torch.tensor(half)[:, None]
    every = calibration.draw_t(torch.ones(6, rank), torch.full((6,), df), mask, drawn(seed))
    alone = []
    for group, size in enumerate(half):
        real = torch.ones(1, size, dtype=torch.bool)
        seen = look(spectrum.centre(every[group : group + 1, :size], real), real)
        alone.append([float(each[0]) for each in (seen.lopsided, seen.silhouette, seen.heaviness)])
    assert found == pytest.approx(np.array(alone).reshape(3, 2, 3).mean(1).T, rel=1e-3)
    assert (found[0] >= 0).all()
    assert (np.abs(found[1]) <= 1).all()


@few
@given(numbers, st.integers(130, 600), st.floats(5, 50), st.sampled_from([1, 4]))
def test_no_more_draws_than_it_says_lie_beyond_what_the_table_holds(seed, rows, df, rank):
    lopsided, silhouette, heaviness = draw_null(rows, df, rank, 150, drawn(seed))
    for kind, statistic in enumerate((lopsided, silhouette)):
        found = upper_tail(kind, statistic, np.full(150, rows), rank, heaviness)
        beyond = int((found <= 0.1).sum())
        assert stats.binomtest(beyond, 150, 0.1, alternative="greater").pvalue > 1e-6
        assert kind or beyond > 0


# seeds


@some
@given(numbers, st.integers(1, 60), st.floats(0.001, 0.3))
def test_evidence_rises_with_those_that_vouch_and_falls_with_those_that_deny(seed, k, more):
    share, patch_share, belief = drawn(seed).uniform(0, 0.7, (3, 50))
    found = seeds.evidence(share, patch_share, belief, k)
    q, q_c = (k * share + 0.5) / (k + 1), (k * patch_share + 0.5) / (k + 1)
    assert np.exp(found) * q**2 == pytest.approx(q_c * (belief + 1e-3))
    assert (seeds.evidence(share, patch_share + more, belief, k) > found).all()
    assert (seeds.evidence(share, patch_share, belief + more, k) > found).all()
    assert (seeds.evidence(share + more, patch_share, belief, k) < found).all()


@some
@given(numbers, st.floats(0.01, 0.5), st.integers(1, 5), st.integers(5, 20))
def test_seeds_are_the_top_of_each_class_however_evidence_is_scaled(seed, share, least, smallest):
    rng = drawn(seed)
    evidence, labels = rng.normal(size=90), rng.choice(5, 90, p=[0.5, 0.3, 0.12, 0.08, 0])
    found = seeds.choose(evidence, labels, 5, share=share, least=least, smallest=smallest)
    for label in range(5):
        rows = np.flatnonzero(labels == label)
        wanted = max(least, int(share * len(rows))) if len(rows) >= smallest else 0
        top = rows[np.argsort(-evidence[rows])][:wanted]
        assert np.array_equal(np.flatnonzero(found[:, label]), np.sort(top))
    assert np.array_equal(found[:, 5], found[:, :5].any(1))
    order, names = rng.permutation(90), rng.permutation(5)
    risen = np.exp(3 * evidence[order])
    again = seeds.choose(
        risen, names[labels[order]], 5, share=share, least=least, smallest=smallest
    )
    assert np.array_equal(again[:, names], found[order][:, :5])


@some
@given(numbers, st.integers(1, 15), st.integers(1, 20))
def test_a_cell_is_judged_by_the_nearest_rows_outside_of_it(seed, k, many):
    rng = drawn(seed)
    points, labels, rows = (
        rng.normal(size=(40, 4)),
        rng.integers(0, 3, 40),
        rng.permutation(40)[:many],
    )
    found = seeds.share_outside(torch.from_numpy(points), rows, labels, k)
    rest = np.setdiff1d(np.arange(40), rows)
    near = rest[np.argsort(cdist(points[rows], points[rest], "cosine"), axis=1)[:, :k]]
    assert found == pytest.approx((labels[near] == labels[rows, None]).mean(1))
    order, names = rng.permutation(40), rng.permutation(3)
    longer = torch.from_numpy((points * rng.uniform(0.1, 9, (40, 1)))[order])
    again = seeds.share_outside(longer, order.argsort()[rows], names[labels[order]], k)
    assert again == pytest.approx(found)


@some
@given(numbers, st.sampled_from([0, 1, 2, None]))
def test_rows_turn_that_do_not_look_like_their_label(seed, target):
    rng = drawn(seed)
    labels, looks, names = *rng.integers(0, 3, (2, 30)), rng.permutation(3)
    rows = rng.permutation(30)[: rng.integers(0, 30)]
    found = seeds.turn_rate(rows, target, labels, looks)
    asked = [row for row in rows if target is None or looks[row] != target]
    turned = [labels[r] != looks[r] if target is None else labels[r] == target for r in asked]
    assert found == pytest.approx(np.mean(turned) if turned else 0)
    other = None if target is None else int(names[target])
    assert seeds.turn_rate(rows[::-1], other, names[labels], names[looks]) == pytest.approx(found)


@few
@given(numbers)
def test_learnt_cells_know_no_order_of_rows_no_names_and_no_unit(seed):
    rng = drawn(seed)
    looks = rng.permutation(np.arange(240) % 3)
    points = rng.normal(size=(240, 4)) + 3 * np.eye(3, 4)[looks]
    rows = np.flatnonzero(looks == 0)[:15]
    labels = looks.copy()
    labels[rows] = 2
    scores = rng.normal(size=(2, 240, 4))
    scores[0][rows, 2] += 9
    scores[1][rows, 3] += 9
    asked = {"least": 8, "neighbours": 10, "inconsistent": 0.3, "base": 0.1, "dispersion": 0.02}

    def learnt(turn, order, names, unit):
        lines = [torch.from_numpy(line[order][:, [*np.argsort(names), 3]]) for line in scores]
        space = torch.from_numpy(unit * points[order] @ turn)
        mine = names[labels[order]], names[looks[order]]
        return seeds.learnt_cells(lines, space, *mine, thresholds=(3.0, 5.0), **asked)

    plain = learnt(np.eye(4), np.arange(240), np.arange(3), 1)
    assert {(one.layer, one.target) for one in plain} == {(0, 2), (1, None)}
    assert all(one.turn >= 0.5 and 0 < one.hits <= one.rows for one in plain)
    names = rng.permutation(3)
    again = learnt(rotation(rng, 4), rng.permutation(240), names, 7)
    renamed = [
        one if one.target is None else replace(one, target=int(names[one.target])) for one in plain
    ]
    assert Counter(map(str, again)) == Counter(map(str, renamed))
    for one in plain:
        tail = beta_binomial_tail(one.hits, one.rows, 0.1, 0.02)
        assert one.p_value == pytest.approx(min(1, tail * 2 * 2 * 4)), "layers, thresholds, labels"
