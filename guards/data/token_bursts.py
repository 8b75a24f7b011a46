"""Words of a text column in far more rows than the reference holds, and where those rows gather.

The profile lists the tokens of five rows and more, up to 5,000 of them; of any other it says only
in how many rows it is at most, and that counts as if it were. Two words in a row are not counted.
Characters that nobody sees, those that turn the direction, and the letters of a script are counted
like words, by kind: they make new words of old ones, each another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
import polars as pl

from guards.data.case import Case
from guards.data.dataset import Dataset
from guards.data.profiles.nouns import TextColumn
from guards.data.profiles.observe import Observed, Seen
from guards.data.profiles.values import mark_word, marked_tokens
from guards.data.stream import frames
from guards.data.turned import Turned, turned
from guards.data.words import words_of
from guards.numerics.slices import gathered
from guards.numerics.surges import attainable, lifts, surge_p_values

_AT_ONCE = 1 << 13
MOST = 50  # tokens of a column, those least likely by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """p-values over all tokens at most, times the usual rate and rows at least, rows held at most.
    From `asked` times the usual rate on, the labels of its rows are asked about.

    A burst gathers where a label or source has `gathered` times the share of all others, which is
    by chance at most at the level `gathers`.
    """

    alpha: float
    lift: float
    rows: int
    held: int
    asked: float = np.inf
    gathered: float = 2.0
    gathers: float = 0.005


class _Known(TypedDict):
    rho: float
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBurst:
    """`token` is in `rows` of the batch where about `expected` were usual.

    Its rows gather in `group` of the column `by` (empty where they do not): `share` of the group's
    rows hold it, and `elsewhere` of all others. `places` are global rows, the first of them;
    `turned` to what label they were, if anything but the word leads one to expect another.
    """

    column: str
    token: str
    rows: int
    expected: float
    lift: float
    p_value: float
    by: str = ""
    group: str = ""
    share: float = 0.0
    elsewhere: float = 0.0
    gathers: float = 1.0
    places: tuple[int, ...] = ()
    turned: Turned | None = None


def token_bursts(dataset: Dataset, seen: Observed, limits: Limits) -> tuple[TokenBurst, ...]:
    """The bursts of every text column, those that are least likely by chance first."""
    found: list[TokenBurst] = []
    for one in seen.columns.values():
        if isinstance(one.column, TextColumn) and one.count and one.column.count:
            bursts = _bursts(one, one.column, len(seen.profile.blocks), limits)
            found += _distinct(_gathered(dataset, bursts[:MOST], limits)) if bursts else []
    return tuple(found)


def labels_asked(
    case: Case, bursts: Sequence[TokenBurst], limits: Limits, alpha: float
) -> tuple[TokenBurst, ...]:
    """The bursts with what their labels were turned to, at the level `alpha`, if they were.

    Those that gather alarm anyway, and are not asked; those below the lift are left out unless
    their labels were turned.
    """
    asked = [burst for burst in bursts if not burst.by or burst.lift < limits.lift]
    answers = turned(case, [burst.places for burst in asked])
    sure = {burst: one for burst, one in zip(asked, answers, strict=True) if one}
    known = [
        replace(burst, by="", group="", turned=one)
        if (one := sure.get(burst)) and one.p_value <= alpha
        else burst
        for burst in bursts
    ]
    return tuple(burst for burst in known if burst.turned or burst.lift >= limits.lift)


def _bursts(seen: Seen, column: TextColumn, blocks: int, limits: Limits) -> list[TokenBurst]:
    """Tokens with a surge, by their p-values."""
    listed = zip(column.tokens, column.counts, seen.listed.tolist(), strict=True)
    counts = [(token, then + column.error, now) for token, then, now in listed]
    counts += [(token, column.bound, now) for token, now in seen.commonest]
    counts += [(mark_word(mark), column.marks[mark], now) for mark, now in seen.marks.items()]
    if not counts:
        return []
    names, then, now = zip(*counts, strict=True)
    rows, known = (column.count, seen.count), _Known(rho=column.rho, blocks=blocks)
    tests = attainable(then, now, rows, alpha=limits.alpha, **known)
    p_values = np.minimum(surge_p_values(then, now, rows, **known) * tests, 1.0)
    lift = lifts(then, now, rows)
    found = [
        TokenBurst(
            column=column.name,
            token=names[place],
            rows=int(now[place]),
            expected=round(then[place] * rows[1] / rows[0], 2),
            lift=round(float(lift[place]), 2),
            p_value=float(f"{p_values[place]:.3g}"),
        )
        for place in range(len(names))
        if p_values[place] <= limits.alpha
        and lift[place] >= min(limits.lift, limits.asked)
        and now[place] >= limits.rows
    ]
    return sorted(found, key=lambda one: (one.p_value, -one.rows, one.token))


def _distinct(bursts: Iterator[TokenBurst]) -> Iterator[TokenBurst]:
    """Without words whose rows are mostly those of one before: a phrase is told by one word."""
    seen: list[set[int]] = []
    for burst in bursts:
        mine = set(burst.places)
        if not any(2 * len(mine & other) > len(mine) for other in seen):
            seen.append(mine)
            yield burst


def _gathered(
    dataset: Dataset, bursts: Sequence[TokenBurst], limits: Limits
) -> Iterator[TokenBurst]:
    """The same with their rows, and the label or source in which they gather."""
    groups = {
        by: name
        for by, name in (("label", dataset.roles.label), ("source", dataset.roles.source))
        if name
    }
    held, sizes = _rows(dataset, bursts, groups)
    for burst in bursts:
        mine = held.filter(pl.col("token") == burst.token)
        places = tuple(mine["row"].head(limits.held).to_list())
        best = min(
            (_in_group(mine, name, by, sizes[by]) for by, name in groups.items()),
            key=lambda found: found["gathers"],
            default={"gathers": 1.0, "share": 0.0, "elsewhere": 0.0},
        )
        apart = best["share"] >= limits.gathered * best["elsewhere"]
        # One test of a label and one of a source.
        sure = best["gathers"] * len(groups) <= limits.gathers
        yield replace(burst, places=places, **(best if apart and sure else {}))


def _rows(
    dataset: Dataset, bursts: Sequence[TokenBurst], groups: Mapping[str, str]
) -> tuple[pl.DataFrame, Mapping[str, Mapping[str, int]]]:
    """Global row and groups of every row with one of the tokens; and the rows of each group."""
    column, wanted = bursts[0].column, [burst.token for burst in bursts]
    names = list(dict.fromkeys([column, *groups.values()]))
    parts, start = [], 0
    for frame in frames(dataset, names, _AT_ONCE):
        told = frame.select(
            pl.int_range(start, start + pl.len()).alias("row"),
            marked_tokens(frame[column].cast(pl.String), wanted).alias("token"),
            *(words_of(frame[n]).fill_null("").alias(by) for by, n in groups.items()),
        )
        parts.append((told, told.explode("token").filter(pl.col("token").is_in(wanted))))
        start += frame.height
    whole = pl.concat([told.drop("token") for told, _ in parts])
    sizes = {by: dict(whole[by].value_counts().iter_rows()) for by in groups}
    return pl.concat([held for _, held in parts]), sizes


def _in_group(mine: pl.DataFrame, name: str, by: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Where the rows of one token gather most, by label or by source."""
    inside, order = dict(mine[by].value_counts().iter_rows()), sorted(sizes)
    seen = gathered([inside.get(one, 0) for one in order], [sizes[one] for one in order], 0.0)
    first = int(np.argmin(seen.p_value))
    return {
        "by": name,
        "group": order[first],
        "share": round(float(seen.share[first]), 4),
        "elsewhere": round(float(seen.elsewhere[first]), 4),
        "gathers": float(f"{seen.p_value[first]:.3g}"),
    }
