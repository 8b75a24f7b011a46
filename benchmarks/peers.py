"""The peers, each handed the right layer, so that nothing is won cheaply.

ART reads whatever a classifier's `get_activations` gives, for PyTorch the logits (its issue 1810).
Here its detectors get the same penultimate features as ours, through a classifier whose
activations *are* the features that it is asked about.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def art_spectral(features: Floats, labels: Ints, rate: float) -> Bools:
    """ART's spectral signatures, told the true poison rate; (n,), the rows it calls poison."""
    from art.defences.detector.poison import SpectralSignatureDefense

    found = SpectralSignatureDefense(
        _classifier(features, labels), features, labels, expected_pp_poison=rate
    )
    return ~np.array(found.detect_poison()[1], bool)


def art_clustering(features: Floats, labels: Ints) -> Bools:
    """ART's activation clustering as its own documentation runs it: two clusters, ten dimensions.

    `cluster_analysis` is the default, `smaller`; `relative-size` fails on numpy 2.4.
    """
    from art.defences.detector.poison import ActivationDefence

    found = ActivationDefence(_classifier(features, labels), features, labels)
    return ~np.array(found.detect_poison(nb_clusters=2, nb_dims=10, reduce="PCA")[1], bool)


def isolation_forest(features: Floats, labels: Ints, rate: float, seed: int) -> Bools:
    """An isolation forest in every class, told the true poison rate."""
    from sklearn.ensemble import IsolationForest

    flagged = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        forest = IsolationForest(contamination=max(min(rate, 0.5), 1e-4), random_state=seed)
        flagged[rows] = forest.fit_predict(features[rows]) < 0
    return flagged


def cleanlab_issues(features: Floats, labels: Ints, seed: int) -> Bools:
    """The default filter of cleanlab on out-of-fold probabilities of a logistic regression."""
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    told = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")
    return np.asarray(find_label_issues(labels, told), bool)


def _classifier(features: Floats, labels: Ints) -> Any:
    """An ART classifier whose last layer is its input: `get_activations` gives what it is given."""
    import torch
    from art.estimators.classification import PyTorchClassifier

    class Given(PyTorchClassifier):
        """Activations as they are."""

        def get_activations(self, x: Floats, *_: Any, **__: Any) -> Floats:
            return x

    return Given(
        model=torch.nn.Sequential(torch.nn.Identity()),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=features.shape[1:],
        nb_classes=int(labels.max()) + 1,
        device_type="cpu",
    )
