"""The full form of a trust: TUF's metadata, verified in TUF's order, without I/O.

    metadata/1.root.json ...     m of n root keys; each root is signed by the one before and itself
    metadata/timestamp.json      which snapshot is the newest, for a short while: against freezing
    metadata/N.snapshot.json     which version each piece of metadata has: against mixing
    metadata/N.targets.json      delegations of rights (`producer/acme/*`) to keys, m of n
    metadata/N.<name>.json       delegations by those who were delegated to, inside what they have

:func:`evaluate` is a state machine as python-tuf's TrustedMetadataSet is: root, then timestamp,
snapshot, targets and what is delegated, each verified by what came before and before it is parsed.
It stops at the first step that fails. What was seen before (:class:`~.memory.SeenTrust`) goes
in, and nothing may be older; expiry is asked of the trust that comes out, whenever a time is given.

Two things differ from python-tuf, to the strict side: a key counts once however many key ids it
has, and metadata of a delegation that does not verify refuses whatever that delegation covers,
and nothing else: a delegated team cannot put everybody else's trust out of force.

Specification: https://theupdateframework.github.io/specification/v1.0.33/#detailed-client-workflow
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from guards.digest import Digest, digest_json
from guards.errors import GuardError, Malformed, Untrusted, UsageError
from guards.files import read_document
from guards.provenance import tufdata
from guards.provenance.authority import Delegation, Standing, Trust, exchanged
from guards.provenance.memory import Memory, SeenTrust
from guards.provenance.signing import Envelope, PublicKey, parse_envelope, signers

MAX_FILES = 20_000
MAX_DEPTH = 8
MAX_DELEGATIONS = 4096
_FILE = re.compile(r"(?:[1-9]\d{0,8}\.)?[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.json")
_ROOT = re.compile(r"([1-9]\d{0,8})\.root\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of metadata that verified: what it says, its digest, and who signed it."""

    name: str
    signed: Any
    digest: Digest
    signed_by: frozenset[PublicKey]

    @property
    def standing(self) -> Standing:
        """Its version, and until when it is in force."""
        return Standing(name=self.name, version=self.signed.version, expires=self.signed.expires)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooted:
    """A state that verified: the trust in it, its pieces by name, and what to remember of it."""

    trust: Trust
    pieces: Mapping[str, Piece]
    seen: SeenTrust

    @property
    def root(self) -> Any:
        """The root in force."""
        return self.pieces["root"].signed


def read(directory: Path, state: Memory | None = None, pinned: Digest | None = None) -> Trust:
    """The trust in a metadata directory; with `state`, not older than what was seen before."""
    found = evaluate(files(directory), state.recall_trust() if state else None, pinned)
    if state:
        state.remember_trust(found.seen)
    return found.trust


def files(directory: Path) -> dict[str, bytes]:
    """The documents of a metadata directory by name, read and not believed."""
    found: dict[str, bytes] = {}
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError as error:
        raise UsageError(f"trust {directory}: {error.strerror}") from error
    if len(names) > MAX_FILES:
        raise UsageError(f"trust {directory}: more than {MAX_FILES} files")
    for name in names:
        data = read_document(directory / name) if _FILE.fullmatch(name) else None
        if data is not None:
            found[name] = data
    return found


def evaluate(
    documents: Mapping[str, bytes], seen: SeenTrust | None = None, pinned: Digest | None = None
) -> Rooted:
    """Verify everything in TUF's order; pure.

    With `pinned`, everything rests on the root of that digest, or on one that follows from it.

    Raises:
        Malformed: a document is not TUF's metadata.
        Untrusted: one is missing, is not signed by those that it takes, is older than `seen`, or
            does not rest on what was pinned.
    """
    root, seen = _root(documents, seen, pinned)
    timestamp = _top(documents, root, "timestamp", "timestamp.json")
    _refuse_older("timestamp", timestamp.signed.version, seen.timestamp if seen else 0)
    meta = timestamp.signed.snapshot_meta
    _refuse_odd("timestamp.json", {"snapshot.json": meta})
    snapshot = _listed(documents, root, "snapshot", meta)
    _refuse_older("snapshot", meta.version, seen.snapshot if seen else 0)
    listed = snapshot.signed.meta
    _refuse_odd("snapshot", listed)
    for name, version in (seen.others if seen else {}).items():
        now = listed[f"{name}.json"].version if f"{name}.json" in listed else 0
        _refuse_older(name, now, version)
    if "targets.json" not in listed:
        raise Untrusted("trust: the snapshot lists no targets.json")
    targets = _listed(documents, root, "targets", listed["targets.json"])
    pieces = {p.name: p for p in (root, timestamp, snapshot, targets)}
    tree = _Tree(documents=documents, listed=listed, pieces=pieces, root=root.signed)
    delegations = tree.below(targets, ())
    named = [[p.name, p.signed.version, str(p.digest)] for p in tree.lasting]
    return Rooted(
        trust=Trust(
            delegations=delegations,
            standing=tuple(p.standing for p in (root, timestamp, snapshot, targets)),
            source=digest_json(named),
            root=root.digest,
        ),
        pieces=pieces,
        seen=SeenTrust(
            root=root.signed.version,
            digest=root.digest,
            timestamp=timestamp.signed.version,
            snapshot=snapshot.signed.version,
            others={name.removesuffix(".json"): one.version for name, one in listed.items()},
        ),
    )


def _root(
    documents: Mapping[str, bytes], seen: SeenTrust | None, pinned: Digest | None
) -> tuple[Piece, SeenTrust | None]:
    """The newest root, by way of every one before it; the first is believed, or seen, or pinned."""
    versions = sorted(int(m[1]) for name in documents if (m := _ROOT.fullmatch(name)))
    if not versions:
        raise UsageError("trust: there is no N.root.json; toadstone trust init --root-key")
    if seen and versions[-1] < seen.root:
        raise Untrusted(
            f"trust: root version {versions[-1]} is older than version {seen.root}, seen before"
        )
    start = seen.root if seen and seen.root in versions else versions[0]
    if pinned:
        from_there = _pinned(documents, versions, pinned)
        start = min(start, from_there) if seen else from_there
    root = _first_root(documents, start)
    _refuse_another(root, seen, first=True)
    while f"{root.signed.version + 1}.root.json" in documents:
        after = _next_root(documents, root)
        if seen and root.signed.version >= seen.root and _recovers(root.signed, after.signed):
            seen = SeenTrust(root=seen.root, digest=seen.digest)
        root = after
        _refuse_another(root, seen)
    if root.signed.version != versions[-1]:
        raise Untrusted(f"trust: root version {root.signed.version + 1} is missing")
    return root, seen


def _pinned(documents: Mapping[str, bytes], versions: list[int], pinned: Digest) -> int:
    """The version of the root that was pinned, from which, or through which, all others follow."""
    found = {
        Digest.of(_envelope(documents, f"{version}.root.json").payload): version
        for version in versions
    }
    if pinned not in found:
        newest = next(digest for digest, version in found.items() if version == versions[-1])
        raise exchanged(f"its newest root, version {versions[-1]},", newest, pinned)
    return found[pinned]


def _refuse_another(root: Piece, seen: SeenTrust | None, *, first: bool = False) -> None:
    """Refuse a root that is not as it was seen; the walk begins there, or before."""
    version = root.signed.version
    if seen is None or version < seen.root or (version > seen.root and not first):
        return
    if (version, root.digest) != (seen.root, seen.digest):
        told = f"its root version {version} is another than was seen, {seen.digest}"
        raise Untrusted(f"trust: {told}; a trust of its own needs a --state of its own")


def _first_root(documents: Mapping[str, bytes], version: int) -> Piece:
    name = f"{version}.root.json"
    envelope = _envelope(documents, name)
    root = tufdata.parse(envelope.payload, "root", name)
    return _root_piece(envelope, root, name, version)


def _next_root(documents: Mapping[str, bytes], before: Piece) -> Piece:
    """The root after another: signed by those whom it replaces, and by its own."""
    version = before.signed.version + 1
    name = f"{version}.root.json"
    envelope = _envelope(documents, name)
    by = signers(envelope, keys_of(before.signed, "root", f"{before.signed.version}.root.json"))
    _require(by, before.signed.roles["root"], name, f"root version {before.signed.version}")
    root = tufdata.parse(envelope.payload, "root", name)
    return _root_piece(envelope, root, name, version)


def _root_piece(envelope: Envelope, root: Any, name: str, version: int) -> Piece:
    if root.version != version:
        raise Malformed(f"says that it is version {root.version}", name)
    for role in tufdata.TOP_LEVEL:
        keys_of(root, role, name)
    by = signers(envelope, keys_of(root, "root", name))
    _require(by, root.roles["root"], name, f"root version {version}")
    return Piece(name="root", signed=root, digest=Digest.of(envelope.payload), signed_by=by)


def _recovers(before: Any, after: Any) -> bool:
    """Whether the keys of the timestamp or snapshot were exchanged, as after a theft.

    Who had them may have counted up to any version, so what was seen of versions then is forgotten
    (the specification's 5.3.11, recovery from fast-forward attacks).
    """
    return any(
        set(before.roles[role].keyids) - set(after.roles[role].keyids)
        for role in ("timestamp", "snapshot")
    )


def _top(documents: Mapping[str, bytes], root: Piece, role: str, name: str) -> Piece:
    keys = keys_of(root.signed, role, "root")
    return _verified(documents, name, role, role, keys, root.signed.roles[role])


def _listed(documents: Mapping[str, bytes], root: Piece, role: str, meta: Any) -> Piece:
    """The piece of a top-level role in the version, length and hashes that its list names."""
    name = _named(role, meta, root.signed)
    _same_bytes(documents, name, meta)
    piece = _top(documents, root, role, name)
    if piece.signed.version != meta.version:
        raise Untrusted(f"trust: {name} is version {piece.signed.version}, not {meta.version}")
    return piece


def _named(role: str, meta: Any, root: Any) -> str:
    return f"{meta.version}.{role}.json" if root.consistent_snapshot else f"{role}.json"


def _same_bytes(documents: Mapping[str, bytes], name: str, meta: Any) -> None:
    if name not in documents:
        raise Untrusted(f"trust: {name} is missing; fetch the whole of metadata/ again")
    try:
        meta.verify_length_and_hashes(documents[name])
    except Exception as error:  # python-tuf's own tree of errors, and what a strange hash raises
        raise Untrusted(f"trust: {name} is not the one that is listed: {error}") from error


def _verified(
    documents: Mapping[str, bytes],
    name: str,
    called: str,
    kind: str,
    keys: tuple[PublicKey, ...],
    role: Any,
) -> Piece:
    envelope = _envelope(documents, name)
    by = signers(envelope, keys)
    _require(by, role, name, called)
    signed = tufdata.parse(envelope.payload, kind, name)
    return Piece(name=called, signed=signed, digest=Digest.of(envelope.payload), signed_by=by)


def _envelope(documents: Mapping[str, bytes], name: str) -> Envelope:
    if name not in documents:
        raise Untrusted(f"trust: {name} is missing; fetch the whole of metadata/ again")
    envelope = parse_envelope(documents[name], name)
    if envelope.payload_type != tufdata.PAYLOAD_TYPE:
        raise Malformed(f"must be {tufdata.PAYLOAD_TYPE}", f"{name}.payloadType")
    return envelope


def keys_of(delegator: Any, role: str, where: str) -> tuple[PublicKey, ...]:
    """The keys of a role of root; a key of two ids would let one person be two."""
    found = [
        tufdata.key_of(_key(delegator.keys, keyid, where), where)
        for keyid in delegator.roles[role].keyids
    ]
    tufdata.threshold(delegator.roles[role], f"{where}: {role}")
    _refuse_twins(found, f"{where}: {role}")
    return tuple(found)


def _key(keys: Mapping[str, Any], keyid: str, where: str) -> Any:
    if keyid not in keys:
        raise Malformed(f"there is no key {str(keyid)[:12]}", where)
    return keys[keyid]


def _refuse_twins(keys: list[PublicKey], where: str) -> None:
    if len(set(keys)) != len(keys):
        raise Untrusted(f"trust: {where}: one key is listed under two key ids")


def _require(by: frozenset[PublicKey], role: Any, name: str, whose: str) -> None:
    if len(by) < role.threshold:
        raise Untrusted(
            f"trust: {name} is signed by {len(by)} of the {role.threshold} keys of {whose} "
            "that it takes"
        )


def _refuse_odd(where: str, listed: Mapping[str, Any]) -> None:
    """A list that is remembered holds names of files and whole numbers; python-tuf takes others."""
    for name, meta in listed.items():
        if type(meta.version) is not int or not _FILE.fullmatch(name):
            raise Malformed(f"lists {name[:80]!r} as version {meta.version!r}", where)


def _refuse_older(name: str, version: int, seen: int) -> None:
    if version < seen:
        what = f"version {version} is older than version" if version else "is missing; it was"
        raise Untrusted(f"trust: rollback: {name} {what} {seen}, seen before")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """The descent into what is delegated.

    `spent` counts what was met below one delegation of `targets`: one piece can be reached by many
    ways, so a few files could make as many of them as there are paths.
    """

    documents: Mapping[str, bytes]
    listed: Mapping[str, Any]
    pieces: dict[str, Piece]
    root: Any
    spent: list[int] = field(default_factory=lambda: [0])

    @property
    def lasting(self) -> list[Piece]:
        """What says who may do what; timestamp and snapshot only say that this is the newest."""
        return [p for name, p in self.pieces.items() if name not in ("timestamp", "snapshot")]

    def below(self, piece: Piece, way: tuple[str, ...]) -> tuple[Delegation, ...]:
        """What a piece delegates, in its order."""
        told = piece.signed.delegations
        if told is None:
            return ()
        if told.roles is None:
            raise Malformed("delegates by `roles`, and by nothing else", piece.name)
        if len(way) > MAX_DEPTH or len(told.roles) > MAX_DELEGATIONS:
            raise Malformed(f"delegates deeper than {MAX_DEPTH}, or too much", piece.name)
        return tuple(self._delegation(role, told.keys, piece, way) for role in told.roles.values())

    def _delegation(
        self, role: Any, keys: Mapping[str, Any], piece: Piece, way: tuple[str, ...]
    ) -> Delegation:
        where = piece.name
        self.spent[0] = self.spent[0] + 1 if way else 0
        if self.spent[0] > MAX_DELEGATIONS:
            raise Malformed(f"delegates by more than {MAX_DELEGATIONS} ways", way[0])
        holders = [tufdata.holder(_key(keys, keyid, where), where) for keyid in role.keyids]
        _refuse_twins([one.key for one in holders], f"{where}: {role.name}")
        if type(role.terminating) is not bool:
            raise Malformed("terminating is true or false", f"{where}: {role.name}")
        made = Delegation(
            where=" > ".join((*way, role.name)),
            keys=tuple(holders),
            threshold=tufdata.threshold(role, f"{where}: {role.name}"),
            scope=tufdata.scopes(role, where),
            terminating=role.terminating,
        )
        return self._delegated_on(made, role, way)

    def _delegated_on(self, made: Delegation, role: Any, way: tuple[str, ...]) -> Delegation:
        """With what lies below, if there is metadata of that name; what fails is told by itself."""
        meta = self.listed.get(f"{role.name}.json")
        if meta is None:
            return made
        try:
            piece = self._piece(role, made, meta, way)
            below = self.below(piece, (*way, role.name))
        except GuardError as error:
            return replace(made, broken=str(error))
        standing = piece.standing
        return replace(made, standing=standing, signed_by=piece.signed_by, below=below)

    def _piece(self, role: Any, made: Delegation, meta: Any, way: tuple[str, ...]) -> Piece:
        if role.name in (*way, *tufdata.TOP_LEVEL):
            raise Malformed("delegates to itself", made.where)
        name = _named(role.name, meta, self.root)
        _same_bytes(self.documents, name, meta)
        keys = tuple(one.key for one in made.keys)
        piece = _verified(self.documents, name, role.name, "targets", keys, role)
        if piece.signed.version != meta.version:
            raise Untrusted(f"trust: {name} is version {piece.signed.version}, not {meta.version}")
        self.pieces[role.name] = piece
        return piece
