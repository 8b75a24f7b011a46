"""Changing a trust of the full form: drafts that others sign, and that come into force together.

    TRUST/pending/<name>.json   a change, with the signatures that it has so far
    TRUST/metadata/             what is in force (:mod:`.rooted`)

Every change is a draft of the next version. Whoever holds keys signs it, in one command or one
after the other, on whatever machine the directory was copied to. Once every role has as many
signatures as it takes, a new snapshot and timestamp are made and the whole is verified as a
verifier would; only what verifies replaces `metadata/`, all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from guards.errors import Untrusted, UsageError
from guards.files import directory_at_once, write_atomically
from guards.provenance import rootdiff, tufdata
from guards.provenance.rooted import Rooted, evaluate, files, keys_of
from guards.provenance.signing import (
    Envelope,
    PublicKey,
    Signer,
    add_signature,
    parse_envelope,
    signers,
)
from guards.provenance.strictjson import timestamp
from guards.provenance.trust import METADATA, PENDING

LONG, SHORT = timedelta(days=365), timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Who signs, when, how long delegations and roots hold, and how long they are known fresh."""

    signers: tuple[Signer, ...]
    at: datetime
    lasting: timedelta = LONG
    fresh: timedelta = SHORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of a change: the names that are in force now, and what still waits, for what.

    `changes` are the rights that the drafts take out and put in, for whoever signs them to read.
    """

    in_force: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """For people."""
        if self.waiting:
            return f"waits: {'; '.join(self.waiting)}; sign it with toadstone trust sign"
        return f"in force: {', '.join(self.in_force)}"


@dataclass(slots=True)
class _Bench:
    """A trust directory while it is changed: what is in force, and the drafts."""

    directory: Path
    terms: Terms
    documents: dict[str, bytes]
    current: Rooted | None
    drafts: dict[str, Envelope]
    signed: set[str] = field(default_factory=set)

    def payload(self, name: str) -> bytes | None:
        """What is edited: the draft of a name, or what is in force."""
        if name in self.drafts:
            return self.drafts[name].payload
        piece = self.current.pieces.get(name) if self.current else None
        return tufdata.payload(piece.signed) if piece else None

    def put(self, name: str, signed: Any) -> None:
        """Make a draft of the version after the one in force; earlier signatures do not hold."""
        piece = self.current.pieces.get(name) if self.current else None
        signed.version = piece.signed.version + 1 if piece else 1
        signed.expires = self.terms.at + self.terms.lasting
        self.drafts[name] = Envelope(
            payload_type=tufdata.PAYLOAD_TYPE, payload=tufdata.payload(signed), signatures=()
        )

    def root(self) -> Any:
        """The root that will be in force: the draft, or the one that is."""
        data = self.payload("root")
        if data is None:
            raise UsageError(
                f"trust {self.directory}: {METADATA}/ is missing and no root waits in {PENDING}/; "
                "put back what was in force before anything is signed"
            )
        return tufdata.parse(data, "root", "root")

    def holders(self, name: str) -> list[tuple[tuple[PublicKey, ...], int]]:
        """Who has to sign a draft: sets of keys, and how many out of each."""
        if name in tufdata.TOP_LEVEL:
            roots = [self.root()]
            if name == "root" and self.current:
                roots.append(self.current.root)
            return [(keys_of(one, name, "root"), one.roles[name].threshold) for one in roots]
        role, keys = self.delegated(name)
        holders = [tufdata.holder(keys[keyid], name) for keyid in role.keyids]
        able = [one.key for one in holders if not one.untimely(self.terms.at)]
        return [(tuple(able), role.threshold)]

    def delegated(self, name: str) -> tuple[Any, Any]:
        """A delegated role and the keys beside it, in whatever piece it is delegated."""
        for piece in [*self.drafts, *(self.current.pieces if self.current else ())]:
            if piece in ("root", "timestamp", "snapshot"):
                continue
            data = self.payload(piece)
            told = tufdata.parse(data, "targets", piece).delegations if data else None  # type: ignore[union-attr]
            if told is not None and told.roles and name in told.roles:
                return told.roles[name], told.keys
        raise UsageError(f"trust {self.directory}: nothing was delegated to {name!r}")


def start(
    directory: Path,
    keys: Sequence[PublicKey],
    threshold: int,
    terms: Terms,
    online: Sequence[PublicKey] = (),
) -> Kept:
    """Begin a trust with root keys, so many of which have to sign; nothing is delegated yet.

    Keys that are `online` sign that it is fresh, one of them each time; without, the root keys do.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is there already; choose another --out")
    if not 1 <= threshold <= len(set(keys)):
        raise UsageError(f"{threshold} of {len(set(keys))} root keys cannot sign")
    tuf = tufdata.model()
    root = tuf.Root(consistent_snapshot=True, expires=terms.at)
    for role in tufdata.TOP_LEVEL:
        fresh = role in ("snapshot", "timestamp")
        for key in dict.fromkeys((online or keys) if fresh else keys):
            root.add_key(tufdata.as_tuf(tufdata.plain(key)), role)
        root.roles[role].threshold = 1 if fresh else threshold
    bench = _Bench(directory, terms, {}, None, {})
    bench.put("root", root)
    bench.put("targets", tuf.Targets(expires=terms.at, delegations=tuf.Delegations({}, {})))
    return _keep(bench)


def change(directory: Path, terms: Terms, name: str, edit: Callable[[Any, Any], None]) -> Kept:
    """Edit what `name` delegates: `targets`, or a delegated role; `edit` gets keys and roles."""
    bench = _open(directory, terms)
    data = bench.payload(name)
    tuf = tufdata.model()
    if data is None:
        bench.delegated(name)
        piece = tuf.Targets(expires=terms.at)
    else:
        piece = tufdata.parse(data, "targets", name)
    if piece.delegations is None:
        piece.delegations = tuf.Delegations({}, {})
    edit(piece.delegations.keys, piece.delegations.roles)
    bench.put(name, piece)
    return _keep(bench)


def rotate_root(directory: Path, terms: Terms, old: PublicKey, new: PublicKey, reason: str) -> Kept:
    """Put a new root key in the place of an old one; the old root and the new one have to sign."""
    bench = _open(directory, terms)
    root = bench.root()
    roles = [role for role in tufdata.TOP_LEVEL if old.keyid in root.roles[role].keyids]
    for role in roles:
        root.revoke_key(old.keyid, role)
        root.add_key(tufdata.as_tuf(tufdata.plain(new)), role)
    gone = {"keyid": old.keyid, "since": timestamp(terms.at), "reason": reason}
    ours = root.unrecognized_fields.setdefault(tufdata.OURS, {})
    ours["rotated"] = [*ours.get("rotated", []), gone]
    bench.put("root", root)
    if "targets" in roles and (data := bench.payload("targets")):
        bench.put("targets", tufdata.parse(data, "targets", "targets"))
    return _keep(bench)


def countersign(directory: Path, terms: Terms, renew: Iterable[str] = ()) -> Kept:
    """Sign what waits and, with nothing waiting or names to `renew`, that all of it is fresh."""
    bench = _open(directory, terms)
    for name in renew:
        if (data := bench.payload(name)) is None:
            raise UsageError(f"--renew {name}: there is no such metadata")
        kind = "root" if name == "root" else "targets"
        bench.put(name, tufdata.parse(data, kind, name))
    return _keep(bench)


def pending(directory: Path, at: datetime) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The rights that are in force, a line each, and what the drafts that wait would change."""
    bench = _open(directory, Terms(signers=(), at=at))
    held = bench.current.pieces if bench.current else {}
    named = [name for name in held if name not in ("timestamp", "snapshot")]
    told = [line for name in named for line in rootdiff.lines(_in_force(bench, name), name)]
    return tuple(told), _changes(bench)


def _changes(bench: _Bench) -> tuple[str, ...]:
    return tuple(
        line
        for name, draft in bench.drafts.items()
        for line in rootdiff.changes(
            rootdiff.lines(_in_force(bench, name), name), rootdiff.lines(draft.payload, name)
        )
    )


def _in_force(bench: _Bench, name: str) -> bytes | None:
    piece = bench.current.pieces.get(name) if bench.current else None
    return tufdata.payload(piece.signed) if piece else None


def is_root_key(directory: Path, key: PublicKey) -> bool:
    """Whether a key is one of the root's own."""
    root = evaluate(files(directory / METADATA)).root
    return any(key.keyid in root.roles[role].keyids for role in tufdata.TOP_LEVEL)


def _open(directory: Path, terms: Terms) -> _Bench:
    metadata, pending = directory / METADATA, directory / PENDING
    documents = files(metadata) if metadata.is_dir() else {}
    current = evaluate(documents) if documents else None
    drafts = files(pending) if pending.is_dir() else {}
    if current is None and not drafts:
        raise UsageError(f"trust {directory}: there is none here; toadstone trust init --root-key")
    parsed = {name.removesuffix(".json"): parse_envelope(d, name) for name, d in drafts.items()}
    return _Bench(directory, terms, documents, current, parsed)


def _keep(bench: _Bench) -> Kept:
    """Sign what may be signed; put everything in force if it is complete, and else keep drafts."""
    changed = _changes(bench)
    waiting = [told for name in bench.drafts if (told := _signed(bench, name))]
    try:
        made = _made(bench) if not waiting else None
    except Untrusted as error:
        waiting, made = [str(error)], None
    if not bench.signed and (bench.drafts or made is None):
        raise UsageError("none of the keys given with --sign may sign anything of this")
    if made is None:
        _write_drafts(bench)
        return Kept(waiting=tuple(waiting), changes=changed)
    with directory_at_once(bench.directory / METADATA) as draft:
        for name, data in made.items():
            write_atomically(draft / name, data)
    in_force = tuple(bench.drafts) or ("timestamp",)
    bench.drafts.clear()
    _write_drafts(bench)
    return Kept(in_force=in_force, changes=changed)


def _signed(bench: _Bench, name: str) -> str:
    """Let the signers sign a draft, as far as they may; what is missing still, or nothing."""
    missing = []
    for keys, least in bench.holders(name):
        bench.drafts[name] = _with(bench, name, bench.drafts[name], keys)
        have = len(signers(bench.drafts[name], keys))
        if have < least:
            missing.append(f"{name} has {have} of {least} signatures")
    return "; ".join(dict.fromkeys(missing))


def _with(bench: _Bench, name: str, draft: Envelope, keys: Iterable[PublicKey]) -> Envelope:
    for signer in bench.terms.signers:
        if signer.public in keys:
            draft = add_signature(draft, signer)
            bench.signed.add(name)
    return draft


def _made(bench: _Bench) -> dict[str, bytes]:
    """All documents with the drafts among them, a new snapshot and timestamp; verified."""
    tuf, made, root = tufdata.model(), dict(bench.documents), bench.root()
    old = bench.current.pieces if bench.current else {}
    listed = dict(old["snapshot"].signed.meta) if old else {}
    for name, draft in bench.drafts.items():
        kind = "root" if name == "root" else "targets"
        version, data = tufdata.parse(draft.payload, kind, name).version, draft.to_json()
        made[f"{version}.{name}.json"] = data
        if name != "root":
            listed[f"{name}.json"] = tuf.MetaFile.from_data(version, data, ["sha256"])
    version = old["snapshot"].signed.version + 1 if old else 1
    until = bench.terms.at + bench.terms.fresh
    snapshot = tuf.Snapshot(version=version, expires=until, meta=listed)
    data = _fresh(bench, "snapshot", snapshot, root)
    made[f"{version}.snapshot.json"] = data
    meta = tuf.MetaFile.from_data(version, data, ["sha256"])
    version = old["timestamp"].signed.version + 1 if old else 1
    stamp = tuf.Timestamp(version=version, expires=until, snapshot_meta=meta)
    made["timestamp.json"] = _fresh(bench, "timestamp", stamp, root)
    evaluate(made)
    return made


def _fresh(bench: _Bench, role: str, signed: Any, root: Any) -> bytes:
    keys = keys_of(root, role, "root")
    draft = Envelope(
        payload_type=tufdata.PAYLOAD_TYPE, payload=tufdata.payload(signed), signatures=()
    )
    draft = _with(bench, role, draft, keys)
    if len(draft.signatures) < root.roles[role].threshold:
        ids = ", ".join(key.keyid[:12] for key in keys)
        raise Untrusted(f"a new {role} needs a signature by a key out of {ids}")
    return draft.to_json()


def _write_drafts(bench: _Bench) -> None:
    pending = bench.directory / PENDING
    try:
        pending.mkdir(parents=True, exist_ok=True)
        for name, draft in bench.drafts.items():
            write_atomically(pending / f"{name}.json", draft.to_json())
        for path in pending.glob("*.json"):
            if path.stem not in bench.drafts:
                path.unlink()
        if not bench.drafts:
            pending.rmdir()
    except OSError as error:
        raise UsageError(f"cannot write {pending}: {error.strerror}") from error
