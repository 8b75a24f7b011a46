"""Labels that go over from one to another in one source: against slow sums, and honest sources."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from guards.numerics import one_way
from guards.numerics.enrichment import holm
from guards.numerics.one_way import flows


def drawn(seed, rows=4000, classes=2, many=8, noise=0.0, tilt=0.1):
    """Labels as probable as a model says, sources of unlike sizes and frequencies, even noise."""
    rng = np.random.default_rng(seed)
    source = rng.choice(many, rows, p=rng.dirichlet(np.full(many, 4.0)))
    scores = rng.normal(0, 2.5, (rows, classes))
    told = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    own = np.exp(scores + rng.normal(0, tilt, (many, classes))[source])
    own /= own.sum(axis=1, keepdims=True)
    labels = (own.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    rates = noise * rng.uniform(0.1, 3.0, many)
    wrong = rng.random(rows) < rates[source]
    labels[wrong] = (labels[wrong] + rng.integers(1, classes, wrong.sum())) % classes
    return labels, told, source


def turned(labels, source, rows, *, its, true, given, seed=0):
    """Some rows of one source and label get another label; which ones."""
    able = np.flatnonzero((source == its) & (labels == true))
    picked = np.random.default_rng(seed).permutation(able)[:rows]
    changed = labels.copy()
    changed[picked] = given
    return changed, picked


def seen(labels, told, source, many=8):
    return flows(labels, told, source, many, rows=8, least=20)


def test_labels_that_go_one_way_are_found_and_so_are_their_rows():
    labels, told, source = drawn(1)
    changed, picked = turned(labels, source, 40, its=3, true=1, given=0)
    first = min(seen(changed, told, source), key=lambda flow: flow.p_value)
    assert (first.source, first.true, first.given) == (3, 1, 0)
    assert first.p_value < 1e-6
    assert first.rows == pytest.approx(40, rel=0.4)
    likely = first.members[first.odds >= 0.5]
    assert len(np.intersect1d(likely, picked)) / len(likely) > 0.8
    assert len(np.intersect1d(likely, picked)) / len(picked) > 0.5
    assert (changed[first.members] == 0).all()
    assert (source[first.members] == 3).all()


def test_one_pair_of_many_labels():
    labels, told, source = drawn(2, rows=12_000, classes=6)
    changed, _ = turned(labels, source, 40, its=5, true=2, given=4)
    alarming = [flow for flow in seen(changed, told, source) if flow.p_value <= 0.005]
    assert [(flow.source, flow.true, flow.given) for flow in alarming] == [(5, 2, 4)]


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("classes", [2, 5])
def test_honest_sources_alarm_nowhere(noise, classes):
    """With frequencies of their own, and errors both ways, from almost none to three times."""
    for seed in range(20, 30):
        found = seen(*drawn(seed, classes=classes, noise=noise))
        assert min((flow.p_value for flow in found), default=1.0) > 0.005


def test_errors_both_ways_are_no_flow():
    labels, told, source = drawn(3)
    changed = labels.copy()
    its = np.flatnonzero(source == 2)
    wrong = its[np.random.default_rng(4).random(len(its)) < 0.12]
    changed[wrong] = 1 - changed[wrong]
    ways = [flow.p_value for flow in seen(changed, told, source) if flow.source == 2]
    assert min(ways, default=1.0) > 0.005
    one, _ = turned(labels, source, len(wrong), its=2, true=0, given=1)
    assert min(flow.p_value for flow in seen(one, told, source)) < 1e-4


def test_what_all_sources_do_is_no_flow():
    labels, told, source = drawn(5)
    for its in range(8):
        rows = round(0.1 * ((source == its) & (labels == 1)).sum())
        labels, _ = turned(labels, source, rows, its=its, true=1, given=0)
    assert min((flow.p_value for flow in seen(labels, told, source)), default=1.0) > 0.005


def slow(pair, source, rates):
    """The gain of a share, and the misfit of the others, by loops over the same grids."""

    def chance(rate, tilt, noise, share):
        odds = rate / (1 - rate) * exp(tilt)
        own = odds / (1 + odds)
        told = own + min(share + noise, 0.95) * (1 - own) - noise * own
        return min(max(told, 1e-4), 1 - 1e-4)

    def best(of, shares):
        found = (-np.inf, ())
        for tilt in np.linspace(-1.5, 1.5, 31):
            for noise in (0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2):
                for share in shares:
                    fit = -(tilt**2) / (2 * 0.2**2) - noise / 0.03
                    for size, hits, rate in zip(pair.size[of], pair.hits[of], rates, strict=True):
                        p = chance(rate, tilt, noise, share)
                        fit += hits * log(p) + (size - hits) * log(1 - p)
                    found = max(found, (fit, (tilt, noise, share)))
        return found

    shares = (0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.45, 0.6, 0.8)
    gain = best(source, shares)[0] - best(source, (0,))[0]
    squares = freedom = 0
    for of in set(range(len(pair.size))) - {source}:
        fit = best(of, (0,))[1]
        told = 0
        for size, hits, rate in zip(pair.size[of], pair.hits[of], rates, strict=True):
            p = chance(rate, *fit)
            if size * p * (1 - p) > 0.5:
                squares += (hits - size * p) ** 2 / (size * p * (1 - p))
                told += 1
        freedom += max(told - 2, 0)
    return gain, max(1, (squares + 20) / (freedom + 20))


def test_a_cell_is_that_of_slow_sums():
    labels, told, source = drawn(6, rows=900, many=3)
    labels, _ = turned(labels, source, 25, its=1, true=1, given=0)
    pair = one_way._pair(np.arange(900), labels, told, source, 3, 1, 0)
    others = source != 1
    for place in range(pair.size.shape[1]):
        here = pair.bins == place
        assert pair.size[:, place].tolist() == np.bincount(source[here], minlength=3).tolist()
        assert pair.hits[1, place] == (labels[here & ~others] == 0).sum()
    rates = one_way._rates(*(t[[0, 2]].sum(axis=0) for t in (pair.size, pair.hits, pair.told)))
    assert (np.diff(rates) >= 0).all()
    gain, misfit = slow(pair, 1, rates)
    flow = one_way._flow(pair, 1, labels, source, 1, 0, 8)
    assert flow is not None
    assert flow.p_value == pytest.approx(chi2.sf(2 * gain / misfit, 1) / 2)


def test_p_values_are_adjusted_for_every_cell_that_was_looked_at():
    labels, told, source = drawn(7)
    labels, _ = turned(labels, source, 40, its=0, true=0, given=1)
    found = seen(labels, told, source)
    raw = []
    for true, to in ((0, 1), (1, 0)):
        pair = one_way._pair(np.arange(len(labels)), labels, told, source, 8, true, to)
        cells = [one_way._flow(pair, its, labels, source, true, to, 8) for its in range(8)]
        raw += [1.0 if cell is None else cell.p_value for cell in cells]
    adjusted = sorted(holm(raw).tolist())[: len(found)]
    assert sorted(flow.p_value for flow in found) == pytest.approx(adjusted)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_neither_the_order_of_rows_nor_the_names_of_sources_matter(seed):
    labels, told, source = drawn(8, rows=800, many=4)
    labels, _ = turned(labels, source, 30, its=2, true=1, given=0)
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(labels)), rng.permutation(4)

    def plain(found, names=(0, 1, 2, 3)):
        return {
            (int(names[f.source]), f.given, f.true): (
                f.share,
                round(f.rows, 6),
                round(f.p_value, 9),
            )
            for f in found
        }

    after = seen(labels[order], told[order], names[source][order], 4)
    assert plain(seen(labels, told, source, 4), names) == plain(after)


def test_rows_of_no_source_have_no_say():
    labels, told, source = drawn(9)
    labels, _ = turned(labels, source, 40, its=3, true=1, given=0)
    kept = np.arange(len(labels)) % 5 > 0
    without = seen(labels[kept], told[kept], source[kept])
    beside = seen(labels, told, np.where(kept, source, -1))
    places = np.flatnonzero(kept)
    assert [f.p_value for f in without] == [f.p_value for f in beside]
    assert [places[f.members].tolist() for f in without] == [f.members.tolist() for f in beside]
    assert replace(without[0], p_value=0.0).share == beside[0].share


def test_one_source_and_few_rows_are_nothing():
    labels, told, _ = drawn(10, rows=300)
    assert seen(labels, told, np.zeros(300, np.int64), 1) == ()
    assert seen(labels[:30], told[:30], np.arange(30) % 2, 2) == ()
