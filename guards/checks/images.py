"""Are these pictures what a training job takes them for?

No paper: counting. A row is *unreadable* when its bytes do not decode (see `guards.data.images`
for what is allowed to), *blank* when all its pixels are equal, and in *conflict* when pictures
with exactly its pixels carry different labels. Every share is held against a threshold that says
what would hurt a training run; a single unreadable row is already told, since a complete dataset
has none. Sizes and modes that differ are noted only: pipelines resize and convert. How far the
pictures were resized to be compared with each other is in the statistics.

Measured: in all of Fashion-MNIST (60,000 + 10,000 pictures, counted apart) no picture is blank
or unreadable, and none occurs twice, so the thresholds leave three orders of magnitude of room.
Near copies (a move of two pixels, a little noise) that gather under one label are only noted:
films and series do so honestly, and a first version alarmed on 6,000 clean rows of Fashion-MNIST.
Now: near-duplicate injection at 1 % of 3,000 rows, seeds 100 and 101, two a set: .90 and .97 of
the rows held (Fashion-MNIST), .83 and 1.00 (MNIST), 1.00 twice (CIFAR-10, all as JPEG again), no
other row; 6 clean runs of 6,000 rows with 1 % copies: nothing. Few runs, and taken again after that
false alarm: hence LOW.

The known way around it: turned, mirrored or larger copies, copies spread over the labels, or fewer
than five of one picture. Conflicts and repetitions count exact pixels, so a change of one grey
level in one pixel escapes; a picture that decodes can still be of anything.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.data.case import Case
from guards.data.dataset import Dataset
from guards.data.images import Images
from guards.findings import Confidence, Evidence, Finding, Measured, RowScore, Severity, Subject
from guards.numerics.enrichment import enriched
from guards.numerics.near_copies import families

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEEDS = frozenset({"image"})
_MOST_COMPARED = 20_000  # rows; beyond it near copies are not looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Shares of all rows from which a finding weighs more.

    `unreadable` makes unreadable rows HIGH (any are MEDIUM). `conflicts` and `blank` make theirs
    MEDIUM (any are LOW), from at least `rows` rows. Near copies are told when families of `family`
    rows gather under one label with p-value `alpha` and `lift` times the rate of the others; where
    they are more than `most` of the rows they are what the set is made of.
    """

    unreadable: float = 0.05
    conflicts: float = 0.005
    blank: float = 0.05
    repeated: float = 0.05
    rows: int = 10
    family: int = 5
    most: float = 0.1
    lift: float = 5.0
    alpha: float = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way in which rows are wrong: `held` maps each such row to the reason."""

    code: str
    held: Mapping[int, str]
    threshold: float
    below: Severity
    above: Severity
    least: int
    summary: str
    remedy: str


def examine(case: Case, settings: Settings) -> Measured:
    """Count what does not decode, what is blank, what contradicts itself, and what differs."""
    dataset = case.dataset
    images = case.images
    alike = _alike(images)
    kinds = (
        _unreadable(images, settings),
        _blank(images, settings),
        _conflicts(alike, _labels(dataset), settings),
        _near(images, _labels(dataset), settings),
    )
    noted = (*_mixed(images), *_repeated(alike, dataset.rows, settings))
    return Measured(
        statistics=_statistics(dataset, images, alike, kinds),
        findings=(*(_finding(kind, dataset.rows) for kind in kinds if kind.held), *noted),
        row_scores=tuple(
            RowScore(row=row, score=1.0, reason=why)
            for row, why in sorted(pair for kind in kinds for pair in kind.held.items())
        ),
    )


def _unreadable(images: Images, settings: Settings) -> Kind:
    return Kind(
        code="unreadable-images",
        held={row: f"unreadable picture: {why}" for row, why in images.failed},
        threshold=settings.unreadable,
        below=Severity.MEDIUM,
        above=Severity.HIGH,
        least=1,
        summary="do not decode as pictures",
        remedy="fetch these files again from their source, or remove the rows",
    )


def _blank(images: Images, settings: Settings) -> Kind:
    blank = images.rows[_is_blank(images.pixels)]
    return Kind(
        code="blank-images",
        held=dict.fromkeys(blank.tolist(), "blank picture: all pixels are equal"),
        threshold=settings.blank,
        below=Severity.LOW,
        above=Severity.MEDIUM,
        least=settings.rows,
        summary="are blank: every pixel is equal",
        remedy="look for a failed camera or export, and remove the rows",
    )


def _conflicts(
    alike: Sequence[NDArray[np.int64]], labels: Sequence[str | None], settings: Settings
) -> Kind:
    """Rows of pictures that occur under several labels; blank ones are another finding's."""
    held = {}
    for rows in alike:
        given = sorted({label for row in rows if (label := labels[row]) is not None})
        if len(given) > 1:
            why = f"the same picture is labelled {', '.join(given[:5])}"
            held.update(dict.fromkeys(rows.tolist(), why))
    return Kind(
        code="conflicting-duplicates",
        held=held,
        threshold=settings.conflicts,
        below=Severity.LOW,
        above=Severity.MEDIUM,
        least=settings.rows,
        summary="have a picture that occurs pixel for pixel under another label too",
        remedy="at most one of the labels is right: label these pictures again, or remove them",
    )


def _near(images: Images, labels: Sequence[str | None], settings: Settings) -> Kind:
    """Rows of one label in families of near copies; exact ones count once and are another's."""
    once = np.sort(np.unique(images.digests, return_index=True)[1])
    once = once[~_is_blank(images.pixels[once])]
    known = once[[labels[row] is not None for row in images.rows[once].tolist()]]
    held: dict[int, str] = {}
    if min(images.pixels.shape[2:]) >= 16 and settings.rows < len(known) <= _MOST_COMPARED:
        family = families(images.pixels[known])
        many = np.bincount(family)[family] >= settings.family
        names, codes = np.unique(
            [str(labels[row]) for row in images.rows[known].tolist()], return_inverse=True
        )
        hits, sizes = np.bincount(codes, many, len(names)), np.bincount(codes)
        p_values, lifts = enriched(hits, sizes)
        label = int(hits.argmax())
        if (
            hits[label] >= max(settings.rows, 0.8 * hits.sum())
            and hits.sum() <= settings.most * len(known)
            and p_values[label] * len(names) <= settings.alpha
            and lifts[label] >= settings.lift
        ):
            rows = images.rows[known[many & (codes == label)]].tolist()
            held = dict.fromkeys(rows, f"one of many near copies labelled {names[label]}")
    return Kind(
        code="near-copies",
        held=held,
        threshold=0.0,
        below=Severity.LOW,
        above=Severity.LOW,
        least=settings.rows,
        summary="are near copies of few pictures, gathered under one label",
        remedy="ask where the copies came from; if they are honest, keep one of each",
    )


def _finding(kind: Kind, total: int) -> Finding:
    count = len(kind.held)
    share = count / total
    weighs = share > kind.threshold and count >= kind.least
    return Finding(
        rule="images",
        code=kind.code,
        severity=kind.above if weighs else kind.below,
        confidence=Confidence.HIGH,
        subject=Subject(kind="rows"),
        summary=f"{count:,} of {total:,} rows {kind.summary}",
        evidence=(
            Evidence(
                statistic="share of rows",
                value=round(share, 6),
                threshold=kind.threshold,
                effect=round(share, 6),
                sample=total,
                rows=count,
                detail={"reasons": dict(Counter(kind.held.values()).most_common(5))},
            ),
        ),
        remedy=kind.remedy,
    )


def _mixed(images: Images) -> Iterator[Finding]:
    """Note stored sizes and modes when there is more than one of them."""
    counted = {
        "sizes": Counter({f"{width} x {height}": n for (width, height), n in images.sizes.items()}),
        "modes": images.modes,
    }
    for name, counts in counted.items():
        if len(counts) > 1:
            common, rows = counts.most_common(1)[0]
            yield _note(
                f"mixed-{name}",
                f"pictures have {len(counts)} {name}; {rows:,} are {common}",
                counts.total() - rows,
                counts.total(),
                "convert all pictures alike before training, whichever way the pipeline expects",
                detail=dict(counts.most_common(10)),
            )


def _repeated(
    alike: Sequence[NDArray[np.int64]], total: int, settings: Settings
) -> Iterator[Finding]:
    """Note pictures that occur more than once, label aside, when they are many."""
    extra = sum(len(rows) - 1 for rows in alike)
    if extra >= settings.rows and extra > settings.repeated * total:
        yield _note(
            "repeated-images",
            f"{extra:,} of {total:,} rows repeat the picture of another row",
            extra,
            total,
            "remove the repetitions, and keep them from standing on both sides of a split",
            detail={"most repeated": max(len(rows) for rows in alike)},
        )


def _note(
    code: str, summary: str, rows: int, total: int, remedy: str, *, detail: Mapping[str, Any]
) -> Finding:
    evidence = Evidence(statistic="rows", value=rows, sample=total, rows=rows, detail=detail)
    return Finding(
        rule="images",
        code=code,
        severity=Severity.LOW,
        confidence=Confidence.HIGH,
        subject=Subject(kind="dataset"),
        summary=summary,
        evidence=(evidence,),
        remedy=remedy,
    )


def _alike(images: Images) -> list[NDArray[np.int64]]:
    """Global rows, ascending, of every picture that occurs more than once and is not blank."""
    groups: dict[int, list[int]] = defaultdict(list)
    seen = ~_is_blank(images.pixels)
    for digest, row in zip(images.digests[seen].tolist(), images.rows[seen].tolist(), strict=True):
        groups[digest].append(row)
    return [np.array(rows) for rows in groups.values() if len(rows) > 1]


def _is_blank(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pictures (n, C, H, W) hold one value per channel, (n,)."""
    blank: NDArray[np.bool_] = (pixels == pixels[..., :1, :1]).all(axis=(1, 2, 3))
    return blank


def _labels(dataset: Dataset) -> list[str | None]:
    if dataset.roles.label is None:
        return [None] * dataset.rows
    values = dataset.frame([dataset.roles.label]).to_series().to_list()
    return [None if value is None else str(value) for value in values]


def _resized(images: Images) -> int:
    """Pictures that are compared at another size than they have."""
    height, width = images.pixels.shape[2:]
    return images.sizes.total() - images.sizes[width, height]


def _shapes(images: Images) -> dict[str, Any]:
    """The ends of what the pictures measure: shortest and longest side, and most stretched."""
    if not images.sizes:
        return {}
    return {
        "shortest side": min(min(size) for size in images.sizes),
        "longest side": max(max(size) for size in images.sizes),
        "widest to highest": round(max(max(size) / min(size) for size in images.sizes), 1),
    }


def _statistics(
    dataset: Dataset, images: Images, alike: Sequence[NDArray[np.int64]], kinds: Sequence[Kind]
) -> dict[str, Any]:
    means = images.pixels.mean(axis=(1, 2, 3)) if len(images.rows) else np.zeros(1)
    return {
        "rows": dataset.rows,
        "decoded": len(images.rows),
        "channels": images.pixels.shape[1],
        "working_size": "{1}x{0}".format(*images.pixels.shape[2:]),
        "resized": _resized(images),
        "shapes": _shapes(images),
        "sizes": {f"{w}x{h}": n for (w, h), n in images.sizes.most_common(10)},
        "modes": dict(images.modes.most_common(10)),
        "brightness": {"mean": round(float(means.mean()), 3), "sd": round(float(means.std()), 3)},
        "repeated": sum(len(rows) - 1 for rows in alike),
        **{kind.code: len(kind.held) for kind in kinds},
    }
