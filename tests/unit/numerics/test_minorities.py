"""Minorities: found where they were put, quiet on one component, quiet about classes too small."""

import numpy as np
import pytest
import torch

from guards.numerics.enrichment import beta_binomial_tail
from guards.numerics.minorities import class_structure, concentration


def classes(planted: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Four classes of 200, 150, 120 and 3 rows; the first has a minority at a distance."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), [200, 150, 120, 3])
    features = rng.standard_t(8, size=(len(labels), 12)) + 4 * labels[:, None]
    features[:planted] += rng.normal(size=12) * 3
    return torch.from_numpy(features).float(), labels


def test_a_planted_minority_is_found_by_both_and_its_rows_named() -> None:
    features, labels = classes(30)
    structure = class_structure(features, labels, 4, np.random.default_rng(1), draws=39)
    for found in (structure.spectral, structure.cluster):
        assert found.p_values[0] == 1 / 40
        assert found.member[:30].mean() > 0.9
        assert found.member[30:200].mean() < 0.05
        assert found.excess[0] > 2 * np.nanmax(found.excess[1:3])
    assert structure.silhouette[0] > structure.silhouette[1]


def test_classes_of_one_component_are_quiet() -> None:
    smallest = []
    for seed in range(8):
        features, labels = classes(0, seed)
        structure = class_structure(features, labels, 4, np.random.default_rng(seed), draws=39)
        smallest += [structure.spectral.p_values.min(), structure.cluster.p_values.min()]
    assert np.mean(np.array(smallest) <= 0.05) <= 0.25


def test_a_class_of_three_rows_is_told_as_not_looked_at() -> None:
    features, labels = classes(30)
    structure = class_structure(features, labels, 5, np.random.default_rng(1), draws=9)
    for found in (structure.spectral, structure.cluster):
        assert np.isnan(found.statistic[3:]).all()
        assert found.p_values[3:].tolist() == [1.0, 1.0]
        assert not found.member[labels == 3].any()


def test_the_same_seed_gives_the_same_answer() -> None:
    features, labels = classes(10)
    first, again = (
        class_structure(features, labels, 4, np.random.default_rng(2), draws=19) for _ in range(2)
    )
    assert np.array_equal(first.cluster.p_values, again.cluster.p_values)
    assert np.array_equal(first.spectral.member, again.spectral.member)


def test_concentration_is_counted_as_one_would() -> None:
    labels = np.repeat([0, 1, 2], [100, 80, 5])
    member = np.zeros(185, bool)
    member[:20] = member[100:110] = True
    hits = np.zeros(185, bool)
    hits[:16] = hits[60:62] = hits[105] = True
    found = concentration(member, labels, hits, 3)
    assert found.rows.tolist() == [20, 10, 0]
    assert found.hits.tolist() == [16, 1, 0]
    base = (2 + 0.5) / (80 + 1)
    assert found.rate[0] == pytest.approx(0.8)
    assert found.lift[0] == pytest.approx(0.8 / base)
    assert found.p_value[0] == pytest.approx(beta_binomial_tail(16, 20, base, 0.02))
    assert found.p_value[2] == 1.0
    assert found.lift[2] == 0.0
