"""A contract held against data: compiled where it can be, by GX where it cannot or shall not be."""

from __future__ import annotations

from guards.data.contract import compiled, peer
from guards.data.contract.columns import Delegated
from guards.data.contract.compiled import Source
from guards.data.contract.result import Result
from guards.data.contract.suite import Suite
from guards.data.dataset import Dataset

ENGINES = ("polars", "gx")


def source_of(dataset: Dataset) -> Source:
    """All rows of a dataset, as a contract's runners read them."""
    frame = dataset.lazy()
    return Source(frame=frame, schema=dict(frame.collect_schema()), rows=dataset.rows)


def validate(
    suite: Suite, source: Source, *, engine: str = "polars", most: int, contents: bool = False
) -> tuple[Result, ...]:
    """Say of every expectation whether the data keeps it, in the order of the suite.

    Args:
        suite: the contract.
        source: the data.
        engine: `polars` compiles what it can; `gx` asks Great Expectations for everything.
        most: rows listed for an expectation, the first that break it.
        contents: whether texts of the data may be in the results.

    Raises:
        Malformed: an expectation cannot be run at all; says which.
    """
    asked = suite.expectations
    done: dict[int, Result] = {}
    if engine == "polars":
        told = compiled.run(asked, source, most)
        done = {place: one for place, one in told.items() if not isinstance(one, Delegated)}
    left = [one for one in asked if one.place not in done]
    done |= peer.run(left, source, most, contents=contents)
    return tuple(done[one.place] for one in asked)
