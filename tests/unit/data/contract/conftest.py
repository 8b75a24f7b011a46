"""What the tests of contracts share: one question asked of one frame."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from guards.data.contract.result import Result

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
def ask() -> Callable[..., Result]:
    """Ask one question of a frame; the compiled runner must be able to answer it."""
    from contract_matrix import answered, source_of

    def one(frame: pl.DataFrame, kind: str, **kwargs: Any) -> Result:
        (result,) = answered(source_of(frame), [(kind, kwargs)])
        assert isinstance(result, Result), result
        return result

    return one
