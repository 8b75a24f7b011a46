"""Do the rows that startle some layer of a network most have the wrong label?

The all-layer likelihood of FLARE (Hou et al. 2025, arXiv:2411.14243): every activation that enters
a normalisation layer of the probe is standardised by the layer's running statistics,

    H[row, layer] = min over channels and positions of log N(z),    s = max over layers of the
    robust z-score of log(-H)

(:mod:`guards.numerics.extremes`). A small sharp mark is the extreme of the first layers, whatever
it means, so rows with the greatest s are those that bear one, in every class at once: this is the
view that does not ask for a target class. Odd pictures startle too, so s alone decides nothing.
Among the TAILS of s, in each class and in all of them together, rows whose label the label-free
space denies are counted and held against their rate among the other rows (beta-binomial, over all
groups and tails). HIGH if the probe believes most of these labels; MEDIUM if it does not.

Measured on 1,500 rows a run (digits 1,437), level .01/7, settings chosen on seeds below 100 and
these at 100 and above; AUROC of s, TPR at FPR .5 %, rows held (no clean row was held in any run):

    Fashion-MNIST   patch 2 %       .998  1.00   .60    alarm, HIGH
                    patch 1 %       .947   .07   0      quiet (attack success .54)
                    all-to-all 5 %  .998   .91   .65    alarm, HIGH (attack success .44)
                    TaCT 2 %        .973   .57   0      quiet
                    blend 2 %       .142   0     0      quiet
    MNIST           patch 2 %      1.000  1.00   .57    alarm, HIGH
    digits          patch 2 %       .881   .14   0      quiet
    CIFAR-10, JPEG  patch 2 %, two  .99    .5    0      quiet (on 3,000 rows, seed 1: p = 5e-5)
                    patch 1 %       .917   0     0      quiet (attack success .29)
    clean           32 runs, 8 of each set: 0 alarms, least corrected p .2
    5 % label noise 3 runs: 0 alarms

Known ways around it: every trigger without an edge that a row of its kind would not have (blends,
sinusoids, warps: their rows startle *less* than others); a patch as faint as the pictures' own
contrast; clean-label poison, whose label nothing denies; one source class that looks like the
target (TaCT between like classes), for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.numerics.extremes import surprise
from guards.numerics.minorities import concentration

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.image_features import ImageFeatures

NEEDS = frozenset({"image", "label"})
TAILS = (0.005, 0.02)
WINDOW, DENSE = 20, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`alpha` is the p-value over all classes, their union and both tails.

    A group needs `rows` inconsistent rows in a tail, which are `rate` of it and `lift` times the
    rate outside.
    """

    alpha: float = 0.01
    rows: int = 6
    rate: float = 0.4
    lift: float = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tails:
    """For each of TAILS and each group, the classes and last all rows together, (2, classes + 1).

    `hits` of the `rows` in the tail are inconsistent, `rate` of it, `lift` times the rate outside;
    `p_value` is corrected over everything here. `member` is (2, n).
    """

    rows: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]
    rate: npt.NDArray[np.float64]
    lift: npt.NDArray[np.float64]
    p_value: npt.NDArray[np.float64]
    member: npt.NDArray[np.bool_]

    def alarming(self, settings: Settings) -> npt.NDArray[np.bool_]:
        """Which of them alarm, (2, classes + 1)."""
        return (
            (self.p_value <= settings.alpha)
            & (self.hits >= settings.rows)
            & (self.rate >= settings.rate)
            & (self.lift >= settings.lift)
        )


def examine(case: Case, settings: Settings) -> Measured:
    """Hold the labels of the most startling rows against those of the others."""
    features = case.image_features
    scores = surprise(features.extremes)
    tails = look(scores, features.labels, features.inconsistent, len(features.classes))
    found = tails.alarming(settings)
    groups = np.flatnonzero(found.any(0)).tolist()
    return Measured(
        statistics=_statistics(features, tails),
        findings=tuple(_finding(features, tails, group, settings) for group in groups),
        row_scores=_row_scores(features, scores, tails, found),
    )


def look(
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    inconsistent: npt.NDArray[np.bool_],
    classes: int,
) -> Tails:
    """Count inconsistent rows in both tails of `scores`; all arguments (n,)."""
    member = np.stack([scores > np.quantile(scores, 1 - share) for share in TAILS])
    seen = [
        (
            concentration(inside, labels, inconsistent, classes),
            concentration(inside, np.zeros_like(labels), inconsistent, 1),
        )
        for inside in member
    ]
    rows, hits, rate, lift, p_value = (
        np.stack([np.concatenate([getattr(part, name) for part in pair]) for pair in seen])
        for name in ("rows", "hits", "rate", "lift", "p_value")
    )
    corrected = np.minimum(p_value * p_value.size, 1)
    return Tails(rows=rows, hits=hits, rate=rate, lift=lift, p_value=corrected, member=member)


def dense(
    scores: npt.NDArray[np.float64],
    inconsistent: npt.NDArray[np.bool_],
    ours: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Rows of `ours` before the first WINDOW, by falling score, in which few are inconsistent.

    A tail is as long as it is; the planted rows may be more. All arguments are (n,).
    """
    order = np.flatnonzero(ours)[np.argsort(-scores[ours], kind="stable")]
    window = min(WINDOW, max(len(order), 1))
    counts = np.concatenate([[0], np.cumsum(inconsistent[order])])
    share = (counts[window:] - counts[:-window]) / window
    thin = np.flatnonzero(share < DENSE)
    before = np.zeros_like(ours)
    before[order[: thin[0] if len(thin) else len(order)]] = True
    return before


def _members(features: ImageFeatures, tails: Tails, tail: int, group: int) -> Any:
    inside = tails.member[tail] & features.inconsistent
    return inside if group == len(features.classes) else inside & (features.labels == group)


def _finding(features: ImageFeatures, tails: Tails, group: int, settings: Settings) -> Finding:
    tail = int(tails.p_value[:, group].argmin())
    wrong = _members(features, tails, tail, group)
    believed = float(features.believed[wrong].mean())
    planted = believed >= 0.5
    pooled = group == len(features.classes)
    name = "all classes together" if pooled else features.classes[group]
    meaning = "learnt all the same: planted" if planted else "not learnt: wrong labels"
    rows, hits = int(tails.rows[tail, group]), int(tails.hits[tail, group])
    return Finding(
        rule="extremes",
        code="extreme-rows-mislabelled",
        severity=Severity.HIGH if planted else Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="dataset" if pooled else "class", name=name),
        summary=f"{rows} rows ({name}) startle a layer of the network more than all others; "
        f"{hits} of them have labels that the pictures deny, {meaning}",
        evidence=(
            Evidence(
                statistic="share of inconsistent labels among the most startling rows",
                value=round(float(tails.rate[tail, group]), 4),
                threshold=settings.rate,
                p_value=float(tails.p_value[tail, group]),
                effect=round(float(tails.lift[tail, group]), 2),
                sample=len(features.labels),
                rows=rows,
                detail={"tail": TAILS[tail], "believed": round(believed, 4)},
            ),
        ),
        remedy="Look at the held rows for a mark that they share before training on this batch.",
    )


def _statistics(features: ImageFeatures, tails: Tails) -> dict[str, Any]:
    """Per class, and under the empty name for all rows, the tail with the lesser p-value."""
    best = tails.p_value.argmin(0)
    return {
        "classes": {
            name: {
                "rows": int(tails.rows[tail, group]),
                "inconsistent": round(float(tails.rate[tail, group]), 4),
                "lift": round(float(tails.lift[tail, group]), 2),
                "p_value": float(tails.p_value[tail, group]),
            }
            for group, (name, tail) in enumerate(
                zip((*features.classes, ""), best.tolist(), strict=True)
            )
        }
    }


def _row_scores(
    features: ImageFeatures,
    scores: npt.NDArray[np.float64],
    tails: Tails,
    found: npt.NDArray[np.bool_],
) -> tuple[RowScore, ...]:
    """The inconsistent rows of every group that alarmed, as far down as they are dense."""
    held = np.zeros(len(scores), np.bool_)
    for tail, group in np.argwhere(found).tolist():
        ours = np.ones_like(held) if group == len(features.classes) else features.labels == group
        held |= _members(features, tails, tail, group)
        held |= ours & features.inconsistent & dense(scores, features.inconsistent, ours)
    return tuple(
        RowScore(
            row=int(features.rows[row]),
            score=round(float(scores[row]), 4),
            suggested_label=features.suggested(row),
            reason="startles a layer of the network, and its label is denied by its looks",
        )
        for row in np.flatnonzero(held).tolist()
    )
