"""A stored reference: what a dataset looked like, small enough to sign and without its rows.

    profile = build_profile(dataset)                      # one pass, few rows in memory at a time
    profile = build_profile(dataset, like=other)          # cells cut as there, so that both merge
    write_profile(profile, path); read_profile(path)      # canonical JSON; profile.digest names it
    merged = merge_profiles([one, two])                   # of shards, partitions, earlier versions
    seen = observe(batch, profile)                        # a batch in the profile's cells, one pass
    both = survey(batch, like=profile, against=[profile]) # its own profile and the above, one pass

A profile has columns of four kinds (`NumericColumn`, `CategoryColumn`, `TextColumn`,
`VectorColumn`), counts of pairs of columns (`Pair`), and beside each how far the blocks of the data
lie from one another, since without that no later batch can be called unusual. Blocks are runs of
consecutive rows, four of them or eight. What is a count is exact and adds up; what is an estimate
carries its error: subtract `column.off` from every D, and add `column.error` to every listed count
that is to be held against zero.

How to compare, column by column, with `stored = seen.columns[name].column`:

- numbers: :func:`guards.numerics.twosample.ks_against_steps` on `stored.weights` and the batch's
  `below` and `upto`; it is off by at most `stored.off`. Cells: `stored.cells` beside `cells`.
- categories: `stored.counts` beside `listed`, `stored.rest` beside `unlisted`.
- tokens: `stored.counts` of `stored.count` texts beside `listed` of `count`; `marks` likewise.
- pairs: `profile.pairs[i].counts` beside `seen.tables[i]`, with `rho` for their dispersion; with
  the groups of a categorical column `profile.table(by, column)` beside `seen.table(by, column)`.

Which rows it was says :func:`encoded`, a chunk at a time. Nothing here decides what drift is.
"""

from __future__ import annotations

from guards.data.profiles.build import Survey, build_profile, observe, survey
from guards.data.profiles.file import (
    SCHEMA,
    parse_profile,
    read_profile,
    to_bytes,
    write_profile,
)
from guards.data.profiles.merge import Merged, merge_profiles
from guards.data.profiles.nouns import (
    CategoryColumn,
    Column,
    Groups,
    NumericColumn,
    Pair,
    Profile,
    TextColumn,
    VectorColumn,
    View,
    coarse,
    coarse_bins,
)
from guards.data.profiles.observe import Encoded, Observed, Seen, encode, encoded, numeric_part
from guards.data.profiles.values import kinds, values_of

__all__ = [
    "SCHEMA",
    "CategoryColumn",
    "Column",
    "Encoded",
    "Groups",
    "Merged",
    "NumericColumn",
    "Observed",
    "Pair",
    "Profile",
    "Seen",
    "Survey",
    "TextColumn",
    "VectorColumn",
    "View",
    "build_profile",
    "coarse",
    "coarse_bins",
    "encode",
    "encoded",
    "kinds",
    "merge_profiles",
    "numeric_part",
    "observe",
    "parse_profile",
    "read_profile",
    "survey",
    "to_bytes",
    "values_of",
    "write_profile",
]
