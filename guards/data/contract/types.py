"""What a column's type is called in pandas, by which GX tells types.

A suite of GX names the types that pandas has. A column of whole numbers in which a value is missing
is one of floats there; that is GX's promise, and so it is the one that is held.
"""

from __future__ import annotations

from guards.data.contract.columns import Column

_TEXT = frozenset({"str", "string_types"})


def in_pandas(column: Column, *, nulls: bool) -> str:
    """The name in pandas of a column of numbers, truths or words; `nulls`: some are missing."""
    import polars as pl

    match column.kind:
        case "text":
            return "str" if column.dtype == pl.String else "category"
        case "boolean":
            return "bool"
        case "integer":
            return "float64" if nulls else str(column.dtype).lower()
        case _:
            return str(column.dtype).lower()


def same_type(name: str, asked: str) -> bool:
    """Whether a type asked for, by any of the names that numpy and Python have, is `name`."""
    import numpy as np

    if name == "str":
        return asked.lower() in _TEXT
    if name == "category":
        return asked == "CategoricalDtypeType"
    try:
        return np.dtype(asked) == np.dtype(name)
    except TypeError:
        return False
