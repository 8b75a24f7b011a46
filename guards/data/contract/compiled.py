"""The compiled runner: a whole suite as the aggregates of one lazy polars select.

The select streams over the shards; of a column at most what is distinct in it, or its sorted values
where quantiles are asked for, is held. Only what is broken is looked at a second time, to say in
which rows. Aggregates do not depend on the order of rows or on where shards are cut; increasing and
decreasing are about the order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.data.contract import by_column, by_pair, by_row, by_set, by_table
from guards.data.contract.columns import Column, Delegated, Rows, Table, kind_of, rows_of
from guards.data.contract.plan import Answer, Compiled, Plan, impossible
from guards.data.contract.result import Result, plain
from guards.data.contract.suite import Expectation
from guards.errors import Malformed
from guards.text import printable

if TYPE_CHECKING:
    import polars as pl

Kwargs = Mapping[str, Any]
OF_COLUMN: Mapping[str, Callable[[Rows, Column, Kwargs], Compiled]] = {
    "expect_column_values_to_not_be_null": by_row.not_null,
    "expect_column_values_to_be_null": by_row.null,
    "expect_column_values_to_be_unique": by_row.unique,
    "expect_column_values_to_be_between": by_row.between,
    "expect_column_values_to_be_in_set": by_row.in_set,
    "expect_column_values_to_not_be_in_set": by_row.not_in_set,
    "expect_column_values_to_match_regex": by_row.matches,
    "expect_column_values_to_not_match_regex": by_row.matches_not,
    "expect_column_values_to_match_like_pattern": by_row.is_like,
    "expect_column_values_to_not_match_like_pattern": by_row.is_not_like,
    "expect_column_value_lengths_to_be_between": by_row.lengths_between,
    "expect_column_value_lengths_to_equal": by_row.lengths_equal,
    "expect_column_values_to_be_increasing": by_row.increasing,
    "expect_column_values_to_be_decreasing": by_row.decreasing,
    "expect_column_values_to_be_of_type": by_row.of_type,
    "expect_column_values_to_be_in_type_list": by_row.in_type_list,
    "expect_column_min_to_be_between": by_column.least,
    "expect_column_max_to_be_between": by_column.most,
    "expect_column_mean_to_be_between": by_column.mean,
    "expect_column_median_to_be_between": by_column.median,
    "expect_column_sum_to_be_between": by_column.total,
    "expect_column_stdev_to_be_between": by_column.deviation,
    "expect_column_unique_value_count_to_be_between": by_column.distinct,
    "expect_column_proportion_of_unique_values_to_be_between": by_column.distinct_share,
    "expect_column_proportion_of_non_null_values_to_be_between": by_column.present_share,
    "expect_column_quantile_values_to_be_between": by_column.quantiles,
    "expect_column_distinct_values_to_be_in_set": by_set.distinct_in_set,
    "expect_column_distinct_values_to_contain_set": by_set.distinct_contain,
    "expect_column_distinct_values_to_equal_set": by_set.distinct_equal,
    "expect_column_most_common_value_to_be_in_set": by_set.most_common,
}
OF_COLUMNS: Mapping[str, Callable[[Rows, Sequence[Column], Kwargs], Compiled]] = {
    "expect_column_pair_values_to_be_equal": by_pair.equal,
    "expect_column_pair_values_a_to_be_greater_than_b": by_pair.greater,
    "expect_column_pair_values_to_be_in_set": by_pair.pair_in_set,
    "expect_compound_columns_to_be_unique": by_pair.compound_unique,
    "expect_select_column_values_to_be_unique_within_record": by_pair.unlike_in_row,
    "expect_multicolumn_sum_to_equal": by_pair.sum_equal,
}
OF_TABLE: Mapping[str, Callable[[Rows, Table, Kwargs], Compiled]] = {
    "expect_column_to_exist": by_table.column_exists,
    "expect_table_columns_to_match_ordered_list": by_table.columns_in_order,
    "expect_table_columns_to_match_set": by_table.columns_in_set,
    "expect_table_column_count_to_equal": by_table.column_count,
    "expect_table_column_count_to_be_between": by_table.column_count,
    "expect_table_row_count_to_equal": by_table.row_count,
    "expect_table_row_count_to_be_between": by_table.row_count,
}
# Beside the columns, which are named by their place, the number of a row.
_ROW = "row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is read: all rows of a dataset in their order, their types and their number."""

    frame: pl.LazyFrame
    schema: Mapping[str, pl.DataType]
    rows: int


def run(
    expectations: Sequence[Expectation], source: Source, most: int
) -> dict[int, Result | Delegated]:
    """Answer what can be compiled, by the place in the suite; for what cannot, say why.

    Each result lists at most `most` rows, the first ones.

    Raises:
        Malformed: a pattern cannot be run; says in which expectation.
    """
    compiled = {one.place: compile_expectation(one, source) for one in expectations}
    plans = {place: plan for place, plan in compiled.items() if isinstance(plan, Plan)}
    found = _first_look(plans, source)
    unclear = {place: plan for place, plan in plans.items() if _open(plan, found[place])}
    rows = _second_look(unclear, source, most)
    results: dict[int, Result | Delegated] = {}
    for one in expectations:
        count, held = rows.get(one.place, (0, ()))
        told = compiled[one.place]
        if isinstance(told, Plan):
            told = told.answer({"unexpected": count, **found[one.place]})
        results[one.place] = told if isinstance(told, Delegated) else _result(one, told, held)
    return results


def _result(one: Expectation, answer: Answer, rows: tuple[int, ...]) -> Result:
    return Result(
        expectation=one,
        success=answer.success,
        result={name: plain(value) for name, value in answer.result.items()},
        rows=() if answer.success else rows,
        error=answer.error,
    )


def compile_expectation(one: Expectation, source: Source) -> Compiled:
    """A plan for one expectation, its answer where no look is needed, or why GX has to be asked."""
    if not one.known:
        return Delegated(why=f"{printable(one.kind)[:100]} is not compiled")
    table = _table(source)
    for name in one.columns:
        if name not in table.columns and one.kind not in OF_TABLE:
            return impossible(f"the data has no column {printable(name)[:100]}")
    rows = rows_of(one.condition, table)
    if isinstance(rows, Delegated):
        return rows
    columns = [table.columns[name] for name in one.columns if name in table.columns]
    try:
        if one.kind in OF_COLUMN:
            return OF_COLUMN[one.kind](rows, columns[0], one.kwargs)
        if one.kind in OF_COLUMNS:
            return OF_COLUMNS[one.kind](rows, columns, one.kwargs)
        return OF_TABLE[one.kind](rows, table, one.kwargs)
    except Malformed as error:
        raise error.inside(f"contract.expectations[{one.place}].kwargs") from error


def _table(source: Source) -> Table:
    """The columns under the names that they have in a select: people's own may be patterns."""
    import polars as pl

    return Table(
        columns={
            name: Column(name=name, dtype=dtype, kind=kind_of(dtype), raw=pl.col(str(place)))
            for place, (name, dtype) in enumerate(source.schema.items())
        },
        rows=source.rows,
    )


def _read(source: Source) -> pl.LazyFrame:
    """All rows, the columns named by their place; what no aggregate needs is never read."""
    import polars.selectors as cs

    return source.frame.select(
        cs.by_name(name).as_expr().alias(str(place)) for place, name in enumerate(source.schema)
    )


def _first_look(plans: Mapping[int, Plan], source: Source) -> dict[int, dict[str, Any]]:
    wants = {
        f"{place}.{name}": expression
        for place, plan in plans.items()
        for name, expression in plan.wants.items()
    }
    if not wants:
        return {}
    row = _read(source).select(**wants).collect(engine="streaming").row(0, named=True)
    return {
        place: {name: row[f"{place}.{name}"] for name in plan.wants}
        for place, plan in plans.items()
    }


def _open(plan: Plan, found: Mapping[str, Any]) -> bool:
    """Whether a second look is needed: to count the rows that break it, or to say which."""
    if plan.broken is None:
        return False
    if plan.unless:
        return bool(found[plan.unless[0]] != found[plan.unless[1]])
    answer = plan.answer(found)
    return isinstance(answer, Answer) and not answer.success


def _second_look(
    plans: Mapping[int, Plan], source: Source, most: int
) -> dict[int, tuple[int, tuple[int, ...]]]:
    """How many rows break each of these, and the first of them."""
    import polars as pl

    broken = {place: plan.broken for place, plan in plans.items() if plan.broken is not None}
    if not broken:
        return {}
    numbered = _read(source).with_row_index(_ROW)
    looked = numbered.select(
        *(mask.sum().alias(f"{place}.count") for place, mask in broken.items()),
        *(
            pl.col(_ROW).filter(mask).head(most).implode().alias(f"{place}.rows")
            for place, mask in broken.items()
        ),
    ).collect(engine="streaming")
    row = looked.row(0, named=True)
    return {
        place: (int(row[f"{place}.count"] or 0), tuple(row[f"{place}.rows"])) for place in broken
    }
