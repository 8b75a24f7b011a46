"""Which labels does a model that did not see them contradict, and how many are wrong in all?

Formula: confident learning (Northcutt, Jiang and Chuang 2021) on out-of-fold probabilities of five
gradient boosting models, of many labels of :mod:`guards.numerics.many_classes`; see
:mod:`guards.numerics.confidence`. The rows that it contradicts are listed in the order of the mean
of three ranks: how unsure the models are of the label, how far the best other class is above it,
and how many of the rows nearest in the columns have another label
(:mod:`guards.numerics.label_ranks`), which errs in other ways than a model. Where there are more
rows than neighbours are sought among (:mod:`guards.data.row_space`), the first two decide.

The rate comes with a bootstrap interval that is model-based: it covers sampling, not the model's
own errors. Where trusted rows bear the ids of rows of the data, their labels override the given
ones: the rate and its interval then rest on what those show, among contradicted rows and others
apart (:mod:`guards.numerics.relabels`), and not on the model.

Measured: tests/unit/numerics/test_confidence.py holds the flags against cleanlab's default rule and
a slow obvious version of it; benchmarks/statistics.py what they cost, benchmarks/label_ranks.py
what the order is worth, benchmarks/many_labels.py what is found among up to ten thousand labels.
On clean flights a few in a hundred labels are contradicted (`make demo` shows it), which is what
the features cannot tell, not what is wrong.

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
from guards.data.wide import unmodelled
from guards.data.words import words_of
from guards.errors import Skip
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

NEEDS = frozenset({"label"})
_TOLD = 200  # labels, and sources, that the statistics tell of


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
    denied: np.ndarray[Any, Any]
    anew: pl.Series
    checked: np.ndarray[Any, Any]
    wrong: np.ndarray[Any, Any]

    @property
    def doubted(self) -> np.ndarray[Any, Any]:
        """Rows that are listed."""
        listed: np.ndarray[Any, Any] = self.wrong | (self.denied & ~self.checked)
        return listed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Listed:
    """The doubted rows in order, (m,) each: their places, mean ranks, and votes, if any."""

    places: np.ndarray[Any, Any]
    ranks: np.ndarray[Any, Any]
    votes: np.ndarray[Any, Any] | None


def inapplicable(case: Case, settings: Settings) -> str:
    """Why no model can speak about labels, by roles and types alone; empty when one can."""
    return unmodelled(case.dataset)


def examine(case: Case, settings: Settings) -> Measured:
    """Estimate the share of wrong labels and rank the rows that are likely to be."""
    import numpy as np

    judged = _judge(case)
    places = np.flatnonzero(judged.doubted)
    listed = _listed(judged, places, _votes(case, judged.features.rows[places]))
    statistics = _statistics(case, judged)
    return Measured(
        statistics=statistics,
        findings=(_finding(statistics),) if len(places) else (),
        row_scores=tuple(_row_scores(judged, listed, settings.max_rows)),
    )


def _judge(case: Case) -> _Judged:
    import polars as pl

    from guards.data.labelled import checked_labels
    from guards.numerics.confidence import label_issues

    features = case.table_features
    labels, probabilities = features.labels, features.probabilities
    anew = checked_labels(case.dataset, case.trusted, features.rows)
    given = pl.Series(features.classes, dtype=pl.String)[labels]
    return _Judged(
        features=features,
        denied=label_issues(labels, probabilities),
        anew=anew,
        checked=anew.is_not_null().to_numpy(),
        wrong=(anew != given).fill_null(False).to_numpy(),
    )


def _votes(case: Case, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """The share of each row's neighbours with another label; None where some have no place."""
    import numpy as np

    from guards.numerics.label_ranks import neighbour_vote

    try:
        space = case.row_space
    except Skip:
        return None
    if not len(rows) or not np.isin(rows, space.rows).all():
        return None
    return neighbour_vote(space.space, space.labels, np.searchsorted(space.rows, rows))


def _listed(
    judged: _Judged, places: np.ndarray[Any, Any], votes: np.ndarray[Any, Any] | None
) -> _Listed:
    """These rows in order: those found wrong, then by the mean of their ranks."""
    import numpy as np

    from guards.numerics.confidence import normalized_margin
    from guards.numerics.label_ranks import mean_rank
    from guards.numerics.likely import at, some

    labels = judged.features.labels[places]
    probabilities = some(judged.features.probabilities, places)
    scores = [1 - at(probabilities, np.arange(len(places)), labels)]
    scores.append(normalized_margin(labels, probabilities))
    ranks = np.where(
        judged.wrong[places], 1.0, mean_rank(*scores, *([] if votes is None else [votes]))
    )
    order = np.lexsort([-ranks, ~judged.wrong[places]])
    return _Listed(
        places=places[order],
        ranks=ranks[order],
        votes=None if votes is None else votes[order],
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
        "labels": len(features.classes),
        "labels_too_small": len(features.too_small),
        "too_small": [list(item) for item in features.too_small[:_TOLD]],
        "classes": _by_class(features, judged.doubted),
        "sources": _by_source(case, features, judged.doubted),
    }


def _by_class(features: TableFeatures, flagged: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """By name; of more than _TOLD labels those of most flagged rows."""
    import numpy as np

    rows = np.bincount(features.labels, minlength=len(features.classes))
    hits = np.bincount(features.labels[flagged], minlength=len(features.classes))
    told = np.sort(np.argsort(-hits, kind="stable")[:_TOLD])
    return [
        {"class": features.classes[at], "rows": int(n), "flagged": int(h), "rate": round(h / n, 5)}
        for at, n, h in zip(told.tolist(), rows[told].tolist(), hits[told].tolist(), strict=True)
    ]


def _by_source(
    case: Case, features: TableFeatures, flagged: np.ndarray[Any, Any]
) -> list[dict[str, Any]]:
    import polars as pl

    column = case.dataset.roles.source
    if column is None:
        return []
    sources = words_of(case.dataset.frame([column]).to_series())[features.rows]
    table = pl.DataFrame({"source": sources, "flagged": flagged})
    counted = table.group_by("source").agg(rows=pl.len(), flagged=pl.col("flagged").sum())
    ordered = counted.sort(["rows", "source"], descending=[True, False]).head(_TOLD)
    return [
        {"source": name, "rows": rows, "flagged": hits, "rate": round(hits / rows, 5)}
        for name, rows, hits in ordered.iter_rows()
    ]


def _row_scores(judged: _Judged, listed: _Listed, most: int) -> list[RowScore]:
    """Those that somebody found wrong come with score 1 and the label of the check."""
    from guards.numerics.likely import likeliest, some

    features, places = judged.features, listed.places[:most]
    likely, _ = likeliest(some(features.probabilities, places))
    return [
        RowScore(
            row=int(features.rows[place]),
            score=round(float(listed.ranks[at]), 5),
            suggested_label=judged.anew[place] or features.classes[likely[at]],
            reason=_reason(judged, listed, at),
        )
        for at, place in enumerate(places.tolist())
    ]


def _reason(judged: _Judged, listed: _Listed, at: int) -> str:
    if judged.wrong[listed.places[at]]:
        return "a trusted row says otherwise"
    told = "the features say otherwise"
    if listed.votes is None:
        return told
    return f"{told}; {listed.votes[at]:.0%} of the rows nearest to it have another label"


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
