"""The public functions, in the words of somebody who writes a script.

Paths may be strings; a trust may be a directory, a policy a name or a file, a key a PEM file.
Each function turns those into the library's own nouns and calls the one place that does the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from guards.digest import Digest
from guards.errors import UsageError
from guards.files import read_document
from guards.gate import Admitted, Terms
from guards.gate import require_pass as _require_pass
from guards.made import What, log_model
from guards.provenance.lines import Made
from guards.provenance.listing import beside, manifest_path, profile_path
from guards.provenance.manifest import Name, Source, parse_name
from guards.provenance.memory import Memory
from guards.provenance.proof import Proof
from guards.provenance.signing import Signer, load_private
from guards.provenance.trust import Trust, parse_root
from guards.provenance.trust import load as _load_trust
from guards.publish import Claim, publish_at
from guards.reencoded import retold
from guards.release import Wanted
from guards.remote import is_url, located
from guards.scan import Progress, Request, Scanned
from guards.scan import scan as _scan
from guards.verdict import Policy, load_policy
from guards.verify import Claimed
from guards.verify import verify as _verify

PathLike = str | Path


def sign(
    dataset: PathLike,
    *,
    key: PathLike | Signer,
    name: str,
    version: int,
    more: Sequence[PathLike | Signer] = (),
    sources: tuple[str, ...] = (),
    expires: datetime | None = None,
    columns: Mapping[str, str] | None = None,
    profile: PathLike | None = None,
    content: bool = False,
    out: PathLike | None = None,
) -> Path | str:
    """Claim a dataset, and its profile if there is one, and sign the claim.

    With `content` the rows of each table are named too, in any order: `guards.data.content`.

    `key`, and `more` who sign it too, are PEM files or whatever has a `public` key and signs: a key
    in a KMS or an HSM, or an encrypted file as `load_private(path, lambda path: [passphrase])`.
    `dataset` is a path, or the URL of one in a store. Returns where the manifest is.
    """
    claim = Claim(
        name=parse_name(name),
        version=version,
        sources=tuple(Source(uri=uri) for uri in sources),
        expires=expires,
        columns=columns or {},
        profile=_path(profile),
        content=content,
    )
    others = [_signer(one) for one in more]
    with located(dataset) as found:
        written = publish_at(found, claim, _signer(key), _path(out), more=others)
    return written if is_url(written) else Path(written)


def verify(
    dataset: PathLike,
    *,
    trust: Trust | PathLike,
    manifest: PathLike | None = None,
    name: str | None = None,
    version: int | None = None,
    at: datetime | None = None,
    state: PathLike | None = None,
    root_digest: str | None = None,
    index: PathLike | None = None,
    full: bool = False,
    strict: bool = False,
    content: bool = False,
) -> Proof:
    """Hold bytes against their signed claim; the proof is true when nothing stands against it.

    `root_digest` refuses any other trust than that one (`toadstone trust show` prints it), as
    TOADSTONE_ROOT_DIGEST does everywhere.

    `index` is a file in which this user remembers what was read, so that the next time costs what
    changed; `full` reads every byte all the same. `strict` refuses what is else only told, a file
    that has a second name somewhere, through which others may write. With `content` files that
    differ are decoded, in a process of their own, to tell those that were re-encoded; they are
    refused all the same.
    """
    with located(dataset) as found:
        claimed = Claimed(
            dataset=found.path,
            manifest=_path(manifest) or manifest_path(found.path),
            trust=_trust(trust, state, root_digest),
            name=_name(name),
            version=version,
            at=at,
            state=Memory(Path(state)) if state else None,
            profile=profile_path(found.path),
            index=_path(index),
            full=full,
            strict=strict,
            look=found.look,
        )
        proof = _verify(claimed)
        return retold(proof, found) if content and not proof else proof


def scan(
    dataset: PathLike,
    *,
    trust: Trust | PathLike | None = None,
    policy: Policy | PathLike = "default",
    key: PathLike | Signer | None = None,
    out: PathLike | None = None,
    manifest: PathLike | None = None,
    name: str | None = None,
    version: int | None = None,
    reference: PathLike | None = None,
    ledger: PathLike | None = None,
    state: PathLike | None = None,
    root_digest: str | None = None,
    at: datetime | None = None,
    device: str | None = None,
    seed: int | None = None,
    release_clean: PathLike | None = None,
    release_key: PathLike | Signer | None = None,
    release_name: str | None = None,
    release_version: int | None = None,
    waivers: Sequence[PathLike] = (),
    columns: Mapping[str, str] | None = None,
    progress: Progress = lambda rule, done, total: None,
) -> Scanned:
    """Examine a dataset, judge it, and write `out` (default: `DATASET.run`) with the record.

    `release_clean` is where the dataset goes without the rows held, signed by `release_key`, a
    deriver's (default: `key`); by default under the same name, as the version after this one.
    `waivers` are files that approvers signed, or directories of such. `columns` says what the
    columns of unsigned data are for, as `{"delayed": "label"}`.

    Raises GuardError only when it could not look; what the data can contain ends in the verdict.
    """
    request = Request(
        dataset=Path(dataset),
        policy=_policy(policy),
        out=_path(out) or beside(Path(dataset), ".run"),
        manifest=_path(manifest),
        trust=_trust_given(trust, state, root_digest),
        name=_name(name),
        version=version,
        at=at,
        state=Memory(Path(state)) if state else None,
        reference=_path(reference),
        key=_signer(key) if key else None,
        ledger=_path(ledger),
        device=device,
        seed=seed,
        release=_wanted(release_clean, release_key or key, release_name, release_version),
        waivers=tuple(Path(one) for one in waivers),
        columns=dict(columns or {}),
    )
    return _scan(request, progress)


def require_pass(
    dataset: PathLike,
    record: PathLike,
    trust: Trust | PathLike,
    *,
    policy: Policy | PathLike = "default",
    name: str | None = None,
    max_age: timedelta | None = None,
    at: datetime | None = None,
    ledger: PathLike | None = None,
    state: PathLike | None = None,
    root_digest: str | None = None,
    into: PathLike | None = None,
) -> Admitted:
    """Admit exactly the bytes that passed, or raise GateRefused with every reason.

    The line a training script adds. `policy` is the verifier's: a record that was judged under
    another one is refused.
    """
    terms = Terms(
        trust=_trust(trust, state, root_digest),
        policy=_policy(policy),
        name=_name(name),
        at=at,
        max_age=max_age,
        ledger=_path(ledger),
        state=Memory(Path(state)) if state else None,
    )
    return _require_pass(Path(dataset), Path(record), terms, into=_path(into))


def record_model(
    model: PathLike,
    admitted: Admitted | PathLike | Sequence[Admitted | PathLike],
    *,
    name: str,
    version: int,
    key: PathLike | Signer,
    ledger: PathLike,
    trust: Trust | PathLike,
    root_digest: str | None = None,
    at: datetime | None = None,
) -> Made:
    """Log that a model, a file or a directory, was trained on what was admitted.

    `admitted` is what `require_pass` gave, or the path of the record, or several of those. `key`
    is a deriver's for `name`. From then on `toadstone lineage` finds the model from its data.

    Raises GateRefused where a record is not in the ledger, or what it admitted has fallen since.
    """
    several = [admitted] if isinstance(admitted, Admitted | str | Path) else admitted
    what = What(kind="model", name=parse_name(name), version=version, at=at)
    records = [_record(one) for one in several]
    vouched = _trust(trust, None, root_digest)
    return log_model(Path(model), what, records, Path(ledger), vouched, _signer(key))


def _record(one: Admitted | PathLike) -> Digest:
    if isinstance(one, Admitted):
        return one.signed
    data = read_document(Path(one))
    if data is None:
        raise UsageError(f"record {one}: there is no such file")
    return Digest.of(data)


def _wanted(
    out: PathLike | None, key: PathLike | Signer | None, name: str | None, version: int | None
) -> Wanted | None:
    if out is None:
        if name is not None or version is not None:
            raise UsageError("a release's name and version need release_clean, where it goes")
        return None
    if key is None:
        raise UsageError("a release is signed by a deriver: give its key as release_key")
    return Wanted(out=Path(out), key=_signer(key), name=_name(name), version=version)


def _signer(key: PathLike | Signer) -> Signer:
    return load_private(Path(key)) if isinstance(key, str | Path) else key


def _path(path: PathLike | None) -> Path | None:
    return Path(path) if path is not None else None


def _name(name: str | None) -> Name | None:
    return parse_name(name) if name is not None else None


def _trust(trust: Trust | PathLike, state: PathLike | None, root_digest: str | None) -> Trust:
    root = parse_root(root_digest, "root_digest") if root_digest is not None else None
    if not isinstance(trust, Trust):
        return _load_trust(Path(trust), Memory(Path(state)) if state else None, root)
    if root is not None:
        raise UsageError("root_digest is of a trust directory, and this trust was read before")
    return trust


def _trust_given(
    trust: Trust | PathLike | None, state: PathLike | None, root_digest: str | None
) -> Trust | None:
    if trust is None and root_digest is not None:
        raise UsageError("root_digest is of a trust, and none is given")
    return None if trust is None else _trust(trust, state, root_digest)


def _policy(policy: Policy | PathLike) -> Policy:
    return policy if isinstance(policy, Policy) else load_policy(policy)
