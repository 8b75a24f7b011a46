"""A small network trained for a moment on the labels as given: what a short training believes.

Sharp on purpose: it learns a trigger within its first epochs. Its layers are what the detectors of
hidden minorities look at, its `belief` in each given label is one of their views, and asking it
about stamped pictures tells whether an attack took hold.

On a CPU it is a net of 50,000 weights; on a GPU, where that would be idle most of the time, one
like ResNet-9 (He et al. 2016, arXiv:1512.03385) in bfloat16 and channels-last, the data on the
device. Nothing in that one has a backward pass that sums in a changing order there (pooling by
means and one maximum over the whole picture, no MaxPool), so one seed gives one network on one
device. Its width and length are ResNet-9's usual ones; no detector has been measured on it yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.data.embedding import parts

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from torch import Tensor, nn

PROBE_SIDE = 64
WIDTHS = (16, 32, 64)
LARGE_WIDTHS = (64, 128, 256, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long the training is: `looks` rows are looked at, in `least` to `most` epochs."""

    batch: int
    rate: float
    looks: int
    least: int
    most: int

    def epochs(self, rows: int) -> int:
        """How often each of `rows` rows is looked at."""
        return int(np.clip(self.looks // rows, self.least, self.most))


SHORT = Course(batch=64, rate=4e-3, looks=48_000, least=4, most=16)
LONG = Course(batch=256, rate=2e-3, looks=500_000, least=8, most=24)


class Probe:
    """The probe network after its short training, and what the training saw.

    `classify(pixels)` gives labels for other pictures: how an attack's success is measured.
    `net` takes `inputs` (n, C, H, W) and gives logits; `history` (n, epochs) is the probability of
    the given label in every epoch, before the step on that row, and `belief` (n,) its mean over
    the second half. `layers` are the pooled early and middle activations and the penultimate ones.
    """

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        classes: int,
        place: str,
        course: Course | None = None,
    ) -> None:
        import torch

        self.device, large = place, place.startswith("cuda")
        self.course = course or (LONG if large else SHORT)
        self.inputs = torch.cat(list(parts(pixels, PROBE_SIDE, place)))
        self.mean, self.spread = self.inputs.mean(), self.inputs.std().clamp(min=1e-3)
        self.inputs = (self.inputs - self.mean) / self.spread
        self.targets = torch.as_tensor(labels, device=place)
        self.net = (large_network if large else network)(pixels.shape[1], classes).to(place)
        if large:
            self.inputs = self.inputs.to(memory_format=torch.channels_last)
            for weights in (each for each in self.net.parameters() if each.dim() == 4):
                weights.data = weights.data.to(memory_format=torch.channels_last)
        with _repeatable(place):
            self.history = self._train(self.course.epochs(len(labels)))
        self.belief = self.history[:, self.history.shape[1] // 2 :].mean(1)
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

        rate, size = self.course.rate, self.course.batch
        steps = epochs * -(-len(self.targets) // size)
        optimiser = torch.optim.AdamW(self.net.parameters(), rate, weight_decay=0.01)
        schedule = OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.3)
        seen = torch.zeros((epochs, len(self.targets)), device=self.device)
        for epoch in range(epochs):
            order = torch.randperm(len(self.targets)).to(self.device)
            for batch in torch.split(order, size):
                seen[epoch, batch] = self._step(batch, optimiser)
                schedule.step()
        history: npt.NDArray[np.float32] = seen.T.cpu().numpy()
        return history

    def _step(self, batch: Tensor, optimiser: torch.optim.Optimizer) -> Tensor:
        """Train on one batch; gives the probabilities of the given labels before the step."""
        import torch
        from torch.nn.functional import cross_entropy

        # Batch normalisation needs two rows; the one row left over is only looked at.
        self.net.train(len(batch) > 1)
        with _precision(self.device):
            answers = self.net(self.inputs[batch]).float()
        optimiser.zero_grad()
        torch.autograd.backward(cross_entropy(answers, self.targets[batch]))
        optimiser.step()
        given: Tensor = answers.detach().softmax(1).gather(1, self.targets[batch, None])[:, 0]
        return given

    def _activations(
        self, inputs: Tensor
    ) -> tuple[tuple[npt.NDArray[np.float16], ...], npt.NDArray[np.int64]]:
        import torch
        from torch.nn.functional import adaptive_avg_pool2d as pool

        self.net.eval()
        early, middle, last, answers = [], [], [], []
        with torch.no_grad(), _repeatable(self.device), _precision(self.device):
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


def network(channels: int, classes: int) -> nn.Sequential:
    """Three convolutions and two layers, 50,000 weights; the first halves the picture."""
    from torch import nn

    early, middle, late = WIDTHS
    return nn.Sequential(
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
    )


def large_network(channels: int, classes: int) -> nn.Sequential:
    """Like ResNet-9, 6.6 million weights, in the same four parts; for pictures of 8 pixels up."""
    from torch import nn

    class Residual(nn.Sequential):
        def forward(self, inputs: Tensor) -> Tensor:
            first, second = self
            raised: Tensor = inputs + second(first(inputs))
            return raised

    class Peak(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs.amax((2, 3))

    def convolution(given: int, made: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(given, made, 3, padding=1, bias=False), nn.BatchNorm2d(made), nn.ReLU()
        )

    def residual(width: int) -> nn.Sequential:
        return Residual(convolution(width, width), convolution(width, width))

    a, b, c, d = LARGE_WIDTHS
    return nn.Sequential(
        nn.Sequential(convolution(channels, a), convolution(a, b), nn.AvgPool2d(2), residual(b)),
        nn.Sequential(convolution(b, c), nn.AvgPool2d(2)),
        nn.Sequential(convolution(c, d), nn.AvgPool2d(2), residual(d), Peak()),
        nn.Linear(d, classes),
    )


def _precision(device: str) -> AbstractContextManager[None]:
    """Products in bfloat16 on a GPU, sums in float32; as it is on a CPU."""
    import torch

    large = device.startswith("cuda")
    return torch.autocast("cuda", torch.bfloat16) if large else nullcontext()


def _repeatable(device: str) -> AbstractContextManager[None]:
    """On a GPU, convolutions by algorithms that sum in one order."""
    import torch

    if not device.startswith("cuda"):
        return nullcontext()
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=True
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator set from `seed` inside, and as it was afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        yield
