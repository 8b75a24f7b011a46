"""Is one faint wave laid over many different pictures, and do those bear one label?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.gathering import Gathered, Rows, apart, gathered, judged, labelled
from guards.numerics import shared_waves
from guards.numerics.shared_waves import Peaks, Wave
from guards.numerics.twins import blurred, twins

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Small = npt.NDArray[np.float32]

NEEDS = frozenset({"image", "label"})
RULE = "waves"
HEIGHTS = (2.5, 3.5, 5.0)
_LEAST_SIDE, _MOST_SIDE, _HALVED = 16, 128, 24  # pixels
_SAMPLE, _OTHERS = 256, 6000  # rows that are paired, and those that twins are looked for among
_TRIED = 96  # candidates, of which sets of aligned drawings have some that are natural
_ENOUGH, _FAR = 0.7, 4.0  # of the usual amplitude, and robust deviations: what its rows have
_LEAST_SPREAD = 0.25  # grey levels: in pictures without any texture nothing is of no width
_EVERYONE = -1
_NOTED = Severity.INFO
_REMEDY = (
    "Look at the rows, which are in rows.parquet, and ask who laid the pattern over them. If it is "
    "a camera's or a scanner's, filter it out or declare the source: a model will learn it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What makes a wave, and what makes a wave an alarm.

    A wave is looked for where `rows` rows of one label, or of all, have a peak in one window of
    frequencies and phases, `lift` times as many as around it, with a corrected p-value of `alpha`.
    Held against twins, its rows must have more of it by `stands` robust deviations, at the rim by
    `covers` of the mean, and what sets them apart must be a wave by a share of `pure`. They must
    differ from one another by at least `alike` of what rows of their labels do. They *gather* if a
    label has `gathers` times the rows that sources lead to expect, and at most `whole` of that
    label's rows. Labels count as denied if `denied` of the rows, and `denied_lift` times the rate
    of the rest, do not look like them; at 0 nobody asks. At most `waves` are told.
    """

    alpha: float = 1e-3
    rows: int = 10
    lift: float = 3.0
    stands: float = 5.0
    covers: float = 0.45
    pure: float = 0.4
    alike: float = 0.6
    gathers: float = 2.5
    whole: float = 0.9
    denied: float = 0.5
    denied_lift: float = 1.8
    waves: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """The rows with their pictures at one size, and the peaks of their spectra."""

    seen: Rows
    peaks: Peaks

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.seen.pixels.shape[2:]
        return height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """The window `cell` of a layer's spectra, in which `group` has too many peaks of a height."""

    layer: _Layer
    group: int
    height: float
    cell: Ints
    log_p: float

    @property
    def lift(self) -> float:
        return float(self.cell[3] / (self.cell[4] + 0.5))

    @property
    def rows(self) -> Ints:
        """The rows of the group with such a peak."""
        rows = self.everyone(self.height)
        return rows if self.group == _EVERYONE else rows[self.layer.seen.labels[rows] == self.group]

    def everyone(self, height: float = shared_waves.HEIGHT) -> Ints:
        """The rows of all labels with a peak of that height in the window."""
        found = self.layer.peaks
        inside = shared_waves.members(found, self.cell, self.layer.size[0])
        rows: Ints = np.unique(found.rows[inside & (found.height >= height)])
        return rows

    def beside(self, other: _Candidate) -> bool:
        """Whether the windows overlap, or nearly so, so that they hold the same peaks."""
        if self.layer is not other.layer or self.group != other.group:
            return False
        bins, height = np.abs(self.cell[:2] - other.cell[:2]), self.layer.size[0]
        turn = abs(int(self.cell[2] - other.cell[2]))
        near = max(min(bins[0], height - bins[0]), bins[1]) <= 2
        return bool(near and min(turn, shared_waves.SECTORS - turn) <= shared_waves.WIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wave:
    """A wave, what sets its rows apart from their twins, its `rows` (m,), and their labels.

    `amounts` (m,) are its amplitudes in the rows, in limited grey levels; `amplitude` is the usual
    one less the twins', and `stands` that over these' robust deviation.
    """

    candidate: _Candidate
    wave: Wave
    amplitude: float
    stands: float
    covers: float
    rows: Ints
    amounts: Small
    apart: float
    labels: Gathered


def examine(case: Case, settings: Settings) -> Measured:
    """Look for waves, and for labels under which they gather or which they belie."""
    seen = labelled(case)
    if min(seen.pixels.shape[2:]) < _LEAST_SIDE:
        # No skip: where it is required that would block every dataset of small pictures.
        note = f"in pictures below {_LEAST_SIDE} x {_LEAST_SIDE} pixels no wave is told"
        return Measured(statistics={"rows": 0, "waves": [], "note": note})
    candidates, tested = _candidates(_layers(seen), settings)
    waves = _waves(candidates, settings)
    told = [(w, *judged(case, seen, w.rows, w.labels, settings)) for w in waves]
    return Measured(
        statistics={
            "rows": len(seen.rows),
            "windows_tested": tested,
            "windows_that_stand_out": len(candidates),
            "waves": [_detail(seen, wave) for wave in waves],
        },
        findings=tuple(_finding(seen, *one, tested, settings) for one in told),
        row_scores=_row_scores(seen, [wave for wave, severity, _ in told if severity > _NOTED]),
    )


def _layers(seen: Rows) -> list[_Layer]:
    """The pictures at their size, at half of it and so on, as long as they are not small.

    What is limited to faint and small structure does not see waves that are many pixels long.
    """
    rows = seen.cut(-(-max(seen.pixels.shape[2:]) // _MOST_SIDE))
    found = [_Layer(seen=rows, peaks=shared_waves.peaks(rows.pixels))]
    while min(found[-1].size) // 2 >= _HALVED:
        rows = rows.cut(2)
        found.append(_Layer(seen=rows, peaks=shared_waves.peaks(rows.pixels)))
    return found


def _candidates(layers: Sequence[_Layer], settings: Settings) -> tuple[list[_Candidate], int]:
    """Windows that stand out, most certain first, and how many were tested."""
    found: list[_Candidate] = []
    tested = 0
    for layer in layers:
        for height in HEIGHTS:
            more, tests = _in_layer(layer, height, settings)
            found, tested = found + more, tested + tests
    most = np.log10(settings.alpha / max(tested, 1))
    return sorted((c for c in found if c.log_p <= most), key=lambda c: c.log_p), tested


def _in_layer(layer: _Layer, height: float, settings: Settings) -> tuple[list[_Candidate], int]:
    seen, peaks = layer.seen, layer.peaks.only(layer.peaks.height >= height)
    labels, sizes = seen.labels[peaks.rows], np.bincount(seen.labels)
    everyone = shared_waves.windows(peaks, layer.size)
    tables = {_EVERYONE: (everyone, np.zeros(everyone.shape))}
    for label in np.flatnonzero(np.bincount(labels) >= settings.rows).tolist():
        table = shared_waves.windows(peaks.only(labels == label), layer.size)
        share = sizes[label] / max(len(seen.rows) - sizes[label], 1)
        tables[label] = table, (everyone - table) * share
    found = []
    for group, (table, expected) in tables.items():
        cells = shared_waves.standing(table, expected, least=settings.rows, lift=settings.lift)
        logs = shared_waves.log_tails(cells[:, 3], cells[:, 4]).tolist()
        for cell, log in zip(cells, logs, strict=True):
            one = _Candidate(layer=layer, group=group, height=height, cell=cell, log_p=log)
            found.append(one)
    return found, sum(int(np.count_nonzero(table)) for table, _ in tables.values())


def _waves(left: Sequence[_Candidate], settings: Settings) -> list[_Wave]:
    """Candidates that stand apart, are everywhere and little but a wave; most certain first."""
    found: list[_Wave] = []
    for _ in range(_TRIED):
        if not left or len(found) == settings.waves:
            break
        first = left[0]
        one = _measured(first, settings)
        if one is not None:
            found.append(one)
            # Its overtones, and the same at other sizes and heights, are on the same rows.
            left = [c for c in left[1:] if np.isin(c.rows, one.rows).mean() < 0.5]
        else:
            left = [c for c in left[1:] if not c.beside(first)]
    return found


def _measured(candidate: _Candidate, settings: Settings) -> _Wave | None:
    """What a candidate's rows have and their twins lack, if that is a wave."""
    seen = candidate.layer.seen
    mine, others = _paired(seen, candidate.rows, candidate.everyone())
    if not len(mine):
        return None
    have, lack = (shared_waves.limited(seen.pixels[rows]) for rows in (mine, others))
    wave = shared_waves.fitted((have.mean(0) - lack.mean(0)).astype(np.float64))
    drawn = wave.drawn(*candidate.layer.size)
    have, lack = (shared_waves.amplitudes(pictures, drawn) for pictures in (have, lack))
    covers = shared_waves.cover(have.mean(0) - lack.mean(0))
    usual = float(np.median(lack.mean(1)))
    spread = max(1.4826 * float(np.median(np.abs(lack.mean(1) - usual))), _LEAST_SPREAD)
    amplitude = float(np.median(have.mean(1))) - usual
    weak = amplitude < settings.stands * spread
    if weak or covers < settings.covers or wave.pure < settings.pure:
        return None
    amounts = shared_waves.strengths(seen.pixels, drawn)
    # All rows are asked: a peak may be hidden by what the picture shows, or be an overtone's.
    rows = np.flatnonzero(amounts >= usual + max(_ENOUGH * amplitude, _FAR * spread))
    if len(rows) < settings.rows or (unlike := apart(seen, rows)) < settings.alike:
        return None
    return _Wave(
        candidate=candidate,
        wave=wave,
        amplitude=amplitude,
        stands=amplitude / spread,
        covers=covers,
        rows=rows,
        amounts=amounts[rows],
        apart=unlike,
        labels=gathered(seen, rows),
    )


def _paired(seen: Rows, inside: Ints, everyone: Ints) -> tuple[Ints, Ints]:
    """Some rows of `inside`, and their twins among rows that have no such peak."""
    mine = inside[:: -(-len(inside) // _SAMPLE)]
    others = np.setdiff1d(np.arange(len(seen.rows)), everyone)
    others = others[:: -(-len(others) // _OTHERS) or 1]
    first, second = twins(blurred(seen.pixels[mine]), blurred(seen.pixels[others]))
    return mine[first], others[second]


def _detail(seen: Rows, one: _Wave) -> dict[str, Any]:
    down, right = one.wave.frequency.tolist()
    height, width = one.candidate.layer.size
    step = one.candidate.layer.seen.step
    return {
        "periods_down": round(down, 2),
        "periods_right": round(right, 2),
        "pixels_a_period": round(step / float(np.hypot(down / height, right / width)), 2),
        "turns_at_the_centre": round(one.wave.phase, 3),
        "amplitude": round(one.amplitude, 2),
        "stands": round(one.stands, 2),
        "covers": round(one.covers, 3),
        "pure": round(one.wave.pure, 3),
        "rows": len(one.rows),
        "label": seen.classes[one.labels.label],
        "rows_of_label": one.labels.hits,
        "share_of_label": round(one.labels.share, 4),
        "over_expected": round(one.labels.lift, 2),
        "apart": round(one.apart, 3),
    }


def _finding(
    seen: Rows,
    one: _Wave,
    severity: Severity,
    told: dict[str, Any],
    tested: int,
    settings: Settings,
) -> Finding:
    labels, detail = one.labels, _detail(seen, one)
    name = seen.classes[labels.label]
    what = (
        f"one wave of {detail['pixels_a_period']:.1f} pixels is laid over "
        f"{len(one.rows):,} different pictures"
    )
    if severity == Severity.INFO:
        summary = f"{what}; their labels are those of the rest"
    elif told["gathers"]:
        times = f"{labels.lift:.1f} times too many"
        summary = f"{what}, {labels.hits:,} of them labelled {name}: {times}"
    else:
        summary = f"{what}, and {told['denied']:.0%} of them do not look like their labels"
    return Finding(
        rule=RULE,
        code="common-wave" if severity == Severity.INFO else "planted-wave",
        severity=severity,
        confidence=Confidence.HIGH if severity == Severity.HIGH else Confidence.MEDIUM,
        subject=Subject(kind="class", name=name) if told["gathers"] else Subject(kind="dataset"),
        summary=summary,
        evidence=_evidence(seen, one, {**detail, **told}, tested, settings),
        remedy=_REMEDY,
    )


def _evidence(
    seen: Rows, one: _Wave, detail: dict[str, Any], tested: int, settings: Settings
) -> tuple[Evidence, ...]:
    log_p = one.candidate.log_p + float(np.log10(tested))
    return (
        Evidence(
            statistic="rows with one frequency and phase, over the most with another phase",
            value=round(one.candidate.lift, 2),
            threshold=settings.lift,
            p_value=10.0 ** max(log_p, -300.0),
            effect=round(one.candidate.lift, 2),
            sample=len(seen.rows),
            rows=len(one.candidate.rows),
            detail={**detail, "gathered_p_value": one.labels.p_value},
        ),
        Evidence(
            statistic="how much more of the wave they have than pictures that look like them",
            value=round(one.stands, 2),
            threshold=settings.stands,
            effect=round(one.stands, 2),
            rows=len(one.rows),
            detail={},
        ),
    )


def _row_scores(seen: Rows, waves: Sequence[_Wave]) -> tuple[RowScore, ...]:
    held: dict[int, tuple[float, str]] = {}
    for one in waves:
        length = _detail(seen, one)["pixels_a_period"]
        scores = np.clip(one.amounts / (2 * one.amplitude), 0.01, 1).tolist()
        for row, score in zip(seen.rows[one.rows].tolist(), scores, strict=True):
            held[row] = (score, f"carries the wave of {length:.1f} pixels")
    return tuple(
        RowScore(row=row, score=round(score, 4), reason=reason)
        for row, (score, reason) in sorted(held.items())
    )
