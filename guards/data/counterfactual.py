"""What would a model have learnt? The probe, trained on the batch as it is and without some rows.

Both trainings leave out the same few rows, drawn by the seed from those that are not held, and
both are asked about these: as they are (accuracy), and with a recovered trigger laid on them (the
share of pictures of other classes that are answered with the target: attack success). The share
that is answered so without the trigger stands beside it, since no model makes no mistakes. The
probe is a small network and the trigger an estimate: a low success before the removal clears
nobody, a high one that falls is a demonstration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.data.probe import Probe, probe

if TYPE_CHECKING:
    import numpy.typing as npt

    Pictures = npt.NDArray[np.uint8]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

# Of the rows that are not held; the most rows that are trained on, drawn from all of them alike.
HELD_OUT, MOST_HELD_OUT, LEAST_HELD_OUT, MOST_ROWS = 0.15, 1_000, 20, 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A target class (its code) and what lays its trigger on copies of pictures."""

    target: int
    stamp: Callable[[Pictures], Pictures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`hits` of the `asked` pictures, by the model before the removal and the one after."""

    asked: int
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """Rows trained on before and after; right answers; per trigger with and without it."""

    rows_before: int
    rows_after: int
    right: Asked
    fooled: tuple[Asked, ...]
    unstamped: tuple[Asked, ...]


def counterfactual(
    pixels: Pictures,
    labels: Ints,
    held: Bools,
    triggers: Sequence[Planted],
    *,
    seed: int,
    device: str = "cpu",
) -> Counterfactual | None:
    """Train twice, ask twice; None where too few rows are left to train on or to ask about.

    Args:
        pixels: (n, C, H, W) uint8.
        labels: (n,) codes.
        held: (n,), the rows that the second training goes without.
        triggers: what to lay on the held-out rows, and the answer that it is to bring about.
        seed: draws the held-out rows, and seeds both trainings alike.
        device: cpu or cuda.
    """
    rng = np.random.default_rng([seed, 7])
    rows = np.sort(rng.permutation(len(labels))[:MOST_ROWS])
    others = rng.permutation(rows[~held[rows]])
    asked = np.sort(others[: min(int(HELD_OUT * len(others)), MOST_HELD_OUT)])
    before = np.setdiff1d(rows, asked)
    after = before[~held[before]]
    if (
        len(asked) < LEAST_HELD_OUT
        or len(np.unique(labels[after])) < 2
        or len(after) == len(before)
    ):
        return None
    models = [probe(pixels[r], labels[r], seed=seed, device=device) for r in (before, after)]
    fooled, unstamped = [], []
    for trigger in triggers:
        others = asked[labels[asked] != trigger.target]
        fooled.append(_ask(models, trigger.stamp(pixels[others]), trigger.target))
        unstamped.append(_ask(models, pixels[others], trigger.target))
    return Counterfactual(
        rows_before=len(before),
        rows_after=len(after),
        right=_ask(models, pixels[asked], labels[asked]),
        fooled=tuple(fooled),
        unstamped=tuple(unstamped),
    )


def _ask(models: Sequence[Probe], pixels: Pictures, answer: Ints | int) -> Asked:
    if not len(pixels):
        return Asked(asked=0, before=0, after=0)
    before, after = (int((model.classify(pixels) == answer).sum()) for model in models)
    return Asked(asked=len(pixels), before=before, after=after)
