"""Contracts at hand: data as it lies there, failing rows by id, GX for the rest, Data Docs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from guards.contracts import Asked, Checked, check, compare, docs
from guards.data.contract import peer
from guards.errors import Malformed, NothingToExamine, Unreadable, UnsafeTree, UsageError
from guards.verdict import Decision

FRAME = pl.DataFrame({"id": [f"r{row}" for row in range(6)], "x": [1, 2, None, 40, 5, 60]})


@pytest.fixture
def hold(tmp_path):
    """Hold frames, each a shard, against expectations; returns what became of them."""

    def ask(*asked: tuple, frames=(FRAME[:4], FRAME[4:]), severity="critical", **how) -> Checked:
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        for place, frame in enumerate(frames):
            frame.write_parquet(data / f"{place}.parquet")
        expectations = [
            {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity}
            for kind, kwargs in asked
        ]
        contract = tmp_path / "contract.json"
        contract.write_text(json.dumps({"name": "small", "expectations": expectations}))
        return check(data, contract, Asked(**how))

    return ask


BELOW = ("column_values_to_be_between", {"column": "x", "max_value": 30})
PRESENT = ("column_values_to_not_be_null", {"column": "x"})


def test_failing_rows_are_named_by_id_file_and_place(hold):
    checked = hold(PRESENT, BELOW)
    named = [(row["expectation"], row["row_id"], row["file"]) for row in checked.rows]
    assert named == [
        (0, "r2", "0.parquet"),
        (1, "r3", "0.parquet"),
        (1, "r5", "1.parquet"),
    ]
    assert checked.rows[2]["row_in_file"] == 1
    assert len({row["row_digest"] for row in checked.rows}) == 3
    assert (checked.elements, checked.decision) == (6, Decision.BLOCK)


def test_rows_are_bounded_and_counts_are_not(hold):
    checked = hold(("column_values_to_be_between", {"column": "x", "max_value": 0}), most=2)
    assert [row["row_id"] for row in checked.rows] == ["r0", "r1"]
    assert checked.results[0].unexpected == 5


@pytest.mark.parametrize(
    ("severity", "decision"),
    [("critical", Decision.BLOCK), ("warning", Decision.QUARANTINE), ("info", Decision.PASS)],
)
def test_the_worst_that_is_broken_decides(hold, severity, decision):
    assert hold(PRESENT, severity=severity).decision is decision
    assert hold(("column_to_exist", {"column": "x"}), severity=severity).decision is Decision.PASS


def test_the_document_is_that_of_gx_and_strict_json(hold):
    checked = hold(BELOW, ("column_mean_to_be_between", {"column": "x", "max_value": 1e308}))
    document = json.loads(json.dumps(checked.document, allow_nan=False))
    assert document["validation"]["statistics"]["unsuccessful_expectations"] == 1
    first, second = document["validation"]["results"]
    assert first["result"]["partial_unexpected_index_list"] == [3, 5]
    assert second["result"]["observed_value"] == pytest.approx(21.6)
    assert document["runners"] == ["polars", "polars"]


def test_an_empty_table_is_nothing_to_examine(hold):
    with pytest.raises(NothingToExamine):
        hold(PRESENT, frames=(FRAME.clear(),))


def test_another_schema_is_broken_where_it_matters(hold):
    other = pl.DataFrame({"id": ["a"], "y": [1]})
    checked = hold(BELOW, ("table_row_count_to_equal", {"value": 1}), frames=(other,))
    assert [one.success for one in checked.results] == [False, True]
    assert checked.results[0].told == "could not be evaluated: the data has no column x"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (BELOW, "is broken by 2 of 6 rows (asked: max_value 30)"),
        (PRESENT, "is broken by 1 of 6 rows"),
        (
            ("table_row_count_to_be_between", {"min_value": 7, "max_value": 9}),
            "is broken: observed 6 (asked: min_value 7, max_value 9)",
        ),
        (
            ("table_columns_to_match_set", {"column_set": ["id", "gone"]}),
            f"is broken: missing gone; unexpected {', '.join(sorted(set(FRAME.columns) - {'id'}))}",
        ),
        (("table_columns_to_match_ordered_list", {"column_list": ["x"]}), "is broken"),
    ],
)
def test_what_was_asked_is_told_beside_what_was_seen(hold, asked, told):
    assert hold(asked).results[0].told == told


def test_what_cannot_be_read_promises_nothing(hold, tmp_path):
    hold(PRESENT)
    contract = tmp_path / "contract.json"
    (tmp_path / "data" / "2.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(Unreadable, match=r"2\.parquet"):
        check(tmp_path / "data", contract, Asked())
    (tmp_path / "data" / "2.parquet").unlink()
    (tmp_path / "data" / "link.parquet").symlink_to(tmp_path / "data" / "0.parquet")
    with pytest.raises(UnsafeTree):
        check(tmp_path / "data", contract, Asked())
    with pytest.raises(UsageError, match="no such file"):
        check(tmp_path / "gone", contract, Asked())
    with pytest.raises(UsageError, match="gone"):
        check(tmp_path / "data", tmp_path / "gone.json", Asked())


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"[]",
        b"{",
        b'{"name": "s", "name": "t", "expectations": []}',
        b'{"name": "s", "expectations": [{"type": "t", "kwargs": {"max_value": NaN}}]}',
        b"\xff\xfe",
        b'{"name": "s", "expectations": ' + b"[" * 100_000,
    ],
)
def test_a_malformed_file_is_refused_by_check_and_by_diff(hold, tmp_path, written):
    hold(PRESENT)
    (tmp_path / "bad.json").write_bytes(written)
    with pytest.raises(Malformed, match=r"bad\.json"):
        check(tmp_path / "data", tmp_path / "bad.json", Asked())
    with pytest.raises(Malformed, match=r"bad\.json"):
        compare(tmp_path / "contract.json", tmp_path / "bad.json")


def test_without_gx_what_is_left_to_it_is_broken_and_says_how_to_get_it(hold, monkeypatch):
    monkeypatch.setattr(peer, "version", lambda: "")
    left = ("column_values_to_be_dateutil_parseable", {"column": "id"})
    checked = hold(left, PRESENT)
    assert checked.results[0].told == f"could not be evaluated: {peer.MISSING}"
    assert checked.results[1].runner == "polars"
    assert checked.decision is Decision.BLOCK


@pytest.mark.slow
def test_gx_answers_what_is_not_compiled_and_data_docs_are_harmless(hold):
    evil = pl.DataFrame({"id": ["a", "b"], "x": ["2013-01-01", "<script>alert(1)</script>"]})
    checked = hold(
        ("column_values_to_be_dateutil_parseable", {"column": "x"}),
        ("column_values_to_be_in_set", {"column": "x", "value_set": ["<img src=//evil.example>"]}),
        frames=(evil,),
    )
    assert [one.runner for one in checked.results] == ["gx", "polars"]
    assert [row["row_id"] for row in checked.rows] == ["b", "a", "b"]
    page = docs(checked).decode()
    assert "small" in page
    assert "alert(1)" not in page, "contents of rows are nobody's"
    assert "&lt;img src=//evil.example&gt;" in page
    assert not re.search(r"<(script|img|link|iframe|form|input|style [^>])", page)
    assert not re.search(r'\b(src|href|on\w+)="(?!#section-\d)', page)
    assert docs(checked).decode() == page


@pytest.mark.slow
def test_an_expectation_that_gx_does_not_know_is_refused_by_its_place(hold):
    with pytest.raises(Malformed, match=r"expectations\[1\].*expect_nothing"):
        hold(PRESENT, ("nothing_known", {"column": "x"}))


def test_dates_that_no_calendar_has_are_named_like_any_other(hold):
    far = pl.DataFrame(
        {"id": ["a", "b"], "day": pl.Series([0, 2**31 - 1], dtype=pl.Int32).cast(pl.Date)}
    )
    asked = ("column_values_to_be_between", {"column": "day", "max_value": "2100-01-01"})
    assert [row["row_id"] for row in hold(asked, frames=(far,)).rows] == ["b"]


def test_the_sample_months_keep_the_sample_contract():
    samples = Path(__file__).parents[2] / "data_samples"
    checked = check(samples / "flights" / "2013-04", samples / "flights.contract.json", Asked())
    assert checked.broken == ()
