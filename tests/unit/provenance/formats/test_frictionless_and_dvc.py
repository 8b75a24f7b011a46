"""Frictionless packages and what DVC writes: sizes and hashes read, md5 never trusted."""

from __future__ import annotations

import hashlib
import json

import pytest

from guards.errors import Malformed
from guards.provenance.formats import dvc, frictionless
from guards.provenance.formats.claim import FlatDigest

A = hashlib.sha256(b"a").hexdigest()
MD5 = hashlib.md5(b"a").hexdigest()
DVC = f"outs:\n- md5: {MD5}\n  size: 1\n  hash: md5\n  path: a.csv\n"


def package(*resources: dict) -> bytes:
    return json.dumps({"name": "p", "resources": list(resources)}).encode()


class TestFrictionless:
    def test_a_hash_without_an_algorithm_is_md5_as_the_specification_says(self):
        claim = frictionless.read(
            package(
                {"path": "a.csv", "bytes": 1, "hash": f"sha256:{A}"},
                {"path": "b.csv", "hash": MD5},
                {"path": "c.csv", "hash": f"SHA-256:{A}"},
                {"data": [1]},
            )
        )
        assert [file.digests for file in claim.files] == [
            (FlatDigest("sha256", A),), (FlatDigest("md5", MD5),), (FlatDigest("sha256", A),)
        ]  # fmt: skip
        assert [file.strong for file in claim.files] == [True, False, True]
        assert claim.files[0].size == 1
        assert claim.notes == ("1 resources have their data inside of the description",)

    def test_a_resource_of_several_files_has_no_digest_for_any(self):
        claim = frictionless.read(package({"path": ["a", "b"], "hash": f"sha256:{A}"}))
        assert [file.digests for file in claim.files] == [(), ()]

    def test_a_remote_file_is_not_fetched(self):
        [file] = frictionless.read(package({"path": "https://x.example/a", "hash": MD5})).files
        assert file.path == ""

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (package({"path": "../a"}), "resources[0].path: '../a' is not a plain"),
            (package({"path": "a", "hash": "sha256:abc"}), "resources[0].hash: 'abc' is no sha256"),
            (package({"path": "a", "hash": "crc:abc"}), "'crc' is none of the digests"),
            (package({"path": "a", "bytes": -1}), "must be at least 0"),
            (package({"path": "a"}, {"path": "a"}), "is listed twice"),
            (package({}), "required key 'data' is missing"),
            (package(), "lists no resource"),
        ],
    )
    def test_what_is_refused_and_where(self, data, says):
        with pytest.raises(Malformed) as told:
            frictionless.read(data)
        assert says in str(told.value)


class TestDvc:
    def test_what_dvc_add_writes(self):
        claim = dvc.read(DVC.encode())
        [file] = claim.files
        assert (file.path, file.size, file.digests) == ("a.csv", 1, (FlatDigest("md5", MD5),))
        assert not file.strong
        assert any("md5" in limit for limit in claim.limits)

    def test_other_parts_of_the_file_are_passed_by(self):
        text = f"# made by dvc\nmd5: {MD5}\nframe: {{a: &x 1}}\n{DVC}deps:\n- path: x\nmeta: 1\n"
        assert [file.path for file in dvc.read(text.encode()).files] == ["a.csv"]

    def test_a_directory_is_known_by_its_list(self):
        text = f"outs:\n- md5: {MD5}.dir\n  nfiles: 2\n  path: 'images'\n"
        [file] = dvc.read(text.encode()).files
        assert file.digests == ()
        assert "give that list" in file.told
        listed = json.dumps([{"md5": MD5, "relpath": "x/a.csv"}, {"md5": MD5, "relpath": "b"}])
        assert [file.path for file in dvc.read(listed.encode()).files] == ["b", "x/a.csv"]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (DVC.replace("a.csv", "../a.csv"), "not a plain relative path"),
            (DVC.replace("a.csv", "&x a.csv"), "no plain or quoted scalar"),
            (DVC.replace("a.csv", "!!python/object:os.system a"), "no plain or quoted scalar"),
            (DVC.replace("a.csv", "{a: b}"), "no plain or quoted scalar"),
            (DVC.replace("a.csv", "|"), "no plain or quoted scalar"),
            (DVC.replace("  path", "  path: b\n  path"), "stands twice"),
            (DVC.replace("  path", "  script"), "is not as `dvc add` writes it"),
            (DVC.replace("- md5", "- path: a\n- md5").replace("a.csv", "a"), "is listed twice"),
            (DVC.replace("hash: md5", "hash: sha256"), "'sha256' is not md5"),
            (DVC.replace(MD5, MD5[1:]), "is no md5"),
            (DVC.replace("size: 1", "size: x"), "no number of bytes"),
            (f"outs:\n- md5: {MD5}\n", "without a path"),
            (f"{DVC}outs:\n- path: b\n", "is not as `dvc add` writes it"),
            (f"outs: [x]\n{DVC}", "is not as `dvc add` writes it"),
            ("", "lists no output"),
            ("outs:\n  md5: 1\n", "in no entry"),
        ],
    )
    def test_what_is_refused(self, text, says):
        with pytest.raises(Malformed) as told:
            dvc.read(text.encode())
        assert says in str(told.value)
