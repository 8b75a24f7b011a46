"""The ledger: a transparency log of signed entries, in files that need no server.

    LEDGER/checkpoint             where the log stands: a signed note
    LEDGER/tile/                  the entries, and the tree over them (:mod:`.tiles`)
    LEDGER/records/<sha256>.json  the records themselves
    LEDGER/statistics/<sha256>.json  what was seen in data that was admitted, as its record binds it
    LEDGER/profiles/<sha256>.json    and what that data looked like

The tree is RFC 6962's, the files are those of c2sp.org/tlog-tiles, so that other people's tools
read and check them (docs/adr/0013-tlog.md). Editing, dropping or reordering entries breaks the
tree for everybody. That the end was cut off, or that there are two logs of one name, can be told
only relative to something remembered: a checkpoint that somebody kept. Every record carries the
one it was made on, so each record is such a memory; and no append signs a tree that does not go
on from the one its record was made on.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from guards.digest import Digest, merkle_root
from guards.errors import Malformed, Untrusted, UsageError
from guards.files import directory_on_disk, locked, read_document, write_atomically
from guards.provenance import merkle, tiles
from guards.provenance.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from guards.provenance.lines import Entry, Line, Made, read_line, role, write_line
from guards.provenance.manifest import UNNAMED
from guards.provenance.note import noted_by
from guards.provenance.signing import PublicKey, Signer
from guards.provenance.tiles import Tiles
from guards.provenance.trust import Trust

CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log that verified, from its first entry to `checkpoint`.

    `roots` has the root of the tree at every size, from none to all entries.
    """

    lines: tuple[Line, ...]
    roots: tuple[Digest, ...]
    checkpoint: Checkpoint
    torn: bool = False

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The judgements, in order."""
        return tuple(line for line in self.lines if isinstance(line, Entry))

    @property
    def made(self) -> tuple[Made, ...]:
        """What was made from judged data, in order."""
        return tuple(line for line in self.lines if isinstance(line, Made))

    def objection(self, remembered: Checkpoint) -> str:
        """Why this log does not go on from the one that was remembered, or nothing."""
        if remembered.origin and remembered.origin != self.checkpoint.origin:
            return f"this is another log than {remembered.origin}, which is remembered"
        if remembered.size >= len(self.roots):
            return (
                f"the log was cut off: it has {len(self.lines)} entries, and {remembered.size} are "
                "remembered"
            )
        if self.roots[remembered.size] != remembered.root:
            return (
                f"the log is a fork: its first {remembered.size} entries are not those that are "
                "remembered"
            )
        return ""

    def holds(self, remembered: Checkpoint) -> bool:
        """Whether this log goes on from the one that `remembered` was taken of."""
        return not self.objection(remembered)

    def find(self, record: Digest) -> int | None:
        """The position of a record among the judgements, or None."""
        return next((i for i, entry in enumerate(self.entries) if entry.record == record), None)


def begin(directory: Path, key: Signer) -> Checkpoint:
    """Where the log stands; one that is not there yet begins, empty and signed, with a new name."""
    try:
        directory_on_disk(directory)
        with locked(directory / "lock"):
            if (found := current(directory)) is None:
                origin = f"toadstone.dev/log/{secrets.token_hex(16)}"
                empty = Checkpoint(size=0, root=merkle.EMPTY, origin=origin)
                found = _publish(directory, empty, key)
    except OSError as error:
        raise UsageError(f"ledger {directory}: {error.strerror}") from error
    return found


def exists(directory: Path) -> bool:
    """Whether there is a log; what lies in its place and is none is for `current` to refuse."""
    return (directory / CHECKPOINT).exists() or (directory / "log.jsonl").exists()


def current(directory: Path) -> Checkpoint | None:
    """Where the log says that it stands, not verified; None where there is no log."""
    data = read_document(directory / CHECKPOINT)
    if data is None and (directory / "log.jsonl").exists():
        raise UsageError(f"ledger {directory}: is of an earlier form, a chain; begin a new one")
    return read_checkpoint(data, "ledger checkpoint") if data is not None else None


def append(
    directory: Path,
    entry: Entry,
    record: bytes,
    key: Signer,
    kept: Mapping[str, bytes] | None = None,
    since: Checkpoint | None = None,
) -> Checkpoint:
    """Store a record and log its entry; returns the checkpoint after it, once it is on disk.

    `kept` are documents by the name of their directory (`statistics`, `profiles`); they lie there
    under their digests, by which the record must have bound them. `since` is as for `add`.
    """
    try:
        for kind, document in (kept or {}).items():
            directory_on_disk(directory / kind)
            path = directory / kind / f"{Digest.of(document).hex}.json"
            write_atomically(path, document)
        directory_on_disk(directory / "records")
        write_atomically(directory / "records" / f"{entry.record.hex}.json", record)
    except OSError as error:
        raise UsageError(f"ledger {directory}: {error.strerror}") from error
    return add(directory, entry, key, since)


def add(directory: Path, line: Line, key: Signer, since: Checkpoint | None = None) -> Checkpoint:
    """Log one entry, signed by `key`; returns the checkpoint after it, once it is on disk.

    It costs the tiles at the tree's right edge, however long the log is.

    Raises:
        Malformed: the tree is not that of the checkpoint, or does not go on from `since`: nobody
            signs what contradicts what was signed before.
    """
    begin(directory, key)
    try:
        with locked(directory / "lock"):
            before = current(directory)
            if before is None:
                raise UsageError(f"ledger {directory}: its checkpoint was taken away meanwhile")
            for draft in tiles.leftovers(directory):
                draft.unlink(missing_ok=True)
            tree = Tiles(directory=directory, size=before.size)
            _refuse_other_tree(tree, before, since)
            root = tiles.extend(tree, write_line(line, before, key))
            return _publish(directory, replace(before, size=before.size + 1, root=root), key)
    except OSError as error:
        raise UsageError(f"ledger {directory}: {error.strerror}") from error


def verify(directory: Path, trust: Trust) -> Log:
    """Check every signature and the whole tree; Malformed or Untrusted names the first bad entry.

    Whoever may have written the last entry has to have signed the checkpoint.
    """
    stated = current(directory)
    if stated is None:
        raise UsageError(f"ledger {directory}: there is no checkpoint, so no log")
    tree = Tiles(directory=directory, size=stated.size)
    lines: list[Line] = []
    peaks, roots = merkle.Peaks(), [merkle.EMPTY]
    for index, data in enumerate(_entries(tree)):
        before = Checkpoint(size=index, root=roots[-1], origin=stated.origin)
        lines.append(read_line(data, before, trust, f"ledger entry {index}"))
        peaks.push(merkle.leaf_hash(data))
        roots.append(peaks.root)
    if roots[-1] != stated.root:
        raise Malformed("its root is not that of the entries", "ledger checkpoint")
    _require_last(stated, lines, trust)
    return Log(lines=tuple(lines), roots=tuple(roots), checkpoint=stated, torn=tree.torn)


def missing_records(directory: Path, entries: Sequence[Entry]) -> Iterator[str]:
    """Say of each record that is not there, or is not the one that was logged."""
    for entry in entries:
        path = directory / "records" / f"{entry.record.hex}.json"
        if not path.is_file():
            yield f"record {entry.record.short} of {entry.name} is missing"
        elif Digest.of(path.read_bytes()) != entry.record:
            yield f"record {entry.record.short} of {entry.name} was changed"


def require_logger(stated: Checkpoint, trust: Trust, at: datetime) -> None:
    """Refuse a checkpoint that was signed by nobody who could write any entry at that time.

    What was the last entry is not known here; whoever wrote it signed the checkpoint.
    """
    made_by = signed_by(stated, trust)
    found = [trust.authorise(made_by, each, UNNAMED, at) for each in ("scanner", "deriver")]
    if not any(authority.able for authority in found):
        raise Untrusted(f"the checkpoint of {stated.origin}: {found[0].why_not}")


def _require_last(stated: Checkpoint, lines: Sequence[Line], trust: Trust) -> None:
    """Refuse a checkpoint that nobody signed who may write the last entry."""
    if not lines:
        require_logger(stated, trust, datetime.now(UTC))
        return
    last, made_by = lines[-1], signed_by(stated, trust)
    authority = trust.authorise(made_by, role(last), last.name, last.time)
    if not authority.able:
        raise Untrusted(f"the checkpoint of {stated.origin}: {authority.why_not}")


def signed_by(stated: Checkpoint, trust: Trust) -> frozenset[PublicKey]:
    """The trusted keys that signed a checkpoint, whatever they may do; Untrusted without any.

    One that is `SIZE:ROOT` was signed by nobody, and is whoever's word it is that keeps it.
    """
    if stated.note is None:
        raise Untrusted(f"the checkpoint {stated} is not signed")
    made_by = noted_by(stated.note, stated.origin, trust.public)
    if not made_by:
        raise Untrusted(f"the checkpoint of {stated.origin} is not signed by any trusted key")
    return made_by


def _publish(directory: Path, checkpoint: Checkpoint, key: Signer) -> Checkpoint:
    signed = sign_checkpoint(checkpoint, key)
    write_atomically(directory / CHECKPOINT, signed.text.encode())
    return signed


def _refuse_other_tree(tree: Tiles, before: Checkpoint, since: Checkpoint | None) -> None:
    if tree.root != before.root:
        raise Malformed("its root is not that of the tree; toadstone ledger verify", "checkpoint")
    if since is None:
        return
    same = since.origin in ("", before.origin) and since.size <= before.size
    if not same or merkle.root(tree.read, since.size) != since.root:
        raise Malformed(
            "the log does not go on from what it was when the record was made: it was cut off or "
            "exchanged meanwhile",
            "ledger",
        )


def _entries(tree: Tiles) -> Iterator[bytes]:
    """Every entry, and the tiles over them held against what they have to be."""
    level: list[bytes] = []
    for number in range(tree.bundles):
        found = tree.entries(number)
        leaves = [merkle.leaf_hash(data) for data in found]
        for index, (leaf, stated) in enumerate(
            zip(leaves, tiles.split(tree.hashes(0, number)), strict=True), number * tiles.WIDTH
        ):
            if leaf != stated:
                raise Malformed(
                    "was changed: it is not the one in the tree", f"ledger entry {index}"
                )
        yield from found
        if len(leaves) == tiles.WIDTH:
            level.append(merkle_root(leaves))
    _refuse_other_tiles(tree, level)


def _refuse_other_tiles(tree: Tiles, below: list[bytes]) -> None:
    """The tiles of the higher levels, from the roots of the full ones under them."""
    level = 1
    while below:
        roots = []
        for number in range(-(-len(below) // tiles.WIDTH)):
            expected = below[number * tiles.WIDTH : (number + 1) * tiles.WIDTH]
            if tree.hashes(level, number) != b"".join(expected):
                raise Malformed("is not that of the tiles below", tiles.tile_path(level, number))
            if len(expected) == tiles.WIDTH:
                roots.append(merkle_root(expected))
        level, below = level + 1, roots
