"""SLSA verification summaries (VSA v1): a verdict for those who read no record of ours.

`PASSED` stands for PASS and nothing else. Which rules were asked, and what they saw, is in the
record that the summary names by digest; a gate of ours asks for that record, never for a summary.

https://slsa.dev/spec/v1.0/verification_summary
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote

from guards.digest import Digest
from guards.errors import UsageError
from guards.provenance.formats.claim import ForeignClaim
from guards.provenance.formats.intoto import (
    MAX_SUBJECTS,
    Resource,
    Subjects,
    make,
    resource,
    subjects,
    written,
)
from guards.provenance.manifest import Name, parse_name
from guards.provenance.signing import Envelope, statement
from guards.provenance.strictjson import Node, timestamp

PREDICATE = "https://slsa.dev/verification_summary/v1"
VERIFIER = "https://toadstone.dev/scanner"
PASSED, FAILED = "PASSED", "FAILED"
# SLSA leaves names without its own prefix to others; its `FAILED` is a level, too.
LEVEL = "TOADSTONE_PASS"
_SCHEME = "toadstone:"
LIMITS = (
    "it repeats a verdict without the rules, the evidence or the seed: those are in the record",
    "it has no expiry, and no gate of ours takes it in the place of the record",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """That somebody verified something: what, by which policy, when, and how it came out."""

    subjects: Subjects
    passed: bool
    resource: str
    policy: Resource
    time: datetime
    inputs: tuple[Resource, ...] = ()
    verifier: str = VERIFIER
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A verdict of ours, to be summarised; `inputs` are the documents that it follows from."""

    name: Name
    version: int
    root: Digest
    passed: bool
    policy: Resource
    time: datetime
    inputs: tuple[Resource, ...]
    code: str


def payload(verdict: Verified) -> bytes:
    """The summary of one verdict, to be signed."""
    result = PASSED if verdict.passed else FAILED
    predicate = {
        "verifier": {"id": VERIFIER, "version": {"toadstone": verdict.code}},
        "timeVerified": timestamp(verdict.time),
        "resourceUri": resource_uri(verdict.name, verdict.version),
        "policy": written(verdict.policy),
        "inputAttestations": [written(one) for one in verdict.inputs],
        "verificationResult": result,
        "verifiedLevels": [LEVEL if verdict.passed else FAILED],
        "slsaVersion": "1.0",
    }
    return make([Resource(name=str(verdict.name), tree=verdict.root)], PREDICATE, predicate)


def resource_uri(name: Name, version: int) -> str:
    """A version of a dataset as a URI: `toadstone:acme/flights@3`."""
    return f"{_SCHEME}{quote(str(name), safe='/')}@{version}"


def parse(verified: Envelope) -> Summary:
    """The summary in an envelope whose signatures have been verified."""
    top = statement(verified, PREDICATE, subjects=MAX_SUBJECTS)
    node = top.of("predicate")
    result = node.of("verificationResult")
    levels = tuple(level.text() for level in node.of("verifiedLevels").each())
    if result.text() not in (PASSED, FAILED):
        result.refuse(f"must be {PASSED} or {FAILED}")
    if result.text() == PASSED and FAILED in levels:
        node.of("verifiedLevels").refuse(f"has {FAILED} in a summary that {PASSED}")
    inputs = node.optional("inputAttestations")
    return Summary(
        subjects=subjects(top),
        passed=result.text() == PASSED,
        resource=node.of("resourceUri").text(),
        policy=resource(node.of("policy")),
        time=node.of("timeVerified").time(),
        inputs=tuple(map(resource, inputs.each())) if inputs else (),
        verifier=node.of("verifier").of("id").text(),
        levels=levels,
    )


def read(verified: Envelope) -> ForeignClaim:
    """The claim that a summary makes about its subjects; one that failed refuses all bytes."""
    found = parse(verified)
    named, version = _named(found.resource)
    if found.subjects.name and named and named != found.subjects.name:
        Node(found.resource, "predicate.resourceUri").refuse("is not about the subject")
    return ForeignClaim(
        form="slsa verification summary v1",
        files=found.subjects.files,
        root=found.subjects.root,
        name=found.subjects.name,
        version=version if found.subjects.name else None,
        refused="" if found.passed else f"the verdict was {FAILED}",
        limits=LIMITS,
        notes=(
            f"{PASSED if found.passed else FAILED} on {timestamp(found.time)} by {found.verifier}",
            f"under the policy {found.policy}",
            *(f"after {one}" for one in found.inputs),
        ),
    )


def _named(uri: str) -> tuple[Name | None, int | None]:
    """The dataset of a URI of ours; nothing for anybody else's."""
    name, at, version = uri.removeprefix(_SCHEME).rpartition("@")
    if not uri.startswith(_SCHEME) or not at or not (version.isascii() and version.isdigit()):
        return None, None
    try:
        return parse_name(unquote(name)), int(version[:16])
    except UsageError:
        return None, None
