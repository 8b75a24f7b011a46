"""Signed notes, as c2sp.org/signed-note has them: text, an empty line, and who signed it.

    — <key name> base64(key ID || signature)

The name and the four bytes of the ID say which key is meant, and decide nothing: a signature
counts for the key whose bytes verify it. Lines of unknown keys are ignored, so that others may
sign as well; a line that names a known key and is not its signature refuses the whole note.

| scheme | signature type | key ID |
|---|---|---|
| `ed25519` | `0x01` | sha256(name, LF, type, 32 bytes of the key) |
| `ecdsa-sha2-nistp256` | `0x02`, as of Rekor: DER, over SHA-256 | sha256(SPKI) |
| others | `0xff`, `toadstone.dev/SCHEME`, LF | sha256(name, LF, type, SPKI) |

Only the first is what public witnesses and other people's tools take (docs/adr/0013-tlog.md).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from guards.errors import Malformed, Untrusted, UsageError
from guards.provenance import schemes
from guards.provenance.signing import MAX_SIGNATURES, PublicKey, Signer
from guards.text import is_control

MAX_NOTE = 1 << 20
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One signature line: whose name, which key ID, and the bytes; not yet believed."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        told = base64.b64encode(self.key_id + self.signature).decode()
        return f"{_DASH}{self.name} {told}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note, parsed but not yet believed; the text ends in a line feed."""

    text: str
    marks: tuple[Mark, ...]

    def to_bytes(self) -> bytes:
        """The note in its one form."""
        return f"{self.text}\n{''.join(map(str, self.marks))}".encode()


def parse_note(data: bytes, what: str = "note") -> Note:
    """Read an untrusted note; Malformed for whatever is not exactly of its form."""
    if len(data) > MAX_NOTE:
        raise Malformed(f"larger than {MAX_NOTE} bytes", what)
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8: {error}", what) from error
    if any(c < " " and c != "\n" for c in whole):
        raise Malformed("holds a control character", what)
    text, blank, signed = whole.rpartition("\n\n")
    if not blank or not signed.endswith("\n"):
        raise Malformed("is no signed note: text, an empty line, signature lines", what)
    lines = signed[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise Malformed(f"more than {MAX_SIGNATURES} signatures", what)
    return Note(text=text + "\n", marks=tuple(_mark(line, what) for line in lines))


def _mark(line: str, what: str) -> Mark:
    dash, _, rest = line.partition(" ")
    name, _, told = rest.partition(" ")
    if f"{dash} " != _DASH or not is_key_name(name):
        raise Malformed(f"{line[:80]!r} is no signature line", what)
    raw = decode(told, what)
    if len(raw) < 5:
        raise Malformed(f"the signature of {name[:80]} is too short", what)
    return Mark(name=name, key_id=raw[:4], signature=raw[4:])


def is_key_name(name: str) -> bool:
    """Whether a key may have this name: not empty, no space of Unicode, no plus."""
    return bool(name) and "+" not in name and not any(c.isspace() or is_control(c) for c in name)


def decode(told: str, what: str) -> bytes:
    """Standard base64 in its one spelling; Malformed for anything else."""
    try:
        data = base64.b64decode(told, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"{told[:80]!r} is not base64", what) from error
    if base64.b64encode(data).decode() != told:
        raise Malformed(f"{told[:80]!r} is not base64 in its one spelling", what)
    return data


def sign_note(text: str, name: str, key: Signer) -> Note:
    """The text signed by one key under that name; UsageError where the signer gives nonsense."""
    signature, public = key.sign(text.encode()), key.public
    if not public.verifies(signature, text.encode()):
        raise UsageError(f"key {public.keyid[:12]}: its signer gave no signature that verifies")
    mark = Mark(name=name, key_id=key_id(name, public), signature=signature)
    return Note(text=text, marks=(mark,))


def noted_by(note: Note, name: str, keys: Iterable[PublicKey]) -> frozenset[PublicKey]:
    """The keys that signed the note under that name, each once; Untrusted where one is forged."""
    return frozenset(_found(note, name, keys))


def _found(note: Note, name: str, keys: Iterable[PublicKey]) -> Iterator[PublicKey]:
    known = {key: key_id(name, key) for key in keys}
    for mark in note.marks:
        # Two keys may share the four bytes of an ID; then either may have signed.
        meant = [k for k, short in known.items() if (mark.name, mark.key_id) == (name, short)]
        able = [key for key in meant if key.verifies(mark.signature, note.text.encode())]
        if meant and not able:
            raise Untrusted(f"the signature of key {meant[0].keyid[:12]} does not verify")
        yield from able


def key_id(name: str, key: PublicKey) -> bytes:
    """The four bytes by which a signature line names the key."""
    if key.scheme == "ecdsa-sha2-nistp256":
        return hashlib.sha256(key.spki).digest()[:4]
    return hashlib.sha256(name.encode() + b"\n" + _typed(key)).digest()[:4]


def verifier_key(name: str, key: PublicKey) -> str:
    """The key as other tools and witnesses are given it: `name+id+base64(type || key)`."""
    return f"{name}+{key_id(name, key).hex()}+{base64.b64encode(_typed(key)).decode()}"


def _typed(key: PublicKey) -> bytes:
    scheme, public = schemes.parsed(key.spki)
    if scheme.name == "ed25519":
        return b"\x01" + bytes(public.public_bytes_raw())
    if scheme.name == "ecdsa-sha2-nistp256":
        return b"\x02" + key.spki
    return b"\xff" + f"toadstone.dev/{scheme.name}\n".encode() + key.spki
