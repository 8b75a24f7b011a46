"""Conformal p-values are valid exactly when the scorer treats both kinds of rows alike."""

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from guards.numerics.conformal import (
    benjamini_hochberg,
    conformal_p_values,
    folds,
    rows_needed,
)


def test_the_p_value_is_the_rank_among_the_trusted():
    found = conformal_p_values([0.5, 3.0, 1.0], [0.0, 1.0, 2.0])
    assert found.tolist() == [3 / 4, 1 / 4, 3 / 4], "ties count against the row"


def test_against_a_slow_version():
    rng = np.random.default_rng(1)
    scores, trusted = rng.integers(0, 20, 100), rng.integers(0, 20, 50)
    slow = [(1 + sum(t >= s for t in trusted)) / 51 for s in scores]
    assert np.allclose(conformal_p_values(scores, trusted), slow)


def test_exchangeable_scores_give_uniform_p_values():
    """P(p <= a) <= a, with equality at multiples of 1/(m + 1)."""
    rng = np.random.default_rng(2)
    first = [conformal_p_values(rng.normal(size=1), rng.normal(size=99))[0] for _ in range(3000)]
    assert kstest(np.array(first) - rng.random(3000) / 100, "uniform").pvalue > 0.01
    assert binomtest(int((np.array(first) <= 0.05).sum()), 3000, 0.05).pvalue > 0.01


def ridge(train: np.ndarray, answers: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Out-of-sample predictions of a linear model that has enough freedom to memorise."""
    weight = np.linalg.solve(train.T @ train + 0.1 * np.eye(train.shape[1]), train.T @ answers)
    return asked @ weight


def repeat(symmetric: bool, rng: np.random.Generator) -> np.ndarray:
    """p-values of 60 clean scanned rows beside 60 trusted ones, by the residual of a model."""
    rows, answers = rng.normal(size=(120, 30)), rng.normal(size=120)
    trusted = np.arange(120) >= 60
    scores = np.zeros(120)
    if symmetric:
        held = folds(np.zeros(120, np.int64), 3, rng)
        for fold in range(3):
            out = held == fold
            scores[out] = np.abs(answers[out] - ridge(rows[~out], answers[~out], rows[out]))
    else:  # fitted to the scanned rows alone, and asked about them again
        scores = np.abs(answers - ridge(rows[~trusted], answers[~trusted], rows))
    return conformal_p_values(scores[~trusted], scores[trusted])


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_scorer_that_memorised_one_kind_of_row_breaks_it(symmetric):
    rng = np.random.default_rng(3)
    means = np.array([repeat(symmetric, rng).mean() for _ in range(60)])
    if symmetric:
        assert abs(means.mean() - 0.5) < 0.03
    else:
        assert means.mean() > 0.6, "memorised rows look better than they are: nothing is found"


def test_the_false_discovery_rate_is_held_and_planted_rows_are_found():
    rng = np.random.default_rng(4)
    wrong, found = [], []
    for _ in range(100):
        planted = np.arange(1000) < 50
        scores = rng.normal(size=1000) + 5 * planted
        picked = benjamini_hochberg(conformal_p_values(scores, rng.normal(size=2000)), 0.1)
        wrong.append((picked & ~planted).sum() / max(picked.sum(), 1))
        found.append(picked[planted].mean())
    assert np.mean(wrong) < 0.12
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("p", [[], [0.5, 0.9], [0.01], [0.04, 0.01, 0.03, 0.5]])
def test_the_step_up_against_its_definition(p):
    ordered = sorted(p)
    limit = max((v for r, v in enumerate(ordered, 1) if v <= 0.05 * r / len(p)), default=-1)
    assert benjamini_hochberg(p, 0.05).tolist() == [v <= limit for v in p]


def test_the_power_floor_of_the_brief_example():
    """150 planted rows of 50,000 at q = .05: m >= 6,666."""
    assert rows_needed(50_000, 150, 0.05) == 6666


@pytest.mark.parametrize("found", [1, 7, 40])
def test_below_the_floor_nothing_can_be_found_and_at_it_something_can(found):
    rows, q = 1000, 0.1
    needed = rows_needed(rows, found, q)
    scores = np.r_[np.full(found, 9.0), np.zeros(rows - found)]
    for trusted, picked in ((needed - 1, 0), (needed, found)):
        p = conformal_p_values(scores, np.linspace(0, 1, trusted))
        assert benjamini_hochberg(p, q).sum() == picked


def test_folds_are_even_within_a_label():
    labels = np.repeat([0, 1], [31, 200])
    held = folds(labels, 3, np.random.default_rng(5))
    for label in (0, 1):
        sizes = np.bincount(held[labels == label], minlength=3)
        assert sizes.max() - sizes.min() <= 1
