"""Which rows an expectation speaks of: GX's `row_condition`, read as data and never as code.

GX 1.x writes a condition as an object (`comparison`, `nullity`, `and`, `or`). It still takes a text
for pandas or Spark, which those would execute; here that is refused, whoever runs the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from guards.provenance.strictjson import Node

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN")
MOST = 100  # comparisons, as in GX
Value = int | float | str | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """A column held against a value, or against a list of them for IN and NOT_IN."""

    column: str
    operator: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A column that is null, or is not."""

    column: str
    is_null: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """All of several conditions, or any of them."""

    every: bool
    parts: tuple[Condition, ...]


Condition = Compare | Missing | Joined


def condition(node: Node) -> Condition:
    """Read a condition; Malformed for a text, and for what GX would not accept."""
    if isinstance(node.value, str):
        node.refuse(
            "is code for pandas or Spark, which is never run; write it as an object of GX 1.9 or "
            'newer, as in {"type": "comparison", "column": {"name": "x"}, "operator": ">", '
            '"parameter": 0}'
        )
    found = _condition(node)
    if sum(1 for _ in _leaves(found)) > MOST:
        node.refuse(f"has more than {MOST} comparisons")
    return found


def columns(found: Condition) -> tuple[str, ...]:
    """The columns that a condition looks at."""
    return tuple(dict.fromkeys(leaf.column for leaf in _leaves(found)))


def _leaves(found: Condition) -> Iterator[Compare | Missing]:
    if isinstance(found, Joined):
        for part in found.parts:
            yield from _leaves(part)
    else:
        yield found


def _condition(node: Node) -> Condition:
    kind = node.of("type").text()
    match kind:
        case "comparison":
            node.only("type", "column", "operator", "parameter")
            return _comparison(node)
        case "nullity":
            node.only("type", "column", "is_null")
            return Missing(column=_name(node), is_null=node.of("is_null").flag())
        case "and" | "or":
            node.only("type", "conditions")
            parts = tuple(_condition(part) for part in node.of("conditions").each())
            if not parts:
                node.refuse("joins no condition at all")
            return Joined(every=kind == "and", parts=parts)
        case _:
            return node.refuse("must be a comparison, nullity, and, or; other types are code")


def _name(node: Node) -> str:
    return node.of("column").only("name").of("name").text()


def _comparison(node: Node) -> Compare:
    operator, parameter = node.of("operator"), node.of("parameter")
    if operator.text() not in OPERATORS:
        operator.refuse(f"must be one of {' '.join(OPERATORS)}")
    many = operator.value in ("IN", "NOT_IN")
    values = tuple(_value(item) for item in parameter.each()) if many else (_value(parameter),)
    return Compare(column=_name(node), operator=operator.value, values=values)


def _value(node: Node) -> Value:
    if type(node.value) not in (int, float, str, bool):
        node.refuse("must be a text, a number, true or false")
    found: Value = node.value
    return found
