"""Texts as something to compare, labels aside, and the tokens, pairs and characters in them.

Tokens are runs of letters and digits, and every other character by itself, without regard to case.
Texts lie in the leading directions of their TF-IDF (Deerwester et al. 1990, by a randomised SVD),
too few of them for a rare word to have one of its own. *Cells* are the texts that hold a token,
two in a row, two of the commonest words anywhere, a character that is seldom written, or characters
that nobody sees: zero-width ones, bidirectional controls, and letters of two scripts in one word,
which look alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from guards.numerics.turns import Ragged
from guards.text import DECEPTIVE, printable

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy.sparse import csr_array

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

DIRECTIONS = 100
LONGEST = 2_000  # tokens of a text that are looked at: its first and last halves of that
WORDS = 50_000  # that the space is made of, the commonest
TOGETHER, COMMON = 200, 0.01  # words that are looked at two by two, and the texts that hold each
_TOKEN = re.compile(r"\w+|[^\w\s]")
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the texts of a cell share: `kind` token, pair, character, hidden or scripts."""

    kind: str
    what: str

    @property
    def told(self) -> str:
        """For people; what cannot be seen is told by its code point."""
        shown = printable(self.what)[:_SHOWN]
        match self.kind:
            case "token":
                return f"the token {shown!r}"
            case "pair":
                return f"the tokens {shown!r}"
            case "scripts":
                return "words that mix alphabets"
        name = unicodedata.name(self.what, "")
        return f"the character U+{ord(self.what):04X} {name}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texts:
    """`weights` (n, words) TF-IDF, `directions` (words, r); `space` (n, r) is what they give.

    `groups` are the texts that hold each of `said`; `words` numbers the columns of `weights`.
    `held` (n, w) says which texts hold which of the `common` words.
    """

    weights: csr_array
    directions: Floats
    space: Floats
    words: dict[str, int]
    groups: Ragged
    said: Sequence[Said]
    common: Sequence[str]
    held: Bools


def texts_of(values: Sequence[str | None], *, least: int, seed: int) -> Texts:
    """Read the texts (n,); cells have at least `least` texts and at most half of all."""
    from scipy.sparse import csr_array

    tokens = [tokens_of(value or "") for value in values]
    words, columns, starts = _numbered(tokens)
    counts = csr_array((np.ones(len(columns)), columns, starts), shape=(len(tokens), len(words)))
    counts.sum_duplicates()
    weights, kept = _weighed(counts, words)
    directions = _directions(weights, seed)
    groups, said = _cells(tokens, values, least)
    common, held = _common(counts, list(words))
    return Texts(
        weights=weights,
        directions=directions,
        space=projected(weights, directions),
        words=kept,
        groups=groups,
        said=said,
        common=common,
        held=held,
    )


def tokens_of(text: str) -> list[str]:
    """The tokens of a text in order; of a very long one those at its start and its end."""
    found = _TOKEN.findall(text.casefold())
    half = LONGEST // 2
    return found if len(found) <= LONGEST else [*found[:half], *found[-half:]]


def projected(weights: csr_array, directions: Floats) -> Floats:
    """Where texts of these weights (n, words) lie: of length 1 before the projection, (n, r)."""
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    placed: Floats = (weights @ directions) / np.maximum(lengths, 1e-12)[:, None]
    return placed


def without_words(texts: Texts, rows: Ints, words: Sequence[str]) -> Floats:
    """Where some texts (m,) would lie without these words, (m, r)."""
    left = texts.weights[rows].tocsc(copy=True)
    for word in words:
        if (column := texts.words.get(word)) is not None:
            left.data[left.indptr[column] : left.indptr[column + 1]] = 0
    return projected(left.tocsr(), texts.directions)


def holding(values: Sequence[str | None], said: Said) -> npt.NDArray[np.bool_]:
    """Which texts (n,) hold what a cell's texts share."""
    if said.kind in ("token", "pair"):
        token = said.what.split(" ")[0]
        found = [
            value is not None and token in value.casefold() and said in set(_said(tokens_of(value)))
            for value in values
        ]
    else:
        found = [said in set(_seen(value or "")) for value in values]
    return np.array(found, np.bool_)


def shared(texts: Texts, rows: Ints, *, share: float, usual: float) -> list[str]:
    """The words that at least `share` of these texts have, and at most `usual` of all texts."""
    own = _holding(texts.weights[rows])
    everywhere = _holding(texts.weights)
    common = np.flatnonzero((own >= share) & (everywhere <= np.maximum(usual, 0)))
    names = {column: word for word, column in texts.words.items()}
    return [names[column] for column in common.tolist()]


def _holding(weights: csr_array) -> Floats:
    """The share of the texts that hold each word."""
    counted = np.bincount(weights.indices, minlength=weights.shape[1])
    shares: Floats = counted / max(weights.shape[0], 1)
    return shares


def _numbered(tokens: Sequence[Sequence[str]]) -> tuple[dict[str, int], Ints, Ints]:
    """A number for each token, the tokens of all texts by number, and where each text begins."""
    words: dict[str, int] = {}
    columns = [words.setdefault(token, len(words)) for text in tokens for token in text]
    starts = np.cumsum([0, *map(len, tokens)])
    return words, np.array(columns, np.int64), starts.astype(np.int64)


def _weighed(counts: csr_array, words: dict[str, int]) -> tuple[csr_array, dict[str, int]]:
    """Logarithmic TF-IDF of the commonest words that at least two texts have."""
    from scipy.sparse import diags_array

    held = np.bincount(counts.indices, minlength=counts.shape[1])
    common = np.argsort(-held, kind="stable")[:WORDS]
    common = np.sort(common[held[common] > 1])
    weights = counts.tocsc()[:, common].tocsr()
    weights.data = 1 + np.log(weights.data)
    idf = np.log((1 + counts.shape[0]) / (1 + held[common])) + 1
    place = dict(zip(common.tolist(), range(len(common)), strict=True))
    kept = {word: place[column] for word, column in words.items() if column in place}
    return (weights @ diags_array(idf)).tocsr(), kept


def _common(counts: csr_array, words: Sequence[str]) -> tuple[list[str], Bools]:
    """The commonest words that at most half of the texts hold, and which texts hold them."""
    rows = counts.shape[0]
    texts = np.bincount(counts.indices, minlength=len(words))
    spoken = np.array([word.isalnum() for word in words], np.bool_)
    may = spoken & (texts >= COMMON * rows) & (2 * texts <= rows)
    first = np.argsort(-texts, kind="stable")
    first = np.sort(first[may[first]][:TOGETHER])
    return [words[place] for place in first.tolist()], counts.tocsc()[:, first].toarray() > 0


def _directions(weights: csr_array, seed: int) -> Floats:
    """The leading right singular vectors of the texts, each of length 1 first, (words, r)."""
    from scipy.sparse import diags_array
    from sklearn.utils.extmath import randomized_svd

    rank = min(DIRECTIONS, *(size - 1 for size in weights.shape))
    if rank < 1:
        return np.zeros((weights.shape[1], 0))
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    unit = diags_array(1 / np.maximum(lengths, 1e-12)) @ weights
    _, _, right = randomized_svd(unit, rank, n_iter=3, random_state=seed % 2**32)
    vectors: Floats = right.T
    return vectors


def _cells(
    tokens: Sequence[Sequence[str]], values: Sequence[str | None], least: int
) -> tuple[Ragged, list[Said]]:
    """The texts of every token, pair of tokens and telling character that enough texts hold."""
    holding: dict[Said, list[int]] = {}
    for row, (text, value) in enumerate(zip(tokens, values, strict=True)):
        for said in {*_said(text), *_seen(value or "")}:
            holding.setdefault(said, []).append(row)
    kept = {
        said: rows
        for said, rows in holding.items()
        if len(rows) >= least and 2 * len(rows) <= len(tokens)
    }
    starts = np.cumsum([0, *map(len, kept.values())]).astype(np.int64)
    rows = np.array([row for each in kept.values() for row in each], np.int64)
    return Ragged(starts=starts, rows=rows), list(kept)


def _said(tokens: Sequence[str]) -> Iterator[Said]:
    for token in tokens:
        yield Said(kind="token", what=token)
    for first, second in pairwise(tokens):
        yield Said(kind="pair", what=f"{first} {second}")


def _seen(text: str) -> Iterator[Said]:
    """Characters that are hidden or seldom written; words that mix alphabets."""
    if text.isascii():
        return
    for place, character in enumerate(text):
        if character in DECEPTIVE and not _joins(text, place):
            yield Said(kind="hidden", what=character)
        elif not character.isascii() and not character.isalnum():
            yield Said(kind="character", what=character)
    if any(_mixed(word) for word in _TOKEN.findall(text)):
        yield Said(kind="scripts", what="")


def _joins(text: str, place: int) -> bool:
    """Whether a joiner or a variation selector stands where scripts and emoji need one."""
    before = text[place - 1] if place else " "
    needed = text[place] in "\u200c\u200d\ufe0e\ufe0f"
    return needed and not (before.isascii() or unicodedata.category(before)[0] == "Z")


def _mixed(word: str) -> bool:
    """Whether letters of two alphabets that look alike stand in one word."""
    if word.isascii():
        return False
    names = (unicodedata.name(letter, "").split(" ")[0] for letter in word if letter.isalpha())
    return len({name for name in names if name in _SCRIPTS}) > 1
