"""The discriminant against scikit-learn's, its folds, and the area under the curve."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from guards.numerics import discriminant

RNG = np.random.default_rng(6)


def rows(shift: float) -> tuple[np.ndarray, np.ndarray]:
    """300 rows of 8 features, of which 60 are moved; 40 of them are known as seeds."""
    features = RNG.normal(size=(300, 8)) * np.linspace(0.5, 2, 8)
    features[:60, 3] += shift
    return features, np.arange(300) < 40


def test_scores_rank_rows_as_scikit_learn_does() -> None:
    features, seeds = rows(3.0)
    ours = discriminant.seed_scores(features, seeds, np.random.default_rng(0), ridge=1e-6)
    model = LinearDiscriminantAnalysis()
    theirs = cross_val_predict(model, features, seeds, cv=5, method="decision_function")
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert roc_auc_score(seeds, ours) == pytest.approx(roc_auc_score(seeds, theirs), abs=0.03)


def test_rows_that_the_seeds_missed_score_high() -> None:
    features, seeds = rows(6.0)
    scores = discriminant.seed_scores(features, seeds, np.random.default_rng(0))
    missed = scores[40:60]
    assert np.median(missed) > np.quantile(scores[60:], 0.99)


def test_seeds_drawn_at_random_are_not_recognised_out_of_fold() -> None:
    features = RNG.normal(size=(200, 30))
    seeds = RNG.permutation(200) < 30
    scores = discriminant.seed_scores(features, seeds, np.random.default_rng(1))
    assert discriminant.area_under_curve(scores, seeds) < 0.7


def test_area_under_curve_is_that_of_scikit_learn_with_ties() -> None:
    scores, positive = RNG.integers(0, 6, 100), RNG.random(100) < 0.3
    ours = discriminant.area_under_curve(scores, positive)
    assert ours == pytest.approx(roc_auc_score(positive, scores))
    assert discriminant.area_under_curve(scores, np.zeros(100, bool)) == 0.5


def test_constant_features_give_finite_scores() -> None:
    seeds = np.arange(40) < 10
    scores = discriminant.seed_scores(np.ones((40, 3)), seeds, np.random.default_rng(0))
    assert np.isfinite(scores).all()
