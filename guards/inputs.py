"""What steers a scan beside the data: references, contracts, the device, the seed.

Whoever can swap one of these can decide the verdict. So an input must be pinned by digest in the
verifier's policy, or signed by a producer whom the verifier trusts for it; only a scan without
any trust, which no gate admits, takes it as it comes.
"""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guards.data.dataset import open_dataset
from guards.data.profile import Profile, build_profile, parse_profile
from guards.digest import Digest
from guards.errors import Untrusted, UsageError
from guards.files import read_document, write_atomically
from guards.provenance.proof import Expectation, prove, room
from guards.provenance.roles import Roles
from guards.provenance.snapshot import stage
from guards.provenance.strictjson import loads
from guards.provenance.trust import Trust
from guards.publish import describe_columns, manifest_path
from guards.verdict import Policy

_SECRET = 32  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs a scan was given, vouched for."""

    reference: Profile | None = None
    contract: Mapping[str, Any] | None = None


def load_inputs(
    policy: Policy, reference: Path | None, trust: Trust | None, at: datetime
) -> Inputs:
    """Read what the policy pins, and the reference that was asked for.

    Raises:
        Untrusted: an input is not the one that the policy pins, or nobody vouches for it.
        UsageError: a file is missing.
    """
    contract = _pinned(policy, "contract")
    profile = _pinned(policy, "reference")
    chosen = parse_profile(profile) if profile is not None else None
    if reference is not None:
        chosen = _reference(reference, policy, trust, at)
        pin = policy.pins.get("reference", str(chosen.digest))
        if trust is not None and str(chosen.digest) != pin:
            raise Untrusted(f"reference {reference}: is {chosen.digest}, but the policy pins {pin}")
    return Inputs(
        reference=chosen,
        contract=loads(contract, "contract").mapping() if contract is not None else None,
    )


def pick_device(asked: str | None, roles: Roles) -> str:
    """The device asked for, or the GPU when there is one and there are images to look at."""
    if asked == "cpu" or (asked is None and not roles.image):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked:
        raise UsageError(f"--device {asked}: torch sees no such device; use --device cpu")
    return "cpu"


def draw_seed(policy: Policy, root: Digest) -> int:
    """HMAC(installation secret, snapshot || policy): a producer cannot try seeds in advance."""
    message = root.raw + policy.digest.raw
    return int.from_bytes(hmac.digest(_secret(), message, "sha256")[:6], "big")


def _pinned(policy: Policy, kind: str) -> bytes | None:
    """The bytes of an input that the policy pins; None when it pins none."""
    if kind not in policy.files:
        if kind in policy.pins:
            raise UsageError(
                f"policy {policy.name}: pins {kind}, but [files] does not say where it is"
            )
        return None
    data = _read(Path(policy.files[kind]))
    pin = policy.pins.get(kind, "none")
    if str(Digest.of(data)) != pin:
        raise Untrusted(
            f"{kind} {policy.files[kind]} is {Digest.of(data)}, but the policy pins {pin}"
        )
    return data


def _reference(path: Path, policy: Policy, trust: Trust | None, at: datetime) -> Profile:
    if path.is_dir() or manifest_path(path).is_file():
        return profile_of(path, trust, at)
    data = _read(path)
    if trust is not None and str(Digest.of(data)) != policy.pins.get("reference"):
        raise Untrusted(
            f"reference {path}: the policy does not pin {Digest.of(data)}; pin it, or give a "
            "dataset with a signed manifest as --reference"
        )
    return parse_profile(data)


def profile_of(
    path: Path,
    trust: Trust | None,
    at: datetime | None = None,
    columns: Mapping[str, str] | None = None,
) -> Profile:
    """The profile of a dataset; with `trust`, only if a trusted producer signed the dataset.

    Roles are the signed ones, or else those of `columns` and of `DATASET.dataset.toml`.
    """
    with tempfile.TemporaryDirectory(prefix="toadstone-") as private:
        staged = Path(private) / "data"
        staged.mkdir(mode=0o700)
        signed, moment, most = None, at or datetime.now(UTC), None
        if trust is not None:
            signed = read_document(manifest_path(path))
            # Without a claim it is refused below, and needs no copy for that.
            most = room(signed, trust, moment) or 0
        walked = stage(path, staged, most)
        roles, given = None, {}
        if trust is None:
            given = {**describe_columns(path)[0], **(columns or {})}
        else:
            proof = prove(walked, signed, trust, Expectation(at=moment))
            if not proof or proof.manifest is None:
                told = "; ".join(map(str, proof.refusals[:3]))
                raise Untrusted(f"reference {path}: nobody trusted vouches for it: {told}")
            roles = proof.manifest.roles
        files = [entry.path for entry in walked.snapshot.files]
        return build_profile(open_dataset(staged, files, roles, given=given))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _secret() -> bytes:
    home = os.environ.get("TOADSTONE_HOME")
    directory = Path(home) if home else Path.home() / ".local" / "state" / "toadstone"
    path = directory / "secret"
    try:
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            write_atomically(path, secrets.token_bytes(_SECRET), mode=0o600)
        secret = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise UsageError(f"installation secret {path}: {error}; set TOADSTONE_HOME") from error
    if len(secret) != _SECRET:
        # With an empty or guessed secret a producer could try seeds in advance.
        raise UsageError(f"installation secret {path}: is not {_SECRET} bytes; remove it")
    return secret
