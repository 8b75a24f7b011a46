"""Croissant: digests that are none are refused by name, and keys cannot mean two things."""

from __future__ import annotations

import hashlib
import json

import pytest

from guards.errors import Malformed
from guards.provenance.formats.croissant import read

A = hashlib.sha256(b"a").hexdigest()
FILE = {"@type": "cr:FileObject", "@id": "a", "contentUrl": "data/a.csv", "sha256": A}
TOP = {
    "@context": {
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "md5": "cr:md5",
        "isLiveDataset": "cr:isLiveDataset",
    },
    "@type": "sc:Dataset",
    "conformsTo": "http://mlcommons.org/croissant/1.0",
}


def document(*files: dict, **more: object) -> bytes:
    return json.dumps({**TOP, "distribution": list(files), **more}).encode()


def test_a_file_with_its_digest_and_size():
    claim = read(document({**FILE, "contentSize": "1 B", "md5": hashlib.md5(b"a").hexdigest()}))
    assert claim.form == "croissant 1.0"
    [file] = claim.files
    assert (file.path, file.size) == ("data/a.csv", 1)
    assert [digest.algorithm for digest in file.digests] == ["md5", "sha256"]
    assert file.strong


@pytest.mark.parametrize("told", ["1.0", "1.1"])
def test_both_versions_alone_or_among_others(told):
    version = f"http://mlcommons.org/croissant/{told}"
    assert read(document(FILE, conformsTo=version)).form == f"croissant {told}"
    both = [version, "http://example.com/spec"]
    assert read(document(FILE, conformsTo=both)).form == f"croissant {told}"


def test_a_size_for_people_binds_nothing():
    assert read(document({**FILE, "contentSize": "1.2 MB"})).files[0].size is None
    assert read(document({**FILE, "contentSize": "117743"})).files[0].size == 117743
    assert read(document({**FILE, "contentSize": 12})).files[0].size == 12


def test_a_live_dataset_without_checksums_is_told():
    bare = {key: value for key, value in FILE.items() if key != "sha256"}
    claim = read(document(bare, isLiveDataset=True))
    assert not claim.files[0].strong
    told = "it is a live dataset: whoever publishes it may change it; 1 of its files have no"
    assert claim.notes[0].startswith(told)


def test_a_remote_file_has_no_path_and_nothing_is_fetched():
    [file] = read(document({**FILE, "contentUrl": "https://example.com/a.csv"})).files
    assert file.path == ""
    assert "nothing is fetched" in file.told


def test_what_lies_inside_of_an_archive_is_told_apart():
    inside = {"@type": "cr:FileObject", "contentUrl": "b.csv", "containedIn": {"@id": "a"}}
    claim = read(document(FILE, inside, {"@type": "cr:FileSet", "includes": "*"}))
    assert len(claim.files) == 1
    assert claim.notes == (
        "2 entries lie inside of others or are sets of files: they have no digest",
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (document({**FILE, "sha256": "https://github.com/mlcommons/croissant/issues/80"}),
         "distribution[0].sha256: 'https://github.com/mlcommons/croissant/issues/80' is no sha256"),
        (document(FILE, {**FILE, "contentUrl": "b", "sha256": A.upper()}), "[1].sha256"),
        (document({**FILE, "sha256": A[:-2]}), "is no sha256"),
        (document({**FILE, "contentUrl": "../secret.csv"}), "contentUrl: '../secret.csv' is not"),
        (document({**FILE, "contentUrl": "/etc/passwd"}), "is not a plain relative path"),
        (document({**FILE, "contentSize": " B"}), "contentSize: is no number of bytes"),
        (document(FILE, FILE), "is listed twice"),
        (document({**FILE, "sc:sha256": A}), "another spelling of a key"),
        (document({**FILE, "https://schema.org/contentUrl": "b"}), "another spelling of a key"),
        (document({**FILE, "@context": {"sha256": "cr:md5"}}), "has a context of its own"),
        (document({**FILE, "@type": "sc:Thing"}), "is neither cr:FileObject"),
        (document(FILE, conformsTo="http://mlcommons.org/croissant/9"), "must name one"),
        (document(FILE, **{"@context": {"sha256": "cr:md5"}}), "must stand for https://schema.org"),
        (document(FILE, **{"@context": [{"cr": "http://evil.example/"}]}), "the prefix 'cr' must"),
        (document(FILE, **{"@context": {"@vocab": "http://evil.example/"}}), "@vocab"),
        (document({**FILE, "sha256": 12}), "must be a string"),
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b"[]", "must be an object"),
    ],
)  # fmt: skip
def test_what_is_refused_and_where(data, says):
    with pytest.raises(Malformed) as told:
        read(data)
    assert says in str(told.value)
