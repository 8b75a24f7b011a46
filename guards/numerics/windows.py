"""Is there a short run of rows, in order of time, with far more hits than any other run has?

A scan statistic over windows of rows: of L = 16, 32, 64 ... rows, begun at every half of L, up to
an eighth of the series, so that each has at least seven others beside it. Clean windows differ by
more than chance, since what happens in the world comes in bursts, so each is held against the
*other* windows of its length: a beta-binomial tail whose mean is the rate outside of it and whose
dispersion is that of the windows that are laid end to end with it, at the upper end of what they
allow (:mod:`guards.numerics.enrichment`). Bursts of nature have longer tails than a beta: on the
flights of single months, storms stood at p = 4e-10 and less often than once in a thousand in eleven
of 62 clean sets. Under *three times* the dispersion (`burst`) the least was 5e-5, then 4e-3. So a
caller alarms on that tail; p-values are multiplied by the number of windows looked at.

The window is then fitted: of all runs near it that begin and end with a hit, the likeliest one by
the likelihood ratio of Kulldorff's scan (Communications in Statistics 26, 1997).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from guards.numerics.enrichment import beta_binomial_tail, cautious_dispersion, dispersion

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LEAST = 16  # rows of the shortest windows
PEERS = 7  # windows of its length that one must be laid beside
TAILS = 3.0  # how many times the dispersion seen is granted to bursts of nature
_FITTED = 400  # hits between which the bounds of a window are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A run of rows: `start` to `stop` (exclusive) in the order given, `hits` of its rows are hit.

    `usual` is the rate outside, `lift` the rate inside over it, `peers` the highest rate of a
    window of `length` that does not overlap; `p_value` the tail, `burst` the one for bursts of
    nature, both times the windows looked at.
    """

    start: int
    stop: int
    length: int
    hits: int
    usual: float
    lift: float
    peers: float
    p_value: float
    burst: float

    @property
    def size(self) -> int:
        """Rows of the window."""
        return self.stop - self.start

    @property
    def rate(self) -> float:
        """Share of its rows that are hit."""
        return self.hits / self.size


def count(rows: int) -> int:
    """How many windows a series of so many rows has."""
    return sum(len(starts) for _, starts in _lengths(rows))


def scan(hits: Bools, *, lift: float, least: int, tests: int, rho: float = 0.0) -> Window | None:
    """The window of smallest p-value among those of `lift` and `least` hits beyond the usual.

    Args:
        hits: (n,), in order of time.
        lift: how many times the rate outside a window must have, at least.
        least: hits beyond what the rate outside leads one to expect, at least.
        tests: what p-values are multiplied by: windows in all that are looked at.
        rho: a dispersion known from elsewhere, which counts where it is the larger.
    """
    summed = np.concatenate([[0], np.cumsum(hits)])
    best: Window | None = None
    for length, starts in _lengths(len(hits)):
        inside = summed[starts + length] - summed[starts]
        outside = (summed[-1] - inside + 0.5) / (len(hits) - length + 1.0)
        worth = (inside >= lift * outside * length) & (inside - outside * length >= least)
        for place in np.flatnonzero(worth).tolist():
            one = _window(place, length, starts, inside, float(outside[place]), tests, rho)
            if best is None or (one.p_value, -one.lift) < (best.p_value, -best.lift):
                best = one
    return best


def dispersion_at(hits: Bools, length: int) -> float:
    """The dispersion of windows laid end to end, at the upper end; the prior without any."""
    windows = len(hits) // length
    usual = float((hits.sum() + 0.5) / (len(hits) + 1.0))
    inside = hits[: windows * length].reshape(windows, length).sum(axis=1)
    return _dispersion(inside, length, usual)


def with_dispersion(window: Window, rho: float, tests: int) -> Window:
    """The window, before it is fitted, with its tails under a dispersion of `rho`."""
    tails = [
        min(1.0, _tail(window.hits, window.length, window.usual, times * rho) * tests)
        for times in (1.0, TAILS)
    ]
    return replace(window, p_value=tails[0], burst=tails[1])


def run_of(hits: Bools, window: Window) -> Window | None:
    """The whole run that a window is a piece of, if it is longer and half of its rows are hit.

    Other pieces of it are no peers of the window: whoever turns labels for a long time would have
    the most of them. Storms go on for long as well, less densely. It leaves a third of the series;
    `length` is that of the windows of which there are enough beside it.
    """
    run = fitted(hits, window, len(hits))
    rest = np.delete(hits, slice(run.start, run.stop))
    fitting = [length for length, _ in _lengths(len(rest)) if length <= window.length]
    full = 2 * run.hits >= run.size > window.length
    if not full or 3 * len(rest) < len(hits) or not fitting:
        return None
    length = fitting[-1]
    return replace(run, length=length, peers=_most(rest, length) / length)


def judged(hits: Bools, window: Window, run: Window | None, rho: float, tests: int) -> Window:
    """The window, or its run, with tails under a dispersion of `rho`, and the likeliest bounds.

    Of a run they are those of the fullest window in it beside what lies outside of the run; that it
    was looked at too counts twice.
    """
    if run is None:
        return fitted(hits, with_dispersion(window, rho, tests))
    fullest = replace(run, hits=_most(hits[run.start : run.stop], run.length))
    told = with_dispersion(fullest, rho, 2 * tests)
    return replace(run, p_value=told.p_value, burst=told.burst)


def _most(hits: Bools, length: int) -> int:
    """The hits of the fullest window of a length."""
    summed, starts = np.concatenate([[0], np.cumsum(hits)]), _starts(len(hits), length)
    return int((summed[starts + length] - summed[starts]).max())


def fitted(hits: Bools, window: Window, reach: int = 0) -> Window:
    """The window with the bounds, half its length away or at most `reach`, that are likeliest."""
    reach = reach or window.size // 2
    summed = np.concatenate([[0], np.cumsum(hits)])
    first, last = max(0, window.start - reach), min(len(hits), window.stop + reach)
    places = first + np.flatnonzero(hits[first:last])
    if len(places) > _FITTED:
        places = places[np.linspace(0, len(places) - 1, _FITTED).astype(int)]
    start, stop = places[:, None], places[None, :] + 1
    inside, size = summed[stop] - summed[start], stop - start
    outside = (summed[-1] - inside + 0.5) / np.maximum(len(hits) - size + 1.0, 1.0)
    gain = _likelihood(inside, size, summed[-1] - inside, len(hits) - size)
    # One that is much shorter is another window, of which there are more.
    gain[(size < max(2, window.size // 2)) | (inside <= outside * size)] = -np.inf
    if not gain.size or not np.isfinite(gain.max()):
        return window
    row, column = np.unravel_index(int(gain.argmax()), gain.shape)
    usual = float(outside[row, column])
    return replace(
        window,
        start=int(places[row]),
        stop=int(places[column]) + 1,
        hits=int(inside[row, column]),
        usual=usual,
        lift=float(inside[row, column] / size[row, column] / usual),
    )


def unlike(marks: Bools, first: int, last: int) -> float:
    """How far the share of `marks` in rows `first` to `last` (exclusive) lies from other stretches.

    Robust standard deviations, in log odds, of the stretches of that length laid end to end beside
    it: what happens in the world moves what the features say, and a changed label moves nothing.
    """
    length = last - first
    starts = [*range(first - length, -1, -length), *range(last, len(marks) - length + 1, length)]
    if len(starts) < PEERS:
        return 0.0
    summed = np.concatenate([[0], np.cumsum(marks)])
    shares = np.array([(summed[s + length] - summed[s] + 0.5) / (length + 1.0) for s in starts])
    here = (summed[last] - summed[first] + 0.5) / (length + 1.0)
    odds = np.log(shares / (1 - shares))
    middle = float(np.median(odds))
    spread = 1.4826 * float(np.median(np.abs(odds - middle))) + 0.05
    return float((np.log(here / (1 - here)) - middle) / spread)


def _lengths(rows: int) -> Iterator[tuple[int, Ints]]:
    """Each length of windows, and where they start; full windows only."""
    length = LEAST
    while length * (PEERS + 1) <= rows:
        yield length, _starts(rows, length)
        length *= 2


def _starts(rows: int, length: int) -> Ints:
    return np.arange(0, rows - length + 1, length // 2)


def _window(
    place: int, length: int, starts: Ints, inside: Ints, usual: float, tests: int, rho: float
) -> Window:
    # Windows at every second start are laid end to end with this one.
    others = np.delete(inside[place % 2 :: 2], place // 2)
    seen = max(_dispersion(others, length, usual), rho)
    apart = np.abs(starts - starts[place]) >= length
    window = Window(
        start=int(starts[place]),
        stop=int(starts[place]) + length,
        length=length,
        hits=int(inside[place]),
        usual=usual,
        lift=float(inside[place] / length / usual),
        peers=float(inside[apart].max() / length),
        p_value=1.0,
        burst=1.0,
    )
    return with_dispersion(window, seen, tests)


def _dispersion(inside: Ints, length: int, usual: float) -> float:
    """The upper end of rho among windows of one length and mean."""
    alike = np.ones(len(inside))
    return cautious_dispersion(dispersion(inside, length * alike, usual * alike), len(inside))


def _tail(hits: int, length: int, usual: float, rho: float) -> float:
    return beta_binomial_tail(float(hits), float(length), usual, min(rho, 0.99))


def _likelihood(inside: Ints, size: Ints, outside: Ints, beside: Ints) -> Floats:
    """Log likelihood of a rate of its own inside and another one outside."""
    return _of_rate(inside, size) + _of_rate(outside, beside)


def _of_rate(hits: Ints, rows: Ints) -> Floats:
    rate = np.clip(hits / np.maximum(rows, 1), 1e-9, 1 - 1e-9)
    found: Floats = hits * np.log(rate) + (rows - hits) * np.log(1 - rate)
    return found
