"""The one way through the house: prove, look, judge, record.

    bytes -> staged Snapshot -> Proof -> Case -> Examinations -> judge -> explain -> Record

The dataset is first copied to a private directory and only the copy is looked at, so nobody who
can write to the original can show one thing to the hash and another to the checks. A run
directory appears whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from guards._version import __version__
from guards.allowance import Allowance, TimeSpent, allowance
from guards.budget import settings_of
from guards.bundle import Made, profile_of_run, write_run
from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import Dataset, open_dataset
from guards.data.earlier import History
from guards.digest import Digest
from guards.errors import GuardError, Malformed, NothingToExamine, UsageError
from guards.explain import Explanation, explain
from guards.files import directory_at_once, read_document, write_atomically
from guards.findings import Examination
from guards.history import About, recall
from guards.inputs import (
    AskedModel,
    Inputs,
    draw_seed,
    load_inputs,
    load_model,
    load_trusted,
    pick_device,
)
from guards.made import What, log_made
from guards.private import private
from guards.provenance import ledger
from guards.provenance.checkpoint import Checkpoint
from guards.provenance.ledger import Log
from guards.provenance.lines import Entry
from guards.provenance.listing import manifest_path, profile_path, read_claim
from guards.provenance.logproof import SUFFIX, prove_record
from guards.provenance.manifest import UNNAMED, Name
from guards.provenance.manifest import parse as parse_manifest
from guards.provenance.memory import Memory, Seen
from guards.provenance.proof import Expectation, Proof, prove, room
from guards.provenance.roles import Roles
from guards.provenance.signing import Signer, parse_envelope
from guards.provenance.snapshot import Look, Walked, capacity
from guards.provenance.trust import Trust
from guards.publish import describe_columns
from guards.record import KEPT, Examined, Record
from guards.release import Released, Wanted, refuse_nonsense, release, require_deriver
from guards.remote import Located, Remote
from guards.text import printable
from guards.verdict import Decision, Policy, Verdict, judge
from guards.waiving import Waivers, handed_in

Progress = Callable[[str, int, int], None]
# Characters of a reason that the record keeps; the whole of it is in the report that it binds.
REASON = 1000
# Beside the record: that the ledger has it, checked without the ledger.
PROOF = f"record{SUFFIX}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything a scan is told; `trust`, `policy` and keys are the verifier's.

    `columns` says what columns of unsigned data are for; those of signed data are signed.

    Of a dataset in a store, `remote`, there lies at `dataset` only what the store has beside it.
    """

    dataset: Path
    policy: Policy
    out: Path
    manifest: Path | None = None
    trust: Trust | None = None
    name: Name | None = None
    version: int | None = None
    at: datetime | None = None
    state: Memory | None = None
    reference: Path | None = None
    trusted_rows: Path | None = None
    model: AskedModel = field(default_factory=AskedModel)
    key: Signer | None = None
    ledger: Path | None = None
    device: str | None = None
    seed: int | None = None
    release: Wanted | None = None
    waivers: tuple[Path, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    remote: Remote | None = None

    @property
    def located(self) -> Located:
        """The dataset, and how its bytes are looked at."""
        return Located(path=self.dataset, remote=self.remote)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The verdict, where its run directory is, what it stands on, and what became of a release."""

    verdict: Verdict
    run_dir: Path
    record: Record
    examinations: tuple[Examination, ...]
    released: Released | None = None
    waivers: Waivers = field(default_factory=Waivers)

    @property
    def record_path(self) -> Path:
        """The signed record."""
        return self.run_dir / "record.json"


def scan(request: Request, progress: Progress = lambda rule, done, total: None) -> Scanned:
    """Examine one dataset and write the run directory; the verdict is in what is returned.

    Raises:
        NothingToExamine: there are no files, or no rows, to look at.
        Untrusted: an input that would steer the verdict is vouched for by nobody.
        UsageError: the request itself is wrong.
    """
    _refuse_nonsense(request)
    moment = request.at or datetime.now(UTC).replace(microsecond=0)
    with private() as apart:
        staged = apart / "data"
        staged.mkdir(mode=0o700)
        signed = _signed(request)
        walked = _stage(request, staged, signed, moment)
        log = _ledger(request)
        proof = _prove(request, walked, signed, moment, log)
        _require_scanner(request, proof, moment)
        _require_deriver(request, proof, moment)
        inputs = load_inputs(
            request.policy,
            request.reference,
            request.trust,
            moment,
            _named(request, proof),
            request.columns,
        )
        model = load_model(request.model, request.policy, request.trust)
        case = _open(request, walked, staged, proof, inputs)
        trusted, trusted_root = _trusted(request, case, moment)
        case = replace(
            case,
            model=model,
            trusted=trusted,
            trusted_root=trusted_root,
            history=_earlier(request, proof, log),
        )
        with allowance(walked.snapshot.size) as time_left:
            examinations = _examine(request.policy, case, progress, time_left)
            waivers = handed_in(request.waivers, request.trust, proof, moment)
            verdict = judge(request.policy, walked.snapshot.root, examinations, waivers.accepted)
            _remember(request, proof, verdict, moment)
            made = Made(
                case=case,
                policy=request.policy,
                manifest=signed,
                verdict=verdict,
                examinations=tuple(examinations),
                explanation=_explanation(case, examinations, verdict, time_left),
                profile=profile_of_run(case, time_left),
                waivers=waivers,
            )
        record = _record(request, made, moment)
        with directory_at_once(request.out) as draft:
            record, written = write_run(draft, made, record, request.dataset, request.key)
            _log(request, record, written, draft)
        released = _release(request, made, written, moment)
    return Scanned(
        verdict=verdict,
        run_dir=request.out,
        record=record,
        examinations=tuple(examinations),
        released=released,
        waivers=waivers,
    )


def _release(request: Request, made: Made, written: bytes, moment: datetime) -> Released | None:
    """The dataset without the rows held, after the record of this scan stands."""
    if request.release is None:
        return None
    single, record = request.dataset.is_file(), Digest.of(written)
    done = release(request.release, made, record, moment, single=single)
    if done.manifest and request.ledger and request.trust:
        claim = parse_manifest(parse_envelope(done.manifest.read_bytes(), "manifest"))
        what = What(kind="dataset", name=claim.name, version=claim.version, at=moment)
        root, key = claim.snapshot.root, request.release.key
        log_made(request.ledger, request.trust, what, root, [record], key)
    return done


def _stage(request: Request, staged: Path, signed: bytes | None, moment: datetime) -> Walked:
    """Copy what is to be decoded; what no trusted key claims is only named, where it lies."""
    copy, look = request.located.copy, request.located.look
    if request.trust is None:
        return copy(request.dataset, staged, None)
    most = room(signed, request.trust, moment)
    if most is None:
        return look(request.dataset, capacity(request.dataset), Look())
    return copy(request.dataset, staged, most)


def _refuse_nonsense(request: Request) -> None:
    if request.ledger and not request.key:
        raise UsageError("--ledger needs --key: a ledger holds signed records only")
    if request.columns and request.trust is not None:
        raise UsageError("--column: with --trust the roles are those that were signed")
    if request.seed is not None and not 0 <= request.seed < 2**48:
        raise UsageError(f"--seed {request.seed}: must be at least 0 and below 2^48")
    if not request.dataset.exists():
        raise UsageError(f"dataset {request.dataset}: there is no such file or directory")
    if request.release is not None:
        if request.key is None:
            raise UsageError("--release-clean needs --key: a release follows from a signed record")
        refuse_nonsense(request.release, request.dataset, request.out, request.trust)
    if request.dataset.resolve() in request.out.resolve().parents:
        raise UsageError(f"{request.out} lies in the dataset, which it would change")
    if request.out.exists() and not _is_run(request.out):
        # What stands at --out is replaced, and nobody's own files are.
        raise UsageError(f"{request.out} exists and is no run directory; choose another --out")
    parent = next(p for p in [request.out, *request.out.absolute().parents] if p.exists())
    if not os.access(parent, os.W_OK):
        raise UsageError(f"cannot write {request.out}: {parent} is read-only; choose another --out")


def _is_run(out: Path) -> bool:
    return out.is_dir() and ((out / "record.json").is_file() or not any(out.iterdir()))


def _signed(request: Request) -> bytes | None:
    path = request.manifest or manifest_path(request.dataset)
    signed = read_claim(path)
    if request.manifest and signed is None:
        raise UsageError(f"manifest {path}: there is no such file")
    return signed


def _prove(
    request: Request, walked: Walked, signed: bytes | None, moment: datetime, log: Log | None
) -> Proof | None:
    if request.trust is None:
        return None

    def recall(name: Name) -> tuple[Seen, ...]:
        return _history(request, name, log)

    state, told = request.state, request.at is not None
    expect = Expectation(
        at=moment,
        clock=state.backwards(moment, told=told) if state else None,
        name=request.name,
        version=request.version,
        profile=_claimed_profile(request),
        recall=recall,
        judged=_judged(request, log),
    )
    return prove(walked, signed, request.trust, expect)


def _claimed_profile(request: Request) -> Digest | None:
    """The digest of the profile that lies beside the data, if one does."""
    data = read_document(profile_path(request.dataset))
    return Digest.of(data) if data is not None else None


_PUT_BACK = "in the state directory; put the log back, or begin with another --state"


def _ledger(request: Request) -> Log | None:
    """The ledger as it verifies now, and goes on from what the state directory remembers of it."""
    if request.ledger is None or request.trust is None:
        return None
    place, state = request.ledger, request.state
    if not ledger.exists(place):
        if state and (gone := state.recall_log(place)):
            told = f"is no log, and {gone.size} entries are remembered"
            raise Malformed(f"{told} {_PUT_BACK}", f"ledger {place}")
        return None
    log = ledger.verify(place, request.trust)
    for seen in state.logs(log.checkpoint.origin, place) if state else ():
        if why := log.objection(seen):
            raise Malformed(f"{why} {_PUT_BACK}", f"ledger {place}")
    return log


def _judged(request: Request, log: Log | None) -> Callable[[Digest], frozenset[Digest]] | None:
    """What records the ledger has about some bytes; None when none was given."""
    if request.ledger is None or request.trust is None:
        return None
    entries = log.entries if log else ()

    def judged(root: Digest) -> frozenset[Digest]:
        return frozenset(entry.record for entry in entries if entry.root == root)

    return judged


def _history(request: Request, name: Name, log: Log | None) -> tuple[Seen, ...]:
    """What the state directory and the ledger remember of this name."""
    seen = [request.state.recall(name)] if request.state else []
    if log is not None:
        # A blocked entry may hold bytes that nobody signed; it says nothing about what is newest.
        of_name = [e for e in log.entries if e.name == name and e.decision != str(Decision.BLOCK)]
        if of_name:
            last = max(of_name, key=lambda entry: entry.version)
            seen.append(Seen(version=last.version, root=last.root))
    return tuple(found for found in seen if found)


def _trusted(request: Request, case: Case, moment: datetime) -> tuple[Dataset | None, str]:
    """The trusted rows, vouched for, and their root; data that was not opened needs none."""
    if case.opened is None:
        return None, ""
    found, root = load_trusted(
        request.trusted_rows, request.policy, request.trust, moment, case.opened
    )
    if root == str(case.snapshot.root):
        raise UsageError("the trusted rows are the very data that is scanned, which shows nothing")
    return found, root


def _earlier(request: Request, proof: Proof | None, log: Log | None) -> History:
    """The admitted versions before this one, by the ledger and the keys that are trusted."""
    if request.ledger is None or request.trust is None:
        return History()
    if proof is None or proof.manifest is None or not proof:
        return History(note="the provenance of the data was refused, so it has no history")
    manifest = proof.manifest
    about = About(name=manifest.name, version=manifest.version, root=manifest.snapshot.root)
    return recall(request.ledger, request.trust, request.policy, about, log)


def _remember(request: Request, proof: Proof | None, verdict: Verdict, moment: datetime) -> None:
    """Keep the time and, where neither proof nor policy objects to the claim, its version."""
    if request.state and request.at is None:
        request.state.remember_time(moment)
    objections = [reason for reason in verdict.reasons if reason.rule == "provenance"]
    if request.state and proof and proof.manifest and request.version is None and not objections:
        request.state.remember(proof.manifest)


def _open(
    request: Request, walked: Walked, staged: Path, proof: Proof | None, inputs: Inputs
) -> Case:
    """Open the staged copy; bytes that contradict their signed claim are not decoded at all."""
    opened, roles, closed, root = None, Roles(), "", walked.snapshot.root
    if proof is not None and not proof:
        closed = "not opened, since its provenance was refused"
        roles = proof.manifest.roles if proof.manifest is not None else roles
    elif not walked.snapshot.files:
        closed = "there is no plain file to read"
    else:
        opened, closed = _decode(request, walked, staged, proof)
        roles = opened.roles if opened else roles
    return Case(
        snapshot=walked.snapshot,
        unsafe=walked.unsafe,
        proof=proof,
        roles=roles,
        opened=opened,
        closed_because=closed,
        reference=inputs.reference,
        contract=inputs.contract,
        seed=request.seed if request.seed is not None else draw_seed(request.policy, root),
        device=pick_device(request.device, roles),
        pictures=request.policy.pictures,
    )


def _decode(
    request: Request, walked: Walked, staged: Path, proof: Proof | None
) -> tuple[Dataset | None, str]:
    signed = proof.manifest.roles if proof is not None and proof.manifest else None
    given = {} if signed else {**describe_columns(request.dataset)[0], **request.columns}
    files = [entry.path for entry in walked.snapshot.files]
    try:
        return open_dataset(staged, files, signed, given=given), ""
    except (NothingToExamine, UsageError):
        raise
    except GuardError as error:
        return None, str(error)


def _explanation(
    case: Case, examinations: list[Examination], verdict: Verdict, time_left: Allowance
) -> Explanation | None:
    try:
        with time_left.watched():
            return explain(case, examinations, verdict)
    except TimeSpent:
        return None


def _examine(
    policy: Policy, case: Case, progress: Progress, time_left: Allowance
) -> list[Examination]:
    examinations = []
    for done, rule in enumerate(policy.rules):
        progress(rule, done, len(policy.rules))
        examinations.append(run(rule, case, settings_of(policy, rule), time_left))
    progress("", len(policy.rules), len(policy.rules))
    return examinations


def _record(request: Request, made: Made, moment: datetime) -> Record:
    case, verdict, signed = made.case, made.verdict, made.manifest
    manifest = case.proof.manifest if case.proof is not None else None
    return Record(
        name=_subject(request, case.proof),
        version=manifest.version if manifest else 0,
        root=verdict.snapshot,
        size=case.snapshot.size,
        decision=verdict.decision,
        reasons=tuple(printable(f"{r.rule}: {r.text}")[:REASON] for r in verdict.reasons),
        policy=verdict.policy,
        policy_name=request.policy.name,
        admits=request.policy.admits,
        seed=case.seed,
        replay=request.seed is not None,
        code=f"toadstone {__version__}",
        time=moment,
        producers=case.proof.signers if case.proof is not None else (),
        parents=manifest.parents if manifest else (),
        sources=tuple(source.uri for source in manifest.sources) if manifest else (),
        expires=manifest.expires if manifest else None,
        trust=request.trust.digest if request.trust else None,
        manifest=Digest.of(signed) if signed else None,
        checkpoint=_standing(request),
        examinations=tuple(
            Examined(rule=e.rule, outcome=type(e.outcome).__name__.lower(), digest=e.digest)
            for e in made.examinations
        ),
        waivers=made.waivers.used(verdict),
    )


def _standing(request: Request) -> Checkpoint | None:
    """Where the ledger stands as the record is made, so that the record remembers it."""
    if request.ledger is None or request.key is None:
        return None
    return ledger.begin(request.ledger, request.key).to_embed()


def _subject(request: Request, proof: Proof | None) -> Name:
    """The name that a record is about: the one vouched for, unless another one was asked for."""
    claimed = proof.manifest.name if proof is not None and proof.manifest else None
    if claimed is None or proof is None or not proof.signers:
        return request.name or UNNAMED
    return claimed if request.name is None or request.name.covers(claimed) else request.name


def _named(request: Request, proof: Proof | None) -> Name | None:
    """The name that the data stands under, if anybody says; what was accepted must be for it."""
    return request.name if proof is None or not proof.manifest else proof.manifest.name


def _require_scanner(request: Request, proof: Proof | None, moment: datetime) -> None:
    """A record that the ledger's own readers would not believe does not go into the ledger."""
    if request.ledger is None or request.trust is None or request.key is None:
        return
    public, name = request.key.public, _subject(request, proof)
    if request.trust.refusal(public, "scanner", name, moment):
        raise UsageError(f"--key {public.keyid[:12]} may not sign records about {name} by --trust")


def _require_deriver(request: Request, proof: Proof | None, moment: datetime) -> None:
    """A release that no verifier with this trust would believe is not begun."""
    if request.release and request.trust and proof and proof.manifest:
        require_deriver(request.release, proof.manifest, request.trust, moment)


def _log(request: Request, record: Record, written: bytes, draft: Path) -> None:
    if request.ledger is None or request.key is None:
        return
    entry = Entry(
        record=Digest.of(written),
        name=record.name,
        version=record.version,
        root=record.root,
        decision=str(record.decision),
        policy=record.policy,
        time=record.time,
    )
    documents = {kind: draft / name for name, kind in KEPT.items()} if record.normal else {}
    kept = {kind: path.read_bytes() for kind, path in documents.items() if path.is_file()}
    stands = ledger.append(
        request.ledger, entry, written, request.key, kept, since=record.checkpoint
    )
    write_atomically(draft / PROOF, prove_record(request.ledger, entry.record))
    if request.state:
        request.state.remember_log(stands, request.ledger)
