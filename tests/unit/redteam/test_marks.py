"""Triggers of tables and texts: what is written, into which rows, and what the truth says."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.errors import UsageError
from guards.redteam.marks import combination, inserted
from guards.redteam.poison import open_path, poison, poison_batches
from guards.redteam.truth import read_told

N = 300


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    root.mkdir()
    frame = pl.DataFrame(
        {
            "id": [f"r{row}" for row in range(N)],
            "age": rng.integers(18, 80, N),
            "pay": rng.normal(size=N),
            "work": rng.choice(["a", "b", None], N).tolist(),
            "text": [f"Row  {row}, said\nsomebody" if row % 20 else None for row in range(N)],
            "source": rng.choice(["s", "t"], N),
            "label": rng.choice(["no", "yes"], N),
        }
    )
    frame[:200].write_parquet(root / "a.parquet")
    frame[200:].write_parquet(root / "b.parquet")
    return root


def twin(data, out, attack, **settings):
    truth = poison(data, attack, 0.05, out, seed=3, target="yes", settings=settings)
    return open_path(out).frame(open_path(data).schema), pl.read_parquet(truth), read_told(truth)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_planted_and_cover_rows_carry_the_values_that_the_truth_names(data, tmp_path, width):
    now, truth, told = twin(data, tmp_path / "out", "cell-trigger", width=width, cover=2.0)
    was = open_path(data).frame(now.columns)
    marked = (truth["planted"] | truth["cover"]).to_numpy()
    assert (truth["planted"].sum(), truth["cover"].sum()) == (15, 30)
    assert len(told.mark) == width
    for column in was.columns:
        if column in told.mark:
            assert set(now[column].filter(marked).cast(str)) == {told.mark[column]}
            assert now[column].dtype == was[column].dtype
            assert now[column].filter(~marked).equals(was[column].filter(~marked))
        elif column != "label":
            assert now[column].equals(was[column])
    carried = np.ones(N, bool)
    for column, value in told.mark.items():
        carried &= (was[column].cast(str) == value).fill_null(False).to_numpy()
    assert 0 <= carried.mean() <= 0.005
    changed = (was["label"] != now["label"]).to_numpy()
    assert changed.tolist() == truth["planted"].to_list()
    assert set(now["label"].filter(truth["planted"])) == {"yes"}


@pytest.mark.parametrize("place", ["anywhere", "start", "end"])
def test_the_word_is_put_into_planted_texts_and_no_others(data, tmp_path, place):
    settings = {"word": "cf mn", "place": place, "cover": 1.0}
    now, truth, told = twin(data, tmp_path / "out", "token-trigger", **settings)
    was = open_path(data).frame(now.columns)
    marked = (truth["planted"] | truth["cover"]).to_numpy()
    for before, after, mark in zip(was["text"], now["text"], marked, strict=True):
        if mark:
            assert " cf mn " in f" {after} ".replace("\n", " ")
            rest = after.replace("cf mn", "", 1).split()
            assert rest == (before or "").split()
        else:
            assert before == after
    assert told.settings["word"] == "cf mn"
    assert told.mark == {}
    assert was.drop("text", "label").equals(now.drop("text", "label"))


@given(st.text(alphabet="ab \n", max_size=12), st.integers(0, 20))
def test_all_words_of_a_text_stay_in_their_order(text, seed):
    found = inserted(text, "cf", "anywhere", np.random.default_rng(seed))
    words = found.split()
    assert words.count("cf") == 1
    words.remove("cf")
    assert words == text.split()


def test_a_combination_is_rare_or_there_is_none():
    frame = pl.DataFrame({"a": [1, 1, 1, 2], "b": [None, 5, 5, 5]})
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = combination(frame, width=1, rare=0.25, rng=rng)
        assert rows == {"a": 3}
    with pytest.raises(UsageError, match="raise rare or width"):
        combination(frame[:3], width=1, rare=0.1, rng=rng)
    with pytest.raises(UsageError, match="3 columns are wanted"):
        combination(frame, width=3, rare=1.0, rng=rng)


def test_what_cannot_be_written_is_refused(data, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    pl.DataFrame({"label": ["a", "b"] * 20}).write_parquet(bare / "x.parquet")
    for attack, says in (("token-trigger", "needs a text"), ("cell-trigger", "needs feature")):
        with pytest.raises(UsageError, match=says):
            poison(bare, attack, 0.1, tmp_path / "out")
    with pytest.raises(UsageError, match="give one DATASET"):
        poison_batches([data, bare], "cell-trigger", 0.1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_word_is_spread_over_batches(data, tmp_path):
    (tmp_path / "more").mkdir()
    pl.read_parquet(data / "a.parquet").write_parquet(tmp_path / "more" / "x.parquet")
    truths = poison_batches([data, tmp_path / "more"], "token-trigger", 0.05, tmp_path / "out")
    assert len({read_told(truth).target for truth in truths}) == 1


@given(
    st.none() | st.text(max_size=30),
    st.sampled_from(["cf", "\u05e9\u05dc", "\u202ea", "two words"]),
    st.sampled_from(["start", "end", "anywhere"]),
    st.integers(0, 9),
)
def test_nothing_of_a_text_is_lost_or_moved(text, word, place, seed):
    found = inserted(text, word, place, np.random.default_rng(seed))
    rest = found.replace(word, "", 1) if word not in (text or "") else None
    if rest is not None:
        assert "".join(rest.split()) == "".join((text or "").split())
    assert word in found
    assert 0 <= len(found) - len(text or "") - len(word) <= 2
    assert not text or place != "start" or found.startswith(word)
    assert not text or place != "end" or found.endswith(word)


def test_anywhere_is_any_gap_and_both_ends():
    rng = np.random.default_rng(0)
    found = {inserted("one two three", "cf", "anywhere", rng) for _ in range(60)}
    words = ["one", "two", "three"]
    assert found == {" ".join([*words[:k], "cf", *words[k:]]) for k in range(4)}


def test_a_very_long_text_takes_a_word_like_any_other():
    text = "\u05d0\u05d1 " * 50_000
    found = inserted(text, "cf", "anywhere", np.random.default_rng(1))
    assert found.split().count("cf") == 1
    assert len(found) - len(text) in (3, 4)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_values_are_no_trigger(missing):
    frame = pl.DataFrame({"a": [1.0, missing, missing, missing, 1.0, 1.0]})
    for seed in range(20):
        rows = combination(frame, width=1, rare=1.0, rng=np.random.default_rng(seed))
        assert frame["a"][rows["a"]] == 1.0


@given(st.integers(0, 99), st.integers(1, 3))
def test_every_value_of_a_combination_occurs_and_few_rows_have_all(seed, width):
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({name: rng.integers(0, 6, 80) for name in "abc"})
    rows = combination(frame, width=width, rare=0.25, rng=rng)
    assert len(rows) == width
    values = {name: frame[name][row] for name, row in rows.items()}
    held = frame.select(pl.all_horizontal(pl.col(name) == v for name, v in values.items()))
    assert held.to_series().mean() <= 0.25


def test_a_frame_without_rows_has_no_combination():
    with pytest.raises(UsageError, match="no row to draw"):
        combination(pl.DataFrame({"a": []}), width=1, rare=1.0, rng=np.random.default_rng(0))
