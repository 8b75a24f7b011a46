"""Public test vectors of other people's formats: passes out of totals, and every difference.

    python benchmarks/vectors.py --oms DIR --bagit DIR --croissant DIR --json DIR

The directories are check-outs of what their owners publish, at the folders named:

    --oms        ossf/model-signing-spec, the folder of v1.0 with valid/ and invalid*/
    --bagit      LibraryOfCongress/bagit-conformance-suite, bags below valid/ and invalid/
    --croissant  mlcommons/croissant, datasets/1.0
    --json       nst/JSONTestSuite, test_parsing

A case passes when we answer as the vector asks. Where we answer in another way on purpose, the
reason stands in this file; one without a reason is a defect, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from guards.errors import GuardError, Malformed
from guards.foreign import Asked, look
from guards.provenance.formats import UNSIGNED, oms
from guards.provenance.strictjson import loads


@dataclass(frozen=True)
class Case:
    """One vector: what it asks for, what we answer, and in whose words."""

    name: str
    asked: bool
    answer: bool
    told: str

    @property
    def passes(self) -> bool:
        """Whether we answer as the vector asks."""
        return self.asked is self.answer


# Case -> why we answer in another way than the vector asks.
CERTIFICATE = "signed by way of a certificate: only keys of a trust directory count, and it is told"
MD5 = "valid, and md5 is all there is: it is as listed, recorded, and trusted for nothing"
SIZE = "contentSize is that of another file: what is false is refused, though the sha256 is right"
EXPLAINED = {
    "oms valid/certificate.bundle.json": CERTIFICATE,
    "oms valid/sigstore.bundle.json": CERTIFICATE,
    "croissant coco2014-mini/metadata.json": "contentSize is ' B': a number is missing",
    "croissant huggingface-mnist/metadata.json": "sha256 is the address of an issue: no digest",
    "croissant fashion-mnist/metadata.json (remote)": "is not here, and nothing is fetched",
    "croissant recipes/live_dataset.json data/enum_directions.csv": "a live dataset: no checksum",
    "croissant titanic/metadata.json data/embarkation_ports.csv": SIZE,
    "croissant titanic/metadata.json data/genders.csv": SIZE,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in SUITES:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    given = vars(parser.parse_args())
    defects = 0
    for name, cases in SUITES.items():
        if given[name]:
            defects += shown(name, list(cases(given[name])))
    return 1 if defects else 0


def shown(name: str, cases: list[Case]) -> int:
    passed = sum(case.passes for case in cases)
    print(f"{name}: {passed} of {len(cases)} pass")
    defects = 0
    for case in cases:
        if not case.passes:
            why = EXPLAINED.get(f"{name} {case.name}") or general(name, case)
            defects += not why
            print(f"  {case.name}: {case.told}\n    {why or 'UNEXPLAINED'}")
    return defects


def general(name: str, case: Case) -> str:
    """Reasons that hold for every case of a kind."""
    if name == "json" and "duplicated_key" in case.name:
        return "a key that stands twice is read by some as the first, by others as the last"
    if name == "bagit" and case.told.startswith("weak-digest"):
        return MD5
    return ""


def answered(make: Callable[[], object]) -> tuple[bool, str]:
    """Whether it was read, and what was told if not; only a refusal of ours counts as one."""
    try:
        make()
    except GuardError as error:
        return False, f"{type(error).__name__}: {error}"
    return True, "is read"


def of_oms(top: Path) -> Iterator[Case]:
    """The vectors come without the keys, so a valid one is parsed and not verified."""
    for path in sorted(top.rglob("*.bundle.json")):
        answer, told = answered(lambda path=path: oms.read(oms.envelope(path.read_bytes())))
        name = str(path.relative_to(top))
        yield Case(name, name.startswith("valid"), answer, told)


def of_bagit(top: Path) -> Iterator[Case]:
    for declared in sorted(top.glob("*/*/bagit.txt")):
        bag = declared.parent
        try:
            held = look(Asked(dataset=bag, claim=bag))
            answer, refusals = held.holds, held.refusals
            worse = [each for each in refusals if each.code != "weak-digest"]
            told = str((*worse, *refusals)[0]) if refusals else "holds"
        except GuardError as error:
            answer, told = False, str(error)
        yield Case(str(bag.relative_to(top)), bag.parent.name == "valid", answer, told)


def of_croissant(top: Path) -> Iterator[Case]:
    """Each description, then each file that it lists; what lies beside those is not asked about."""
    found = [*top.glob("*/metadata.json"), *top.glob("recipes/*.json")]
    for path in sorted(found):
        name = str(path.relative_to(top))
        answer, told = answered(lambda path=path: UNSIGNED["croissant"](path.read_bytes()))
        yield Case(name, True, answer, told)
        if not answer:
            continue
        held = look(Asked(dataset=path.parent, claim=path))
        wrong = {p.path: str(p) for p in held.problems if p.code != "extra-file"}
        for file in held.claim.files:
            told = wrong.get(file.path or "claim", "as listed")
            yield Case(f"{name} {file.path or '(remote)'}", True, told == "as listed", told)


def of_json(top: Path) -> Iterator[Case]:
    """`y_` must be read, `n_` must not; of `i_` either is right, if it is one of ours."""
    for path in sorted(top.glob("*.json")):
        data = path.read_bytes()
        answer, told = answered(lambda data=data: loads(data))
        asked = {"y": True, "n": False}.get(path.name[0], answer)
        yield Case(path.name, asked, answer, told)
        for form, reader in UNSIGNED.items():
            try:
                reader(data)
            except Malformed:
                continue
            except Exception as error:
                yield Case(f"{path.name} as {form}", True, False, repr(error))


SUITES = {"oms": of_oms, "bagit": of_bagit, "croissant": of_croissant, "json": of_json}


if __name__ == "__main__":
    sys.exit(main())
