"""What the detectors of pictures look at: a label-free space, and what a short training believes.

Three views of every row, made to disagree where somebody planted something. The *embedding* never
sees a label, and is blunt on purpose: what a picture looks like, less small marks and faint
overlays. The *patch view* never sees a label either, and sees little but such marks
(:mod:`guards.data.embedding` has both, and the table by which they were chosen). The *probe*, a
small convolutional network trained for a few epochs on the labels as given, is sharp on purpose:
it learns a trigger within its first epochs. A row whose label its neighbours deny (`share` low)
and the probe believes (`belief` high) is the mark of a backdoor; a row that both deny is a wrong
label.

On photographs the embedding leans on a network that knows them (:mod:`guards.data.pretrained`).
That one sees overlays too, so there the rows that are most alike in the patch view do not vouch
for one another: planted rows are judged by clean ones. Where its weights are not installed the
embedding is weak on photographs, and so are the rules that stand on it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from guards.data.dataset import short_words
from guards.data.embedding import NEIGHBOURS, embed_patches, label_free, parts
from guards.data.model import activations
from guards.data.probe import Probe, seeded
from guards.errors import Skip, UsageError
from guards.numerics.minorities import Structure, class_structure
from guards.numerics.neighbours import agreement, nearest

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from guards.data.dataset import Dataset
    from guards.data.images import Images
    from guards.data.model import Model

SAMPLE, APART, GREY_SIDE = 2000, 0.05, 32
LEAST_ROWS, LEAST_CLASS, DRAWS = 100, 20, 199
INCONSISTENT, BELIEVED = 0.1, 0.8


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFeatures:
    """The rows that have a picture and a label, as the detectors see them.

    `rows` (n,) are global row numbers, `labels` (n,) codes into `classes`, `sources` (n,) codes
    into `source_names`, or None. `pixels` is (n, C, H, W) uint8. `embedding` (n, d) is label-free;
    `share` (n,) is the share of a row's neighbours there that bear its label (rows of the same mark
    not counted, where the space sees marks); `looks` (n,) is the label that most of them bear,
    `looks_share` its share. `marks` (n, e) is the patch view, where little but marks is seen, and
    `patch_share` (n,) the share of neighbours there with the row's label: planted rows, which
    `share` finds wrong, are each other's neighbours there. `belief` (n,) is the probe's mean
    probability of the given label over the second half of its training. `layers` are the probe's
    pooled early and middle activations and its penultimate ones, float16, (n, d_i), or those of a
    model that was given. `accuracy` is how often the probe agrees with the labels as given;
    `resemblance` how often the embedding does.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    sources: npt.NDArray[np.int64] | None
    source_names: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]
    embedding: npt.NDArray[np.float32]
    marks: npt.NDArray[np.float32]
    share: npt.NDArray[np.float32]
    patch_share: npt.NDArray[np.float32]
    looks: npt.NDArray[np.int64]
    looks_share: npt.NDArray[np.float32]
    belief: npt.NDArray[np.float32]
    layers: tuple[npt.NDArray[np.float16], ...]
    accuracy: float
    seed: int
    device: str

    @property
    def inconsistent(self) -> npt.NDArray[np.bool_]:
        """Rows whose label hardly any of their neighbours bear."""
        return self.share < INCONSISTENT

    @property
    def believed(self) -> npt.NDArray[np.bool_]:
        """Inconsistent rows that the probe has learnt all the same: suspects of a backdoor."""
        return self.inconsistent & (self.belief > BELIEVED)

    @cached_property
    def spaces(self) -> tuple[Tensor, ...]:
        """Where a trigger may show as a direction, each (n, d_i), on the device: the layers first.

        A small network learns a faint overlay late, and its layers show it dimly; in the patch
        view and in the grey pixels themselves it lies along one direction whoever has learnt it.
        """
        import torch

        grey = torch.cat([part.mean(1) for part in parts(self.pixels, GREY_SIDE, self.device)])
        layers = (torch.as_tensor(layer, device=self.device).float() for layer in self.layers)
        return (*layers, torch.as_tensor(self.marks, device=self.device), grey.flatten(1))

    @property
    def resemblance(self) -> float:
        """How often a row looks like its label: the ceiling of everything built on looks."""
        return float((self.looks == self.labels).mean())

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Rows of each class."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def suggested(self, row: int) -> str | None:
        """The class that row (an index here) looks like, where that is not the one given."""
        looks = int(self.looks[row])
        return None if looks == self.labels[row] else self.classes[looks]

    @cached_property
    def tested(self) -> Structure:
        """The same minorities with their p-values, for whoever has a reason to ask.

        Drawing the null takes longer than all else about them, and only a class that a second
        witness speaks of needs it.
        """
        return self._structure(DRAWS)

    @cached_property
    def structure(self) -> Structure:
        """Minorities inside the classes, in the middle layer; shared by two rules.

        Measured on patch and blend at 1 and 2 %: the middle layer's split is the planted rows, all
        but a few; the penultimate layer's is a natural one wherever the trigger is a blend.
        """
        return self._structure(0)

    def _structure(self, draws: int) -> Structure:
        import torch

        # Of the probe's three layers the second; of a user's model the middle one of those named.
        middle = self.layers[len(self.layers) // 2]
        features = torch.as_tensor(middle, device=self.device).float()
        rng = np.random.default_rng([self.seed, 2])
        k = len(self.classes)
        return class_structure(features, self.labels, k, rng, draws=draws, least=LEAST_CLASS)


def image_features(
    dataset: Dataset,
    images: Images,
    *,
    seed: int,
    device: str | None = None,
    model: Model | None = None,
) -> ImageFeatures:
    """Embed and train on the decoded `images` of `dataset`; everything random is drawn from `seed`.

    `device` is cpu or cuda; None takes cuda where there is one. Raises Skip when there are fewer
    than LEAST_ROWS labelled pictures or fewer than two classes, and UsageError for a device that
    is not there. Rows without a label or a readable picture are left out.
    """
    labels, sources = _columns(dataset, images)
    return from_pixels(
        images.pixels, labels, sources, seed=seed, rows=images.rows, device=device, model=model
    )


def from_pixels(
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.str_],
    sources: npt.NDArray[np.str_] | None = None,
    *,
    seed: int,
    rows: npt.NDArray[np.int64] | None = None,
    device: str | None = None,
    model: Model | None = None,
) -> ImageFeatures:
    """The same from arrays: pixels (n, C, H, W) uint8, labels and sources (n,) of str.

    An empty label is no label. `rows` are the global row numbers, range(n) when not given. The
    layers of `model`, where one is given, take the place of the probe's.
    """
    import torch

    place = _device(device)
    known = np.flatnonzero(labels != "")
    classes, codes = np.unique(labels[known], return_inverse=True)
    _enough(len(known), len(classes))
    kept = pixels[known]
    embedding, blunt = label_free(kept, codes, len(classes), place)
    marks = embed_patches(kept, seed, place)
    with seeded(seed):
        probe = Probe(kept, codes, len(classes), place)
    points, signs = (torch.as_tensor(space, device=place) for space in (embedding, marks))
    near = nearest(points, NEIGHBOURS) if blunt else _apart(points, signs, len(classes), seed)
    share, looks, looks_share = agreement(near, codes, len(classes))
    names, where = ((), None) if sources is None else np.unique(sources[known], return_inverse=True)
    return ImageFeatures(
        rows=(np.arange(len(labels)) if rows is None else rows)[known],
        labels=codes,
        classes=tuple(map(str, classes)),
        sources=where,
        source_names=tuple(map(str, names)),
        pixels=kept,
        embedding=embedding,
        marks=marks,
        share=share,
        patch_share=agreement(nearest(signs, NEIGHBOURS), codes, len(classes))[0],
        looks=looks,
        looks_share=looks_share,
        belief=probe.belief,
        layers=probe.layers if model is None else activations(model, kept, place),
        accuracy=probe.accuracy,
        seed=seed,
        device=place,
    )


def _apart(points: Tensor, signs: Tensor, classes: int, seed: int) -> npt.NDArray[np.int64]:
    """Neighbours in a space that sees marks too, none of which is a row of the same mark."""
    drawn = np.random.default_rng([seed, 8]).permutation(len(points))[:SAMPLE]
    # Marks go with looks a little: of a class of usual size no more than half is set apart.
    return nearest(points, NEIGHBOURS, marks=signs, apart=min(APART, 0.5 / classes), sample=drawn)


def _columns(
    dataset: Dataset, images: Images
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_] | None]:
    """Labels and sources of the decoded rows as strings; null and NaN become empty."""
    import polars as pl

    roles = dataset.roles
    wanted = [column for column in (roles.label, roles.source) if column]
    frame = pl.DataFrame([short_words(column).fill_null("") for column in dataset.frame(wanted)])
    frame = frame.select(pl.all().replace("NaN", ""))
    columns = [frame[name].to_numpy().astype(np.str_)[images.rows] for name in wanted]
    return columns[0], columns[1] if roles.source else None


def _enough(rows: int, classes: int) -> None:
    if rows < LEAST_ROWS:
        raise Skip(f"{rows} labelled pictures; at least {LEAST_ROWS} are needed to compare them")
    if classes < 2:
        raise Skip("all pictures have one label; a second class is needed to compare with")
    if classes * 5 > rows:
        raise Skip(f"{classes} labels on {rows} pictures; a class needs several rows to be one")


def _device(wanted: str | None) -> str:
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise UsageError("device cuda was asked for, and torch sees none; use cpu")
    return wanted or ("cuda" if there else "cpu")
