"""The contract as it is written: a suite of GX 1.x, parsed strictly and without GX.

What is parsed here is not checked again: the arguments of a compiled type are typed and complete.
An expectation of another type is kept as it is written; GX alone can say what it means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from guards.data.contract.conditions import Condition, columns
from guards.data.contract.shapes import SHAPES
from guards.errors import Malformed
from guards.provenance.strictjson import Node
from guards.text import printable

SEVERITIES = ("critical", "warning", "info")
_SUITE = ("name", "expectations", "suite_parameters", "meta", "notes", "id")
_EXPECTATION = (
    *("type", "kwargs", "meta", "notes", "description", "severity", "id", "rendered_content"),
    *("windows", "expectation_context", "success_on_last_run"),
)
# Arguments that steer how GX reports, and nothing of what is expected.
_REPORTING = frozenset({"result_format", "catch_exceptions", "condition_parser"})
_CODE = ("pandas", "spark")
_BOTH_ENDS = (
    "expect_column_values_to_be_between",
    "expect_column_value_lengths_to_be_between",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One promise: `kwargs` are its arguments, typed if `known`; `document` is as written."""

    place: int
    kind: str
    kwargs: Mapping[str, Any]
    severity: str
    document: Mapping[str, Any]

    @property
    def known(self) -> bool:
        """Whether its type is one that can be compiled."""
        return self.kind in SHAPES

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is about, without those of its row condition."""
        return tuple(_columns(self.kwargs))

    @property
    def condition(self) -> Condition | None:
        """Which rows it speaks of; all when there is none."""
        return self.kwargs.get("row_condition") if self.known else None

    @property
    def needs(self) -> tuple[str, ...]:
        """Every column that has to be read to answer it."""
        where = columns(self.condition) if self.condition else _searched(self.kwargs)
        return tuple(dict.fromkeys((*self.columns, *where)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A contract: at least one expectation, in the order in which they are written."""

    name: str
    expectations: tuple[Expectation, ...]
    document: Mapping[str, Any]


def parse_suite(document: Mapping[str, Any], where: str = "contract") -> Suite:
    """Read a suite from its JSON, which is from `where`.

    Raises:
        Malformed: it is no suite of GX 1.x; says which expectation and which argument.
    """
    return _suite(Node(dict(document), where))


def _suite(node: Node) -> Suite:
    if "expectation_suite_name" in node.mapping():
        node.refuse("a suite of GX 0.x; open it with GX 1.x and save it again")
    if "name" not in node.mapping() or "expectations" not in node.mapping():
        node.refuse("not a suite of GX 1.x, which has a name and a list of expectations")
    node.only(*_SUITE)
    if node.optional("suite_parameters") and node.of("suite_parameters").mapping():
        node.of("suite_parameters").refuse("are not supported: write the values into the suite")
    found = tuple(
        _expectation(place, one) for place, one in enumerate(node.of("expectations").each())
    )
    if not found:
        node.refuse("the suite holds no expectation; an empty contract promises nothing")
    name = node.of("name").text() or node.of("name").refuse("must not be empty")
    return Suite(name=name, expectations=found, document=node.mapping())


def _expectation(place: int, node: Node) -> Expectation:
    node.only(*_EXPECTATION)
    kind, kwargs = node.of("type").text(), node.of("kwargs")
    severity = node.optional("severity")
    if severity and severity.text() not in SEVERITIES:
        severity.refuse(f"must be one of {', '.join(SEVERITIES)}")
    if node.optional("windows") and node.value["windows"]:
        node.of("windows").refuse("need GX Cloud; leave them out")
    try:
        typed = _typed(kind, kwargs) if kind in SHAPES else _untyped(kwargs)
    except Malformed as error:
        told = str(error).removeprefix(f"{error.where}: ")
        raise Malformed(f"{told} (in {printable(kind)[:100]})", error.where) from error
    return Expectation(
        place=place,
        kind=kind,
        kwargs=typed,
        severity=severity.text() if severity else "critical",
        document=node.mapping(),
    )


def _typed(kind: str, node: Node) -> dict[str, Any]:
    shape = SHAPES[kind]
    readers = {**shape.needs, **shape.takes}
    node.only(*readers, *_REPORTING)
    _refuse_parser(node)
    for name in shape.needs:
        node.of(name)
    found = {
        name: readers[name](value)
        for name, value in node.items()
        if name in readers and value.value is not None
    }
    if kind in _BOTH_ENDS and not {"min_value", "max_value"} & found.keys():
        node.refuse("needs min_value, max_value or both")
    _refuse_crossed(node, found)
    return found


def _refuse_crossed(node: Node, found: Mapping[str, Any]) -> None:
    """Two ends of two kinds, or the wrong way round, hold nothing."""
    ends = [found[name] for name in ("min_value", "max_value") if name in found]
    if len({_sort(end) for end in ends}) > 1:
        node.refuse("min_value and max_value are of two kinds")
    if len(ends) == 2 and ends[0] > ends[1]:
        node.refuse("min_value lies above max_value")


def _sort(end: Any) -> str:
    if isinstance(end, datetime):
        return "a time with a zone" if end.tzinfo else "a time"
    return "a date" if isinstance(end, date) else "a number"


def _untyped(node: Node) -> dict[str, Any]:
    """The arguments of a type that is left to GX; what it would execute is refused all the same."""
    _refuse_parser(node)
    where = node.optional("row_condition")
    if where and isinstance(where.value, str):
        where.refuse("is code for pandas or Spark, which is never run; write it as an object")
    if where and where.of("type").text() == "pass_through":
        where.refuse("is code for pandas or Spark, which is never run; write it as an object")
    return dict(node.mapping())


def _refuse_parser(node: Node) -> None:
    parser = node.optional("condition_parser")
    if parser and parser.text() in _CODE:
        parser.refuse("makes the condition code, which is never run; leave it out")


def _columns(kwargs: Mapping[str, Any]) -> Iterator[str]:
    for key in ("column", "column_A", "column_B"):
        if key in kwargs:
            yield str(kwargs[key])
    yield from map(str, kwargs.get("column_list") or ())


def _searched(value: Any) -> Iterator[str]:
    """The columns that a condition as it is written names, at any depth."""
    match value:
        case {"column": {"name": str(name)}}:
            yield name
        case dict():
            for inner in value.values():
                yield from _searched(inner)
        case list():
            for inner in value:
                yield from _searched(inner)
