"""Proofs read off a log, as files that are checked alone, years later and without the log.

A `.tlog-proof` (c2sp.org/tlog-proof) says that an entry is in the log of a checkpoint: the index,
the hashes from the leaf's sibling up, the checkpoint. `extra` carries the entry itself, so whoever
has the proof and the keys needs nothing else; it is believed as far as the tree and its own
signature go. A `.tlog-consistency` is the body with which c2sp.org/tlog-witness is asked to sign:
the old size, the hashes, and the checkpoint that goes on from it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from guards.digest import Digest
from guards.errors import Malformed, UsageError
from guards.provenance import merkle
from guards.provenance.checkpoint import Checkpoint, read_checkpoint, read_number
from guards.provenance.ledger import current, require_logger
from guards.provenance.lines import Entry, Line, read_line
from guards.provenance.note import MAX_NOTE, decode
from guards.provenance.signing import parse_envelope
from guards.provenance.strictjson import loads
from guards.provenance.tiles import WIDTH, Tiles
from guards.provenance.trust import Trust

FIRST = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
# A tree of 2^63 entries has no longer proof.
_MOST = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """An entry that is in the log of `checkpoint`, at `index`."""

    index: int
    line: Line
    checkpoint: Checkpoint


def prove(directory: Path, index: int) -> bytes:
    """The proof of one entry, in the log as it stands now."""
    tree, stated = _open(directory)
    if not 0 <= index < stated.size:
        raise UsageError(f"ledger {directory}: has no entry {index}, only {stated.size}")
    entry = tree.entries(index // WIDTH)[index % WIDTH]
    hashes = merkle.inclusion(tree.read, index, stated.size)
    if (
        merkle.root_from_inclusion(merkle.leaf_hash(entry), index, stated.size, hashes)
        != stated.root
    ):
        raise Malformed("is not in the tree of the checkpoint", f"ledger entry {index}")
    lines = [FIRST, f"extra {_encoded(entry)}", f"index {index}", *map(_encoded, hashes)]
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + stated.text.encode()


def prove_record(directory: Path, record: Digest) -> bytes:
    """The proof of the entry that names this record; the last one, if there are several."""
    tree, _ = _open(directory)
    for number in reversed(range(tree.bundles)):
        for place, data in reversed(list(enumerate(tree.entries(number)))):
            if _record_of(data) == str(record):
                return prove(directory, number * WIDTH + place)
    raise UsageError(f"ledger {directory}: has no entry of record {record.short}")


def check(data: bytes, trust: Trust, record: bytes | None = None, what: str = "proof") -> Proven:
    """Check a proof alone: the entry, its signature, the tree, and who signed that.

    With `record`, the entry has to be the judgement of exactly those bytes.

    Raises:
        Malformed: it is no proof, or its entry is not in the tree of its checkpoint.
        Untrusted: nobody trusted signed the entry, or the checkpoint.
    """
    head, checkpoint = _parted(data, what)
    if len(head) < 3 or head[0] != FIRST:
        raise Malformed(f"must begin with {FIRST}, extra and index", what)
    entry = decode(_told(head[1], "extra", what), what)
    index = read_number(_told(head[2], "index", what), what)
    hashes = _hashes(head[3:], what)
    leaf = merkle.leaf_hash(entry)
    if merkle.root_from_inclusion(leaf, index, checkpoint.size, hashes) != checkpoint.root:
        raise Malformed("the entry is not in the tree of the checkpoint", what)
    line = read_line(entry, _before(entry, index, checkpoint, what), trust, what)
    require_logger(checkpoint, trust, line.time)
    if record is not None and not (isinstance(line, Entry) and line.record == Digest.of(record)):
        raise Malformed(f"is of another entry than that of record {Digest.of(record).short}", what)
    return Proven(index=index, line=line, checkpoint=checkpoint)


def prove_consistency(directory: Path, old: Checkpoint) -> bytes:
    """The proof that the log as it stands now goes on from `old`; Malformed where it does not."""
    tree, stated = _open(directory)
    if old.origin not in ("", stated.origin):
        raise Malformed(f"is another log than {old.origin}", f"ledger {stated.origin}")
    if old.size > stated.size:
        raise Malformed(f"has {stated.size} entries, fewer than {old.size}", "ledger")
    hashes = merkle.consistency(tree.read, old.size, stated.size)
    if not merkle.is_consistent(old.size, old.root, stated.size, stated.root, hashes):
        raise Malformed(f"does not go on from the {old.size} entries remembered: a fork", "ledger")
    head = "".join(f"{line}\n" for line in (f"old {old.size}", *map(_encoded, hashes)))
    return head.encode() + b"\n" + stated.text.encode()


def check_consistency(data: bytes, old: Checkpoint, what: str = "proof") -> Checkpoint:
    """The newer checkpoint, if the proof shows that it goes on from `old`; else Malformed.

    Who signed the newer one is for the caller to ask.
    """
    head, checkpoint = _parted(data, what)
    if old.origin not in ("", checkpoint.origin):
        raise Malformed(f"is of {checkpoint.origin}, another log than {old.origin}", what)
    size = read_number(_told(head[0] if head else "", "old", what), what)
    if size != old.size:
        raise Malformed(f"goes on from {size} entries, and {old.size} are remembered", what)
    hashes = _hashes(head[1:], what)
    if not merkle.is_consistent(old.size, old.root, checkpoint.size, checkpoint.root, hashes):
        raise Malformed("does not go on from what is remembered: a fork", what)
    return checkpoint


def is_consistency(data: bytes) -> bool:
    """Whether these bytes say that they are a proof of consistency."""
    return data.startswith(b"old ")


def checkpoint_in(data: bytes, what: str = "checkpoint") -> Checkpoint:
    """The checkpoint that a file is, or a proof ends in; nothing of it is believed yet."""
    proof = is_consistency(data) or data.startswith(FIRST.encode())
    return _parted(data, what)[1] if proof else read_checkpoint(data, what)


def _record_of(entry: bytes) -> str:
    """The record that a judgement is about; nothing of what was made from judged data."""
    predicate = loads(parse_envelope(entry, "ledger entry").payload, "ledger entry").of("predicate")
    return named.text() if (named := predicate.optional("record")) else ""


def _open(directory: Path) -> tuple[Tiles, Checkpoint]:
    stated = current(directory)
    if stated is None:
        raise UsageError(f"ledger {directory}: there is no checkpoint, so no log")
    return Tiles(directory=directory, size=stated.size), stated


def _parted(data: bytes, what: str) -> tuple[list[str], Checkpoint]:
    """The lines before the first empty one, and the checkpoint after it."""
    head, blank, rest = data.partition(b"\n\n")
    if not blank or len(data) > MAX_NOTE or not head.isascii():
        raise Malformed("must be lines, an empty line and a checkpoint", what)
    return head.decode().split("\n"), read_checkpoint(rest, f"{what}, its checkpoint")


def _told(line: str, word: str, what: str) -> str:
    name, space, told = line.partition(" ")
    if name != word or not space:
        raise Malformed(f"the line {line[:80]!r} must begin with {word!r}", what)
    return told


def _hashes(lines: list[str], what: str) -> list[bytes]:
    found = [decode(line, what) for line in lines]
    if len(found) > _MOST or any(len(one) != 32 for one in found):
        raise Malformed(f"must have at most {_MOST} hashes of 32 bytes", what)
    return found


def _before(entry: bytes, index: int, checkpoint: Checkpoint, what: str) -> Checkpoint:
    """Where the entry says that it was added; the tree after it, which it is in, stands over it."""
    payload = loads(parse_envelope(entry, what).payload, what)
    root = payload.of("predicate").of("log").of("root").digest()
    return Checkpoint(size=index, root=root, origin=checkpoint.origin)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
