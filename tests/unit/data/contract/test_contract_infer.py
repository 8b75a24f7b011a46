"""Contracts that are proposed: they hold on the next batch, and say no more than is known."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from guards.contracts import Asked, check, propose
from guards.data.contract.infer import ALPHA, KEPT, LEAST, RARE, STRICTNESS
from guards.data.contract.shape import shape
from guards.data.contract.suite import parse_suite
from guards.errors import NothingToExamine, UsageError

FLIGHTS = Path(__file__).parents[4] / "data_samples" / "flights"


@pytest.fixture
def batch(tmp_path):
    """Write a frame as a dataset; returns its path."""

    def write(frame: pl.DataFrame, name: str = "batch") -> Path:
        frame.write_parquet(tmp_path / f"{name}.parquet")
        return tmp_path / f"{name}.parquet"

    return write


@pytest.fixture
def broken(tmp_path):
    """The expectations of a proposal that another batch breaks, by type and columns."""

    def ask(first: Path, second: Path, strictness: str = "default") -> list[tuple[str, ...]]:
        contract = tmp_path / "proposed.json"
        contract.write_text(json.dumps(propose(first, "proposed", strictness, {})))
        found = check(second, contract, Asked()).broken
        return [(one.expectation.kind, *one.expectation.columns) for one in found]

    return ask


def kinds(suite: dict) -> set[tuple[str, str]]:
    return {
        (one["type"].removeprefix("expect_column_"), one["kwargs"].get("column", ""))
        for one in suite["expectations"]
    }


@pytest.mark.parametrize("month", range(1, 6))
def test_the_next_month_keeps_what_was_proposed_from_this_one(broken, month):
    first, second = (FLIGHTS / f"2013-{place:02d}" for place in (month, month + 1))
    assert broken(first, second) == []


def test_a_spoilt_month_does_not(broken, batch):
    spoilt = pl.read_parquet(FLIGHTS / "2013-03" / "*.parquet").with_columns(
        pl.when(pl.int_range(pl.len()) % 20 == 0)
        .then(-999)
        .otherwise("air_time")
        .alias("air_time"),
        pl.when(pl.int_range(pl.len()) % 9 == 0).then(pl.lit("??")).otherwise("dest").alias("dest"),
    )
    assert broken(FLIGHTS / "2013-02", batch(spoilt)) == [
        ("expect_column_values_to_be_in_set", "dest"),
        ("expect_column_values_to_be_between", "air_time"),
    ]


@pytest.mark.parametrize("strictness", STRICTNESS)
def test_second_samples_of_any_distribution_keep_it(broken, batch, strictness):
    """The room is that of chance, so without any for change a second sample keeps it too."""
    random = np.random.default_rng(100)
    for place in range(4):
        frames = [
            pl.DataFrame(
                {
                    "cauchy": random.standard_cauchy(500),
                    "gaps": [value if value > 0.1 else None for value in random.random(500)],
                    "zipf": random.zipf(1.5, 500),
                    "word": [f"w{value}" for value in random.zipf(2.5, 500)],
                    "code": [f"AB-{value:012d}" for value in random.integers(0, 10**12, 500)],
                }
            )
            for _ in range(2)
        ]
        first, second = (batch(one, f"{place}{which}") for which, one in enumerate(frames))
        assert broken(first, second, strictness) == []


def test_what_names_the_batch_is_not_written_down(broken, batch):
    def month(number: int, start: int) -> pl.DataFrame:
        rows = np.arange(start, start + 200)
        return pl.DataFrame(
            {
                "month": [number] * 200,
                "partition": [f"2013-{number:02d}"] * 200,
                "counter": rows,
                "mixed": np.random.default_rng(number).permutation(rows),
                "seconds": rows * 0.5,
                "day": [date(2013, number, 1 + int(row) % 28) for row in rows],
            }
        )

    first, second = batch(month(1, 0), "a"), batch(month(2, 200), "b")
    assert broken(first, second) == []
    assert ("expect_column_values_to_be_between", "month") in broken(first, second, "strict")


def test_a_missing_rate_may_triple_and_no_more(broken, batch):
    def gaps(every: int) -> Path:
        values = [None if row % every == 0 else row % 7 for row in range(3000)]
        return batch(pl.DataFrame({"x": values}), f"every-{every}")

    assert broken(gaps(50), gaps(17)) == []
    assert broken(gaps(50), gaps(9)) == [("expect_column_values_to_not_be_null", "x")]


def test_rare_words_and_long_lists_are_not_written_down(batch):
    words = ["common"] * 300 + ["usual"] * 200 + ["somebody"] * (RARE - 1)
    many = [f"{chr(97 + row % 5)} {row % (KEPT + 1)}" for row in range(len(words))]
    suite = propose(batch(pl.DataFrame({"word": words, "many": many})), "s", "default", {})
    assert "somebody" not in json.dumps(suite)
    sets = [one["kwargs"] for one in suite["expectations"] if "value_set" in one["kwargs"]]
    assert [(one["column"], one["value_set"]) for one in sets] == [("word", ["common", "usual"])]
    assert ("values_to_match_regex", "many") in kinds(suite)


def test_edges_are_proposed_of_without_a_crash(batch, broken):
    rows = 2 * LEAST
    frame = pl.DataFrame(
        {
            "huge": [1e308, -1e308] * LEAST,
            "zero": [-0.0, 0.0] * LEAST,
            "infinite": [float("inf"), 1.0] * LEAST,
            "nan": [float("nan"), 2.0] * LEAST,
            "nothing": pl.Series([None] * rows, dtype=pl.Float64),
            "hidden": ["a\u200bb", "\u05d0\u202e\u05d1"] * LEAST,
            "exact": pl.Series(["0.10", "2.50"] * LEAST).cast(pl.Decimal(10, 2)),
            "far": pl.Series([0, 2**31 - 1] * LEAST, dtype=pl.Int32).cast(pl.Date),
            "wide": pl.Series([0, 2**64 - 1] * LEAST, dtype=pl.UInt64),
            "nested": [[1], [2]] * LEAST,
            "truth": [True, False] * LEAST,
        }
    )
    path = batch(frame)
    for strictness in STRICTNESS:
        assert broken(path, path, strictness) == []
    json.dumps(propose(path, "s", "default", {}), allow_nan=False)


def test_an_id_is_promised_to_be_unique_and_chance_is_only_told(batch):
    frame = pl.DataFrame({"id": [f"r{row}" for row in range(200)], "n": range(200)})

    def told(strictness: str) -> dict[str, str]:
        return {
            one["kwargs"]["column"]: one["severity"]
            for one in propose(batch(frame), "s", strictness, {})["expectations"]
            if one["type"] == "expect_column_values_to_be_unique"
        }

    assert told("default") == {"id": "critical"}
    assert told("strict") == {"id": "critical", "n": "info"}


def test_what_is_too_little_is_refused(batch):
    with pytest.raises(UsageError, match=f"{LEAST} or more"):
        propose(batch(pl.DataFrame({"x": [1] * (LEAST - 1)})), "s", "default", {})
    with pytest.raises(NothingToExamine):
        propose(batch(pl.DataFrame({"x": []}, schema={"x": pl.Int64})), "s", "default", {})
    with pytest.raises(UsageError, match="strictness"):
        propose(FLIGHTS / "2013-01", "s", "lax", {})


@pytest.mark.slow
def test_gx_says_the_same_of_a_proposal(tmp_path):
    contract = tmp_path / "proposed.json"
    contract.write_text(json.dumps(propose(FLIGHTS / "2013-02", "flights", "strict", {})))
    said = [check(FLIGHTS / "2013-03", contract, Asked(engine=one)) for one in ("polars", "gx")]
    ours, theirs = ([(r.success, r.unexpected, r.rows) for r in one.results] for one in said)
    assert ours == theirs
    assert {result.runner for result in said[1].results} == {"gx"}
    assert said[0].broken, "the strict proposal leaves no room"
    assert said[0].rows == said[1].rows


def test_a_proposal_is_a_suite_of_gx_and_says_where_it_is_from():
    suite = propose(FLIGHTS / "2013-01", "flights", "default", {})
    parsed = parse_suite(suite)
    assert all(one.known for one in parsed.expectations)
    assert suite["meta"]["toadstone"]["inferred_from_rows"] == 6000
    assert suite["meta"]["toadstone"]["alpha"] == ALPHA


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        (["AB-12", "CD-34"], "^[A-Z]{2}-[0-9]{2}$"),
        (["a1", "bcd123"], "^[a-z]{1,6}[0-9]{1,6}$"),
        (["n1.5", "n2.5"], r"^[a-z][0-9]\.[0-9]$"),
        (["", "a"], None),
        (["--", "--"], None),
        (["\u05d0", "\u05d1"], None),
        (["a b", "a-b"], None),
    ],
)
def test_words_of_one_shape_have_a_pattern(values, pattern):
    found = shape(pl.Series(values))
    assert found == pattern
    if pattern:
        assert pl.Series(values).str.contains(pattern).all()
