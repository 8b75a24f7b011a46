"""Small pictures as inline SVG: no scripts, no fonts, nothing loaded, colours from the page's CSS.

Few marks carry everything, and none needs colour to be read: hollow bars are the reference and
solid bars are this data; a dot is an estimate and the line through it its interval; a solid
triangle is a row that is held, and a ring one that is not. Every mark has
a `<title>`, so that a pointer or a screen reader gets the number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from markupsafe import Markup

from guards.report.values import count, share, visible

_WIDTH = 320
_WIDE = 520  # of the picture of rates, which has a line of the page to itself
_HEIGHT = 132
_FLOOR = 104  # y of the histogram's base line
_ROW = 26  # height of one category or source
_TALL = 240  # of the picture of a class laid flat
_LABEL = 116  # width kept for the names at the left


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that moved: shares per bin or category, reference beside current, each up to 1."""

    name: str
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]
    ordered: bool
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of rows in one group, with its interval when there is one."""

    name: str
    rate: float
    rows: int
    low: float | None = None
    high: float | None = None
    marked: bool = False


def shares(column: Column) -> Markup:
    """Paired bars: upright for the ordered bins of a number, lying for named categories."""
    top = max(chain(column.reference, column.current), default=0.0) or 1.0
    marks = _histogram(column, top) if column.ordered else _categories(column, top)
    height = _HEIGHT if column.ordered else _ROW * len(column.bins) + 6
    told = f"{column.name}: share of rows per bin, reference (hollow) and this data (solid)"
    return _svg(marks, height, told)


def scatter(
    held: Sequence[Sequence[float]], rest: Sequence[Sequence[float]], rows: Mapping[str, int]
) -> Markup:
    """Rows as points (along, across): triangles are held, rings are not; `rows` counts them all."""
    points = [*held, *rest]
    ends = [(min(side), max(side)) for side in zip(*points, strict=True)] or [(0.0, 1.0)] * 2
    marks = [
        Markup('<g class="{}"><title>{}</title>{}</g>').format(
            kind,
            f"{count(rows[kind])} rows {name}" + _drawn(rows[kind], len(which)),
            Markup("").join(_point(kind, point, ends) for point in which),
        )
        for kind, name, which in (("rest", "not held", rest), ("held", "held", held))
    ]
    marks.append(Markup('<path class="base" d="M0 {0}H{1}"/>').format(_TALL - 18, _WIDE))
    marks.append(_text(_WIDE, _TALL - 4, "end", "towards the held rows →"))
    marks.append(_text(0, _TALL - 4, "start", "← like the class"))
    told = (
        f"{count(rows['held'])} held rows (triangles) and {count(rows['rest'])} others (rings) of "
        "the class, by how far they lie towards the held ones"
    )
    return _svg(marks, _TALL, told, _WIDE)


def _drawn(rows: int, drawn: int) -> str:
    return f", {count(drawn)} of them drawn" if drawn < rows else ""


def _point(kind: str, point: Sequence[float], ends: Sequence[tuple[float, float]]) -> Markup:
    (x, y) = (
        (value - low) / (high - low) if high > low else 0.5
        for value, (low, high) in zip(point, ends, strict=True)
    )
    x, y = round(8 + x * (_WIDE - 16), 1), round((_TALL - 28) * (1 - y) + 5, 1)
    if kind == "held":
        return Markup('<path d="M{} {}l4 7h-8z"/>').format(x, round(y - 4, 1))
    return Markup('<circle cx="{}" cy="{}" r="2.8"/>').format(x, y)


def rates(groups: Sequence[Rate], usual: float | None = None) -> Markup:
    """A dot per group with its interval; a dashed line at the usual rate of all groups."""
    top = max(chain((g.high or g.rate for g in groups), (usual or 0.0,)), default=0.0) or 1.0
    marks = [_dot(group, index, top) for index, group in enumerate(groups)]
    height = _ROW * len(groups) + 22
    if usual is not None:
        marks.append(_usual(_along(usual, top), height))
    marks.append(_axis(height, top))
    return _svg(marks, height, "Share of rows per group, with its interval", _WIDE)


def _histogram(column: Column, top: float) -> Iterable[Markup]:
    slot = _WIDTH / max(len(column.bins), 1)
    for index, name in enumerate(column.bins):
        pair = (("ref", column.reference[index]), ("cur", column.current[index]))
        for side, (kind, value) in enumerate(pair):
            tall = (_FLOOR - 8) * value / top
            yield _bar(
                kind,
                (index * slot + side * slot * 0.42 + slot * 0.08, _FLOOR - tall, slot * 0.4, tall),
                f"{name}: {share(value)} {_SIDES[kind]}",
            )
    yield Markup('<path class="base" d="M0 {0}H{1}"/>').format(_FLOOR + 0.5, _WIDTH)
    ends = ((0, "start", column.bins[:1]), (_WIDTH, "end", column.bins[-1:]))
    for x, anchor, names in ends:
        yield _text(x, _FLOOR + 18, anchor, "".join(names))


def _categories(column: Column, top: float) -> Iterable[Markup]:
    for index, name in enumerate(column.bins):
        y = index * _ROW + 4
        yield _text(_LABEL - 8, y + 14, "end", _clip(name))
        pair = (("ref", column.reference[index]), ("cur", column.current[index]))
        for side, (kind, value) in enumerate(pair):
            wide = (_WIDTH - _LABEL - 52) * value / top
            told = f"{name}: {share(value)} {_SIDES[kind]}"
            yield _bar(kind, (_LABEL, y + side * 10, wide, 8), told)
        ends = (_WIDTH - _LABEL - 52) * max(value for _, value in pair) / top
        yield _text(_LABEL + ends + 6, y + 14, "start", share(column.current[index]))


_SIDES = {"ref": "in the reference", "cur": "in this data"}


def _bar(kind: str, box: tuple[float, float, float, float], told: str) -> Markup:
    x, y, width, height = (round(value, 1) for value in box)
    return Markup(
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
    ).format(kind, x, y, max(width, 0.6), max(height, 0.6), visible(told))


def _dot(group: Rate, index: int, top: float) -> Markup:
    y = index * _ROW + 14
    told = f"{group.name}: {share(group.rate)} of {count(group.rows)} rows"
    low, high = group.low, group.high
    line = Markup("")
    if low is not None and high is not None:
        told += f", between {share(low)} and {share(high)}"
        line = Markup('<path class="whisker" d="M{} {}H{}"/>').format(
            _along(low, top), y, _along(high, top)
        )
    return Markup(
        '<g class="{}"><title>{}</title>{}{}<circle cx="{}" cy="{}" r="4.5"/></g>'
    ).format(
        "dot marked" if group.marked else "dot",
        visible(told),
        _text(_LABEL - 8, y + 4, "end", _clip(group.name)),
        line,
        _along(group.rate, top),
        y,
    )


def _usual(x: float, height: int) -> Markup:
    return Markup('<path class="usual" d="M{} 2V{}"/>').format(x, height - 16)


def _axis(height: int, top: float) -> Markup:
    base = Markup('<path class="base" d="M{} {}H{}"/>').format(_LABEL, height - 16, _WIDE)
    zero = _text(_LABEL, height - 3, "middle", "0")
    return base + zero + _text(_WIDE, height - 3, "end", share(top))


def _along(value: float, top: float) -> float:
    return round(_LABEL + (_WIDE - _LABEL - 8) * value / top, 1)


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        round(x, 1), round(y, 1), anchor, visible(text)
    )


def _clip(name: str) -> str:
    return name if len(name) <= 17 else f"{name[:16]}…"


def _svg(marks: Iterable[Markup], height: int, told: str, width: int = _WIDTH) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        width, height, visible(told)
    )
    return head + Markup("").join(marks) + Markup("</svg>")
