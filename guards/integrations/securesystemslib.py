"""Keys that never leave their device: the signers of securesystemslib sign for us.

securesystemslib signs with keys in AWS, Azure and Google KMS, in HashiCorp Vault, in an HSM or on
a YubiKey (PKCS#11), and in memory. Nothing of it is imported here: who has such a signer has it.

    from securesystemslib.signer import Signer
    signer = Signer.from_priv_key_uri("awskms:alias/producer", public_key)
    guards.sign(dataset, key=Held.of(signer), name="acme/flights", version=1)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from guards.errors import UsageError
from guards.provenance.schemes import from_securesystemslib
from guards.provenance.signing import PublicKey, checked


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
        """The signature that the device makes."""
        return bytes.fromhex(self._signer.sign(message).signature)
