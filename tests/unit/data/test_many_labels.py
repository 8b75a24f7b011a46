"""How rows become numbers that many labels are told apart by."""

from __future__ import annotations

import numpy as np
import pytest

from guards.data.many_labels import _space, many_labels
from guards.numerics.likely import likeliest


def table(seed=0, rows=300):
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.normal(size=rows), rng.integers(0, 3, rows), rng.random(rows)])


def test_numbers_are_ranks_words_are_columns_and_gaps_are_told():
    """No monotone change of a number moves anybody; a word that was not seen is none of them."""
    rows, is_word = table(), [False, True, False]
    rows[:5, 2] = np.nan
    found = _space(rows, is_word)(rows)
    assert found.shape == (300, 1 + 3 + 1 + 1)
    stretched = rows.copy()
    stretched[:, 0] = np.exp(stretched[:, 0])
    assert np.array_equal(_space(stretched, is_word)(stretched), found)
    order = rows[:, 0].argsort()
    assert (np.diff(found[order, 0]) > 0).all()
    assert found[order[[0, -1]], 0] == pytest.approx([0, 1], abs=0.01)
    assert (found[:, 1:4].argmax(axis=1) == rows[:, 1]).all()
    assert found[:5, 4:].tolist() == [[0.5, 1.0]] * 5
    assert found[5:, 5].max() == 0
    other = rows[:1].copy()
    other[0, 1] = 7
    assert _space(rows, is_word)(other)[0, 1:4].tolist() == [0, 0, 0]


def test_more_numbers_than_ranks_are_parted_evenly(monkeypatch):
    monkeypatch.setattr("guards.data.many_labels._RANKS", 11)
    rows = np.arange(1000.0)[:, None]
    assert len(np.unique(_space(rows, [False])(rows))) <= 2 * 11
    assert (np.diff(_space(rows, [False])(rows)[:, 0]) >= 0).all()


def test_rows_that_are_not_trained_on_are_asked_about_and_in_any_order_of_parts():
    rng = np.random.default_rng(2)
    labels = np.arange(2000) % 50
    rows = rng.normal(size=(50, 4))[labels] + 0.1 * rng.normal(size=(2000, 4))
    drawn = np.sort(rng.permutation(2000)[:1200])
    pieces = np.array_split(rng.permutation(2000), 7)

    def told(places):
        parts = [(piece, rows[piece]) for piece in places]
        return many_labels(rows[drawn], drawn, labels, [False] * 4, lambda: parts, seed=1)

    plain, again = told([np.arange(2000)]), told(pieces)
    assert np.array_equal(plain.labels, again.labels)
    assert plain.values == pytest.approx(again.values, abs=1e-5)
    assert (likeliest(plain)[0] == labels).mean() > 0.98
