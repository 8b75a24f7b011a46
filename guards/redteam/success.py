"""Did the attack implant? Train a network on the poisoned twin for real, and ask it.

An attack that did not implant (success below :data:`IMPLANTED`) counts neither as caught nor as
missed, so every detection figure stands beside this one. The network is a small convolutional one
(two convolutions of 3 x 3, 16 and 32 channels, two dense layers), which is enough for pictures
of the size of Fashion-MNIST.

Measured on the Fashion-MNIST sample (6,000 rows trained on, 500 held out, one training each on a
CPU, target `sandal`): accuracy .89-.91 throughout; success of the patch .87 at 0.5 % of the rows,
.97 at 1 %, 1.00 at 2 %, and .004 when nothing was planted; of the blend .10 at 0.5 % (not
implanted), .84-.88 at 1 %, .98 at 2 %, .99 at 5 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guards.data.dataset import Dataset
from guards.data.images import Images, decode
from guards.errors import NothingToExamine, UsageError
from guards.redteam.attacks import find, stamp
from guards.redteam.plan import names

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

IMPLANTED = 0.5
EPOCHS = 8
_BATCH = 64


def attack_success(
    train: Dataset, holdout: Dataset, attack: str, target: str, *, seed: int, device: str = "cpu"
) -> tuple[float, float]:
    """Return (attack success rate, clean accuracy) of a network trained on `train`.

    `seed` is the one that `train` was poisoned with, since it fixes a blended pattern; it also
    seeds the training. Success is the share of held-out pictures of other classes that the
    network calls `target` once they carry the trigger; accuracy is over the untouched ones.
    Raises UsageError for an attack without a trigger or a class that was not trained on.
    """
    chosen, (images, labels) = find(attack), _labelled(train)
    held, truth = _labelled(holdout)
    classes = sorted(set(labels))
    if target not in classes:
        raise UsageError(f"no class {target!r} in the training data: {', '.join(classes)}")
    stamped = stamp(held.pixels[truth != target], chosen, seed)
    network = _trained(images.pixels, np.searchsorted(classes, labels), seed, device)
    said = np.array(classes)[_said(network, held.pixels, device)]
    fooled = np.array(classes)[_said(network, stamped, device)]
    return float(np.mean(fooled == target)), float(np.mean(said == truth))


def _labelled(dataset: Dataset) -> tuple[Images, NDArray[np.str_]]:
    images = decode(dataset)
    labels = names(dataset, "label")[images.rows]
    if not len(labels) or any(label is None for label in labels):
        raise NothingToExamine("measuring an attack needs pictures that all have a label")
    return images, labels.astype(str)


def _trained(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], seed: int, device: str
) -> torch.nn.Module:
    import torch

    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(pixels.shape[1], int(labels.max()) + 1, pixels.shape[2:]).to(device)
    steps = EPOCHS * -(-len(pixels) // _BATCH)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    answers = torch.from_numpy(labels).to(device)
    for _ in range(EPOCHS):
        for rows in np.array_split(rng.permutation(len(pixels)), steps // EPOCHS):
            optimiser.zero_grad()
            logits = network(_scaled(pixels[rows], device))
            torch.autograd.backward(torch.nn.functional.cross_entropy(logits, answers[rows]))
            optimiser.step()
            schedule.step()
    return network.eval()


def _network(channels: int, classes: int, size: tuple[int, ...]) -> torch.nn.Module:
    from torch import nn

    height, width = size
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d((min(7, height), min(7, width))),
        nn.Flatten(),
        nn.Linear(32 * min(7, height) * min(7, width), 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def _said(network: torch.nn.Module, pixels: NDArray[np.uint8], device: str) -> NDArray[np.int64]:
    """The class (n,) that the network gives each picture."""
    import torch

    with torch.inference_mode():
        said = [
            network(_scaled(pixels[start : start + 1024], device)).argmax(1).cpu().numpy()
            for start in range(0, len(pixels), 1024)
        ]
    return np.concatenate(said) if said else np.empty(0, np.int64)


def _scaled(pixels: NDArray[np.uint8], device: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(pixels).to(device).float() / 255 - 0.5
