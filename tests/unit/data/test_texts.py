"""Texts as tokens, cells and places: held to slow loops, on every kind of text that people send."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfTransformer

from guards.data.texts import (
    LONGEST,
    Said,
    holding,
    projected,
    shared,
    texts_of,
    tokens_of,
    without_words,
)

FEW = settings(max_examples=30, deadline=None)
RNG = np.random.default_rng(3)
SHALOM, MARHABA = "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627"
PIECES = st.sampled_from(
    [
        *("a", "b", "cf", "A", "\u00df", "1", " ", "\n", ".", "!", "_"),
        *("\u200b", "\u202e", "\u200d", "\ufe0f", "\u2764", "\u0440", "\u03b1", SHALOM, MARHABA),
    ]
)
TEXTS = st.none() | st.lists(PIECES, max_size=6).map("".join)


@given(st.text())
def test_tokens_leave_out_nothing_but_blanks(text):
    """ "runs of letters and digits, and every other character by itself" """
    blank = [c for c in text.casefold() if not c.isspace()]
    assert list("".join(tokens_of(text))) == blank
    for token in tokens_of(text):
        assert len(token) == 1 or all(c.isalnum() or c == "_" or _mark(c) for c in token)


def _mark(character):
    return unicodedata.category(character)[0] in "MN"


@pytest.mark.parametrize("tokens", [LONGEST - 1, LONGEST, LONGEST + 1, 50_000])
def test_of_a_long_text_start_and_end_are_looked_at(tokens):
    found = tokens_of(" ".join(f"w{n}" for n in range(tokens)))
    assert len(found) == min(tokens, LONGEST)
    assert (found[0], found[-1]) == ("w0", f"w{tokens - 1}")


def kinds(text):
    texts = texts_of([text] * 9 + ["plain"] * 40, least=8, seed=0)
    return {said.kind for said in texts.said if said.kind not in ("token", "pair")}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("na\u00efve caf\u00e9", set()),
        (SHALOM, set()),
        (f"{MARHABA} hello", set()),
        ("a\u200bb", {"hidden"}),
        ("\u202eabc", {"hidden"}),
        ("\u200fabc", {"hidden"}),
        ("\u2764\ufe0f", {"character"}),  # the heart; its selector stands where it has to
        ("a\ufe0f", {"hidden"}),
        # Persian needs its non-joiner, which is then a character like any other.
        ("\u0645\u06cc\u200c\u0631\u0648\u0645", {"character"}),
        ("a\u200cb", {"hidden"}),
        ("p\u0430ypal", {"scripts"}),
        ("pay \u0440\u0430\u0443", set()),
        ("\u03b1lpha", {"scripts"}),
        ("\u00a35", {"character"}),
        ("", set()),
    ],
)
def test_what_hides_is_told_from_what_scripts_need(text, wanted):
    assert kinds(text) == wanted


@given(st.lists(TEXTS, max_size=30), st.integers(1, 4))
@FEW
def test_cells_are_all_that_enough_texts_hold_and_not_most(values, least):
    """ "cells have at least `least` texts and at most half of all" """
    texts = texts_of(values, least=least, seed=0)
    assert len(texts.groups) == len(texts.said) == len({*texts.said})
    for place, said in enumerate(texts.said):
        rows = texts.groups.of(place)
        assert least <= len(rows) <= len(values) / 2
        assert sorted(rows.tolist()) == np.flatnonzero(holding(values, said)).tolist()
    tokens = [tokens_of(value or "") for value in values]
    for token in {token for text in tokens for token in text}:
        said = Said(kind="token", what=token)
        held = sum(token in text for text in tokens)
        assert (said in texts.said) == (least <= held <= len(values) / 2)


@given(st.lists(TEXTS, max_size=30))
@FEW
def test_common_words_are_held_by_the_texts_that_have_them(values):
    """ "the commonest words that at most half of the texts hold, and which texts hold them" """
    texts = texts_of(values, least=2, seed=0)
    tokens = [set(tokens_of(value or "")) for value in values]
    assert texts.held.shape == (len(values), len(texts.common))
    for place, word in enumerate(texts.common):
        assert texts.held[:, place].tolist() == [word in text for text in tokens]
    every = {word for text in tokens for word in text if word.isalnum()}
    counted = {word: sum(word in text for text in tokens) for word in every}
    wanted = {w for w, count in counted.items() if 0.01 * len(values) <= count <= len(values) / 2}
    assert set(texts.common) <= wanted
    assert len(texts.common) == min(len(wanted), 200)


@given(st.lists(TEXTS, max_size=30))
@FEW
def test_weights_are_those_of_scikit_learn(values):
    texts = texts_of(values, least=2, seed=0)
    counted = np.zeros((len(values), len(texts.words)))
    for row, value in enumerate(values):
        for token in tokens_of(value or ""):
            if token in texts.words:
                counted[row, texts.words[token]] += 1
    assert ((counted > 0).sum(0) > 1).all(), "words of one text have no column"
    if counted.size:
        peer = TfidfTransformer(norm=None, sublinear_tf=True).fit_transform(counted)
        np.testing.assert_allclose(texts.weights.toarray(), peer.toarray())
    assert texts.space.shape == (len(values), texts.directions.shape[1])
    assert np.isfinite(texts.space).all()


@pytest.mark.parametrize(
    "values",
    [
        [],
        [None],
        [None] * 20,
        ["", " ", "\n"] * 9,
        [f"only{n}" for n in range(20)],
        ["the same"] * 20,
        ["a"] * 10 + [None] * 10,
        ["x" * 100_000] * 3,
    ],
)
def test_texts_that_say_nothing_lie_together(values):
    texts = texts_of(values, least=2, seed=0)
    assert len(texts.space) == len(values)
    assert np.isfinite(texts.space).all()
    lengths = np.linalg.norm(texts.space, axis=1)
    assert (lengths <= 1 + 1e-9).all()
    assert without_words(texts, np.arange(len(values)), ["a"]).shape == texts.space.shape


WORDS = [f"w{number}" for number in range(30)]
MANY = [" ".join(RNG.choice(WORDS, 6)) + " cf" * (row < 12) for row in range(120)]


def test_directions_are_orthogonal_and_explain_what_a_full_decomposition_does():
    texts = texts_of(MANY, least=8, seed=0)
    rank = texts.directions.shape[1]
    np.testing.assert_allclose(texts.directions.T @ texts.directions, np.eye(rank), atol=1e-8)
    dense = texts.weights.toarray()
    unit = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    full = np.linalg.svd(unit, compute_uv=False)
    assert (texts.space**2).sum() == pytest.approx((full[:rank] ** 2).sum(), rel=1e-3)


def test_the_same_seed_gives_the_same_space_and_a_weight_no_length():
    one, two = (texts_of(MANY, least=8, seed=2**40) for _ in range(2))
    np.testing.assert_array_equal(one.space, two.space)
    np.testing.assert_allclose(projected(one.weights * 7, one.directions), one.space)


@given(st.lists(st.sampled_from([*WORDS, "cf", "never"]), max_size=4))
@FEW
def test_taking_words_out_is_taking_their_columns_out(words):
    texts = texts_of(MANY, least=8, seed=0)
    rows = np.array([0, 5, 100])
    kept = texts.weights[rows].toarray()
    kept[:, [texts.words[word] for word in words if word in texts.words]] = 0
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    wanted = (kept @ texts.directions) / np.maximum(lengths, 1e-12)
    np.testing.assert_allclose(without_words(texts, rows, words), wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("share", "usual", "wanted"), [(1.0, 0.2, ["cf"]), (1.0, 0.05, []), (1.1, 1.0, [])]
)
def test_shared_words_are_common_here_and_rare_elsewhere(share, usual, wanted):
    texts = texts_of(MANY, least=8, seed=0)
    assert shared(texts, np.arange(12), share=share, usual=usual) == wanted
    everywhere = shared(texts, np.arange(120), share=0.0, usual=1.0)
    assert sorted(everywhere) == sorted(texts.words)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Said(kind="token", what="c\u202ef"), r"the token 'c\\u202ef'"),
        (Said(kind="token", what="x" * 99), f"the token '{'x' * 40}'"),
        (Said(kind="pair", what="a b"), "the tokens 'a b'"),
        (Said(kind="scripts", what=""), "words that mix alphabets"),
        (Said(kind="hidden", what="\u202e"), "the character U+202E RIGHT-TO-LEFT OVERRIDE"),
        (Said(kind="hidden", what="\U000e0fff"), "the character U+E0FFF"),
        (Said(kind="character", what="\u00a3"), "the character U+00A3 POUND SIGN"),
    ],
)
def test_what_texts_share_is_told_harmlessly(said, told):
    assert said.told == told
    assert said.told.isprintable()
