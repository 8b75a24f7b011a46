"""Keys and signatures: several kinds of key (:mod:`.schemes`), in DSSE envelopes.

The bytes that are verified are the bytes that are parsed, and nothing is parsed before it is
verified. A key id is a hint for people, never a decision: a signature counts for the key whose
bytes verify it, and every key counts once. Keys that verify signatures which nobody made are
refused when they are loaded.

Whatever has a public key and signs is a :class:`Signer`: a PEM file, or a key that never leaves
its device (`guards.integrations.securesystemslib`).

DSSE: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser

from guards.digest import Digest, canonical_json
from guards.errors import Malformed, Untrusted, UsageError
from guards.files import read_document
from guards.provenance import schemes
from guards.provenance.strictjson import Node, loads

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_SIGNATURES = 64
# Commas and brackets of an envelope: nothing here is signed yet, so it costs next to nothing.
MAX_MARKS = 1000
# Asked with the file of an encrypted key; gives what to try.
Passphrases = Callable[[Path], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: the canonical DER of its SPKI; the same bytes are the same key."""

    spki: bytes

    @property
    def keyid(self) -> str:
        """The sha256 of the key's SPKI form: a name for people and logs."""
        return hashlib.sha256(self.spki).hexdigest()

    @property
    def scheme(self) -> str:
        """The one way in which this key's signatures are read."""
        return schemes.parsed(self.spki)[0].name

    @property
    def pem(self) -> bytes:
        """The key as SPKI PEM."""
        text = base64.b64encode(self.spki).decode()
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        return "\n".join(
            ["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""]
        ).encode()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this key made `signature` over `message`."""
        return schemes.verifies(self.spki, signature, message)


class Signer(Protocol):
    """What signs: the public key, which fixes the scheme, and signatures over any bytes."""

    @property
    def public(self) -> PublicKey:
        """The key by which the signatures verify."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`, in the public key's scheme."""
        ...


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key of ours that signs; its bytes never appear in a message or a log."""

    _key: Any

    @property
    def public(self) -> PublicKey:
        """The other half."""
        return PublicKey(schemes.spki(self._key.public_key()))

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`."""
        return schemes.scheme_of(self._key.public_key()).sign(self._key, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A DSSE envelope, parsed but not yet believed.

    `listing` is where a manifest's list of files would lie, as whoever read the envelope says.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    listing: Path | None = field(default=None, compare=False)
    proved: tuple[Digest, int] | None = field(default=None, compare=False)

    def to_json(self) -> bytes:
        """The envelope in its canonical form, one line."""
        return canonical_json(
            {
                "payloadType": self.payload_type,
                "payload": base64.b64encode(self.payload).decode(),
                "signatures": [
                    {"keyid": keyid, "sig": base64.b64encode(signature).decode()}
                    for keyid, signature in self.signatures
                ],
            }
        )


def generate(out: Path, option: str = "ed25519", passphrase: bytes | None = None) -> PublicKey:
    """Write a new key pair `key.pem` (mode 600) and `key.pub` into `out`; never overwrites.

    `option` is a kind of key out of `schemes.OPTIONS`; with a passphrase `key.pem` is encrypted.
    """
    taken = [path for path in (out / "key.pem", out / "key.pub") if path.exists()]
    if taken:
        raise UsageError(f"{taken[0]} exists; a key is never overwritten, choose another --out")
    if passphrase == b"":
        raise UsageError("an empty passphrase keeps nobody out; give another, or none")
    key = PrivateKey(schemes.OPTIONS[option].make())
    locked = ser.BestAvailableEncryption(passphrase) if passphrase else ser.NoEncryption()
    secret = key._key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, locked)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_new(out / "key.pem", secret, 0o600)
        _write_new(out / "key.pub", key.public.pem, 0o644)
    except OSError as error:
        raise UsageError(f"cannot write a key to {out}: {error.strerror}") from error
    return key.public


def _write_new(path: Path, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(data)


def load_private(path: Path, passphrases: Passphrases = lambda path: ()) -> PrivateKey:
    """Read a PEM private key; for an encrypted one `passphrases` is asked what to try."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise UsageError(f"private key {path}: {error.strerror}") from error
    try:
        key = _opened(pem, path, passphrases)
        schemes.sound(schemes.spki(key.public_key()))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"private key {path}: {error}") from error
    return PrivateKey(key)


def _opened(pem: bytes, path: Path, passphrases: Passphrases) -> Any:
    """The key inside a PEM; the passphrase that opens it is not kept."""
    try:
        return ser.load_pem_private_key(pem, password=None)
    except TypeError:  # so `cryptography` says that a key is encrypted
        pass
    tried = False
    for passphrase in passphrases(path):
        tried = True
        try:
            return ser.load_pem_private_key(pem, password=passphrase)
        except ValueError:
            continue
    if tried:
        raise UsageError(f"private key {path}: no passphrase given opens it")
    raise UsageError(
        f"private key {path}: is encrypted; run at a terminal, or name a variable that holds the "
        "passphrase: --passphrase-env VARIABLE"
    )


def load_public(path: Path) -> PublicKey:
    """Read an SPKI PEM public key; one for which anybody could sign is refused."""
    if (pem := read_document(path)) is None:
        raise UsageError(f"public key {path}: No such file or directory")
    try:
        return checked(schemes.from_pem(pem), str(path))
    except ValueError as error:
        raise Untrusted(f"public key {path}: {error}") from error


def checked(spki: bytes, where: str) -> PublicKey:
    """Make a DER SPKI a public key, unless it is one that verifies what nobody signed."""
    try:
        return PublicKey(schemes.sound(spki))
    except ValueError as error:
        raise Untrusted(f"public key {where}: {error}") from error


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed; lengths are in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, key: Signer, payload_type: str = PAYLOAD_TYPE) -> Envelope:
    """Wrap and sign a payload."""
    unsigned = Envelope(payload_type=payload_type, payload=payload, signatures=())
    return add_signature(unsigned, key)


def add_signature(envelope: Envelope, key: Signer) -> Envelope:
    """The envelope with one more signature; signing twice with one key changes nothing.

    UsageError where a signer gives what its public key does not verify: a device that was set to
    another scheme would else be noticed by those who verify, and only then.
    """
    message, public = pae(envelope.payload_type, envelope.payload), key.public
    if public in signers(envelope, [public]):
        return envelope
    signature = key.sign(message)
    if not public.verifies(signature, message):
        raise UsageError(
            f"key {public.keyid[:12]}: its signer gave no signature that verifies as "
            f"{public.scheme}; nothing was signed"
        )
    return replace(envelope, signatures=(*envelope.signatures, (public.keyid, signature)))


def parse_envelope(data: bytes, what: str = "envelope") -> Envelope:
    """Read an untrusted DSSE envelope; the payload stays bytes."""
    document = loads(data, what, long_text=("payload",), most=MAX_MARKS).value
    read = envelope(Node(document, what))
    listing, proved = getattr(data, "listing", None), getattr(data, "proved", None)
    return replace(read, listing=listing, proved=proved)


def envelope(top: Node) -> Envelope:
    """The DSSE envelope that a document is, or has inside; nothing of it is believed yet."""
    top.only("payloadType", "payload", "signatures")
    signatures = []
    for item in top.of("signatures").each():
        keyid = item.only("keyid", "sig").optional("keyid")
        signatures.append((keyid.text() if keyid else "", _base64(item.of("sig"))))
    if len(signatures) > MAX_SIGNATURES:
        top.of("signatures").refuse(f"more than {MAX_SIGNATURES} signatures")
    return Envelope(
        payload_type=top.of("payloadType").text(),
        payload=_base64(top.of("payload")),
        signatures=tuple(signatures),
    )


def signers(envelope: Envelope, keys: Iterable[PublicKey]) -> frozenset[PublicKey]:
    """The keys that signed the envelope, each counted once, whatever the key ids say."""
    message = pae(envelope.payload_type, envelope.payload)
    return frozenset(
        key
        for key in keys
        if any(key.verifies(signature, message) for _, signature in envelope.signatures)
    )


def statement(envelope: Envelope, predicate_type: str, *, subjects: int = 1) -> Node:
    """The in-toto Statement v1 inside an envelope of our payload type; call `signers` first.

    It has one subject, or as many as `subjects` allows.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Malformed(f"must be {PAYLOAD_TYPE}", "payloadType")
    top = Node(loads(envelope.payload, "payload").value, "payload")
    top.only("_type", "subject", "predicateType", "predicate")
    if top.of("_type").text() != STATEMENT_TYPE:
        top.of("_type").refuse(f"must be {STATEMENT_TYPE}")
    if top.of("predicateType").text() != predicate_type:
        top.of("predicateType").refuse(f"must be {predicate_type}")
    if not 1 <= len(list(top.of("subject").each())) <= subjects:
        most = "exactly one subject" if subjects == 1 else f"1 to {subjects} subjects"
        top.of("subject").refuse(f"must have {most}")
    return top


STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


def make_statement(subject: str, root: str, predicate_type: str, predicate: object) -> bytes:
    """The canonical bytes of a Statement about one subject, named by the hex of its root."""
    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": subject, "digest": {"sha256": root}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def _base64(node: Node) -> bytes:
    """Standard or URL-safe base64, as DSSE allows; nothing else is skipped over."""
    text = node.text().replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        node.refuse("not base64")
    # The last letter has bits to spare: one payload, one spelling.
    return data if base64.b64encode(data).decode() == text else node.refuse("not base64")
