"""What `drift` tells of a whole batch and of its parts: unlike rows, where they gather, windows.

The share of rows that are unlike the reference is told with the slice that holds them, if they
gather in one: then it is somebody's or some day's, and not the season's. A column that moved in one
window of time and not in the others is local movement, as it is in one group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from guards.data.contamination import CONFIDENCE, Unlike
from guards.data.earlier import EarlierProfile
from guards.data.moved import Moved
from guards.data.slices import Slice
from guards.data.time_windows import MovedWindow
from guards.data.token_bursts import TokenBurst
from guards.findings import Confidence, Evidence, Finding, Severity, Subject
from guards.text import printable

RULE = "drift"
GATHERED = 2.0  # times the share of all other rows
_ALPHA = 0.001
_TOLD = 5  # slices


@dataclass(frozen=True, slots=True, kw_only=True)
class Seasonal:
    """The earlier version of the same season, and how far a column lies from it."""

    version: EarlierProfile
    effect: float


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


def broad_finding(
    move: Moved, limit: float, *, severe: bool, lately: float | None = None
) -> Finding:
    """A column that moved as a whole; severe from `limit` on.

    `lately` is how far it lies from the rolling profile, if there is one.
    """
    shown, far = _of_distance(move, limit), ""
    if lately is not None:
        far = f", and by {lately:.2f} from the admitted versions before"
        shown = replace(shown, detail={**shown.detail, "from_versions_before": round(lately, 4)})
    return column_finding(
        "drift-severe" if severe else "drift-broad",
        Severity.MEDIUM if severe else Severity.LOW,
        move.name,
        f"moved by {move.effect:.2f} ({_distance(move)}; within the reference {move.spread:.2f})"
        f"{far}",
        shown,
    )


def seasonal_finding(move: Moved, limit: float, usual: Seasonal) -> Finding:
    """A column that moved from the reference as it did at this time before: never an alarm."""
    then = f"version {usual.version.version} of {usual.version.name}"
    shown = _of_distance(move, limit)
    detail = {
        **shown.detail,
        "version": then,
        "record": str(usual.version.record),
        "from_season": round(usual.effect, 4),
    }
    return column_finding(
        "drift-seasonal",
        Severity.LOW if move.effect >= limit else Severity.INFO,
        move.name,
        f"moved by {move.effect:.2f} ({_distance(move)}; within the reference {move.spread:.2f}), "
        f"as at this time before: from {printable(then)[:120]} by {usual.effect:.2f}",
        replace(shown, detail=detail),
    )


def mass_finding(
    code: str, severity: Severity, move: Moved, measured: tuple[float, float, float]
) -> Finding:
    """More missing values or unknown words than usual; `measured` is value, threshold, p-value."""
    value, threshold, p_value = measured
    told = (
        f"is missing in {value:.1%} more rows than in the reference{_odd(move)}"
        if code == "missing-jump"
        else f"holds values that the reference does not list, in {value:.1%} more rows than usual"
    )
    return column_finding(
        code,
        severity,
        move.name,
        told,
        Evidence(
            statistic="share of rows above the reference",
            value=round(value, 4),
            threshold=round(threshold, 4),
            p_value=p_value,
            effect=round(value, 4),
        ),
    )


def column_finding(
    code: str, severity: Severity, column: str, told: str, *evidence: Evidence
) -> Finding:
    """Something about one column."""
    alarming = severity >= Severity.MEDIUM
    return Finding(
        rule=RULE,
        code=code,
        severity=severity,
        confidence=Confidence.HIGH,
        subject=Subject(kind="column", name=column),
        summary=f"column {printable(column)[:80]} {told}",
        evidence=evidence,
        remedy="compare with the producer's last change; renew the reference if it is meant"
        if alarming
        else "",
    )


def token_findings(bursts: Sequence[TokenBurst]) -> Iterator[Finding]:
    """Words that came in a burst: each alone where its rows gather, or were turned to a label; else
    all in one sentence.
    """
    broad: dict[str, list[TokenBurst]] = {}
    for burst in bursts:
        if burst.by or burst.turned:
            yield _token_burst(burst)
        else:
            broad.setdefault(burst.column, []).append(burst)
    for column, some in broad.items():
        words = ", ".join(printable(one.token)[:40] for one in some[:_TOLD])
        yield column_finding(
            "tokens-moved",
            Severity.LOW,
            column,
            f"holds {len(some)} words in far more rows than the reference, of no one label or "
            f"source: {words}",
            *(_of_burst(one) for one in some[:_TOLD]),
        )


def _token_burst(burst: TokenBurst) -> Finding:
    group = printable(burst.group)[:80]
    where = (
        f"they gather in {burst.by} {group}: {burst.share:.1%} of its rows, "
        f"{burst.elsewhere:.1%} of all others"
    )
    if (label := burst.turned) is not None:
        where = (
            f"{label.hits} are labelled {printable(label.label)[:80]}, where everything else "
            f"about them leads one to expect {label.expected:.0f}"
        )
    return Finding(
        rule=RULE,
        code="token-burst",
        severity=Severity.MEDIUM,
        confidence=Confidence.MEDIUM,
        subject=Subject(kind="column", name=burst.column),
        summary=f"{burst.rows} rows of {printable(burst.column)[:80]} hold {word_of(burst.token)}, "
        f"where {burst.expected:.1f} are usual at most; {where}",
        evidence=(_of_burst(burst),),
        remedy="read the rows held: is it a campaign of the world, or something that was put in?",
    )


def word_of(token: str) -> str:
    """A word, or the kind of characters that is counted like one."""
    kind = "characters of the kind" if token.startswith("(") else "the word"
    return f"{kind} {printable(token)[:80]}"


def _of_burst(burst: TokenBurst) -> Evidence:
    detail: dict[str, str | float] = {"token": burst.token, "expected": burst.expected}
    if burst.by:
        detail |= {"by": burst.by, "group": burst.group, "gathers": burst.gathers}
    if burst.turned is not None:
        detail |= {"label": burst.turned.label, "labels_p_value": burst.turned.p_value}
    return Evidence(
        statistic="lift of rows with a word over the reference",
        value=burst.lift,
        p_value=burst.p_value,
        effect=round(1 - burst.expected / burst.rows, 4),
        sample=burst.rows,
        rows=burst.rows,
        detail=detail,
    )


def _distance(move: Moved) -> str:
    return printable(move.what)[:120]


def _odd(move: Moved) -> str:
    """Why rows of vectors count as missing that hold something."""
    lists = "lists of another length than the reference's, or with numbers that are none"
    return f"; {move.odd} rows hold {lists}" if move.odd else ""


def _of_distance(move: Moved, limit: float) -> Evidence:
    return Evidence(
        statistic=_distance(move),
        value=round(move.effect, 4),
        threshold=round(min(limit, 1.0), 4),
        p_value=move.p_value,
        effect=round(move.effect, 4),
        sample=move.rows,
        detail={"interval": [round(end, 4) for end in move.interval]},
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
