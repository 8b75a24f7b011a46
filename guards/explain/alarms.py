"""Which rows does the verdict rest on, and under which label? The part that reads examinations.

A finding speaks of pictures here when its rule needs pictures and it names a class, a source, a
target, or a backdoor. Findings of one target class are one alarm, whichever rules raised them; what
names no class (a source whose labels are wrong, a backdoor that goes to every class) is one more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.checks import CHECKS
from guards.findings import Examination, Finding, Ran
from guards.verdict import Reason, Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.image_features import ImageFeatures

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One target class, its code, or None; the findings about it; the rows (m,) of the features."""

    target: int | None
    findings: tuple[Finding, ...]
    rows: Ints


def speaking(
    examinations: Sequence[Examination], verdict: Verdict
) -> list[tuple[Examination, Finding]]:
    """The findings about pictures that the verdict rests on, in the order of its reasons."""
    order = {_key(reason): place for place, reason in enumerate(verdict.reasons)}
    found = [
        (examination, finding)
        for examination in examinations
        for finding in examination.findings
        if _told(finding) in order and _of_pictures(finding)
    ]
    return sorted(found, key=lambda pair: order[_told(pair[1])])


def alarms(
    features: ImageFeatures, found: Sequence[tuple[Examination, Finding]]
) -> tuple[Alarm, ...]:
    """Gather the findings by target class; those without rows say nothing that could be shown."""
    groups: dict[int | None, list[tuple[Finding, Ints]]] = {}
    for examination, finding in found:
        target = _target(features, finding)
        rows = _rows(features, examination, finding, target)
        groups.setdefault(target, []).append((finding, rows))
    told = np.zeros(len(features.labels), np.bool_)
    gathered = []
    # What names a class goes first: the rest is told of what is left.
    for target, pairs in sorted(groups.items(), key=lambda item: item[0] is None):
        held = np.unique(np.concatenate([rows for _, rows in pairs]))
        held = held[~told[held]]
        told[held] = True
        findings = tuple(finding for finding, _ in pairs)
        gathered.append(Alarm(target=target, findings=findings, rows=held))
    return tuple(alarm for alarm in gathered if len(alarm.rows))


def _of_pictures(finding: Finding) -> bool:
    rule = CHECKS.get(finding.rule)
    return (
        rule is not None
        and "image" in import_module(rule).NEEDS
        and (finding.subject.kind in ("class", "source") or "backdoor" in finding.code)
    )


def _rows(
    features: ImageFeatures, examination: Examination, finding: Finding, target: int | None
) -> Ints:
    """The rows of the examination that this finding can be about, as indices of the features."""
    assert isinstance(examination.outcome, Ran)
    wanted = np.unique([score.row for score in examination.outcome.measured.row_scores])
    rows = np.flatnonzero(np.isin(features.rows, wanted))
    if target is not None:
        rows = rows[features.labels[rows] == target]
    if finding.subject.kind == "source" and features.sources is not None:
        names = np.array(features.source_names)
        rows = rows[names[features.sources[rows]] == finding.subject.name]
    return rows


def _target(features: ImageFeatures, finding: Finding) -> int | None:
    return next(
        (features.classes.index(name) for name in _named(finding) if name in features.classes),
        None,
    )


def _named(finding: Finding) -> Iterator[Any]:
    if finding.subject.kind == "class":
        yield finding.subject.name
    for evidence in finding.evidence:
        yield evidence.detail.get("target")


def _told(finding: Finding) -> tuple[str, str, str]:
    return finding.rule, finding.code, finding.summary


def _key(reason: Reason) -> tuple[str, str, str]:
    return reason.rule, reason.code, reason.text
