"""Words of one shape: the regular expression that all values of a column fit, if there is one.

Runs of digits, of capitals and of small letters become one sign each, at a second try runs of any
of them. If one shape is left, its runs are measured; one whose length varies may be longer in other
rows than in these.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# What a run is replaced by and how it is found; the finer reading comes first.
_READINGS = (
    {"9": "[0-9]+", "A": "[A-Z]+", "a": "[a-z]+"},
    {"9": "[A-Za-z0-9]+"},
)
_CLASSES = ("A-Z", "a-z", "0-9")
_SPECIAL = re.compile(r"[.^$*+?()\[\]{}|\\]")
_LONGEST = 60  # signs of a shape
_LONGER = 2  # times as long as seen may a run be whose length varies


def shape(values: pl.Series) -> str | None:
    """A pattern for all of these texts, from `^` to `$`; None if they have no shape in common."""
    for runs in _READINGS:
        reduced = values
        for sign, found in runs.items():
            reduced = reduced.str.replace_all(found, sign)
        shapes = reduced.unique()
        if len(shapes) == 1 and (pattern := _pattern(values, str(shapes[0]), runs)):
            return pattern
    return None


def _pattern(values: pl.Series, reduced: str, runs: dict[str, str]) -> str | None:
    """The pattern of a shape that holds a run, is short, and has no letters beside its signs."""
    if not 0 < len(reduced) <= _LONGEST or not reduced.isascii() or not reduced.isprintable():
        return None
    if not runs.keys() & set(reduced):
        return None
    found = "".join(f"({runs[sign]})" if sign in runs else _escaped(sign) for sign in reduced)
    groups = iter(values.str.extract_groups(f"^{found}$").struct.unnest().get_columns())
    parts = [_run(next(groups)) if sign in runs else _escaped(sign) for sign in reduced]
    return f"^{''.join(parts)}$"


def _escaped(character: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", character)


def _run(parts: pl.Series) -> str:
    """The characters that a run is made of, and how many there may be."""
    used = "".join(one for one in _CLASSES if parts.str.contains(f"[{one}]").any())
    lengths = parts.str.len_chars().unique().sort().to_list()
    low, high = lengths[0], lengths[-1]
    if low != high:
        return f"[{used}]{{1,{high * _LONGER}}}"
    return f"[{used}]{{{low}}}" if low > 1 else f"[{used}]"
