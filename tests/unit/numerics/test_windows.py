"""A run of rows with far more hits than any other: against a slow scan, and in honest series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from guards.numerics import windows
from guards.numerics.enrichment import cautious_dispersion, dispersion


def series(seed, rows=2000, usual=0.02, start=None, length=40, rate=0.6):
    rng = np.random.default_rng(seed)
    hits = rng.random(rows) < usual
    if start is not None:
        hits[start : start + length] = rng.random(length) < rate
    return hits


def slow_scan(hits, lift, least):
    """Every window by loops, its tail by scipy; the best of those that count."""
    best, looked, rows = None, 0, len(hits)
    length = windows.LEAST
    while length * (windows.PEERS + 1) <= rows:
        starts = range(0, rows - length + 1, length // 2)
        for place, start in enumerate(starts):
            looked += 1
            inside = int(hits[start : start + length].sum())
            usual = (hits.sum() - inside + 0.5) / (rows - length + 1)
            if inside < lift * usual * length or inside - usual * length < least:
                continue
            ends = [
                s for other, s in enumerate(starts) if other != place and other % 2 == place % 2
            ]
            others = np.array([hits[s : s + length].sum() for s in ends])
            ones = np.ones(len(others))
            rho = cautious_dispersion(dispersion(others, ones * length, ones * usual), len(others))
            total = (1 - rho) / rho
            # Summed, since the survival function is one minus a sum, and lost near zero.
            more = np.arange(inside, length + 1)
            tail = betabinom.pmf(more, length, usual * total, (1 - usual) * total).sum()
            if best is None or (tail, -inside / usual / length) < best[:2]:
                best = (tail, -inside / usual / length, start, length, inside)
        length *= 2
    return best, looked


@pytest.mark.parametrize("seed", range(4))
def test_the_scan_is_the_slow_one(seed):
    hits = series(seed, start=300 + 97 * seed)
    best, looked = slow_scan(hits, 3.0, 8)
    assert windows.count(len(hits)) == looked
    found = windows.scan(hits, lift=3.0, least=8, tests=looked)
    assert (found.start, found.length, found.hits) == best[2:]
    assert found.p_value == pytest.approx(min(1, best[0] * looked), rel=1e-6)
    assert found.lift == pytest.approx(-best[1])


def test_a_burst_is_found_where_it_is():
    hits = series(5, start=700)
    found = windows.scan(hits, lift=3.0, least=8, tests=windows.count(len(hits)))
    found = windows.fitted(hits, found)
    assert abs(found.start - 700) <= 8
    assert abs(found.stop - 740) <= 8
    assert found.hits == hits[found.start : found.stop].sum()
    assert found.rate > 5 * found.peers
    assert found.burst < 1e-4


def slow_fit(hits, window):
    """Of all runs near the window that begin and end with a hit, the likeliest, by loops."""
    reach = window.size // 2
    near = range(max(0, window.start - reach), min(len(hits), window.stop + reach))
    places = [at for at in near if hits[at]]
    best = (-np.inf, 0, 0)
    for start in places:
        for stop in (place + 1 for place in places if place >= start):
            size, inside = stop - start, int(hits[start:stop].sum())
            out = (hits.sum() - inside + 0.5) / (len(hits) - size + 1)
            if size < max(2, window.size // 2) or inside <= out * size:
                continue
            rate = min(inside / size, 1 - 1e-9)
            gain = inside * np.log(rate / out) + (size - inside) * np.log((1 - rate) / (1 - out))
            best = max(best, (gain, start, stop), key=lambda one: one[0])
    return best[1:]


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_the_slow_one(seed):
    hits = series(seed, start=500)
    found = windows.scan(hits, lift=3.0, least=8, tests=1)
    fitted = windows.fitted(hits, found)
    assert (fitted.start, fitted.stop) == slow_fit(hits, found)


def test_even_noise_has_no_window():
    for seed in range(100, 160):
        hits = series(seed, rows=3000, usual=0.03)
        found = windows.scan(hits, lift=3.0, least=8, tests=windows.count(3000))
        assert found is None or found.burst > 1e-3


def test_noise_that_comes_in_bursts_is_no_window():
    """Storms: one day in ten has ten times the errors; no day is like no other."""
    for seed in range(100, 130):
        rng = np.random.default_rng(seed)
        rates = np.where(rng.random(60) < 0.1, 0.2, 0.02)
        hits = rng.random(3000) < np.repeat(rates, 50)
        found = windows.scan(hits, lift=3.0, least=8, tests=windows.count(3000))
        assert found is None or found.burst > 1e-4


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1.5, 6), st.integers(1, 12))
def test_a_window_has_the_lift_and_the_hits_that_were_asked_for(seed, lift, least):
    hits = series(seed, rows=400, usual=0.05, start=100, length=30)
    found = windows.scan(hits, lift=lift, least=least, tests=10)
    if found is None:
        return
    inside = hits[found.start : found.stop]
    assert found.hits == inside.sum()
    assert found.lift >= lift - 1e-9
    assert found.hits - found.usual * found.size >= least - 1e-9
    assert found.burst >= found.p_value  # more dispersion, fatter tail
    assert windows.with_dispersion(found, 0.5, 10).p_value >= found.p_value - 1e-12 or (
        found.p_value == 1
    )


def test_a_stretch_unlike_the_others_is_told():
    rng = np.random.default_rng(7)
    marks = rng.random(2000) < 0.3
    assert abs(windows.unlike(marks, 400, 500)) < 3
    marks[400:500] = rng.random(100) < 0.9
    assert windows.unlike(marks, 400, 500) > 5
    assert windows.unlike(marks[:300], 100, 200) == 0.0  # too few stretches beside it


def test_a_short_series_has_no_window():
    assert windows.count(windows.LEAST * (windows.PEERS + 1) - 1) == 0
    assert windows.scan(np.ones(50, bool), lift=2.0, least=1, tests=1) is None


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(130, 900), st.floats(0.02, 0.7))
def test_a_run_is_longer_than_its_window_and_leaves_enough_beside_it(seed, rows, share):
    hits = series(seed, rows, start=rows // 4, length=int(share * rows), rate=0.9)
    window = windows.scan(hits, lift=2.0, least=4, tests=1)
    run = None if window is None else windows.run_of(hits, window)
    if run is None:
        return
    rest = np.delete(hits, slice(run.start, run.stop))
    assert run.size > window.length
    assert 2 * run.hits >= run.size
    assert run.length <= window.length
    assert len(rest) >= max(rows / 3, run.length * (windows.PEERS + 1))
    assert run.hits == hits[run.start : run.stop].sum()
    assert run.usual == pytest.approx((rest.sum() + 0.5) / (len(rest) + 1))
    starts = range(0, len(rest) - run.length + 1, run.length // 2)
    assert run.peers == max(rest[at : at + run.length].mean() for at in starts)
    told = windows.judged(hits, window, run, 0.01, 100)
    assert (told.start, told.stop) == (run.start, run.stop)
    assert told.p_value <= told.burst <= 1
