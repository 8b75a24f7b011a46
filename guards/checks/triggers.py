"""Does something in the picture, or its source, decide the label against what the picture shows?

Rows are *turned* when hardly any neighbour in a label-free space bears their label. For every
small window of pixels at every place, and for every target label T, the turn rate is

    turned rows labelled T in the cell / rows in the cell that do not look like T

A trigger turns nearly all rows that carry it; nothing natural does. The tail is beta-binomial,
its dispersion that of the peer cells, corrected over all cells, and a minimum rate and lift stand
beside it (label inconsistency and cell enrichment; the trigger model is Gu et al. 2017,
arXiv:1708.06733). The same is asked of every source, and of every class. From the rows of the
cell a ridge discriminant, out of fold, finds the rows of that class that the cell missed.

What tells a backdoor from label noise is the probe: it *believes* planted labels (mean
probability above .8 in the second half of a short training) and not flipped ones.

Measured by benchmarks/detection.py on class-balanced subsamples of Fashion-MNIST, 6,000 rows,
lossless, 5 seeds a line, none of them used for tuning, target and rows drawn by the seed, planted
rows written with one of five sources; attack success is that of the probe:

    attack       rate   success   BLOCK  target  source   planted rows held   clean rows held
    patch 3 x 3  2 %      .99      5/5    5/5     5/5           1.00              .0000
    patch 3 x 3  1 %      .95      5/5    5/5     5/5           1.00              .0000
    patch 3 x 3  .5 %     .47      5/5    5/5     5/5           1.00              .0001
    blend .2     2 %      .98      5/5    5/5     5/5           1.00              .0000
    blend .2     1 %      .88      5/5    5/5     5/5           1.00              .0001
    blend .2     .5 %     .64      5/5    5/5     5/5           1.00              .0004

At .5 % the attack implanted (success of .5 or more) in 3 of 5 patch runs and 4 of 5 blends.
Flips to one class, 2 %: QUARANTINE 5/5, .53 of the rows held; from one source: 5/5, source named
5/5, .83 held; uniform flips from one source: 1/5, weak; uniform flips from all sources: 0/5, on
purpose, as a rate alone never decides. Clean: 0 alarms of the three rules in 20 balanced
subsamples and 10 of 3,000 rows with classes of 7 to 1,116 rows (95 %: below 10 %, the subsamples
overlap). In eight clean subsamples the highest turn rate of any cell with 6 turned rows was .15.
On CIFAR-10 (6,000 rows, one seed each): clean 0 of 3; patch 2 % BLOCK, all rows held; blend 2 %
BLOCK, .12 of the rows held; the planted rows were not compressed again.

Known ways around it: a trigger without a fixed place or exact grey levels (warps, reflections,
blends that JPEG has changed) leaves no cell; so many carriers that keep their own label that the
turn rate falls below a half (cover rows); labels that are right (clean-label); photographs, on
which the label-free space is weak; a source's flips spread evenly over all sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.findings import (
    Confidence,
    Evidence,
    Finding,
    Measured,
    RowScore,
    Severity,
    Subject,
)
from guards.gathering import source_of
from guards.numerics import discriminant, patches
from guards.numerics.enrichment import beta_binomial_tail, dispersion, enriched
from guards.numerics.intervals import empirical, estimated

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.image_features import ImageFeatures

    Ints = npt.NDArray[np.int64]
    Codes = npt.NDArray[np.integer[Any]]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

NEEDS = frozenset({"image", "label"})
RULE = "triggers"
_REMEDY = (
    "Do not train on this batch, and do not merely drop the rows found: ask the source where they "
    "came from, and scan everything else it delivered. The rows are in rows.parquet."
)
_RELABEL = "Have the held rows labelled again; rows.parquet says what they look like."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Significance and effect must both be there.

    `alpha` is the corrected p-value. A cell needs `turned` turned rows, a turn rate of `rate`,
    `lift` times the rate elsewhere, and of its rows that bear the label `share` must be turned. A
    source or class needs `turned` rows more than its peers' rate gives, `source_lift` times their
    rate; a class `class_lift` times and `class_rate` of its rows, and as classes have no peers
    that are like them, its p-value need only be `class_alpha`. Rows that lie `near` robust
    deviations towards the cell's in the probe's features are held with them.
    """

    alpha: float = 1e-3
    turned: int = 8
    rate: float = 0.5
    lift: float = 5.0
    share: float = 0.3
    source_lift: float = 3.0
    class_alpha: float = 0.05
    class_rate: float = 0.05
    class_lift: float = 5.0
    near: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One target class and what turns rows to it.

    `cells` are the cells with most turned rows, columns :data:`patches.COLUMNS`; `rows` (m,)
    index the features; `scores` (m,) in [0, 1] say how surely each row is one of them, `p_rows`
    (m,) how rarely a row of another class scores as high.
    """

    target: int
    cells: Ints
    p_value: float
    lift: float
    box: tuple[int, int, int, int]
    rows: Ints
    scores: Floats
    p_rows: Floats
    spread: bool
    auc: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Significant cells, best first, with their corrected p-values and lifts."""

    cells: Ints
    p_values: Floats
    lifts: Floats

    def only(self, which: Bools) -> _Found:
        """Those of one target."""
        return _Found(
            cells=self.cells[which], p_values=self.p_values[which], lifts=self.lifts[which]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A group (a source, or a source's rows of one label) with more suspects than its peers."""

    group: int
    target: int | None
    hits: int
    size: int
    lift: float
    p_value: float
    believed: float
    rows: Ints = field(repr=False)
    p_rows: Floats = field(repr=False)


def examine(case: Case, settings: Settings) -> Measured:
    """Look for triggers; then for sources and classes whose labels contradict the pictures."""
    features = case.image_features
    grey = _grey(features.pixels)
    triggers, tested = _triggers(features, grey, settings)
    targets = {trigger.target for trigger in triggers}
    planted = np.isin(np.arange(len(grey)), _joined([t.rows for t in triggers]))
    sources = _source_excess(features, planted, settings)
    noisy = _class_excess(features, planted, targets, settings)
    findings = [
        *(_trigger_finding(features, trigger) for trigger in triggers),
        *(_source_finding(features, excess) for excess in sources),
        *(_class_finding(features, excess) for excess in noisy),
    ]
    return Measured(
        statistics=_statistics(features, triggers, sources, noisy, tested),
        findings=tuple(findings),
        row_scores=_row_scores(features, triggers, [*sources, *noisy]),
    )


def _grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(n, H, W): the mean over channels, each side cut by a whole factor to at most 64."""
    height, width = pixels.shape[2:]
    step = max(-(-height // 64), -(-width // 64), 1)
    tall, wide = height // step * step, width // step * step
    small = pixels[:, :, :tall, :wide].astype(np.float32).mean(1)
    small = small.reshape(len(pixels), tall // step, step, wide // step, step).mean((2, 4))
    whole: npt.NDArray[np.uint8] = np.rint(small).astype(np.uint8)
    return whole


def _triggers(
    features: ImageFeatures, grey: npt.NDArray[np.uint8], settings: Settings
) -> tuple[list[Trigger], int]:
    """The triggers, one a target class, and how many cells were tested."""
    codes = patches.windows(grey)
    table = patches.turn_rates(
        codes, features.labels, features.looks, features.inconsistent, least=settings.turned
    )
    found = _significant(features, codes, table, settings)
    goals = dict.fromkeys(found.cells[:, 3].tolist())
    chosen = [found.only(found.cells[:, 3] == goal) for goal in goals]
    return [_trigger(features, grey, codes, mine, settings) for mine in chosen], len(table)


def _significant(features: ImageFeatures, codes: Codes, table: Ints, settings: Settings) -> _Found:
    """The cells that a trigger explains and nothing natural, the most surprising one first."""
    target, rows, hits = table[:, 3], table[:, 4], table[:, 5]
    base, rho = _peers(features, features.inconsistent, target, rows, hits)
    rate = hits / np.maximum(rows, 1)
    strong = (hits >= settings.turned) & (rate >= settings.rate) & (rate >= settings.lift * base)
    p_values = np.ones(len(table))
    for cell in np.flatnonzero(strong):
        tail = beta_binomial_tail(hits[cell], rows[cell], base[cell], rho)
        p_values[cell] = min(1.0, tail * len(table))
        bearing = (codes[:, table[cell, 0], table[cell, 1]] == table[cell, 2]) & (
            features.labels == target[cell]
        )
        strong[cell] = hits[cell] >= settings.share * bearing.sum()
    found = np.flatnonzero(strong & (p_values <= settings.alpha))
    # By the log likelihood ratio of its rate to its base rate, roughly.
    found = found[np.argsort(-(hits * np.log(rate / base + 1e-12))[found], kind="stable")]
    return _Found(cells=table[found], p_values=p_values[found], lifts=(rate / base)[found])


def _peers(
    features: ImageFeatures, turned: Bools, target: Ints, rows: Ints, hits: Ints
) -> tuple[Floats, float]:
    """The turn rate of each cell's target outside the cell, and the dispersion between cells.

    The dispersion is the median over targets: a trigger inflates that of its own target only.
    """
    k = len(features.classes)
    all_hits = np.bincount(features.labels, turned, k)
    alike = np.bincount(features.looks, ~(turned & (features.looks == features.labels)), k)
    all_rows = len(features.labels) - alike
    base = (all_hits[target] - hits + 0.5) / (all_rows[target] - rows + 1)
    overall = all_hits / np.maximum(all_rows, 1)
    each = [
        dispersion(hits[target == t], rows[target == t], np.full((target == t).sum(), overall[t]))
        for t in range(k)
    ]
    return np.clip(base, 1e-6, 1 - 1e-6), max(float(np.median(each)), 0.01)


def _trigger(
    features: ImageFeatures,
    grey: npt.NDArray[np.uint8],
    codes: Codes,
    found: _Found,
    settings: Settings,
) -> Trigger:
    """Name the rows and the region of the trigger that the cells found belong to."""
    cells = found.cells
    goal = int(cells[0, 3])
    members = features.labels == goal
    core = cells[cells[:, 5] * 2 >= cells[:, 5].max()]
    fullest = cells[cells[:, 5] >= 0.9 * cells[:, 5].max()]
    carries = np.maximum(patches.carried(codes, fullest) > 0, patches.carried(codes, core))
    seeds = members & (carries >= 0.5)
    near, auc = _near(features, seeds, members, settings)
    rows = np.flatnonzero(seeds | near)
    top, left, height, width = patches.box(
        grey[seeds & features.inconsistent], grey[~seeds], (int(cells[0, 0]), int(cells[0, 1]))
    )
    step = max(features.pixels.shape[2] // grey.shape[1], 1)
    # Both must be there: natural rows carry the pattern, or belie their label, seldom both.
    scores = (carries + 1.0 - features.share) / 2
    return Trigger(
        target=goal,
        cells=core,
        p_value=float(found.p_values[0]),
        lift=float(found.lifts[0]),
        box=(top * step, left * step, height * step, width * step),
        rows=rows,
        scores=scores[rows],
        p_rows=empirical(scores[rows], scores[~members]),
        spread=height * width * 4 > grey.shape[1] * grey.shape[2],
        auc=auc,
    )


def _near(
    features: ImageFeatures, seeds: Bools, members: Bools, settings: Settings
) -> tuple[Bools, float]:
    """Rows of the class like the seeds to the probe, and unlike the class to the embedding."""
    inside = np.flatnonzero(members)
    found = np.zeros(len(members), np.bool_)
    if min(seeds.sum(), (members & ~seeds).sum()) < discriminant.FOLDS:
        return found, 0.5
    rng = np.random.default_rng([features.seed, 3])
    scores = discriminant.seed_scores(features.layers[-1][inside], seeds[inside], rng)
    # A few seeds make a wide cloud: whoever joins must lie as far out as half of them.
    found[inside] = scores > max(settings.near, float(np.median(scores[seeds[inside]])))
    return found & (features.share < 0.5), discriminant.area_under_curve(scores, seeds[inside])


def _source_excess(features: ImageFeatures, planted: Bools, settings: Settings) -> list[Excess]:
    """Sources with more turned rows than their peers, overall or towards one label.

    Rows of a trigger that was found are left out: they have been told.
    """
    if features.sources is None or len(features.source_names) < 2:
        return []
    turned, k = features.inconsistent & ~planted, len(features.classes)
    whole = _excess(features, features.sources, turned, ~planted, None, settings)
    towards = [
        _excess(
            features,
            features.sources,
            turned & (features.labels == goal),
            ~planted & ((features.looks != goal) | (turned & (features.labels == goal))),
            goal,
            settings,
        )
        for goal in range(k)
    ]
    # One label explains a source's excess when most of it lies there.
    narrow = [excess for found in towards for excess in found]
    told = {e.group for e in narrow for w in whole if w.group == e.group and 2 * e.hits > w.hits}
    return [*narrow, *(excess for excess in whole if excess.group not in told)]


def _class_excess(
    features: ImageFeatures, planted: Bools, triggered: set[int], settings: Settings
) -> list[Excess]:
    """Classes with too many rows that nobody believes and that all neighbours call another name.

    Classes in which a trigger was found are left out: their excess has been told.
    """
    denied = (
        features.inconsistent & (features.looks_share >= 0.8) & (features.belief < 0.2) & ~planted
    )
    own = replace(settings, alpha=settings.class_alpha)
    found = _excess(features, features.labels, denied, ~planted, None, own)
    return [
        excess
        for excess in found
        if excess.group not in triggered
        and excess.hits >= settings.class_rate * excess.size
        and excess.lift >= settings.class_lift
    ]


def _excess(
    features: ImageFeatures,
    groups: Ints,
    hits: Bools,
    among: Bools,
    goal: int | None,
    settings: Settings,
) -> list[Excess]:
    """Groups with too many `hits` among their rows, held against one another."""
    count = int(groups.max()) + 1
    found, sizes = np.bincount(groups, hits, count), np.bincount(groups, among, count)
    p_values, lifts = enriched(found, sizes)
    families = count * (1 if goal is None else len(features.classes))
    expected = found / np.maximum(lifts, 1e-9)
    alarming = (
        (p_values * families <= settings.alpha)
        & (lifts >= settings.source_lift)
        & (found - expected >= settings.turned)
    )
    return [
        Excess(
            group=int(group),
            target=goal,
            hits=int(found[group]),
            size=int(sizes[group]),
            lift=float(lifts[group]),
            p_value=float(min(1.0, p_values[group] * families)),
            believed=float(features.believed[(groups == group) & hits].mean()),
            rows=(rows := np.flatnonzero((groups == group) & hits)),
            p_rows=empirical(1 - features.share[rows], 1 - features.share[groups != group]),
        )
        for group in np.flatnonzero(alarming)
    ]


def _trigger_finding(features: ImageFeatures, trigger: Trigger) -> Finding:
    name, cell = features.classes[trigger.target], trigger.cells[0]
    where = (
        "spread over the whole picture"
        if trigger.spread
        else "in the {2} x {3} pixels from row {0}, column {1}".format(*trigger.box)
    )
    source = source_of(features.sources, features.source_names, trigger.rows)
    blame = f", {source['share']:.0%} of them from source {source['name']}" if source else ""
    rate = estimated(len(trigger.rows), len(features.labels))
    return Finding(
        rule=RULE,
        code="backdoor-trigger",
        severity=Severity.HIGH,
        confidence=Confidence.HIGH,
        subject=Subject(kind="class", name=name),
        summary=f"{len(trigger.rows)} rows labelled {name} carry one pattern, {where}{blame}, and "
        f"look like other classes: a backdoor that makes a model answer {name}",
        evidence=(
            Evidence(
                statistic="turn rate of the cell: share of the rows with this pattern that are "
                "labelled as the target though they do not look like it",
                value=round(float(cell[5] / cell[4]), 4),
                p_value=trigger.p_value,
                effect=round(trigger.lift, 2),
                sample=len(features.labels),
                rows=len(trigger.rows),
                detail={
                    "target": name,
                    "box": list(trigger.box),
                    "whole_picture": trigger.spread,
                    "cell": {"top": int(cell[0]), "left": int(cell[1]), "levels": _levels(cell)},
                    "source": source,
                    "poison_rate": rate,
                    "believed": round(float((features.belief[trigger.rows] > 0.5).mean()), 4),
                    "auc_in_probe_features": round(trigger.auc, 4),
                },
            ),
        ),
        remedy=_REMEDY,
    )


def _source_finding(features: ImageFeatures, excess: Excess) -> Finding:
    """A source whose wrong labels the probe believes is a backdoor, otherwise it is noise."""
    source = features.source_names[excess.group]
    planted = excess.believed >= 0.5
    goal = None if excess.target is None else features.classes[excess.target]
    towards = f" labelled {goal}" if goal else ""
    meaning = (
        "and a short training learns them all the same: a trigger without a fixed place"
        if planted
        else "and a short training does not learn them, as with wrong labels"
    )
    return Finding(
        rule=RULE,
        code="backdoor-trigger" if planted else "label-inconsistency",
        severity=Severity.HIGH if planted else Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="source", name=source),
        summary=f"{excess.hits} rows of source {source}{towards} do not look like their label, "
        f"{excess.lift:.1f} times what the other sources lead to expect, {meaning}",
        evidence=(_excess_evidence(excess, {"source": source, "target": goal}),),
        remedy=_REMEDY if planted else _RELABEL,
    )


def _class_finding(features: ImageFeatures, excess: Excess) -> Finding:
    name = features.classes[excess.group]
    return Finding(
        rule=RULE,
        code="label-inconsistency",
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="class", name=name),
        summary=f"{excess.hits} rows labelled {name} look unanimously like other classes, "
        f"{excess.lift:.1f} times the rate of the other classes, and a short training does not "
        "learn them, as with wrong labels",
        evidence=(_excess_evidence(excess, {"target": name}),),
        remedy=_RELABEL,
    )


def _excess_evidence(excess: Excess, detail: dict[str, Any]) -> Evidence:
    return Evidence(
        statistic="rows inconsistent with their label, over what the peers lead to expect",
        value=excess.hits,
        p_value=excess.p_value,
        effect=round(excess.lift, 2),
        sample=excess.size,
        rows=excess.hits,
        detail={**detail, "believed": round(excess.believed, 4)},
    )


def _source_name(features: ImageFeatures, trigger: Trigger) -> str | None:
    found = source_of(features.sources, features.source_names, trigger.rows)
    return str(found["name"]) if found else None


def _levels(cell: Ints) -> list[list[int]]:
    """The window of a cell as rows of quantised grey levels, 0 black to LEVELS - 1 white."""
    code, side = int(cell[2]), patches.SIDE
    flat = [code // patches.LEVELS**place % patches.LEVELS for place in range(side * side)][::-1]
    return [flat[start : start + side] for start in range(0, side * side, side)]


def _statistics(
    features: ImageFeatures,
    triggers: Sequence[Trigger],
    sources: Sequence[Excess],
    noisy: Sequence[Excess],
    tested: int,
) -> dict[str, Any]:
    k = len(features.classes)
    sizes = features.sizes
    inconsistent = np.bincount(features.labels, features.inconsistent, k)
    believed = np.bincount(features.labels, features.believed, k)
    return {
        "rows": len(features.labels),
        "probe_accuracy": round(features.accuracy, 4),
        "resemblance": round(features.resemblance, 4),
        "cells_tested": tested,
        "classes": {
            name: {
                "rows": int(sizes[c]),
                "inconsistent": round(float(inconsistent[c] / sizes[c]), 4),
                "believed_but_wrong": round(float(believed[c] / sizes[c]), 4),
            }
            for c, name in enumerate(features.classes)
        },
        "sources": _per_source(features),
        "triggers": [
            {
                "target": features.classes[t.target],
                "box": list(t.box),
                "rows": len(t.rows),
                "source": _source_name(features, t),
                "poison_rate": estimated(len(t.rows), len(features.labels)),
            }
            for t in triggers
        ],
        "sources_in_excess": [features.source_names[excess.group] for excess in sources],
        "classes_in_excess": [features.classes[excess.group] for excess in noisy],
    }


def _per_source(features: ImageFeatures) -> dict[str, float]:
    """The share of each source's rows that are inconsistent with their label."""
    if features.sources is None:
        return {}
    k = len(features.source_names)
    hits = np.bincount(features.sources, features.inconsistent, k)
    sizes = np.bincount(features.sources, minlength=k)
    rates = hits / np.maximum(sizes, 1)
    return {n: round(float(r), 4) for n, r in zip(features.source_names, rates, strict=True)}


def _row_scores(
    features: ImageFeatures, triggers: Sequence[Trigger], excesses: Sequence[Excess]
) -> tuple[RowScore, ...]:
    held: dict[int, tuple[float, float, str]] = {}
    for excess in excesses:
        for row, p_value in zip(excess.rows, excess.p_rows, strict=True):
            score = float(1 - features.share[row])
            held[int(row)] = (score, float(p_value), "looks like other classes")
    for trigger in triggers:
        reason = f"carries the trigger of {features.classes[trigger.target]}"
        for row, score, p_value in zip(trigger.rows, trigger.scores, trigger.p_rows, strict=True):
            held[int(row)] = (float(score), float(p_value), reason)
    return tuple(
        RowScore(
            row=int(features.rows[row]),
            score=round(score, 4),
            p_value=round(p_value, 6),
            suggested_label=features.suggested(row),
            reason=reason,
        )
        for row, (score, p_value, reason) in sorted(held.items())
    )


def _joined(rows: Sequence[Ints]) -> Ints:
    return np.concatenate(rows) if rows else np.zeros(0, np.int64)
