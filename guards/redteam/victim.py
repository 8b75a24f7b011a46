"""The network that an adversary trains: to ask whether an attack took hold, and to plan one.

Two convolutions of 3 x 3, 16 and 32 channels, and two dense layers: enough for pictures of the size
of Fashion-MNIST, and trained by itself, so that what a detector trains is never the judge of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

EPOCHS = 8
_BATCH = 64


def trained(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, seed: int, device: str = "cpu"
) -> torch.nn.Module:
    """A network trained on pictures (n, C, H, W) and labels (n,); `seed` fixes all of it."""
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


def said(
    network: torch.nn.Module, pixels: NDArray[np.uint8], device: str = "cpu"
) -> NDArray[np.int64]:
    """The class (n,) that the network gives each picture."""
    import torch

    with torch.inference_mode():
        answers = [
            network(_scaled(pixels[start : start + 1024], device)).argmax(1).cpu().numpy()
            for start in range(0, len(pixels), 1024)
        ]
    return np.concatenate(answers) if answers else np.empty(0, np.int64)


def hardened(
    network: torch.nn.Module,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    epsilon: float,
    steps: int,
    device: str = "cpu",
) -> NDArray[np.uint8]:
    """Pictures (m, C, H, W) moved by up to `epsilon` grey levels to where the network errs.

    Projected gradient ascent on the loss of the right labels (m,), `steps` of 2.5 epsilon / steps
    in the sign's direction (Madry et al. 2018, arXiv:1706.06083): what is left of the class is
    then hard to learn, and a trigger beside it is easy (Turner et al. 2019).
    """
    import torch

    start = torch.from_numpy(pixels).to(device).float()
    moved, answers = start.clone(), torch.from_numpy(labels).to(device)
    for _ in range(steps if len(pixels) else 0):
        moved.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(network(moved / 255 - 0.5), answers)
        (slope,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + 2.5 * epsilon / steps * slope.sign()
        moved = torch.clamp(start + (moved - start).clamp(-epsilon, epsilon), 0, 255)
    # Rounded towards the start, so that no pixel leaves its bounds.
    away = (moved - start).trunc()
    hard: NDArray[np.uint8] = (start + away).byte().cpu().numpy()
    return hard


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


def _scaled(pixels: NDArray[np.uint8], device: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(pixels).to(device).float() / 255 - 0.5
