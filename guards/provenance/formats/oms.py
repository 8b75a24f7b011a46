"""OpenSSF Model Signing v1.0: sigstore bundles (v0.3) over a list of files or shards.

Signed by an elliptic key, P-256 or P-384 (the specification's P-521 is no key of ours); bundles
with certificates are refused by name. The order is verify, then parse: :func:`envelope` takes the
bundle apart, its signatures are held against the trust, and only then does :func:`read` look
inside. What it cannot bind is in `LIMITS`, and said with every outcome.

The released `model-signing` writes `sha256-sharded-<size>` as the algorithm of a shard and its size
as a float, where the specification has `sha256` and an integer. Both are read. Written is the
integer, and the tool's name of the algorithm, without which it refuses its own format.

https://github.com/ossf/model-signing-spec
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from guards.digest import canonical_json
from guards.errors import Malformed, Untrusted, UsageError
from guards.provenance.flat import Flat, Wanted
from guards.provenance.formats.claim import (
    ClaimedFile,
    FlatDigest,
    ForeignClaim,
    Shard,
    claimed_size,
    flat_digest,
    listed,
    plain_path,
)
from guards.provenance.signing import (
    MAX_MARKS,
    Envelope,
    PublicKey,
    Signer,
    make_statement,
    sign,
    statement,
)
from guards.provenance.signing import envelope as dsse
from guards.provenance.strictjson import Node, loads

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "https://model_signing/signature/v1.0"
SCHEMES = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384")
# Of a written bundle, if it is asked for shards; the peer's own is 10^9.
SHARD = 1_000_000_000
# What the specification allows and can be computed here; blake3 is told by its name.
_ALGORITHMS = ("sha256", "blake2b")
_SHARD_NAME = re.compile(r"(.+):(0|[1-9]\d{0,15}):([1-9]\d{0,15})", re.ASCII)
LIMITS = (
    "it binds no dataset name: the same files hold under every name",
    "it binds no version and no expiry: an old bundle holds for the old files",
    "its root digest is over digests only; the names of the files are bound by the list alone",
    "empty directories and hard links are not in it; here the first is refused, the second told",
)


def envelope(data: bytes) -> Envelope:
    """The DSSE envelope of a bundle that a key signed; nothing in it is believed yet.

    Raises:
        Malformed: it is no such bundle.
        Untrusted: it was signed by way of a certificate, which no trust directory knows.
    """
    top = Node(loads(data, "bundle", long_text=("payload",), long_at=1, most=MAX_MARKS).value, "")
    top.only("mediaType", "verificationMaterial", "dsseEnvelope")
    if top.of("mediaType").text() != MEDIA_TYPE:
        top.of("mediaType").refuse(f"must be {MEDIA_TYPE}")
    material = top.of("verificationMaterial")
    material.only(
        *("publicKey", "certificate", "x509CertificateChain"),
        *("tlogEntries", "timestampVerificationData"),
    )
    if material.optional("publicKey") is None:
        if material.mapping().keys() & {"certificate", "x509CertificateChain"}:
            raise Untrusted(
                "bundle: is signed by way of a certificate; only keys of the trust directory count"
            )
        material.refuse("has no publicKey")
    material.of("publicKey").mapping()  # its hint is for people, and decides nothing
    return dsse(top.of("dsseEnvelope"))


def require_elliptic(key: PublicKey) -> None:
    """UsageError for a key of a kind that the format does not know."""
    if key.scheme not in SCHEMES:
        raise UsageError(
            f"OMS knows elliptic keys only, and this is one of {key.scheme}; make one: "
            "toadstone keygen --type ecdsa-p256"
        )


@dataclass(frozen=True, slots=True)
class _How:
    """The serialization: by files, or by shards of a size, hashed by an algorithm."""

    algorithm: str
    shard_size: int | None


def read(verified: Envelope) -> ForeignClaim:
    """The claim in an envelope whose signatures have been verified."""
    top = statement(verified, PREDICATE)
    predicate = top.of("predicate")
    told = predicate.of("serialization").only(
        "method", "hash_type", "shard_size", "allow_symlinks", "ignore_paths"
    )
    how = _how(told)
    resources = list(predicate.of("resources").each())
    _refuse_other_root(next(iter(top.of("subject").each())), resources)
    files = _by_shards(resources, how) if how.shard_size else _by_files(resources, how)
    return ForeignClaim(
        form=f"oms 1.0 by {told.of('method').text()}",
        files=listed(files),
        limits=(*LIMITS, *([_EMPTY] if how.shard_size else [])),
        notes=tuple(_notes(top, told)),
    )


_EMPTY = "empty files are not in a list of shards; here they are extra files, and refused"


def _how(told: Node) -> _How:
    method, algorithm = told.of("method").text(), told.of("hash_type")
    if algorithm.text() not in _ALGORITHMS:
        algorithm.refuse(f"{algorithm.text()[:40]!r} is none of {', '.join(_ALGORITHMS)}")
    size = told.optional("shard_size")
    if method == "files" and size is None:
        return _How(algorithm.text(), None)
    if method != "shards" or size is None:
        told.refuse("method must be files, or shards with a shard_size")
    number = size.value
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if type(number) is not int or number < 1:
        size.refuse("must be a number of bytes")
    return _How(algorithm.text(), claimed_size(number, size.where))


def _notes(top: Node, told: Node) -> Iterator[str]:
    subject = next(iter(top.of("subject").each())).of("name").text()
    yield f"it calls the files {subject[:200]!r}, which is for people only"
    if told.of("allow_symlinks").value is not False:
        yield "its signer followed links; here they are refused"
    ignored = told.optional("ignore_paths")
    if ignored and (paths := [path.text() for path in ignored.each()]):
        yield f"its signer left out {', '.join(paths)[:400]}; here nothing is left out"


def _refuse_other_root(subject: Node, resources: list[Node]) -> None:
    root = hashlib.sha256()
    for resource in resources:
        digest = resource.of("digest")
        try:
            root.update(bytes.fromhex(digest.text()))
        except ValueError:
            digest.refuse("is not hexadecimal")
    if subject.of("digest").of("sha256").digest().hex != root.hexdigest():
        subject.of("digest").refuse("is not the digest of the digests listed")


def _by_files(resources: list[Node], how: _How) -> Iterator[ClaimedFile]:
    for resource in resources:
        name = resource.of("name")
        if resource.of("algorithm").text() != how.algorithm:
            resource.of("algorithm").refuse(f"must be {how.algorithm}, as in serialization")
        yield ClaimedFile(
            path=plain_path(name.text(), name.where), digests=(_digest(resource, how),)
        )


def _digest(resource: Node, how: _How) -> FlatDigest:
    digest = resource.of("digest")
    return flat_digest(how.algorithm, digest.text(), digest.where)


def _by_shards(resources: list[Node], how: _How) -> Iterator[ClaimedFile]:
    shards: dict[str, list[Shard]] = {}
    for resource in resources:
        path, shard = _shard(resource, how)
        known = shards.setdefault(path, [])
        expected = known[-1].end if known else 0
        whole = expected % (how.shard_size or 1) == 0
        if shard.start != expected or not whole:
            resource.of("name").refuse("does not go on where the shard before it ends")
        known.append(shard)
    for path, found in shards.items():
        yield ClaimedFile(path=path, size=found[-1].end, shards=tuple(found))


def _shard(resource: Node, how: _How) -> tuple[str, Shard]:
    name, size = resource.of("name"), how.shard_size or 0
    parts = _SHARD_NAME.fullmatch(name.text())
    if parts is None or not 0 < int(parts[3]) - int(parts[2]) <= size:
        name.refuse(f"is not path:start:end of at most {size} bytes")
    path, start, end = parts.groups()
    algorithm = resource.of("algorithm")
    if algorithm.text() not in _names(how):
        algorithm.refuse(f"must be {how.algorithm}, as in serialization")
    shard = Shard(start=int(start), end=int(end), digest=_digest(resource, how))
    return plain_path(path, name.where), shard


def _names(how: _How) -> tuple[str, ...]:
    """What a shard's algorithm is called: by the specification, and twice by the released tool."""
    sharded = f"{how.algorithm}-sharded-{how.shard_size}"
    return how.algorithm, sharded, f"{sharded}.0"


def wanted(size: int, shard_size: int | None) -> Wanted:
    """What has to be computed of a file of that size, to be written into a bundle."""
    if shard_size is None:
        return Wanted(algorithms=("sha256",))
    starts = range(0, size, shard_size)
    return Wanted(parts=tuple((at, min(at + shard_size, size), "sha256") for at in starts))


def write(name: str, files: Iterable[Flat], key: Signer, shard_size: int | None = None) -> bytes:
    """A bundle over these files, signed; `shard_size` makes it one of shards.

    Raises:
        UsageError: the format has no such key, or cannot say this of such files.
    """
    require_elliptic(key.public)
    ordered = sorted(files, key=lambda flat: PurePosixPath(flat.entry.path).parts)
    resources = [line for flat in ordered for line in _resources(flat, shard_size)]
    root = hashlib.sha256(b"".join(bytes.fromhex(line["digest"]) for line in resources))
    serialization: dict[str, Any] = {
        "method": "shards" if shard_size else "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        **({"shard_size": shard_size} if shard_size else {}),
    }
    predicate = {"resources": resources, "serialization": serialization}
    signed = sign(make_statement(name, root.hexdigest(), PREDICATE, predicate), key)
    return _bundle(signed, key.public)


def _resources(flat: Flat, shard_size: int | None) -> Iterator[Mapping[str, str]]:
    path = flat.entry.path
    if shard_size is None:
        yield {"name": path, "algorithm": "sha256", "digest": flat.whole["sha256"]}
        return
    if not flat.entry.size or ":" in path:
        told = "is empty" if not flat.entry.size else "has a colon in its path"
        raise UsageError(f"{path} {told}, which OMS shards cannot say; write a bundle of files")
    for (start, end, algorithm), digest in flat.parts.items():
        named = f"{algorithm}-sharded-{shard_size}"
        yield {"name": f"{path}:{start}:{end}", "algorithm": named, "digest": digest}


def _bundle(signed: Envelope, key: PublicKey) -> bytes:
    """The sigstore bundle around an envelope; the hint is the sha256 of the key's PEM."""
    document = loads(signed.to_json(), "envelope", long_text=("payload",)).value
    for signature in document["signatures"]:
        signature["keyid"] = ""
    return canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {
                "publicKey": {"hint": hashlib.sha256(key.pem).hexdigest()},
                "tlogEntries": [],
            },
            "dsseEnvelope": document,
        }
    )


def refuse_unreadable(data: bytes) -> None:
    """Tell the one who can still change it that nobody could read a bundle just written."""
    try:
        read(envelope(data))
    except Malformed as error:
        raise UsageError(f"nobody could read the bundle, so none is written: {error}") from error
