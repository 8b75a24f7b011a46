"""Does something that a short training learns turn labels against what the pictures show?

Three views of every row, q, q_c and p (:mod:`guards.numerics.seeds`), choose the seeds of each
class by e = log q_c + log p - 2 log q. In each layer of the probe ridge regression, the linear
discriminant for a small group, tells the seeds of each class, and those of all classes together,
from *all* rows, every row scored out of fold:

    s(x) = (x'w - median)/(1.4826 MAD),    w = (X'X/n + r I)^-1 X'y/n

The rows with s above a threshold are a *learnt cell*, held to what a pixel cell is held to (label
inconsistency and enrichment; the trigger model is Gu et al. 2017, arXiv:1708.06733): of its rows
that do not look like the label, how many bear it; of all its rows, how many bear it though nothing
outside the cell that looks like them does. The latter has a beta-binomial tail against cells of
which .15 are such rows, corrected over layers, thresholds and directions. From the cell's own rows
the direction is learnt again, in all layers at once; who lies on it is held. Of a row's p-value
the null is the rows of its class that look as they should.

The AUC of the seeds out of fold, the first idea for a class test, is no test: it is .6 to .96 on
classes without any planted row and .87 to .97 on those with some (Fashion-MNIST, CIFAR-10). What
tells them apart is what else lies along the direction. In the worst cells of clean runs mostly
below .2 of the rows were hits (one small cell: 5 of 9); in cells of planted rows .6 to .98.

Measured, 5,000 class-balanced rows, probe of the CPU, CIFAR-10 stored as JPEG of quality 75, one
core; seeds 0 to 2 were used while building, 100 was not (attack success is the probe's):

    set      attack        rate  seed  success  alarm    target  planted held  clean held
    Fashion  patch          1 %     1      .97  yes      right       .90         .0000
    Fashion  blend          1 %     0      .81  yes      right      1.00         .0010
    Fashion  blend          1 %   100      .89  yes      right      1.00         .0000
    Fashion  TaCT           1 %     0      .69  yes      right      1.00         .0004
    Fashion  TaCT           1 %   100      .83  yes      right       .94         .0000
    Fashion  all-to-all     5 %     0      .79  yes      all        1.00         .0000
    Fashion  all-to-all     5 %   100      .76  yes      all        1.00         .0000
    CIFAR    patch          1 %     0      .97  yes      right      1.00         .0000
    CIFAR    patch          1 %     1      .75  yes      right      1.00         .0002
    CIFAR    patch          1 %   100      .97  yes      right      1.00         .0000
    CIFAR    TaCT           1 %     0      .73  no, p .07
    Fashion  adaptive-blend 1 %     0      .56  no
    Fashion  pair flips     5 %   100        -  no, rightly

Not implanted, and quiet: WaNet 5 % (.33, p .04), SIG 5 % (.16), adaptive-patch 1 % (.22), patch and
blend .3 % (.01, .27, p .02) on Fashion-MNIST, blend 1 % (.06) and all-to-all 5 % (.10) on CIFAR-10.
Nor was patch .3 % on CIFAR-10 (.05). WaNet on Fashion-MNIST and TaCT on CIFAR-10 miss by the
p-value, not by the effect.
Clean, 1,500 to 5,000 rows: 0 alarms in 43 runs (digits 31, Fashion-MNIST 5, CIFAR-10 5, MNIST 2;
27 with Dirichlet class sizes; subsamples of one set overlap). Two of digits did alarm, with .68
and .78 hits, before a cell with most of a rare class was no cell any more; of the 20 runs drawn
after that change none did. That is too few for a claim of 1 %. The whole rule takes .1 to .3 s
beside what the features cost, and the patch view about 2 s.

Known ways around it: right labels (SIG, label-consistent); cover, as many rows that carry the
trigger and keep their label; a trigger that the short training does not learn; fewer than 8 rows;
on photographs, one source class. A class of fewer than 60 rows is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.data.embedding import NEIGHBOURS
from guards.data.image_features import INCONSISTENT
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.gathering import source_of
from guards.numerics import discriminant, seeds
from guards.numerics.intervals import empirical, estimated

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from guards.data.image_features import ImageFeatures

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

NEEDS = frozenset({"image", "label"})
RULE = "backdoor"
_REMEDY = (
    "Do not train on this batch, and do not merely drop the rows found: ask where they came from, "
    "and look at some of them. The rows, with p-values, are in rows.parquet."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Significance and effect must both be there.

    Seeds are the `share` of each class with most evidence, `least` rows at least; directions are
    learnt in the `rank` principal components of each space. A cell begins at one of `thresholds`,
    in robust standard deviations. It alarms with `least` hits, a `rate` of them, a turn rate of
    `turn`, and a corrected p-value of `alpha` against cells in which `natural` of the rows are
    hits, give or take `dispersion`. Rows at least `near` out along the direction that the cell's
    own rows give are held.
    """

    share: float = 0.03
    least: int = 8
    thresholds: tuple[float, ...] = (4.0, 6.0, 8.0)
    alpha: float = 1e-3
    rate: float = 0.4
    turn: float = 0.6
    rank: int = 128
    natural: float = 0.15
    dispersion: float = 0.03
    near: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A cell that alarmed, and whom it holds.

    `rows` (m,) index the features, `scores` (m,) are robust standard deviations along the refined
    direction, `p_values` (m,) those of rows that look as they should.
    """

    cell: seeds.Cell
    layers: int
    rows: Ints
    scores: Floats
    p_values: Floats


def examine(case: Case, settings: Settings) -> Measured:
    """Look along the direction of each class's seeds, and of all seeds, for turned rows."""
    import torch

    features = case.image_features
    spaces = [discriminant.whitened(space, settings.rank) for space in features.spaces]
    scores, cells = _cells(features, spaces, settings)
    alarming = [cell for cell in cells if _alarms(cell, settings)]
    chosen = _explanations(features, scores, alarming)
    if chosen:
        layers = torch.cat(features.spaces[: len(features.layers)], 1)
        spaces = [discriminant.whitened(layers, settings.rank), *spaces]
    found = [_planted(features, spaces, scores, cell, alarming, settings) for cell in chosen]
    return Measured(
        statistics=_statistics(features, cells, found),
        findings=tuple(_finding(features, planted, settings) for planted in found),
        row_scores=_row_scores(features, found),
    )


def _cells(
    features: ImageFeatures, spaces: Sequence[Tensor], settings: Settings
) -> tuple[list[Tensor], list[seeds.Cell]]:
    import torch

    k = len(features.classes)
    evidence = seeds.evidence(features.share, features.patch_share, features.belief, NEIGHBOURS)
    chosen = seeds.choose(
        evidence,
        features.labels,
        k,
        share=settings.share,
        least=settings.least,
        smallest=4 * NEIGHBOURS,
    )
    marks = torch.as_tensor(chosen, device=features.device)
    rng = np.random.default_rng([features.seed, 6])
    scores = [discriminant.ridge_scores(space, marks, rng) for space in spaces]
    cells = seeds.learnt_cells(
        scores,
        torch.as_tensor(features.embedding, device=features.device),
        features.labels,
        features.looks,
        thresholds=settings.thresholds,
        least=settings.least,
        neighbours=NEIGHBOURS,
        inconsistent=INCONSISTENT,
        base=settings.natural,
        dispersion=settings.dispersion,
    )
    return scores, cells


def _alarms(cell: seeds.Cell, settings: Settings) -> bool:
    return (
        cell.hits >= settings.least
        and cell.rate >= settings.rate
        and cell.turn >= settings.turn
        and cell.p_value <= settings.alpha
    )


def _explanations(
    features: ImageFeatures, scores: Sequence[Tensor], alarming: Sequence[seeds.Cell]
) -> list[seeds.Cell]:
    """The most surprising cell of each target; the one of all labels if none is half of it."""
    best: dict[int | None, seeds.Cell] = {}
    for cell in sorted(alarming, key=lambda cell: (cell.p_value, -cell.hits)):
        best.setdefault(cell.target, cell)
    everywhere = best.pop(None, None)
    if everywhere is not None:
        turned = _members(scores, everywhere) & (features.looks != features.labels)
        counts = np.bincount(features.labels[turned])
        if 2 * counts.max() <= counts.sum():
            return [everywhere]
    return list(best.values())


def _members(scores: Sequence[Tensor], cell: seeds.Cell) -> Bools:
    """The rows of a cell, (n,)."""
    column = -1 if cell.target is None else cell.target
    inside: Bools = (scores[cell.layer][:, column] >= cell.threshold).cpu().numpy()
    return inside


def _planted(
    features: ImageFeatures,
    spaces: Sequence[Tensor],
    scores: Sequence[Tensor],
    cell: seeds.Cell,
    alarming: Sequence[seeds.Cell],
    settings: Settings,
) -> Planted:
    """Learn the direction again from the cell's own rows; hold who lies on it."""
    inside = _members(scores, cell)
    bears = np.ones_like(inside) if cell.target is None else features.labels == cell.target
    core = inside & bears & (features.looks != features.labels)
    refined, rows = _refined(features, spaces, core, bears, settings)
    usual = refined[bears & ~inside & (features.share >= 0.5)]
    return Planted(
        cell=cell,
        layers=len({each.layer for each in alarming if each.target == cell.target}),
        rows=rows,
        scores=refined[rows],
        p_values=empirical(refined[rows], usual),
    )


def _refined(
    features: ImageFeatures,
    spaces: Sequence[Tensor],
    core: Bools,
    bears: Bools,
    settings: Settings,
) -> tuple[Floats, Ints]:
    """The direction of the rows `core` (n,), of those in `bears` (n,) who lies on it, and how far.

    It is learnt in each of `spaces`, all layers at once among them. The one that is kept holds most
    rows beyond nature: those held that look wrong, less as many as go by rights with those held
    that look right.
    """
    import torch

    wrong = features.looks != features.labels
    usual = wrong[bears & ~core].mean()
    marks = torch.as_tensor(core[:, None], device=features.device)
    kept, most = None, -np.inf
    for space in spaces:
        rng = np.random.default_rng([features.seed, 7])
        scores = discriminant.ridge_scores(space, marks, rng)[:, 0].cpu().numpy()
        # Seeds of many kinds make a wide cloud: half as far out as the typical one is on it.
        cut = max(settings.near, 0.5 * float(np.median(scores[core])))
        rows = np.flatnonzero(bears & (scores >= cut))
        beyond = wrong[rows].sum() - (~wrong[rows]).sum() * usual / max(1 - usual, 1e-9)
        if beyond > most:
            kept, most = (scores, rows), beyond
    assert kept is not None
    return kept


def _finding(features: ImageFeatures, planted: Planted, settings: Settings) -> Finding:
    cell, many = planted.cell, planted.cell.target is None
    name = "several classes" if cell.target is None else features.classes[cell.target]
    source = source_of(features.sources, features.source_names, planted.rows)
    blame = f", {source['share']:.0%} of them from source {source['name']}" if source else ""
    labelled = "with labels of" if many else "labelled"
    return Finding(
        rule=RULE,
        code="hidden-trigger",
        severity=Severity.HIGH,
        confidence=Confidence.HIGH if planted.layers > 1 else Confidence.MEDIUM,
        subject=Subject(kind="dataset") if many else Subject(kind="class", name=name),
        summary=f"{len(planted.rows)} rows {labelled} {name} share something that a short training "
        f"learns, and most do not look like their label{blame}: a backdoor",
        evidence=(
            Evidence(
                statistic="share of the rows far out along the learnt direction that bear the "
                "label though nothing else that looks like them does",
                value=round(cell.rate, 4),
                threshold=settings.rate,
                p_value=cell.p_value,
                effect=round(cell.rate / settings.natural, 2),
                sample=len(features.labels),
                rows=len(planted.rows),
                detail={
                    "target": None if many else name,
                    "layer": cell.layer,
                    "layers_that_agree": planted.layers,
                    "cell": {"from": cell.threshold, "rows": cell.rows, "hits": cell.hits},
                    "turn_rate": round(cell.turn, 4),
                    "source": source,
                    "poison_rate": estimated(len(planted.rows), len(features.labels)),
                },
            ),
        ),
        remedy=_REMEDY,
    )


def _statistics(
    features: ImageFeatures, cells: Sequence[seeds.Cell], found: Sequence[Planted]
) -> dict[str, Any]:
    """For every direction its worst cell: what an admitted version looks like."""
    worst: dict[int | None, seeds.Cell] = {}
    for cell in sorted(cells, key=lambda cell: (cell.p_value, -cell.rate)):
        worst.setdefault(cell.target, cell)
    told = {target: _told(cell) for target, cell in worst.items()}
    none = {"rows": 0, "hits": 0, "turn": 0.0, "p_value": 1.0}
    return {
        "classes": {name: told.get(c, none) for c, name in enumerate(features.classes)},
        "all_classes": told.get(None, none),
        "resemblance": round(features.resemblance, 4),
        "backdoors": [
            {
                "target": None if p.cell.target is None else features.classes[p.cell.target],
                "rows": len(p.rows),
                "poison_rate": estimated(len(p.rows), len(features.labels)),
            }
            for p in found
        ],
    }


def _told(cell: seeds.Cell) -> dict[str, float]:
    return {
        "rows": cell.rows,
        "hits": cell.hits,
        "turn": round(cell.turn, 4),
        "p_value": cell.p_value,
    }


def _row_scores(features: ImageFeatures, found: Sequence[Planted]) -> tuple[RowScore, ...]:
    """Every held row once, under the finding along whose direction it lies farthest."""
    best: dict[int, tuple[float, float]] = {}
    for planted in found:
        lines = zip(planted.rows, planted.scores, planted.p_values, strict=True)
        for row, score, p_value in lines:
            if score > best.get(int(row), (-np.inf, 1.0))[0]:
                best[int(row)] = (float(score), float(p_value))
    return tuple(
        RowScore(
            row=int(features.rows[row]),
            score=round(score, 4),
            p_value=p_value,
            suggested_label=features.suggested(row),
            reason="shares a direction that turns labels to "
            + features.classes[features.labels[row]],
        )
        for row, (score, p_value) in sorted(best.items())
    )
