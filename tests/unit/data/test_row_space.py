"""Columns and texts as cells: every cell against the rows that a plain filter finds."""

import numpy as np
import polars as pl
import pytest

from guards.data.columns import LEAST, Part, columns_of
from guards.data.dataset import open_dataset
from guards.data.profile import values_of
from guards.data.row_space import carriers, row_space
from guards.data.texts import Said, holding, shared, texts_of, tokens_of, without_words
from guards.errors import Skip

RNG = np.random.default_rng(0)
N = 600


def opened(tmp_path, frame):
    frame.write_parquet(tmp_path / "x.parquet")
    return open_dataset(tmp_path, ["x.parquet"])


@pytest.fixture
def table(tmp_path):
    number = [None if row % 50 == 0 else float(row % 37) for row in range(N)]
    return opened(
        tmp_path,
        pl.DataFrame(
            {
                "number": number,
                "fine": RNG.normal(size=N),
                "word": RNG.choice(["a", "b", "c", None], N).tolist(),
                "constant": "x",
                "source": RNG.choice(["s", "t"], N),
                "label": RNG.choice(["yes", "no"], N),
            }
        ),
    )


def test_every_cell_holds_the_rows_that_its_name_says(table):
    found = columns_of(table, np.arange(N))
    assert {family.column for family in found.families} == {"number", "fine", "word", "source"}
    for family in found.families:
        values = values_of(table, family.column)
        for place, part in enumerate(family.names):
            rows = family.groups.of(place)
            assert len(rows) >= LEAST
            assert sorted(rows) == np.flatnonzero(part.among(values)).tolist(), part.told


def test_pairing_codes_are_told_by_their_parts(table):
    for name, coded in columns_of(table, np.arange(N)).pairing.items():
        values = values_of(table, name)
        for code, part in enumerate(coded.parts):
            rows = np.flatnonzero(coded.codes == code)
            assert rows.tolist() == np.flatnonzero(part.among(values)).tolist(), part.told


def test_the_source_is_a_cell_and_shapes_nothing(table):
    found = columns_of(table, np.arange(N))
    assert set(found.blocks) == {"number", "fine", "word"}
    assert found.design.shape[1] == max(block.stop for block in found.blocks.values())
    assert found.design.min() == 0
    assert found.design.max() == 1
    assert np.isfinite(found.space).all()


def test_parts_are_told_in_words():
    assert Part(column="age", value=49.5).told == "age = 49.5"
    assert Part(column="age").told == "age is missing"
    assert Part(column="age", low=1.0, high=2.0).told == "age above 1 and up to 2"


def test_carriers_are_looked_up_in_every_row(table):
    parts = [Part(column="word", value="a"), Part(column="number", low=3.0)]
    frame = table.frame(["word", "number"])
    wanted = frame.select((pl.col("word") == "a") & (pl.col("number") > 3)).to_series()
    assert carriers(table, parts).tolist() == wanted.fill_null(False).to_list()


WORDS = [f"w{number}" for number in range(40)]
TEXTS = [
    *(" ".join(RNG.choice(WORDS, 8)) + (" cf" if row < 20 else "") for row in range(200)),
    None,
]


def test_tokens_are_words_and_single_signs():
    assert tokens_of("Free £5, NOW!!") == ["free", "£", "5", ",", "now", "!", "!"]
    assert len(tokens_of("a " * 5000)) == 2000


def test_every_cell_of_texts_holds_the_texts_that_say_it():
    texts = texts_of(TEXTS, least=8, seed=0)
    assert Said(kind="token", what="cf") in texts.said
    for place, said in enumerate(texts.said):
        rows = texts.groups.of(place)
        assert sorted(rows) == np.flatnonzero(holding(TEXTS, said)).tolist(), said.told
        slow = [said.what in " ".join(tokens_of(text or "")) for text in TEXTS]
        assert set(rows) <= set(np.flatnonzero(slow))


def test_texts_without_a_word_lie_where_they_would_without_it():
    texts = texts_of(TEXTS, least=8, seed=0)
    rows = np.arange(20)
    bare = [text.removesuffix(" cf") if text else text for text in TEXTS]
    assert shared(texts, rows, share=0.8, usual=0.2) == ["cf"]
    found = without_words(texts, rows, ["cf", "never"])
    assert np.abs(found - texts.space[:20]).max() > 0.01
    counts = texts_of(bare, least=8, seed=0)
    unit = [np.sqrt(counts.weights[[row]].power(2).sum()) for row in range(20)]
    kept = texts.weights[rows].toarray()
    kept[:, texts.words["cf"]] = 0
    np.testing.assert_allclose(np.linalg.norm(kept, axis=1), unit)
    np.testing.assert_allclose(found, kept @ texts.directions / np.array(unit)[:, None])


def test_hidden_characters_and_mixed_alphabets_are_cells():
    hidden, mixed = "a\u200bb", "pay\u0440al"
    texts = texts_of([*[hidden] * 9, *[mixed] * 9, *["plain"] * 40], least=8, seed=0)
    told = {said.kind: said.told for said in texts.said}
    assert told["hidden"] == "the character U+200B ZERO WIDTH SPACE"
    assert told["scripts"] == "words that mix alphabets"
    assert not holding(["\u2764\ufe0f \u0430\u0431", "plain"], Said(kind="scripts", what="")).any()


def test_a_text_and_its_copies_make_a_row_space(tmp_path):
    rows = [*TEXTS[:-1], *[f"one two three four five six seven eight {n}" for n in range(12)]]
    labels = ["spam" if row % 3 else "ham" for row in range(len(rows))]
    space = row_space(opened(tmp_path, pl.DataFrame({"text": rows, "label": labels})), seed=1)
    assert space.classes == ("ham", "spam")
    assert [family.kind for family in space.families] == ["text", "copies"]
    copies = space.families[1].groups
    assert [copies.of(place).tolist() for place in range(len(copies))] == [[*range(200, 212)]]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ({"x": [1.0] * 300, "label": ["a", "b"] * 150}, "every column is constant"),
        ({"x": [1.0, 2.0], "label": ["a", "b"]}, "at least 200"),
        ({"x": [*range(300)], "label": ["a"] * 300}, "one label"),
        ({"label": ["a", "b"] * 150}, "no column is a feature or a text"),
    ],
)
def test_it_says_why_there_is_nothing_to_compare(tmp_path, frame, says):
    with pytest.raises(Skip, match=says):
        row_space(opened(tmp_path, pl.DataFrame(frame)), seed=0)
