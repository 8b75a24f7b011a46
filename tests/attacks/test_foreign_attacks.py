"""Attacks on foreign claims: what they cannot bind is refused by ours, or said where it cannot be.

Each builds the attack on real files, with bundles that a trusted key signed. What the released
model-signing answers to the same is in the comments, from runs of version 1.1.1.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import unicodedata

import pytest

from guards.errors import Malformed, UsageError
from guards.foreign import Asked, look
from guards.provenance import flat
from guards.provenance.formats import oms
from guards.provenance.formats.held import Held
from guards.provenance.manifest import parse_name
from guards.provenance.signing import generate, load_private
from guards.provenance.trust import Trust, TrustedKey

NAME = parse_name("acme/flights")


@pytest.fixture
def dataset(tmp_path):
    """Two files, and beside them an OMS bundle and a SHA256SUMS of both."""
    top = tmp_path / "data"
    (top / "sub").mkdir(parents=True)
    (top / "a.csv").write_bytes(b"x\n1\n")
    (top / "sub" / "b.csv").write_bytes(b"x\n2\n")
    generate(tmp_path / "key", "ecdsa-p256")
    files = flat.read(top, lambda path, size: oms.wanted(size, None), [])
    bundle = oms.write("data", files, load_private(tmp_path / "key" / "key.pem"))
    (tmp_path / "bundle.json").write_bytes(bundle)
    sums = [(each.entry.path, each.whole["sha256"]) for each in flat.read(top, _nothing, [])]
    (tmp_path / "SHA256SUMS").write_text("".join(f"{hex_}  {path}\n" for path, hex_ in sums))
    return top


def _nothing(path, size):
    return flat.Wanted()


def held(dataset, of="oms", **more) -> Held:
    home = dataset.parent
    if of != "oms":
        return look(Asked(dataset=dataset, claim=home / "SHA256SUMS", **more))
    key = TrustedKey(
        key=load_private(home / "key" / "key.pem").public, roles=("producer",), names=("acme/*",)
    )
    asked = {"claim": home / "bundle.json", "trust": Trust(keys=(key,)), "name": NAME, **more}
    return look(Asked(dataset=dataset, **asked))


def codes(dataset, form="oms"):
    found = held(dataset, form)
    return sorted(problem.code for problem in found.problems), found.holds


both = pytest.mark.parametrize("form", ["oms", "checksums"])


@both
def test_the_claim_itself_holds(dataset, form):
    assert codes(dataset, form) == ([], True)


@both
@pytest.mark.parametrize(
    ("attack", "code"),
    [
        # All of these model-signing takes: its ignore list, its shards or its walk leave them out.
        (lambda top: _write(top / ".git" / "evil.py", "import os"), "hidden"),
        (lambda top: _write(top / ".gitattributes", "* -text"), "hidden"),
        (lambda top: (top / "empty").mkdir(), "empty-directory"),
        (lambda top: _write(top / "empty.csv", ""), "extra-file"),
        # And these it refuses, as we do.
        (lambda top: _write(top / "c.csv", "x"), "extra-file"),
        (lambda top: (top / "a.csv").unlink(), "missing-file"),
        (lambda top: _write(top / "a.csv", "x\n9\n"), "changed-file"),
        (lambda top: (top / "sub" / "l.csv").symlink_to(top / "a.csv"), "link"),
        (lambda top: os.mkfifo(top / "pipe"), "special-file"),
        (lambda top: _write(top / "A.csv", "x"), "name-collision"),
    ],
)
def test_what_is_added_changed_or_taken_away(dataset, form, attack, code):
    attack(dataset)
    found, holds = codes(dataset, form)
    assert code in found
    assert not holds


def _write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


@both
def test_a_hard_link_is_told_and_not_refused(dataset, form):
    os.link(dataset / "a.csv", dataset.parent / "elsewhere.csv")
    assert codes(dataset, form) == (["hardlink"], True)


def test_an_old_version_is_replayed_and_the_outcome_says_that_no_bundle_could_tell(dataset):
    old = dataset.parent / "old"
    shutil.copytree(dataset, old)
    shutil.copy(dataset.parent / "bundle.json", old.parent / "old.json")
    (dataset / "a.csv").write_bytes(b"x\n2\n")  # version 2 lies where version 1 was signed
    found = held(old, claim=old.parent / "old.json")
    assert found.holds, "nothing in it says that it is old"
    assert any("no version and no expiry" in limit for limit in found.claim.limits)


def test_a_bundle_is_used_for_another_name_and_only_the_verifiers_name_stops_it(dataset):
    assert held(dataset, name=parse_name("acme/other")).holds
    assert not held(dataset, name=parse_name("umbrella/flights")).holds, "the key is not theirs"
    assert any("binds no dataset name" in limit for limit in held(dataset).claim.limits)


def test_two_files_that_swap_names_have_the_same_root_and_are_refused_by_the_list(dataset):
    (dataset / "a.csv").rename(dataset / "x")
    (dataset / "sub" / "b.csv").rename(dataset / "a.csv")
    (dataset / "x").rename(dataset / "sub" / "b.csv")
    assert codes(dataset) == (["changed-file", "changed-file"], False)


def test_a_claim_in_the_dataset_is_not_held_against_itself(dataset):
    shutil.copy(dataset.parent / "SHA256SUMS", dataset / "SHA256SUMS")
    found = look(Asked(dataset=dataset, claim=dataset / "SHA256SUMS"))
    assert found.holds
    assert len(found.found.files) == 3, "it is a file of the dataset all the same"


def test_a_name_that_is_spelled_in_another_normal_form_is_the_same_name(dataset):
    path = dataset / "caf\u00e9.csv"
    path.write_bytes(b"x")
    line = f"{hashlib.sha256(b'x').hexdigest()}  {unicodedata.normalize('NFD', path.name)}\n"
    with (dataset.parent / "SHA256SUMS").open("a") as file:
        file.write(line)
    assert codes(dataset, "checksums") == ([], True)
    with (dataset.parent / "SHA256SUMS").open("a") as file:
        file.write(unicodedata.normalize("NFC", line))
    with pytest.raises(Malformed, match="already"):
        held(dataset, "checksums")


def test_lines_that_make_a_careless_pattern_try_everything_are_read_in_time(tmp_path):
    """A quarter of a million blanks: quadratic matching of one line would take minutes."""
    long = " " * 250_000
    for name, line in (
        ("SUMS", f"{'0' * 64}  a{long}b\n"),
        ("SUMS", f"SHA256 (a{long}b) = {'0' * 64}\n"),
        ("SUMS", f"\\{'0' * 64}  a{chr(92) * 250_000}b\n"),
        ("bag/manifest-sha256.txt", f"{'0' * 64} data/a{long}b\n"),
        ("bag/fetch.txt", f"x{long}y\n"),
        ("a.dvc", f"outs:\n- md5: {long}x\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(line)
        (path.parent / "bagit.txt").write_text(
            "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
        )
        claim = path.parent if "/" in name else path
        with contextlib.suppress(Malformed):
            assert not look(Asked(dataset=path.parent, claim=claim)).holds


class TestRemoteFiles:
    """A file that no path leads to is found by its digest, among those that nothing else lists."""

    @pytest.fixture
    def croissant(self, dataset):
        def write(*files):
            document = {
                "@context": {"@vocab": "https://schema.org/"},
                "conformsTo": "http://mlcommons.org/croissant/1.0",
                "distribution": [{"@type": "cr:FileObject", **file} for file in files],
            }
            (dataset.parent / "croissant.json").write_text(json.dumps(document))
            return look(Asked(dataset=dataset, claim=dataset.parent / "croissant.json"))

        return write

    def remote(self, dataset, path):
        digest = hashlib.sha256((dataset / path).read_bytes()).hexdigest()
        return {"contentUrl": f"https://example.com/{path}", "sha256": digest}

    def test_each_is_found_once(self, dataset, croissant):
        files = [self.remote(dataset, path) for path in ("a.csv", "sub/b.csv")]
        assert croissant(*files).holds
        twice = croissant(files[0], files[0], files[1])
        assert [problem.code for problem in twice.refusals] == ["missing-file"]
        assert [p.path for p in croissant(files[0]).refusals] == ["sub/b.csv"]

    def test_not_by_a_weak_digest(self, dataset, croissant):
        weak = {
            "contentUrl": "https://example.com/a.csv",
            "md5": hashlib.md5((dataset / "a.csv").read_bytes()).hexdigest(),
        }
        found = croissant(weak, self.remote(dataset, "sub/b.csv"))
        assert [problem.code for problem in found.refusals] == ["extra-file", "missing-file"]


class TestWeakDigests:
    """Recorded and never trusted: a file with md5 only does not hold, though it is as claimed."""

    def test_md5_alone(self, dataset):
        (dataset.parent / "SHA256SUMS").write_text(
            f"{hashlib.md5(b'x' + bytes([10]) + b'1' + bytes([10])).hexdigest()}  a.csv\n"
            f"{hashlib.sha256((dataset / 'sub' / 'b.csv').read_bytes()).hexdigest()}  sub/b.csv\n"
        )
        found = held(dataset, "checksums")
        assert [problem.code for problem in found.refusals] == ["weak-digest"]
        assert found.proved == 1

    def test_a_wrong_weak_one_refuses_beside_a_right_strong_one(self, dataset):
        with (dataset.parent / "SHA256SUMS").open("a") as file:
            file.write(f"{'0' * 32}  a.csv\n")
        assert codes(dataset, "checksums") == (["changed-file"], False)


class TestConfusion:
    """Who may write the claim may write one of another format, which nobody signs."""

    def test_a_bundle_that_is_swapped_for_checksums_is_no_signed_claim(self, dataset):
        shutil.copy(dataset.parent / "SHA256SUMS", dataset.parent / "bundle.json")
        with pytest.raises(UsageError, match="signed by nobody"):
            held(dataset)

    def test_nor_if_the_format_is_said(self, dataset):
        shutil.copy(dataset.parent / "SHA256SUMS", dataset.parent / "bundle.json")
        with pytest.raises(Malformed, match="bundle"):
            held(dataset, claim=dataset.parent / "bundle.json", form="oms")

    def test_the_name_of_what_nobody_named_makes_no_key_count(self, dataset):
        with pytest.raises(UsageError, match="--name"):
            held(dataset, name=parse_name("unsigned"))

    def test_a_manifest_of_ours_is_no_foreign_claim(self, spine):
        with pytest.raises(Malformed, match="is not plainly one of oms, slsa, vsa"):
            look(Asked(dataset=spine.batch, claim=spine.manifest, trust=spine.trust))

    def test_tag_files_together_are_no_larger_than_a_document_may_be(self, dataset, monkeypatch):
        monkeypatch.setattr("guards.foreign.MAX_DOCUMENT", 100)
        (dataset / "bagit.txt").write_text("x" * 60)
        (dataset / "manifest-sha256.txt").write_text("x" * 60)
        with pytest.raises(Malformed, match="more than 100 bytes"):
            look(Asked(dataset=dataset, claim=dataset))

    def test_a_bag_vouches_for_itself_only(self, dataset):
        (dataset.parent / "bagit.txt").write_text("")
        with pytest.raises(UsageError, match=r"by its own bagit\.txt"):
            look(Asked(dataset=dataset, claim=dataset.parent / "bagit.txt"))


def test_a_file_that_changes_while_it_is_read_has_no_digest(dataset, monkeypatch):
    real, path = os.preadv, dataset / "a.csv"

    def swapped(descriptor, buffers, offset):
        count = real(descriptor, buffers, offset)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            with path.open("ab") as file:
                file.write(b"more")
        return count

    monkeypatch.setattr(os, "preadv", swapped)
    found, holds = codes(dataset, "checksums")
    assert "changed-while-read" in found
    assert not holds
