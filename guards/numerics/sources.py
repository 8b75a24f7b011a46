"""Do the rows of a class's minority come from one source more than the class itself does?

In class c, source s wrote a share b_cs of the rows outside of the minority. If the minority is a
natural sub-class it may well lean to some source: people photograph different things. So the count
of s in the minority is held against a beta-binomial of mean b_cs whose dispersion is that of the
*other* classes' minorities around their own shares, at the upper end of what they allow, and the
lift over b_cs against the highest lift of any other class. Where sub-classes go with sources
everywhere, both are wide and nothing is enriched; one uploader's poison stands out of both.
Known way around it: poison spread over the sources as the class is; and not to be told from
poison: the only class of a data set whose sub-classes go with sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guards.numerics.enrichment import beta_binomial_tail, dispersion

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
PRIOR = 0.02
DOUBT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaning:
    """The source that each class's minority leans to most; all (classes,).

    `source` is its code, -1 where there is none to speak of; `hits` of the minority's rows are its;
    `share` is hits over the minority; `lift` that over its share of the rest of the class; `peers`
    the highest lift of any other class; `p_value` the tail, corrected over the sources.
    """

    source: Ints
    hits: Ints
    share: Floats
    lift: Floats
    peers: Floats
    p_value: Floats


def leaning(
    member: npt.NDArray[np.bool_], labels: Ints, sources: Ints, classes: int, *, least: int = 8
) -> Leaning:
    """Find the source that each class's minority leans to.

    Args:
        member: (n,) bool, the rows of the minorities.
        labels: (n,) in range(classes).
        sources: (n,) codes from 0.
        classes: how many labels there are.
        least: rows of one source in a minority without which it is not looked at.
    """
    count = int(sources.max()) + 1 if len(sources) else 1
    table = np.bincount((labels * 2 + member) * count + sources, minlength=classes * 2 * count)
    rest, inside = table.reshape(classes, 2, count).transpose(1, 0, 2)
    sizes = inside.sum(1)
    base = (rest + 0.5) / (rest.sum(1, keepdims=True) + 0.5 * count)
    lifts = inside / np.maximum(sizes, 1)[:, None] / base
    lifts = np.where(inside >= least, lifts, 0.0)
    best = lifts.argmax(1)
    everyone = np.arange(classes)
    highest = lifts[everyone, best]
    return Leaning(
        source=np.where(highest > 0, best, -1),
        hits=inside[everyone, best],
        share=inside[everyone, best] / np.maximum(sizes, 1),
        lift=highest,
        peers=np.array([np.delete(highest, c).max(initial=1.0) for c in everyone]),
        p_value=np.array(
            [
                _tail(int(c), int(best[c]), inside, sizes, base) if highest[c] else 1.0
                for c in everyone
            ]
        ),
    )


def _tail(group: int, source: int, inside: Ints, sizes: Ints, base: Floats) -> float:
    """The beta-binomial tail of one class's count, with the dispersion of all other classes."""
    from scipy.stats import chi2

    others = (np.arange(len(sizes)) != group) & (sizes > 0)
    if not others.any() or not sizes[group]:
        return 1.0
    wide = np.broadcast_to(sizes[others][:, None], inside[others].shape).ravel()
    seen = dispersion(inside[others].ravel(), wide, base[others].ravel())
    free = max(int(others.sum()) * (inside.shape[1] - 1), 1)
    rho = min(max(PRIOR, seen * free / float(chi2.ppf(DOUBT, free))), 0.99)
    tail = beta_binomial_tail(
        float(inside[group, source]), float(sizes[group]), float(base[group, source]), rho
    )
    return min(1.0, tail * float(inside.shape[1]))
