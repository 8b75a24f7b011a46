"""The kinds of key, in one table: how each is made, checked, and verified.

A key has one scheme, which follows from the key itself: curve or modulus fix the hash and the
padding. So nothing in an envelope, a file name or an option can have a key's signature read in
another way. The names are those of TUF and securesystemslib.

| scheme | keys | signatures |
|---|---|---|
| `ed25519` | 32 bytes, canonical, not of small order | RFC 8032, 64 bytes |
| `ecdsa-sha2-nistp256`, `-nistp384` | a point of the curve | DER, with SHA-256 and SHA-384 |
| `rsassa-pss-sha256` | 3072 to 8192 bits, odd e of 65537 to 2^256 | MGF1 and salt of SHA-256 |
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LEAST_BITS, MOST_BITS = 3072, 8192
LEAST_EXPONENT = 65537
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
# RFC 8410: what goes before the 32 bytes of an Ed25519 key in its DER form.
_ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]*)-----END \1-----")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One kind of key; `holds` tells its public keys, `weakness` why one is refused, or nothing.

    `option` is what `toadstone keygen --type` calls it.
    """

    name: str
    option: str
    make: Callable[[], Any]
    holds: Callable[[Any], bool]
    weakness: Callable[[Any], str]
    sign: Callable[[Any, bytes], bytes]
    verify: Callable[[Any, bytes, bytes], None]


def _small_order(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)
    y = int.from_bytes(raw, "little") & ~(1 << 255)
    if y in _SMALL_ORDER_Y:
        return "a key of small order verifies anything"
    return "" if y < _P else "not the canonical form of its point"


def _unsound(key: rsa.RSAPublicKey) -> str:
    numbers, bits = key.public_numbers(), key.key_size
    if not LEAST_BITS <= bits <= MOST_BITS:
        return f"RSA of {bits} bits; {LEAST_BITS} to {MOST_BITS} are accepted"
    if numbers.n % 2 == 0:
        return "an RSA modulus that is even is no product of two secret primes"
    if numbers.e % 2 == 0 or not LEAST_EXPONENT <= numbers.e < 2**256:
        return f"RSA with e = {numbers.e % 2**256}; an odd e of at least {LEAST_EXPONENT} is needed"
    return ""


def _elliptic(name: str, option: str, curve: ec.EllipticCurve, hash_: Any) -> Scheme:
    how = ec.ECDSA(hash_)
    return Scheme(
        name=name,
        option=option,
        make=lambda: ec.generate_private_key(curve),
        holds=lambda key: (
            isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == curve.name
        ),
        weakness=lambda key: "",  # a point off the curve, or at infinity, is not even parsed
        sign=lambda key, message: bytes(key.sign(message, how)),
        verify=lambda key, signature, message: key.verify(signature, message, how),
    )


_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
_ED25519 = Scheme(
    name="ed25519",
    option="ed25519",
    make=Ed25519PrivateKey.generate,
    holds=lambda key: isinstance(key, Ed25519PublicKey),
    weakness=_small_order,
    sign=lambda key, message: bytes(key.sign(message)),
    verify=lambda key, signature, message: key.verify(signature, message),
)
_RSA_PSS = Scheme(
    name="rsassa-pss-sha256",
    option="rsa-pss-3072",
    make=lambda: rsa.generate_private_key(LEAST_EXPONENT, LEAST_BITS),
    holds=lambda key: isinstance(key, rsa.RSAPublicKey),
    weakness=_unsound,
    sign=lambda key, message: bytes(key.sign(message, _PSS, hashes.SHA256())),
    verify=lambda key, signature, message: key.verify(signature, message, _PSS, hashes.SHA256()),
)
SCHEMES = (
    _ED25519,
    _elliptic("ecdsa-sha2-nistp256", "ecdsa-p256", ec.SECP256R1(), hashes.SHA256()),
    _elliptic("ecdsa-sha2-nistp384", "ecdsa-p384", ec.SECP384R1(), hashes.SHA384()),
    _RSA_PSS,
)
OPTIONS = {scheme.option: scheme for scheme in SCHEMES}


def spki(key: Any) -> bytes:
    """The canonical DER of a public key: one key, one spelling."""
    return bytes(key.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo))


def scheme_of(key: Any) -> Scheme:
    """The scheme of a public key of `cryptography`; ValueError where there is none for it."""
    found = next((scheme for scheme in SCHEMES if scheme.holds(key)), None)
    if found is None:
        kind = type(key).__name__.removesuffix("PublicKey")
        kind += f" on {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else ""
        raise ValueError(f"{kind} keys are not used here; only {', '.join(OPTIONS)}")
    return found


@lru_cache(maxsize=256)
def parsed(der: bytes) -> tuple[Scheme, Any]:
    """The key in a DER SubjectPublicKeyInfo and its scheme; ValueError for anything else."""
    try:
        key = ser.load_der_public_key(der)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    return scheme_of(key), key


def sound(der: bytes) -> bytes:
    """The same DER; ValueError if it is not canonical, or if anybody could sign for its key."""
    scheme, key = parsed(der)
    if spki(key) != der:
        raise ValueError("not the one form of its key; convert it: openssl pkey -pubin")
    if told := scheme.weakness(key):
        raise ValueError(f"{told}; refused")
    return der


def from_pem(pem: bytes) -> bytes:
    """The DER inside a file that holds one public key and nothing that could be another."""
    found = _PEM.findall(pem)
    if len(found) != 1 or found[0][0] != b"PUBLIC KEY" or pem.count(b"-----BEGIN") != 1:
        raise ValueError("must hold exactly one PUBLIC KEY in PEM")
    try:
        return base64.b64decode(b"".join(found[0][1].split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def from_securesystemslib(scheme: str, value: str) -> bytes:
    """The DER of a key as securesystemslib and TUF write it: hex of Ed25519, or else PEM."""
    if scheme == "ed25519":
        return _ED25519_PREFIX + bytes.fromhex(value)
    return from_pem(value.encode())


def verifies(der: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key made `signature` over `message`, under the key's one scheme."""
    scheme, key = parsed(der)
    try:
        scheme.verify(key, signature, message)
    except InvalidSignature:
        return False
    return True
