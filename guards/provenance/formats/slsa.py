"""SLSA provenance v1: how a dataset was made from another, for those who read no manifest of ours.

It says what the derivation in a signed manifest says: the parent by its root, the claim on it, the
record of the judgement and its policy as dependencies; the method as parameters; the list of what
was removed as a byproduct. Those of other builders are read, too, as claims on the files that they
are about.

https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guards.errors import UsageError
from guards.provenance.formats.claim import FlatDigest, ForeignClaim
from guards.provenance.formats.intoto import (
    MAX_SUBJECTS,
    Resource,
    Subjects,
    make,
    of_file,
    resource,
    subjects,
    written,
)
from guards.provenance.manifest import Manifest
from guards.provenance.signing import Envelope, statement
from guards.provenance.strictjson import timestamp

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://toadstone.dev/derivation/v1"
BUILDER = "https://toadstone.dev/deriver"
LIMITS = (
    "it says how the files were made, not whether they were judged: a gate asks for a record",
    "it has no expiry, and says of nothing else that it is older",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How something was made: what it is about, by what kind of build, from what.

    `parameters` are those given from outside, as texts and numbers of one level; deeper ones are
    left out.
    """

    subjects: Subjects
    build_type: str
    builder: str
    parameters: tuple[tuple[str, str], ...] = ()
    dependencies: tuple[Resource, ...] = ()
    byproducts: tuple[Resource, ...] = ()


def payload(manifest: Manifest, files: Iterable[tuple[str, FlatDigest]]) -> bytes:
    """The provenance of a derived dataset, to be signed; `files` are its files by plain hash.

    Raises:
        UsageError: the manifest is of an original, which was made from nothing that it names.
    """
    made = manifest.derivation
    if made is None:
        raise UsageError(
            f"{manifest.name} version {manifest.version} is no derived dataset: its manifest says "
            "of no method by which it was made from a parent"
        )
    about = [Resource(name=str(manifest.name), tree=manifest.snapshot.root)]
    about += [Resource(name=path, digests=(digest,)) for path, digest in files]
    dependencies = [
        Resource(name="parent", tree=made.parent),
        of_file("manifest", made.manifest),
        of_file("record", made.record),
        of_file("policy", made.policy),
    ]
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "dataset": str(manifest.name),
                "version": manifest.version,
                "method": made.method,
                "removed": made.removed,
            },
            "resolvedDependencies": [written(one) for one in dependencies],
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"toadstone": made.code}},
            "metadata": {"finishedOn": timestamp(manifest.created)},
            "byproducts": [written(of_file("removed.parquet", made.rows))],
        },
    }
    return make(about, PREDICATE, predicate)


def parse(verified: Envelope) -> Provenance:
    """The provenance in an envelope whose signatures have been verified."""
    top = statement(verified, PREDICATE, subjects=MAX_SUBJECTS)
    predicate = top.of("predicate")
    build, run = predicate.of("buildDefinition"), predicate.of("runDetails")
    dependencies, byproducts = build.optional("resolvedDependencies"), run.optional("byproducts")
    given = build.of("externalParameters")
    return Provenance(
        subjects=subjects(top),
        build_type=build.of("buildType").text(),
        builder=run.of("builder").of("id").text(),
        parameters=tuple(
            (key, str(node.value)) for key, node in given.items() if type(node.value) in (str, int)
        ),
        dependencies=tuple(map(resource, dependencies.each())) if dependencies else (),
        byproducts=tuple(map(resource, byproducts.each())) if byproducts else (),
    )


def read(verified: Envelope) -> ForeignClaim:
    """The claim that a provenance makes about its subjects."""
    found = parse(verified)
    version = dict(found.parameters).get("version", "")
    ours = found.build_type == BUILD_TYPE
    return ForeignClaim(
        form="slsa provenance v1",
        files=found.subjects.files,
        root=found.subjects.root,
        name=found.subjects.name,
        version=int(version) if ours and version.isdecimal() else None,
        limits=LIMITS,
        notes=(
            f"built as {found.build_type} by {found.builder}",
            *(f"{key} {text}" for key, text in found.parameters),
            *(f"made from {dependency}" for dependency in found.dependencies),
        ),
    )
