"""Labels that stand for another for a short time: in one source, or in all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.numerics.bursts import EVERYONE, bursts
from guards.numerics.flips import Sure


def drawn(seed, rows=4000, classes=3, many=4, noise=0.02):
    rng = np.random.default_rng(seed)
    true, source = rng.integers(0, classes, rows), rng.integers(0, many, rows)
    wrong = rng.random(rows) < noise
    labels = np.where(wrong, (true + rng.integers(1, classes, rows)) % classes, true)
    winning = rng.uniform(0.3, 1.0, rows)
    times = rng.permutation(rows).astype(float)
    return labels, Sure(predicted=true, winning=winning, sure=winning >= 0.6), times, source


def planted(seed, source=None, first=1000, last=1400):
    labels, seen, times, sources = drawn(seed)
    here = (times >= first) & (times < last) & (seen.predicted == 1)
    if source is not None:
        here &= sources == source
    labels[here] = 2
    return labels, seen, times, sources, here


def found(labels, seen, times, sources):
    return bursts(labels, seen, times, sources, lift=3.0, least=8)


@pytest.mark.parametrize("source", [None, 3])
def test_the_pair_the_time_and_the_source(source):
    labels, seen, times, sources, here = planted(1, source)
    best = min(found(labels, seen, times, sources)[0], key=lambda one: one.window.burst)
    assert (best.given, best.true) == (2, 1)
    assert best.source == (EVERYONE if source is None else source)
    assert best.window.burst < 1e-4
    hit = labels[best.rows] == best.given
    assert here[best.rows[hit]].mean() > 0.9
    assert hit.sum() > 0.8 * (here & seen.sure).sum()
    assert (np.diff(times[best.rows]) > 0).all()


@pytest.mark.parametrize("last", [1200, 1400, 1800, 2400])
def test_labels_that_are_turned_for_long_are_no_peers_of_themselves(last):
    """Up to a third of the rows of a label: other pieces of a long run lie beside each."""
    labels, seen, times, sources, here = planted(4, last=last)
    best = min(found(labels, seen, times, sources)[0], key=lambda one: one.window.burst)
    assert (best.given, best.true, best.source) == (2, 1, EVERYONE)
    assert best.window.burst < 1e-4
    hit = labels[best.rows] == best.given
    assert here[best.rows[hit]].mean() > 0.85
    assert hit.sum() > 0.8 * (here & seen.sure).sum()


@pytest.mark.parametrize("seed", range(6))
def test_what_comes_again_is_a_peer_however_long_it_lasts(seed):
    """Three storms: the run of one is not that of the others."""
    labels, seen, times, sources = drawn(seed)
    stormy = (times % 1300 < 300) & (seen.predicted == 1)
    labels[stormy & (np.random.default_rng(seed).random(len(labels)) < 0.8)] = 2
    waves, _ = found(labels, seen, times, sources)
    assert all(one.window.burst > 1e-4 or one.window.rate < 2 * one.window.peers for one in waves)


def test_honest_noise_has_no_burst():
    for seed in range(100, 120):
        waves, tests = found(*drawn(seed, noise=0.05))
        assert tests > 0
        assert all(one.window.burst > 1e-3 for one in waves)


def test_rows_without_a_time_are_left_out():
    labels, seen, times, sources, here = planted(2)
    times[here] = np.nan
    waves, _ = found(labels, seen, times, sources)
    assert not any(one.window.burst < 1e-3 for one in waves)
    assert found(labels, seen, np.full(len(times), np.nan), sources) == ((), 0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(seed):
    labels, seen, times, sources, _ = planted(3)
    order = np.random.default_rng(seed).permutation(len(labels))
    moved = Sure(
        predicted=seen.predicted[order], winning=seen.winning[order], sure=seen.sure[order]
    )
    before, tests = found(labels, seen, times, sources)
    after, again = found(labels[order], moved, times[order], sources[order])
    assert tests == again
    assert sorted((b.source, b.given, b.true, b.window.p_value, *b.rows) for b in before) == sorted(
        (b.source, b.given, b.true, b.window.p_value, *order[b.rows]) for b in after
    )
