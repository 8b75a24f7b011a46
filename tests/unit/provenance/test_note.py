"""Signed notes and checkpoints: the known ones of other implementations, and what is none.

Known answers: the example of golang.org/x/mod/sumdb/note (BSD-3-Clause), the ECDSA notes of
github.com/transparency-dev/formats (Apache-2.0, note/note_verifier_test.go), and the checkpoint
of c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from guards.digest import Digest
from guards.errors import GuardError, Malformed, Untrusted, UsageError
from guards.provenance import schemes
from guards.provenance.checkpoint import (
    Checkpoint,
    parse_checkpoint,
    read_checkpoint,
    sign_checkpoint,
)
from guards.provenance.note import Mark, key_id, noted_by, parse_note, sign_note, verifier_key
from guards.provenance.signing import PrivateKey, PublicKey

TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
SIGNED = (
    f"{TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
    "qdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
REKOR = (
    "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK"
    "5AW5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
)
REKORS = (
    "Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\n— rekor.sigstore.dev wNI9ajBEA"
    "iARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3+GKVClgqq20uDLet7MCoTURUCRdxwWBHHufk=\n"
).encode()
PIXEL = (
    "pixel6_transparency_log+91c16e30+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN+4x0Jk1yTwvLFI9A4NDdGZ"
    "cX0aiWVdWM5XJVy0M4VWD3AvyW5Q6Hs9A0mcDkpUoYgn+KKPNzFC0H3nN3q6JQ8="
)
PIXELS = (
    "DEFAULT\n10\nbsWRucJU5xJPHb5eBdOm6+DM+VelCZBuvtI3sHERJ9Y=\n\n— pixel6_transparency_log kcFuMD"
    "BFAiEAhqMAP8P6qf6QxtUJhzMhbN+MbZ9dwfUHzGQJmffJHtoCIGD0cNe47dHWBoPwYdgBCepB06/+g5O1FmYjXl06ow"
    "L4\n"
).encode()
SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
    "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()


def known(verifier):
    """The name and the public key in a verifier key of the Go implementation."""
    name, _, rest = verifier.partition("+")
    typed = base64.b64decode(rest.partition("+")[2])
    if typed[0] == 1:
        return name, PublicKey(schemes.spki(Ed25519PublicKey.from_public_bytes(typed[1:])))
    return name, PublicKey(typed[1:])


def peter():
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(base64.b64decode(SECRET)[1:]))


@pytest.mark.parametrize(
    ("verifier", "signed"), [(PETER, SIGNED), (REKOR, REKORS), (PIXEL, PIXELS)]
)
def test_the_notes_of_others_verify(verifier, signed):
    name, key = known(verifier)
    note = parse_note(signed)
    assert verifier_key(name, key) == verifier
    assert noted_by(note, name, [key]) == {key}
    assert note.to_bytes() == signed


def test_the_known_key_signs_the_known_note():
    """Ed25519 is deterministic, so ours are the bytes of the Go implementation."""
    assert sign_note(TEXT, "PeterNeumann", peter()).to_bytes() == SIGNED


def test_the_checkpoint_of_the_specification_is_read():
    found = read_checkpoint(SOFA)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.root.hex == base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=").hex()
    assert found.text.encode() == SOFA
    _, key = known(PETER)
    assert noted_by(found.note, found.origin, [key]) == set(), "a key that did not sign"


@pytest.mark.parametrize("option", schemes.OPTIONS)
def test_every_kind_of_key_signs_a_checkpoint(option):
    key = PrivateKey(schemes.OPTIONS[option].make())
    bare = Checkpoint(size=3, root=Digest.of(b"root"), origin="toadstone.dev/log/1")
    signed = sign_checkpoint(bare, key)
    again = read_checkpoint(signed.text.encode())
    assert again == bare
    assert noted_by(again.note, bare.origin, [key.public]) == {key.public}
    assert len(signed.to_embed().text) <= 4000
    other = PrivateKey(schemes.OPTIONS[option].make()).public
    assert noted_by(again.note, bare.origin, [other]) == set()


def test_the_key_ids_are_those_of_the_specification():
    """key ID = SHA-256(key name || 0x0A || signature type || public key)[:4]."""
    name, key = known(PETER)
    raw = base64.b64decode(PETER.split("+", 2)[2])
    assert key_id(name, key) == hashlib.sha256(b"PeterNeumann\n" + raw).digest()[:4]
    p384 = PrivateKey(schemes.OPTIONS["ecdsa-p384"].make()).public
    typed = b"\xfftoadstone.dev/ecdsa-sha2-nistp384\n" + p384.spki
    assert key_id("a", p384) == hashlib.sha256(b"a\n" + typed).digest()[:4]


WRONG = {
    "nothing": b"",
    "no empty line": SIGNED.replace(b"\n\n", b"\n"),
    "no line feed at the end": SIGNED[:-1],
    "no signature": TEXT.encode() + b"\n",
    "a carriage return": SIGNED.replace(b",\n", b",\r\n"),
    "a NUL": SIGNED.replace(b"you", b"y\0u", 1),
    "not UTF-8": SIGNED.replace(b"you", b"y\xffu", 1),
    "a dash that is none": SIGNED.replace("—".encode(), b"-"),
    "a name with a plus": SIGNED.replace(b" PeterNeumann", b" Peter+Neumann"),
    "no name": SIGNED.replace(b" PeterNeumann", b" "),
    "a name with a space of Unicode": SIGNED.replace(b"PeterN", "Peter\u00a0N".encode()),
    "base64 with a space": SIGNED.replace(b"x08g", b"x0 8g"),
    "base64 of another alphabet": SIGNED.replace(b"/ZJ", b"_ZJ"),
    "base64 in another spelling": SIGNED.replace(b"nAM=", b"nAN="),
    "a short signature": TEXT.encode() + "\n— a c74fow==\n".encode(),
    "text after the signatures": SIGNED + b"more\n",
    "too many signatures": SIGNED + SIGNED.split(b"\n\n")[1] * 64,
    "too large": b"x" * (1 << 20) + SIGNED,
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_note_is_refused(data):
    with pytest.raises(Malformed):
        parse_note(data)


CHANGED = {
    "the text": SIGNED.replace(b"answer", b"Answer"),
    "a line feed more": SIGNED.replace(b".\n\n", b".\n\n\n"),
    "the signature": SIGNED.replace(b"SffcvI", b"SffcvJ"),
}


@pytest.mark.parametrize("data", CHANGED.values(), ids=CHANGED.keys())
def test_a_line_of_a_known_key_that_does_not_verify_refuses_the_note(data):
    """If a signature from a known key fails to verify, clients SHOULD reject the whole note."""
    name, key = known(PETER)
    with pytest.raises(Untrusted, match="does not verify"):
        noted_by(parse_note(data), name, [key])


def test_signatures_of_unknown_keys_are_ignored():
    """MUST ignore signatures from unknown keys, even if they share a name or ID (but not both)."""
    name, key = known(PETER)
    same_name = Mark(name=name, key_id=b"\0\0\0\1", signature=b"x" * 64)
    same_id = Mark(name="Other", key_id=key_id(name, key), signature=b"x" * 64)
    data = SIGNED + f"{same_name}{same_id}".encode()
    assert noted_by(parse_note(data), name, [key]) == {key}
    stripped = TEXT.encode() + b"\n" + f"{same_name}{same_id}".encode()
    assert noted_by(parse_note(stripped), name, [key]) == set()


def test_sixteen_signatures_and_the_same_one_twice():
    """Verifiers MUST accept at least up to 16 signatures."""
    name, key = known(PETER)
    strangers = [Mark(name=f"w{n}", key_id=bytes([n] * 4), signature=b"s" * 80) for n in range(14)]
    data = SIGNED + SIGNED.split(b"\n\n")[1] + "".join(map(str, strangers)).encode()
    assert noted_by(parse_note(data), name, [key]) == {key}


NO_CHECKPOINT = {
    "two lines": b"a\n1\n",
    "an extension": b"a\n1\n" + base64.b64encode(bytes(32)) + b"\nextension\n",
    "an empty origin": b"\n1\n" + base64.b64encode(bytes(32)) + b"\n",
    "an origin with a plus": b"a+b\n1\n" + base64.b64encode(bytes(32)) + b"\n",
    "a size with a zero before it": b"a\n01\n" + base64.b64encode(bytes(32)) + b"\n",
    "a negative size": b"a\n-1\n" + base64.b64encode(bytes(32)) + b"\n",
    "a size of other digits": "a\n\u0663\n".encode() + base64.b64encode(bytes(32)) + b"\n",
    "a huge size": b"a\n" + b"9" * 4000 + b"\n" + base64.b64encode(bytes(32)) + b"\n",
    "a size beyond 2^53": b"a\n9007199254740992\n" + base64.b64encode(bytes(32)) + b"\n",
    "a short root": b"a\n1\n" + base64.b64encode(bytes(31)) + b"\n",
    "a root in hexadecimal": b"a\n1\n" + b"0" * 64 + b"\n",
}


@pytest.mark.parametrize("text", NO_CHECKPOINT.values(), ids=NO_CHECKPOINT.keys())
def test_what_is_no_checkpoint_is_refused_though_it_is_signed(text):
    data = sign_note(text.decode(), "a", peter()).to_bytes()
    with pytest.raises(Malformed):
        read_checkpoint(data)


@pytest.mark.parametrize("text", ["", "3", "3:", ":" + "0" * 64, "x:sha256:" + "0" * 64, "3:md5:0"])
def test_a_checkpoint_that_is_none_is_told(text):
    with pytest.raises(UsageError, match="checkpoint"):
        parse_checkpoint(text)


def test_a_checkpoint_in_one_line():
    found = parse_checkpoint(f"3:{Digest.of(b'x')}")
    assert found == Checkpoint(size=3, root=Digest.of(b"x"))
    assert str(found) == f"3:{Digest.of(b'x')}"


def test_a_note_that_others_signed_is_embedded_without_them():
    bare = Checkpoint(size=3, root=Digest.of(b"root"), origin="log.example/1")
    signed = sign_checkpoint(bare, peter())
    more = "".join(str(Mark(name=f"w{n}", key_id=b"0000", signature=b"s" * 3000)) for n in range(9))
    witnessed = read_checkpoint(signed.text.encode() + more.encode())
    assert witnessed.to_embed().text == signed.text
    with pytest.raises(UsageError, match="too long"):
        read_checkpoint(
            sign_note(f"{'a' * 5000}\n3\n{'A' * 43}=\n", "x", peter()).to_bytes()
        ).to_embed()


@given(st.binary(max_size=200), st.integers(0, len(SOFA)))
def test_any_bytes_are_a_checkpoint_or_a_typed_refusal(junk, place):
    for data in (junk, SOFA[:place] + junk + SOFA[place:], SOFA[:place] + junk):
        with suppress(GuardError):
            assert read_checkpoint(data).text.encode() == data
