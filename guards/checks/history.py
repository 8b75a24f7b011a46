"""Has a class or a source moved away from what it was in the earlier admitted versions?

Per class of pictures: the mean of a few dozen measures that need no training (cells of grey, bands
of the Fourier transform, :mod:`guards.numerics.looks`), less what all classes moved by; the shares
of rows that do not look like their label, and of those that a probe believes all the same. Per
source the two shares, and for tables, per class and source, the share of labels that models
contradict. Each is held against its own earlier values by a prediction interval (moderated t,
:mod:`guards.numerics.prediction`); the measures of one class or source are fused into one p-value
(Cauchy combination, Liu & Xie 2020), corrected over all of them (Holm). Besides, the one that moved
most must have moved by `change` standard deviations of a row (by `rate` for shares, and to twice
what it was). Fewer than three comparable versions say nothing; that is told.

Measured on the looks alone (no probe), 5 disjoint clean versions of 3,000 rows and then one more,
seeds of 100 and above. Fashion-MNIST; target class named alone, planted rows held / clean rows held
where found: SIG 5 % and 2 % 5/5, 1.00 / .0000, 1 % 1/3; label-consistent 2 % 3/3, 1.00 / .0000;
blend 1 % 4/5, 1.00 / .0000; WaNet 5 % 3/3, .73 / .002; a 3 x 3 patch 1 % 0/3. CIFAR-10, one seed,
JPEG: SIG 5 % and label-consistent 2 % found, 1.00 / .0000; SIG 2 %, blend 1 %, WaNet 5 % missed.
Clean next versions: 0 alarms in 22 (Fashion-MNIST) and 16 (CIFAR-10), of subsamples that overlap
between repeats. Disjoint subsamples of one set are kinder than life; natural drift, and the false
alarms of the shares on real data, were not measured. Some of these runs (3 of the 5 Fashion seeds,
12 and 10 of the clean ones, all of CIFAR-10's attacks) had looks and shares in one family.

This sees what nothing else here does: a clean-label attack, whose labels are right and whose rows
stand out of nothing but the class's past. It cannot tell an attack from a change that one class
alone has honestly gone through (another photographer, another season), so it is never more than
MEDIUM. Known ways around it: a poison rate below what sampling moves; moving by a little in every
version (history.py); a first version that is poisoned already, which passes as what is usual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.conjunction import space
from guards.data.case import Case
from guards.data.dataset import short_words
from guards.errors import Skip
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.numerics.enrichment import holm
from guards.numerics.fusion import cauchy
from guards.numerics.looks import looks
from guards.numerics.prediction import LEAST, moved

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.image_features import ImageFeatures

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

NEEDS = frozenset({"label"})
RULE = "history"
_FLOOR_LOOKS = 0.02  # in standard deviations of a row
_FLOOR_SHARE = 0.004


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Significance and effect must both be there.

    `alpha` is the level over all classes and sources; `change` is in standard deviations of a row
    within its class, `rate` a share of rows, which must also be `ratio` times what it was. Groups
    of fewer than `rows` rows are not looked at. Rows that lie `near` standard deviations out
    along what moved are held, at most `max_rows` of them.
    """

    alpha: float = 0.01
    change: float = 0.35
    rate: float = 0.05
    ratio: float = 2.0
    rows: int = 50
    near: float = 3.0
    max_rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Groups:
    """Groups of one kind (class, source) and what is watched of them, (groups, measures).

    `scales` (measures,) put a change into the unit of `least` (measures,); `floor` likewise. A
    `shared` measure counts less what the middle group moved by.
    """

    kind: str
    names: tuple[str, ...]
    sizes: Ints
    measures: tuple[str, ...]
    values: Floats
    scales: Floats
    looks: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What each group moved by: (groups, measures) two-sided p-values and changes, fused (groups,).

    `before` is NaN where there was nothing to compare with.
    """

    groups: _Groups
    p_values: Floats
    change: Floats
    before: Floats
    fused: Floats
    judged: int = field(default=0)


def examine(case: Case, settings: Settings) -> Measured:
    """Hold every class and source against its own past."""
    watched = list(_watched_pictures(case)) if case.roles.image else list(_watched_table(case))
    changes = [_changed(case, groups, settings) for groups in watched]
    corrected = np.split(
        holm(np.concatenate([change.fused for change in changes])),
        np.cumsum([len(change.fused) for change in changes])[:-1],
    )
    findings: list[Finding] = []
    held: list[RowScore] = []
    for change, p_values in zip(changes, corrected, strict=True):
        for group in np.flatnonzero(p_values <= settings.alpha):
            told = _strongest(change, int(group), settings)
            if told is not None:
                findings.append(_finding(change, int(group), told, float(p_values[group])))
                held += _rows(case, change, int(group), settings)
    return Measured(
        statistics=_statistics(case, changes, corrected),
        findings=tuple(findings),
        row_scores=tuple(sorted(held, key=lambda score: score.row)),
    )


def _watched_pictures(case: Case) -> Iterator[_Groups]:
    features = case.image_features
    places = looks(features.pixels).astype(np.float64)
    size = "x".join(map(str, features.pixels.shape[1:]))
    where = space(case)
    shares = {
        f"inconsistent {where}": features.inconsistent,
        f"believed but wrong {where}": features.believed,
    }
    means = _means(features.labels, places, len(features.classes))
    spread = np.sqrt(((places - means[features.labels]) ** 2).mean(0)) + 1e-6
    rates = _means(features.labels, np.column_stack(list(shares.values())), len(features.classes))
    names = tuple(f"look {size} {number}" for number in range(places.shape[1]))
    yield _Groups(
        kind="class",
        names=features.classes,
        sizes=features.sizes,
        measures=(*names, *shares),
        values=np.hstack([means, rates]),
        scales=np.concatenate([spread, np.ones(len(shares))]),
        looks=np.arange(len(names) + len(shares)) < len(names),
    )
    if features.sources is not None:
        yield _shares("source", features.source_names, features.sources, shares)


def _watched_table(case: Case) -> Iterator[_Groups]:
    """The share of labels that models contradict, which did not see them."""
    from guards.numerics.confidence import label_issues

    if "feature" not in case.roles.present:
        raise Skip("there is neither a picture nor a feature beside the label")
    table = case.table_features
    flagged = {"contradicted": label_issues(table.labels, table.probabilities)}
    yield _shares("class", table.classes, table.labels, flagged)
    if column := case.dataset.roles.source:
        given = short_words(case.dataset.frame([column]).to_series()).fill_null("")
        names, codes = np.unique(given.to_numpy()[table.rows].astype(str), return_inverse=True)
        yield _shares("source", tuple(map(str, names)), codes.astype(np.int64), flagged)


def _shares(
    kind: str,
    names: Sequence[str],
    codes: Ints,
    shares: Mapping[str, npt.NDArray[np.bool_]],
) -> _Groups:
    return _Groups(
        kind=kind,
        names=tuple(names),
        sizes=np.bincount(codes, minlength=len(names)),
        measures=tuple(shares),
        values=_means(codes, np.column_stack(list(shares.values())), len(names)),
        scales=np.ones(len(shares)),
        looks=np.zeros(len(shares), np.bool_),
    )


def _means(codes: Ints, values: npt.NDArray[Any], groups: int) -> Floats:
    """The mean of (n, measures) in each group, 0 where a group is empty."""
    sizes = np.maximum(np.bincount(codes, minlength=groups), 1)
    sums = [np.bincount(codes, column.astype(np.float64), groups) for column in values.T]
    means: Floats = np.stack(sums, 1) / sizes[:, None]
    return means


def _changed(case: Case, groups: _Groups, settings: Settings) -> _Change:
    shape = groups.values.shape
    small = groups.sizes < settings.rows
    p_values, change, before = np.ones(shape), np.zeros(shape), np.full(shape, np.nan)
    for column, measure in enumerate(groups.measures):
        earlier = case.history.series(RULE, groups.kind, groups.names, measure, groups.sizes)
        earlier[:, small] = np.nan
        now = groups.values[:, column]
        if groups.looks[column]:
            now, earlier = _own(now, earlier)
        scale, floor = groups.scales[column], _FLOOR_LOOKS if groups.looks[column] else _FLOOR_SHARE
        seen = moved(now / scale, earlier / scale, floor=floor)
        p_values[:, column], change[:, column] = seen.p_values, seen.change
        before[:, column] = seen.before
    known = ~np.isnan(before)
    # The many looks are one family, and each share is one: what is rare is not drowned by them.
    given = np.where(known, p_values, np.nan)
    looked = cauchy(given[:, groups.looks])
    unseen = ~known[:, groups.looks].any(1)
    families = np.column_stack([np.where(unseen, np.nan, looked), given[:, ~groups.looks]])
    fused = cauchy(families)
    judged = int(known.any(1).sum())
    return _Change(
        groups=groups, p_values=p_values, change=change, before=before, fused=fused, judged=judged
    )


def _own(now: Floats, earlier: Floats) -> tuple[Floats, Floats]:
    """Values less what the middle group shows: what all classes moved by is `drift`'s business.

    Only over groups that have every earlier version, or the middle would move with who is there.
    """
    whole = ~np.isnan(earlier).any(0) if len(earlier) else np.zeros(len(now), np.bool_)
    if whole.sum() < 3:
        return now, earlier
    middle = np.median(now[whole] - earlier[:, whole].mean(0))
    usual = np.median(earlier[:, whole] - earlier[:, whole].mean(0), axis=1)
    return now - middle, earlier - usual[:, None]


def _strongest(change: _Change, group: int, settings: Settings) -> int | None:
    """The measure that moved most surely among those that moved enough; None if none did."""
    groups, moves = change.groups, change.change[group]
    before = np.nan_to_num(change.before[group])
    share = (moves >= settings.rate) & (before + moves >= settings.ratio * before)
    enough = np.where(groups.looks, np.abs(moves) >= settings.change, share)
    family = np.where(groups.looks, groups.looks.sum(), 1)
    own = change.p_values[group] * family <= settings.alpha
    able = np.flatnonzero(enough & own & ~np.isnan(change.before[group]))
    return int(able[np.argmin(change.p_values[group][able])]) if len(able) else None


def _finding(change: _Change, group: int, measure: int, p_value: float) -> Finding:
    groups, moves = change.groups, change.change[group]
    name, kind = groups.names[group], groups.kind
    if groups.looks[measure]:
        what = (
            f"how the pictures of {kind} {name} look moved by {abs(moves[measure]):.2f} standard "
            "deviations of a row against the other classes"
        )
    else:
        before = change.before[group, measure]
        label = groups.measures[measure].split(" ")[0]
        what = (
            f"rows of {kind} {name} whose label is {label} with what the row shows rose from "
            f"{before:.1%} to {before + moves[measure]:.1%}"
        )
    return Finding(
        rule=RULE,
        code="moved-class" if kind == "class" else "moved-source",
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind=kind, name=name),
        summary=f"{what}, beyond what it moved by between earlier admitted versions",
        evidence=(
            Evidence(
                statistic=f"change of {groups.measures[measure]} from the earlier versions",
                value=round(float(moves[measure]), 5),
                p_value=p_value,
                effect=round(float(moves[measure]), 5),
                sample=int(groups.sizes[group]),
                detail={"p_value_alone": float(change.p_values[group, measure])},
            ),
        ),
        remedy="Ask the source what changed in this class; compare the held rows with those of the "
        "last admitted version before training on them.",
    )


def _rows(case: Case, change: _Change, group: int, settings: Settings) -> list[RowScore]:
    """Rows of a class that lie far out along what moved; shares hold the rows they count."""
    groups = change.groups
    if groups.kind != "class" or not groups.looks.any():
        return []
    features = case.image_features
    scores = _along(features, change, group, settings)
    inside = np.flatnonzero((features.labels == group) & (scores >= settings.near))
    ranked = inside[np.argsort(-scores[inside], kind="stable")][: settings.max_rows]
    return [
        RowScore(
            row=int(features.rows[row]),
            score=round(float(scores[row]), 4),
            suggested_label=features.suggested(int(row)),
            reason=f"looks like what is new in {features.classes[group]}",
        )
        for row in ranked
    ]


def _along(features: ImageFeatures, change: _Change, group: int, settings: Settings) -> Floats:
    """How far each row lies from its class's past along the measures that moved, (n,).

    In standard deviations of the rows of all other classes around their own means; a discriminant
    of the change under their covariance, ridge a tenth of its mean variance.
    """
    groups = change.groups
    moved_most = groups.looks & (change.p_values[group] * len(groups.measures) <= settings.alpha)
    if not moved_most.any():
        return np.zeros(len(features.labels))
    columns = np.flatnonzero(moved_most)
    unit = looks(features.pixels)[:, columns].astype(np.float64) / groups.scales[columns]
    means = groups.values[:, columns] / groups.scales[columns]
    residual = unit - means[features.labels]
    others = residual[features.labels != group]
    spread = np.atleast_2d(np.cov(others.T)) + 0.1 * np.eye(len(columns))
    weight = np.linalg.solve(spread, change.change[group, columns])
    past = means[group] - change.change[group, columns]
    scores: Floats = (unit - past) @ weight / max(float((others @ weight).std()), 1e-12)
    return scores


def _statistics(
    case: Case, changes: Sequence[_Change], corrected: Sequence[Floats]
) -> dict[str, Any]:
    judged = sum(change.judged for change in changes)
    short = len(case.history.versions) < LEAST
    told = f"; at least {LEAST} earlier versions are needed, so nothing was judged" if short else ""
    return {
        "versions": len(case.history.versions),
        "note": case.history.note + told,
        "judged": judged,
        "groups": {
            change.groups.kind: {
                name: {
                    "p_value": float(p_values[g]),
                    "largest_change": round(float(np.abs(change.change[g]).max()), 5),
                }
                for g, name in enumerate(change.groups.names)
                if not np.isnan(change.before[g]).all()
            }
            for change, p_values in zip(changes, corrected, strict=True)
        },
        "watched": {change.groups.kind: _watched(change.groups) for change in changes},
    }


def _watched(groups: _Groups) -> dict[str, dict[str, float]]:
    """What the next version's scan is held against."""
    return {
        name: {
            "rows": float(groups.sizes[g]),
            **{
                m: round(float(v), 6)
                for m, v in zip(groups.measures, groups.values[g], strict=True)
            },
        }
        for g, name in enumerate(groups.names)
    }
