"""Where a log stands: its origin, its size and the root of its tree, as a signed note.

    toadstone.dev/log/5b1c...          the origin: which log it is
    12                                 how many entries
    CsUYapGGPo4dkMgIAUqom/Xajj7h...    the RFC 6962 root over them, base64

    — toadstone.dev/log/5b1c... <signature>

The form is c2sp.org/tlog-checkpoint. Whoever keeps one can tell later whether a log goes on from
it, and needs no copy of the log for that. `SIZE:ROOT`, as in `12:sha256:...`, is the same in one
line that nobody signed.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace

from guards.digest import Digest
from guards.errors import Malformed, UsageError
from guards.provenance.note import Note, decode, is_key_name, parse_note, sign_note
from guards.provenance.signing import Signer

MAX_SIZE = 2**53 - 1
# What a record has room for; witnesses may have signed the note of the log itself as well.
_EMBEDDED = 4000
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A log's size and root, and which log it is; `note` is the signed form, if there is one.

    Without an origin, as in `SIZE:ROOT`, it is a checkpoint of whatever log it is held against.
    """

    size: int
    root: Digest
    origin: str = ""
    note: Note | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.size}:{self.root}"

    @property
    def text(self) -> str:
        """The signed note, as it is written to a file; empty where nobody signed."""
        return self.note.to_bytes().decode() if self.note else ""

    def to_embed(self) -> Checkpoint:
        """The same with the log's own signatures only, so that a record has room for it."""
        if self.note is None:
            return self
        own = tuple(mark for mark in self.note.marks if mark.name == self.origin)
        short = replace(self, note=replace(self.note, marks=own))
        if not own or len(short.text) > _EMBEDDED:
            raise UsageError(f"the checkpoint of {self.origin} is too long to go into a record")
        return short


def sign_checkpoint(checkpoint: Checkpoint, key: Signer) -> Checkpoint:
    """The checkpoint as a note that `key` signed under the name of the log."""
    root = base64.b64encode(checkpoint.root.raw).decode()
    text = f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"
    return replace(checkpoint, note=sign_note(text, checkpoint.origin, key))


def read_checkpoint(data: bytes, what: str = "checkpoint") -> Checkpoint:
    """Read an untrusted checkpoint; extension lines are refused, since no monitor checks them."""
    note = parse_note(data, what)
    lines = note.text[:-1].split("\n")
    if len(lines) != 3:
        raise Malformed("must have three lines: the origin, the size, the root", what)
    origin, size, root = lines
    if not is_key_name(origin):
        raise Malformed(f"the origin {origin[:80]!r} is no name of a log", what)
    raw = decode(root, what)
    if len(raw) != 32:
        raise Malformed("the root is no sha256", what)
    return Checkpoint(
        size=read_number(size, what), root=Digest(raw.hex()), origin=origin, note=note
    )


def read_number(text: str, what: str) -> int:
    """A decimal number without leading zeroes; Malformed for anything else."""
    if not _NUMBER.fullmatch(text) or int(text) > MAX_SIZE:
        raise Malformed(f"{text[:80]!r} is no number of entries", what)
    return int(text)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read `SIZE:ROOT`, as `toadstone ledger show` gives it."""
    size, _, root = text.partition(":")
    try:
        return Checkpoint(size=read_number(size, "size"), root=Digest.parse(root))
    except (Malformed, ValueError) as error:
        told = f"checkpoint {text[:80]!r}: must be a file, or SIZE:ROOT as in 12:sha256:..."
        raise UsageError(told) from error
