"""The list beside a manifest: it says what was signed, read as a stream, or it is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from guards.digest import (
    CHUNK,
    Digest,
    Hasher,
    canonical_json,
    merkle_root,
    ordered_root,
    tree_root,
)
from guards.errors import Malformed
from guards.provenance import listing as module
from guards.provenance.entries import described, parse_entry, usual_entries
from guards.provenance.listing import (
    Listing,
    copy_listing,
    listing_path,
    parse_listing,
    read_claim,
    read_listing,
    write_listing,
)
from guards.provenance.snapshot import Entry
from guards.provenance.strictjson import Node


def entries(count: int, first: int = 0) -> list[Entry]:
    return [
        Entry(path=f"d/{number:07d}.bin", size=number, digest=Digest.of(b"%d" % number))
        for number in range(first, first + count)
    ]


def signed(path: Path, data: bytes, count: int) -> Listing:
    """A list that somebody trusted signed, whatever is in it."""
    path.write_bytes(data)
    hasher = Hasher()
    hasher.update(data)
    return Listing(entries=count, size=len(data), digest=hasher.digest(), chunks=hasher.leaves)


def line(path: str, **more: object) -> bytes:
    return json.dumps({"path": path, "size": 1, "sha256": "0" * 64, **more}).encode()


def test_a_list_reads_what_it_writes(tmp_path):
    files = [
        *entries(10),
        Entry(path="e.csv", size=3, digest=Digest.of(b"x"), rows=2, content=Digest.of(b"rows")),
        Entry(path="f/é 1.csv", size=3, digest=Digest.of(b"x"), rows=0),
    ]
    listing = write_listing(files, tmp_path / "list")
    assert listing.entries == 12
    assert parse_listing(Node(listing.describe())) == listing
    read = list(read_listing(listing, tmp_path / "list"))
    assert read == files
    assert [(e.rows, e.content) for e in read] == [(e.rows, e.content) for e in files]


def test_lines_are_whole_over_the_ends_of_chunks(tmp_path):
    """A list of several chunks, each proved by itself, whose lines do not end with them."""
    files = entries(90_000)
    listing = write_listing(files, tmp_path / "list")
    assert len(listing.chunks) == 2
    assert list(read_listing(listing, tmp_path / "list")) == files


def test_nothing_is_parsed_before_its_chunk_is_proved(tmp_path, monkeypatch):
    listing = write_listing(entries(90_000), tmp_path / "list")
    with (tmp_path / "list").open("r+b") as file:
        file.seek(CHUNK + 10)
        file.write(b"!")
    parsed: list[bytes] = []
    real = module.usual_entries  # the first look at any line
    monkeypatch.setattr(module, "usual_entries", lambda ls: parsed.extend(ls) or real(ls))
    with pytest.raises(Malformed, match="not the list that was signed"):
        list(read_listing(listing, tmp_path / "list"))
    assert parsed
    assert all(b"!" not in data for data in parsed)
    with (tmp_path / "list").open("r+b") as file:
        file.write(b"!")
    parsed.clear()
    with pytest.raises(Malformed, match="not the list that was signed"):
        list(read_listing(listing, tmp_path / "list"))
    assert not parsed


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([line("b"), line("a")], "not in byte order"),
        ([line("a"), line("a")], "not in byte order"),
        ([line("a"), b""], "a line is no object"),
        ([line("a") + b"," + line("b")], "not one file a line"),
        ([b'{"path":"a"', b'"size":1}'], "a line is no object"),
        (
            [b'{"chunks":[{}', b'{}],"path":"a","sha256":"' + b"0" * 64 + b'","size":1}'],
            "not one file a line",
        ),
        ([line("a"), b"[1]"], "a line is no object"),
        ([line("../a")], "line 1.path: not a plain relative path"),
        ([line("a\\u202e")], "not a plain"),
        ([line("/a")], "not a plain"),
        ([line("a"), line("b", size=-1)], "line 2.size: must be at least 0"),
        ([line("a", size=2**60)], "2\\^53"),
        ([line("a", size=1.5)], "must be an integer"),
        ([line("a", more=1)], "unknown key"),
        ([line("a", sha256="0" * 63)], "not a sha256"),
        ([line("a", sha256="A" * 64)], "not a sha256"),
        ([line("a", rows=-1)], "rows: must be at least 0"),
        ([line("a", rows=True)], "rows: must be an integer"),
        ([line("a", contentDigest="md5:1")], "contentDigest: not a sha256"),
        ([line("a", contentDigest=5)], "contentDigest: must be a string"),
        ([b'{"path":"a","path":"a","sha256":"' + b"0" * 64 + b'","size":1}'], "the same key twice"),
        ([b'{"path":"a","sha256":"' + b"0" * 64 + b'","size":NaN}'], "NaN"),
        ([b'{"path":"' + b"a" * module.MAX_LINE + b'"}'], "too long"),
        ([line("a", chunks=["1" * 64])], "chunks: are not those"),
    ],
)
def test_what_is_no_list_is_refused_though_it_is_signed(tmp_path, lines, told):
    listing = signed(tmp_path / "x.files.jsonl", b"\n".join(lines) + b"\n", len(lines))
    with pytest.raises(Malformed, match=told):
        list(read_listing(listing, tmp_path / "x.files.jsonl"))


def test_a_list_has_as_many_files_as_were_signed_and_ends_with_a_line(tmp_path):
    path = tmp_path / "list"
    for count in (1, 3):
        listing = signed(path, line("a") + b"\n" + line("b") + b"\n", count)
        with pytest.raises(Malformed, match=f"has 2 files where {count} were signed"):
            list(read_listing(listing, path))
    with pytest.raises(Malformed, match="does not end with a line"):
        list(read_listing(signed(path, line("a"), 1), path))


def test_a_list_that_is_not_there_or_not_a_file_is_refused_and_does_not_hang(tmp_path):
    listing = write_listing(entries(3), tmp_path / "list")
    os.mkfifo(tmp_path / "fifo")
    for path in (None, tmp_path / "missing", tmp_path, tmp_path / "fifo"):
        with pytest.raises(Malformed, match=r"beside it|not a plain file"):
            list(read_listing(listing, path))
    (tmp_path / "list").write_bytes((tmp_path / "list").read_bytes() + b"\n")
    with pytest.raises(Malformed, match="not a plain file of the"):
        list(read_listing(listing, tmp_path / "list"))


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"entries": module.MAX_ENTRIES + 1}, "more than"),
        ({"size": module.MAX_BYTES + 1}, "more than"),
        ({"chunks": []}, "chunks: are not those"),
        ({"sha256": "0" * 64}, "chunks: are not those"),
        ({"path": "elsewhere"}, "unknown key"),
        ({"entries": "3"}, "must be an integer"),
    ],
)
def test_what_a_manifest_says_of_its_list_is_bounded_and_agrees(tmp_path, edit, told):
    listing = write_listing(entries(3), tmp_path / "list")
    with pytest.raises(Malformed, match=told):
        parse_listing(Node({**listing.describe(), **edit}))


def test_a_claim_that_is_copied_takes_its_list_along(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    manifest = tmp_path / "a" / "x.manifest.json"
    assert read_claim(manifest) is None
    manifest.write_bytes(b"{}")
    copy_listing(read_claim(manifest), tmp_path / "b" / "manifest.json")
    assert list((tmp_path / "b").iterdir()) == []
    assert listing_path(manifest).name == "x.manifest.files.jsonl"
    listing_path(manifest).write_bytes(b"a list")
    copy_listing(read_claim(manifest), tmp_path / "b" / "manifest.json")
    assert (tmp_path / "b" / "manifest.files.jsonl").read_bytes() == b"a list"


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)))
def test_the_root_of_ordered_entries_is_the_root_of_the_tree(paths):
    """RFC 6962 2.1: MTH(D[n]) = H(0x01 || MTH(D[0:k]) || MTH(D[k:n]))."""
    unique = sorted(set(paths), key=str.encode)
    rows = [(path, number, Digest.of(path.encode())) for number, path in enumerate(unique)]
    leaves = [
        bytes.fromhex(Digest.of(b"\0%s\0%d\0%s" % (p.encode(), n, d.hex.encode())).hex)
        for p, n, d in rows
    ]
    expected = merkle_root(leaves).hex() if leaves else Digest.of(b"").hex
    assert ordered_root(rows).hex == tree_root(reversed(rows)).hex == expected


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "path": st.sampled_from(["a", "b/c", "../a", "", "a\u202e"]) | st.text(max_size=5),
        "size": st.sampled_from([0, 1, 2**53, -1, 1.0, True]) | JSONISH,
        "sha256": st.sampled_from(["0" * 64, "A" * 64]) | JSONISH,
        "rows": st.integers(-1, 5) | JSONISH,
        "contentDigest": st.sampled_from(["1" * 64]) | JSONISH,
        "chunks": st.lists(st.sampled_from(["0" * 64])) | JSONISH,
        "more": JSONISH,
    },
)
LINES = st.lists(FIELDS.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))


@given(LINES, st.integers(0, 4))
def test_a_signed_list_of_anything_is_read_or_refused(tmp_path_factory, lines, count):
    """Any outcome other than a typed refusal or a correct parse is a defect."""
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    listing = signed(path, b"".join(line + b"\n" for line in lines), count)
    try:
        found = list(read_listing(listing, path))
    except Malformed:
        return
    assert len(found) == count
    assert [json.loads(line)["path"] for line in lines] == [entry.path for entry in found]
    assert [json.loads(line).get("rows") for line in lines] == [entry.rows for entry in found]


LINES = st.builds(
    lambda path, digest, size: b'{"path":"%b","sha256":"%b","size":%b}' % (path, digest, size),
    st.sampled_from(
        [b"a", b"a/b.c", b"a//b", b"/a", b"a/../b", b".a", b"a b", b"\xc3\xa9", b"a\\u0062"]
    ),
    st.sampled_from([b"0" * 64, b"0" * 63, b"F" * 64, b"0" * 64 + b"\\n"]),
    st.sampled_from([b"0", b"12", b"012", b"-1", b"1e3", b"1.0", b"9" * 15, b"9" * 16, b"true"]),
)
CHANGED = st.builds(
    lambda line, old, new: line.replace(old, new),
    LINES,
    st.sampled_from([b"path", b":", b",", b"}", b'"size"', b"{"]),
    st.sampled_from([b"path", b" : ", b',"size":1,', b"},", b'"rows":1,"size"', b"{ "]),
)


@given(st.lists(LINES | CHANGED, min_size=1, max_size=4))
def test_what_is_read_fast_is_read_as_json_reads_it(lines):
    """A line in our own form has one meaning; all others are left to the strict parser."""
    found = usual_entries(lines)
    if found is None:
        return
    values = [json.loads(line) for line in lines]
    assert all(canonical_json(v) == line for v, line in zip(values, lines, strict=True))
    assert found == [parse_entry(Node(value)) for value in values]


def test_our_own_lines_are_read_fast_and_a_path_that_is_too_long_is_not():
    usual = entries(3)
    lines = [canonical_json(described_) for described_ in described(usual)]
    assert usual_entries(lines) == usual
    long = lines[0].replace(b"d/", b"d" * 4097 + b"/")
    assert usual_entries([long]) is None
    with pytest.raises(Malformed, match="longer than 4096"):
        list(module._parsed([long], "list", 0))
