"""The explanation of an alarm in sentences: what, where, from whom, how many, how sure.

Read from the report's `explanation` (KeyError, TypeError or ValueError for another shape); nothing
is computed here, and every number in a sentence stands in the report with its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from guards.report import plots, words
from guards.report.values import count, share, visible

Draw = Callable[[Mapping[str, Any]], Any]
_LONGEST = 60
_THIRDS = (("upper", "left"), ("", ""), ("lower", "right"))
_ALONE = {"upper": "top", "lower": "bottom"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One question with its answer, and an answer's small print."""

    question: str
    answer: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One line of the counterfactual: before and after, each with its interval, of `asked`."""

    what: str
    before: str
    after: str
    before_note: str
    after_note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What the page says of one alarm."""

    title: str
    lines: tuple[Line, ...]
    sentence: str
    compared: tuple[Comparison, ...]
    plot: Markup | None
    flat_note: str
    pictures: Sequence[Any]


def alarms(report: Mapping[str, Any], picture: Draw) -> tuple[Alarm, ...]:
    """The alarms of the report, `picture` drawing an exhibit; none where nothing was explained."""
    told = report.get("explanation") or {}
    return tuple(_alarm(told, one, picture) for one in told.get("alarms", ()))


def missing(report: Mapping[str, Any]) -> str:
    """Why an alarm was not explained; empty where it was, or where there is none."""
    return str((report.get("explanation") or {}).get("missing", ""))


def _alarm(told: Mapping[str, Any], one: Mapping[str, Any], picture: Draw) -> Alarm:
    flat = one.get("projection")
    return Alarm(
        title=_title(one),
        lines=tuple(_lines(told, one)),
        sentence=_sentence(told, one),
        compared=tuple(_compared(told, one)),
        plot=plots.scatter(flat["held"], flat["rest"], flat["rows"]) if flat else None,
        flat_note=_flat_note(flat) if flat else "",
        pictures=tuple(picture(exhibit) for exhibit in one["pictures"]),
    )


def _title(one: Mapping[str, Any]) -> str:
    if one["target"] is None:
        return "Labels that the pictures deny"
    if "missing" in one["trigger"]:
        return f"Rows labelled {_short(one['target'])} that do not belong to it"
    if _taught(one):
        return f"A pattern that means {_short(one['target'])}"
    return f"Pictures labelled {_short(one['target'])} that share a pattern"


def _taught(one: Mapping[str, Any]) -> bool:
    """Whether a model answers the target more often for having been trained on the held rows."""
    if not (success := one.get("success")):
        return False
    return bool(success["with"]["before"]["low"] > success["with"]["after"]["high"])


def _lines(told: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[Line]:
    target, trigger = one["target"], one["trigger"]
    if target is not None:
        what = f"{count(one['rows'])} pictures labelled {_short(target)}"
        yield Line(question="What", answer=what, note=_looks(one))
    yield Line(question="Where", answer=_where(trigger))
    if source := one["source"]:
        answer = f"{share(source['share'])} of them from source {_short(source['name'])}"
        usual = f"which delivered {share(source['usual'])} of all other rows"
        yield Line(question="From whom", answer=answer, note=usual)
    yield Line(question="How many", answer=_many(told, one), note=_of_class(one))
    yield Line(question="How sure", answer=_sure(one), note=_doubt(trigger))


def _looks(one: Mapping[str, Any]) -> str:
    looks = [f"{_short(look['class'])} ({count(look['rows'])})" for look in one["looks_like"]]
    rest = one["rows"] - sum(look["rows"] for look in one["looks_like"])
    more = [f"others ({count(rest)})"] if rest else []
    return f"they look like {', '.join([*looks, *more])}"


def _where(trigger: Mapping[str, Any]) -> str:
    if "missing" in trigger:
        return f"No common pattern: {trigger['missing']}"
    covers = _covers(trigger["opacity"])
    if trigger["whole_picture"]:
        return f"Over the whole picture, {covers}"
    top, left, height, width = trigger["box"]
    place = _place(trigger["box"], trigger["size"])
    pixels = f"{count(trigger['pixels'])} pixels" if trigger["pixels"] != 1 else "1 pixel"
    return f"{pixels} within {height} x {width} from row {top}, column {left}, {place}, {covers}"


def _covers(opacity: float) -> str:
    if opacity > 0.9:
        return "covering what is below"
    if opacity < 0.03:
        return "added to what is below"
    return f"faint: it covers about {share(opacity)} of what is below"


def _place(box: Sequence[int], size: Sequence[int]) -> str:
    """`lower right`, by the third of the picture in which the middle of the box lies."""
    ends = zip(box[:2], box[2:], size, strict=True)
    thirds = [min(int(3 * (start + length / 2) / of), 2) for start, length, of in ends]
    said = " ".join(filter(None, (_THIRDS[third][axis] for axis, third in enumerate(thirds))))
    return f"at the {_ALONE.get(said, said)}" if said else "in the middle"


def _many(told: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    rate = one["share"]
    between = f"{share(rate['low'])} to {share(rate['high'])}"
    rows = f"{count(one['rows'])} of {count(told['rows'])} rows"
    return f"{rows}: a poison rate of {share(rate['estimate'])} (95 % interval {between})"


def _of_class(one: Mapping[str, Any]) -> str:
    if not one["class_rows"]:
        return ""
    return f"{share(one['rows'] / one['class_rows'])} of the rows labelled {_short(one['target'])}"


def _sure(one: Mapping[str, Any]) -> str:
    *others, last = (words.rule(rule).title for rule in one["rules"])
    told = f"Found by {', '.join(others)} and {last}" if others else f"Found by {last}"
    trigger = one["trigger"]
    if "missing" not in trigger:
        told += (
            "; the patterns that two halves of the held rows give, each on its own, agree by "
            f"{trigger['agreement']:.2f} (a correlation: 1 is the same)"
        )
    return told


def _doubt(trigger: Mapping[str, Any]) -> str:
    if trigger.get("reliable", True):
        return ""
    return "that is too low to rely on the picture: the pattern may move, or differ from row to row"


def _flat_note(flat: Mapping[str, Any]) -> str:
    return (
        f"Of a held and an ordinary row the held one lies further out in {share(flat['parted'])} "
        "of all pairs, judged by a direction that was found without the row. Across: the "
        "direction in which the class varies most besides. Units: robust standard deviations of "
        f"the ordinary rows; layer {flat['layer']} of {flat['layers']} of the probe."
    )


def _sentence(told: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """What a model learns from the held rows, and whether it forgets it without them."""
    success, retrained = one.get("success"), told.get("retrained")
    if not success or not retrained:
        return ""
    before, after = success["with"]["before"], success["with"]["after"]
    answer = (
        f"A small model trained on this batch answers {_short(one['target'])} for "
        f"{share(before['estimate'])} of other pictures once they carry this pattern; trained "
        f"without the held rows, for {share(after['estimate'])}."
    )
    if not _taught(one):
        return (
            f"{answer} So such a model did not learn this pattern, as it was recovered. That "
            "proves no harmlessness: the model is small, and the pattern an estimate."
        )
    if after["low"] > success["without"]["after"]["high"]:
        return f"{answer} It still works in part: rows that were not found may carry it too."
    return f"{answer} The held rows are what teaches it."


def _compared(told: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[Comparison]:
    retrained, success = told.get("retrained"), one.get("success")
    if not retrained:
        return
    if success:
        name = _short(one["target"])
        asked = count(success["with"]["asked"])
        what = f"answer {name}, of {asked} pictures of other classes that carry the pattern"
        yield _comparison(what, success["with"])
        yield _comparison(f"answer {name}, of the same without the pattern", success["without"])
    asked = count(retrained["accuracy"]["asked"])
    yield _comparison(f"right answers, of {asked} pictures kept back", retrained["accuracy"])


def _comparison(what: str, of: Mapping[str, Any]) -> Comparison:
    before, after = of["before"], of["after"]
    return Comparison(
        what=what,
        before=share(before["estimate"]),
        after=share(after["estimate"]),
        before_note=f"{share(before['low'])} to {share(before['high'])}",
        after_note=f"{share(after['low'])} to {share(after['high'])}",
    )


def _short(name: Any) -> str:
    text = visible(str(name))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
