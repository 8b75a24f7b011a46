from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest

from guards.checks import quality, run
from guards.data.dataset import open_dataset
from guards.findings import Ran, Severity

CLEAN = pl.DataFrame(
    {
        "id": [f"r{i}" for i in range(100)],
        "x": [i / 7 for i in range(100)],
        "word": ["a", "b"] * 50,
        "label": ["p", "q"] * 50,
    }
)


def codes(case, **settings) -> dict[str, Severity]:
    measured = quality.examine(case, quality.Settings(**settings))
    return {finding.code: finding.severity for finding in measured.findings}


def test_a_clean_table_has_no_finding(table_case, flights_month):
    assert codes(table_case(CLEAN)) == {}
    assert codes(table_case(flights_month(4))) == {}


def test_statistics_count_what_is_there(table_case):
    measured = quality.examine(table_case(CLEAN), quality.Settings())
    assert measured.statistics["rows"] == 100
    assert measured.statistics["label_counts"] == [["p", 50], ["q", 50]]
    assert {"column": "word", "missing": 0, "infinite": 0, "distinct": 2} in (
        measured.statistics["columns"]
    )


def test_one_class_only(table_case):
    assert codes(table_case(CLEAN.with_columns(label=pl.lit("p")))) == {
        "one-class": Severity.MEDIUM
    }


def test_a_class_of_three_rows_is_told_and_its_rows_are_not_to_blame(table_case):
    names = ["rare"] * 3 + ["p"] * 50 + ["q"] * 47
    case = table_case(CLEAN.with_columns(label=pl.Series(names)))
    measured = quality.examine(case, quality.Settings())
    (finding,) = measured.findings
    assert (finding.code, finding.severity) == ("few-rows", Severity.LOW)
    assert str(finding.subject) == "class rare"
    assert measured.row_scores == ()


@pytest.mark.parametrize("holes", [[None, None], [float("nan"), None]])
def test_missing_and_nan_labels(table_case, holes):
    labels = [*holes, *([0.0, 1.0] * 49)]
    case = table_case(CLEAN.with_columns(label=pl.Series(labels, dtype=pl.Float64)))
    measured = quality.examine(case, quality.Settings())
    assert [f.code for f in measured.findings] == ["missing-labels"]
    assert [score.row for score in measured.row_scores] == [0, 1]
    assert measured.statistics["classes"] == 2


def test_constant_and_all_null_columns(table_case):
    frame = CLEAN.with_columns(
        same=pl.lit(3.0), none=pl.lit(None, dtype=pl.Float64), empty=pl.lit(None)
    )
    case = table_case(frame)
    measured = quality.examine(case, quality.Settings())
    found = sorted((f.code, f.subject.name) for f in measured.findings)
    assert found == [
        ("constant-column", "same"),
        ("empty-column", "empty"),
        ("empty-column", "none"),
    ]
    assert all(finding.severity is Severity.LOW for finding in measured.findings)


@pytest.mark.parametrize(
    ("odd", "ends"),
    [
        ([date(1, 1, 1)], "0001-01-01"),
        ([date(9999, 12, 31)] * 20, "9999-12-31"),
        ([date(1900, 1, 1), date(9999, 12, 31)], "1900-01-01 to 9999-12-31"),
    ],
)
@pytest.mark.parametrize("kind", [pl.Date, pl.Datetime("ms"), pl.Datetime("us", "Europe/Berlin")])
def test_dates_far_from_all_others_are_told(table_case, odd, ends, kind):
    days = [*odd, *(date(2024, 1 + n % 12, 1 + n % 28) for n in range(100 - len(odd)))]
    when = pl.Series(days).cast(pl.Datetime("ms")).dt.replace_time_zone(None)
    when = when.dt.replace_time_zone("Europe/Berlin") if "Berlin" in str(kind) else when
    case = table_case(CLEAN.with_columns(when=when.cast(kind)))
    found = quality.examine(case, quality.Settings()).findings
    assert [(one.code, one.severity) for one in found] == [("far-dates", Severity.LOW)]
    assert f"holds {len(odd)} dates far from all others, {ends}" in found[0].summary


def test_years_of_dates_and_no_dates_are_near(table_case):
    years = [date(1970 + n // 2, 1, 1) for n in range(100)]
    now = [datetime(2024, 5, 1, n % 24, tzinfo=UTC) for n in range(100)]
    empty = pl.Series([None] * 100, dtype=pl.Date)
    case = table_case(CLEAN.with_columns(years=pl.Series(years), now=pl.Series(now), empty=empty))
    assert set(codes(case)) == {"empty-column"}


def test_infinite_values_are_held_and_nan_counts_as_missing(table_case):
    values = [float("inf"), float("-inf"), float("nan"), *range(97)]
    measured = quality.examine(
        table_case(CLEAN.with_columns(x=pl.Series(values, dtype=pl.Float64))), quality.Settings()
    )
    assert [(f.code, f.severity) for f in measured.findings] == [
        ("infinite-values", Severity.MEDIUM)
    ]
    assert [score.row for score in measured.row_scores] == [0, 1]
    assert {"column": "x", "missing": 1, "infinite": 2, "distinct": 99} in (
        measured.statistics["columns"]
    )


def test_null_and_duplicate_ids(table_case):
    ids = [None, "same", "same", *(f"r{i}" for i in range(97))]
    case = table_case(CLEAN.with_columns(id=pl.Series(ids)))
    measured = quality.examine(case, quality.Settings())
    assert [f.code for f in measured.findings] == ["null-ids", "duplicate-ids"]
    assert sorted(score.row for score in measured.row_scores) == [0, 1, 2]


def test_unreadable_and_mixed_shards_block(table_case):
    more = CLEAN.with_columns(id="2" + pl.col("id"))
    case = table_case(CLEAN, more, CLEAN.with_columns(x=pl.lit("text")))
    assert codes(case) == {"mixed-schema": Severity.HIGH}


def test_truncated_parquet_blocks_and_the_rest_is_examined(table_case, fresh):
    root = fresh()
    CLEAN.write_parquet(root / "a.parquet")
    data = (root / "a.parquet").read_bytes()
    (root / "b.parquet").write_bytes(data[: len(data) // 2])
    (root / "c.csv").write_text("")
    opened = open_dataset(root, ["a.parquet", "b.parquet", "c.csv"])
    case = replace(table_case(CLEAN), opened=opened)
    assert codes(case) == {"unreadable-file": Severity.HIGH, "zero-rows": Severity.LOW}


@pytest.mark.parametrize(
    "other", ["yes\u200b", "\ufeffyes", "y\u00ades", "yes ", "yes\u202c", "yes\t"]
)
def test_two_labels_that_are_drawn_alike_are_never_meant(table_case, other):
    for many in (10, 40):
        labels = ["yes", "no"] * (50 - many) + [other, "no"] * many
        examination = run("quality", table_case(CLEAN.with_columns(label=pl.Series(labels))))
        assert isinstance(examination.outcome, Ran)
        held = {score.row for score in examination.outcome.measured.row_scores}
        assert held == {*range(100 - 2 * many, 100, 2)}, "those that nobody can see"
    (found,) = examination.findings
    assert (found.code, found.severity) == ("labels-drawn-alike", Severity.MEDIUM)
    assert found.summary.endswith("drawn like the label yes of 10 rows")


@pytest.mark.parametrize("other", ["Yes", "yes!", "ye s", "שלום", "مرحبا", "oui 👩\u200d👩"])
def test_labels_that_people_can_tell_apart_are_two(table_case, other):
    labels = ["yes", "no"] * 40 + [other, "no"] * 10
    examination = run("quality", table_case(CLEAN.with_columns(label=pl.Series(labels))))
    assert examination.findings == ()


def test_odd_names_and_long_values(table_case):
    long = "ü" * 3000
    frame = CLEAN.rename({"x": long, "word": "wo\u202erd"}).with_columns(
        label=pl.Series([long, "kurz\n"] * 50)
    )
    examination = run("quality", table_case(frame))
    assert isinstance(examination.outcome, Ran)
    assert [f.code for f in examination.findings] == ["deceptive-name"]
    assert all("\u202e" not in finding.summary for finding in examination.findings)
    assert examination.digest


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"nested": [{"a": 1}] * 100}, {"unexamined-columns": Severity.LOW}),
        ({"thumb": [b"\x89PNG"] * 100}, {"unexamined-bytes": Severity.MEDIUM}),
        (
            {"p": [{"bytes": b"x"}] * 100, "q": [{"bytes": b"y"}] * 100},
            {"unexamined-bytes": Severity.MEDIUM},
        ),
    ],
)
def test_columns_that_no_rule_looks_at_are_told(table_case, columns, expected):
    case = table_case(CLEAN.with_columns(**{k: pl.Series(v) for k, v in columns.items()}))
    assert codes(case) == expected
    assert codes(case, unexamined=list(columns)) == {}


@pytest.mark.parametrize("more", [{"text": ["a", "b"] * 50}, {"vector": [[1.0, 2.0]] * 100}])
def test_a_text_or_a_vector_is_looked_at_with_or_without_a_feature(table_case, more):
    """Whole datasets are nothing else; told that nobody looks at them, each would be held."""
    columns = {name: pl.Series(values) for name, values in more.items()}
    assert codes(table_case(CLEAN.with_columns(**columns))) == {}
    assert codes(table_case(CLEAN.select("label").with_columns(**columns))) == {}


@pytest.mark.parametrize("more", [{}, {"nested": [{"a": 1}] * 100}])
def test_a_label_with_nothing_beside_it_does_not_pass_unseen(table_case, more):
    frame = CLEAN.select("label").with_columns(**{k: pl.Series(v) for k, v in more.items()})
    assert codes(table_case(frame))["nothing-to-examine"] is Severity.MEDIUM


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("README.md", Severity.LOW),
        ("LICENSE", Severity.LOW),
        ("_SUCCESS", Severity.LOW),
        ("part-1.csv.gz", Severity.MEDIUM),
        ("model.pkl", Severity.MEDIUM),
        ("README.parquet.gz", Severity.MEDIUM),
    ],
)
def test_files_that_are_not_examined_are_documentation_or_held(table_case, fresh, name, severity):
    root = fresh()
    CLEAN.write_parquet(root / "a.parquet")
    (root / name).write_bytes(b"anything")
    case = replace(table_case(CLEAN), opened=open_dataset(root, ["a.parquet", name]))
    assert codes(case) == {"not-data": severity}


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("label=p", {"column-in-path": Severity.MEDIUM}),
        ("x=1", {"column-in-path": Severity.MEDIUM}),
        ("day=1", {}),
    ],
)
def test_a_directory_that_a_loader_takes_for_a_column(table_case, fresh, folder, expected):
    root = fresh()
    (root / folder).mkdir()
    CLEAN.write_parquet(root / folder / "a.parquet")
    case = replace(table_case(CLEAN), opened=open_dataset(root, [f"{folder}/a.parquet"]))
    assert codes(case) == expected


def test_most_rows_in_classes_of_their_own_weigh(table_case):
    names = ["p"] * 20 + ["q"] * 20 + [f"only {i}" for i in range(60)]
    assert codes(table_case(CLEAN.with_columns(label=pl.Series(names)))) == {
        "many-few-rows": Severity.MEDIUM,
        "few-rows": Severity.LOW,
    }


def test_rows_are_capped(table_case):
    case = table_case(CLEAN.with_columns(id=pl.lit("same")))
    measured = quality.examine(case, quality.Settings(max_rows=7))
    assert len(measured.row_scores) == 7
    assert measured.findings[0].evidence[0].rows == 100
