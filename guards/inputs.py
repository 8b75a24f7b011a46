"""What steers a scan beside the data: references, contracts, the device, the seed.

Whoever can swap one of these can decide the verdict. So an input must be pinned by digest in the
verifier's policy, or signed by a producer whom the verifier trusts for it; only a scan without
any trust, which no gate admits, takes it as it comes. A reference is one of four: a profile that
the policy pins, a profile that a producer signed with its data, such data itself, or an anchor
(:mod:`guards.anchor`), of which an approver has accepted the last profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guards.anchor import is_anchor, read_anchor
from guards.data.dataset import Dataset, open_dataset, whole
from guards.data.decoding import form_of
from guards.data.model import Model, build
from guards.data.profile import Profile, build_profile, parse_profile
from guards.digest import Digest
from guards.errors import NothingToExamine, Unreadable, Untrusted, UsageError
from guards.private import private
from guards.provenance.listing import manifest_path, read_claim
from guards.provenance.manifest import Name
from guards.provenance.proof import CLAIM, Expectation, prove, room, vouched
from guards.provenance.roles import Roles
from guards.provenance.snapshot import Walked, stage
from guards.provenance.strictjson import loads
from guards.provenance.trust import Trust
from guards.publish import describe_columns
from guards.secret import draw
from guards.verdict import Policy

TRUSTED = "trusted_rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs a scan was given, vouched for."""

    reference: Profile | None = None
    contract: Mapping[str, Any] | None = None


def load_inputs(
    policy: Policy,
    reference: Path | None,
    trust: Trust | None,
    at: datetime,
    name: Name | None = None,
    columns: Mapping[str, str] | None = None,
) -> Inputs:
    """Read what the policy pins, and the reference that was asked for.

    `name` is that of the data, for which an anchor must have been accepted; `columns` are its
    unsigned roles, which an unsigned dataset that is the reference then has as well.

    Raises:
        Untrusted: an input is not the one that the policy pins, or nobody vouches for it.
        UsageError: a file is missing.
    """
    contract = _pinned(policy, "contract")
    chosen, named = None, Path(policy.files.get("reference", ""))
    if reference is None and "reference" in policy.files and is_anchor(named):
        reference = named
    if reference is None:
        pinned = _pinned(policy, "reference")
        chosen = parse_profile(pinned, named) if pinned is not None else None
    else:
        given = columns if trust is None else None
        chosen = _reference(reference, policy, trust, at, name, given)
        pin = policy.pins.get("reference", str(chosen.digest))
        if trust is not None and str(chosen.digest) != pin:
            raise Untrusted(f"reference {reference}: is {chosen.digest}, but the policy pins {pin}")
    return Inputs(
        reference=chosen,
        contract=loads(contract, "contract").mapping() if contract is not None else None,
    )


def load_trusted(
    asked: Path | None,
    policy: Policy,
    trust: Trust | None,
    at: datetime,
    opened: Dataset,
) -> tuple[Dataset | None, str]:
    """The rows that somebody checked, from `asked` or the policy's files, read as `opened` is.

    With them, the root that names their bytes, which is what a pin is held against; with a pin no
    signature is asked for. They are copied beside the copy that `opened` lies in, and only the
    copy is looked at.

    Raises:
        Unreadable: a file of theirs cannot be read, or lacks columns of the data.
        Untrusted: they are not those that the policy pins, or no trusted producer signed them.
        UsageError: there are none at that path.
    """
    path = asked or (Path(policy.files[TRUSTED]) if TRUSTED in policy.files else None)
    pin = policy.pins.get(TRUSTED)
    if path is None:
        if pin is not None:
            raise UsageError(
                f"policy {policy.name}: pins {TRUSTED}; give --trusted-rows, or say in [files] "
                "where they are"
            )
        return None, ""
    if not path.exists():
        raise UsageError(f"trusted rows {path}: there is no such file or directory")
    staged = opened.root.with_name("trusted")
    staged.mkdir(mode=0o700)
    walked, signed = _staged(path, staged, trust if pin is None else None, at)
    if pin is not None and str(walked.snapshot.root) != pin:
        raise Untrusted(
            f"trusted rows {path}: are {walked.snapshot.root}, but the policy pins {pin}"
        )
    if pin is None and trust is not None:
        _require_proof(walked, signed, trust, at, f"trusted rows {path}")
    files = [entry.path for entry in walked.snapshot.files]
    # Read by the roles of the data: what was signed of the trusted rows must not steer the rest.
    with _told_of(f"trusted rows {path}"):
        return whole(open_dataset(staged, files, opened.roles)), str(walked.snapshot.root)


@contextmanager
def _told_of(what: str) -> Iterator[None]:
    """Say of which input it is that it cannot be read, and never that the data is empty."""
    try:
        yield
    except NothingToExamine as error:
        raise UsageError(f"{what}: {error}") from error
    except Unreadable as error:
        raise Unreadable(f"{what}: {error}") from error


def _staged(
    path: Path, staged: Path, trust: Trust | None, at: datetime
) -> tuple[Walked, bytes | None]:
    """A private copy, bounded by the signed size where a signature is what vouches for it."""
    signed = read_claim(manifest_path(path))
    most = None if trust is None else room(signed, trust, at) or 0
    return stage(path, staged, most), signed


def _require_proof(
    walked: Walked, signed: bytes | None, trust: Trust, at: datetime, what: str
) -> Roles:
    """The signed roles of what a trusted producer vouches for."""
    proof = prove(walked, signed, trust, Expectation(at=at))
    if not proof or proof.manifest is None:
        # Without a claim that holds every file is too many: that says nothing more.
        of_claim = [problem for problem in proof.refusals if problem.path == CLAIM]
        told = "; ".join(map(str, (of_claim or proof.refusals)[:3]))
        raise Untrusted(
            f"{what}: nobody trusted vouches for it: {told}; toadstone trust explain says why, "
            "toadstone sign signs it"
        )
    return proof.manifest.roles


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedModel:
    """The model that the command line names; all empty where it names none."""

    weights: Path | None = None
    architecture: str | None = None
    layers: tuple[str, ...] = ()

    @property
    def said(self) -> dict[str, Any]:
        """What was said of it, under the keys of a policy's [model]."""
        said = {"architecture": self.architecture, "layers": list(self.layers)}
        return {key: value for key, value in said.items() if value}


def load_model(asked: AskedModel, policy: Policy, trust: Trust | None) -> Model | None:
    """The user's own model, from `asked` or the policy's files.

    Its weights are pinned by digest, and what is run and read of them (the architecture, the
    layers) stands in the policy itself; only a scan without any trust takes them as they come.

    Raises:
        Untrusted: the weights, the architecture or the layers are not those of the policy.
        UsageError: a file is missing, or the parts do not fit together.
    """
    if asked.weights is None:
        if asked.said and "model" not in policy.files:
            raise UsageError("--architecture and --layer need --model WEIGHTS.safetensors")
        data, where = _pinned(policy, "model"), policy.files.get("model", "")
    else:
        data, where = _read(asked.weights), str(asked.weights)
    if data is None:
        if policy.model:
            raise UsageError(f"policy {policy.name}: [model] needs [files] model, or --model")
        return None
    if trust is not None:
        if str(Digest.of(data)) != policy.pins.get("model"):
            raise Untrusted(f"model {where}: the policy does not pin {Digest.of(data)}; pin it")
        if strange := {k for k, value in asked.said.items() if policy.model.get(k) != value}:
            raise Untrusted(
                f"model {where}: the policy's [model] does not say this {' and '.join(strange)}; "
                "write it there, for it steers the verdict"
            )
    return build(data, where, {**policy.model, **asked.said})


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
    return int.from_bytes(draw(message)[:6], "big")


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


def _reference(
    path: Path,
    policy: Policy,
    trust: Trust | None,
    at: datetime,
    name: Name | None,
    columns: Mapping[str, str] | None,
) -> Profile:
    if is_anchor(path) and not manifest_path(path).is_file():
        return read_anchor(path, trust, name, at).profile
    if path.is_dir() or manifest_path(path).is_file() or form_of(path.name):
        with _told_of(f"reference {path}"):
            return profile_of(path, trust, at, columns)
    data = _read(path)
    pinned = str(Digest.of(data)) == policy.pins.get("reference")
    if trust is not None and not pinned and not _signed_profile(path, data, trust, at):
        raise Untrusted(
            f"reference {path}: the policy does not pin {Digest.of(data)}; pin it, accept it "
            "(toadstone accept), or give a dataset with a signed manifest as --reference"
        )
    return parse_profile(data, path)


def _signed_profile(path: Path, data: bytes, trust: Trust, at: datetime) -> bool:
    """Whether a trusted producer signed this profile with the data that it lies beside."""
    if path.suffix != ".profile":
        return False
    signed = read_claim(manifest_path(path.with_suffix("")))
    if signed is None:
        return False
    manifest = vouched(signed, trust, at, f"reference {path}")
    return manifest.profile == Digest.of(data)


def profile_of(
    path: Path,
    trust: Trust | None,
    at: datetime | None = None,
    columns: Mapping[str, str] | None = None,
    like: Profile | None = None,
) -> Profile:
    """The profile of a dataset; with `trust`, only if a trusted producer signed the dataset.

    Roles are the signed ones, or else those of `columns` and of `DATASET.dataset.toml`. With
    `like`, cells are cut as in that profile. Unreadable if a file cannot be looked at: a reference
    of the rest would be one that nobody asked for.
    """
    with private() as apart:
        staged = apart / "data"
        staged.mkdir(mode=0o700)
        moment = at or datetime.now(UTC)
        # Without a claim it is refused below, and needs no copy for that.
        walked, signed = _staged(path, staged, trust, moment)
        roles, given = None, {}
        if trust is None:
            given = {**describe_columns(path)[0], **(columns or {})}
        else:
            roles = _require_proof(walked, signed, trust, moment, f"reference {path}")
        files = [entry.path for entry in walked.snapshot.files]
        return build_profile(whole(open_dataset(staged, files, roles, given=given)), like=like)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
