"""How far out in some layer does a row's activation lie, of all that the network has seen?

FLARE's idea (Hou et al. 2025, arXiv:2411.14243). Every normalisation layer knows the running mean
and variance of each of its channels, so what enters it is standardised without another pass,

    z = (a - mean) / sqrt(variance + eps),    H = min over channels and positions of log N(z),

and one forward pass gives H (n, L), the least likely activation of each row in each of L layers.
The paper clusters H by UMAP and HDBSCAN over the whole set. In their place :func:`surprise` takes
the worst layer's robust z-score, one pass over H. Measured on the short probe (3 layers, 3,000 rows
of Fashion-MNIST and of CIFAR-10 as JPEG, one seed a case), AUROC of planted rows / TPR at FPR .5 %:

                        patch 2 %     all-to-all 5 %  TaCT 2 %     blend, WaNet, adaptive blend
    surprise            1.00 / .97-1  .99 / .75-.93   1.00 / .80   .26-.33 / 0   (SIG .52)
    Mahalanobis in H    1.00 / .87    .98 / .54-.64   .98 / .25    .55-.59 / .01
    a split in two      no power: planted rows in one half of all; J .41-.50, clean .43-.53
    clumps (density)    .84-.92       .66-.73         .76          .47-.56

All-to-all on CIFAR-10, WaNet and SIG were not implanted (success .09, .19, .39). Way around it:
triggers without an edge. Their rows are *less* extreme than others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

    Floats = npt.NDArray[np.float64]

BATCH = 512


def norm_layers(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """The normalisation layers with running statistics, by name, in the order of their making."""
    from torch.nn.modules.batchnorm import _BatchNorm

    layers = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, _BatchNorm)]
    return [(name, layer) for name, layer in layers if layer.running_mean is not None]


def likelihood_extremes(net: nn.Module, inputs: Tensor) -> Floats:
    """H (n, L): the least log-likelihood of each row in each normalisation layer.

    Args:
        net: in evaluation mode, with at least one normalisation layer.
        inputs: (n, ...) as the network takes them, on its device.
    """
    import torch

    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: seen.append(_extreme(layer, given[0])))
        for _, layer in norm_layers(net)
    ]
    rows = []
    try:
        with torch.no_grad():
            for part in torch.split(inputs, BATCH):
                seen.clear()
                net(part)
                rows.append(torch.stack(seen, 1))
    finally:
        for hook in hooks:
            hook.remove()
    found: Floats = torch.cat(rows).double().cpu().numpy()
    return found


def _extreme(layer: nn.Module, entering: Tensor) -> Tensor:
    """The least log-likelihood (rows,) over channels and positions of what enters `layer`."""
    flat = entering.detach().float().flatten(2) if entering.dim() > 2 else entering[..., None]
    mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
    epsilon: float = layer.eps  # type: ignore[assignment]
    squared = (flat - mean[:, None]).square() / (variance + epsilon)[:, None]
    return -0.5 * squared.flatten(1).amax(1) - 0.5 * float(np.log(2 * np.pi))


def surprise(extremes: Floats) -> Floats:
    """How far each row lies above the whole set in its worst layer: (n, L) -> (n,).

    The robust z-score of log(-H) in each layer, and the greatest of a row's.
    """
    logs = np.log(np.maximum(-extremes, 1e-12))
    centred = logs - np.median(logs, 0)
    spread = 1.4826 * np.median(np.abs(centred), 0)
    scores: Floats = (centred / np.maximum(spread, 1e-12)).max(1)
    return scores
