"""What changed from one contract to another: as data, and whether more or less is promised.

Expectations are paired by what they are about: type, columns and row condition; of several alike
the equal ones first, then in order. Of a pair every argument that changed is told, and where its
meaning has a direction, whether it was loosened (whatever kept the old one keeps the new one) or
tightened (the other way round). A pattern that changed just changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guards.data.contract.suite import SEVERITIES, Expectation, Suite
from guards.digest import canonical_json

_DOMAIN = frozenset({"column", "column_A", "column_B", "row_condition"})
_LISTS = frozenset({"column_list", "column_set"})
# Sets of what is allowed; of what is forbidden; of what must be there.
_ALLOWED = (
    "expect_column_values_to_be_in_set",
    "expect_column_distinct_values_to_be_in_set",
    "expect_column_most_common_value_to_be_in_set",
    "expect_column_pair_values_to_be_in_set",
    "expect_column_values_to_be_in_type_list",
)
_FORBIDDEN = ("expect_column_values_to_not_be_in_set",)
_REQUIRED = ("expect_column_distinct_values_to_contain_set",)
_SETS = frozenset({"value_set", "value_pairs_set", "type_list"})
# Flags that ask for more when they are set, and those that ask for less.
_STRICTER = frozenset({"strict_min", "strict_max", "strictly", "exact_match"})
_MILDER = frozenset({"or_equal", "ties_okay"})
_DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(_STRICTER | _MILDER, False),
    "mostly": 1,
    "exact_match": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference.

    `change` is added, removed, loosened, tightened or changed; `parameter` the argument, or
    `severity`; empty where a whole expectation came or went.
    """

    change: str
    kind: str
    columns: tuple[str, ...]
    parameter: str = ""
    old: Any = None
    new: Any = None

    def __str__(self) -> str:
        about = f" ({', '.join(self.columns)})" if self.columns else ""
        told = f" {self.parameter}: {self.old!r} -> {self.new!r}" if self.parameter else ""
        return f"{self.change:9} {self.kind}{about}{told}"


def difference(old: Suite, new: Suite) -> tuple[Change, ...]:
    """Every change, in the order of the old contract, what was added at the end."""
    changes: list[Change] = []
    left = list(new.expectations)
    for before in old.expectations:
        after = _partner(before, left)
        if after is None:
            changes.append(_whole("removed", before))
        else:
            left.remove(after)
            changes += _changed(before, after)
    return (*changes, *(_whole("added", one) for one in left))


def _partner(one: Expectation, others: Sequence[Expectation]) -> Expectation | None:
    alike = [other for other in others if _about(other) == _about(one)]
    equal = (other for other in alike if _kwargs(other) == _kwargs(one))
    return next(equal, alike[0] if alike else None)


def _about(one: Expectation) -> bytes:
    kwargs = _kwargs(one)
    domain = {name: kwargs[name] for name in _DOMAIN if name in kwargs}
    if not one.kind.startswith("expect_table"):
        domain |= {name: kwargs[name] for name in _LISTS if name in kwargs}
    return canonical_json([one.kind, domain])


def _kwargs(one: Expectation) -> dict[str, Any]:
    written: Mapping[str, Any] = one.document["kwargs"]
    return {name: value for name, value in written.items() if value is not None}


def _whole(change: str, one: Expectation) -> Change:
    return Change(change=change, kind=one.kind, columns=one.columns)


def _changed(old: Expectation, new: Expectation) -> Iterator[Change]:
    before, after = _kwargs(old), _kwargs(new)
    for name in dict.fromkeys([*before, *after]):
        was, now = (found.get(name, _DEFAULTS.get(name)) for found in (before, after))
        if was != now and not (name in _SETS and _inside(was, now) and _inside(now, was)):
            yield Change(
                change=_direction(old.kind, name, was, now),
                kind=old.kind,
                columns=old.columns,
                parameter=name,
                old=was,
                new=now,
            )
    if old.severity != new.severity:
        milder = SEVERITIES.index(new.severity) > SEVERITIES.index(old.severity)
        yield Change(
            change="loosened" if milder else "tightened",
            kind=old.kind,
            columns=old.columns,
            parameter="severity",
            old=old.severity,
            new=new.severity,
        )


def _direction(kind: str, name: str, was: Any, now: Any) -> str:
    """Whether a change of one argument asks for less or for more; `changed` if it is neither."""
    match name:
        case "mostly":
            return _told(now < was, now > was)
        case "min_value":
            return _told(now is None or _below(now, was), was is None or _below(was, now))
        case "max_value":
            return _told(now is None or _below(was, now), was is None or _below(now, was))
        case _ if name in _STRICTER | _MILDER:
            asks_more = bool(now) == (name in _STRICTER)
            return _told(not asks_more, asks_more)
        case _ if name in _SETS:
            grown, shrunk = _inside(was, now), _inside(now, was)
            if kind in _ALLOWED:
                return _told(grown, shrunk)
            if kind in (*_FORBIDDEN, *_REQUIRED):
                return _told(shrunk, grown)
    return "changed"


def _told(looser: bool, tighter: bool) -> str:
    if looser == tighter:
        return "changed"
    return "loosened" if looser else "tightened"


def _below(one: Any, other: Any) -> bool:
    """Whether a bound lies below another of its kind: numbers, or times in ISO 8601."""
    if one is None or other is None or isinstance(one, str) != isinstance(other, str):
        return False
    return bool(one < other)


def _inside(some: Any, others: Any) -> bool:
    """Whether a list holds nothing that another does not."""
    if not isinstance(some, list) or not isinstance(others, list):
        return False
    return {canonical_json(value) for value in some} <= {canonical_json(one) for one in others}
