"""Fixed directions in a space of any dimension, and where vectors lie along them.

A direction has the entries +-1 / sqrt(d) (Achlioptas, "Database-friendly random projections",
2003), so any two are nearly at right angles: their cosine has mean 0 and standard deviation
1 / sqrt(d). The signs are drawn by SHAKE-128 from the direction's number and d, so they are the
same on every machine and need not be kept. They are public as well: whoever knows them can spread
vectors along all of them.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import shake_128

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


@lru_cache(maxsize=8)
def signs(width: int, many: int) -> Floats:
    """The signs of the first `many` directions, (width, many), each +1 or -1."""
    drawn = [
        np.unpackbits(
            np.frombuffer(shake_128(f"{number} {width}".encode()).digest(-(-width // 8)), np.uint8)
        )[:width]
        for number in range(1, many + 1)
    ]
    found: Floats = 2.0 * np.array(drawn, np.float64).reshape(many, width).T - 1
    found.flags.writeable = False
    return found


def projected(vectors: npt.ArrayLike, many: int) -> Singles:
    """Where vectors (n, d) lie along the first `many` directions, (n, many).

    To 24 bits of the vector's own norm: the last bits of a sum depend on where a vector stands
    among the others, and what is nothing but for them has to be nothing.
    """
    rows = np.asarray(vectors, np.float64)
    found = rows @ signs(rows.shape[1], many) / np.sqrt(max(rows.shape[1], 1))
    _, exponent = np.frexp(np.sqrt(np.square(rows).sum(axis=1)))
    grain = np.ldexp(1.0, exponent - 24)[:, None]
    with np.errstate(over="ignore", under="ignore"):
        rounded: Singles = (np.rint(found / grain) * grain).astype(np.float32)
    return rounded
