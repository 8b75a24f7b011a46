"""Hold the bytes of a dataset against somebody else's claim: `toadstone verify --claim`.

The border of :mod:`guards.provenance.formats`: it finds the file, tells its format, has signatures
verified before anything signed is read, and reads the dataset once. What comes out is never a
PASS, since no such claim binds what a manifest of ours binds: a name, a version, an expiry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from guards.digest import Digest
from guards.errors import Malformed, Untrusted, UsageError
from guards.files import MAX_DOCUMENT, read_document
from guards.provenance import flat
from guards.provenance.formats import BAGIT, FORMATS, SIGNED, UNSIGNED, bagit, read, tell
from guards.provenance.formats.claim import ForeignClaim
from guards.provenance.formats.held import Held, asked_of, hold
from guards.provenance.manifest import UNNAMED, Name
from guards.provenance.signing import signers
from guards.provenance.snapshot import Difference
from guards.provenance.trust import Authority, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A dataset and the claim to hold it against, in a format that is said or told from the file.

    `trust`, `name`, `version` and `at` are for claims that are signed: whose signature counts, and
    what is expected. `tick` hears how many bytes are done.
    """

    dataset: Path
    claim: Path
    form: str | None = None
    trust: Trust | None = None
    name: Name | None = None
    version: int | None = None
    at: datetime | None = None
    tick: Callable[[int, int], None] = lambda done, total: None


def look(asked: Asked) -> Held:
    """Read the claim and the dataset, and compare.

    Raises:
        Malformed: the claim is not what its format says.
        Untrusted: it is signed, by nobody whom the trust knows.
        UsageError: there is no such file or format, or something needed for it was not said.
    """
    claim, authority = read_claim(asked)
    claim = _below(claim, asked)
    wanted = asked_of(claim)
    unsafe: list[Difference] = []
    done = 0

    def tick(size: int) -> None:
        nonlocal done
        done += size
        asked.tick(done, 0)

    found = flat.read(asked.dataset, lambda path, _: wanted.get(path, wanted[""]), unsafe, tick)
    return hold(claim, found, unsafe, authority, _own_path(asked))


def read_claim(asked: Asked) -> tuple[ForeignClaim, Authority | None]:
    """The claim, and who vouches for it; None where nobody can."""
    if asked.form not in (None, *FORMATS):
        raise UsageError(f"--claim-format {asked.form}: is none of {', '.join(FORMATS)}")
    if asked.form == BAGIT or (asked.form is None and _is_bag(asked.claim)):
        _refuse_what_is_for_signed(asked, BAGIT)
        return _bag(asked), None
    data = read_document(asked.claim)
    if data is None:
        raise UsageError(f"claim {asked.claim}: there is no such file")
    form = asked.form or tell(asked.claim.name, data)
    if form in UNSIGNED:
        _refuse_what_is_for_signed(asked, form)
        return read(form, data), None
    return _signed(asked, form, data)


def _is_bag(claim: Path) -> bool:
    return claim.is_dir() or claim.name == bagit.DECLARATION


def _refuse_what_is_for_signed(asked: Asked, form: str) -> None:
    """Who expects a signature is not to think that one was there."""
    told = (asked.trust, asked.name, asked.version, asked.at)
    if any(one is not None for one in told):
        raise UsageError(
            f"a claim of the format {form} is signed by nobody and binds no name, version or time; "
            "--trust, --name, --dataset-version and --at are for those of "
            f"{', '.join(SIGNED)}"
        )


def _bag(asked: Asked) -> ForeignClaim:
    top = asked.claim if asked.claim.is_dir() else asked.claim.parent
    if top.resolve() != asked.dataset.resolve():
        raise UsageError(f"a bag is claimed by its own {bagit.DECLARATION}, not by that of {top}")
    try:
        names = sorted(each.name for each in top.iterdir() if bagit.is_tag_file(each.name))
    except OSError as error:
        raise UsageError(f"claim {top}: {error.strerror}") from error
    tags: dict[str, bytes] = {}
    for name in names:
        tags[name] = read_document(top / name) or b""
        if sum(map(len, tags.values())) > MAX_DOCUMENT:
            raise Malformed(f"tag files of more than {MAX_DOCUMENT} bytes", str(top))
    return bagit.read(tags)


def _signed(asked: Asked, form: str, data: bytes) -> tuple[ForeignClaim, Authority]:
    """Signatures first: nothing inside is read for a stranger."""
    if asked.trust is None:
        raise UsageError(f"a claim of the format {form} is signed: give --trust, who may sign it")
    role, opened, parsed = SIGNED[form]
    envelope = opened(data)
    made_by = signers(envelope, asked.trust.public)
    if not made_by:
        raise Untrusted(f"claim {asked.claim}: no key of the trust directory signed it")
    claim = replace(parsed(envelope), digest=Digest.of(data))
    name = claim.name or asked.name
    if name is None or name == UNNAMED:
        raise UsageError(
            f"a claim of the format {form} binds no dataset: say which one you expect, as --name, "
            "or a key trusted for another would count"
        )
    at = asked.at or datetime.now(UTC)
    return _as_expected(claim, asked), asked.trust.authorise(made_by, role, name, at)


def _as_expected(claim: ForeignClaim, asked: Asked) -> ForeignClaim:
    """The claim, refused where it is about another dataset or version than the one expected."""
    if asked.name and claim.name and not asked.name.covers(claim.name):
        return replace(claim, refused=f"it is about {claim.name}, not about {asked.name}")
    if asked.version is None or asked.version == claim.version:
        return claim
    told = "no version" if claim.version is None else f"version {claim.version}"
    return replace(claim, refused=f"it binds {told}, not version {asked.version}")


def _top(dataset: Path) -> Path:
    """The directory that the paths of a dataset are relative to."""
    resolved = dataset.resolve()
    return resolved if resolved.is_dir() else resolved.parent


def _below(claim: ForeignClaim, asked: Asked) -> ForeignClaim:
    """The claim as seen from the dataset, where all it lists lies in there.

    Many claims lie beside a directory and begin every path with its name.
    """
    base, top = asked.claim.resolve().parent, _top(asked.dataset)
    placed = [file.path for file in claim.files if file.path]
    if base not in top.parents or not placed:
        return claim
    prefix = f"{top.relative_to(base).as_posix()}/"
    if not all(path.startswith(prefix) for path in placed):
        return claim
    files = (replace(file, path=file.path.removeprefix(prefix)) for file in claim.files)
    return replace(claim, files=tuple(files))


def _own_path(asked: Asked) -> frozenset[str]:
    """The path of the claim, if it lies in the dataset: it cannot list itself."""
    claim, top = asked.claim.resolve(), _top(asked.dataset)
    inside = top in claim.parents and not claim.is_dir() and asked.dataset.resolve() != claim
    return frozenset({claim.relative_to(top).as_posix()} if inside else ())
