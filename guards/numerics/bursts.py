"""Is one label given in the place of another for a short time, and at no other?

For each pair given != predicted the rows that a model is surest of, in order of time, are a series:
hit or not. Over all rows, and over those of each source, :mod:`guards.numerics.windows` scans the
windows; the rows of the best one of each series come out. Its dispersion is the larger one of its
own series and of the series of all sources, the window's own time left out: where one source had
no storm, the others tell that there are storms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.numerics import windows
from guards.numerics.flips import Sure, grouped
from guards.numerics.windows import Window

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

EVERYONE = -1  # stands for all sources together


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Burst:
    """A window in which `given` stands where the features say `true`, in one source or in all.

    `rows` are the sure rows in the window, in order of time; `unlike` says how far the share of
    rows that look like `true` lies from other stretches.
    """

    source: int
    given: int
    true: int
    window: Window
    rows: Ints
    unlike: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Series:
    """Sure rows that look like `true`, in order of time, all or of one source."""

    source: int
    true: int
    rows: Ints


def bursts(
    labels: Ints,
    seen: Sure,
    times: npt.NDArray[np.float64],
    sources: Ints,
    *,
    lift: float,
    least: int,
) -> tuple[tuple[Burst, ...], int]:
    """The best window of each series that has one, and how many windows were looked at.

    Args:
        labels: (n,), as given.
        seen: what the model says.
        times: (n,), any unit; NaN for rows without a time, which are left out.
        sources: (n,), codes from 0; below 0 for rows of no source.
        lift: how many times the usual rate a window must have.
        least: hits beyond the usual that it must have.
    """
    order = np.argsort(times, kind="stable")
    order = order[np.isfinite(times[order])]
    series = list(_series(order[seen.sure[order]], seen, sources))
    pairs = [(one, given) for one in series for given in _worth(labels[one.rows], one.true, least)]
    tests = sum(windows.count(len(one.rows)) for one, _ in pairs)
    everyone = {one.true: one.rows for one in series if one.source == EVERYONE}
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(order))
    found = []
    for one, given in pairs:
        hits = labels[one.rows] == given
        window = windows.scan(hits, lift=lift, least=least, tests=tests)
        if window is None:
            continue
        run = windows.run_of(hits, window)
        whole = run or window
        rows, beside = one.rows[whole.start : whole.stop], whole.length / (2 * whole.size)
        near = place[rows[0]], place[rows[-1]], beside
        rest = labels[everyone[one.true][_apart(place[everyone[one.true]], *near)]] == given
        own = hits[_apart(place[one.rows], *near)]
        rho = max(windows.dispersion_at(part, whole.length) for part in (rest, own))
        window = windows.judged(hits, window, run, rho, tests)
        found.append(_burst(one, given, window, seen.predicted[order], place))
    return tuple(found), tests


def _series(rows: Ints, seen: Sure, sources: Ints) -> Iterator[_Series]:
    """All sure rows (in order of time) by what they look like, then those of each source."""
    for true, among in grouped(seen.predicted[rows]):
        yield _Series(source=EVERYONE, true=true, rows=rows[among])
        for source, here in grouped(sources[rows[among]]):
            if source >= 0 and len(here) < len(among):
                yield _Series(source=source, true=true, rows=rows[among[here]])


def _worth(labels: Ints, true: int, least: int) -> list[int]:
    """The labels that stand often enough where another is looked for."""
    counts = np.bincount(labels)
    return [int(given) for given in np.flatnonzero(counts >= least) if given != true]


def _apart(places: Ints, first: int, last: int, beside: float) -> Bools:
    """Which places lie away from a window by more than a share `beside` of its length."""
    reach = int((last - first) * beside)
    apart: Bools = (places < first - reach) | (places > last + reach)
    return apart


def _burst(one: _Series, given: int, window: Window, predicted: Ints, place: Ints) -> Burst:
    rows = one.rows[window.start : window.stop]
    return Burst(
        source=one.source,
        given=given,
        true=one.true,
        window=window,
        rows=rows,
        unlike=windows.unlike(predicted == one.true, int(place[rows[0]]), int(place[rows[-1]]) + 1),
    )
