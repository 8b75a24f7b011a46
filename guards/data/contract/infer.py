"""A contract proposed from data: what held in one sample, with room for the next one.

Every expectation about rows has a `mostly`, and its room has a reason: of a second sample of half
the rows or more, drawn where the first one was, no larger share breaks it but for a chance of
`ALPHA` (:mod:`guards.numerics.second_sample`; no distribution is assumed). To that the strictness
adds room for what is not chance: seasons, growth, a new shop. Ranges are widened besides, since
the largest value of one sample is no limit of the world. Categories of few rows are not written
down: they are not the column's language, and they may be somebody's. Of what is likely to name this
batch, a constant column or a counter, no values are written down, unless it is `strict`.

A proposal is no promise: people read it, and strike out or sharpen what they know better.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guards._version import __version__
from guards.data.contract.columns import Column, kind_of
from guards.data.contract.shape import shape
from guards.data.contract.types import in_pandas
from guards.data.dataset import Dataset
from guards.errors import UsageError
from guards.numerics.second_sample import most
from guards.provenance.strictjson import MAX_INTEGER

if TYPE_CHECKING:
    import polars as pl

ALPHA = 1e-4  # for each expectation: of 50 of them some 0.5 % of the second samples break one
KEPT = 100  # categories, of which a set is written down
RARE = 5  # rows, of which a category is written down
OUTSIDE = 0.01  # of the rows, in rare categories: of more, the set is not closed
LEAST = 100  # rows, without which nothing is proposed
_MOST_NULL = 0.5
_MOST = sys.float_info.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Strictness:
    """Room for what is not chance.

    `share` of the rows may break an expectation, and `again` times as many as break it already;
    ranges are wider by `span` of their own width at either end, and there may be `rows` times fewer
    or more rows.
    """

    share: float
    again: float
    span: float
    rows: float


STRICTNESS: Mapping[str, Strictness] = {
    "strict": Strictness(share=0.0, again=0.0, span=0.0, rows=1.25),
    "default": Strictness(share=0.01, again=2.0, span=0.5, rows=2.0),
    "loose": Strictness(share=0.05, again=9.0, span=2.0, rows=10.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proposer:
    """What is known of the sample while expectations are written down."""

    rows: int
    room: Strictness

    def mostly(self, hits: int, sides: int) -> float:
        """The share of rows that has to hold, where `hits` rows of the sample did not.

        What the sample bounds on two `sides` may be passed on each.
        """
        others = max(1, round(self.rows / self.room.rows))
        chance = sides * most(hits, self.rows, others, ALPHA / sides) / others
        change = self.room.share + self.room.again * hits / self.rows
        # Downwards, so that writing it short makes it no stricter.
        return max(0.0, math.floor((1 - chance - change) * 1e5) / 1e5)

    def rowwise(
        self, kind: str, why: str, hits: int = 0, sides: int = 1, **kwargs: Any
    ) -> dict[str, Any]:
        """An expectation about the values of rows."""
        told = f"{why}; mostly leaves room for chance (p {ALPHA:g})"
        times = f" and {self.room.again:g} times as many" if hits and self.room.again else ""
        room = f" and for {self.room.share:.0%}{times} more" if self.room.share else ""
        return written(kind, told + room, mostly=self.mostly(hits, sides), **kwargs)


def infer(dataset: Dataset, name: str, strictness: str = "default") -> dict[str, Any]:
    """Propose a suite of GX for a dataset, as its JSON.

    Args:
        dataset: the sample; at least LEAST rows.
        name: of the suite.
        strictness: a key of STRICTNESS.

    Raises:
        UsageError: there is no such strictness, or there are too few rows.
    """
    if strictness not in STRICTNESS:
        raise UsageError(f"--strictness {strictness}: one of {', '.join(STRICTNESS)}")
    if dataset.rows < LEAST:
        raise UsageError(f"{dataset.rows} rows: a contract is inferred from {LEAST} or more")
    proposer = _Proposer(rows=dataset.rows, room=STRICTNESS[strictness])
    expectations = [*_of_table(dataset, proposer)]
    for column, dtype in dataset.lazy().collect_schema().items():
        expectations += _of_column(dataset, column, dtype, proposer)
    return {
        "name": name,
        "expectations": expectations,
        "meta": {
            "toadstone": {
                "version": __version__,
                "inferred_from_rows": dataset.rows,
                "strictness": strictness,
                "alpha": ALPHA,
            }
        },
        "notes": "proposed from data; read every line before it is pinned",
    }


def written(kind: str, why: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    """An expectation as GX writes it, its reason in its notes."""
    notes = {"format": "markdown", "content": [why]}
    return {"type": kind, "kwargs": kwargs, "meta": {"notes": notes}, "severity": severity}


def _of_table(dataset: Dataset, proposer: _Proposer) -> Iterator[dict[str, Any]]:
    yield written(
        "expect_table_columns_to_match_set",
        "the columns there are",
        column_set=list(dataset.schema),
    )
    factor = proposer.room.rows
    yield written(
        "expect_table_row_count_to_be_between",
        f"{dataset.rows} rows, up to {factor:g} times fewer or more",
        severity="warning",
        min_value=math.floor(dataset.rows / factor),
        max_value=math.ceil(dataset.rows * factor),
    )


def _of_column(
    dataset: Dataset, name: str, dtype: pl.DataType, proposer: _Proposer
) -> Iterator[dict[str, Any]]:
    import polars as pl

    kind = kind_of(dtype)
    if kind == "other" or kind == "binary":
        return
    column = Column(name=name, dtype=dtype, kind=kind, raw=pl.col(name))
    frame = dataset.frame([name])
    values = frame.rename({name: "values"}).select(
        replace(column, raw=pl.col("values")).value.alias("values")
    )["values"]
    missing = values.null_count()
    yield from _of_type(column)
    if missing <= _MOST_NULL * proposer.rows and proposer.mostly(missing, 1) > 0:
        why = f"{missing} of {proposer.rows} values are missing"
        yield proposer.rowwise(
            "expect_column_values_to_not_be_null", why, hits=missing, column=name
        )
    present = values.drop_nulls()
    if dataset.roles.id == name or (not proposer.room.span and kind in ("text", "integer")):
        yield from _unique(name, present, identity=dataset.roles.id == name)
    # What is missing is no row for the others.
    told = replace(proposer, rows=max(1, len(present)))
    if len(present) < LEAST:
        return
    if kind == "text":
        yield from _of_words(name, present, told)
    elif kind in ("integer", "float", "decimal"):
        yield from _range(name, present, told, whole=kind == "integer")


def _of_type(column: Column) -> Iterator[dict[str, Any]]:
    why = f"it is {column.dtype}"
    match column.kind:
        case "integer":
            name = in_pandas(column, nulls=False)
            both = [name, "float64"]
            why += "; whole numbers with a missing one are float64 in pandas"
            kind = "expect_column_values_to_be_in_type_list"
            yield written(kind, why, column=column.name, type_list=both)
        case "float" | "boolean":
            name = in_pandas(column, nulls=False)
            kind = "expect_column_values_to_be_of_type"
            yield written(kind, why, column=column.name, type_=name)
        case "text" if str(column.dtype) == "String":
            kind = "expect_column_values_to_be_of_type"
            yield written(kind, why, column=column.name, type_="str")


def _unique(name: str, present: pl.Series, *, identity: bool) -> Iterator[dict[str, Any]]:
    if present.n_unique() == len(present):
        yield written(
            "expect_column_values_to_be_unique",
            "it has the role of an id" if identity else "no value occurs twice, so far",
            severity="critical" if identity else "info",
            column=name,
        )


def _of_words(name: str, present: pl.Series, proposer: _Proposer) -> Iterator[dict[str, Any]]:
    counts = present.value_counts(name="\0count")
    kept = counts.filter(counts["\0count"] >= RARE)
    outside = len(present) - int(kept["\0count"].sum())
    # Good 1953: of a second sample, so many rows are of a kind that the first has less than r
    # times as it has rows of kinds that it has at most r times.
    expected = int(counts.filter(counts["\0count"] <= RARE)["\0count"].sum())
    if proposer.room.span and counts.height == 1:
        return  # of a single value nobody can say whether it names the batch
    if 0 < kept.height <= KEPT and outside <= OUTSIDE * len(present):
        yield proposer.rowwise(
            "expect_column_values_to_be_in_set",
            f"{kept.height} values in {RARE} rows or more each; {outside} rows have others",
            hits=expected,
            column=name,
            value_set=sorted(kept[present.name].to_list()),
        )
        return
    pattern = shape(present)
    if pattern is not None:
        why = "all values have one shape"
        yield proposer.rowwise(
            "expect_column_values_to_match_regex", why, column=name, regex=pattern
        )
        return
    low, high = _ends(present.str.len_chars(), proposer.room.span, whole=True)
    yield proposer.rowwise(
        "expect_column_value_lengths_to_be_between",
        "the lengths seen, and more",
        sides=2,
        column=name,
        min_value=low,
        max_value=high,
    )


def _range(
    name: str, present: pl.Series, proposer: _Proposer, *, whole: bool
) -> Iterator[dict[str, Any]]:
    if proposer.room.span and _of_this_batch(present, whole=whole):
        return
    infinite = int((~present.is_finite()).sum()) if present.dtype.is_float() else 0
    if proposer.mostly(infinite, 2) == 0:
        return
    low, high = _ends(present, proposer.room.span, whole=whole)
    yield proposer.rowwise(
        "expect_column_values_to_be_between",
        "the range seen, and more" if proposer.room.span else "the range seen",
        hits=infinite,
        sides=2,
        column=name,
        min_value=low,
        max_value=high,
    )


def _of_this_batch(present: pl.Series, *, whole: bool) -> bool:
    """Whether the range is likely that of this batch alone: one month, a counter, a time stamp.

    True for a single value, values in the order of their rows, and whole numbers of which none
    occurs twice.
    """
    return (
        present.is_sorted()
        or present.is_sorted(descending=True)
        or (whole and present.n_unique() == len(present))
    )


def _ends(values: pl.Series, span: float, *, whole: bool) -> tuple[float, float]:
    """The range of finite values, wider by `span` of its width; what never was negative stays so.

    Its ends are rounded outwards to three digits.
    """
    finite: pl.Series = values.filter(values.is_finite()) if values.dtype.is_float() else values
    seen = [float(one) for one in (finite.min(), finite.max()) if isinstance(one, int | float)]
    if not seen:
        return 0.0, 0.0
    low, high = seen
    wider = span * (high - low)
    below, above = max(-_MOST, low - wider), min(_MOST, high + wider)
    if low >= 0:
        below = max(0.0, below)
    if high <= 0:
        above = min(0.0, above)
    if span:
        below, above = _outwards(below, up=False), _outwards(above, up=True)
    # What is beyond the integers that JSON has for everybody is written as a float.
    exact = whole and max(-below, above) <= MAX_INTEGER
    return (math.floor(below), math.ceil(above)) if exact else (below, above)


def _outwards(value: float, *, up: bool) -> float:
    """Three digits, never nearer to zero width than the value."""
    if value == 0 or not math.isfinite(value):
        return value
    scale = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    rounded = (math.ceil if up else math.floor)(value / scale) * scale
    return float(f"{rounded:.12g}") if math.isfinite(rounded) else value
