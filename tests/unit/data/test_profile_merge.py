"""Profiles of parts, merged, against the profile of the whole."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, merge_profiles, observe, parse_profile, to_bytes
from guards.data.profiles.measures import unlettered
from guards.data.profiles.views import EACH
from guards.errors import UsageError
from guards.numerics.sketches import ranks

KINDS = ("numeric", "categories", "texts", "vectors")


def frame(seed: int, rows: int = 3000, shift: float = 0.0) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    words = generator.choice(["a", "b", "c", "d"], rows, p=[0.4, 0.3, 0.2, 0.1])
    return pl.DataFrame(
        {
            "label": generator.choice(["yes", "no"], rows),
            "x": generator.normal(shift, 1, rows),
            "n": generator.integers(0, 9, rows),
            "w": words,
            "rare": [f"r{i}" for i in np.minimum(generator.geometric(0.02, rows), 300)],
            "text": generator.choice(["one two", "two three", "three four five"], rows),
            "v": generator.normal(shift, 1, (rows, 3)).tolist(),
        }
    )


def opened(root, *frames):
    for number, one in enumerate(frames):
        one.write_parquet(root / f"{number}.parquet")
    return open_dataset(root, [f"{number}.parquet" for number in range(len(frames))])


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Three frames, their profiles like the first, and their profiles as they come."""
    frames = [frame(seed, shift=seed / 10) for seed in range(3)]
    sets = [opened(tmp_path_factory.mktemp("part"), one) for one in frames]
    first = build_profile(sets[0])
    return (
        frames,
        [first, *(build_profile(one, like=first) for one in sets[1:])],
        [build_profile(one) for one in sets],
    )


@pytest.fixture(scope="module")
def whole(parts, tmp_path_factory):
    frames, (first, *_), _ = parts
    dataset = opened(tmp_path_factory.mktemp("whole"), *frames)
    return dataset, build_profile(dataset, like=first)


def test_parts_that_are_alike_merge_to_the_whole(parts, whole):
    _, alike, _ = parts
    merged, exact = merge_profiles(alike), whole[1]
    assert merged.told == ""
    assert merged.profile.rows == exact.rows == 9000
    assert parse_profile(to_bytes(merged.profile)) == merged.profile
    for name, column in exact.by_name.items():
        found = merged.profile.by_name[name]
        assert found.bins == column.bins
        assert found.cells == column.cells
        assert found.count == column.count
    for mine, theirs in zip(merged.profile.pairs, exact.pairs, strict=True):
        assert mine.counts == theirs.counts
    for mine, theirs in zip(merged.profile.triples, exact.triples, strict=True):
        assert (mine.columns, mine.counts) == (theirs.columns, theirs.counts)
    assert len(exact.triples) == 20 + 2 * EACH, "of the six columns that are no label, and of views"
    label = merged.profile.by_name["label"]
    assert dict(zip(label.values, label.counts, strict=True)) == dict(
        zip(exact.by_name["label"].values, exact.by_name["label"].counts, strict=True)
    )
    for name in ("x", "n", "label", "rare"):
        assert merged.profile.by_name[name].distinct == exact.by_name[name].distinct
    assert merged.profile.by_name["text"].counts == exact.by_name["text"].counts
    assert merged.profile.by_name["text"].marks == exact.by_name["text"].marks
    vector = merged.profile.by_name["v"]
    assert [v.cells for v in vector.views] == [v.cells for v in exact.by_name["v"].views]
    assert vector.mean == pytest.approx(exact.by_name["v"].mean, abs=1e-5)
    assert vector.variance == pytest.approx(exact.by_name["v"].variance, rel=1e-4)


@pytest.mark.parametrize("which", [1, 2])
def test_no_rank_is_off_by_more_than_the_error(parts, which):
    frames, values = parts[0], np.sort(pl.concat(parts[0])["x"].to_numpy())
    column = merge_profiles(parts[which]).profile.by_name["x"]
    where = np.concatenate([values, column.points])
    exact = np.searchsorted(values, where, side="right")
    assert np.abs(ranks(column.steps, where) - exact).max() <= column.error
    # Half a group of each part's points and half a group of the merged ones, with the slack.
    assert column.off < 0.625 / 219 + 0.625 / 1024 + 0.001
    assert len(frames) == 3


def test_the_order_of_the_parts_is_of_no_account(parts):
    for profiles in parts[1:]:
        made = {to_bytes(merge_profiles(some).profile) for some in permutations(profiles)}
        assert len(made) == 1


def test_what_is_exact_is_associative(parts):
    for profiles in parts[1:]:
        a, b, c = profiles
        left = merge_profiles([merge_profiles([a, b]).profile, c]).profile
        right = merge_profiles([a, merge_profiles([b, c]).profile]).profile
        flat = merge_profiles([a, b, c]).profile
        for found in (left, right):
            assert sorted(found.blocks) == sorted(flat.blocks)
            for name, column in flat.by_name.items():
                assert found.by_name[name].bins == column.bins
                assert found.by_name[name].cells == column.cells
                assert found.by_name[name].count == column.count
            for mine, theirs in zip(found.pairs, flat.pairs, strict=True):
                turned = mine.first != theirs.first
                counts = np.array(mine.counts).T if turned else np.array(mine.counts)
                assert counts.tolist() == np.array(theirs.counts).tolist()
            x, exact = found.by_name["x"], flat.by_name["x"]
            gap = np.abs(ranks(x.steps, exact.points) - ranks(exact.steps, exact.points)).max()
            assert gap <= x.error + exact.error


def test_cells_are_coarsened_to_the_edges_that_all_have(parts):
    frames, _, own = parts
    merged = merge_profiles(own)
    x = merged.profile.by_name["x"]
    common = set.intersection(*(set(p.by_name["x"].edges) for p in own))
    assert set(x.edges) == common
    every = set.union(*(set(p.by_name["x"].edges) for p in own))
    assert merged.edges["x"] == len(every - common) > 0
    assert "edges that not all parts have" in merged.told
    # What was joined to coarse cells of unlike edges cannot be added up.
    left = {name for triple in merged.profile.triples for name in triple.columns}
    assert "x" not in left
    assert merged.triples == 20 + 2 * EACH - len(merged.profile.triples)
    assert f"{merged.triples} triples that are not counted alike" in merged.told
    values = pl.concat(frames)["x"].to_numpy()
    bounds = [-np.inf, *x.edges, np.inf]
    counted = [((lo <= values) & (values < hi)).sum() for lo, hi in pairwise(bounds)]
    assert list(x.cells[1:]) == counted


def test_views_of_unlike_edges_are_coarsened_and_their_triples_left_out(parts):
    _, alike, own = parts
    merged = merge_profiles(own).profile
    for place, view in enumerate(merged.by_name["v"].views):
        views = [part.by_name["v"].views[place] for part in own]
        assert set(view.edges) == set.intersection(*(set(one.edges) for one in views))
        assert sum(view.cells) == 9000
        assert view.spread >= max(one.spread for one in views)
        kept = any(view.name in triple.columns for triple in merged.triples)
        assert not kept or len({one.edges for one in views}) == 1
    assert parse_profile(to_bytes(merged)) == merged
    kept = merge_profiles(alike).profile.triples
    assert sum(triple.columns[0].startswith("v view") for triple in kept) == EACH


def test_a_count_is_too_small_by_at_most_the_error(parts):
    frames, _, own = parts
    column = merge_profiles(own).profile.by_name["rare"]
    exact = dict(pl.concat(frames)["rare"].value_counts().iter_rows())
    assert column.error > 0
    for value, count in zip(column.values, column.counts, strict=True):
        assert count <= exact[value] <= count + column.error
    assert max((c for v, c in exact.items() if v not in column.values), default=0) <= column.bound
    assert column.rest + sum(column.counts) == 9000


def test_what_moves_between_the_parts_is_in_the_spread(parts):
    frames, alike, _ = parts
    merged = merge_profiles(alike).profile
    from scipy.stats import ks_2samp

    held = [one["x"].to_numpy() for one in frames]
    apart = max(
        ks_2samp(held[i], np.concatenate(held[:i] + held[i + 1 :])).statistic for i in range(3)
    )
    within = max(part.by_name["x"].spread for part in alike)
    assert merged.by_name["x"].spread == pytest.approx(max(apart, within), abs=0.01)
    assert merged.by_name["v"].spread >= max(part.by_name["v"].spread for part in alike)
    for groups in merged.groups:
        before = [
            g
            for part in alike
            for g in part.groups
            if (g.by, g.column) == (groups.by, groups.column)
        ]
        assert groups.rho >= max(g.rho for g in before)
        assert all(
            m >= max(one)
            for m, one in zip(
                groups.moved, zip(*(g.moved for g in before), strict=True), strict=True
            )
        )


def test_a_batch_is_held_against_a_merged_profile(parts, whole):
    merged = merge_profiles(parts[1]).profile
    seen = observe(whole[0], merged)
    assert [t.tolist() for t in seen.tables] == [[list(r) for r in p.counts] for p in merged.pairs]


def test_columns_that_not_all_have_are_left_out(tmp_path, parts):
    other = parts[0][1].drop("n").with_columns(x=pl.col("x").cast(pl.String))
    merged = merge_profiles([parts[2][0], build_profile(opened(tmp_path, other))])
    assert merged.columns == ("n", "x")
    assert not {"n", "x"} & set(merged.profile.by_name)
    assert merged.pairs > 0
    assert parse_profile(to_bytes(merged.profile)) == merged.profile
    assert "2 columns that not all parts have" in merged.told


def test_nothing_to_merge_is_told(tmp_path, parts):
    with pytest.raises(UsageError, match="no profile"):
        merge_profiles([])
    alien = build_profile(opened(tmp_path, pl.DataFrame({"other": range(50)})))
    with pytest.raises(UsageError, match="no column of one name and kind"):
        merge_profiles([parts[2][0], alien])


def test_one_profile_merges_to_itself_but_for_thinner_steps(parts):
    one = parts[2][0]
    merged = merge_profiles([one])
    assert merged.told == ""
    assert merged.profile == one


def test_registers_join(parts):
    for name in ("x", "w"):
        held = [unlettered(part.by_name[name].distinct) for part in parts[1]]
        found = unlettered(merge_profiles(parts[1]).profile.by_name[name].distinct)
        assert found.tolist() == np.maximum.reduce(held).tolist()
