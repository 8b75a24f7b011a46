"""Words as places in a list are the words that they were, however they were put together."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.data.coded import coded, joined, read_coded, renamed
from guards.data.dataset import open_dataset
from guards.data.stream import strips

WORDS = st.lists(st.sampled_from(["a", "", "b c", "\u00e9", "a\0", None]), max_size=12)


def series(words) -> pl.Series:
    return pl.Series("w", words, dtype=pl.String)


@given(WORDS)
def test_every_row_has_the_place_of_its_word(words):
    found = coded(series(words))
    assert found.known.n_unique() == len(found.known)
    assert not found.known.null_count()
    assert [[*found.known, None][place] for place in found.places.tolist()] == words
    assert found.series("w").equals(series(words), check_names=True)
    assert found.missing() == words.count(None)
    told = Counter(word for word in words if word is not None)
    assert dict(found.counts().iter_rows()) == told


@given(st.lists(st.tuples(st.booleans(), WORDS), min_size=1, max_size=5), st.data())
def test_parts_join_to_the_whole(parts, data):
    held = [coded(series(w)) if whole else series(w) for whole, w in parts]
    every = [word for _, words in parts for word in words]
    found = joined(held)
    assert found.known.n_unique() == len(found.known)
    assert found.series("w").to_list() == every
    first = data.draw(st.integers(0, len(every)))
    some = found.part(first, len(every))
    assert some.series("w").to_list() == every[first:]
    assert dict(some.counts().iter_rows()) == Counter(w for w in every[first:] if w is not None)


def test_a_list_with_a_word_twice_and_a_null_is_read_as_what_it_says():
    array = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, None, 3], pa.int32()), pa.array(["a", "b", "a", None])
    )
    found = read_coded(array)
    assert found.series("w").to_list() == ["a", "b", "a", None, None]
    assert sorted(found.known) == ["a", "b"]
    assert found.missing() == 2


def test_words_that_become_one_are_one():
    found = renamed(coded(series(["a", "b", None, "a"])), series(["x", "x"]))
    assert found.series("w").to_list() == ["x", "x", None, "x"]
    assert len(found.known) == 1


@pytest.mark.parametrize("size", [1, 4, 9, 40])
@pytest.mark.parametrize("writer", ["pyarrow", "polars", "plain"])
def test_words_of_a_file_are_read_as_its_list(tmp_path, size, writer):
    words = [None if n % 7 == 3 else f"w{n % 5}" * (1 + n % 3) for n in range(31)]
    frame = pl.DataFrame({"w": series(words), "n": range(31)})
    for place, part in enumerate((frame[:12], frame[12:])):
        path = tmp_path / f"{place}.parquet"
        if writer == "polars":
            part.write_parquet(path, row_group_size=5)
        else:
            table = part.to_arrow()
            options = {"use_dictionary": writer == "pyarrow", "row_group_size": 5}
            pa.parquet.write_table(table, path, **options)
    dataset = open_dataset(tmp_path, ["0.parquet", "1.parquet"])
    found, numbers = [], []
    for parts in strips(dataset, ["w", "n"], ["w"], size, ()):
        assert all("w" in part.words and "w" not in part.frame.columns for part in parts)
        assert sum(part.height for part in parts) <= size
        found += joined([part.words["w"] for part in parts]).series("w").to_list()
        numbers += [n for part in parts for n in part.frame["n"]]
    assert found == words
    assert numbers == list(range(31))


def test_words_of_other_files_stay_strings(tmp_path):
    pl.DataFrame({"w": ["a", "b"], "n": [1, 2]}).write_csv(tmp_path / "t.csv")
    (parts,) = strips(open_dataset(tmp_path, ["t.csv"]), ["w", "n"], ["w"], 9, ())
    assert [part.frame["w"].to_list() for part in parts] == [["a", "b"]]
