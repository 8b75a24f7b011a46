"""Why the verdict is what it is, shown: the step between judging and writing it down.

    examinations + verdict -> alarms -> per alarm: where, how sure, the trigger, the class laid flat
                                     -> once: what a model learns with the held rows, and without

Nothing here changes a verdict. It is asked only where a finding about pictures led to BLOCK or
QUARANTINE and holds rows, so a clean scan pays nothing; a failure here is told, and costs no scan.
Everything random is drawn from the scan's seed. What comes out is a part of `report.json` and
pictures in `evidence/`, which the record binds like all else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.data.counterfactual import Asked, Counterfactual, Planted, counterfactual
from guards.errors import Skip
from guards.explain.alarms import Alarm, alarms, speaking
from guards.explain.pictures import Pattern, exhibits_of, pattern_of
from guards.findings import Examination, Exhibit, RunInfo
from guards.numerics.enrichment import dominant
from guards.numerics.intervals import clopper_pearson
from guards.numerics.projection import Projection, project
from guards.text import printable
from guards.verdict import Verdict

if TYPE_CHECKING:
    from guards.data.image_features import ImageFeatures

MOST_ALARMS, MOST_POINTS, MOST_LOOKS = 3, 300, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is to be told, as JSON, and the pictures of it; `run` says what it cost."""

    told: Mapping[str, Any]
    exhibits: tuple[Exhibit, ...] = ()
    run: RunInfo = field(default=RunInfo(), compare=False)


def explain(
    case: Case, examinations: Sequence[Examination], verdict: Verdict
) -> Explanation | None:
    """Explain the findings about pictures that the verdict rests on; None where there are none."""
    found = speaking(examinations, verdict)
    if not found:
        return None
    started = time.process_time()
    try:
        told, exhibits = _explained(case, alarms(case.image_features, found))
    except Skip as skip:
        told, exhibits = {"missing": str(skip)}, ()
    except (ValueError, ArithmeticError, LookupError, RuntimeError, MemoryError) as error:
        # What was found stands without its explanation.
        told = {"missing": f"{type(error).__name__}: {printable(str(error))[:300]}"}
        exhibits = ()
    torch = sys.modules.get("torch")
    run = RunInfo(
        seconds=time.process_time() - started,
        device=case.device,
        threads=int(torch.get_num_threads()) if torch is not None else 1,
    )
    return Explanation(told=told, exhibits=exhibits, run=run)


def _explained(case: Case, found: tuple[Alarm, ...]) -> tuple[dict[str, Any], tuple[Exhibit, ...]]:
    if not found:
        raise Skip("no finding holds rows that have a picture and a label")
    features = case.image_features
    held = np.zeros(len(features.labels), np.bool_)
    held[np.concatenate([alarm.rows for alarm in found])] = True
    shown = sorted(found, key=lambda alarm: (alarm.target is None, -len(alarm.rows)))[:MOST_ALARMS]
    patterns = [pattern_of(features, alarm.rows, held) for alarm in shown]
    asked, answers = _counterfactual(features, held, shown, patterns)
    told = [
        _alarm(features, alarm, pattern) for alarm, pattern in zip(shown, patterns, strict=True)
    ]
    exhibits: list[Exhibit] = []
    for number, (alarm, pattern, one) in enumerate(zip(shown, patterns, told, strict=True), 1):
        pictures = exhibits_of(features, alarm, pattern, number) if case.pictures else ()
        one["pictures"] = [
            {"name": e.name, "digest": str(e.digest), "caption": e.caption} for e in pictures
        ]
        if number - 1 in answers:
            one["success"] = answers[number - 1]
        exhibits.extend(pictures)
    document = {
        "alarms": told,
        "more_alarms": len(found) - len(shown),
        "rows_held": int(held.sum()),
        "rows": len(held),
        "retrained": asked,
    }
    return document, tuple(exhibits)


def _alarm(features: ImageFeatures, alarm: Alarm, pattern: Pattern) -> dict[str, Any]:
    rows, of = len(alarm.rows), len(features.labels)
    target = alarm.target
    told: dict[str, Any] = {
        "target": None if target is None else features.classes[target],
        "rules": list(dict.fromkeys(finding.rule for finding in alarm.findings)),
        "codes": list(dict.fromkeys(finding.code for finding in alarm.findings)),
        "severity": str(max(finding.severity for finding in alarm.findings)),
        "rows": rows,
        "share": _share(rows, of),
        "class_rows": None if target is None else int(features.sizes[target]),
        "looks_like": _looks(features, alarm),
        "source": _source(features, alarm),
        "trigger": pattern.told,
    }
    if target is not None:
        told["projection"] = _projection(features, alarm, target)
    return told


def _looks(features: ImageFeatures, alarm: Alarm) -> list[dict[str, Any]]:
    """What the held pictures look like, the most frequent first."""
    counts = np.bincount(features.looks[alarm.rows], minlength=len(features.classes))
    order = np.argsort(-counts, kind="stable")[:MOST_LOOKS]
    return [{"class": features.classes[c], "rows": int(counts[c])} for c in order if counts[c]]


def _source(features: ImageFeatures, alarm: Alarm) -> dict[str, Any] | None:
    if features.sources is None:
        return None
    names = features.source_names
    found = dominant(features.sources, alarm.rows, len(names))
    if found is None:
        return None
    return {"name": names[found.group], "share": found.share, "usual": found.usual}


def _projection(features: ImageFeatures, alarm: Alarm, target: int) -> dict[str, Any] | None:
    """The class in the layer in which a discriminant, out of fold, parts the held rows best."""
    inside = np.flatnonzero(features.labels == target)
    held = np.isin(inside, alarm.rows)
    rng = np.random.default_rng([features.seed, 8])
    flat = [project(layer[inside], held, rng) for layer in features.layers]
    found = [(one.auc, -place, one) for place, one in enumerate(flat) if one is not None]
    if not found:
        return None
    auc, place, best = max(found, key=lambda one: one[:2])
    return {
        "layer": -place + 1,
        "layers": len(flat),
        "parted": round(auc, 4),
        "held": _points(best, held, rng),
        "rest": _points(best, ~held, rng),
        "rows": {"held": int(held.sum()), "rest": int((~held).sum())},
    }


def _points(flat: Projection, which: Any, rng: np.random.Generator) -> list[list[float]]:
    """At most MOST_POINTS of the rows, to a hundredth, where they lie along and across."""
    rows = np.flatnonzero(which)
    rows = np.sort(rng.permutation(rows)[:MOST_POINTS])
    points = np.clip(np.stack([flat.along[rows], flat.across[rows]], 1), -1e4, 1e4)
    return [[round(float(x), 2) + 0.0, round(float(y), 2) + 0.0] for x, y in points]


def _counterfactual(
    features: ImageFeatures, held: Any, shown: Sequence[Alarm], patterns: Sequence[Pattern]
) -> tuple[dict[str, Any] | None, dict[int, dict[str, Any]]]:
    """What all of it together brings about, and by number of the alarm what each trigger does."""
    planted = [
        (number, Planted(target=alarm.target, stamp=pattern.stamp))
        for number, (alarm, pattern) in enumerate(zip(shown, patterns, strict=True))
        if alarm.target is not None and pattern.trigger is not None
    ]
    done = counterfactual(
        features.pixels,
        features.labels,
        held,
        [one for _, one in planted],
        seed=features.seed,
        device=features.device,
    )
    if done is None:
        return None, {}
    answers = {
        number: {"with": _told(done.fooled[at]), "without": _told(done.unstamped[at])}
        for at, (number, _) in enumerate(planted)
    }
    return _retrained(done), answers


def _retrained(done: Counterfactual) -> dict[str, Any]:
    rows = {"before": done.rows_before, "after": done.rows_after}
    return {"rows": rows, "accuracy": _told(done.right)}


def _told(asked: Asked) -> dict[str, Any]:
    before, after = (_share(hits, asked.asked) for hits in (asked.before, asked.after))
    return {"asked": asked.asked, "before": before, "after": after}


def _share(hits: int, sample: int) -> dict[str, float]:
    low, high = clopper_pearson(hits, sample)
    values = {"estimate": hits / max(sample, 1), "low": low, "high": high}
    return {name: round(value, 6) for name, value in values.items()}
