"""Signers of securesystemslib, which speak to KMS and HSM, sign as ours do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from guards.errors import Untrusted, UsageError
from guards.integrations.securesystemslib import Held
from guards.provenance.signing import sign, signers

library = pytest.importorskip("securesystemslib.signer")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_signer_of_the_library_signs_for_us(kind):
    held = Held.of(getattr(library.CryptoSigner, f"generate_{kind}")(**SIZE.get(kind, {})))
    envelope = sign(b"payload", held)
    assert signers(envelope, [held.public]) == {held.public}
    assert held.public.scheme == held._signer.public_key.scheme
    assert not held.public.verifies(held.sign(b"payload"), b"other payload")


SIZE = {"rsa": {"size": 3072}}


@pytest.mark.parametrize("scheme", ["rsassa-pss-sha512", "rsa-pkcs1v15-sha256"])
def test_a_signer_that_is_set_to_another_scheme_is_refused(scheme):
    signer = library.CryptoSigner.generate_rsa(scheme=scheme, size=3072)
    with pytest.raises(UsageError, match=f"signs as {scheme}, not rsassa-pss-sha256"):
        Held.of(signer)


def test_a_weak_key_of_the_library_is_refused():
    with pytest.raises(Untrusted, match="2048 bits"):
        Held.of(library.CryptoSigner.generate_rsa(size=2048))


def test_a_signer_without_a_key_in_a_known_form_is_refused():
    told = SimpleNamespace(keyval={"public": "no key"}, scheme="ed25519", keyid="0" * 64)
    with pytest.raises(UsageError, match="000000000000"):
        Held.of(SimpleNamespace(public_key=told))
