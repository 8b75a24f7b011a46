"""`toadstone trust explain`: why a manifest counts, or does not, step by step.

Pure, like the proof, and made of the same functions, so that the explanation and the decision
cannot differ. It knows the claim only: whether the bytes are those claimed is asked of `verify`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from guards.errors import Malformed
from guards.provenance.manifest import Manifest, parse
from guards.provenance.proof import CLAIM, Expectation, objections, vouching
from guards.provenance.signing import Envelope, pae, parse_envelope, signers
from guards.provenance.strictjson import timestamp
from guards.provenance.trust import Step, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The steps, in order; true when every one that has to hold does.

    A signature or a key that counts for nothing does no harm beside enough that do, so those
    steps explain, and the others decide.
    """

    manifest: Manifest | None
    steps: tuple[Step, ...]

    def __bool__(self) -> bool:
        deciding = [step for step in self.steps if step.rule in _DECIDING]
        return self.manifest is not None and all(step.ok for step in deciding)


_DECIDING = ("envelope", "signed", "claim", "threshold", "in-force")


def explain(signed: bytes, trust: Trust, expect: Expectation) -> Decision:
    """Who signed, what each key may do, whether they are enough, and whether the claim is in force.

    `expect` has the time and the name and version that are expected, if any.
    """
    try:
        envelope = parse_envelope(signed, CLAIM)
    except Malformed as error:
        return Decision(manifest=None, steps=(_step("envelope", CLAIM, str(error), ok=False),))
    count = len(envelope.signatures)
    steps = [_step("envelope", CLAIM, f"{count} signatures over {envelope.payload_type}")]
    steps += _signatures(envelope, trust)
    made_by = signers(envelope, trust.public)
    if not made_by:
        told = "no key of the trust directory signed; nothing in it is believed, or read"
        return Decision(manifest=None, steps=(*steps, _step("signed", CLAIM, told, ok=False)))
    try:
        manifest = parse(envelope)
    except Malformed as error:
        return Decision(manifest=None, steps=(*steps, _step("claim", CLAIM, str(error), ok=False)))
    steps.append(_step("claim", CLAIM, f"is about {manifest.name} version {manifest.version}"))
    about = (manifest.name, expect.at)
    authority = vouching(trust, made_by, *about, derived=bool(manifest.parents))
    steps += [*authority.steps, authority.count, *_in_force(manifest, expect)]
    return Decision(manifest=manifest, steps=tuple(steps))


def _signatures(envelope: Envelope, trust: Trust) -> Iterator[Step]:
    """One step for each signature: whose it is by the bytes, whatever its key id says."""
    message = pae(envelope.payload_type, envelope.payload)
    counted: set[str] = set()
    for number, (keyid, signature) in enumerate(envelope.signatures, start=1):
        by = next((key for key in trust.public if key.verifies(signature, message)), None)
        name = f"signature {number}, key id {keyid[:16] or 'none'}"
        if by is None:
            yield _step("signature", name, "verifies by no key of the trust directory", ok=False)
            continue
        again = ", which is counted already" if by.keyid in counted else ""
        counted.add(by.keyid)
        yield _step("signature", name, f"verifies by key {by.keyid[:16]} as {by.scheme}{again}")


def _in_force(manifest: Manifest, expect: Expectation) -> Iterator[Step]:
    at = f"at {timestamp(expect.at)}"
    problems = objections(manifest, expect)
    for problem in problems:
        told = f"{problem.code}: expected {problem.expected}, is {problem.actual}"
        yield _step("in-force", at, told, ok=False)
    if not problems:
        end = timestamp(manifest.expires) if manifest.expires else "no end"
        yield _step("in-force", at, f"made {timestamp(manifest.created)}, good until {end}")


def _step(rule: str, about: str, outcome: str, *, ok: bool = True) -> Step:
    return Step(rule=rule, input=about, ok=ok, outcome=outcome)
