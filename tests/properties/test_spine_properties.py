"""Properties of the spine; each quotes the sentence or the equation that it holds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import tempfile
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guards import digest as digests
from guards.digest import (
    CHUNK,
    Chunks,
    Digest,
    Hasher,
    chunk_count,
    merkle_root,
    tree_root,
)
from guards.errors import Malformed, UsageError
from guards.findings import (
    Confidence,
    Examination,
    Failed,
    Finding,
    Inapplicable,
    Measured,
    Ran,
    Severity,
    Skipped,
    Subject,
)
from guards.provenance.manifest import Manifest, Name, Source, parse, parse_name, payload
from guards.provenance.roles import ALL, SPECIAL, from_columns
from guards.provenance.signing import (
    PAYLOAD_TYPE,
    Envelope,
    add_signature,
    load_private,
    parse_envelope,
    sign,
    signers,
)
from guards.provenance.snapshot import Entry, Snapshot, compare, take
from guards.provenance.strictjson import loads
from guards.verdict import Decision, Policy, judge

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

hashes = st.binary(min_size=32, max_size=32)
digest = hashes.map(lambda raw: Digest(raw.hex()))
word = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=12
)


# ------------------------------------------------------------------------------------- digests


def rfc6962(leaves):
    """RFC 6962, 2.1: MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n])), k < n <= 2k."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + rfc6962(leaves[:k]) + rfc6962(leaves[k:])).digest()


@quick
@given(st.lists(hashes, min_size=1, max_size=70))
def test_pairing_from_the_left_is_the_recursive_definition(leaves):
    assert merkle_root(leaves) == rfc6962(leaves)


def hash_chunks(wanted):
    """The chunks of open files, `(descriptor, size, numbers)`, as they are done."""
    with Chunks() as chunks:
        for descriptor, size, numbers in wanted:
            yield from chunks.put(descriptor, size, numbers)
        yield from chunks.rest()


@pytest.fixture
def small_chunks(monkeypatch):
    """The chunk size is a constant; only its effect is made small here."""
    monkeypatch.setattr(digests, "CHUNK", 64)


@settings(quick, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=600), cuts=st.lists(st.integers(0, 600), max_size=12))
def test_a_stream_in_any_slicing_has_the_digest_of_the_file(small_chunks, data, cuts):
    streamed, edges = Hasher(), sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    for start, stop in pairwise(edges):
        streamed.update(memoryview(data)[start:stop])
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        wanted = [(file.fileno(), len(data), range(chunk_count(len(data))))]
        found = Digest(merkle_root([leaf for _, _, leaf in hash_chunks(wanted)]).hex())
    assert streamed.digest() == found
    chunks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    assert found.raw == rfc6962([hashlib.sha256(chunk).digest() for chunk in chunks])


def test_the_small_chunks_were_small_only_there():
    assert digests.CHUNK == CHUNK == 8 << 20


@quick
@given(
    st.dictionaries(word, st.tuples(st.integers(0, 2**53 - 1), digest), max_size=8), st.randoms()
)
def test_a_tree_is_named_whatever_the_order_and_renamed_by_whatever_changes(files, chance):
    entries = [(path, size, each) for path, (size, each) in files.items()]
    root = tree_root(entries)
    shuffled = chance.sample(entries, len(entries))
    assert tree_root(shuffled) == root
    for index, (path, size, each) in enumerate(entries):
        others = [e for i, e in enumerate(entries) if i != index]
        for changed in (
            (path + "x", size, each),
            (path, size + 1, each),
            (path, size, Digest.of(each.raw)),
        ):
            assert tree_root([*others, changed]) != root
        assert tree_root(others) != root


# -------------------------------------------------------------------------------- changed bytes


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root, chance = tmp_path_factory.mktemp("tree"), random.Random(0)
    for name, size in (("a", 0), ("b", 1), ("c", 5000), ("d", CHUNK + 3)):
        (root / name).write_bytes(chance.randbytes(size))
    return root


@settings(max_examples=25, deadline=None)
@given(st.sampled_from("bcd"), st.integers(0, 2**32), st.integers(1, 255))
def test_any_changed_byte_is_found(tree, name, where, change):
    """No model trains on bytes that nobody vouched for: one changed bit is told by its file."""
    claimed = take(tree).snapshot
    path = tree / name
    before = path.read_bytes()
    data = bytearray(before)
    data[where % len(data)] ^= change
    try:
        path.write_bytes(data)
        found = take(tree).snapshot
    finally:
        path.write_bytes(before)
    assert found.root != claimed.root
    assert [(d.code, d.path) for d in compare(claimed.files, found.files)] == [
        ("changed-file", name)
    ]


# ----------------------------------------------------------------------------- manifest, envelope


def plain(text):
    try:
        return str(parse_name(text)) == text
    except UsageError:
        return False


names = (
    st.lists(word.map(str.strip).filter(plain), min_size=1, max_size=4)
    .map("/".join)
    .map(parse_name)
)
times = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)).map(
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)
paths = st.lists(st.from_regex(r"[a-z0-9é数_-]{1,9}", fullmatch=True), min_size=1, max_size=3).map(
    "/".join
)


@st.composite
def roles(draw):
    columns = draw(st.lists(word, max_size=6, unique=True))
    chosen = {column: draw(st.sampled_from(ALL)) for column in columns}
    special = [role for role in chosen.values() if role in SPECIAL]
    return from_columns(
        chosen if len(special) == len(set(special)) else dict.fromkeys(columns, "feature")
    )


@st.composite
def manifests(draw):
    files = draw(st.dictionaries(paths, st.tuples(st.integers(0, 2**53 - 1), digest), max_size=5))
    return Manifest(
        name=draw(names),
        version=draw(st.integers(0, 2**53 - 1)),
        snapshot=Snapshot(
            files=tuple(Entry(path=p, size=s, digest=d) for p, (s, d) in files.items())
        ),
        created=draw(times),
        expires=draw(st.none() | times),
        previous=draw(st.none() | digest),
        parents=tuple(draw(st.lists(digest, max_size=3))),
        sources=tuple(
            draw(st.lists(st.builds(Source, uri=word, retrieved=word, license=word), max_size=2))
        ),
        roles=draw(roles()),
        schema=draw(st.dictionaries(word, word, max_size=4)),
        rows=draw(st.none() | st.integers(0, 2**53 - 1)),
        label_counts=draw(st.dictionaries(word, st.integers(0, 2**53 - 1), max_size=4)),
    )


@quick
@given(manifests())
def test_a_manifest_reads_what_it_writes(manifest):
    if manifest.name == Name("unsigned"):
        return
    envelope = Envelope(payload_type=PAYLOAD_TYPE, payload=payload(manifest), signatures=())
    again = parse(parse_envelope(envelope.to_json()))
    assert payload(again) == payload(manifest)
    assert again.snapshot.root == manifest.snapshot.root
    assert again.roles.columns() == manifest.roles.columns()
    assert (again.name, again.version, again.expires) == (
        manifest.name,
        manifest.version,
        manifest.expires,
    )


@quick
@given(data=st.binary(max_size=300), kind=st.text(st.characters(codec="utf-8"), max_size=40))
def test_an_envelope_reads_what_it_writes_and_its_signature_is_over_all_of_it(keys, data, kind):
    key, other = load_private(keys.pem("producer")), load_private(keys.pem("scanner"))
    envelope = add_signature(sign(data, key, kind), other)
    again = parse_envelope(envelope.to_json())
    assert again == envelope
    assert signers(again, [key.public, other.public]) == {key.public, other.public}
    assert not signers(dataclasses.replace(again, payload=data + b"x"), [key.public])
    assert not signers(dataclasses.replace(again, payload_type=kind + "x"), [key.public])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_is_not_an_envelope_is_malformed_and_nothing_else(data):
    with pytest.raises(Malformed):
        parse_envelope(data)


@settings(max_examples=150, deadline=None)
@given(where=st.integers(0, 10_000), change=st.integers(1, 255))
def test_no_changed_byte_of_an_envelope_makes_it_say_something_else(keys, where, change):
    key = load_private(keys.pem("producer"))
    envelope = sign(b'{"what": "was signed"}', key)
    data = bytearray(envelope.to_json())
    data[where % len(data)] ^= change
    try:
        found = parse_envelope(bytes(data))
    except Malformed:
        return
    if signers(found, [key.public]):
        assert (found.payload_type, found.payload) == (envelope.payload_type, envelope.payload)


# ---------------------------------------------------------------------------------- strict JSON

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(documents, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_plain_reads_as_every_parser_reads_it(document, ascii_only, indent):
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    assert loads(text.encode()).value == json.loads(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from('{}[]",:0123456789.eE+-truefalsn\\u \n'), max_size=40))
def test_what_is_read_is_what_the_standard_parser_reads_and_the_rest_is_malformed(text):
    try:
        found = loads(text.encode()).value
    except Malformed:
        return
    assert found == json.loads(text)


# -------------------------------------------------------------------------------------- judge

HERE = Digest.of(b"here")
finding = st.builds(
    Finding,
    rule=st.sampled_from("abc"),
    code=st.just("odd"),
    severity=st.sampled_from(Severity),
    confidence=st.sampled_from(Confidence),
    subject=st.just(Subject(kind="dataset")),
    summary=st.just("odd"),
)
ran = st.lists(finding, max_size=3).map(lambda fs: Ran(Measured(statistics={}, findings=tuple(fs))))
outcome = ran | st.just(Skipped("x")) | st.just(Failed("x")) | st.just(Inapplicable("x"))
examination = st.builds(
    Examination,
    rule=st.sampled_from("abcd"),
    snapshot=st.sampled_from([HERE, HERE, HERE, Digest.of(b"there")]),
    outcome=outcome,
)


@st.composite
def policies(draw):
    low, high = sorted((draw(st.sampled_from(Severity)), draw(st.sampled_from(Severity))))
    return Policy(
        name="p",
        rules=("a", "b", "c"),
        required=tuple(draw(st.sets(st.sampled_from("abc")))),
        quarantine_at=low,
        block_at=high,
        min_confidence=draw(st.sampled_from(Confidence)),
    )


@settings(max_examples=200, deadline=None)
@given(policies(), st.lists(examination, max_size=5))
def test_judge_is_total_and_says_why_unless_it_passes(policy, given_):
    verdict = judge(policy, HERE, given_)
    assert bool(verdict) is (verdict.decision is Decision.PASS) is (not verdict.reasons)
    assert verdict == judge(policy, HERE, given_)


@settings(max_examples=200, deadline=None)
@given(policies(), st.lists(examination, max_size=5))
def test_a_required_examination_that_is_missing_skipped_or_failed_always_blocks(policy, given_):
    by_rule = {}
    for each in given_:
        by_rule.setdefault(each.rule, []).append(each)
    looked = all(
        rule in by_rule
        and all(
            isinstance(e.outcome, Ran | Inapplicable) and e.snapshot == HERE for e in by_rule[rule]
        )
        for rule in policy.required
    )
    if not looked or not given_ or any(e.snapshot != HERE for e in given_):
        assert judge(policy, HERE, given_).decision is Decision.BLOCK


@settings(max_examples=200, deadline=None)
@given(policies(), st.lists(examination, min_size=1, max_size=5), finding, st.data())
def test_more_findings_never_give_a_milder_verdict(policy, given_, more, data):
    index = data.draw(st.integers(0, len(given_) - 1))
    one = given_[index]
    if not isinstance(one.outcome, Ran):
        return
    measured = one.outcome.measured
    worse = dataclasses.replace(measured, findings=(*measured.findings, more))
    changed = [*given_]
    changed[index] = dataclasses.replace(one, outcome=Ran(worse))
    assert judge(policy, HERE, changed).decision >= judge(policy, HERE, given_).decision


@settings(max_examples=200, deadline=None)
@given(policies(), st.lists(examination, min_size=1, max_size=5), examination)
def test_one_more_examination_of_what_was_examined_never_gives_a_milder_verdict(
    policy, given_, more
):
    """A rule looked at twice is judged by both; only what was missing can be mended by looking."""
    if more.rule in {e.rule for e in given_} and any(isinstance(e.outcome, Ran) for e in given_):
        assert judge(policy, HERE, [*given_, more]).decision >= judge(policy, HERE, given_).decision


@settings(max_examples=100, deadline=None)
@given(policies(), st.lists(examination, max_size=5), st.permutations(range(5)))
def test_the_order_of_examinations_decides_nothing(policy, given_, order):
    shuffled = [given_[i] for i in order if i < len(given_)]
    assert judge(policy, HERE, shuffled).decision is judge(policy, HERE, given_).decision
