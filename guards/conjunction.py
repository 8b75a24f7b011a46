"""Two witnesses against a class: a minority that stands apart, and labels that its pictures deny.

What stands apart is found by `numerics.minorities` (a tail, a cluster); natural sub-classes stand
apart too, so by itself it accuses nobody (docs/adr/0005-alarms-need-two-witnesses.md). The rules
`spectral` and `clustering` differ in the first witness and share everything here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.numerics.minorities import concentration

if TYPE_CHECKING:
    from guards.data.image_features import ImageFeatures
    from guards.numerics.minorities import Concentration, Minorities


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Both halves of the conjunction.

    `alpha` is the p-value over all classes of the null, and of the concentration. The minority
    needs `rows` inconsistent rows, which are `rate` of it and `lift` times the rate of the rest.
    """

    alpha: float = 0.01
    rows: int = 8
    rate: float = 0.5
    lift: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """The first witness, and its words: `does` follows "rows labelled x", `where` precedes x.

    `statistic` says what was computed, `key` names it among the statistics, and `more` holds
    further figures per class, each of shape (classes,).
    """

    rule: str
    code: str
    minority: Minorities
    does: str
    where: str
    statistic: str
    key: str
    more: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def weigh(features: ImageFeatures, witness: Witness, settings: Settings) -> Measured:
    """Hold each class's minority against the labels of its rows; alarm only where both speak."""
    minority = witness.minority
    inside = concentration(
        minority.member, features.labels, features.inconsistent, len(features.classes)
    )
    alarming = np.flatnonzero(
        (minority.p_values <= settings.alpha)
        & (inside.hits >= settings.rows)
        & (inside.rate >= settings.rate)
        & (inside.lift >= settings.lift)
        & (inside.p_value * len(features.classes) <= settings.alpha)
    )
    return Measured(
        statistics=_statistics(features, witness, inside),
        findings=tuple(_finding(features, witness, int(c), settings) for c in alarming),
        row_scores=_row_scores(features, witness, alarming),
    )


def _finding(features: ImageFeatures, witness: Witness, group: int, settings: Settings) -> Finding:
    minority, name = witness.minority, features.classes[group]
    rows = np.flatnonzero(minority.member & (features.labels == group))
    wrong = rows[features.inconsistent[rows]]
    believed = float(features.believed[wrong].mean())
    planted = believed >= 0.5
    meaning = "learnt all the same: planted" if planted else "not learnt: wrong labels"
    evidence = Evidence(
        statistic=witness.statistic,
        value=round(float(minority.statistic[group]), 4),
        p_value=float(minority.p_values[group]),
        effect=round(float(minority.excess[group]), 2),
        sample=int(features.sizes[group]),
        rows=len(rows),
        detail={
            "inconsistent": len(wrong),
            "believed": round(believed, 4),
            "alpha": settings.alpha,
        },
    )
    return Finding(
        rule=witness.rule,
        code=witness.code,
        severity=Severity.HIGH if planted else Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="class", name=name),
        summary=f"{len(rows)} rows labelled {name} {witness.does}; "
        f"{len(wrong)} of them have labels that the pictures deny, {meaning}",
        evidence=(evidence,),
        remedy="Do not train on this batch before the held rows have been explained.",
    )


def _statistics(features: ImageFeatures, witness: Witness, inside: Concentration) -> dict[str, Any]:
    """Per class what was seen, and by name the classes that were too small to look at."""
    minority, names = witness.minority, features.classes
    unseen = np.isnan(minority.statistic)
    return {
        "classes": {
            names[c]: {
                witness.key: round(float(minority.statistic[c]), 4),
                "p_value": float(minority.p_values[c]),
                "excess": round(float(minority.excess[c]), 2),
                **{key: round(float(values[c]), 4) for key, values in witness.more.items()},
                "minority": int(inside.rows[c]),
                "inconsistent": round(float(inside.rate[c]), 4),
            }
            for c in np.flatnonzero(~unseen)
        },
        "not_examined": {
            names[c]: f"{int(features.sizes[c])} rows" for c in np.flatnonzero(unseen)
        },
    }


def _row_scores(
    features: ImageFeatures, witness: Witness, alarming: np.ndarray[Any, Any]
) -> tuple[RowScore, ...]:
    """Of the classes that alarmed, the minority's rows that do not look like their label."""
    opened = witness.minority.member & np.isin(features.labels, alarming) & features.inconsistent
    return tuple(
        RowScore(
            row=int(features.rows[row]),
            score=round(float(1 - features.share[row]), 4),
            suggested_label=features.suggested(row),
            reason=f"{witness.where} {features.classes[features.labels[row]]}",
        )
        for row in np.flatnonzero(opened).tolist()
    )
