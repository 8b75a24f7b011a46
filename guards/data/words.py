"""Any column as words: what labels, sources, ids and texts are compared by, whatever their type.

A list or a struct is its JSON, so that a row of several labels is one word; bytes that are no UTF-8
are their hexadecimal digits. Missing stays missing, and NaN is up to whoever asks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


def words_of(values: pl.Series) -> pl.Series:
    """The values as strings, (n,), under the same name."""
    import polars as pl

    if values.dtype.is_nested() or values.dtype == pl.Binary:
        told = [None if value is None else _told(value) for value in values.to_list()]
        return pl.Series(values.name, told, dtype=pl.String)
    return values.cast(pl.String)


def _told(value: Any) -> str:
    return _of_bytes(value) if isinstance(value, bytes) else json.dumps(value, default=_plain)


def _plain(value: Any) -> str:
    return _of_bytes(value) if isinstance(value, bytes) else str(value)


def _of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()
