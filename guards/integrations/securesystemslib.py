"""Keys that never leave their device: the signers of securesystemslib sign for us.

securesystemslib signs with keys in AWS, Azure and Google KMS, in HashiCorp Vault, in an HSM or on
a YubiKey (PKCS#11), and in memory. Nothing of it is imported here: who has such a signer has it.

    from securesystemslib.signer import Signer
    signer = Signer.from_priv_key_uri("awskms:alias/producer", public_key)
    guards.sign(dataset, key=Held.of(signer), name="acme/flights", version=1)

At the command line a key of that kind is a file of two lines, which goes wherever `--key` takes a
PEM file: `uri = "awskms:alias/producer"`, and `public = "producer.pub"` beside it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guards.errors import GuardError, UsageError
from guards.provenance.schemes import from_securesystemslib
from guards.provenance.signing import Passphrases, PublicKey, checked, load_public


@dataclass(frozen=True, slots=True)
class Held:
    """A signer of securesystemslib as one of ours."""

    public: PublicKey
    _signer: Any

    @classmethod
    def of(cls, signer: Any) -> Held:
        """Take a signer; UsageError where its key is set to a scheme that is not the key's here."""
        told = signer.public_key
        value = str(told.keyval["public"])
        try:
            der = from_securesystemslib(told.scheme, value)
        except ValueError as error:
            raise UsageError(f"key {told.keyid[:12]}: {error}") from error
        public = checked(der, told.keyid[:12])
        if public.scheme != told.scheme:
            raise UsageError(f"key {told.keyid[:12]}: signs as {told.scheme}, not {public.scheme}")
        return cls(public, signer)

    def sign(self, message: bytes) -> bytes:
        """The signature that the device makes; UsageError where it makes none."""
        try:
            return bytes.fromhex(self._signer.sign(message).signature)
        except Exception as error:  # a network, a driver, a PIN: whatever the library lets through
            told = f"{type(error).__name__}: {error}"
            raise UsageError(f"key {self.public.keyid[:12]} did not sign: {told}") from error


def named(path: Path, secrets: Passphrases = lambda path: ()) -> Held:
    """The key that a file names by the URI of its private half and the file of its public one.

    Raises:
        UsageError: the file says something else, securesystemslib or what it needs for that URI is
            not installed, or the device does not answer.
    """
    uri, public = _reference(path)
    key = load_public(public)
    try:
        from cryptography.hazmat.primitives.serialization import load_der_public_key
        from securesystemslib.signer import Signer, SSlibKey
    except ImportError as error:
        raise UsageError(f"key {path}: {error}; pip install 'toadstone[kms]'") from error
    held = SSlibKey.from_crypto(load_der_public_key(key.spki), key.keyid, key.scheme)

    def secret(name: str) -> str:
        found = next(iter(secrets(path)), None)
        if found is None:
            raise UsageError(f"key {path}: needs a {name}; name a --passphrase-env VARIABLE")
        return found.decode()

    try:
        return Held.of(Signer.from_priv_key_uri(uri, held, secret))
    except GuardError:
        raise
    except Exception as error:  # each kind of device has errors of its own
        raise UsageError(f"key {path}: {uri}: {type(error).__name__}: {error}") from error


def _reference(path: Path) -> tuple[str, Path]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"key {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"key {path}: not TOML: {error}") from error
    uri, public = document.get("uri"), document.get("public")
    shape = document.keys() == {"uri", "public"} and isinstance(uri, str)
    if not shape or not isinstance(public, str) or not isinstance(uri, str):
        raise UsageError(f'key {path}: must say uri = "awskms:..." and public = "key.pub" only')
    return uri, path.parent / public
