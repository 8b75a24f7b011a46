"""A small network trained for a moment on the labels as given: what a short training believes.

Sharp on purpose: it learns a trigger within its first epochs. Its layers are what the detectors of
hidden minorities look at, its `belief` in each given label is one of their views, and asking it
about stamped pictures tells whether an attack took hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from guards.data.embedding import parts

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from torch import Tensor, nn

PROBE_SIDE = 64
WIDTHS = (16, 32, 64)
BATCH, RATE, LOOKS = 64, 4e-3, 48_000


class Probe:
    """The probe network after its short training, and what the training saw.

    `classify(pixels)` gives labels for other pictures: how an attack's success is measured.
    """

    def __init__(
        self, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: int, place: str
    ) -> None:
        import torch

        self.device = place
        self.inputs = torch.cat(list(parts(pixels, PROBE_SIDE, place)))
        self.mean, self.spread = self.inputs.mean(), self.inputs.std().clamp(min=1e-3)
        self.inputs = (self.inputs - self.mean) / self.spread
        self.targets = torch.as_tensor(labels, device=place)
        self.net = network(pixels.shape[1], classes).to(place)
        self.belief = self._train(int(np.clip(LOOKS // len(labels), 4, 16)))
        self.layers, answers = self._activations(self.inputs)
        self.accuracy = float((answers == labels).mean())

    def classify(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """The probe's labels for other pictures of the same size, (m,)."""
        import torch

        inputs = torch.cat(list(parts(pixels, PROBE_SIDE, self.device)))
        return self._activations((inputs - self.mean) / self.spread)[1]

    def _train(self, epochs: int) -> npt.NDArray[np.float32]:
        import torch
        from torch.optim.lr_scheduler import OneCycleLR

        steps = epochs * -(-len(self.targets) // BATCH)
        optimiser = torch.optim.AdamW(self.net.parameters(), RATE, weight_decay=0.01)
        schedule = OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.3)
        seen = torch.zeros(len(self.targets), device=self.device)
        for epoch in range(epochs):
            late = epoch >= epochs // 2
            order = torch.randperm(len(self.targets)).to(self.device)
            for batch in torch.split(order, BATCH):
                probabilities = self._step(batch, optimiser)
                seen[batch] += probabilities * late
                schedule.step()
        belief: npt.NDArray[np.float32] = (seen / (epochs - epochs // 2)).cpu().numpy()
        return belief

    def _step(self, batch: Tensor, optimiser: torch.optim.Optimizer) -> Tensor:
        """Train on one batch; gives the probabilities of the given labels before the step."""
        import torch
        from torch.nn.functional import cross_entropy

        # Batch normalisation needs two rows; the one row left over is only looked at.
        self.net.train(len(batch) > 1)
        answers = self.inputs[batch]
        for block in self.net:
            answers = block(answers)
        optimiser.zero_grad()
        torch.autograd.backward(cross_entropy(answers, self.targets[batch]))
        optimiser.step()
        return answers.detach().softmax(1).gather(1, self.targets[batch, None])[:, 0]

    def _activations(
        self, inputs: Tensor
    ) -> tuple[tuple[npt.NDArray[np.float16], ...], npt.NDArray[np.int64]]:
        import torch
        from torch.nn.functional import adaptive_avg_pool2d as pool

        self.net.eval()
        early, middle, last, answers = [], [], [], []
        with torch.no_grad():
            for part in torch.split(inputs, 512):
                first = self.net[0](part)
                second = self.net[1](first)
                third = self.net[2](second)
                early.append(pool(first, 4).flatten(1))
                middle.append(pool(second, 2).flatten(1))
                last.append(third)
                answers.append(self.net[3](third).argmax(1))
        layers = tuple(torch.cat(each).half().cpu().numpy() for each in (early, middle, last))
        return layers, torch.cat(answers).cpu().numpy()


def probe(
    pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], *, seed: int, device: str = "cpu"
) -> Probe:
    """Train the probe alone, to ask it about other pictures."""
    with seeded(seed):
        return Probe(pixels, labels, int(labels.max()) + 1, device)


def network(channels: int, classes: int) -> nn.ModuleList:
    """Three convolutions and two layers, 50,000 weights; the first halves the picture."""
    from torch import nn

    early, middle, late = WIDTHS
    return nn.ModuleList(
        [
            nn.Sequential(
                nn.Conv2d(channels, early, 5, stride=2, padding=2, bias=False),
                nn.BatchNorm2d(early),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ),
            nn.Sequential(
                nn.Conv2d(early, middle, 3, padding=1, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ),
            nn.Sequential(
                nn.Conv2d(middle, late, 3, padding=1, bias=False),
                nn.BatchNorm2d(late),
                nn.ReLU(),
                nn.AdaptiveMaxPool2d(2),
                nn.Flatten(),
                nn.Linear(4 * late, late),
                nn.ReLU(),
            ),
            nn.Linear(late, classes),
        ]
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator set from `seed` inside, and as it was afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        yield
