"""What steers a scan is pinned or signed, and no one else can swap it in."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import read_profile, to_bytes
from guards.digest import Digest
from guards.errors import Malformed, Unreadable, Untrusted, UsageError
from guards.inputs import (
    Inputs,
    draw_seed,
    load_inputs,
    load_trusted,
    pick_device,
    profile_of,
)
from guards.provenance.roles import Roles
from guards.verdict import Policy


def now() -> datetime:
    """The clock of a scan: read when asked, since the manifests are signed while tests run."""
    return datetime.now(UTC)


def policy(tmp_path, kind, data, pin=None):
    path = tmp_path / kind
    path.write_bytes(data)
    pins = {kind: str(Digest.of(data)) if pin is None else pin} if pin != "" else {}
    return Policy(name="p", rules=("a",), required=(), pins=pins, files={kind: str(path)})


def bare(**more) -> Policy:
    return Policy(name="p", rules=("a",), required=(), **more)


def test_nothing_asked_is_nothing_given():
    assert load_inputs(bare(), None, None, now()) == Inputs()


def test_a_contract_is_taken_by_its_digest(tmp_path):
    found = load_inputs(policy(tmp_path, "contract", b'{"a": 1}'), None, None, now())
    assert found.contract == {"a": 1}


@pytest.mark.parametrize("pin", ["", "0" * 64, "sha256:" + "0" * 64, str(Digest.of(b"other"))])
def test_a_contract_that_is_not_the_pinned_one_is_refused(tmp_path, pin):
    with pytest.raises(Untrusted, match="the policy pins"):
        load_inputs(policy(tmp_path, "contract", b"{}", pin), None, None, now())


def test_a_pin_without_a_file_is_told(tmp_path):
    with pytest.raises(UsageError, match="does not say where"):
        load_inputs(bare(pins={"contract": "0" * 64}), None, None, now())
    with pytest.raises(UsageError, match="No such file"):
        load_inputs(bare(files={"contract": str(tmp_path / "absent")}), None, None, now())


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a":1,"a":2}', b"\xff"])
def test_a_pinned_contract_is_still_parsed_strictly(tmp_path, data):
    with pytest.raises(Malformed):
        load_inputs(policy(tmp_path, "contract", data), None, None, now())


class TestReference:
    @pytest.fixture
    def profile(self, spine) -> Path:
        path = spine.home / "reference.profile"
        path.write_bytes(to_bytes(profile_of(spine.batch, None)))
        return path

    def test_a_signed_dataset_is_a_reference(self, spine, profile):
        found = load_inputs(bare(), spine.batch, spine.trust, now()).reference
        assert found is not None
        assert to_bytes(found) == profile.read_bytes()

    @pytest.mark.parametrize("spoil", ["changed", "unsigned", "stranger", "extra"])
    def test_a_dataset_that_nobody_vouches_for_is_none(self, spine, spoil):
        if spoil == "changed":
            path = spine.batch / "a.parquet"
            path.write_bytes((spine.batch / "more" / "b.parquet").read_bytes())
        elif spoil == "unsigned":
            spine.manifest.unlink()
        elif spoil == "stranger":
            spine.manifest.unlink()
            spine.sign("stranger")
        else:
            (spine.batch / ".hidden").write_text("x")
        with pytest.raises(Untrusted, match="nobody trusted vouches"):
            load_inputs(bare(), spine.batch, spine.trust, now())

    def test_a_profile_has_to_be_pinned_once_there_is_trust(self, spine, profile):
        pinned = bare(
            pins={"reference": str(Digest.of(profile.read_bytes()))},
            files={"reference": str(profile)},
        )
        assert load_inputs(pinned, profile, spine.trust, now()).reference
        assert load_inputs(pinned, None, spine.trust, now()).reference
        assert load_inputs(bare(), profile, None, now()).reference, (
            "only a scan that no gate admits"
        )
        with pytest.raises(Untrusted, match="does not pin"):
            load_inputs(bare(), profile, spine.trust, now())

    def test_a_profile_that_was_edited_is_refused(self, spine, profile):
        pinned = bare(
            pins={"reference": str(Digest.of(profile.read_bytes()))},
            files={"reference": str(profile)},
        )
        profile.write_bytes(profile.read_bytes() + b" ")
        for given in (None, profile):
            with pytest.raises(Untrusted):
                load_inputs(pinned, given, spine.trust, now())


class TestSignedProfile:
    """A profile beside its data's manifest, without the data: `2013-01.profile`."""

    @pytest.fixture
    def signed(self, spine) -> Path:
        path = spine.home / "batch.profile"
        path.write_bytes(to_bytes(profile_of(spine.batch, None)))
        spine.manifest.unlink()
        spine.sign(profile=path)
        shutil.rmtree(spine.batch)
        return path

    def test_a_trusted_producers_word_is_enough(self, spine, signed):
        found = load_inputs(bare(), signed, spine.trust, now()).reference
        assert found is not None
        assert to_bytes(found) == signed.read_bytes()

    @pytest.mark.parametrize("spoil", ["changed", "moved", "stranger", "expired", "unclaimed"])
    def test_and_nobody_elses(self, spine, signed, spoil):
        at = now()
        if spoil == "changed":
            signed.write_bytes(signed.read_bytes().replace(b'"spread":0.', b'"spread":0.1', 1))
        elif spoil == "moved":
            signed = signed.rename(spine.home / "other.profile")
        elif spoil == "stranger":
            spine.forge(lambda document: None, "stranger")
        elif spoil == "expired":
            spine.forge(lambda d: d["predicate"]["dataset"].update(expires="2020-01-01T00:00:00Z"))
        else:
            spine.forge(lambda document: document["predicate"].pop("profile"))
        with pytest.raises(Untrusted, match=r"does not pin|nobody trusted vouches"):
            load_inputs(bare(), signed, spine.trust, at)


class TestTold:
    """Every message says which input it is about, and no input's fault is told as the data's."""

    @pytest.fixture
    def table(self, tmp_path):
        frame = pl.DataFrame({"x": range(200), "label": ["a", "b"] * 100})
        (tmp_path / "known").mkdir()
        frame.write_parquet(tmp_path / "known" / "a.parquet")
        return frame, tmp_path / "known"

    def asked(self, path):
        return load_inputs(bare(), path, None, now()).reference

    def test_a_shard_that_cannot_be_looked_at_is_no_part_of_a_reference(self, table):
        frame, known = table
        assert self.asked(known).rows == 200
        (known / "b.parquet").write_bytes((known / "a.parquet").read_bytes()[:300])
        with pytest.raises(Unreadable, match=r"reference .*known: b\.parquet cannot be examined"):
            self.asked(known)
        frame.drop("x").write_parquet(known / "b.parquet")
        with pytest.raises(Unreadable, match=r"b\.parquet .* x is absent"):
            profile_of(known, None)
        (known / "b.parquet").unlink()
        (known / "README.md").write_text("what this is")
        assert self.asked(known).rows == 200

    def test_an_empty_reference_is_not_told_as_empty_data(self, table):
        frame, known = table
        frame.clear().write_parquet(known / "a.parquet")
        with pytest.raises(UsageError, match=r"reference .*known: .*not one row"):
            self.asked(known)
        (known / "a.parquet").unlink()
        with pytest.raises(UsageError, match=r"reference .*known"):
            self.asked(known)

    @pytest.mark.parametrize(
        "data", [b"", b"\xff", b'{"a":1}', b'{"schema":"toadstone-profile/9"}']
    )
    def test_a_file_that_is_no_profile_is_named(self, tmp_path, data):
        path = tmp_path / "other.profile"
        path.write_bytes(data)
        for ask in (lambda: self.asked(path), lambda: read_profile(path)):
            with pytest.raises(
                Malformed, match=r"other\.profile: is no profile: .*toadstone profile"
            ):
                ask()

    @pytest.mark.parametrize(
        ("change", "error", "told"),
        [
            (lambda rows: rows.drop("label"), Unreadable, "no column 'label'"),
            (lambda rows: rows.clear(), UsageError, "not one row"),
        ],
    )
    def test_trusted_rows_that_do_not_fit_are_named(self, table, tmp_path, change, error, told):
        frame, known = table
        opened = open_dataset(known, ["a.parquet"])
        path = tmp_path / "checked.parquet"
        change(frame).write_parquet(path)
        with pytest.raises(error, match=rf"trusted rows .*checked\.parquet: .*{told}"):
            load_trusted(path, bare(), None, now(), opened)


def test_the_seed_hangs_on_the_secret_the_bytes_and_the_policy(monkeypatch, tmp_path):
    monkeypatch.setenv("TOADSTONE_HOME", str(tmp_path / "a"))
    one, two = Digest.of(b"1"), Digest.of(b"2")
    seed = draw_seed(bare(), one)
    assert 0 <= seed < 2**48
    assert draw_seed(bare(), one) == seed
    others = {draw_seed(bare(), two), draw_seed(bare(admits=False), one)}
    assert (tmp_path / "a" / "secret").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("TOADSTONE_HOME", str(tmp_path / "b"))
    others.add(draw_seed(bare(), one))
    assert len(others | {seed}) == 4
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOADSTONE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="TOADSTONE_HOME"):
        draw_seed(bare(), one)


def test_without_images_nobody_asks_for_a_gpu():
    assert pick_device(None, Roles()) == "cpu"
    assert pick_device("cpu", Roles(image="image")) == "cpu"
