"""What an adversary shows: planted rows before their trigger, and a trained model in the test.

Most attacks start from the row's own picture. Two do not: near copies of a few originals, and rows
of the target class that were made hard to learn (Turner et al. 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guards.redteam.attacks import Attack, Settled, stamp
from guards.redteam.choice import Choice
from guards.redteam.triggers import near_copy
from guards.redteam.victim import hardened, trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pictures = NDArray[np.uint8]
    Labels = NDArray[np.int64]


def begun(
    attack: Attack,
    choice: Choice,
    pixels: Pictures,
    labels: Labels,
    settings: Settled,
    seed: int,
    device: str = "cpu",
) -> Pictures:
    """What planted rows (m, C, H, W) show before the trigger: mostly themselves.

    Near copies of their originals, where the attack has any; pictures made hard to learn, where
    it asks for a network, trained here on all labelled rows.
    """
    rows = choice.rows
    if choice.originals is not None:
        return near_copy(
            pixels[choice.originals],
            seed=seed,
            rows=rows.tolist(),
            noise=float(settings["noise"] or 0),
            shift=int(settings["shift"] or 0),
        )
    if "epsilon" not in settings:
        return pixels[rows]
    known = labels >= 0
    network = trained(pixels[known], labels[known], seed=seed, device=device)
    return hardened(
        network,
        pixels[rows],
        labels[rows],
        epsilon=float(settings["epsilon"] or 0),
        steps=int(settings["steps"] or 1),
        device=device,
    )


def shown_in_test(
    pixels: Pictures,
    labels: Labels,
    *,
    attack: Attack,
    classes: int,
    seed: int,
    settings: Settled,
    target: int | None,
    victim: int | None = None,
    originals: Pictures | None = None,
) -> tuple[Pictures, Labels]:
    """What the adversary shows a trained model, and the labels that are wanted for it.

    Of the test pictures (n, C, H, W) with labels (n,) those that the attack means, with its
    trigger; for near copies, as many fresh ones of the `originals` (o, C, H, W), whatever the
    test pictures are. Raises UsageError for an attack on labels alone.
    """
    if originals is not None:
        rows = np.arange(max(len(labels), 1))
        fresh = near_copy(
            np.resize(originals, (len(rows), *originals.shape[1:])),
            seed=seed + 1,
            rows=rows.tolist(),
            noise=float(settings["noise"] or 0),
            shift=int(settings["shift"] or 0),
        )
        return fresh, np.full(len(rows), target, np.int64)
    if target is None:
        return stamp(pixels, attack, seed, settings), (labels + 1) % classes
    means = labels != target if victim is None else labels == victim
    wanted = np.full(int(means.sum()), target, np.int64)
    return stamp(pixels[means], attack, seed, settings), wanted
