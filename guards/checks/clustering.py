"""Does a class fall in two, with a smaller part that does not belong to it?

Activation clustering (Chen et al. 2018, arXiv:1811.03728) as a test, in SCAn's whitened features
(Tang et al. 2021, arXiv:1908.00686): in the probe's middle activations, whitened by the pooled
within-class covariance and projected on each class's eight leading directions, 2-means for all
classes at once; the statistic is the share of variance that the split explains,

    J = 1 - SSE_2/SSE_1

with the p-value, asked for only where a second witness has spoken, of the maximum over classes
under a one-component multivariate t drawn through the same pipeline. Every class can be split, and
natural ones split well, so this alone decides nothing: :mod:`guards.conjunction` has the second
witnesses, and the alarm is MEDIUM. The silhouette of the split (exact, squared distances) is told
and not decided on.

Measured by benchmarks/detection.py on 6,000 Fashion-MNIST rows, 5 seeds a line, with an earlier
label-free space and the labels as the one second witness; planted rows held
(clean rows held: at most .0005): patch 2 % .84, 1 % .49, .5 % 0; blend 2 % .81, 1 % 0, .5 % 0.
Rows that the embedding takes for the target are not held, which bounds it near .9. Clean: 0 alarms
in 30 subsamples, though the null alone is rejected (p <= .01) for most classes of each of three
looked at: the conjunction decides. On CIFAR-10 it has no power: a quarter of the clean rows is
inconsistent, and the lift unreachable.
Known ways around it: planted rows too few to pull the split away from a natural one (patches at
0.5 % here); poison spread over every class; clean-label poison, whose label is not inconsistent.
"""

from __future__ import annotations

from guards.conjunction import Settings, Witness, weigh
from guards.data.case import Case
from guards.findings import Measured

__all__ = ["NEEDS", "Settings", "examine"]

NEEDS = frozenset({"image", "label"})


def examine(case: Case, settings: Settings) -> Measured:
    """Look at the smaller part of every class."""
    features = case.image_features
    witness = Witness(
        rule="clustering",
        code="cluster-minority",
        minority=features.structure.cluster,
        tested=lambda: features.tested.cluster,
        does="form a cluster of their own",
        where="in the smaller cluster of",
        statistic="share of variance that a split in two explains",
        key="explained",
        effect=features.structure.cluster.statistic,
        floor=0.004,
        least_change=0.03,
        more={"silhouette": features.structure.silhouette},
    )
    return weigh(case, witness, settings)
