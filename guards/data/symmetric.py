"""Scores of scanned and trusted rows alike: every model sees both kinds, and none the row it asks.

A conformal p-value holds only if a clean scanned row and a trusted one are scored the same way
(:mod:`guards.numerics.conformal`). So both are put together before anything is fitted, the folds
are drawn without knowing which is which, and each row is asked of a model of the other folds.

- For pictures: `contradiction`, how much nearer rows of other labels are in the label-free space,
  and `log_belief`, the logarithm of the probability that a probe of the other folds gives the
  label. A wrong label is denied by both; a planted row is denied by its looks and *believed*.
- For tables: one minus the probability that models of the other folds give the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from guards.data.embedding import label_free, parts
from guards.data.probe import PROBE_SIDE, Probe, seeded
from guards.errors import Skip
from guards.numerics.conformal import folds
from guards.numerics.likely import at
from guards.numerics.neighbours import contradiction

if TYPE_CHECKING:
    import numpy.typing as npt

    from guards.data.case import Case
    from guards.data.dataset import Dataset

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

FOLDS = 3
NEAREST = 5
WARMTH = 0.1  # of a cosine: turns contradiction into log odds


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Rows of the dataset, and after them the trusted ones; all (n,).

    `rows` are global row numbers in either dataset, `trusted` says in which, `labels` are codes
    into `classes`, and `scores` holds one kind of suspicion each, larger is worse.
    """

    rows: Ints
    trusted: npt.NDArray[np.bool_]
    labels: Ints
    classes: tuple[str, ...]
    scores: Mapping[str, Floats]


def score(case: Case) -> Scored:
    """Score the rows of a case and its trusted rows; Skip when they cannot be put together."""
    if case.trusted is None:
        raise Skip("no trusted rows were given; --trusted-rows names some, signed or pinned")
    if case.roles.image:
        return _pictures(case, case.trusted)
    return _tables(case.dataset, case.trusted, case.seed)


def picture_scores(
    pixels: npt.NDArray[np.uint8], labels: Ints, classes: int, *, seed: int, device: str
) -> Mapping[str, Floats]:
    """`wrong` and `planted`, (n,) each, for pictures (n, C, H, W) and labels (n,).

    With c the contradiction and p the probability that the probe gives, in log odds
    `wrong` = log(1 + e^(c/t)) - log p and `planted` = log(1 + e^(c/t)) + log p.
    """
    import torch

    with seeded(seed):
        points = torch.as_tensor(label_free(pixels, labels, classes, device)[0], device=device)
        belief = _out_of_fold(pixels, labels, classes, seed, device)
    denied = np.logaddexp(0, contradiction(points, labels, NEAREST).astype(np.float64) / WARMTH)
    return {"wrong": denied - belief, "planted": denied + belief}


def _out_of_fold(
    pixels: npt.NDArray[np.uint8], labels: Ints, classes: int, seed: int, device: str
) -> Floats:
    """Log probabilities of the given labels, by probes that did not see the row, (n,)."""
    held = folds(labels, FOLDS, np.random.default_rng([seed, 7]))
    found = np.zeros(len(labels))
    for fold in range(FOLDS):
        inside, rest = np.flatnonzero(held == fold), np.flatnonzero(held != fold)
        probe = Probe(pixels[rest], labels[rest], classes, device)
        found[inside] = _log_belief(probe, pixels[inside], labels[inside])
    return found


def _log_belief(probe: Probe, pixels: npt.NDArray[np.uint8], labels: Ints) -> Floats:
    import torch

    probe.net.eval()
    targets = torch.as_tensor(labels, device=probe.device)
    said, start = [], 0
    with torch.no_grad():
        for part in parts(pixels, PROBE_SIDE, probe.device):
            logs = probe.net((part - probe.mean) / probe.spread).float().log_softmax(1)
            said.append(logs.gather(1, targets[start : start + len(part), None])[:, 0])
            start += len(part)
    beliefs: Floats = torch.cat(said).double().cpu().numpy()
    return beliefs


def _pictures(case: Case, trusted: Dataset) -> Scored:
    from guards.data.images import decode

    own, theirs = case.images, decode(trusted)
    if own.pixels.shape[1:] != theirs.pixels.shape[1:]:
        sizes = " and ".join(str(one.pixels.shape[1:]) for one in (own, theirs))
        raise Skip(f"the pictures of the data and of the trusted rows differ in shape: {sizes}")
    words = np.concatenate(
        [
            _labels(dataset)[images.rows]
            for dataset, images in ((case.dataset, own), (trusted, theirs))
        ]
    )
    known = np.flatnonzero(words != "")
    classes, codes = np.unique(words[known], return_inverse=True)
    _enough(codes, len(classes))
    rows = np.concatenate([own.rows, theirs.rows])[known]
    pixels = np.concatenate([own.pixels, theirs.pixels])[known]
    return Scored(
        rows=rows,
        trusted=known >= len(own.rows),
        labels=codes.astype(np.int64),
        classes=tuple(map(str, classes)),
        scores=picture_scores(pixels, codes, len(classes), seed=case.seed, device=case.device),
    )


def _enough(codes: Ints, classes: int) -> None:
    if classes < 2 or len(codes) < 100 or classes * 5 > len(codes):
        raise Skip(f"{len(codes)} labelled pictures of {classes} labels: too few to compare them")


def _labels(dataset: Dataset) -> npt.NDArray[np.str_]:
    """The label of every row as a string; null and NaN become empty."""
    from guards.data.labelled import label_words

    return label_words(dataset).fill_null("").to_numpy().astype(np.str_)


def _tables(dataset: Dataset, trusted: Dataset, seed: int) -> Scored:
    from guards.data.table_features import table_features

    if dict(dataset.schema) != dict(trusted.schema):
        strange = sorted(set(dataset.schema.items()) ^ set(trusted.schema.items()))[:3]
        raise Skip(f"the trusted rows have other columns or types than the data: {strange}")
    # Both lie under one directory, so that they open as one table: the data's rows come first.
    shards = [
        replace(shard, path=f"{each.root.name}/{shard.path}", start=shard.start + start)
        for each, start in ((dataset, 0), (trusted, dataset.rows))
        for shard in each.shards
    ]
    union = replace(dataset, root=dataset.root.parent, shards=tuple(shards), problems=())
    table = table_features(union, seed=seed)
    given = at(table.probabilities, np.arange(len(table.labels)), table.labels)
    theirs = table.rows >= dataset.rows
    return Scored(
        rows=np.where(theirs, table.rows - dataset.rows, table.rows),
        trusted=theirs,
        labels=table.labels,
        classes=table.classes,
        scores={"wrong": np.asarray(1 - given, np.float64)},
    )
