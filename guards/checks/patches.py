"""Is one small mark at one place in many different pictures, and do those bear one label?

Exact-patch mining without a look at what the label should be, so that right labels do not hide a
trigger (label-consistent, Turner et al. 2019, arXiv:1912.02771; the patch is that of Gu et al.
2017, arXiv:1708.06733). A *mark* is a window of 3 x 3 bits with `lift` times as many rows at its
place as anywhere up to two pixels away (:mod:`guards.numerics.shared_windows` has the statistic),
significant over all windows that occur, in pictures that are otherwise no more alike than others
of their label.

A mark accuses nobody: cameras and agencies stamp pictures. It alarms when its rows gather under
one label beyond what their *sources'* shares of the labels lead to expect (beta-binomial), or when
they do not look like their labels, beyond the other rows of their sources: planted under every
label alike. Without sources a honest mark of one label looks the same, so that alone is MEDIUM; it
is HIGH if the labels are denied, or if sources are known and do not explain it.

Measured on 4,000 rows, seeds 100 and 101, none used for choosing; alarms, planted rows held; of the
clean rows at most .0003 were held in any run. CIFAR-10 is stored as JPEG again, all rows alike:

    attack                rate     Fashion-MNIST         CIFAR-10
    label-consistent      1, 5 %   4/4  1.00             4/4  1.00
    patch 3 x 3           1 %      2/2  1.00             2/2  1.00
    patch 3 x 3           .5 %     2/2  1.00             1/2  1.00
    white patch           1 %      2/2  .90, .90         0/2
    TaCT                  1 %      2/2  1.00             2/2  .82, 1.00
    Adaptive-Patch        2 %      2/2  .80, .95         2/2  .38, .52

The looks were not asked there. Asked (the embedding alone, 3,000 rows), all-to-all at 2 and 5 % is
HIGH in 4/4 and 4/4; without them it is a mark. Clean rows, 800 to 6,000, half of the runs with
unequal classes, all with 1 % copies, twelve runs each of Fashion-MNIST, MNIST and CIFAR-10, seeds
100 to 103: not one mark in 36. These are few runs. Seconds of one core, 4,000 rows: .2 to .5.

Pictures of unlike sizes are blurred by resizing, so their corners are looked at as they were stored
(:mod:`guards.data.corners`), where a mark may grow with its picture (`elsewhere` in the statistic's
module). 4,000 rows, each of 22 to 44 pixels a side, seeds 100 and 101, `benchmarks/mixed_sizes.py`:

    patch 3 x 3, 1 and .5 %     4/4  1.00             4/4  1.00
    two pixels off, upper left  2/2  1.00             2/2  1.00
    a tenth of the side         2/2  1.00             2/2  1.00
    TaCT 3 x 3, 1 %             2/2  1.00             2/2  1.00
    Adaptive-Patch 3 x 3, 2 %   2/2  .75, .94         2/2  .69, .48
    white 3 x 3, 1 %            2/2  .97, .93         1/2  .75
    white, a tenth of the side  0/2                   0/2

and not one mark in 60 clean runs of these two sets, seeds 100 to 107.

Known ways around it: triggers without a fixed place or an edge (warps, blends, waves); plain
light squares on photographs, whose corners are like any edge; a place at the very rim; as many
carriers under every label, rightly labelled; fewer than some 15 rows; a mark on most rows of a
label. With more groups than fit in memory labels are not told apart, and a mark must be rare
among all rows to be seen. Among pictures of unlike sizes, marks far from every corner, and light
squares that grow with the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.data.corners import ANCHORS
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.gathering import Gathered, Rows, apart, gathered, judged, labelled
from guards.numerics import shared_windows

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Pictures = npt.NDArray[np.uint8]
    Counts = npt.NDArray[np.integer[Any]]
    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

NEEDS = frozenset({"image", "label"})
RULE = "patches"
_LEAST_SIDE, _MOST_CELLS = 16, 3 * 10**7
_MOST_BITS = 1 << 28  # windows times rows: framed or printed pictures share ten thousands of them
_ALL, _WHOLE = slice(None), "whole picture"
_REMEDY = (
    "Look at the rows, which are in rows.parquet, and ask who put the mark there. If it is an "
    "honest one, take it out of the pictures or declare the source: a model will learn it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What makes a mark, and what makes a mark an alarm.

    A mark needs `rows` rows of one label, or of all, `lift` times the largest count nearby, and a
    corrected p-value of `alpha`. Its rows must differ from one another by at least `alike` of what
    rows of their labels do. It *gathers* if a label has `gathers` times the rows that sources lead
    to expect, and at most `whole` of that label's rows. Its labels count as denied if `denied` of
    its rows, and `denied_lift` times the rate of the rest, do not look like them; at 0 nobody asks.
    """

    alpha: float = 1e-3
    rows: int = 10
    lift: float = 20.0
    alike: float = 0.6
    gathers: float = 2.5
    whole: float = 0.6
    denied: float = 0.5
    denied_lift: float = 1.8
    marks: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """One mark: its `cells`, its `rows` (m,), how much these differ, and what their labels say.

    A cell is a view (the whole picture, or one of ANCHORS) and then what
    :func:`shared_windows.sharp` gives.
    """

    cells: Ints
    rows: Ints
    p_value: float
    apart: float
    labels: Gathered


def examine(case: Case, settings: Settings) -> Measured:
    """Look for marks, and for labels under which they gather or which they belie."""
    seen = labelled(case)
    if min(seen.pixels.shape[2:]) < _LEAST_SIDE:
        # No skip: where it is required that would block every dataset of small pictures.
        note = f"in pictures below {_LEAST_SIDE} x {_LEAST_SIDE} pixels no window is a mark"
        return Measured(statistics={"rows": 0, "marks": [], "note": note})
    seen = seen.cut(_step(*seen.pixels.shape[2:]))
    cells, p_values, tested = _cells(seen, settings)
    marks = list(_marks(seen, cells, p_values, settings))
    told = [(m, *judged(case, seen, m.rows, m.labels, settings)) for m in marks]
    return Measured(
        statistics={
            "rows": len(seen.rows),
            "windows_tested": tested,
            "sharp_windows": len(cells),
            "marks": [_detail(seen, mark) for mark in marks],
        },
        findings=tuple(_finding(seen, *one, settings) for one in told),
        row_scores=_row_scores(seen, [mark for mark, severity, _ in told if severity > _NOTED]),
    )


_NOTED = Severity.INFO


def _views(seen: Rows) -> tuple[Pictures, ...]:
    """What is looked at: the pictures at one size, and what lies at each of the ANCHORS."""
    return (seen.pixels, *seen.corners)


def _carried(seen: Rows, cells: Ints, rows: Ints | slice = _ALL) -> Bools:
    """Which of these rows have which of `cells` (m, 7), in the views that they name."""
    found = np.zeros((len(seen.rows[rows]), len(cells)), np.bool_)
    for view in np.unique(cells[:, 0]):
        mine = cells[:, 0] == view
        found[:, mine] = shared_windows.carried(_views(seen)[view][rows], cells[mine, 1:])
    return found


def _step(height: int, width: int) -> int:
    """The least whole factor by which pictures are cut so that all their places can be counted."""
    step = 1
    while (height // step) * (width // step) * shared_windows.CODES > _MOST_CELLS:
        step += 1
    return step


def _cells(seen: Rows, settings: Settings) -> tuple[Ints, Floats, int]:
    """Sharp windows, most certain first, their corrected p-values, and how many were tested."""
    tested, found = 0, []
    for view, pixels in enumerate(_views(seen)):
        for table, around in _tables(seen, pixels, view > 0):
            tested += int(np.count_nonzero(table))
            sharp = shared_windows.sharp(
                table, least=settings.rows, lift=settings.lift, around=around
            )
            found.append(np.insert(sharp, 0, view, axis=1))
    cells = np.concatenate(found)
    logs = shared_windows.log_tails(cells[:, 5], cells[:, 6]) + np.log10(max(tested, 1))
    order = np.argsort(logs, kind="stable")
    order = order[logs[order] <= np.log10(settings.alpha)]
    return cells[order], 10.0 ** np.maximum(logs[order], -300), tested


def _tables(seen: Rows, pixels: Pictures, anchored: bool) -> Iterator[tuple[Counts, Counts | None]]:
    """How many rows have each window: of each label, where that fits, and of all.

    Where the view is anchored to a corner, from which a mark may grow with its picture, also how
    many have it around and not there.
    """
    height, width = pixels.shape[2:]
    k = len(seen.classes)
    size = height * width * shared_windows.CODES * (2 if anchored else 1)
    each = size * k <= _MOST_CELLS
    groups = seen.labels if each else np.zeros_like(seen.labels)
    if anchored:
        yield shared_windows.elsewhere(pixels, groups, k if each else 1)
        return
    table = shared_windows.counts(pixels, groups, k if each else 1)
    yield table, None
    if each:
        yield table.sum(3, keepdims=True), None


def _marks(seen: Rows, cells: Ints, p_values: Floats, settings: Settings) -> Iterator[_Mark]:
    """Windows that are mostly on the same rows are one mark."""
    places = np.unique(cells[:, :4], axis=0, return_index=True)[1]
    places.sort()
    places = places[: max(_MOST_BITS // len(seen.rows), 1)]
    cells, p_values = cells[places], p_values[places]
    has = _carried(seen, cells)
    for _ in range(settings.marks):
        if not len(cells):
            return
        both = has[has[:, 0]].sum(0)
        shared = both / np.maximum(np.minimum(has.sum(0), has[:, 0].sum()), 1)
        # Windows that overlap the first are the same mark cut by what it lies on.
        beside = np.abs(cells[:, 1:3] - cells[0, 1:3]).max(1) <= shared_windows.SIDE
        beside &= cells[:, 0] == cells[0, 0]
        mine = shared >= np.where(beside, 0.2, 0.5)
        # One window alone may be there by chance; the first is what the mark was found by.
        votes = has[:, mine].sum(1)
        rows = np.flatnonzero(has[:, 0] | (votes >= max(2, mine.sum() / 3)))
        unlike = apart(seen, rows)
        if unlike >= settings.alike:
            yield _Mark(
                cells=cells[mine],
                rows=rows,
                p_value=float(p_values[0]),
                apart=unlike,
                labels=gathered(seen, rows),
            )
        cells, p_values, has = cells[~mine], p_values[~mine], has[:, ~mine]


def _place(seen: Rows, mark: _Mark) -> tuple[str, int, int]:
    """In which view a mark lies, and where there: in pixels, from above and from the left."""
    view = int(mark.cells[0, 0])
    step = 1 if view else seen.step
    top, left = (mark.cells[mark.cells[:, 0] == view, 1:3].min(0) * step).tolist()
    return (_WHOLE, *ANCHORS)[view], top, left


def _where(seen: Rows, mark: _Mark) -> str:
    view, top, left = _place(seen, mark)
    side = 0 if view == _WHOLE else seen.corners[0].shape[-1]
    of = f" of the {side} x {side} pixels of the {view}" if side else ""
    return f"pixel row {top}, column {left}{of}"


def _detail(seen: Rows, mark: _Mark) -> dict[str, Any]:
    cell, side = mark.cells[0], shared_windows.SIDE
    bits = [int(cell[3]) >> place & 1 for place in range(side * side)][::-1]
    view, top, left = _place(seen, mark)
    return {
        "view": view,
        "top": top,
        "left": left,
        "windows": len(mark.cells),
        "bits": [bits[start : start + side] for start in range(0, side * side, side)],
        "rows": len(mark.rows),
        "label": seen.classes[mark.labels.label],
        "rows_of_label": mark.labels.hits,
        "share_of_label": round(mark.labels.share, 4),
        "over_expected": round(mark.labels.lift, 2),
        "apart": round(mark.apart, 3),
    }


def _finding(
    seen: Rows, mark: _Mark, severity: Severity, told: dict[str, Any], settings: Settings
) -> Finding:
    labels, detail = mark.labels, _detail(seen, mark)
    name = seen.classes[labels.label]
    lift = round(float(mark.cells[0, 5] / (mark.cells[0, 6] + 0.5)), 2)
    what = f"{len(mark.rows):,} different pictures carry one small mark at {_where(seen, mark)}"
    if severity == Severity.INFO:
        summary = f"{what}; their labels are those of the rest"
    elif told["gathers"]:
        summary = (
            f"{what}, {labels.hits:,} of them labelled {name}: {labels.lift:.1f} times too many"
        )
    else:
        summary = f"{what}, and {told['denied']:.0%} of them do not look like their labels"
    return Finding(
        rule=RULE,
        code="common-mark" if severity == Severity.INFO else "planted-mark",
        severity=severity,
        confidence=Confidence.HIGH if severity == Severity.HIGH else Confidence.MEDIUM,
        subject=Subject(kind="class", name=name) if told["gathers"] else Subject(kind="dataset"),
        summary=summary,
        evidence=(
            Evidence(
                statistic="rows with the same window at one place, over the most next to it",
                value=lift,
                threshold=settings.lift,
                p_value=mark.p_value,
                effect=lift,
                sample=len(seen.rows),
                rows=len(mark.rows),
                detail={**detail, **told, "gathered_p_value": labels.p_value},
            ),
        ),
        remedy=_REMEDY,
    )


def _row_scores(seen: Rows, marks: Sequence[_Mark]) -> tuple[RowScore, ...]:
    held: dict[int, tuple[float, str]] = {}
    for mark in marks:
        carries = _carried(seen, mark.cells, mark.rows).mean(1)
        reason = f"carries the mark at {_where(seen, mark)}"
        for row, score in zip(seen.rows[mark.rows].tolist(), carries.tolist(), strict=True):
            held[row] = (score, reason)
    return tuple(
        RowScore(row=row, score=round(score, 4), reason=reason)
        for row, (score, reason) in sorted(held.items())
    )
