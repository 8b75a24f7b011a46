"""The file of a profile: canonical JSON, written small and read strictly.

Whoever swaps or edits a reference decides what drift is, so a profile is believed only by its
digest; but it is parsed before anybody compares, so every number is held to its place here: counts
add up to the rows, points and edges ascend, tables agree with the columns' own cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from guards.data.profiles.measures import unlettered
from guards.data.profiles.nouns import (
    BINS,
    EIGHT,
    GROUPS,
    JOINS,
    KEPT,
    KINDS,
    POINTS,
    VIEWS,
    CategoryColumn,
    Column,
    Groups,
    NumericColumn,
    Pair,
    Profile,
    TextColumn,
    Triple,
    VectorColumn,
    View,
    coarse,
    countable,
    view_name,
)
from guards.data.profiles.tables import shape_of
from guards.data.profiles.triples import MOST, few
from guards.data.profiles.values import MARKS
from guards.data.profiles.views import MOST_OF_VIEWS
from guards.digest import canonical_json
from guards.errors import Malformed, UsageError
from guards.files import read_document
from guards.provenance.strictjson import Node, loads

SCHEMA = "toadstone-profile/2"
_FORMER = "toadstone-profile/1"
_FORMS = frozenset({"number", "moment", "clock", "duration"})
MAX_COLUMNS, MAX_BLOCKS, MAX_WIDTH = 10_000, 10_000, 100_000


def to_bytes(profile: Profile) -> bytes:
    """The profile's file: canonical JSON."""
    return canonical_json(
        {
            "schema": SCHEMA,
            "blocks": profile.blocks,
            "roles": dict(profile.roles),
            "columns": [{**_plain(c), "kind": KINDS[type(c)]} for c in profile.columns],
            "pairs": [_plain(pair) for pair in profile.pairs],
            "triples": [_plain(triple) for triple in profile.triples],
            "groups": [_plain(groups) for groups in profile.groups],
        }
    )


def write_profile(profile: Profile, path: Path) -> None:
    """Write the profile's file, replacing what is there."""
    path.write_bytes(to_bytes(profile))


def read_profile(path: Path) -> Profile:
    """Read a profile's file; UsageError if there is none, Malformed if it is not one."""
    data = read_document(path)
    if data is None:
        raise UsageError(f"reference profile {path}: there is no such file")
    return parse_profile(data, path)


def parse_profile(data: bytes, path: Path | None = None) -> Profile:
    """Parse a profile strictly: canonical form, every number in place, every row accounted for.

    Malformed names the place, and `path`, from which the bytes are.
    """
    try:
        return _parsed(data)
    except Malformed as error:
        if path is None:
            raise
        raise Malformed(f"is no profile: {error}; toadstone profile makes one", str(path)) from None


def _parsed(data: bytes) -> Profile:
    root = loads(data, "profile")
    if "schema" in root.mapping() and root.of("schema").value == _FORMER:
        root.of("schema").refuse(
            "is of an earlier release; build it again with this release: toadstone profile"
        )
    root.only("schema", "blocks", "roles", "columns", "pairs", "triples", "groups")
    if root.of("schema").text() != SCHEMA:
        root.of("schema").refuse(f"must be {SCHEMA!r}")
    blocks = _integers(root.of("blocks"), MAX_BLOCKS)
    columns = _columns(root.of("columns"), sum(blocks))
    profile = Profile(
        blocks=blocks,
        roles={name: role.text() for name, role in root.of("roles").items()},
        columns=tuple(columns.values()),
        pairs=_pairs(root.of("pairs"), columns),
        triples=_triples(root.of("triples"), columns),
        groups=tuple(_groups(node, columns) for node in root.of("groups").each()),
    )
    if profile.roles.keys() - columns.keys():
        root.of("roles").refuse("names a column that is not described")
    if to_bytes(profile) != data:
        raise Malformed("not in canonical form", "profile")
    return profile


def _names(noun: type) -> list[str]:
    return [field.name for field in fields(noun)]


def _plain(noun: Any) -> dict[str, Any]:
    """A noun as JSON, its fields by name."""
    told = {field.name: getattr(noun, field.name) for field in fields(noun)}
    nested: dict[str, Any] = {
        name: _plain(held) for name, held in told.items() if isinstance(held, NumericColumn)
    }
    if isinstance(noun, TextColumn):
        nested["marks"] = dict(noun.marks)
    if isinstance(noun, VectorColumn):
        nested["views"] = [_plain(view) for view in noun.views]
    return {**told, **nested}


def _columns(node: Node, rows: int) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for item in node.each():
        column = _column(item)
        if column.name in found:
            item.of("name").refuse("is described twice")
        if column.rows != rows or sum(column.cells) != rows:
            item.refuse(f"the rows do not add up to {rows}")
        found[column.name] = column
    return found if len(found) <= MAX_COLUMNS else node.refuse(f"more than {MAX_COLUMNS}")


def _column(node: Node) -> Column:
    kind = node.of("kind").text()
    known = {name: noun for noun, name in KINDS.items()}
    if kind not in known:
        node.of("kind").refuse("is none that this release knows")
    node.only("kind", *_names(known[kind]))
    match kind:
        case "numeric":
            return _numeric(node)
        case "category":
            return _category(node)
        case "text":
            return _text(node)
    return _vector(node)


def _numeric(node: Node) -> NumericColumn:
    held = node.mapping()
    infinite = _integers(node.of("infinite"), 2)
    column = NumericColumn(
        name=node.of("name").text(),
        type=node.of("type").text(),
        form=node.of("form").text(),
        count=node.of("count").integer(),
        nulls=node.of("nulls").integer(),
        nans=node.of("nans").integer(),
        infinite=(infinite[0], infinite[1]) if len(infinite) == 2 else node.refuse("two counts"),
        low=_number(node.of("low")) if held.get("low") is not None else None,
        high=_number(node.of("high")) if held.get("high") is not None else None,
        points=_ascending(node.of("points"), POINTS),
        weights=_integers(node.of("weights"), POINTS, least=1),
        error=node.of("error").integer(),
        edges=_ascending(node.of("edges"), BINS + 1),
        cells=_integers(node.of("cells"), BINS + 3),
        distinct=_registers(node.of("distinct")),
        spread=_share(node.of("spread")),
        null_spread=_share(node.of("null_spread")),
    )
    if column.form not in _FORMS:
        node.of("form").refuse(f"must be one of {', '.join(sorted(_FORMS))}")
    _refuse_odd_steps(node, column)
    if len(column.cells) != len(column.bins) or column.cells[0] != column.missing:
        node.of("cells").refuse("must be a count for each bin, of what is missing first")
    return column


def _refuse_odd_steps(node: Node, column: NumericColumn) -> None:
    points, low, high = column.points, column.low, column.high
    if len(points) != len(column.weights) or sum(column.weights) != column.count:
        node.of("weights").refuse("must be a count for each point, and add up to the rows")
    if column.error > column.count:
        node.of("error").refuse("is more than there are rows")
    if (low is None or high is None) != (not column.count) or (low is None) != (high is None):
        node.refuse("must have a lowest and a highest value where it has a value, and only there")
    if low is not None and high is not None and not low <= points[0] <= points[-1] <= high:
        node.of("points").refuse("must lie between the lowest and the highest value")


def _category(node: Node) -> CategoryColumn:
    values, counts = _listed(node, "values")
    column = CategoryColumn(
        name=node.of("name").text(),
        type=node.of("type").text(),
        count=node.of("count").integer(),
        nulls=node.of("nulls").integer(),
        values=values,
        counts=counts,
        rest=node.of("rest").integer(),
        bound=node.of("bound").integer(),
        error=node.of("error").integer(),
        groups=_words(node.of("groups"), GROUPS),
        cells=_integers(node.of("cells"), GROUPS + 2),
        distinct=_registers(node.of("distinct")),
        spread=_share(node.of("spread")),
        null_spread=_share(node.of("null_spread")),
        new_spread=_share(node.of("new_spread")),
    )
    if sum(counts) + column.rest != column.count:
        node.of("counts").refuse("and the rest do not add up to the rows")
    if len(column.cells) != len(column.bins) or column.cells[0] != column.nulls:
        node.of("cells").refuse("must be a count for each bin, of what is missing first")
    return column


def _text(node: Node) -> TextColumn:
    tokens, counts = _listed(node, "tokens")
    length = _numeric(node.of("length").only(*_names(NumericColumn)))
    marks = {name: told.integer() for name, told in node.of("marks").items()}
    if set(marks) != set(MARKS) or max(marks.values()) > length.count:
        node.of("marks").refuse("must be the rows of each mark, at most all")
    if max(counts, default=0) > length.count:
        node.of("counts").refuse("has more rows than there are texts")
    return TextColumn(
        name=_same_name(node, length),
        type=node.of("type").text(),
        length=length,
        tokens=tokens,
        counts=counts,
        bound=node.of("bound").integer(),
        error=node.of("error").integer(),
        marks=marks,
        rho=_share(node.of("rho")),
        spread=_share(node.of("spread")),
    )


def _vector(node: Node) -> VectorColumn:
    norm = _numeric(node.of("norm").only(*_names(NumericColumn)))
    mean, variance = (_numbers(node.of(name), MAX_WIDTH) for name in ("mean", "variance"))
    if len(mean) != len(variance) or any(value < 0 for value in variance):
        node.of("variance").refuse("must be at least 0 for each dimension of the mean")
    odd, spread = node.of("odd").integer(), _number(node.of("spread"))
    if odd > norm.nulls or spread < 0:
        node.refuse("has more odd rows than rows without a norm, or a negative spread")
    return VectorColumn(
        name=_same_name(node, norm),
        type=node.of("type").text(),
        norm=norm,
        odd=odd,
        mean=mean,
        variance=variance,
        spread=spread,
        views=_views(node.of("views"), norm),
    )


def _views(node: Node, norm: NumericColumn) -> tuple[View, ...]:
    found = tuple(_view(item, norm) for item in node.each())
    if [view.name for view in found] != [view_name(norm.name, n + 1) for n in range(VIEWS)]:
        node.refuse(f"must be the {VIEWS} views of the column, in order")
    return found


def _view(node: Node, norm: NumericColumn) -> View:
    view = View(
        name=node.only(*_names(View)).of("name").text(),
        edges=_ascending(node.of("edges"), EIGHT + 1),
        cells=_integers(node.of("cells"), EIGHT + 3),
        spread=_share(node.of("spread")),
    )
    own, missing, rows = view.cells, norm.missing, norm.rows
    if len(own) != len(view.bins) or own[0] != missing or sum(own) != rows:
        node.of("cells").refuse("must be a count for each bin, of what is missing first")
    return view


def _same_name(node: Node, inner: NumericColumn) -> str:
    name = node.of("name").text()
    return name if inner.name == name else node.of("name").refuse("is not the inner one's")


def _pairs(node: Node, columns: Mapping[str, Column]) -> tuple[Pair, ...]:
    found: dict[frozenset[str], Pair] = {}
    cells: dict[tuple[str, int], list[int]] = {
        (name, join): _joined_cells(column, join)
        for name, column in columns.items()
        for join in JOINS
    }
    for item in node.each():
        pair = _pair(item, cells)
        if frozenset((pair.first, pair.second)) in found:
            item.refuse("is counted twice")
        found[frozenset((pair.first, pair.second))] = pair
    return tuple(found.values())


def _pair(node: Node, cells: Mapping[tuple[str, int], list[int]]) -> Pair:
    """A pair of columns; `cells` are the rows that each column has, by how bins are joined."""
    node.only(*_names(Pair))
    first, second = node.of("first").text(), node.of("second").text()
    if first == second or not {(first, JOINS[0]), (second, JOINS[0])} <= cells.keys():
        node.refuse("must name two columns that are described")
    join = node.of("join").integer()
    if join not in JOINS:
        node.of("join").refuse(f"must be one of {JOINS}")
    counts = tuple(_integers(row, BINS + 3) for row in node.of("counts").each())
    down, across = cells[first, join], cells[second, join]
    if len(counts) != len(down) or any(len(row) != len(across) for row in counts):
        node.of("counts").refuse(f"must be {len(down)} rows of {len(across)}")
    sums = [sum(row) for row in counts], [sum(row) for row in zip(*counts, strict=True)]
    if sums != (down, across):
        node.of("counts").refuse("do not add up to the cells of the columns")
    return Pair(first=first, second=second, join=join, counts=counts, rho=_share(node.of("rho")))


def _joined_cells(column: Column, join: int) -> list[int]:
    """The rows in each cell that a column has in a pair."""
    words = isinstance(column, CategoryColumn)
    places = coarse(len(column.bins), join, words=words).tolist()
    found = [0] * (places[-1] + 1)
    for place, rows in zip(places, column.cells, strict=True):
        found[place] += rows
    return found


def _triples(node: Node, columns: Mapping[str, Column]) -> tuple[Triple, ...]:
    known = countable(tuple(columns.values()))
    found = [_triple(item, known) for item in node.each()]
    alone = sum(set(triple.columns) <= columns.keys() for triple in found)
    if len({triple.columns for triple in found}) < len(found) or alone > MOST:
        node.refuse(f"must be different ones, and at most {MOST} of columns")
    if len(found) - alone > MOST_OF_VIEWS:
        node.refuse(f"must be at most {MOST_OF_VIEWS} of views")
    return tuple(found)


def _triple(node: Node, columns: Mapping[str, Column | View]) -> Triple:
    node.only(*_names(Triple))
    names = [name.text() for name in node.of("columns").each()]
    if len(set(names)) != 3 or not set(names) <= columns.keys():
        node.of("columns").refuse("must name three columns or views that are described")
    sides = [_few_cells(columns[name]) for name in names]
    cells = prod(len(side) for side in sides)
    counts = _integers(node.of("counts"), cells)
    if len(counts) != cells:
        node.of("counts").refuse(f"must be {cells}")
    table = np.array(counts).reshape([len(side) for side in sides])
    found = [table.sum(axis=others).tolist() for others in ((1, 2), (0, 2), (0, 1))]
    if found != sides:
        node.of("counts").refuse("do not add up to the cells of the columns")
    rho = _share(node.of("rho"))
    return Triple(columns=(names[0], names[1], names[2]), counts=counts, rho=rho)


def _few_cells(column: Column | View) -> list[int]:
    """The rows in each cell that a column has in a triple."""
    found = np.bincount(few(shape_of(column)), weights=column.cells)
    return [int(rows) for rows in found]


def _groups(node: Node, columns: Mapping[str, Column]) -> Groups:
    node.only(*_names(Groups))
    column, by = node.of("column").text(), node.of("by").text()
    if column not in columns or not isinstance(columns.get(by), CategoryColumn):
        node.refuse("names a column that is not described, or groups of none of categories")
    moved = tuple(_share(item) for item in node.of("moved").each())
    if len(moved) != len(columns[by].bins):
        node.of("moved").refuse(f"must have {len(columns[by].bins)} numbers")
    return Groups(column=column, by=by, rho=_share(node.of("rho")), moved=moved)


def _listed(node: Node, key: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Words and their counts, the commonest first."""
    values, counts = _words(node.of(key), KEPT), _integers(node.of("counts"), KEPT, least=1)
    if len(values) != len(counts) or list(counts) != sorted(counts, reverse=True):
        node.of("counts").refuse("must be one for each, and must not ascend")
    return values, counts


def _words(node: Node, most: int) -> tuple[str, ...]:
    items = _items(node, most)
    found = tuple(items) if all(type(item) is str for item in items) else None
    found = found or tuple(item.text() for item in node.each())
    return found if len(set(found)) == len(found) else node.refuse("names one twice")


def _registers(node: Node) -> str:
    try:
        unlettered(node.text())
    except ValueError as error:
        node.refuse(f"are no registers: {error}")
    return node.text()


def _ascending(node: Node, most: int) -> tuple[float, ...]:
    found = _numbers(node, most)
    ascends = all(low < high for low, high in pairwise(found))
    return found if ascends else node.refuse("must ascend")


def _numbers(node: Node, most: int) -> tuple[float, ...]:
    items = _items(node, most)
    # One look at each of a hundred thousand numbers; which of them is wrong, the slow way tells.
    if {int, float}.issuperset(map(type, items)):
        return tuple(items)
    return tuple(_number(item) for item in node.each())


def _integers(node: Node, most: int, least: int = 0) -> tuple[int, ...]:
    items = _items(node, most)
    if {int}.issuperset(map(type, items)) and min(items, default=least) >= least:
        return tuple(items)
    return tuple(item.integer(least) for item in node.each())


def _items(node: Node, most: int) -> Sequence[Any]:
    node.each()  # refuses what is no list
    items: list[Any] = node.value
    return items if len(items) <= most else node.refuse(f"has more than {most}")


def _number(node: Node) -> float:
    """An integer or a fraction; strict JSON has made sure that it is finite."""
    found: float = node.value if type(node.value) in (int, float) else node.refuse("not a number")
    return found


def _share(node: Node) -> float:
    found = _number(node)
    return found if 0 <= found <= 1 else node.refuse("must lie between 0 and 1")
