"""Where data came from and what became of it, out of a real ledger; what is logged of models."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest

import guards
from guards.commands.lineage import printable_lines
from guards.digest import Digest
from guards.errors import GateRefused, Malformed, NothingToExamine, UnsafeTree, UsageError
from guards.findings import Severity
from guards.lineage import lineage
from guards.provenance import ledger
from guards.provenance import trust as trusts
from guards.provenance.manifest import Source, parse_name
from guards.provenance.signing import load_public
from guards.provenance.snapshot import take
from guards.publish import Claim, publish

URI = "https://data.example/flights"


@pytest.fixture
def family(spine):
    """A source, a batch of it, a dataset made of the batch, and a model trained on that."""
    spine.sign(version=2, sources=(Source(uri=f"{URI}/2013-01.parquet"),))
    assert spine.scan(ledger=spine.ledger).verdict
    deriver = trusts.TrustedKey(
        key=load_public(spine.keys.pub("both")), roles=("deriver",), names=("acme/*",)
    )
    trusts.add(spine.trust_dir, deriver)
    child = replace(spine, batch=spine.home / "child")
    shutil.copytree(spine.batch, child.batch)
    shutil.rmtree(child.batch / "more")
    claim = Claim(
        name=parse_name("acme/late"), version=1, parents=(take(spine.batch).snapshot.root,)
    )
    publish(child.batch, claim, spine.keys.private("both"))
    assert child.scan(ledger=spine.ledger, out=spine.home / "of-child").verdict
    (spine.home / "model.json").write_text('{"weights": [1, 2]}')
    return spine


def trained(place, admitted=None, who="both", **more):
    about = {
        "name": "acme/late-model",
        "version": 1,
        "key": place.keys.private(who),
        "ledger": place.ledger,
        "trust": place.trust,
    }
    record = place.home / "of-child" / "record.json"
    materials = record if admitted is None else admitted
    return guards.record_model(place.home / "model.json", materials, **{**about, **more})


def ask(place, asked):
    return lineage(place.ledger, ledger.verify(place.ledger, place.trust), asked)


def called(steps):
    return [(step.node.kind, step.node.names or step.node.id, step.depth) for step in steps]


BATCH = ("dataset", ("acme/flights/2013-01 v2",))
CHILD = ("dataset", ("acme/late v1",))
MODEL = ("model", ("acme/late-model v1",))
SOURCE = ("source", f"{URI}/2013-01.parquet")


def test_a_poisoned_source_is_followed_into_the_model(family):
    trained(family)
    expected = [(*BATCH, 1), (*CHILD, 2), (*MODEL, 3)]
    for asked in (f"{URI}/2013-01.parquet", URI, f"{URI}/"):
        found = ask(family, asked)
        assert called(found.descendants) == expected
        assert found.origins == ()
        assert found.problems == ()


def test_a_model_is_followed_back_to_the_source(family):
    made = trained(family)
    for asked in ("acme/late-model", "acme/late-model@1", str(made.root), made.root.hex):
        found = ask(family, asked)
        assert called(found.origins) == [(*CHILD, 1), (*BATCH, 2), (*SOURCE, 3)]
        assert found.descendants == ()
    assert ask(family, str(family.home / "model.json")) == found


def test_a_dataset_in_the_middle_has_both(family):
    trained(family)
    found = ask(family, str(family.home / "child"))
    assert called(found.origins) == [(*BATCH, 1), (*SOURCE, 2)]
    assert called(found.descendants) == [(*MODEL, 1)]
    assert found.about[0].decision == "PASS"


def test_what_was_admitted_is_the_material(family):
    record = family.home / "of-child" / "record.json"
    admitted = guards.require_pass(
        family.home / "child",
        record,
        family.trust_dir,
        policy=family.policy,
        ledger=family.ledger,
    )
    assert admitted.signed == Digest.of(record.read_bytes())
    made = trained(family, admitted)
    assert [m.root for m in made.materials] == [admitted.snapshot.root]
    log = ledger.verify(family.ledger, family.trust)
    assert log.made == (made,)
    assert made.root == Digest.of((family.home / "model.json").read_bytes()), "as sha256sum tells"


def test_a_model_is_known_under_another_file_name_and_as_a_directory(family):
    trained(family)
    (family.home / "model.json").rename(family.home / "renamed.bin")
    assert called(ask(family, str(family.home / "renamed.bin")).origins)[0] == (*CHILD, 1)
    (family.home / "model.json").mkdir()
    (family.home / "model.json" / "part").write_bytes(b"weights")
    made = trained(family, version=2)
    assert made.root == take(family.home / "model.json").snapshot.root
    assert ask(family, str(family.home / "model.json")).about[0].names == ("acme/late-model v2",)


def test_the_same_bytes_under_two_names_are_one_node(family):
    family.sign(name="acme/flights/again", version=1)
    assert family.scan(ledger=family.ledger, out=family.home / "third").verdict
    [about] = ask(family, "acme/flights/again").about
    assert about.names == ("acme/flights/2013-01 v2", "acme/flights/again v1")


@pytest.mark.parametrize("whole", [False, True], ids=["a file of it", "all of it"])
def test_a_model_that_has_its_datasets_bytes_is_still_a_model(family, whole):
    """Else a source whose every model is a copy of its data would have a blast radius of none."""
    data = family.home / "child"
    if whole:
        (family.home / "model.json").unlink()
        shutil.copytree(data, family.home / "model.json")
    else:
        shutil.copyfile(data / "a.parquet", family.home / "model.json")
    made = trained(family)
    assert (made.root == take(data).snapshot.root) is whole
    found = ask(family, URI)
    assert called(found.descendants) == [(*BATCH, 1), (*CHILD, 2), (*MODEL, 3)]
    assert printable_lines(found).endswith("2 datasets and 1 models descend from it")
    asked = ask(family, str(family.home / "model.json"))
    assert ("model", MODEL[1]) in [(node.kind, node.names) for node in asked.about]


def test_a_model_that_was_judged_as_data_descends_twice(family):
    """What is made of it descends from both: from the bytes that were judged, and the model."""
    (family.home / "model.json").unlink()
    shutil.copytree(family.home / "child", family.home / "model.json")
    model = trained(family)
    family.sign(version=3, parents=(model.root,))
    assert family.scan(ledger=family.ledger, out=family.home / "third").verdict
    origins = {(step.node.kind, step.depth) for step in ask(family, "acme/flights@3").origins}
    assert {("dataset", 1), ("model", 1)} <= origins


def test_a_parent_that_was_never_judged_here_is_told(family):
    """The producer may name what this ledger does not know; a deriver may not."""
    gone = Digest.of(b"gone")
    family.sign(version=3, parents=(gone,))
    assert family.scan(ledger=family.ledger, out=family.home / "third").verdict
    found = ask(family, "acme/flights/2013-01@3")
    assert ("unknown", str(gone), 1) in called(found.origins)
    assert called(ask(family, str(gone)).descendants)[0] == (
        "dataset",
        ("acme/flights/2013-01 v2", "acme/flights/2013-01 v3"),
        1,
    )


@pytest.mark.parametrize("asked", ["acme/none", "acme/late@9", "https://data.example/fl", "0" * 64])
def test_what_the_ledger_does_not_know_is_told(family, asked):
    with pytest.raises(UsageError, match="knows nothing of that"):
        ask(family, asked)


@pytest.mark.parametrize("how", ["missing", "changed"])
def test_a_record_that_is_gone_leaves_a_hole_that_is_told(family, how):
    entry = ledger.verify(family.ledger, family.trust).entries[1]
    path = family.ledger / "records" / f"{entry.record.hex}.json"
    path.unlink() if how == "missing" else path.write_bytes(b"{}")
    trained(family)
    found = ask(family, "acme/late-model")
    assert called(found.origins) == [(*CHILD, 1)]
    assert len(found.problems) == 1
    assert f"is {how}" in found.problems[0] or f"was {how}" in found.problems[0]


class TestWhoMayLogAModel:
    def test_only_a_deriver_of_its_name(self, family):
        for who in ("scanner", "producer", "stranger", "neighbour"):
            with pytest.raises(UsageError, match="by --trust; a deriver of acme/late-model says"):
                trained(family, who=who)
        with pytest.raises(UsageError, match="is not trusted for umbrella/model"):
            trained(family, name="umbrella/model")
        assert ledger.verify(family.ledger, family.trust).made == ()

    def test_only_of_what_the_ledger_has(self, family):
        assert family.scan(out=family.home / "aside").verdict
        with pytest.raises(GateRefused, match="is not in the ledger"):
            trained(family, family.home / "aside" / "record.json")
        with pytest.raises(UsageError, match="there is no such file"):
            trained(family, family.home / "none.json")
        with pytest.raises(UsageError, match="name the record"):
            trained(family, ())

    def test_only_of_what_passed_and_stands(self, family):
        strict = replace(family.policy, quarantine_at=Severity.LOW)
        child = replace(family, batch=family.home / "child")
        (family.home / "second name").hardlink_to(child.batch / "a.parquet")
        later = child.scan(ledger=family.ledger, policy=strict, out=family.home / "later")
        assert str(later.verdict.decision) == "QUARANTINE"
        with pytest.raises(GateRefused, match="was judged QUARANTINE, since"):
            trained(family)
        with pytest.raises(GateRefused, match=r"was judged QUARANTINE$"):
            trained(family, family.home / "later" / "record.json")

    def test_there_has_to_be_a_model(self, family):
        (family.home / "model.json").unlink()
        (family.home / "model.json").mkdir()
        with pytest.raises(NothingToExamine, match="is an empty directory"):
            trained(family)
        (family.home / "model.json" / "weights").symlink_to(family.batch / "a.parquet")
        with pytest.raises(UnsafeTree, match="is not all in its digest"):
            trained(family)

    def test_a_model_in_a_cut_log_is_not_logged(self, family, logs):
        logs.write(family.ledger, [logs.read(family.ledger)[0]])
        with pytest.raises((Malformed, guards.GuardError)):
            trained(family)

    def test_at_another_time_than_the_key_is_good_for(self, family):
        keys = [k for k in family.trust.keys if "deriver" not in k.roles]
        [deriver] = [k for k in family.trust.keys if "deriver" in k.roles]
        until = datetime(2026, 1, 1, tzinfo=UTC)
        trusts._write(family.trust_dir, [*keys, replace(deriver, expires=until)])
        with pytest.raises(UsageError, match="expired on"):
            trained(family, at=datetime(2026, 2, 1, tzinfo=UTC))
