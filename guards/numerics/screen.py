"""Centred spectral scores and activation clustering for every class at once, with a null.

One subspace a class serves both. Classes are laid out as padded batches (buckets of sizes within
a factor of two), every batch is read once, and nothing loops over classes:

1. *Whitening.* W = L^-T for S = L L', S the shrunk pooled within-class covariance, estimated from
   differences of rows of one class, (x - x')(x - x')'/2, which needs no means.
2. *Subspace.* Each class is cut in two halves. In each, orthogonal iteration on W'X'XW with
   CholeskyQR twice; X - m is never made: (X - 1 m')V = XV - 1 (m'V). Float16 in, float32 summed.
3. *Scores.* Every half is projected on the directions of the *other* one. QUE (Hayase et al. 2021,
   SPECTRE, arXiv:2104.11315): x' Q x, Q = exp(alpha (S - I)/(||S||_2 - 1)) / tr, which weighs
   several directions where Tran et al. (2018, arXiv:1811.00636) take one.
4. *Statistics* of the half in those directions, made uncorrelated by QR, lengths clipped: how
   unevenly the tails lie (spectral), and the exact silhouette of the best split (cluster).

Why halves: for directions that the tested half had no say in, one elliptical component projects
to one r-dimensional component, whatever the width d, the class's covariance and the directions; QR
takes the covariance out. So the null is a function of the class's rows and of the heaviness of its
tail alone, and is tabulated (:mod:`guards.numerics.screen_null`): a thousand classes cost what
ten do. p-values are those of the largest of all classes, 1 - (1 - p)^classes, at least FLOOR.

Measured on one elliptical t component a class (rows, width, degrees of freedom: 80/32/6,
300/64/normal, 300/384/10, 700/64/3, 2000/64/8; seeds 100 and 101, 3,800 classes): the share with
p <= .05 is .025 to .07 (spectral) and .010 to .030 (cluster), with p <= .01 at most .02:
even to conservative. Power at p <= .01, no correction, 60 classes each: 200 rows, 5 %
planted at 10 standard deviations: .78 (cluster, with the 4 directions that 200 rows get); 600 rows,
t of 6 degrees, 5 % at 8: 1.00, 2 % at 8: .08. A fifth of a class of 80 rows makes its own tail look
so heavy that only the spectral test sees it. 50,000 x 512 x 10: 0.59 processor seconds on one
thread, where ART takes 6.2 (benchmarks/screen_speed.py).

Natural classes have sub-classes, so a small p-value accuses nobody: the caller needs a second fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.numerics import clusters, spectrum
from guards.numerics.minorities import Minorities, Structure
from guards.numerics.screen_null import upper_tail

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Rows = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    # Gives the rows of these numbers, (..., d), on the device to work on.
    Read = Callable[[Rows], Tensor]
    Blocks = Callable[[], Iterator[tuple[Tensor, Tensor]]]

RANK = 8
STEPS = 4
OVERSAMPLED = 4
ALPHA = 4.0
FAR = 2.5
REACH = 2.0  # lengths are clipped at this times sqrt(r)
LEAST = 3
HALVED = 17  # a class of fewer rows is not cut, and has no p-value
FLOOR = 1e-3
STEADY = 300.0
ROOM = {"cpu": 2**26, "cuda": 2**33}  # bytes of one batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """`scores` (n,) float32, QUE, NaN in classes of fewer than LEAST rows; both minorities;
    `heaviness` (classes,) is the log ratio of the squared lengths' 90th and 50th percentile.
    Unlike elsewhere `excess` is the normal quantile that belongs to the class's own p-value.
    """

    scores: npt.NDArray[np.float32]
    structure: Structure
    heaviness: Floats


@dataclass(frozen=True, slots=True)
class Look:
    """What the statistics of a padded batch are: (groups,) each, and (groups, longest) members."""

    lopsided: Tensor
    silhouette: Tensor
    heaviness: Tensor
    tail: Tensor
    smaller: Tensor


@dataclass(frozen=True, slots=True)
class _Batch:
    """Classes of one bucket that fit together: row numbers (groups, longest), -1 where none.

    A class is `halves` groups one after the other.
    """

    classes: Rows
    layout: Rows
    halves: int
    rank: int


def in_memory(features: Tensor) -> Read:
    """Read rows of a tensor (n, d) that is already on its device."""
    import torch

    def read(rows: Rows) -> Tensor:
        return features[torch.as_tensor(rows, device=features.device)]

    return read


def screen(
    read: Read,
    labels: npt.NDArray[np.int64],
    classes: int,
    rng: np.random.Generator,
    *,
    rank: int = RANK,
    room: int | None = None,
    cut: bool = True,
) -> Screen:
    """Score every row and test every class.

    Args:
        read: gives rows by number; float16 or float32, (..., d).
        labels: (n,) in range(classes).
        classes: how many labels there are; classes may be empty.
        rng: draws the halves.
        rank: directions a class, fewer where its rows are few.
        room: bytes that one batch may take; a larger class is read in blocks, once a step.
        cut: False takes each class whole, as published: then there are no p-values.
    """
    import torch

    order, starts = by_class(labels, classes, rng)
    whitener = whitening(read, order, starts)
    room = room or ROOM["cuda" if whitener.is_cuda else "cpu"]
    scores = np.full(len(labels), np.nan, np.float32)
    figures = np.full((3, classes), np.nan)
    members = np.zeros((2, len(labels)), np.bool_)
    most = min(rank, len(whitener))
    for batch in _batches(order, starts, len(whitener), most, room, cut):
        blocks, mask = _blocks(read, batch.layout, whitener, room)
        projected = _projected(blocks, mask, whitener, batch)
        real = batch.layout >= 0
        inside = torch.as_tensor(real, device=mask.device)
        scores[batch.layout[real]] = que(projected, mask)[inside].cpu().numpy()
        seen = look(projected, mask)
        each = torch.stack((seen.lopsided, seen.silhouette, seen.heaviness)).double()
        figures[:, batch.classes] = each.view(3, -1, batch.halves).mean(2).cpu().numpy()
        for kind, found in enumerate((seen.tail, seen.smaller)):
            members[kind, batch.layout[found.cpu().numpy()]] = True
    return _judged(scores, figures, members, np.diff(starts), most if cut else 0)


def by_class(
    labels: npt.NDArray[np.int64], classes: int, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Row numbers sorted by class, and where each class starts, (classes + 1,).

    A class's first half, the larger one, is a random half of its rows: whoever could foresee the
    halves would plant in one of them only. Inside a half rows ascend, so that files are read
    forwards.
    """
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=classes))])
    drawn = rng.permutation(len(labels))
    drawn = drawn[np.argsort(labels[drawn], kind="stable")]
    place = np.arange(len(labels)) - np.repeat(starts[:-1], np.diff(starts))
    half = np.empty(len(labels), np.int64)
    half[drawn] = place >= np.repeat((np.diff(starts) + 1) // 2, np.diff(starts))
    return np.lexsort((half, labels)), starts


def whitening(read: Read, order: Rows, starts: Rows, *, shrinkage: float = 0.1) -> Tensor:
    """W (d, d) float32 with W'SW = I, S the pooled within-class covariance, shrunk.

    From all rows where they are at most max(2^14, 16 d); of more, from as many differences of a row
    and the one half its class further on, evenly spaced over the classes: E (x - x')(x - x')' / 2
    is the covariance, without any mean.
    """
    import torch

    sizes = np.diff(starts)
    width = read(order[:1]).shape[1]
    wanted = min(len(order), max(2**14, 16 * width))
    place = np.linspace(0, len(order) - 1, wanted).astype(np.int64)
    of = np.searchsorted(starts, place, side="right") - 1
    if wanted == len(order):
        within = _pooled(read(order).float(), of, len(sizes))
    else:
        paired = starts[of] + (place - starts[of] + sizes[of] // 2) % sizes[of]
        within = torch.zeros(width, width)
        for some in np.array_split(np.arange(wanted), -(-wanted // 4096)):
            apart = read(order[place[some]]).float() - read(order[paired[some]]).float()
            within = within.to(apart.device) + apart.mT @ apart
        within = within.double() / (2 * max(int((sizes[of] > 1).sum()), 1))
    eye = torch.eye(width, dtype=within.dtype, device=within.device)
    level = within.diagonal().mean().clamp(min=1e-12)
    root = torch.linalg.cholesky((1 - shrinkage) * within + shrinkage * level * eye)
    whitener: Tensor = torch.linalg.solve_triangular(root.mT, eye, upper=True).float()
    return whitener


def _pooled(rows: Tensor, of: Rows, classes: int) -> Tensor:
    """The covariance of rows (n, d) within their classes, exactly; float64."""
    import torch

    codes = torch.as_tensor(of, device=rows.device)
    counts = torch.bincount(codes, minlength=classes).clamp(min=1)[:, None]
    sums = torch.zeros(classes, rows.shape[1], device=rows.device).index_add_(0, codes, rows)
    apart = rows - (sums / counts)[codes]
    freedom = max(len(rows) - len(np.unique(of)), 1)
    covariance: Tensor = (apart.mT @ apart).double() / freedom
    return covariance


def que(projected: Tensor, mask: Tensor, *, alpha: float = ALPHA) -> Tensor:
    """Quantum entropy scores x'Qx, (groups, longest), of centred rows (groups, longest, r).

    Q = exp(alpha (S - I)/(||S||_2 - 1)) / tr; where no direction exceeds I, all weigh the same.
    """
    import torch

    rows = mask.sum(1).clamp(min=2)[:, None, None]
    values, vectors = torch.linalg.eigh((projected.mT @ projected / (rows - 1)).double())
    values, vectors = values.float(), vectors.float()
    most = values[:, -1:] - 1
    power = torch.where(most > 1e-3, alpha * (values - 1) / most.clamp(min=1e-3), 0.0)
    weights = torch.softmax(power, 1)
    scores: Tensor = ((projected @ vectors).square() * weights[:, None]).sum(2)
    return scores


def look(projected: Tensor, mask: Tensor) -> Look:
    """Both statistics of every group of centred rows (groups, longest, r), padding 0.

    Nothing here depends on the covariance: multiplying the rows by any upper triangular matrix
    gives the same answer.
    """
    import torch

    rows = mask.sum(1).clamp(min=1)
    even = spectrum.orthonormal(projected) * rows.sqrt()[:, None, None]
    squares = even.square().sum(2)
    lopsided, tail = spectrum.fuller_tail(even, mask, far=FAR)
    limit = REACH * even.shape[2] ** 0.5
    clipped = even * (limit / squares.sqrt().clamp(min=limit))[..., None]
    smaller, silhouette = clusters.split_apart(clipped, mask)
    lengths = torch.where(mask, squares, torch.inf).sort(1).values
    middle, far = (lengths.gather(1, ((rows - 1) * q).long()[:, None])[:, 0] for q in (0.5, 0.9))
    heaviness = (far.clamp(min=1e-9) / middle.clamp(min=1e-9)).log()
    return Look(lopsided, silhouette, heaviness, tail, smaller)


def ranks(rows: Rows, most: int) -> Rows:
    """How many directions a class of so many rows is given: 1, 2, 4 or 8, at most `most`.

    At least 32 rows a direction: on classes of 80 rows with a tenth or a fifth planted the
    silhouette's power at .01 is .9 and .7 with two directions and 0 with four or eight.
    """
    powers = np.ceil(np.log2(np.maximum(rows, 2))).astype(np.int64) - 6
    return 2 ** np.clip(powers, 0, int(np.log2(max(1, min(most, RANK)))))


def _batches(
    order: Rows, starts: Rows, width: int, most: int, room: int, cut: bool
) -> Iterator[_Batch]:
    sizes = np.diff(starts)
    for bucket in spectrum.buckets(np.where(sizes >= LEAST, sizes, 0)):
        longest = int(sizes[bucket].max())
        halves = 2 if cut and longest >= HALVED else 1
        together = max(1, room // (4 * width * longest))
        for some in np.array_split(bucket, -(-len(bucket) // together)):
            cuts = -(-sizes[some][:, None] * np.arange(halves + 1) // halves)
            place = (
                starts[some][:, None, None] + cuts[:, :-1, None] + np.arange(int(cuts[:, 1].max()))
            )
            there = place < (starts[some][:, None] + cuts[:, 1:])[..., None]
            rows = np.where(there, order[np.minimum(place, len(order) - 1)], -1)
            yield _Batch(
                some, rows.reshape(-1, rows.shape[2]), halves, int(ranks(sizes[some], most).max())
            )


def _blocks(read: Read, layout: Rows, whitener: Tensor, room: int) -> tuple[Blocks, Tensor]:
    """The batch in blocks of rows, again and again; kept in memory where it fits."""
    import torch

    whole = torch.as_tensor(layout >= 0, device=whitener.device)
    each = max(1, room // (4 * whitener.shape[0] * len(layout)))
    cuts = range(0, layout.shape[1], each)

    def one(cut: int) -> tuple[Tensor, Tensor]:
        mask = whole[:, cut : cut + each]
        batch = read(np.maximum(layout[:, cut : cut + each], 0)) * mask[..., None]
        # The processor has no fast float16 product; a GPU multiplies it as it is.
        return (batch if batch.is_cuda else batch.float()), mask

    kept = [one(0)] if len(cuts) == 1 else []
    return (lambda: iter(kept or map(one, cuts))), whole


def _projected(blocks: Blocks, mask: Tensor, whitener: Tensor, batch: _Batch) -> Tensor:
    """Every group, centred, in the leading directions of its class's other half."""
    import torch

    counts = mask.sum(1).clamp(min=1)[:, None]
    sums = [block.sum(1, dtype=torch.float32) for block, _ in blocks()]
    mean = torch.stack(sums).sum(0) / counts
    directions = _directions(blocks, mean, whitener, batch.rank)
    paired = directions.view(-1, batch.halves, *directions.shape[1:]).flip(1)
    turned = paired.reshape_as(directions) @ whitener.mT
    rows = torch.cat([_centred(block, part, mean, turned) for block, part in blocks()], 1)
    # The mean of float16 rows is exact to float32; what rounding is left is taken out here.
    return spectrum.centre(rows, mask)


def _directions(blocks: Blocks, mean: Tensor, whitener: Tensor, rank: int) -> Tensor:
    """(groups, rank, d) orthonormal, the leading ones of each group's whitened rows."""
    import torch

    width = len(whitener)
    wide = min(rank + OVERSAMPLED, width)
    start = torch.randn(wide, width, generator=torch.Generator().manual_seed(0))
    basis = start.to(whitener.device).expand(len(mean), -1, -1)
    for _ in range(STEPS):
        turned = basis @ whitener.mT
        gathered = torch.zeros_like(basis)
        for block, mask in blocks():
            gathered = gathered + _product(_centred(block, mask, mean, turned).mT, block)
        gathered = gathered @ whitener
        basis = spectrum.orthonormal(gathered.mT).mT
    ritz = basis @ gathered.mT
    # In single precision LAPACK's eigh now and then gives NaN for a rank-deficient matrix.
    _, rotation = torch.linalg.eigh((ritz @ ritz.mT).double())
    directions: Tensor = rotation.flip(-1)[..., :rank].mT.float() @ basis
    return directions


def _centred(block: Tensor, mask: Tensor, mean: Tensor, turned: Tensor) -> Tensor:
    """(X - 1 m')V for V = `turned` transposed, and 0 where there is no row."""
    along = _product(block, turned.mT) - (turned @ mean[..., None]).mT
    return along * mask[..., None]


def _product(left: Tensor, right: Tensor) -> Tensor:
    """A batched product summed in float32; on a GPU whichever is float16 stays so."""
    import torch

    if not left.is_cuda or torch.float16 not in (left.dtype, right.dtype):
        return left.float() @ right.float()
    first, second = (_scale(side) for side in (left, right))
    halves = (left / first).half(), (right / second).half()
    product: Tensor = torch.bmm(*halves, out_dtype=torch.float32) * first * second
    return product


def _scale(side: Tensor) -> Tensor:
    """What to divide by so that float16 holds it; float16 itself is left alone."""
    import torch

    if side.dtype == torch.float16:
        return torch.ones((), dtype=side.dtype, device=side.device)
    return side.abs().amax((1, 2), keepdim=True).clamp(min=1e-30)


def _judged(
    scores: npt.NDArray[np.float32],
    figures: Floats,
    members: npt.NDArray[np.bool_],
    sizes: Rows,
    most: int,
) -> Screen:
    """With p-values over all classes for those that were cut; `most` is 0 where none was."""
    tested = (sizes >= HALVED) & (most > 0)
    single = np.ones((2, len(sizes)))
    of_rank = np.where(tested, ranks(sizes, most), 0)
    for rank in np.unique(of_rank[tested]).tolist():
        of = of_rank == rank
        tails = _steadied(figures[2, of], sizes[of])
        for kind in range(2):
            single[kind, of] = upper_tail(kind, figures[kind, of], sizes[of], rank, tails)
    family = -np.expm1(max(tested.sum(), 1) * np.log1p(-np.minimum(single, 1 - 1e-12)))
    spectral, cluster = (
        Minorities(
            statistic=np.where(tested | (most == 0), figures[kind], np.nan),
            p_values=np.where(tested, np.maximum(family[kind], FLOOR), 1.0),
            excess=np.where(tested, -_normal_quantile(single[kind]), 0.0),
            member=members[kind],
        )
        for kind in range(2)
    )
    structure = Structure(spectral=spectral, cluster=cluster, silhouette=figures[1])
    return Screen(scores=scores, structure=structure, heaviness=figures[2])


def _steadied(heaviness: Floats, sizes: Rows) -> Floats:
    """A small class that happens to look lighter than its peers is taken for almost as heavy."""
    peers = np.maximum(np.median(heaviness) - heaviness, 0)
    steadied: Floats = heaviness + peers * STEADY / (STEADY + sizes)
    return steadied


def _normal_quantile(p_values: Floats) -> Floats:
    from scipy.special import ndtri

    quantiles: Floats = ndtri(np.clip(p_values, 1e-12, 1 - 1e-12))
    return quantiles
