"""Keys and signatures: Ed25519, in DSSE envelopes.

The bytes that are verified are the bytes that are parsed, and nothing is parsed before it is
verified. A key id is a hint for people, never a decision: a signature counts for the key whose
bytes verify it, and every key counts once. Ed25519 keys of small order verify signatures that
nobody made, so they are refused when they are loaded.

DSSE: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guards.digest import canonical_json
from guards.errors import Malformed, Untrusted, UsageError
from guards.provenance.strictjson import Node, loads

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_SIGNATURES = 64
# Commas and brackets of an envelope: nothing here is signed yet, so it costs next to nothing.
MAX_MARKS = 1000
_P = 2**255 - 19
# y of the points of order 1, 2, 4 and 8 (RFC 8032's curve), and their non-canonical spellings;
# tests/unit/provenance/test_signing.py multiplies each by 8 and finds the identity.
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
        _P - 1,
        _P,
        _P + 1,
    }
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key; two with the same bytes are the same key, whatever they are called."""

    raw: bytes

    @property
    def keyid(self) -> str:
        """The sha256 of the key's SPKI form: a name for people and logs."""
        return hashlib.sha256(self._spki(ser.Encoding.DER)).hexdigest()

    @property
    def pem(self) -> bytes:
        """The key as SPKI PEM."""
        return self._spki(ser.Encoding.PEM)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this key made `signature` over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _spki(self, encoding: ser.Encoding) -> bytes:
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(encoding, ser.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An Ed25519 key that signs; its bytes never appear in a message or a log."""

    _key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The other half."""
        return PublicKey(
            self._key.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)
        )

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._key.sign(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A DSSE envelope, parsed but not yet believed."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

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


def generate(out: Path) -> PublicKey:
    """Write a new key pair `key.pem` (mode 600) and `key.pub` into `out`; never overwrites."""
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    public = PrivateKey(key).public
    taken = [path for path in (out / "key.pem", out / "key.pub") if path.exists()]
    if taken:
        raise UsageError(f"{taken[0]} exists; a key is never overwritten, choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, data, mode in (
            (out / "key.pem", secret, 0o600),
            (out / "key.pub", public.pem, 0o644),
        ):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(path, flags, mode), "wb") as file:
                file.write(data)
    except OSError as error:
        raise UsageError(f"cannot write a key to {out}: {error.strerror}") from error
    return public


def load_private(path: Path) -> PrivateKey:
    """Read an unencrypted PKCS#8 PEM Ed25519 key."""
    try:
        key = ser.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UsageError(f"private key {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"private key {path}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"private key {path}: not an Ed25519 key; make one with toadstone keygen")
    return PrivateKey(key)


def load_public(path: Path) -> PublicKey:
    """Read an SPKI PEM Ed25519 key; keys of small order are refused."""
    try:
        key = ser.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise UsageError(f"public key {path}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Untrusted(f"public key {path}: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Untrusted(f"public key {path}: not an Ed25519 key")
    return checked(key.public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw), str(path))


def checked(raw: bytes, where: str) -> PublicKey:
    """Make 32 bytes a public key, unless it is one of those that verify what nobody signed."""
    if len(raw) != 32 or int.from_bytes(raw, "little") & ~(1 << 255) in _SMALL_ORDER_Y:
        raise Untrusted(f"public key {where}: a key of small order verifies anything; refused")
    return PublicKey(raw)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed; lengths are in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, key: PrivateKey, payload_type: str = PAYLOAD_TYPE) -> Envelope:
    """Wrap and sign a payload."""
    unsigned = Envelope(payload_type=payload_type, payload=payload, signatures=())
    return add_signature(unsigned, key)


def add_signature(envelope: Envelope, key: PrivateKey) -> Envelope:
    """The envelope with one more signature; signing twice with one key changes nothing."""
    message = pae(envelope.payload_type, envelope.payload)
    if key.public in signers(envelope, [key.public]):
        return envelope
    signature = (key.public.keyid, key.sign(message))
    return Envelope(
        payload_type=envelope.payload_type,
        payload=envelope.payload,
        signatures=(*envelope.signatures, signature),
    )


def parse_envelope(data: bytes, what: str = "envelope") -> Envelope:
    """Read an untrusted DSSE envelope; the payload stays bytes."""
    node = loads(data, what, long_text=("payload",), most=MAX_MARKS)
    top = Node(node.value, what).only("payloadType", "payload", "signatures")
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


def statement(envelope: Envelope, predicate_type: str) -> Node:
    """The in-toto Statement v1 inside an envelope of our payload type; call `signers` first."""
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Malformed(f"must be {PAYLOAD_TYPE}", "payloadType")
    top = Node(loads(envelope.payload, "payload").value, "payload")
    top.only("_type", "subject", "predicateType", "predicate")
    if top.of("_type").text() != STATEMENT_TYPE:
        top.of("_type").refuse(f"must be {STATEMENT_TYPE}")
    if top.of("predicateType").text() != predicate_type:
        top.of("predicateType").refuse(f"must be {predicate_type}")
    if len(list(top.of("subject").each())) != 1:
        top.of("subject").refuse("must have exactly one subject")
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
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        node.refuse("not base64")
