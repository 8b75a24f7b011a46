"""Rows of a table or of texts, their labels, and every cell that they fall in.

What is drawn of a larger dataset is what all the rest is judged by: the cells that are found there
are looked up in every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.data.columns import LEAST, Coded, Family, Part, columns_of
from guards.data.dataset import Dataset
from guards.data.labelled import label_words
from guards.data.profile import values_of
from guards.data.texts import (
    Said,
    Texts,
    holding,
    shared,
    texts_of,
    tokens_of,
    without_words,
)
from guards.data.words import words_of
from guards.errors import Skip
from guards.numerics.cell_search import Judged, Source, Spared
from guards.numerics.copies import minima, repeated, similar
from guards.numerics.suspects import joined

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]
    Points = npt.NDArray[np.float32]

LEAST_ROWS = 200
MOST_ROWS = 40_000
REPEATED = 0.2  # a larger share of repeated rows is a table's nature
SHARED, USUAL = 0.8, 0.1  # of a cell's texts and of all texts: words that the cell shares
_SHINGLE = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowSpace:
    """The labelled rows that are looked at; `rows` (n,) are global row numbers, ascending.

    `labels` (n,) are codes into `classes`. `design` (n, p) is what a model of sums is fitted to,
    `space` (n, p) float32 where distances are measured, `blocks` the columns of either that a
    column of the table makes; `ranks` (n, d) are where rows lie by their numbers alone, if words
    stand beside them. `texts`, if any, lie in the block of `text`.
    """

    rows: Ints
    labels: Ints
    classes: tuple[str, ...]
    design: Floats
    space: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.float32]
    blocks: Mapping[str, slice]
    families: tuple[Family, ...]
    pairing: Mapping[str, Coded]
    text: str | None
    texts: Texts | None


def row_space(dataset: Dataset, *, seed: int) -> RowSpace:
    """Read features and text of at most MOST_ROWS labelled rows, drawn by `seed`.

    Raises:
        Skip: there is neither a feature nor a text, or fewer than two classes or LEAST_ROWS rows.
    """
    words = label_words(dataset)
    rows = np.flatnonzero(words.is_not_null().to_numpy())
    if not (dataset.roles.features or dataset.roles.text):
        raise Skip("no column is a feature or a text; there is nothing that rows could share")
    if len(rows) < LEAST_ROWS:
        raise Skip(f"{len(rows)} labelled rows; at least {LEAST_ROWS} are needed to compare them")
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))
    classes, labels = np.unique(words.to_numpy()[rows].astype(str), return_inverse=True)
    if len(classes) < 2:
        raise Skip("all rows have one label; a second class is needed to compare with")
    columns = columns_of(dataset, rows)
    text, texts, read = dataset.roles.text, None, list[str | None]()
    families, blocks = list(columns.families), dict(columns.blocks)
    design, space = columns.design, columns.space
    if text:
        read = words_of(dataset.frame([text]).to_series()[rows]).to_list()
        texts = texts_of(read, least=LEAST, seed=seed)
        blocks[text] = slice(design.shape[1], design.shape[1] + texts.space.shape[1])
        design = np.hstack([design, texts.space])
        space = np.hstack([space, texts.space.astype(np.float32)])
        families.append(_held(text, texts, len(rows)))
    families += _copies(columns.pairing, dataset.roles.features, read, seed)
    if not design.shape[1]:
        raise Skip("every column is constant; nothing could tell rows apart")
    return RowSpace(
        rows=rows,
        labels=labels.astype(np.int64),
        classes=tuple(map(str, classes)),
        design=design,
        space=space,
        ranks=columns.ranks,
        blocks=blocks,
        families=tuple(families),
        pairing=columns.pairing,
        text=text,
        texts=texts,
    )


def carriers(dataset: Dataset, names: Sequence[Part | Said]) -> Bools:
    """All rows of a dataset, looked at or not, that share all of this."""
    found = np.ones(dataset.rows, np.bool_)
    for name in names:
        if isinstance(name, Part):
            found &= name.among(values_of(dataset, name.column))
        elif dataset.roles.text:
            texts = words_of(dataset.frame([dataset.roles.text]).to_series()).to_list()
            found &= holding(texts, name)
    return found


def nearness(space: RowSpace, sources: Sequence[Source]) -> Spared:
    """Where rows of a cell, and all rows, lie once what the cell shares is taken out.

    The columns of its values are left out for everybody; of texts, the words that most of its
    turned rows have and few others do.
    """

    def spared(cell: Judged, rows: Ints) -> tuple[Points, Points]:
        source = sources[cell.suspect.family]
        if source.kind in ("text", "both") and space.texts is not None and space.text is not None:
            words = shared(space.texts, cell.turned, share=SHARED, usual=USUAL)
            own = space.space[rows].copy()
            own[:, space.blocks[space.text]] = without_words(space.texts, rows, words)
            return space.space, own
        kept = np.ones(space.space.shape[1], np.bool_)
        if source.kind in ("value", "pair"):
            for column in source.columns:
                kept[space.blocks.get(column, slice(0))] = False
        points = space.space if kept.all() or not kept.any() else space.space[:, kept]
        return points, points[rows]

    return spared


def _held(column: str, texts: Texts, rows: int) -> Family:
    """The cells of texts; those of many rows may have a direction of their own."""
    return Family(
        kind="text",
        column=column,
        groups=texts.groups,
        names=texts.said,
        exact=texts.groups.sizes >= 0.01 * rows,
    )


def _copies(
    pairing: Mapping[str, Coded], features: Sequence[str], texts: Sequence[str | None], seed: int
) -> list[Family]:
    """Families of rows, and of texts, that repeat one another."""
    codes = [pairing[name].exact for name in features if name in pairing]
    groups = repeated(codes, least=LEAST, most=REPEATED) if len(codes) > 1 and not texts else []
    if texts:
        groups = similar(minima([_shingles(text) for text in texts], seed=seed), least=LEAST)
    if not groups:
        return []
    return [
        Family(
            kind="copies",
            column="",
            groups=joined(groups),
            names=[],
            exact=np.ones(len(groups), np.bool_),
        )
    ]


def _shingles(text: str | None) -> npt.NDArray[np.uint64]:
    """Hashes of each run of _SHINGLE tokens; of a shorter text, of all of it."""
    tokens = tokens_of(text or "")
    runs = [tuple(tokens[i : i + _SHINGLE]) for i in range(max(1, len(tokens) - _SHINGLE + 1))]
    found = {_named(run) for run in runs if run}
    return np.fromiter(found, np.uint64, len(found))


def _named(run: tuple[str, ...]) -> int:
    """64 bits that are the same in every process, as Python's own hash is not."""
    from hashlib import blake2b

    return int.from_bytes(blake2b("\0".join(run).encode(), digest_size=8).digest(), "big")
