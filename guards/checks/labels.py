"""Which labels does a model that did not see them contradict, and how many are wrong in all?

Formula: confident learning (Northcutt, Jiang and Chuang 2021) on out-of-fold probabilities of five
gradient boosting models; see :mod:`guards.numerics.confidence`. The rate comes with a bootstrap
interval that is model-based: it covers sampling, not the model's own errors. Rows are ranked by
how far the best other class is above the given one.

Measured: tests/unit/numerics/test_confidence.py holds the flags against a slow obvious version of
cleanlab's default rule. On clean flights a few in a hundred labels are contradicted (`make demo`
shows it), which is what the features cannot tell, not what is wrong.

It never alarms: every honest data set has labels that a model contradicts, and no absolute rate
is wrong in itself. Its change (rule `drift`) and its concentration (rule `sources`) are what
alarm. The known way around it: wrong labels that the features agree with, or so many of one kind
that the model learns them.
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

    from guards.data.table_features import TableFeatures

NEEDS = frozenset({"label", "feature"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How many rows are listed, the most contradicted first."""

    max_rows: int = 1_000


def examine(case: Case, settings: Settings) -> Measured:
    """Estimate the share of wrong labels and rank the rows that are likely to be."""
    import numpy as np

    from guards.numerics.confidence import label_issues, noise_rate, normalized_margin

    features = case.table_features
    labels, probabilities = features.labels, features.probabilities
    flagged = label_issues(labels, probabilities)
    margins = normalized_margin(labels, probabilities)
    rate, low, high = noise_rate(labels, probabilities, seed=case.seed)
    places = np.flatnonzero(flagged)
    ranked = places[np.argsort(-margins[places], kind="stable")]
    statistics = {
        "rows": len(labels),
        "flagged": len(places),
        "rate": round(rate, 5),
        "interval": [round(low, 5), round(high, 5)],
        "interval_kind": "model-based: bootstrap of the confident counts",
        "unlabelled": features.unlabelled,
        "too_small": [list(item) for item in features.too_small],
        "classes": _by_class(features, flagged),
        "sources": _by_source(case, features, flagged),
    }
    return Measured(
        statistics=statistics,
        findings=(_finding(statistics),) if len(places) else (),
        row_scores=tuple(_row_scores(features, margins, ranked[: settings.max_rows])),
    )


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


def _row_scores(
    features: TableFeatures, margins: np.ndarray[Any, Any], places: np.ndarray[Any, Any]
) -> list[RowScore]:
    likely = features.probabilities[places].argmax(axis=1)
    return [
        RowScore(
            row=int(features.rows[place]),
            score=round(float(margins[place]), 5),
            suggested_label=features.classes[guess],
            reason="the features say otherwise",
        )
        for place, guess in zip(places, likely, strict=True)
    ]


def _finding(statistics: dict[str, Any]) -> Finding:
    low, high = statistics["interval"]
    return Finding(
        rule="labels",
        code="label-issues",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="rows"),
        summary=f"{statistics['flagged']} of {statistics['rows']} labels are contradicted by the "
        f"features; about {statistics['rate']:.1%} are wrong ({low:.1%} to {high:.1%}, "
        "model-based)",
        evidence=(
            Evidence(
                statistic="confident-learning noise rate",
                value=statistics["rate"],
                sample=statistics["rows"],
                rows=statistics["flagged"],
                detail={"interval": [low, high]},
            ),
        ),
        remedy="look at the rows of highest score first",
    )
