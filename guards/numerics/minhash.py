"""Where sets lie by their smallest hashed members, so that sets that are nearly alike lie together.

MinHash (Broder, "On the resemblance and containment of documents", 1997): the chance that two sets
have the same smallest member under a random order of all that there is, is their Jaccard index,
|A and B| / |A or B|. The orders are those of mixed 64-bit hashes and follow from their number
alone, so they are the same on every machine. They are public as well: whoever knows them can choose
members that spread sets along all of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from guards.numerics.copies import mix

Singles = npt.NDArray[np.float32]
_BITS = 24  # as many as a single holds


def smallest(members: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64], many: int) -> Singles:
    """The smallest member of every set under `many` orders, (sets, many), each in [0, 1).

    Args:
        members: hashes of the members of all sets, one set after the other, (members,).
        starts: where each set begins, (sets,); none of them is empty.
        many: how many orders.
    """
    found = np.empty((len(starts), many), np.float32)
    for order in range(many):
        if len(starts):
            least = np.minimum.reduceat(mix(members, order + 1), starts)
            found[:, order] = (least >> np.uint64(64 - _BITS)).astype(np.float64) / 2**_BITS
    return found
