from __future__ import annotations

import polars as pl
import pytest

from guards.checks import contract, run
from guards.errors import Malformed, Skip, UsageError
from guards.findings import Failed, Ran, Severity, Skipped

FRAME = pl.DataFrame(
    {"id": ["a", "b", "c", "d"], "x": [1, 2, None, 40], "y": [9, 1, 5, 50], "z": ["u"] * 4}
)


def suite(*expectations, **extra):
    return {
        "name": "small",
        "expectations": [
            {"type": kind, "kwargs": kwargs, "meta": {}, **extra} for kind, kwargs in expectations
        ],
        "meta": {},
    }


def examine(case):
    return contract.examine(case, contract.Settings())


@pytest.mark.parametrize("month", [2, 6])
def test_the_clean_months_keep_their_contract(
    table_case, flights_month, flights_contract, month, capfd
):
    measured = examine(table_case(flights_month(month), contract=flights_contract))
    assert measured.findings == ()
    assert measured.statistics["expectations"] == len(flights_contract["expectations"])
    assert measured.statistics["broken"] == 0
    assert capfd.readouterr().out == ""


def test_a_broken_range_names_column_rows_and_count(table_case, flights_month, flights_contract):
    frame = flights_month(5).with_row_index("n")
    broken = frame.with_columns(
        air_time=pl.when(pl.col("n").is_in([5, 77, 5999])).then(-1).otherwise("air_time")
    ).drop("n")
    measured = examine(table_case(broken, contract=flights_contract))
    (finding,) = measured.findings
    assert (finding.code, finding.severity) == ("contract-broken", Severity.HIGH)
    assert finding.subject.name == "air_time"
    assert finding.evidence[0].value == 3
    assert finding.evidence[0].detail["kwargs"]["min_value"] == 10
    assert [score.row for score in measured.row_scores] == [5, 77, 5999]


@pytest.mark.parametrize(
    ("expectation", "rows"),
    [
        (("expect_column_values_to_not_be_null", {"column": "x"}), [2]),
        (("expect_column_values_to_be_between", {"column": "x", "max_value": 30}), [3]),
        (("expect_column_values_to_be_in_set", {"column": "id", "value_set": ["a", "c"]}), [1, 3]),
        (
            (
                "expect_column_pair_values_a_to_be_greater_than_b",
                {"column_A": "y", "column_B": "x", "ignore_row_if": "either_value_is_missing"},
            ),
            [1],
        ),
        (("expect_compound_columns_to_be_unique", {"column_list": ["id", "z"]}), []),
        (("expect_table_row_count_to_equal", {"value": 4}), []),
        (
            (
                "expect_table_columns_to_match_ordered_list",
                {"column_list": ["id", "x", "y", "z"]},
            ),
            [],
        ),
    ],
)
def test_gx_judges_and_its_rows_are_ours(table_case, expectation, rows):
    measured = examine(table_case(FRAME, contract=suite(expectation)))
    assert [score.row for score in measured.row_scores] == rows
    assert bool(measured.findings) == bool(rows)


def test_the_suites_severity_is_kept(table_case):
    broken = ("expect_column_values_to_not_be_null", {"column": "x"})
    for level, expected in (
        ("critical", Severity.HIGH),
        ("warning", Severity.MEDIUM),
        ("info", Severity.LOW),
    ):
        (finding,) = examine(table_case(FRAME, contract=suite(broken, severity=level))).findings
        assert finding.severity is expected


def test_a_missing_column_breaks_the_contract(table_case):
    rule = ("expect_column_values_to_not_be_null", {"column": "gone"})
    (finding,) = examine(table_case(FRAME, contract=suite(rule))).findings
    assert finding.severity is Severity.HIGH
    assert "gone" in finding.summary


def test_no_contract_is_a_skip(table_case):
    with pytest.raises(Skip):
        examine(table_case(FRAME))
    assert isinstance(run("contract", table_case(FRAME)).outcome, Skipped)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"a": 1},
        {"name": "x", "expectations": []},
        suite(("expect_nothing_known", {})),
        suite(("expect_column_to_exist", {"column": "x", "unknown": 1})),
        suite(("expect_column_to_exist", {"column": "x"}), ("expect_column_max", {})),
    ],
)
def test_what_is_no_suite_is_refused(table_case, document):
    with pytest.raises(Malformed, match=r"suite|contract"):
        examine(table_case(FRAME, contract=document))
    assert isinstance(run("contract", table_case(FRAME, contract=document)).outcome, Failed)


def test_two_runs_have_one_digest(table_case):
    case = table_case(FRAME, contract=suite(("expect_column_to_exist", {"column": "x"})))
    first, second = run("contract", case), run("contract", case)
    assert isinstance(first.outcome, Ran)
    assert first.digest == second.digest


def test_settings_name_an_engine_that_there_is(table_case):
    case = table_case(FRAME, contract=suite(("expect_column_to_exist", {"column": "x"})))
    with pytest.raises(UsageError, match="engine"):
        contract.examine(case, contract.Settings(engine="spark"))


@pytest.mark.slow
def test_gx_as_the_engine_says_the_same_and_data_docs_are_an_exhibit(table_case):
    below = ("expect_column_values_to_be_between", {"column": "x", "max_value": 30})
    case = table_case(FRAME, contract=suite(below))
    first = contract.examine(case, contract.Settings(datadocs=True))
    second = contract.examine(case, contract.Settings(engine="gx"))
    assert first.row_scores == second.row_scores
    assert first.findings == second.findings
    (exhibit,) = first.exhibits
    assert (exhibit.name, second.exhibits) == ("contract.datadocs.html", ())
    assert first.statistics["great_expectations"] is None
    assert second.statistics["results"][0]["runner"] == "gx"
