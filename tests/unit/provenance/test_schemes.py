"""The kinds of key: each signs and verifies in its one scheme, and the weak ones are refused."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.errors import Malformed, Untrusted, UsageError
from guards.provenance import schemes
from guards.provenance.signing import (
    PrivateKey,
    checked,
    generate,
    load_private,
    load_public,
    parse_envelope,
    sign,
    signers,
)

KINDS = tuple(schemes.OPTIONS)
MESSAGE = b"what was signed"


@pytest.fixture(scope="session")
def made():
    """One key of each kind; RSA's takes a while to make."""
    return {kind: PrivateKey(scheme.make()) for kind, scheme in schemes.OPTIONS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_each_kind_signs_is_written_and_read(tmp_path, kind):
    public = generate(tmp_path, kind)
    key = load_private(tmp_path / "key.pem")
    assert key.public == public == load_public(tmp_path / "key.pub")
    assert public.verifies(key.sign(MESSAGE), MESSAGE)
    assert not public.verifies(key.sign(MESSAGE), MESSAGE + b"!")
    assert signers(sign(MESSAGE, key), [public]) == {public}
    assert (tmp_path / "key.pub").read_bytes() == ser.load_pem_public_key(public.pem).public_bytes(
        ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo
    )
    assert public.scheme == schemes.OPTIONS[kind].name


def test_no_key_verifies_what_another_kind_signed(made):
    for kind, key in made.items():
        others = [other for name, other in made.items() if name != kind]
        assert not any(o.public.verifies(key.sign(MESSAGE), MESSAGE) for o in others)


# ------------------------------------------------------------------------------- every single bit


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_of_a_signature_verifies(made, kind):
    key = made[kind]
    signature = key.sign(MESSAGE)
    for bit in range(8 * len(signature)):
        assert not key.public.verifies(flipped(signature, bit), MESSAGE), bit


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_of_a_key_verifies(made, kind):
    """Such a key is refused, or is another key."""
    key = made[kind]
    signature = key.sign(MESSAGE)
    for bit in range(8 * len(key.public.spki)):
        try:
            other = checked(flipped(key.public.spki, bit), "here")
        except Untrusted:
            continue
        assert other != key.public
        assert not other.verifies(signature, MESSAGE), bit


@settings(max_examples=200)
@given(kind=st.sampled_from(KINDS), where=st.integers(0, 10**6))
def test_no_flipped_bit_of_an_envelope_is_believed(made, kind, where):
    """All of an envelope is signed or fixed but for the key id, which decides nothing."""
    key = made[kind]
    envelope = sign(MESSAGE, key)
    data = envelope.to_json()
    try:
        found = parse_envelope(flipped(data, where % (8 * len(data))))
    except Malformed:
        return
    if signers(found, [key.public]):
        hint = found.signatures[0][0]
        assert hint != key.public.keyid
        assert replace(found, signatures=((key.public.keyid, found.signatures[0][1]),)) == envelope


# ------------------------------------------------------------------------------------- other keys


def pem(key) -> bytes:
    return key.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)


OTHER = {
    "RSA of 2048 bits": lambda: rsa.generate_private_key(65537, 2048),
    "RSA with e = 3": lambda: rsa.generate_private_key(3, 3072),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "P-224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "Ed448": ed448.Ed448PrivateKey.generate,
    "X25519": x25519.X25519PrivateKey.generate,
    "DSA": lambda: dsa.generate_private_key(2048),
}


@pytest.mark.parametrize("make", OTHER.values(), ids=OTHER.keys())
def test_a_key_of_another_kind_or_too_weak_is_refused_in_both_halves(tmp_path, make):
    key = make()
    (tmp_path / "key.pub").write_bytes(pem(key.public_key()))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    )
    with pytest.raises(Untrusted, match=r"key\.pub: .*(not used here|3072|65537)"):
        load_public(tmp_path / "key.pub")
    with pytest.raises(UsageError, match=r"key\.pem: .*(not used here|3072|65537)"):
        load_private(tmp_path / "key.pem")


def test_a_file_holds_one_key(made, tmp_path):
    """Of two keys in a file, readers differ about which one it is."""
    one, two = (made[kind].public.pem for kind in ("ed25519", "ecdsa-p256"))
    (tmp_path / "both.pub").write_bytes(one + two)
    with pytest.raises(Untrusted, match="exactly one"):
        load_public(tmp_path / "both.pub")
    (tmp_path / "note.pub").write_bytes(b"the producer's key\n" + one)
    assert load_public(tmp_path / "note.pub").pem == one


# -------------------------------------------------------------------------------- encrypted files


@pytest.mark.parametrize("kind", KINDS)
def test_an_encrypted_key_opens_with_its_passphrase_only(tmp_path, kind):
    public = generate(tmp_path, kind, b"correct horse")
    path = tmp_path / "key.pem"
    assert b"ENCRYPTED" in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_private(path, lambda path: [b"wrong", b"correct horse"]).public == public
    with pytest.raises(UsageError, match="no passphrase given opens it") as told:
        load_private(path, lambda path: [b"wrong battery"])
    assert "battery" not in str(told.value)
    with pytest.raises(UsageError, match="--passphrase-env"):
        load_private(path)


def test_a_key_that_is_not_encrypted_asks_for_nothing(tmp_path):
    generate(tmp_path)

    def never(path):
        raise AssertionError

    assert load_private(tmp_path / "key.pem", never)


def test_an_empty_passphrase_is_none(tmp_path):
    with pytest.raises(UsageError, match="empty passphrase"):
        generate(tmp_path, "ed25519", b"")
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------- other signers


def test_a_signer_whose_signatures_do_not_verify_signs_nothing(made):
    """As a device that is set to another scheme than its key's."""

    class Device:
        public = made["ed25519"].public

        def sign(self, message: bytes) -> bytes:
            return os.urandom(64)

    with pytest.raises(UsageError, match="no signature that verifies as ed25519"):
        sign(MESSAGE, Device())


def test_the_hash_of_an_elliptic_key_follows_from_its_curve(made):
    for kind, other in (("ecdsa-p256", hashes.SHA384()), ("ecdsa-p384", hashes.SHA256())):
        swapped = made[kind]._key.sign(MESSAGE, ec.ECDSA(other))
        assert not made[kind].public.verifies(swapped, MESSAGE)
