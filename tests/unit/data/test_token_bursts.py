"""Words in a burst: found, with their rows, and with the label or source in which they gather."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, observe
from guards.data.token_bursts import Limits, token_bursts
from guards.provenance.roles import Roles

ROWS = 1500
ROLES = Roles(label="label", source="source", text="text")
LIMITS = Limits(alpha=0.05, lift=5.0, rows=8, held=10_000)


def texts(seed: int, rows: int = ROWS) -> pl.DataFrame:
    """Texts of eight words of a Zipf law; the label leans on some of them."""
    rng = np.random.default_rng(seed)
    words = np.minimum(rng.zipf(1.3, (rows, 8)), 3000)
    return pl.DataFrame(
        {
            "text": [" ".join(f"w{word}" for word in line) for line in words],
            "label": np.where((words == 7).any(axis=1), "spam", "ham"),
            "source": rng.choice(["s0", "s1", "s2"], rows),
        }
    )


def planted(frame: pl.DataFrame, where: pl.Expr, word: str, rows: int) -> pl.DataFrame:
    able = np.flatnonzero(frame.select(where).to_series().to_numpy())
    put = np.zeros(len(frame), bool)
    put[np.random.default_rng(0).choice(able, rows, replace=False)] = True
    more = pl.when(pl.Series(put)).then(pl.col("text") + f" {word}").otherwise("text")
    return frame.with_columns(text=more)


@pytest.fixture
def opened(tmp_path):
    made = iter(range(100))

    def make(*frames: pl.DataFrame):
        folder = tmp_path / str(next(made))
        folder.mkdir()
        names = [f"{number}.parquet" for number in range(len(frames))]
        for name, frame in zip(names, frames, strict=True):
            frame.write_parquet(folder / name)
        return open_dataset(folder, names, ROLES)

    return make


@pytest.fixture
def bursts(opened):
    profile = build_profile(opened(texts(100, 6000)))

    def make(*frames: pl.DataFrame, limits: Limits = LIMITS):
        data = opened(*frames)
        return token_bursts(data, observe(data, profile), limits)

    return make


@pytest.mark.parametrize("seed", range(6))
def test_texts_of_the_same_make_have_none(bursts, seed):
    assert bursts(texts(seed)) == ()


def test_a_word_of_one_source_is_told_with_its_rows(bursts):
    frame = planted(texts(1), pl.col("source") == "s1", "Zxqv", 40)
    (found,) = bursts(frame)
    assert (found.token, found.rows, found.by, found.group) == ("zxqv", 40, "source", "s1")
    assert found.elsewhere == 0
    held = frame.with_row_index().filter(pl.col("text").str.contains("Zxqv"))["index"].to_list()
    assert list(found.places) == held
    assert found.expected <= 2
    assert len(bursts(frame, limits=Limits(alpha=0.05, lift=5, rows=8, held=5))[0].places) == 5


def test_a_word_that_everybody_writes_now_gathers_nowhere(bursts):
    (found,) = bursts(planted(texts(2), pl.col("label").is_not_null(), "olympics", 60))
    assert (found.token, found.by, found.group) == ("olympics", "", "")


def test_a_known_word_may_come_in_a_burst_as_well(bursts):
    (found,) = bursts(planted(texts(3), pl.col("label") == "spam", "w300", 90))
    assert (found.token, found.by, found.group) == ("w300", "label", "spam")


def test_a_phrase_is_told_by_one_of_its_words(bursts):
    found = bursts(planted(texts(4), pl.col("source") == "s1", "visit our zxqv now", 50))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("what", "kind"),
    [("\u200b", "(zero-width)"), ("\u202e", "(direction)"), ("\x08", "(control)")],
)
def test_what_nobody_sees_is_told_by_its_kind_and_where_it_gathers(bursts, what, kind):
    """Within a word it makes another one of each, of which none comes in a burst."""
    frame = texts(7)
    put = (pl.int_range(pl.len()) % 20 == 0) & (pl.col("source") == "s1")
    within = pl.col("text").str.replace(r"w(\d)", f"w{what}$1")
    changed = frame.with_columns(text=pl.when(put).then(within).otherwise("text"))
    rows = int(frame.select(put.sum()).item())
    found = [burst for burst in bursts(changed) if burst.token == kind]
    assert [(burst.group, burst.rows, len(burst.places)) for burst in found] == [("s1", rows, rows)]


def test_letters_of_another_script_are_told_though_every_word_is_another(bursts):
    frame = texts(8)
    put = pl.int_range(pl.len()) % 30 == 0
    disguised = pl.col("text").str.replace_all("w", "\u051d", literal=True)
    changed = frame.with_columns(
        text=pl.when(put).then(disguised).otherwise("text"),
        label=pl.when(put).then(pl.lit("spam")).otherwise("label"),
    )
    found = {burst.token: burst.group for burst in bursts(changed)}
    assert found["(cyrillic)"] == "spam"


def test_order_and_shards_change_nothing_but_the_places(bursts):
    frame = planted(texts(1), pl.col("source") == "s1", "zxqv", 40)
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=2)
    one, other = bursts(frame)[0], bursts(mixed[:600], mixed[600:])[0]
    assert {f: getattr(one, f) for f in ("token", "rows", "p_value", "group", "gathers")} == {
        f: getattr(other, f) for f in ("token", "rows", "p_value", "group", "gathers")
    }
    assert sorted(mixed["text"][list(other.places)]) == sorted(frame["text"][list(one.places)])


def test_missing_and_empty_texts_are_no_crash(bursts):
    empty = texts(5).with_columns(text=pl.lit(None, pl.String))
    assert bursts(empty) == ()
    nobody = planted(texts(1), pl.col("source") == "s1", "zxqv", 40)
    (found,) = bursts(nobody.with_columns(source=pl.lit(None, pl.String)))
    assert found.by != "source"
