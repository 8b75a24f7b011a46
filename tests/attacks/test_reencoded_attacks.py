"""Attack 19: the same rows in other bytes, and the same bytes under another name.

Both are told apart from tampering, and both are refused: only bytes are trusted.
"""

from __future__ import annotations

import polars as pl
import pytest

import guards
from guards import reencoded
from guards.cli import main
from guards.data import trial
from guards.data.content import _AT_ONCE
from guards.errors import UsageError
from guards.provenance.manifest import parse
from guards.provenance.signing import parse_envelope

FRAME = pl.DataFrame(
    {"id": [f"r{i}" for i in range(40)], "x": [i / 8 for i in range(40)], "label": ["a", "b"] * 20}
)


@pytest.fixture
def signed(tmp_path, keys):
    """A dataset in CSV and Parquet whose rows are named too, and the verbs over it."""

    class Signed:
        data = tmp_path / "data"

        def sign(self, **more):
            args = {"name": "acme/flights/x", "version": 1, "content": True, **more}
            return guards.sign(self.data, key=keys.pem("producer"), **args)

        def told(self, content=True):
            proof = guards.verify(self.data, trust=trust, content=content)
            assert not proof
            return sorted((problem.code, problem.path) for problem in proof.problems)

    import guards.provenance.trust as trusts
    from guards.provenance.signing import load_public

    trust = tmp_path / "trust"
    key = trusts.TrustedKey(
        key=load_public(keys.pub("producer")), roles=("producer",), names=("acme/*",)
    )
    trusts.create(trust, key)
    Signed.data.mkdir()
    FRAME.write_csv(Signed.data / "a.csv")
    FRAME.write_parquet(Signed.data / "b.parquet")
    made = Signed()
    made.sign()
    assert guards.verify(made.data, trust=trust)
    return made


def test_rows_and_contents_are_claimed(signed):
    manifest = parse(parse_envelope(signed.data.with_name("data.manifest.json").read_bytes()))
    assert [entry.rows for entry in manifest.snapshot.files] == [40, 40]
    one, other = (entry.content for entry in manifest.snapshot.files)
    assert one == other != None  # noqa: E711
    assert manifest.schema_digest.hex


def test_a_reencoded_file_is_told_and_refused(signed):
    FRAME.reverse().write_parquet(signed.data / "b.parquet", compression="gzip")
    assert signed.told() == [("re-encoded-file", "b.parquet")]
    told = signed.told(content=False)
    assert [path for _, path in told] == ["b.parquet"]
    assert told[0][0] in ("changed-file", "truncated-file", "grown-file")


def test_a_file_of_another_format_is_told_by_the_rows(signed):
    (signed.data / "a.csv").unlink()
    FRAME.write_ndjson(signed.data / "c.jsonl")
    assert signed.told() == [("re-encoded-file", "c.jsonl")]


def test_one_cell_more_is_tampering(signed):
    evil = FRAME.with_columns(x=pl.Series([9.0, *FRAME["x"][1:]]))
    evil.write_parquet(signed.data / "b.parquet", compression="gzip")
    assert {code for code, _ in signed.told()} <= {"changed-file", "truncated-file", "grown-file"}
    pl.concat([FRAME, FRAME.head(1)]).write_parquet(signed.data / "b.parquet")
    assert {code for code, _ in signed.told()} <= {"changed-file", "truncated-file", "grown-file"}


def test_the_same_bytes_under_another_name_are_renamed(signed):
    (signed.data / "b.parquet").rename(signed.data / "c.parquet")
    for content in (True, False):
        assert signed.told(content) == [("renamed-file", "c.parquet")]


def test_a_copy_beside_a_claimed_file_is_extra_and_no_rename(signed):
    (signed.data / "c.parquet").write_bytes((signed.data / "b.parquet").read_bytes())
    assert signed.told() == [("extra-file", "c.parquet")]


def test_two_files_that_change_names_are_two_changes(signed):
    FRAME.head(5).write_csv(signed.data / "z.csv")
    signed.sign(version=2)
    (signed.data / "a.csv").rename(signed.data / "y")
    (signed.data / "z.csv").rename(signed.data / "a.csv")
    (signed.data / "y").rename(signed.data / "z.csv")
    assert {path for _, path in signed.told()} == {"a.csv", "z.csv"}


def test_what_breaks_the_decoder_is_told_as_changed(signed):
    (signed.data / "b.parquet").write_bytes(b"PAR1" + b"\xff" * 200 + b"PAR1")
    told = signed.told()
    assert told[0][0] in ("truncated-file", "grown-file", "changed-file")
    proof = guards.verify(signed.data, trust=signed.data.with_name("trust"), content=True)
    assert "what rows it has is not known: b.parquet: " in proof.problems[0].actual


def test_what_takes_too_much_is_told_as_changed(signed, monkeypatch):
    """The bounds hold in the child: with too little memory it fails, and nothing else does."""
    FRAME.reverse().write_parquet(signed.data / "b.parquet", compression="gzip")
    assert reencoded.contents(signed.data, ["b.parquet"], {}).found
    monkeypatch.setattr(reencoded, "MOST_SECONDS", 0)
    unknown = reencoded.contents(signed.data, ["b.parquet"], {}).unknown
    assert unknown == {"b.parquet": "decoding takes too long"}


def test_that_the_rows_are_not_known_for_want_of_room_is_told(signed, no_file_beyond):
    """Else a file that was only written again would look as if somebody had looked at its rows."""
    (signed.data / "a.csv").unlink()
    rows = pl.DataFrame({"x": range(_AT_ONCE + 1)})
    rows.write_parquet(signed.data / "b.parquet")
    signed.sign(version=2)
    rows.reverse().write_parquet(signed.data / "b.parquet", compression="gzip")
    with no_file_beyond(1000):
        proof = guards.verify(signed.data, trust=signed.data.with_name("trust"), content=True)
    (problem,) = proof.problems
    assert problem.code != "re-encoded-file"
    assert "what rows it has is not known: cannot name the rows: File too large" in problem.actual
    assert signed.told() == [("re-encoded-file", "b.parquet")]


def test_each_file_is_decoded_once_and_by_no_second_process(signed, monkeypatch):
    """The process of `guards.data.trial`, which would decode it first, refuses such a limit."""
    FRAME.reverse().write_parquet(signed.data / "b.parquet", compression="gzip")
    monkeypatch.setenv(trial.MEMORY, "none")
    assert reencoded.contents(signed.data, ["a.csv", "b.parquet"], {}).found.keys() == {
        "a.csv",
        "b.parquet",
    }


def test_a_footer_that_declares_rows_which_are_not_there_is_no_encoding_of_the_claimed_ones(signed):
    path = signed.data / "b.parquet"
    FRAME.reverse().write_parquet(path, row_group_size=50)
    data = path.read_bytes()
    lie = data.replace(b"\x16\x50", b"\x16\x52")  # 40 and 41 as zigzag varints
    assert lie != data
    path.write_bytes(lie)
    assert {code for code, _ in signed.told()} <= {"changed-file", "truncated-file", "grown-file"}


def test_many_files_share_the_time_of_one(signed, monkeypatch):
    """A thousand files that take ten minutes each would keep a verifier for a week."""
    paths = [f"{place}.parquet" for place in range(50)]
    for path in paths:
        FRAME.write_parquet(signed.data / path)
    monkeypatch.setattr(reencoded, "MOST_SECONDS", 1)
    assert len(reencoded.contents(signed.data, paths, {}).found) < 50


def test_the_child_is_not_taken_from_where_we_stand(signed, tmp_path, monkeypatch):
    """A directory `guards` in the working directory is not what runs."""
    (tmp_path / "guards").mkdir()
    (tmp_path / "guards" / "__init__.py").write_text("raise SystemExit('planted')\n")
    monkeypatch.chdir(tmp_path)
    assert reencoded.contents(signed.data, ["b.parquet"], {}).found


def test_a_second_signer_who_does_not_see_the_contents_signs_nothing(signed, keys):
    with pytest.raises(UsageError, match="content digests"):
        signed.sign(content=False)
    signed.sign()


def test_without_claimed_contents_nothing_is_decoded(signed, monkeypatch):
    signed.sign(version=2, content=False)
    FRAME.reverse().write_parquet(signed.data / "b.parquet", compression="gzip")
    monkeypatch.setattr(reencoded.subprocess, "run", lambda *a, **k: pytest.fail("decoded"))
    assert "re-encoded-file" not in dict(signed.told())


def test_the_command_tells_it_and_refuses(signed, keys, capsys):
    key, trust = str(keys.pem("producer")), str(signed.data.with_name("trust"))
    line = ["sign", str(signed.data), "--key", key, "--name", "acme/flights/x", "--content"]
    assert main([*line, "--dataset-version", "2"]) == 0
    FRAME.reverse().write_parquet(signed.data / "b.parquet", compression="gzip")
    capsys.readouterr()
    assert main(["verify", str(signed.data), "--trust", trust, "--quiet", "--content"]) == 12
    assert "re-encoded-file: b.parquet" in capsys.readouterr().out
