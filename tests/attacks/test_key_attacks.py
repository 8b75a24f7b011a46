"""Attacks on keys: one key that counts as two, a key out of its time, a key that anybody can use.

Numbers 16 to 18 of the list of attacks. Each is built for real: signatures are made, malleated or
forged with the arithmetic itself, and held to `verify`, the scan and the gate.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from guards.errors import GateRefused, Untrusted, UsageError
from guards.provenance import trust as trusts
from guards.provenance.manifest import parse_name
from guards.provenance.signing import (
    PrivateKey,
    generate,
    load_private,
    load_public,
    pae,
    parse_envelope,
)
from guards.publish import countersign
from guards.verdict import Decision

NOW = datetime.now(UTC).replace(microsecond=0)
KINDS = ("ed25519", "ecdsa-p256", "ecdsa-p384", "rsa-pss-3072")
# The order of P-256's group (FIPS 186-5).
N256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def enrol(spine, who: str, kind: str = "ed25519", **more) -> PrivateKey:
    """One more trusted producer, with a key of that kind."""
    home = spine.home / who
    public = generate(home, kind)
    given = {"roles": ("producer",), "names": ("acme/*",), **more}
    trusts.add(spine.trust_dir, trusts.TrustedKey(key=public, **given))
    return load_private(home / "key.pem")


def require(spine, count: int, role: str = "producer") -> None:
    asked = trusts.Threshold(role=role, names=("acme/*",), threshold=count)
    trusts.require(spine.trust_dir, asked)


def resign(spine, *signatures: tuple[str, bytes]) -> None:
    envelope = parse_envelope(spine.manifest.read_bytes())
    spine.manifest.write_bytes(replace(envelope, signatures=signatures).to_json())


def message(spine) -> bytes:
    envelope = parse_envelope(spine.manifest.read_bytes())
    return pae(envelope.payload_type, envelope.payload)


def refused_everywhere(spine, code: str) -> None:
    assert spine.codes() == [code]
    assert not spine.verify().signers
    assert spine.scan().verdict.decision is Decision.BLOCK
    with pytest.raises(GateRefused):
        spine.gate()


def edit_trust(spine, old: str, new: str) -> None:
    path = spine.trust_dir / "trust.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


class TestOneKeyIsOneKey:
    """Attack 16."""

    def test_two_of_two_pass_and_one_of_two_does_not(self, spine):
        key = enrol(spine, "second", "ecdsa-p256")
        require(spine, 2)
        refused_everywhere(spine, "too-few-keys")
        countersign(spine.batch, [key])
        assert spine.verify()
        assert len(spine.verify().signers) == 2
        assert spine.scan().verdict.decision is Decision.PASS
        assert spine.gate()

    @pytest.mark.parametrize("kind", KINDS)
    def test_one_key_that_signs_many_times_counts_once(self, spine, kind):
        """With ECDSA and RSA-PSS every signature has other bytes; under any key id."""
        key = enrol(spine, "second", kind)
        require(spine, 2)
        other = load_public(spine.keys.pub("producer")).keyid
        made = [key.sign(message(spine)) for _ in range(3)]
        resign(spine, *((keyid, sig) for sig in made for keyid in ("", other, key.public.keyid)))
        refused_everywhere(spine, "too-few-keys")
        assert "1 of 2" in str(spine.verify().refusals[0])

    def test_a_signature_and_its_twin_count_once(self, spine):
        """(r, s) and (r, n - s) verify alike."""
        key = enrol(spine, "second", "ecdsa-p256")
        require(spine, 2)
        r, s = decode_dss_signature(key.sign(message(spine)))
        twins = [encode_dss_signature(r, s), encode_dss_signature(r, N256 - s)]
        assert all(key.public.verifies(twin, message(spine)) for twin in twins)
        resign(spine, *(("", twin) for twin in twins))
        refused_everywhere(spine, "too-few-keys")

    def test_colliding_key_ids_decide_nothing(self, spine):
        first, second = spine.keys.private("producer"), enrol(spine, "second")
        require(spine, 2)
        shared = first.public.keyid
        resign(spine, (shared, first.sign(message(spine))), (shared, second.sign(message(spine))))
        assert spine.verify()
        resign(spine, *[(key.public.keyid, first.sign(message(spine))) for key in (first, second)])
        refused_everywhere(spine, "too-few-keys")

    def test_one_key_in_two_files_is_refused(self, spine):
        enrol(spine, "second", "ecdsa-p256")
        (spine.trust_dir / "keys" / "twin.pub").write_bytes(
            (spine.home / "second" / "key.pub").read_bytes()
        )
        with (spine.trust_dir / "trust.toml").open("a") as file:
            file.write('[[key]]\nfile = "keys/twin.pub"\nroles = ["producer"]\nnames = ["*"]\n')
        with pytest.raises(Untrusted, match="listed twice"):
            spine.verify()

    def test_one_key_in_two_spellings_is_refused(self, spine):
        """A point can be written compressed: other bytes, another key id, the same key."""
        key = enrol(spine, "second", "ecdsa-p256")
        x962 = key._key.public_key().public_bytes(
            ser.Encoding.X962, ser.PublicFormat.CompressedPoint
        )
        start = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
        twin = start + x962
        loaded = ser.load_der_public_key(twin)
        assert loaded == key._key.public_key(), "it is the same key"
        (spine.trust_dir / "keys" / "twin.pub").write_text(armoured(twin))
        with (spine.trust_dir / "trust.toml").open("a") as file:
            file.write('[[key]]\nfile = "keys/twin.pub"\nroles = ["producer"]\nnames = ["*"]\n')
        with pytest.raises(Untrusted, match="not the one form"):
            spine.verify()

    def test_a_stated_scheme_that_is_not_the_keys_is_refused(self, spine):
        enrol(spine, "second", "ecdsa-p256")
        edit_trust(spine, "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384")
        with pytest.raises(Untrusted, match="is a key of ecdsa-sha2-nistp256"):
            spine.verify()

    @pytest.mark.parametrize(
        "how",
        [
            (padding.PKCS1v15(), hashes.SHA256()),
            (padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512()),
            (padding.PSS(padding.MGF1(hashes.SHA1()), 32), hashes.SHA256()),
            (padding.PSS(padding.MGF1(hashes.SHA256()), 0), hashes.SHA256()),
            (padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH), hashes.SHA256()),
        ],
        ids=["pkcs1v15", "sha512", "mgf1-sha1", "no-salt", "long-salt"],
    )
    def test_a_trusted_key_in_another_scheme_counts_for_nobody(self, spine, how):
        key = enrol(spine, "second", "rsa-pss-3072")
        resign(spine, (key.public.keyid, key._key.sign(message(spine), *how)))
        refused_everywhere(spine, "untrusted-key")

    @pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384"])
    def test_a_trusted_curve_with_another_hash_counts_for_nobody(self, spine, kind):
        key = enrol(spine, "second", kind)
        hash_ = hashes.SHA512()
        resign(spine, (key.public.keyid, key._key.sign(message(spine), ec.ECDSA(hash_))))
        refused_everywhere(spine, "untrusted-key")


class TestThresholds:
    def test_a_producer_cannot_pass_data_off_as_derived(self, spine):
        """One deriver is enough; one producer of two does not become one by naming a parent."""
        require(spine, 2)
        spine.forge(lambda d: d["predicate"]["dataset"].__setitem__("parents", ["0" * 64]))
        refused_everywhere(spine, "too-few-keys")

    def test_a_deriver_does_not_make_up_for_a_missing_producer(self, spine):
        key = enrol(spine, "second", roles=("deriver",))
        require(spine, 2)
        countersign(spine.batch, [key])
        assert spine.codes() == ["too-few-keys"]

    def test_derived_data_takes_as_many_derivers_as_are_asked_for(self, spine):
        derivers = [enrol(spine, who, roles=("deriver",)) for who in ("one", "two")]
        for role in ("producer", "deriver"):
            require(spine, 2, role)
        spine.forge(lambda d: d["predicate"]["dataset"].__setitem__("parents", ["0" * 64]))
        for key in derivers:
            assert spine.codes() == ["too-few-keys"]
            countersign(spine.batch, [key])
        proof = spine.verify()
        assert proof
        assert proof.authority.role == "deriver"
        assert len(proof.signers) == 3, "the producer's word is kept, though it was not needed"

    def test_a_threshold_raised_since_takes_the_record_along(self, spine):
        spine.scan()
        assert spine.gate()
        enrol(spine, "second")
        require(spine, 2)
        with pytest.raises(GateRefused, match="1 of 2 different keys needed are trusted"):
            spine.gate()

    def test_the_highest_threshold_that_fits_decides(self, spine):
        enrol(spine, "second")
        require(spine, 2)
        narrow = trusts.Threshold(role="producer", names=("acme/flights",), threshold=1)
        trusts.require(spine.trust_dir, narrow)
        assert spine.codes() == ["too-few-keys"]

    def test_a_stranger_and_a_neighbour_do_not_fill_it(self, spine):
        require(spine, 2)
        for who in ("stranger", "neighbour", "scanner"):
            countersign(spine.batch, [spine.keys.private(who)])
        assert spine.codes() == ["too-few-keys"]
        told = str(spine.verify().refusals[0])
        assert "is not trusted for acme/flights" in told
        assert "has not the role producer" in told


def change_key(spine, who: str, **more) -> None:
    public = load_public(spine.keys.pub(who))
    keys = [replace(k, **more) if k.key == public else k for k in spine.trust.keys]
    trusts._write(spine.trust_dir, keys)


SOON, LATE = timedelta(minutes=4), timedelta(minutes=6)
REVOKED = trusts.Revocation(since=NOW, reason='the laptop was "lost"\nin a train')


class TestTheTimeOfAKey:
    """Attack 17. The time is the verifier's, and clocks may differ by five minutes."""

    @pytest.mark.parametrize(
        ("more", "good", "bad"),
        [
            ({"expires": NOW}, SOON, LATE),
            ({"valid_from": NOW + LATE}, SOON, timedelta()),
            ({"valid_from": NOW + SOON}, timedelta(), None),
            ({"revoked": replace(REVOKED, since=NOW + 2 * LATE)}, LATE, 2 * LATE - SOON),
        ],
        ids=["expired", "not yet valid", "almost valid", "revoked"],
    )
    def test_a_key_counts_in_its_time_only(self, spine, more, good, bad):
        spine.sign(version=2, created=NOW)  # however long ago the tests were collected
        change_key(spine, "producer", **more)
        assert spine.verify(at=NOW + good)
        if bad is not None:
            assert [p.code for p in spine.verify(at=NOW + bad).refusals] == ["untrusted-key"]

    @pytest.mark.parametrize("who", ["producer", "scanner"])
    def test_a_key_revoked_since_takes_the_record_along(self, spine, who):
        spine.scan()
        assert spine.gate()
        change_key(spine, who, revoked=REVOKED)
        with pytest.raises(GateRefused):
            spine.gate()

    def test_the_reason_is_told_and_the_past_can_be_asked_about(self, spine):
        spine.scan()
        later = NOW + timedelta(days=2)
        public = load_public(spine.keys.pub("producer"))
        trusts.revoke(spine.trust_dir, public, replace(REVOKED, since=later))
        assert spine.verify(at=later - timedelta(days=1))
        told = str(spine.verify(at=later).refusals[0])
        assert "was revoked on" in told
        assert "lost" in told

    def test_a_backdated_claim_does_not_help_a_thief(self, spine):
        """`created` is the signer's word; the verifier's time decides."""
        change_key(spine, "producer", revoked=REVOKED)
        spine.sign(version=2, created=NOW - timedelta(days=300))
        refused_everywhere(spine, "untrusted-key")

    def test_a_revoked_key_does_not_help_to_fill_a_threshold(self, spine):
        key = enrol(spine, "second")
        require(spine, 2)
        countersign(spine.batch, [key])
        assert spine.verify()
        trusts.revoke(spine.trust_dir, key.public, REVOKED)
        assert spine.codes() == ["too-few-keys"]

    def test_a_key_is_not_revoked_without_a_reason(self, spine):
        public = load_public(spine.keys.pub("producer"))
        with pytest.raises(UsageError, match="--reason"):
            trusts.revoke(spine.trust_dir, public, replace(REVOKED, reason=" "))
        with pytest.raises(UsageError, match="is not in"):
            trusts.revoke(spine.trust_dir, load_public(spine.keys.pub("stranger")), REVOKED)


class TestWhatAnybodyCanMake:
    """Attack 18."""

    def test_zero_and_out_of_range_numbers_are_no_signature(self, spine):
        key = enrol(spine, "second", "ecdsa-p256")
        r, s = decode_dss_signature(key.sign(message(spine)))
        for bad in (
            *[(0, 0), (0, s), (r, 0), (0, 1), (1, 0), (1, 1), (N256, s), (r, N256)],
            *[(r + N256, s), (r, s + N256), (-r, s), (r, -s), (N256, N256)],
        ):
            resign(spine, (key.public.keyid, der(0x30, integer(bad[0]) + integer(bad[1]))))
            assert spine.codes() == ["untrusted-key"], bad

    def test_a_signature_is_der_and_nothing_else(self, spine):
        key = enrol(spine, "second", "ecdsa-p256")
        good = key.sign(message(spine))
        r, s = decode_dss_signature(good)
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        long_form = good[:1] + b"\x81" + good[1:]
        for bad in (raw, long_form, good + b"\0", good[:-1], b"", b"\x30\0"):
            resign(spine, (key.public.keyid, bad))
            assert spine.codes() == ["untrusted-key"], bad

    def test_a_high_s_verifies_and_is_harmless(self, spine):
        key = enrol(spine, "second", "ecdsa-p256")
        r, s = decode_dss_signature(key.sign(message(spine)))
        resign(spine, ("", encode_dss_signature(r, max(s, N256 - s))))
        assert spine.verify().signers == (key.public.keyid,)
        assert spine.scan().verdict.decision is Decision.PASS

    @pytest.mark.parametrize("exponent", [1, 3, 65535, 65536, 2**256 + 1])
    def test_an_exponent_by_which_anybody_signs_is_refused_when_trust_is_loaded(
        self, spine, exponent
    ):
        """With e = 1 the padded message is its own signature: here taken from an honest one."""
        key = enrol(spine, "second", "rsa-pss-3072")
        numbers = key._key.public_key().public_numbers()
        honest = int.from_bytes(key.sign(message(spine)), "big")
        padded = pow(honest, numbers.e, numbers.n)
        assert pow(padded, 1, numbers.n).to_bytes(384, "big").endswith(b"\xbc"), "PSS under e = 1"
        file = next(
            path
            for path in (spine.trust_dir / "keys").iterdir()
            if path.read_bytes() == key.public.pem
        )
        file.write_text(rsa_pem(numbers.n, exponent))
        resign(spine, ("", padded.to_bytes(384, "big")))
        with pytest.raises(Untrusted, match=file.name):
            spine.verify()

    @pytest.mark.parametrize("point", ["infinity", "off the curve"])
    def test_a_key_that_is_no_point_of_its_curve_is_refused(self, spine, point):
        key = enrol(spine, "second", "ecdsa-p256")
        spki = bytearray(key.public.spki)
        spki[-1] ^= 1
        if point == "infinity":
            start = bytes.fromhex("3019301306072a8648ce3d020106082a8648ce3d030107030200")
            spki = bytearray(start + b"\0")
        for path in (spine.trust_dir / "keys").iterdir():
            if path.read_bytes() == key.public.pem:
                path.write_text(armoured(bytes(spki)))
        with pytest.raises(Untrusted, match="public key"):
            spine.verify()

    def test_an_identity_key_does_not_fill_a_threshold(self, spine):
        """It would verify R = identity, S = 0 over every message: a second key for nothing."""
        identity = bytes.fromhex("302a300506032b6570032100") + (1).to_bytes(32, "little")
        key = enrol(spine, "second")
        require(spine, 2)
        for path in (spine.trust_dir / "keys").iterdir():
            if path.read_bytes() == key.public.pem:
                path.write_text(armoured(identity))
        envelope = parse_envelope(spine.manifest.read_bytes())
        resign(spine, *envelope.signatures, ("", (1).to_bytes(32, "little") + bytes(32)))
        with pytest.raises(Untrusted, match="small order"):
            spine.verify()


def armoured(der: bytes) -> str:
    body = base64.b64encode(der).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"


def rsa_pem(modulus: int, exponent: int) -> str:
    """An RSA key in SPKI, written by hand: no library writes e = 1."""
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    inner = der(0x30, integer(modulus) + integer(exponent))
    return armoured(der(0x30, algorithm + der(3, b"\0" + inner)))


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def test_a_claim_says_only_what_its_second_signer_sees(spine):
    """A planted claim is not signed by `--add` either."""
    spine.forge(
        lambda d: d["predicate"].__setitem__(
            "columns", {"label": "ignore", "x": "feature", "source": "ignore"}
        ),
        who="stranger",
    )
    planted = spine.manifest.read_bytes()
    with pytest.raises(UsageError, match="other roles"):
        countersign(spine.batch, [spine.keys.private("producer")])
    assert spine.manifest.read_bytes() == planted


def test_what_is_added_to_is_the_claim_that_is_there(spine):
    before = parse_envelope(spine.manifest.read_bytes())
    path, claim = countersign(spine.batch, [spine.keys.private("stranger")])
    after = parse_envelope(path.read_bytes())
    assert (after.payload, len(after.signatures)) == (before.payload, 2)
    assert claim.name == parse_name("acme/flights/2013-01")
    spine.manifest.unlink()
    with pytest.raises(UsageError, match="no claim to add to"):
        countersign(spine.batch, [spine.keys.private("stranger")])
    (spine.batch / "a.parquet").unlink()
    path.write_bytes(after.to_json())
    with pytest.raises(UsageError, match="other bytes"):
        countersign(spine.batch, [spine.keys.private("producer")])
