"""What `drift` tells of a whole batch and of its parts: unlike rows, where they gather, windows.

The share of rows that are unlike the reference is told with the slice that holds them, if they
gather in one: then it is somebody's or some day's, and not the season's. A column that moved in one
window of time and not in the others is local movement, as it is in one group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guards.data.contamination import CONFIDENCE, Unlike
from guards.data.slices import Slice
from guards.data.time_windows import MovedWindow
from guards.findings import Confidence, Evidence, Finding, Severity, Subject
from guards.text import printable

RULE = "drift"
GATHERED = 2.0  # times the share of all other rows
_ALPHA = 0.001
_TOLD = 5  # slices


def unlike_findings(
    bounds: tuple[Unlike, Unlike], parts: Sequence[Slice], rows: int, limits: tuple[float, float]
) -> Iterator[Finding]:
    """The one number for a gate: at least so much of the batch is not what the reference holds.

    `bounds` are those of all rows and of what two columns do together; it is told from the first of
    `limits` on, and an alarm from the second.
    """
    (whole, joint), (told, unlike) = bounds, limits
    if whole.share < told:
        return
    where, pair = (" and ".join(printable(n)[:80] for n in one.where) for one in (whole, joint))
    more = f"; {joint.share:.1%} in what {pair} do together" if joint.share else ""
    named = next((one for one in parts if _gathers(one, told)), None)
    if named is not None:
        slice_ = f"{named.by} {printable(named.name)[:80]}"
        more += f"; they gather in {slice_}: at least {named.unlike:.1%} of its rows"
    alarming = whole.share >= unlike
    yield Finding(
        rule=RULE,
        code="unlike-reference",
        severity=Severity.MEDIUM if alarming else Severity.INFO,
        confidence=Confidence.HIGH,
        subject=Subject(kind="dataset"),
        summary=f"at least {whole.share:.1%} of the rows are not like the reference, "
        f"seen in {where}{more}",
        evidence=(
            Evidence(
                statistic=f"lower bound of the share of rows, {CONFIDENCE:.0%} confidence",
                value=whole.share,
                threshold=unlike,
                effect=whole.share,
                sample=rows,
                detail={"where": list(whole.where), "jointly": joint.share},
            ),
            *(_of_slice(one) for one in parts[:_TOLD] if one.unlike >= told),
        ),
        remedy="look at the columns named; renew the reference if the movement is meant"
        if alarming
        else "",
    )


def window_finding(found: MovedWindow, threshold: float) -> Finding:
    """A column that moved in one window of time alone."""
    column = printable(found.column)[:80]
    return Finding(
        rule=RULE,
        code="drift-in-window",
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="column", name=found.column),
        summary=f"column {column} moved in the rows of one time, {printable(found.window)[:80]}, "
        f"and not at other times: {found.moved:.0%} of {found.rows} rows",
        evidence=(
            Evidence(
                statistic="share of the window's rows moved, beyond the other windows",
                value=found.excess,
                threshold=threshold,
                p_value=found.p_value,
                effect=found.moved,
                sample=found.rows,
                detail={"window": found.window, "within_reference": found.spread},
            ),
        ),
        remedy="ask what changed at that time: a unit, a scale, a code, a replay",
    )


def _gathers(one: Slice, told: float) -> bool:
    apart = one.share >= GATHERED * one.elsewhere
    return one.unlike >= told and apart and one.p_value <= _ALPHA


def _of_slice(one: Slice) -> Evidence:
    return Evidence(
        statistic=f"lower bound of the share of rows of one {one.by}",
        value=one.unlike,
        p_value=one.p_value,
        effect=one.unlike,
        sample=one.rows,
        detail={one.by: one.name, "share": one.share, "elsewhere": one.elsewhere},
    )
