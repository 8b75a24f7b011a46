"""Bags: what RFC 8493 asks for is asked, and nothing is fetched."""

from __future__ import annotations

import hashlib

import pytest

from guards.errors import Malformed
from guards.provenance.formats.bagit import is_tag_file, read

A = hashlib.sha256(b"a").hexdigest()
SHA512 = hashlib.sha512(b"a").hexdigest()
DECLARED = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


def bag(manifest: str = f"{A}  data/a\n", **more: bytes) -> dict[str, bytes]:
    named = {name.replace("_", "-") + ".txt": data for name, data in more.items()}
    return {"bagit.txt": DECLARED, "manifest-sha256.txt": manifest.encode(), **named}


def test_a_bag_with_two_manifests_has_both_digests_of_each_file():
    claim = read(bag(manifest_sha512=f"{SHA512}  data/a\n".encode()))
    assert claim.form == "bagit 1.0"
    [file] = claim.files
    assert [digest.algorithm for digest in file.digests] == ["sha256", "sha512"]
    assert {"bagit.txt", "bag-info.txt", "manifest-sha512.txt"} <= claim.own


def test_tag_manifests_bind_the_tag_files_that_they_list():
    claim = read(bag(tagmanifest_sha256=f"{A}  bagit.txt\n{A}  meta/x.xml\n".encode()))
    assert [file.path for file in claim.files] == ["bagit.txt", "data/a", "meta/x.xml"]
    assert "bagit.txt" not in claim.own, "it is listed, so it is not free"
    assert "tagmanifest-sha256.txt" in claim.own


def test_upper_case_is_allowed_here_as_the_specification_says():
    """The hex-encoded checksum MAY use uppercase and/or lowercase letters (RFC 8493, 2.1.3)."""
    assert read(bag(f"{A.upper()} data/a\n")).files == read(bag()).files


def test_percent_signs_stand_for_line_ends_and_themselves_only():
    """CR, LF and % MUST be percent-encoded, and only those (RFC 8493, 2.1.3)."""
    assert read(bag(f"{A} data/100%25\n")).files[0].path == "data/100%"
    with pytest.raises(Malformed, match="stands for nothing"):
        read(bag(f"{A} data/%7Ea\n"))
    with pytest.raises(Malformed, match="not a plain relative path"):
        read(bag(f"{A} data/a%0Ab\n"))
    old = {**bag(f"{A} data/%7Ea\n"), "bagit.txt": DECLARED.replace(b"1.0", b"0.97")}
    assert read(old).files[0].path == "data/%7Ea"


def test_what_is_to_be_fetched_is_told_and_never_fetched():
    claim = read(bag(fetch=b"https://example.com/a 1 data/a\n"))
    assert claim.files[0].size == 1
    assert "nothing is fetched" in claim.files[0].told
    assert claim.notes == ("fetch.txt names 1 files; nothing is fetched",)


@pytest.mark.parametrize(
    "encoding", ["UTF-16", "ISO-8859-1"], ids=["in two bytes", "in one, above ASCII"]
)
def test_tag_files_in_the_encoding_that_is_declared(encoding):
    declared = DECLARED.replace(b"UTF-8", encoding.encode())
    manifest = f"{A}  data/\u00e9\n".encode(encoding)
    claim = read({"bagit.txt": declared, "manifest-sha256.txt": manifest})
    assert claim.files[0].path == "data/\u00e9"


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"manifest-sha256.txt": b""}, "bagit.txt: a bag has this file"),
        ({"bagit.txt": DECLARED}, "has a payload manifest"),
        ({**bag(), "bagit.txt": b"\xef\xbb\xbf" + DECLARED}, "byte-order mark"),
        ({**bag(), "bagit.txt": DECLARED.replace(b"Version:", b"Version :")}, "two lines"),
        ({**bag(), "bagit.txt": DECLARED.replace(b"1.0", b"2.0")}, "'2.0' is none of"),
        ({**bag(), "bagit.txt": DECLARED.replace(b"UTF-8", b"UTF-7")}, "'UTF-7' is none of"),
        (bag(f"{A}  data/a\n{A}  data/a\n"), "'data/a' is listed twice"),
        (bag(f"{A}  data/../a\n"), "not a plain relative path"),
        (bag(f"{A}  a\n"), "does not lie in data/"),
        (bag(f"{A[1:]}  data/a\n"), "is no sha256"),
        (bag(f"{A}\n"), "is not `<hex> path`"),
        (bag(manifest_sha512=f"{SHA512} data/b\n".encode()), "not in both"),
        (bag(manifest_crc32=b"00 data/a\n"), "'crc32' is none of the digests"),
        (bag(tagmanifest_sha256=f"{A} data/a\n".encode()), "is no tag file"),
        (bag(fetch=b"https://x/ 1 data/b\n"), "is in no manifest"),
        (bag(fetch=b"https://x/ 1 ../b\n"), "not a plain relative path"),
        (bag(fetch=b"data/a\n"), "is not `URL length path`"),
    ],
)
def test_what_is_refused(tags, says):
    with pytest.raises(Malformed) as told:
        read(tags)
    assert says in str(told.value)


def test_the_tag_files_that_are_read():
    assert is_tag_file("manifest-sha256.txt")
    assert is_tag_file("tagmanifest-md5.txt")
    assert not is_tag_file("bag-info.txt")
    assert not is_tag_file("manifest-sha256.txt.bak")
