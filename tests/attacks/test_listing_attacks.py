"""Attacks on a large dataset, whose list of files lies beside its manifest and is not in it."""

from __future__ import annotations

import json
import time

import pytest

from guards.digest import canonical_json
from guards.errors import UsageError
from guards.provenance import index, listing, proof
from guards.provenance.listing import listing_path, parse_listing, read_listing, write_listing
from guards.provenance.manifest import parse
from guards.provenance.signing import parse_envelope, sign
from guards.provenance.snapshot import take
from guards.provenance.strictjson import Node
from guards.verify import Claimed, repairs, verify


@pytest.fixture
def large(spine, monkeypatch):
    """The spine, signed as if it had very many files; nothing is remembered from one look on."""
    monkeypatch.setattr("guards.provenance.manifest.INLINE", 1)
    monkeypatch.setattr(proof, "_read", proof._read.__wrapped__)
    spine.sign(version=2)
    assert spine.verify()
    return spine


def test_the_manifest_names_the_list_and_does_not_hold_it(large):
    payload = parse_envelope(large.manifest.read_bytes()).payload
    paths = [entry.path.encode() for entry in large.verify().found.files]
    assert not [path for path in paths if path in payload]
    lines = listing_path(large.manifest).read_bytes().splitlines()
    assert (
        len(lines)
        == len(paths)
        == len([p for p, line in zip(paths, lines, strict=True) if p in line])
    )


@pytest.mark.parametrize("attack", ["edit", "drop", "add", "reorder", "truncate", "delete", "link"])
def test_no_other_list_is_taken(large, attack, tmp_path):
    """Attacks 6, 8 and 15: who can write to the list can have everything refused, and no more."""
    path = listing_path(large.manifest)
    lines = path.read_bytes().splitlines(keepends=True)
    match attack:
        case "edit":
            path.write_bytes(b"".join(lines).replace(b'"size":', b'"size":1', 1))
        case "drop":
            path.write_bytes(b"".join(lines[1:]))
        case "add":
            path.write_bytes(b"".join([*lines, lines[-1].replace(b'path":"', b'path":"z')]))
        case "reorder":
            path.write_bytes(b"".join(reversed(lines)))
        case "truncate":
            path.write_bytes(b"".join(lines)[:-5])
        case "delete":
            path.unlink()
        case _:
            path.unlink()
            path.symlink_to("/dev/zero")
    assert large.codes() == ["malformed"]


@pytest.fixture
def sealed(large, monkeypatch):
    """The same, verified twice with an index, which has sealed that the list was read then."""
    monkeypatch.setattr(index, "WINDOW", 20_000_000)
    monkeypatch.setattr(index, "SETTLED", 20_000_000)
    monkeypatch.setattr(index, "_NEVER", frozenset())
    monkeypatch.setattr(index, "_sample", lambda known: {})
    time.sleep(0.06)
    claimed = Claimed(
        dataset=large.batch,
        manifest=large.manifest,
        trust=large.trust,
        index=large.home / "index",
    )
    assert verify(claimed)
    with monkeypatch.context() as patch:
        patch.setattr(listing, "read_listing", None)
        done = verify(claimed)
        assert done.unread == done.found.size
        assert (len(done.found.files), done.found.size) == (2, take(large.batch).snapshot.size)
    assert done
    return claimed


@pytest.mark.parametrize("attack", ["edit", "drop", "truncate", "delete", "link"])
def test_a_list_that_was_read_before_is_still_proved(sealed, attack):
    """Attack 25: the index knows the claim and every file; the list has been changed since."""
    path = listing_path(sealed.manifest)
    data = path.read_bytes()
    match attack:
        case "edit":
            path.write_bytes(data[:-10] + bytes([data[-10] ^ 1]) + data[-9:])
        case "drop":
            path.write_bytes(b"".join(data.splitlines(keepends=True)[1:]))
        case "truncate":
            path.write_bytes(data[:-5])
        case "delete":
            path.unlink()
        case _:
            path.unlink()
            path.symlink_to("/dev/zero")
    assert [problem.code for problem in verify(sealed).refusals] == ["malformed"]


def test_a_claim_that_only_says_the_sealed_root_is_refused(sealed, large):
    """Its subject is the root that the index knows, and its list has other files."""
    path = listing_path(sealed.manifest)
    lines = path.read_bytes().splitlines(keepends=True)
    files = list(read_listing(_listing(large), path))
    listing_ = write_listing(files[:1], path.with_name("draft"))
    path.with_name("draft").replace(path)
    assert len(lines) == 2
    payload = json.loads(parse_envelope(large.manifest.read_bytes()).payload)
    payload["predicate"]["files"] = listing_.describe()
    key = large.keys.private("producer")
    large.manifest.write_bytes(sign(canonical_json(payload), key).to_json())
    told = verify(sealed).refusals
    assert [problem.code for problem in told] == ["malformed"]
    assert "root" in told[0].actual


def _listing(large):
    payload = json.loads(parse_envelope(large.manifest.read_bytes()).payload)
    return parse_listing(Node(payload["predicate"]["files"]))


def test_the_files_of_a_sealed_claim_are_there_for_who_asks(sealed, large):
    done = verify(sealed)
    assert done.found.files == done.manifest.snapshot.files == take(large.batch).snapshot.files
    assert repairs(sealed, done) == ()
    (large.batch / "extra.csv").write_text("x\n1\n")
    assert [problem.code for problem in verify(sealed).refusals] == ["extra-file"]


def test_data_is_held_against_the_list(large):
    victim = large.batch / large.verify().found.files[0].path
    victim.write_bytes(victim.read_bytes() + b"\n")
    assert large.codes() == ["grown-file"]
    (large.batch / "extra.csv").write_text("x\n1\n")
    assert large.codes() == ["extra-file", "grown-file"]


def test_the_list_of_another_version_is_refused(large):
    """Attack 14: a new list under an old manifest."""
    old = large.manifest.read_bytes()
    first = large.batch / large.verify().found.files[0].path
    (large.batch / f"z{first.suffix}").write_bytes(first.read_bytes())
    large.sign(version=3)
    assert large.verify()
    large.manifest.write_bytes(old)
    assert large.codes() == ["malformed"]


def test_a_scan_and_its_run_know_the_list(large):
    scanned = large.scan()
    assert {e.rule for e in scanned.examinations if type(e.outcome).__name__ == "Ran"}
    kept = scanned.run_dir / "manifest.files.jsonl"
    assert kept.read_bytes() == listing_path(large.manifest).read_bytes()
    assert large.gate()


def test_a_small_dataset_leaves_no_old_list(large, monkeypatch):
    monkeypatch.setattr("guards.provenance.manifest.INLINE", 10_000)
    large.sign(version=3)
    assert not listing_path(large.manifest).exists()
    assert large.verify()


def test_a_second_signature_needs_the_list_and_changes_nothing_in_it(large):
    before = listing_path(large.manifest).read_bytes()
    large.sign("both", version=2)
    assert listing_path(large.manifest).read_bytes() == before
    assert len(parse_envelope(large.manifest.read_bytes()).signatures) == 2
    listing_path(large.manifest).unlink()
    with pytest.raises(UsageError, match="has to lie beside it"):
        large.sign("both", version=3)


def test_a_trusted_producer_cannot_list_a_file_twice_or_upwards(large):
    """Attacks 1 and 6, by somebody whose signature counts."""
    import json

    from guards.digest import Hasher

    path = listing_path(large.manifest)
    good = path.read_bytes().splitlines(keepends=True)
    for lines in ([good[0], good[0]], [good[0].replace(b'"path":"', b'"path":"../')]):
        data = b"".join(lines)
        path.write_bytes(data)
        hasher = Hasher()
        hasher.update(data)
        count = len(lines)

        def edit(document, hasher=hasher, count=count):
            document["predicate"]["files"] = {
                "entries": count,
                "size": hasher.size,
                "sha256": hasher.digest().hex,
                "chunks": [leaf.hex() for leaf in hasher.leaves],
            }
            return json.dumps(document)

        large.forge(edit)
        assert large.codes() == ["malformed"]


def test_a_claim_parsed_without_its_place_says_so(large):
    from guards.errors import Malformed

    with pytest.raises(Malformed, match="has to lie beside it"):
        parse(parse_envelope(large.manifest.read_bytes()))
