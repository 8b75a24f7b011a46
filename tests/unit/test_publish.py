"""The producer's side: what is claimed, where it is put, and what is not vouched for."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, read_profile, write_profile
from guards.errors import Malformed, Unreadable, UsageError
from guards.provenance.manifest import Source, parse, parse_name
from guards.provenance.signing import parse_envelope
from guards.publish import Claim, beside, manifest_path, profile_path, publish


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    frame = pl.DataFrame(
        {"x": [1, 2, 3], "delayed": ["no", "yes", "no"], "label": ["a", "b", None]}
    )
    frame.write_parquet(path / "part.parquet")
    return path


def claimed(data, keys, **more):
    claim = Claim(name=parse_name("acme/x"), version=1, **more)
    return parse(parse_envelope(publish(data, claim, keys.private("producer")).read_bytes()))


def test_a_claim_says_what_the_data_holds(data, keys):
    manifest = claimed(data, keys)
    assert manifest.rows == 3
    assert manifest.schema == {"x": "Int64", "delayed": "String", "label": "String"}
    assert manifest.roles.columns() == {"label": "label", "x": "feature", "delayed": "feature"}
    assert manifest.label_counts == {"a": 1, "b": 1}
    assert [entry.path for entry in manifest.snapshot.files] == ["part.parquet"]
    assert manifest.previous is None


def test_roles_are_chosen_by_the_file_beside_and_overruled_by_options(data, keys):
    text = '[columns]\ndelayed = "label"\nlabel = "ignore"\n'
    text += '[[source]]\nuri = "https://a.b"\nlicense = "CC0"\n'
    (data.parent / "data.dataset.toml").write_text(text)
    manifest = claimed(data, keys)
    assert manifest.roles.label == "delayed"
    assert manifest.roles.ignored == ("label",)
    assert manifest.sources == (Source(uri="https://a.b", license="CC0"),)
    manifest_path(data).unlink()
    overruled = claimed(data, keys, columns={"x": "ignore"}, sources=(Source(uri="https://c.d"),))
    assert set(overruled.roles.ignored) == {"x", "label"}
    assert overruled.sources == (Source(uri="https://c.d"),)


@pytest.mark.parametrize(
    "text",
    [
        "[columns",
        'columns = "x"',
        '[columns]\nnone = "label"',
        '[columns]\nx = "boss"',
        '[columns]\nx = "label"\ndelayed = "label"',
        "source = 3",
        "[[source]]\nurl = 1",
    ],
)
def test_a_file_beside_that_is_wrong_is_told(data, keys, text):
    (data.parent / "data.dataset.toml").write_text(text)
    with pytest.raises(UsageError):
        claimed(data, keys)
    assert not manifest_path(data).exists()


def test_a_new_version_names_the_one_before(data, keys):
    first = claimed(data, keys)
    pl.DataFrame({"x": [9]}).write_parquet(data / "part.parquet")
    claim = Claim(name=parse_name("acme/x"), version=2)
    path = publish(data, claim, keys.private("producer"))
    assert parse(parse_envelope(path.read_bytes())).previous == first.snapshot.root


@pytest.mark.parametrize("damage", ["truncated", "mixed"])
def test_nothing_is_vouched_for_that_cannot_be_read(data, keys, damage):
    if damage == "truncated":
        whole = (data / "part.parquet").read_bytes()
        (data / "second.parquet").write_bytes(whole[: len(whole) // 2])
    else:
        pl.DataFrame({"other": [1]}).write_parquet(data / "second.parquet")
    with pytest.raises(Unreadable, match=r"second\.parquet"):
        claimed(data, keys)
    assert not manifest_path(data).exists()


@pytest.mark.parametrize("junk", [b"", b"{}", b"not json"])
def test_what_stands_in_the_manifests_place_is_not_overwritten(data, keys, junk):
    manifest_path(data).write_bytes(junk)
    with pytest.raises(UsageError, match="move it away"):
        claimed(data, keys)
    assert manifest_path(data).read_bytes() == junk


@pytest.mark.parametrize("path", ["data", "data/", "./data", "data/."])
def test_the_manifest_lies_beside_the_dataset(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert manifest_path(Path(path)) == Path("data.manifest.json")


def test_a_dataset_named_by_dots_has_its_manifest_beside_it_too(data, monkeypatch):
    (data / "below").mkdir()
    monkeypatch.chdir(data)
    assert beside(Path(), ".run") == data.with_name("data.run")
    monkeypatch.chdir(data / "below")
    assert manifest_path(Path("..")) == data.with_name("data.manifest.json")


def test_one_file_behind_a_link_is_signed_as_what_it_is(data, keys, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.parquet"
    link.symlink_to(data / "part.parquet")
    manifest = claimed(link, keys)
    assert [entry.path for entry in manifest.snapshot.files] == ["part.parquet"]
    assert manifest_path(link).is_file()


def test_labels_too_long_for_a_manifest_are_told_to_the_producer(tmp_path, keys):
    pl.DataFrame({"label": ["x" * 5000, "y"]}).write_parquet(tmp_path / "long.parquet")
    with pytest.raises(UsageError, match="nobody could read"):
        claimed(tmp_path / "long.parquet", keys)


def test_many_labels_are_no_classes(tmp_path, keys):
    pl.DataFrame({"label": [str(n) for n in range(1001)]}).write_parquet(tmp_path / "m.parquet")
    assert claimed(tmp_path / "m.parquet", keys).label_counts == {}


class TestProfile:
    """A profile that is signed with its data."""

    @pytest.fixture
    def profile(self, data):
        path = profile_path(data)
        write_profile(build_profile(open_dataset(data, ["part.parquet"])), path)
        return path

    def test_its_digest_is_part_of_the_claim(self, data, keys, profile):
        manifest = claimed(data, keys, profile=profile)
        assert manifest.profile == read_profile(profile).digest
        assert claimed(data, keys, profile=profile) == manifest, "and signing again adds nothing"

    def test_a_second_signer_sees_what_they_sign(self, data, keys, profile):
        claimed(data, keys, profile=profile)
        with pytest.raises(UsageError, match="with other profile"):
            publish(data, Claim(name=parse_name("acme/x"), version=1), keys.private("both"))

    def test_a_profile_of_other_data_is_not_claimed(self, data, keys, profile, tmp_path):
        (tmp_path / "other").mkdir()
        pl.DataFrame({"x": [1, 2]}).write_parquet(tmp_path / "other" / "a.parquet")
        other = build_profile(open_dataset(tmp_path / "other", ["a.parquet"]))
        write_profile(other, profile)
        with pytest.raises(UsageError, match="is the profile of other data"):
            claimed(data, keys, profile=profile)
        profile.write_bytes(b"{}")
        with pytest.raises(Malformed):
            claimed(data, keys, profile=profile)
        with pytest.raises(UsageError, match="no such file"):
            claimed(data, keys, profile=tmp_path / "absent")
        assert not manifest_path(data).exists()
