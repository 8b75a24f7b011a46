"""Which labels does a model that did not see them contradict, and how many are wrong in all?

Formula: confident learning (Northcutt, Jiang and Chuang 2021) on out-of-fold probabilities of five
gradient boosting models; see :mod:`guards.numerics.confidence`. Rows are ranked by how far the best
other class is above the given one. The rate comes with a bootstrap interval that is model-based: it
covers sampling, not the model's own errors. Where trusted rows bear the ids of rows of the data,
their labels override the given ones: the rate and its interval then rest on what those show, among
contradicted rows and others apart (:mod:`guards.numerics.relabels`), and not on the model.

Measured: tests/unit/numerics/test_confidence.py holds the flags against cleanlab's default rule and
a slow obvious version of it; benchmarks/figures.py what they cost. On clean flights a few in a
hundred labels are contradicted (`make demo` shows it), which is what the features cannot tell, not
what is wrong.

It never alarms: every honest data set has labels that a model contradicts, and no absolute rate
is wrong in itself. Its change (rule `drift`) and its concentration (rule `sources`) are what
alarm. The known way around it: wrong labels that the features agree with, or so many of one kind
that the model learns them; trusted rows that were kept because they are right, which look as if
nothing were wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from guards.data.table_features import TableFeatures

NEEDS = frozenset({"label", "feature"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How many rows are listed, the most contradicted first."""

    max_rows: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """Every row's standing; (n,) each. `anew` is the label of somebody who checked it, or null.

    `denied` rows are contradicted by the model; `wrong` ones have another label than the checked
    one; `doubted` ones are wrong, or contradicted and not checked.
    """

    features: TableFeatures
    margins: np.ndarray[Any, Any]
    denied: np.ndarray[Any, Any]
    anew: pl.Series
    checked: np.ndarray[Any, Any]
    wrong: np.ndarray[Any, Any]

    @property
    def doubted(self) -> np.ndarray[Any, Any]:
        """Rows that are listed."""
        listed: np.ndarray[Any, Any] = self.wrong | (self.denied & ~self.checked)
        return listed


def examine(case: Case, settings: Settings) -> Measured:
    """Estimate the share of wrong labels and rank the rows that are likely to be."""
    import numpy as np

    judged = _judge(case)
    places = np.flatnonzero(judged.doubted)
    surely = judged.wrong[places]
    ranked = places[np.lexsort([-judged.margins[places], ~surely])]
    statistics = _statistics(case, judged)
    return Measured(
        statistics=statistics,
        findings=(_finding(statistics),) if len(places) else (),
        row_scores=tuple(_row_scores(judged, ranked[: settings.max_rows])),
    )


def _judge(case: Case) -> _Judged:
    import polars as pl

    from guards.data.labelled import checked_labels
    from guards.numerics.confidence import label_issues, normalized_margin

    features = case.table_features
    labels, probabilities = features.labels, features.probabilities
    anew = checked_labels(case.dataset, case.trusted, features.rows)
    given = pl.Series(features.classes, dtype=pl.String)[labels]
    return _Judged(
        features=features,
        margins=normalized_margin(labels, probabilities),
        denied=label_issues(labels, probabilities),
        anew=anew,
        checked=anew.is_not_null().to_numpy(),
        wrong=(anew != given).fill_null(False).to_numpy(),
    )


def _statistics(case: Case, judged: _Judged) -> dict[str, Any]:
    from guards.numerics.confidence import noise_rate
    from guards.numerics.relabels import wrong_share

    features = judged.features
    rate = wrong_share(judged.denied.astype(int), judged.checked, judged.wrong)
    kind = "checked rows, contradicted and other ones apart: Clopper-Pearson"
    if rate is None:
        rate = noise_rate(features.labels, features.probabilities, seed=case.seed)
        kind = "model-based: bootstrap of the confident counts"
    return {
        "rows": len(features.labels),
        "flagged": int(judged.doubted.sum()),
        "rate": round(rate[0], 5),
        "interval": [round(rate[1], 5), round(rate[2], 5)],
        "interval_kind": kind,
        "checked": int(judged.checked.sum()),
        "checked_wrong": int(judged.wrong.sum()),
        "unlabelled": features.unlabelled,
        "too_small": [list(item) for item in features.too_small],
        "classes": _by_class(features, judged.doubted),
        "sources": _by_source(case, features, judged.doubted),
    }


def _by_class(features: TableFeatures, flagged: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    import numpy as np

    rows = np.bincount(features.labels, minlength=len(features.classes))
    hits = np.bincount(features.labels[flagged], minlength=len(features.classes))
    return [
        {"class": name, "rows": int(n), "flagged": int(h), "rate": round(float(h / n), 5)}
        for name, n, h in zip(features.classes, rows, hits, strict=True)
    ]


def _by_source(
    case: Case, features: TableFeatures, flagged: np.ndarray[Any, Any]
) -> list[dict[str, Any]]:
    import polars as pl

    column = case.dataset.roles.source
    if column is None:
        return []
    sources = case.dataset.frame([column]).to_series().cast(pl.String)[features.rows]
    table = pl.DataFrame({"source": sources, "flagged": flagged})
    counted = table.group_by("source").agg(rows=pl.len(), flagged=pl.col("flagged").sum())
    ordered = counted.sort(["rows", "source"], descending=[True, False]).head(200)
    return [
        {"source": name, "rows": rows, "flagged": hits, "rate": round(hits / rows, 5)}
        for name, rows, hits in ordered.iter_rows()
    ]


def _row_scores(judged: _Judged, places: np.ndarray[Any, Any]) -> list[RowScore]:
    """Those that somebody found wrong come with score 1 and the label of the check."""
    features = judged.features
    likely = features.probabilities[places].argmax(axis=1)
    return [
        RowScore(
            row=int(features.rows[place]),
            score=1.0 if judged.wrong[place] else round(float(judged.margins[place]), 5),
            suggested_label=judged.anew[place] or features.classes[guess],
            reason="a trusted row says otherwise"
            if judged.wrong[place]
            else "the features say otherwise",
        )
        for place, guess in zip(places.tolist(), likely, strict=True)
    ]


def _finding(statistics: dict[str, Any]) -> Finding:
    low, high = statistics["interval"]
    checked = statistics["checked"] if statistics["interval_kind"].startswith("checked") else 0
    by = "the features, or by trusted rows" if statistics["checked_wrong"] else "the features"
    base = f"by {checked} checked rows" if checked else "by a model"
    return Finding(
        rule="labels",
        code="label-issues",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="rows"),
        summary=f"{statistics['flagged']} of {statistics['rows']} labels are contradicted by "
        f"{by}; about {statistics['rate']:.1%} are wrong "
        f"({low:.1%} to {high:.1%}, {base})",
        evidence=(
            Evidence(
                statistic="share of wrong labels",
                value=statistics["rate"],
                sample=statistics["rows"],
                rows=statistics["flagged"],
                detail={"interval": [low, high]},
            ),
        ),
        remedy="look at the rows of highest score first",
    )
