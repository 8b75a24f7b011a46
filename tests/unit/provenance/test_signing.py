"""DSSE and Ed25519: what a signature counts for, and the keys that verify what nobody signed."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from guards.errors import Malformed, Untrusted, UsageError
from guards.provenance import schemes
from guards.provenance.signing import (
    PAYLOAD_TYPE,
    Envelope,
    PrivateKey,
    PublicKey,
    add_signature,
    checked,
    generate,
    load_private,
    load_public,
    make_statement,
    pae,
    parse_envelope,
    sign,
    signers,
    statement,
)

DSSE = json.loads((Path(__file__).parents[2] / "vectors" / "dsse.json").read_text())
# RFC 8032, section 5.1: the curve -x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo P.
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


# RFC 8410: what goes before the 32 bytes of a key.
ED25519 = bytes.fromhex("302a300506032b6570032100")


def add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def times(scalar: int, point: tuple[int, int]) -> tuple[int, int]:
    total = (0, 1)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def x_of(y: int) -> int:
    """A square root of (y^2 - 1) / (d y^2 + 1), by the formula of RFC 8032, 5.1.3."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    assert root * root % P == square, "no point of the curve has this y"
    return root


@pytest.fixture
def key() -> PrivateKey:
    return PrivateKey(ed25519.Ed25519PrivateKey.generate())


def test_the_curve_arithmetic_of_this_test_knows_the_base_point():
    base_y = 4 * pow(5, -1, P) % P
    assert times(ORDER, (x_of(base_y), base_y)) == (0, 1)
    assert times(8, (x_of(base_y), base_y)) != (0, 1)


@pytest.mark.parametrize("y", sorted(schemes._SMALL_ORDER_Y))
def test_eight_times_each_refused_point_is_the_identity(y):
    assert times(8, (x_of(y % P), y % P)) == (0, 1)


def test_no_point_of_small_order_is_forgotten():
    """The eight points killed by 8 are the multiples of any one of order 8."""
    y = next(y for y in schemes._SMALL_ORDER_Y if times(4, (x_of(y % P), y % P)) != (0, 1))
    found = {times(n, (x_of(y), y))[1] for n in range(8)}
    # A y below 19 can also be written as y + P in 255 bits: the spellings that are not canonical.
    assert found | {y + P for y in found if y + P < 2**255} == schemes._SMALL_ORDER_Y


@pytest.mark.parametrize("sign_bit", [0, 1])
@pytest.mark.parametrize("y", sorted(schemes._SMALL_ORDER_Y))
def test_keys_of_small_order_are_refused_when_they_are_loaded(y, sign_bit, tmp_path):
    raw = (y | sign_bit << 255).to_bytes(32, "little")
    with pytest.raises(Untrusted, match="small order"):
        checked(ED25519 + raw, "here")
    pem = ed25519.Ed25519PublicKey.from_public_bytes(raw).public_bytes(
        ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "key.pub").write_bytes(pem)
    with pytest.raises(Untrusted, match="small order"):
        load_public(tmp_path / "key.pub")


def test_an_identity_key_would_verify_what_nobody_signed():
    """Why they are refused: cryptography itself accepts R = identity, S = 0 for any message."""
    identity = (1).to_bytes(32, "little")
    assert PublicKey(ED25519 + identity).verifies(identity + bytes(32), b"any message")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_has_32_bytes(length):
    lengths = bytes([0x2A - 32 + length]), bytes([0x21 - 32 + length])
    prefix = b"\x30" + lengths[0] + ED25519[2:10] + lengths[1] + b"\0"
    with pytest.raises(Untrusted):
        checked(prefix + b"\x09" * length, "here")


def test_a_point_has_one_spelling():
    """y and y + P are the same point; a key in two spellings would count as two keys."""
    for y in (3, 4, 18):
        with pytest.raises(Untrusted, match="canonical"):
            checked(ED25519 + (y + P).to_bytes(32, "little"), "here")


def test_a_signature_with_an_s_beyond_the_order_is_refused(key):
    signature = key.sign(b"message")
    s = int.from_bytes(signature[32:], "little")
    for bad in (s + ORDER, s + 2 * ORDER):
        forged = signature[:32] + bad.to_bytes(32, "little")
        assert not key.public.verifies(forged, b"message")
    assert key.public.verifies(signature, b"message")


@pytest.mark.parametrize("cut", [b"", b"x" * 63, b"x" * 65])
def test_a_signature_of_another_length_is_no_signature(key, cut):
    assert not key.public.verifies(cut, b"message")


def test_dsse_has_its_own_vector():
    assert pae(DSSE["payloadType"], DSSE["payload"].encode()) == DSSE["pae"].encode()


def test_lengths_in_the_pae_are_in_bytes():
    assert pae("é", "ü".encode()) == "DSSEv1 2 é 2 ü".encode()
    assert pae("", b"") == b"DSSEv1 0  0 "


def test_an_envelope_reads_what_it_writes(key):
    envelope = add_signature(sign(b"payload", key), key)
    assert parse_envelope(envelope.to_json()) == envelope
    assert signers(envelope, [key.public]) == {key.public}
    assert len(envelope.signatures) == 1, "signing twice with one key changes nothing"


def test_both_alphabets_of_base64_are_read(key):
    envelope = sign(b"\xfb\xff\xfe", key)
    urlsafe = (
        envelope.to_json().decode().replace("+", "-").replace("/", "_").replace("-json", "+json")
    )
    urlsafe = urlsafe.replace("application_vnd", "application/vnd")
    assert parse_envelope(urlsafe.encode()).payload == b"\xfb\xff\xfe"


def test_a_repeated_signature_counts_once(key):
    envelope = sign(b"payload", key)
    repeated = Envelope(
        payload_type=envelope.payload_type,
        payload=envelope.payload,
        signatures=envelope.signatures * 5 + (("another id", envelope.signatures[0][1]),),
    )
    assert signers(repeated, [key.public, key.public]) == {key.public}


@pytest.mark.parametrize("keyid", ["", "wrong", "0" * 64])
def test_the_key_id_decides_nothing(key, keyid):
    envelope = sign(b"payload", key)
    renamed = Envelope(
        payload_type=envelope.payload_type,
        payload=envelope.payload,
        signatures=((keyid, envelope.signatures[0][1]),),
    )
    assert signers(renamed, [key.public]) == {key.public}
    stranger = PrivateKey(ed25519.Ed25519PrivateKey.generate()).public
    claimed = ((stranger.keyid, envelope.signatures[0][1]),)
    assert not signers(
        Envelope(payload_type=PAYLOAD_TYPE, payload=b"payload", signatures=claimed), [stranger]
    )


def test_a_signature_stands_for_its_payload_and_type_only(key):
    envelope = sign(b"payload", key)
    for payload_type, payload in (("text/plain", b"payload"), (PAYLOAD_TYPE, b"payloae")):
        other = Envelope(payload_type=payload_type, payload=payload, signatures=envelope.signatures)
        assert not signers(other, [key.public])


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"payload": "not base64!"},
        {"payload": "YQ"},
        {"payload": "YQ==\n"},
        {"payload": None},
        {"payloadType": 5},
        {"signatures": {}},
        {"signatures": [{"sig": "é"}]},
        {"signatures": [{"keyid": "a"}]},
        {"signatures": [{"sig": "YQ==", "cert": "x"}]},
        {"signatures": [{"sig": "YQ=="}] * 65},
    ],
)
def test_an_envelope_of_another_shape_is_refused(change):
    good = {"payloadType": PAYLOAD_TYPE, "payload": "YQ==", "signatures": [{"sig": "YQ=="}]}
    assert parse_envelope(json.dumps(good).encode()).payload == b"a"
    with pytest.raises(Malformed):
        parse_envelope(json.dumps(good | change).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://toadstone.dev/x"},
        {"subject": []},
        {"subject": [1, 2]},
        {"predicateType": "https://toadstone.dev/p/v1 "},
        {"more": 1},
    ],
)
def test_a_statement_of_another_kind_is_refused(change):
    predicate_type = "https://toadstone.dev/p/v1"
    document = json.loads(make_statement("name", "0" * 64, predicate_type, {}))
    good = Envelope(payload_type=PAYLOAD_TYPE, payload=json.dumps(document).encode(), signatures=())
    assert statement(good, predicate_type).of("predicate").mapping() == {}
    bad = Envelope(
        payload_type=PAYLOAD_TYPE, payload=json.dumps(document | change).encode(), signatures=()
    )
    with pytest.raises(Malformed):
        statement(bad, predicate_type)


def test_a_statement_in_another_payload_type_is_refused():
    payload = make_statement("name", "0" * 64, "p", {})
    envelope = Envelope(payload_type="application/json", payload=payload, signatures=())
    with pytest.raises(Malformed, match="payloadType"):
        statement(envelope, "p")


def test_a_new_key_is_private_and_never_overwrites(tmp_path):
    public = generate(tmp_path / "keys")
    secret = tmp_path / "keys" / "key.pem"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert load_private(secret).public == load_public(tmp_path / "keys" / "key.pub") == public
    before = secret.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        generate(tmp_path / "keys")
    secret.rename(tmp_path / "keys" / "old.pem")
    with pytest.raises(UsageError, match="never overwritten"):
        generate(tmp_path / "keys")
    assert not secret.exists()
    assert (tmp_path / "keys" / "old.pem").read_bytes() == before


def test_a_new_key_follows_no_link(tmp_path):
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot write"):
        generate(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_never_shows_itself(key):
    raw = key._key.private_bytes(ser.Encoding.Raw, ser.PrivateFormat.Raw, ser.NoEncryption())
    for shown in (repr(key), str(key), f"{key}"):
        assert raw.hex() not in shown
        assert base64.b64encode(raw).decode() not in shown


def test_keys_of_another_kind_are_refused(tmp_path):
    other = ec.generate_private_key(ec.SECP256K1())
    (tmp_path / "key.pem").write_bytes(
        other.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    )
    (tmp_path / "key.pub").write_bytes(
        other.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(UsageError, match="secp256k1 keys are not used here"):
        load_private(tmp_path / "key.pem")
    with pytest.raises(Untrusted, match="secp256k1 keys are not used here"):
        load_public(tmp_path / "key.pub")


@pytest.mark.parametrize("data", [b"", b"garbage", b"-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_a_file_that_is_no_key_is_told(tmp_path, data):
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(UsageError, match="private key"):
        load_private(tmp_path / "key")
    with pytest.raises(Untrusted, match="public key"):
        load_public(tmp_path / "key")
    for load in (load_private, load_public):
        with pytest.raises(UsageError, match="No such file"):
            load(tmp_path / "absent")
