"""Do the rows that share a mark gather under one label, and do they look like what they are called?

A mark accuses nobody: cameras and agencies stamp pictures. What accuses is that its rows bear one
label beyond what the *sources* that they are from lead to expect, or that they do not look like
their labels. The rules `patches` and `waves` find different marks and share everything here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from guards.data.case import Case
from guards.data.dataset import short_words
from guards.errors import Skip
from guards.findings import Severity
from guards.numerics.enrichment import beta_binomial_tail
from guards.numerics.twins import blurred

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Pictures = npt.NDArray[np.uint8]

DISPERSION = 0.01
_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Decoded rows with a label: `rows` (n,) global, the others parallel to it.

    `labels` and `sources` are codes into `classes` and `names`; `pixels` (n, C, H, W) are those of
    the pictures cut by the whole factor `step`. Where these have unlike sizes, `corners` holds for
    each of :data:`guards.data.corners.ANCHORS` what lies there uncut, (n, 1, side, side).
    """

    rows: Ints
    labels: Ints
    classes: tuple[str, ...]
    sources: Ints
    names: tuple[str, ...]
    pixels: Pictures
    corners: tuple[Pictures, ...] = ()
    step: int = 1

    def cut(self, step: int) -> Rows:
        """The same rows, the sides of their pictures cut by another whole factor."""
        if step == 1:
            return self
        n, channels, height, width = self.pixels.shape
        tall, wide = height // step, width // step
        small = np.empty((n, channels, tall, wide), np.uint8)
        for start in range(0, n, _AT_ONCE):
            part = self.pixels[start : start + _AT_ONCE, :, : tall * step, : wide * step]
            blocks = part.reshape(-1, channels, tall, step, wide, step)
            small[start : start + _AT_ONCE] = np.rint(blocks.mean((3, 5), dtype=np.float32))
        return replace(self, pixels=small, step=self.step * step)


def labelled(case: Case) -> Rows:
    """Labels and sources of decoded rows; of pictures that occur more than once only the first."""
    import polars as pl

    dataset, images, roles = case.dataset, case.images, case.dataset.roles
    wanted = [column for column in (roles.label, roles.source) if column]
    frame = pl.DataFrame([short_words(column).fill_null("") for column in dataset.frame(wanted)])
    labels = frame[wanted[0]].to_numpy().astype(np.str_)[images.rows]
    once = np.zeros(len(labels), np.bool_)
    once[np.unique(images.digests, return_index=True)[1]] = True
    known = np.flatnonzero((labels != "") & once)
    if not len(known):
        raise Skip("no row has both a label and a picture that decodes")
    classes, codes = np.unique(labels[known], return_inverse=True)
    rows = images.rows[known]
    given = frame[wanted[-1]].to_numpy().astype(np.str_)[rows] if roles.source else [""] * len(rows)
    names, sources = np.unique(given, return_inverse=True)
    return Rows(
        rows=rows,
        labels=codes,
        classes=tuple(map(str, classes)),
        sources=sources,
        names=tuple(map(str, names)),
        pixels=images.pixels if len(known) == len(images.rows) else images.pixels[known],
        corners=()
        if images.corners is None
        else tuple(images.corners[known].swapaxes(0, 1)[:, :, None]),
    )


def apart(seen: Rows, rows: Ints) -> float:
    """How much rows differ from one another, against others of their labels; small for a series.

    The lower quartile of the distances between blurred pictures, so that a few series show too.
    """
    rng = np.random.default_rng(len(rows))
    mine = rng.permutation(rows)[:150]
    rest = np.setdiff1d(np.flatnonzero(np.isin(seen.labels, seen.labels[mine])), rows)
    # As many of each label as the mark has.
    order = rng.permutation(rest)
    peers = np.concatenate(
        [order[seen.labels[order] == c][:n] for c, n in enumerate(np.bincount(seen.labels[mine]))]
    )
    if len(peers) < 2:
        return 1.0
    return _spread(seen.pixels[mine]) / max(_spread(seen.pixels[peers]), 1e-9)


def _spread(pixels: Pictures) -> float:
    """The lower quartile of the distances between pictures (m, C, H, W) at 4 x 4."""
    from scipy.spatial.distance import pdist

    return float(np.quantile(pdist(blurred(pixels)), 0.25))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What the labels of some rows say: `hits` of them bear `label`.

    That is `lift` times what their sources lead to expect, with `p_value` over all labels; `share`
    of the label's rows are among them.
    """

    label: int
    hits: int
    lift: float
    p_value: float
    share: float


def gathered(seen: Rows, rows: Ints) -> Gathered:
    """Count the labels of `rows`, indices, against those of the sources that they are from."""
    k, s = len(seen.classes), len(seen.names)
    # Row by row, not as a table of sources and labels: each row may have a source of its own.
    share = np.bincount(seen.sources[rows], minlength=s) / np.bincount(seen.sources, minlength=s)
    expected = np.bincount(seen.labels, share[seen.sources], minlength=k) / len(rows)
    hits = np.bincount(seen.labels[rows], minlength=k)
    label = int((hits - expected * len(rows)).argmax())
    rate = float(np.clip(expected[label], 1e-6, 1 - 1e-6))
    tail = beta_binomial_tail(int(hits[label]), len(rows), rate, DISPERSION)
    return Gathered(
        label=label,
        hits=int(hits[label]),
        lift=float(hits[label] / len(rows) / rate),
        p_value=min(1.0, tail * k),
        share=float(hits[label] / (seen.labels == label).sum()),
    )


class Bounds(Protocol):
    """What a rule's settings say about the labels of a mark's rows."""

    @property
    def alpha(self) -> float:
        """The p-value below which rows gather, and labels are denied."""

    @property
    def gathers(self) -> float:
        """Rows of one label over those that sources lead to expect."""

    @property
    def whole(self) -> float:
        """The largest share of the label's rows."""

    @property
    def denied(self) -> float:
        """The share of rows that do not look like their labels; at 0 nobody asks."""

    @property
    def denied_lift(self) -> float:
        """That share over the one of their sources' other rows."""


def judged(
    case: Case, seen: Rows, rows: Ints, labels: Gathered, bounds: Bounds
) -> tuple[Severity, dict[str, Any]]:
    """INFO for a mark, MEDIUM when it gathers, HIGH when something says that it was planted.

    Without sources an honest mark of one label looks the same as a planted one; with them, what
    they do not explain is HIGH, and so are labels that the looks deny.
    """
    gathers = (
        labels.lift >= bounds.gathers
        and labels.p_value <= bounds.alpha
        and labels.share <= bounds.whole
    )
    rate, lift, p_value = _denial(case, seen, rows) if bounds.denied else (0.0, 0.0, 1.0)
    denied = rate >= bounds.denied and lift >= bounds.denied_lift and p_value <= bounds.alpha
    told = {"gathers": gathers, "denied": round(rate, 4), "denied_lift": round(lift, 2)}
    if not (gathers or denied):
        return Severity.INFO, told
    unexplained = gathers and len(seen.names) > 1 and labels.hits >= 0.8 * len(rows)
    return Severity.HIGH if denied or unexplained else Severity.MEDIUM, told


def _denial(case: Case, seen: Rows, rows: Ints) -> tuple[float, float, float]:
    """How often the labels of `rows` are denied by their looks.

    The rate, the same over that of their sources' other rows, and the p-value of that.
    """
    try:
        features = case.image_features
    except Skip:
        return 0.0, 0.0, 1.0
    inside = np.isin(features.rows, seen.rows[rows])
    peers = np.isin(features.rows, seen.rows[np.isin(seen.sources, seen.sources[rows])]) & ~inside
    if peers.sum() < inside.sum():
        # The mark is that of its source: what sets its rows apart may be the source as well.
        return 0.0, 0.0, 1.0
    usual = float((features.inconsistent[peers].sum() + 1) / (peers.sum() + 2))
    hits, size = int(features.inconsistent[inside].sum()), int(inside.sum())
    tail = beta_binomial_tail(hits, size, usual, DISPERSION)
    return hits / size, hits / size / usual, tail
