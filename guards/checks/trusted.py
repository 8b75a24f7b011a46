"""Which rows are more suspicious than rows that somebody checked would ever be?

Scanned and trusted rows are scored symmetrically (:mod:`guards.data.symmetric`) and each scanned
row gets a conformal p-value against the trusted ones (:mod:`guards.numerics.conformal`), for each
kind of suspicion: a *wrong label*, denied by everything that looks at the row, and, for pictures, a
*planted* one, denied by its looks and believed by the probe. Benjamini and Hochberg's step-up at
`q`, shared over the kinds, picks the rows.

No p-value lies below 1/(m + 1), so to find R = `poison_rate` n rows takes m >= n/(q R) - 1 trusted
ones; with fewer the rule says so and is Skipped, never silently blind.

Rows alone never alarm: every honest data set has wrong labels, and rows that somebody checked have
fewer. A class must hold more of the picked rows than its trusted rows would (beta-binomial), and
`lift` times the rate of the other classes. Then it is HIGH for planted rows, MEDIUM for labels.

Measured: p-values uniform on exchangeable rows, and not where the scorer saw one kind alone
(tests/unit/numerics/test_conformal.py, simulated); tables drawn in the tests. Its power on real
attacks on pictures was not measured yet, so the default policy does not require it.

Known ways around it: trusted rows that are poisoned themselves, or drawn from elsewhere than the
data (then everything new is suspicious); poison in equal parts in every class; clean-label poison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.data.symmetric import Scored, score
from guards.errors import Skip
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.numerics.conformal import benjamini_hochberg, conformal_p_values, rows_needed
from guards.numerics.enrichment import enriched

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

NEEDS = frozenset({"label"})
RULE = "trusted"
_CODES = {"planted": "believed-but-denied", "wrong": "contradicted-labels"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`q` is the share of clean rows among those picked; `poison_rate` what must be findable.

    A class alarms at level `alpha` over all classes and kinds, with `rows` picked rows, `rate` of
    the class, and `lift` times the rate of the other classes.
    """

    alpha: float = 0.01
    q: float = 0.05
    poison_rate: float = 0.01
    rows: int = 8
    rate: float = 0.02
    lift: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picked:
    """One kind of suspicion: p-values and choice over the scanned rows, and the classes' test."""

    kind: str
    p_values: Floats
    picked: Bools
    hits: npt.NDArray[np.int64]
    lifts: Floats
    class_p: Floats


def examine(case: Case, settings: Settings) -> Measured:
    """Give every row a p-value against the trusted ones; alarm where those picked concentrate."""
    if case.trusted is None:
        raise Skip("no trusted rows were given; --trusted-rows names some, signed or pinned")
    kinds = 2 if case.roles.image else 1
    _powerful(case.trusted.rows, case.dataset.rows, kinds, settings)
    scored = score(case)
    theirs, rows = scored.trusted, int((~scored.trusted).sum())
    _powerful(int(theirs.sum()), rows, kinds, settings)
    picks = [_pick(scored, kind, settings) for kind in scored.scores]
    alarming = {pick.kind: _alarming(scored, pick, settings, len(picks)) for pick in picks}
    return Measured(
        statistics=_statistics(scored, picks, settings),
        findings=tuple(
            _finding(scored, pick, int(group), settings)
            for pick in picks
            for group in np.flatnonzero(alarming[pick.kind])
        ),
        row_scores=_row_scores(scored, picks, alarming),
    )


def _powerful(trusted: int, rows: int, kinds: int, settings: Settings) -> None:
    """Skip below the power floor."""
    found = max(1, int(settings.poison_rate * rows))
    needed = rows_needed(rows, found, settings.q / kinds)
    if trusted < needed:
        raise Skip(
            f"too few trusted rows: {trusted} of {needed} needed to find {found} planted rows "
            f"among {rows} at q = {settings.q / kinds:g}"
        )


def _pick(scored: Scored, kind: str, settings: Settings) -> _Picked:
    scores, theirs, k = scored.scores[kind], scored.trusted, len(scored.classes)
    p_values = conformal_p_values(scores[~theirs], scores[theirs])
    picked = benjamini_hochberg(p_values, settings.q / len(scored.scores))
    labels = scored.labels[~theirs]
    sizes, hits = np.bincount(labels, minlength=k), np.bincount(labels[picked], minlength=k)
    # The rate of trusted rows of each class that would have been picked: some classes are harder.
    limit = scores[~theirs][picked].min() if picked.any() else np.inf
    known = np.bincount(scored.labels[theirs], minlength=k)
    beyond = np.bincount(scored.labels[theirs & (scores >= limit)], minlength=k)
    base = (beyond + 0.5) / (known + 1)
    class_p, _ = enriched(hits, sizes, base=base)
    others = (hits.sum() - hits + 0.5) / (sizes.sum() - sizes + 1)
    return _Picked(
        kind=kind,
        p_values=p_values,
        picked=picked,
        hits=hits,
        lifts=hits / np.maximum(sizes, 1) / np.maximum(others, base),
        class_p=class_p,
    )


def _alarming(scored: Scored, pick: _Picked, settings: Settings, kinds: int) -> Bools:
    sizes = np.bincount(scored.labels[~scored.trusted], minlength=len(scored.classes))
    bad: Bools = (
        (pick.hits >= settings.rows)
        & (pick.hits >= settings.rate * sizes)
        & (pick.lifts >= settings.lift)
        & (pick.class_p * len(scored.classes) * kinds <= settings.alpha)
    )
    return bad


def _finding(scored: Scored, pick: _Picked, group: int, settings: Settings) -> Finding:
    name, hits = scored.classes[group], int(pick.hits[group])
    planted = pick.kind == "planted"
    meaning = (
        "look like other classes and are learnt from the others all the same: a backdoor"
        if planted
        else "are contradicted by everything that looks at them: wrong labels"
    )
    return Finding(
        rule=RULE,
        code=_CODES[pick.kind],
        severity=Severity.HIGH if planted else Severity.MEDIUM,
        confidence=Confidence.HIGH,
        subject=Subject(kind="class", name=name),
        summary=f"{hits} rows labelled {name} {meaning}; beside the trusted rows at most "
        f"{settings.q:.0%} of those picked are clean, and other classes have "
        f"{pick.lifts[group]:.1f} times fewer",
        evidence=(
            Evidence(
                statistic="rows picked at a false discovery rate against trusted rows, by class",
                value=hits,
                p_value=float(pick.class_p[group]),
                effect=round(float(pick.lifts[group]), 2),
                sample=int((~scored.trusted).sum()),
                rows=hits,
                detail={"trusted": int(scored.trusted.sum()), "q": settings.q, "kind": pick.kind},
            ),
        ),
        remedy="Do not train on this batch before the held rows have been explained.",
    )


def _row_scores(
    scored: Scored, picks: list[_Picked], alarming: Mapping[str, Bools]
) -> tuple[RowScore, ...]:
    """The picked rows of the classes that alarmed, each once, with the smaller p-value."""
    rows, labels = scored.rows[~scored.trusted], scored.labels[~scored.trusted]
    best: dict[int, tuple[float, str]] = {}
    for pick in picks:
        for place in np.flatnonzero(pick.picked & alarming[pick.kind][labels]).tolist():
            here = (float(pick.p_values[place]), pick.kind)
            best[place] = min(best.get(place, here), here)
    return tuple(
        RowScore(
            row=int(rows[place]),
            score=round(1 - p_value, 6),
            p_value=p_value,
            reason=f"{kind.replace('-', ' ')}, beside trusted rows",
        )
        for place, (p_value, kind) in sorted(best.items())
    )


def _statistics(scored: Scored, picks: list[_Picked], settings: Settings) -> dict[str, Any]:
    m, n = int(scored.trusted.sum()), int((~scored.trusted).sum())
    level = settings.q / len(picks)
    return {
        "trusted": m,
        "rows": n,
        "least_p_value": 1 / (m + 1),
        # What no number of planted rows below could ever make the step-up pick.
        "least_poison_rate": round(1 / (level * (m + 1)), 6),
        "kinds": {
            pick.kind: {
                "picked": int(pick.picked.sum()),
                "below_a_twentieth": round(float((pick.p_values <= 0.05).mean()), 5),
                "classes": {
                    name: {"picked": int(pick.hits[c]), "lift": round(float(pick.lifts[c]), 2)}
                    for c, name in enumerate(scored.classes)
                },
            }
            for pick in picks
        },
    }
