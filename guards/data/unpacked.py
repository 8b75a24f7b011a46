"""What decoded values weigh: about the bytes that they take, and long texts for what they cost.

A file of a kilobyte can hold half a gigabyte of text, and nothing in it is wrong: a dictionary of
one word, and run lengths. So what matters is what comes out. Here it is counted value by value
while a file streams by, however its values are shared in memory: a text counts as often as it
stands in a row. Rules read texts word by word, which takes some twenty times as long as reading
as many bytes of numbers; so the bytes of columns whose texts are long count TEXT times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from polars.datatypes import DataTypeClass

TEXT, LONG = 16, 100  # how often bytes of texts count that are longer than LONG bytes on average
_VIEW = 16  # bytes of a text or list beside its contents
_WIDTHS = {"Int8": 1, "UInt8": 1, "Boolean": 1, "Int16": 2, "UInt16": 2, "Int32": 4, "UInt32": 4}
_WIDTHS |= {"Float32": 4, "Date": 4, "Null": 1, "Decimal": 16, "Int128": 16, "UInt128": 16}


def unpacked(schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """What all values of a frame weigh, in bytes: one UInt64."""
    import polars as pl

    columns = [_weight(pl.nth(place), dtype) for place, dtype in enumerate(schema.values())]
    return pl.sum_horizontal(pl.lit(0, pl.UInt64), *columns)


def _weight(values: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr:
    import polars as pl

    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return _of_texts(values.cast(pl.String).str.len_bytes())
    if isinstance(dtype, pl.Binary):
        return _sum(values.bin.size()) + _count(values) * _VIEW
    if isinstance(dtype, pl.Struct):
        parts = [_weight(values.struct.field(f.name), f.dtype) for f in dtype.fields]
        return pl.sum_horizontal(_count(values), *parts)
    if isinstance(dtype, pl.List | pl.Array):
        inner = pl.List(dtype.inner) if isinstance(dtype, pl.Array) else dtype
        return _count(values) * _VIEW + _of_lists(values.cast(inner), inner)
    return _count(values) * _WIDTHS.get(str(dtype).partition("(")[0], 8)


def _of_texts(lengths: pl.Expr) -> pl.Expr:
    import polars as pl

    whole, rows = _sum(lengths), lengths.count().cast(pl.UInt64)
    return _count(lengths) * _VIEW + pl.when(whole > rows * LONG).then(whole * TEXT).otherwise(
        whole
    )


def _of_lists(values: pl.Expr, dtype: pl.List) -> pl.Expr:
    inner = dtype.inner
    width = _WIDTHS.get(str(inner).partition("(")[0], 8)
    if inner.is_numeric() or inner.is_temporal():
        return _sum(values.list.len()) * width
    return _weight(values.explode(), inner)


def _sum(numbers: pl.Expr) -> pl.Expr:
    import polars as pl

    return numbers.cast(pl.UInt64).sum()


def _count(values: pl.Expr) -> pl.Expr:
    import polars as pl

    return values.len().cast(pl.UInt64)
