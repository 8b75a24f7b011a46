"""Rows left out without a refit, against scikit-learn's ridge that is fitted without them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as Peer

from guards.numerics.ridge import PENALTY, fit, one_out, without


def drawn(seed, n=60, p=5, classes=3):
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(n, p)) * rng.uniform(0.1, 5, p) + rng.normal(size=p)
    return design, rng.integers(0, classes, n)


def refitted(design, labels, classes, rows):
    """The scores of `rows` by a model of the others, at the penalty of the whole."""
    centred = design - design.mean(0)
    peer = Peer(alpha=PENALTY * np.square(centred).sum(), solver="cholesky")
    rest = np.setdiff1d(np.arange(len(design)), rows)
    peer.fit(design[rest], np.eye(classes)[labels[rest]])
    return peer.predict(design[rows])


@given(seed=st.integers(0, 99), left=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_groups_left_out_are_as_refitted(seed, left):
    """Allen's PRESS for groups: "exact, and no refit"; of few rows and of many."""
    design, labels = drawn(seed)
    rows = np.random.default_rng(seed + 1).permutation(len(design))[:left]
    found = without(fit(design, labels, 3), rows)
    np.testing.assert_allclose(found, refitted(design, labels, 3, rows), atol=1e-8)


def test_one_out_is_the_group_of_one():
    design, labels = drawn(3)
    model = fit(design, labels, 3)
    alone = np.vstack([without(model, np.array([row])) for row in range(len(design))])
    np.testing.assert_allclose(one_out(model), alone, atol=1e-10)
    np.testing.assert_allclose(one_out(model).sum(1), 1)


def test_units_do_not_decide():
    """ "no unit and no number of columns decides" """
    design, labels = drawn(4)
    np.testing.assert_allclose(
        one_out(fit(design * 1000 + 7, labels, 3)), one_out(fit(design, labels, 3)), atol=1e-8
    )


def test_columns_without_content_leave_the_shares():
    labels = np.array([0, 0, 0, 1])
    assert one_out(fit(np.ones((4, 2)), labels, 2))[3] == pytest.approx([1, 0])
