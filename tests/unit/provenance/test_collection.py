"""Collections: the union, its name, and what the ledger says of its members."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.digest import Digest, tree_root
from guards.provenance.collection import (
    Collection,
    Member,
    fallen,
    next_version,
    standing,
)
from guards.provenance.lines import Entry as Line
from guards.provenance.manifest import Name
from guards.provenance.snapshot import Entry, Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRAINING = Name("acme/flights-training")


def digest(text):
    return Digest.of(text.encode())


def snapshot(*paths, tag=""):
    entries = tuple(Entry(path=path, size=len(path), digest=digest(tag + path)) for path in paths)
    return Snapshot(files=entries)


def member(key, *paths, tag=""):
    return Member(name=Name("acme/flights", key), version=1, snapshot=snapshot(*paths, tag=tag))


def line(key, root, decision="PASS", version=1, dataset="acme/flights"):
    return Line(
        record=digest(f"{key}{root}{decision}{version}"),
        name=Name(dataset, key),
        version=version,
        root=digest(root),
        decision=decision,
        policy=digest("policy"),
        time=NOW,
    )


def kept(entries):
    return [(entry.name.partition, entry.root) for entry in standing(entries, "acme/flights")]


def test_the_union_lays_files_under_their_partition():
    union = Collection(members=(member("b", "x"), member("a", "x", "y/z"))).union
    assert [entry.path for entry in union.files] == ["a/x", "a/y/z", "b/x"]
    assert union.files[2].digest == digest("x")


def test_the_root_is_the_tree_over_partitions_and_roots():
    members = (member("a", "x"), member("b", "y"))
    leaves = [(f"{m.name.partition}/", m.snapshot.size, m.snapshot.root) for m in members]
    collection = Collection(members=members)
    assert collection.root == tree_root(leaves)
    assert collection.parents == tuple(m.snapshot.root for m in members)


def test_the_order_of_the_members_does_not_matter():
    members = (member("a", "x"), member("b", "y"))
    assert Collection(members=members).root == Collection(members=members[::-1]).root


def test_no_snapshot_shares_a_collections_root():
    one = member("a", "x")
    posing = Snapshot(files=(Entry(path="a", size=one.snapshot.size, digest=one.snapshot.root),))
    collection = Collection(members=(one,))
    assert collection.root not in (posing.root, one.snapshot.root, collection.union.root)


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=5, unique=True))
def test_any_member_that_changes_changes_the_root_and_the_union(keys):
    before = Collection(members=tuple(member(key, "x") for key in keys))
    changed = (member(keys[0], "x", tag="changed"), *before.members[1:])
    after = Collection(members=changed)
    assert before.root != after.root
    assert before.union.root != after.union.root


def test_the_last_pass_of_each_partition_stands_in_order_of_names():
    log = [line("b", "1"), line("a", "1"), line("a", "2", version=2)]
    assert kept(log) == [("a", digest("2")), ("b", digest("1"))]


@pytest.mark.parametrize("decision", ["BLOCK", "QUARANTINE"])
def test_a_pass_falls_with_its_own_bytes_only(decision):
    assert kept([line("a", "1"), line("a", "1", decision)]) == []
    assert kept([line("a", "1"), line("a", "other", decision)]) == [("a", digest("1"))]


def test_a_pass_after_a_refusal_stands_again():
    assert kept([line("a", "1"), line("a", "1", "BLOCK"), line("a", "1")]) == [("a", digest("1"))]


def test_other_datasets_and_the_whole_are_no_members():
    log = [line("a", "1", dataset="acme/trains"), line("", "1"), line("a", "1", "BLOCK")]
    assert kept(log) == []


def test_parents_that_fell_or_were_never_judged_are_told():
    log = [line("a", "1"), line("b", "2"), line("b", "2", "BLOCK")]
    told = list(fallen(log, [digest("1"), digest("2"), digest("3")]))
    assert told == [
        "parent acme/flights/b was judged BLOCK since",
        f"parent {digest('3').short} was never judged",
    ]
    assert list(fallen(log, [digest("1")])) == []


def test_versions_rise_only_with_other_bytes():
    def versioned(root, version):
        return line("", root, version=version, dataset=TRAINING.dataset)

    assert next_version([], TRAINING, digest("1")) == 1
    log = [versioned("1", 1), versioned("2", 2), line("a", "9", version=7)]
    assert next_version(log, TRAINING, digest("2")) == 2
    assert next_version(log, TRAINING, digest("1")) == 3
