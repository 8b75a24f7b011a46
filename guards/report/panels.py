"""Which of a rule's statistics become a picture, and which rows the page may name.

The statistics are read as the checks write them (KeyError, TypeError or ValueError for another
shape); the page's list of all statistics shows everything, whatever its shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from math import sqrt
from typing import Any

from guards.errors import Malformed
from guards.report.plots import Column, Rate
from guards.report.values import number, p_value

VISIBLE = 0.05  # of a column's distribution function or shares: less cannot be seen in a plot
TOP_COLUMNS = 8
TOP_CATEGORIES = 10
TOP_SOURCES = 24
TOP_ROWS = 8
_SHOWN = ("row_id", "file", "row_in_file", "score", "p_value", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The rows that one rule holds: how many, and the first of them, never their contents."""

    rule: str
    total: int
    rows: tuple[Mapping[str, Any], ...]


def moved(examination: Mapping[str, Any]) -> tuple[Column, ...]:
    """The columns that a finding is about, or that moved visibly: bins before and now."""
    about = {finding["subject"]["name"] for finding in examination["findings"]}
    columns = [
        _column(told)
        for told in examination["statistics"].get("moved", ())
        if told["column"] in about or told["effect"] >= VISIBLE
    ]
    return tuple(columns[:TOP_COLUMNS])


def source_rates(examination: Mapping[str, Any]) -> tuple[tuple[Rate, ...], float]:
    """The share of contradicted rows per source, the highest first, and over all of them."""
    about = {finding["subject"]["name"] for finding in examination["findings"]}
    found = examination["statistics"].get("sources", ())
    rates = [_rate(told, told["source"] in about) for told in found if told["sure"]]
    usual = sum(told["contradicted"] for told in found) / max(1, sum(t["sure"] for t in found))
    # What stands out is always shown, however many sources there are.
    ordered = sorted(rates, key=lambda rate: (not rate.marked, -rate.rate))[:TOP_SOURCES]
    return tuple(sorted(ordered, key=lambda rate: -rate.rate)), usual


def _rate(told: Mapping[str, Any], marked: bool) -> Rate:
    low, high = wilson(told["contradicted"], told["sure"])
    share = told["contradicted"] / told["sure"]
    return Rate(
        name=told["source"], rate=share, rows=told["sure"], low=low, high=high, marked=marked
    )


def wilson(hits: int, sample: int) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson 1927: within 0 and 1, and honest for few rows."""
    z = 1.959964
    centre, spread = hits + z * z / 2, z * sqrt(hits * (sample - hits) / sample + z * z / 4)
    return max(0.0, (centre - spread) / (sample + z * z)), (centre + spread) / (sample + z * z)


def held(table: bytes) -> tuple[Held, ...]:
    """The rows of a `rows.parquet` by rule, the highest score first; Malformed if unreadable."""
    import polars as pl

    try:
        named = pl.read_parquet(BytesIO(table)).select("rule", *_SHOWN)
        rows = named.sort("score", descending=True, nulls_last=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Malformed(f"not the table that a scan writes: {error}", "rows.parquet") from error
    return tuple(
        Held(rule=str(rule), total=group.height, rows=tuple(group.head(TOP_ROWS).to_dicts()))
        for (rule,), group in rows.group_by("rule", maintain_order=True)
    )


def _column(told: Mapping[str, Any]) -> Column:
    bins = zip(told["bins"], told["reference"], told["current"], strict=True)
    filled = [(str(label), then, now) for label, then, now in bins if then or now]
    if told["kind"] != "numeric":
        filled = sorted(filled, key=lambda bin: -abs(bin[1] - bin[2]))[:TOP_CATEGORIES]
    labels, reference, current = zip(*filled, strict=True) if filled else ((), (), ())
    return Column(
        name=told["column"],
        bins=labels,
        reference=reference,
        current=current,
        ordered=told["kind"] == "numeric",
        note=_note(told),
    )


def _note(told: Mapping[str, Any]) -> str:
    usual = f" ({number(told['spread'])} within the reference)" if "spread" in told else ""
    return f"moved by {number(told['effect'])}{usual}, p {p_value(told['p_value'])}"
