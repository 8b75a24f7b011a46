"""Two witnesses against a class: a minority that stands apart, and something that accuses it.

What stands apart is found by `numerics.minorities` (a tail, a cluster); natural sub-classes stand
apart too, so by itself it accuses nobody (docs/adr/0005-alarms-need-two-witnesses.md). The second
witness is one of three, and each has its effect size beside its p-value:

- *labels*: most of its rows do not look like their label;
- *source*: its rows come from one source, far beyond what the class and the other classes' own
  minorities lead to expect, and (where earlier versions say) beyond what they did before;
- *history*: the class stands further apart than in the earlier admitted versions.

None of them makes more than MEDIUM: a few wrong labels learnt by heart look like planted rows.
The rules `spectral` and `clustering` differ in the first witness and share everything here. Of the
level `alpha` each kind has a third, Bonferroni over classes (docs/adr/0007-calibration.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data import pretrained
from guards.data.case import Case
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.numerics.minorities import concentration
from guards.numerics.prediction import moved
from guards.numerics.sources import leaning

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.image_features import ImageFeatures
    from guards.numerics.minorities import Concentration, Minorities
    from guards.numerics.prediction import Moved
    from guards.numerics.sources import Leaning

    Bools = npt.NDArray[np.bool_]

KINDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Both halves of the conjunction.

    `null_level` is the p-value over all classes under the null of one blob, `alpha` that of the
    second witness, all kinds and classes together. The minority needs `rows` inconsistent rows,
    which are `rate` of it and `lift` times the rate of the rest; or `rows` rows of one source,
    which are `source_share` of it, `source_lift` times its share of the rest, and `over_peers`
    times the lift of every other class's minority; or a change of the rule's own least size.
    """

    alpha: float = 0.01
    null_level: float = 0.01
    rows: int = 8
    rate: float = 0.5
    lift: float = 4.0
    source_share: float = 0.5
    source_lift: float = 3.0
    over_peers: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """The first witness, and its words: `does` follows "rows labelled x", `where` precedes x.

    `tested` gives the minority with its p-values, which nobody needs before a second witness has
    spoken. `statistic` says what was computed, `key` names it among the statistics, `more` holds
    further figures per class, each of shape (classes,). `effect` (classes,) is the statistic on a
    scale that does not grow with the class, which earlier versions are compared on; `floor` the
    least standard deviation believed there, `least_change` the least change that counts.
    """

    rule: str
    code: str
    minority: Minorities
    tested: Callable[[], Minorities]
    does: str
    where: str
    statistic: str
    key: str
    effect: np.ndarray[Any, Any]
    floor: float
    least_change: float
    more: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Second:
    """What the second witnesses say of every class; `lean` is None where there are no sources."""

    inside: Concentration
    lean: Leaning | None
    lean_moved: Moved
    change: Moved


def weigh(case: Case, witness: Witness, settings: Settings) -> Measured:
    """Hold each class's minority against a second witness; alarm only where both speak."""
    features = case.image_features
    second = _second(case, witness, settings)
    speak = {
        "labels": _by_labels(features, second, settings),
        "source": _by_source(features, second, settings),
        "history": _by_history(features, second, witness, settings),
    }
    accused = np.any(list(speak.values()), axis=0)
    if accused.any():
        witness = replace(witness, minority=witness.tested())
    opened = witness.minority.p_values <= settings.null_level
    alarms = {
        int(group): [kind for kind, speaks in speak.items() if speaks[group]]
        for group in np.flatnonzero(opened & accused)
    }
    return Measured(
        statistics=_statistics(case, witness, second),
        findings=tuple(
            _finding(features, witness, group, kinds, second, settings)
            for group, kinds in alarms.items()
        ),
        row_scores=tuple(_row_scores(features, witness, alarms, second)),
    )


def space(case: Case) -> str:
    """What the features come from; statistics of another space are not comparable."""
    layers = [] if case.model is None else [case.model.digest.short]
    return " ".join([case.device, pretrained.name(), *layers])


def _second(case: Case, witness: Witness, settings: Settings) -> _Second:
    features, minority = case.image_features, witness.minority
    k, lean = len(features.classes), None
    if features.sources is not None and len(features.source_names) > 1:
        lean = leaning(minority.member, features.labels, features.sources, k, least=settings.rows)
    lifts = lean.lift if lean is not None else np.full(k, np.nan)
    return _Second(
        inside=concentration(minority.member, features.labels, features.inconsistent, k),
        lean=lean,
        lean_moved=_moved(case, witness.rule, "source_lift", lifts, 0.25),
        change=_moved(case, witness.rule, witness.key, witness.effect, witness.floor),
    )


def _moved(case: Case, rule: str, measure: str, now: np.ndarray[Any, Any], floor: float) -> Moved:
    features = case.image_features
    name = f"{measure} {space(case)}"
    earlier = case.history.series(rule, "class", features.classes, name, features.sizes)
    return moved(now, earlier, floor=floor)


def _by_labels(features: ImageFeatures, second: _Second, settings: Settings) -> Bools:
    inside = second.inside
    speaks: Bools = (
        (inside.hits >= settings.rows)
        & (inside.rate >= settings.rate)
        & (inside.lift >= settings.lift)
        & (inside.p_value * len(features.classes) * KINDS <= settings.alpha)
    )
    return speaks


def _by_source(features: ImageFeatures, second: _Second, settings: Settings) -> Bools:
    lean, k = second.lean, len(features.classes)
    if lean is None or k < 3:
        # Two classes have one peer each, which says nothing of what is usual.
        return np.zeros(k, np.bool_)
    judged = ~np.isnan(second.lean_moved.before)
    usual = judged & (second.lean_moved.p_values * k * KINDS > settings.alpha)
    speaks: Bools = (
        (lean.hits >= settings.rows)
        & (lean.share >= settings.source_share)
        & (lean.lift >= settings.source_lift)
        & (lean.lift >= settings.over_peers * lean.peers)
        & (lean.p_value * k * KINDS <= settings.alpha)
        & ~usual
    )
    return speaks


def _by_history(
    features: ImageFeatures, second: _Second, witness: Witness, settings: Settings
) -> Bools:
    change = second.change
    speaks: Bools = (change.change >= witness.least_change) & (
        change.p_values * len(features.classes) * KINDS <= settings.alpha
    )
    return speaks


def _finding(
    features: ImageFeatures,
    witness: Witness,
    group: int,
    kinds: list[str],
    second: _Second,
    settings: Settings,
) -> Finding:
    minority, name = witness.minority, features.classes[group]
    rows = np.flatnonzero(minority.member & (features.labels == group))
    wrong = rows[features.inconsistent[rows]]
    believed = float(features.believed[wrong].mean()) if len(wrong) else 0.0
    learnt = "labels" in kinds and believed >= 0.5
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
            "second_witness": kinds,
            **_told(features, second, group),
        },
    )
    return Finding(
        rule=witness.rule,
        code=witness.code,
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="class", name=name),
        summary=f"{len(rows)} rows labelled {name} {witness.does}; "
        + "; ".join(_because(features, second, group, kind, len(wrong), learnt) for kind in kinds),
        evidence=(evidence,),
        remedy="Do not train on this batch before the held rows have been explained.",
    )


def _because(
    features: ImageFeatures, second: _Second, group: int, kind: str, wrong: int, learnt: bool
) -> str:
    """What one second witness says."""
    if kind == "labels":
        meaning = "learnt all the same" if learnt else "not learnt: wrong labels"
        return f"{wrong} of them have labels that the pictures deny, {meaning}"
    if kind == "source" and second.lean is not None:
        lean = second.lean
        source = features.source_names[int(lean.source[group])]
        return (
            f"{lean.share[group]:.0%} of them are from source {source}, {lean.lift[group]:.1f} "
            "times its share of the rest of the class"
        )
    past = second.change.before[group]
    return (
        f"the class stands apart by {past + second.change.change[group]:.3f}, and by {past:.3f} in "
        "earlier admitted versions"
    )


def _told(features: ImageFeatures, second: _Second, group: int) -> dict[str, Any]:
    """What the other witnesses measured of a class, for the record."""
    told: dict[str, Any] = {}
    if second.lean is not None and second.lean.source[group] >= 0:
        lean = second.lean
        told["source"] = {
            "name": features.source_names[int(lean.source[group])],
            "share": round(float(lean.share[group]), 4),
            "lift": round(float(lean.lift[group]), 3),
            "lift_of_peers": round(float(lean.peers[group]), 3),
            "p_value": float(lean.p_value[group]),
        }
    if not np.isnan(second.change.before[group]):
        told["history"] = {
            "before": round(float(second.change.before[group]), 5),
            "change": round(float(second.change.change[group]), 5),
            "p_value": float(second.change.p_values[group]),
        }
    return told


def _statistics(case: Case, witness: Witness, second: _Second) -> dict[str, Any]:
    """Per class what was seen, and by name the classes that were too small to look at."""
    features = case.image_features
    minority, names, inside = witness.minority, features.classes, second.inside
    unseen = np.isnan(minority.statistic)
    return {
        "classes": {
            names[c]: {
                witness.key: round(float(minority.statistic[c]), 4),
                **_against_null(minority, int(c)),
                **{key: round(float(values[c]), 4) for key, values in witness.more.items()},
                "minority": int(inside.rows[c]),
                "inconsistent": round(float(inside.rate[c]), 4),
                **_told(features, second, int(c)),
            }
            for c in np.flatnonzero(~unseen)
        },
        "not_examined": {
            names[c]: f"{int(features.sizes[c])} rows" for c in np.flatnonzero(unseen)
        },
        "earlier_versions": len(case.history.versions),
        "watched": {"class": _watched(case, witness, second)},
    }


def _against_null(minority: Minorities, group: int) -> dict[str, float]:
    """What the null says, if it was asked."""
    if np.isnan(minority.p_values[group]):
        return {}
    return {
        "p_value": float(minority.p_values[group]),
        "excess": round(float(minority.excess[group]), 2),
    }


def _watched(case: Case, witness: Witness, second: _Second) -> dict[str, dict[str, float]]:
    """What the next version's scan is held against."""
    features, where = case.image_features, space(case)
    watched = {}
    for c in np.flatnonzero(~np.isnan(witness.minority.statistic)):
        measures = {"rows": float(features.sizes[c])}
        measures[f"{witness.key} {where}"] = round(float(witness.effect[c]), 6)
        if second.lean is not None:
            measures[f"source_lift {where}"] = round(float(second.lean.lift[c]), 6)
        watched[features.classes[c]] = measures
    return watched


def _row_scores(
    features: ImageFeatures, witness: Witness, alarms: Mapping[int, list[str]], second: _Second
) -> Iterator[RowScore]:
    """Of the classes that alarmed, the minority's rows that the second witness speaks of.

    History speaks of the class; where it is alone, the whole minority is held.
    """
    for group, kinds in alarms.items():
        opened = witness.minority.member & (features.labels == group)
        accused = np.zeros_like(opened)
        if "labels" in kinds:
            accused |= features.inconsistent
        if "source" in kinds and second.lean is not None and features.sources is not None:
            accused |= features.sources == second.lean.source[group]
        if kinds == ["history"]:
            accused[:] = True
        for row in np.flatnonzero(opened & accused).tolist():
            yield RowScore(
                row=int(features.rows[row]),
                score=round(float(1 - features.share[row]), 4),
                suggested_label=features.suggested(row),
                reason=f"{witness.where} {features.classes[group]}",
            )
