"""GX is the oracle: both runners are asked everything, and must say the same.

Where GX itself raises, or is wrong, `contract_matrix.py` says so; each such line must be met, so
that none outlives its reason. `TOADSTONE_MATRIX=whole` asks all of some 6,700 questions, which
takes GX minutes; without it some of each type.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest
from contract_matrix import DIFFERENCES, FRAMES, ONLY_HERE, answered, chosen, source_of, suite_of

from guards.data.contract import peer
from guards.data.contract.result import Result
from guards.data.contract.shapes import SHAPES

WHOLE = os.environ.get("TOADSTONE_MATRIX") == "whole"
LEFT: dict[str, tuple[int, int]] = {}  # questions left to GX, of how many
CHUNK = 40  # GX takes quadratically long for a long suite
# In no frame of pandas can GX be asked for these.
WITHOUT_ORACLE = {
    "column_values_to_match_like_pattern",
    "column_values_to_not_match_like_pattern",
}

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """One question, and what each runner said to it."""

    kind: str
    kwargs: dict[str, Any]
    theirs: Result
    ours: Result

    @property
    def alike(self) -> bool:
        """Whether they agree; of an expectation that neither can evaluate, on that it is broken."""
        ours, theirs = self.ours, self.theirs
        if ours.error or theirs.error:
            return ours.success == theirs.success and bool(ours.error) >= bool(theirs.error)
        counts = ("element_count", "unexpected_count", "missing_count")
        same = [ours.result.get(name) == theirs.result.get(name) for name in counts]
        return ours.success == theirs.success and ours.rows == theirs.rows and all(same)


@lru_cache
def both(name: str) -> tuple[Both, ...]:
    """Everything asked of one frame that is answered here; GX in small suites."""
    source, asked = source_of(FRAMES[name]), chosen(name, whole=WHOLE)
    ours = answered(source, asked)
    kept = [(one, said) for one, said in zip(asked, ours, strict=True) if isinstance(said, Result)]
    LEFT[name] = (len(asked) - len(kept), len(asked))
    theirs: list[Result] = []
    for start in range(0, len(kept), CHUNK):
        part = suite_of(*(one for one, _ in kept[start : start + CHUNK])).expectations
        said = peer.run(part, source, 1000, contents=True)
        theirs += [said[place] for place in range(len(part))]
    return tuple(
        Both(kind=kind, kwargs=kwargs, theirs=other, ours=one)
        for ((kind, kwargs), one), other in zip(kept, theirs, strict=True)
    )


def why_unlike(one: Both, name: str) -> str | None:
    """The known reason for which the runners differ, if there is one."""
    if one.theirs.error:
        return next((text for text in ONLY_HERE if text in one.theirs.error), None)
    frame = FRAMES[name]
    known = (key for key, told in DIFFERENCES.items() if told.holds(one.kind, one.kwargs, frame))
    return next(known, None)


KINDS = sorted(kind.removeprefix("expect_") for kind in SHAPES)


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in WITHOUT_ORACLE])
def test_both_runners_say_the_same(kind, name):
    asked = [one for one in both(name) if one.kind == kind]
    unlike = [one for one in asked if not one.alike and why_unlike(one, name) is None]
    assert unlike == []


def test_most_questions_are_answered_here():
    """Of all that is asked at most a quarter is left to GX, and no type altogether."""
    answered_here = {one.kind for name in FRAMES for one in both(name)}
    left, asked = map(sum, zip(*LEFT.values(), strict=True))
    assert left < asked / 4
    assert answered_here == {kind for kind in KINDS if kind not in WITHOUT_ORACLE}


def test_every_known_difference_is_met():
    met = {
        why_unlike(one, name)
        for name in FRAMES
        for one in both(name)
        if not one.alike or (one.theirs.error and one.ours.success)
    }
    assert met >= {*DIFFERENCES, *ONLY_HERE}


def test_observed_numbers_are_those_of_gx():
    compared = 0
    for name in FRAMES:
        for one in both(name):
            if why_unlike(one, name):
                continue
            ours, theirs = (r.result.get("observed_value") for r in (one.ours, one.theirs))
            if isinstance(ours, float | int) and isinstance(theirs, float | int):
                assert float(ours) == pytest.approx(float(theirs), rel=1e-6), one
                compared += 1
    assert compared > 50
