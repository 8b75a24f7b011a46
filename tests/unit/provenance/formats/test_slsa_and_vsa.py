"""SLSA provenance and verification summaries: what is written is read, and binds what it says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from guards.digest import Digest
from guards.errors import Malformed, UsageError
from guards.provenance.formats import slsa, vsa
from guards.provenance.formats.claim import FlatDigest
from guards.provenance.formats.intoto import TREE, Resource, of_file
from guards.provenance.manifest import Derivation, Manifest, parse_name
from guards.provenance.signing import sign
from guards.provenance.snapshot import Entry, Snapshot

A = hashlib.sha256(b"a").hexdigest()
AT = datetime(2026, 3, 1, tzinfo=UTC)
PARENT = Digest.of(b"parent")
MADE = Derivation(
    method="release-clean", parent=PARENT, manifest=Digest.of(b"m"), record=Digest.of(b"r"),
    policy=Digest.of(b"p"), removed=3, rows=Digest.of(b"rows"), code="toadstone 0.1",
)  # fmt: skip
MANIFEST = Manifest(
    name=parse_name("acme/flights"), version=2, created=AT, parents=(PARENT,), derivation=MADE,
    snapshot=Snapshot(files=(Entry(path="a.csv", size=1, digest=Digest(A)),)),
)  # fmt: skip
VERDICT = vsa.Verified(
    name=MANIFEST.name, version=2, root=MANIFEST.snapshot.root, passed=True, time=AT,
    policy=Resource(uri="toadstone:policy/p", digests=(FlatDigest("sha256", A),)),
    inputs=(of_file("record.json", Digest.of(b"r")),), code="toadstone 0.1",
)  # fmt: skip


def envelope(place, payload, edit=None):
    if edit:
        document = json.loads(payload)
        edit(document)
        payload = json.dumps(document).encode()
    return sign(payload, place.key())


def provenance():
    return slsa.payload(MANIFEST, [("a.csv", FlatDigest("sha256", A))])


class TestSlsa:
    def test_it_says_what_the_derivation_says(self, place):
        found = slsa.parse(envelope(place, provenance()))
        assert found.build_type == slsa.BUILD_TYPE
        assert found.subjects.root == MANIFEST.snapshot.root
        assert [(f.path, f.digests) for f in found.subjects.files] == [
            ("a.csv", (FlatDigest("sha256", A),))
        ]
        assert dict(found.parameters)["method"] == "release-clean"
        parent, *documents = found.dependencies
        assert parent.tree == PARENT
        assert [one.digests[0].hex for one in documents] == [
            digest.hex for digest in (MADE.manifest, MADE.record, MADE.policy)
        ]
        assert found.byproducts[0].digests[0].hex == MADE.rows.hex

    def test_a_root_is_no_sha256_of_anything(self):
        first, second = json.loads(provenance())["subject"]
        assert first["digest"] == {TREE: MANIFEST.snapshot.root.hex}
        assert second["digest"] == {"sha256": A}

    def test_an_original_has_none(self):
        with pytest.raises(UsageError, match="no derived dataset"):
            slsa.payload(replace(MANIFEST, derivation=None), [])

    def test_as_a_claim_it_binds_name_version_and_files(self, place):
        claim = slsa.read(envelope(place, provenance()))
        assert (claim.name, claim.version) == (MANIFEST.name, 2)
        assert claim.root == MANIFEST.snapshot.root
        assert f"made from parent {TREE}:{PARENT.hex}" in claim.notes

    def test_that_of_another_builder_is_read_too(self, place):
        def github(document):
            document["subject"] = document["subject"][1:]
            build = document["predicate"]["buildDefinition"]
            build["buildType"] = "https://actions.github.io/buildtypes/workflow/v1"
            build["externalParameters"] = {"workflow": {"ref": "main"}, "version": "9" * 400}
            build["resolvedDependencies"] = [{"uri": "git+x", "digest": {"gitCommit": "ab"}}]
            del document["predicate"]["runDetails"]["byproducts"]

        claim = slsa.read(envelope(place, provenance(), github))
        assert (claim.name, claim.version, claim.root) == (None, None, None)
        assert [file.path for file in claim.files] == ["a.csv"]
        assert "made from git+x" in claim.notes

    @pytest.mark.parametrize(
        ("edit", "says"),
        [
            (lambda d: d["subject"][1].update(name="../a"), "not a plain relative path"),
            (lambda d: d["subject"].append(d["subject"][1]), "listed twice"),
            (lambda d: d["subject"].append(d["subject"][0]), "a second dataset"),
            (lambda d: d["subject"][1]["digest"].update(sha256=A[1:]), "is no sha256"),
            (lambda d: d["subject"][0].update(name="acme//x"), "owner/dataset"),
            (lambda d: d["subject"][0].update(name="unsigned"), "no name at all"),
            (lambda d: d.update(subject=[]), "must have 1 to"),
            (lambda d: d.update(predicateType=vsa.PREDICATE), "predicateType"),
            (lambda d: d["predicate"].pop("runDetails"), "'runDetails' is missing"),
        ],
    )
    def test_what_is_refused(self, place, edit, says):
        with pytest.raises(Malformed) as told:
            slsa.read(envelope(place, provenance(), edit))
        assert says in str(told.value)


class TestVsa:
    @pytest.mark.parametrize("passed", [True, False])
    def test_what_is_written_is_read(self, place, passed):
        found = vsa.parse(envelope(place, vsa.payload(replace(VERDICT, passed=passed))))
        assert found.passed is passed
        assert found.time == AT
        assert found.policy == VERDICT.policy
        assert found.inputs == VERDICT.inputs
        assert found.levels == ("TOADSTONE_PASS" if passed else "FAILED",)

    def test_a_verdict_that_failed_refuses_every_byte(self, place):
        claim = vsa.read(envelope(place, vsa.payload(replace(VERDICT, passed=False))))
        assert claim.refused == "the verdict was FAILED"
        assert vsa.read(envelope(place, vsa.payload(VERDICT))).refused == ""

    def test_names_survive_the_uri(self, place):
        odd = parse_name("acme/a b@c/\u00e9%")
        claim = vsa.read(envelope(place, vsa.payload(replace(VERDICT, name=odd))))
        assert (claim.name, claim.version) == (odd, 2)

    @pytest.mark.parametrize(
        ("edit", "says"),
        [
            (lambda p: p.update(verificationResult="PASS"), "must be PASSED or FAILED"),
            (lambda p: p.update(verificationResult=True), "must be a string"),
            (lambda p: p.update(verifiedLevels=["FAILED"]), "has FAILED in a summary"),
            (lambda p: p.update(timeVerified="yesterday"), "not a UTC time"),
            (lambda p: p.pop("policy"), "'policy' is missing"),
            (lambda p: p.update(resourceUri="toadstone:umbrella/x@2"), "is not about the subject"),
        ],
    )
    def test_what_is_refused(self, place, edit, says):
        with pytest.raises(Malformed) as told:
            vsa.read(
                envelope(place, vsa.payload(VERDICT), lambda document: edit(document["predicate"]))
            )
        assert says in str(told.value)
