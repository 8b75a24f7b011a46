"""Attacks on the bytes and on the tree: built for real, told by name, and never admitted.

Each is tried at every door: `verify` refuses, `scan` blocks, `sign` will not vouch for what must
not lie in a dataset, and the gate does not open with the record of the clean bytes.
"""

from __future__ import annotations

import os
import shutil
import socket

import pytest

import guards
from guards.cli import main
from guards.errors import REFUSALS, GateRefused, UnsafeTree, UsageError
from guards.provenance import snapshot
from guards.provenance.memory import Memory
from guards.text import printable
from guards.verdict import Decision, load_policy

FILE = "a.parquet"


def flip(spine):
    path = spine.batch / FILE
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_and_keep_the_times(spine):
    before = (spine.batch / FILE).stat()
    flip(spine)
    os.utime(spine.batch / FILE, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(spine):
    os.truncate(spine.batch / FILE, 100)


def grow(spine):
    with (spine.batch / FILE).open("ab") as file:
        file.write(b"\0")


def swap_contents(spine):
    one, two = spine.batch / FILE, spine.batch / "more" / "b.parquet"
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)


def add(name, data=b"x"):
    def plant(spine):
        path = spine.batch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return plant


def link(name, target, remove=False):
    def plant(spine):
        if remove:
            (spine.batch / name).unlink()
        (spine.batch / name).symlink_to(target)

    return plant


def link_to_itself_as_file(spine):
    """The signed bytes, kept elsewhere and linked to: they could be exchanged at any time."""
    outside = spine.home / "outside.parquet"
    shutil.move(spine.batch / FILE, outside)
    (spine.batch / FILE).symlink_to(outside)


def bind_a_socket(spine):
    # A socket's path is short, wherever the test lies.
    here = os.getcwd()  # noqa: PTH109
    os.chdir(spine.batch)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
    finally:
        os.chdir(here)


def raw_name(name):
    def plant(spine):
        path = os.fsencode(spine.batch) + b"/" + name
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"x")

    return plant


CONTENT = {
    "one bit changed": (flip, "changed-file"),
    "one bit changed, and the times put back": (flip_and_keep_the_times, "changed-file"),
    "truncated": (truncate, "truncated-file"),
    "emptied": (lambda s: os.truncate(s.batch / FILE, 0), "truncated-file"),
    "one byte longer": (grow, "grown-file"),
    "two files exchanged": (swap_contents, "grown-file"),
    "missing": (lambda s: (s.batch / FILE).unlink(), "missing-file"),
    "renamed": (lambda s: (s.batch / FILE).rename(s.batch / "c.parquet"), "renamed-file"),
    "renamed in case only": (
        lambda s: (s.batch / FILE).rename(s.batch / "A.parquet"),
        "renamed-file",
    ),
    "added": (add("extra.parquet"), "extra-file"),
    "added and empty": (add("extra.parquet", b""), "extra-file"),
    "added below": (add("more/deep/extra.csv"), "extra-file"),
    "added, with no known ending": (add("loader.py"), "extra-file"),
}
SHAPE = {
    "hidden file": (add(".hidden.parquet"), "hidden"),
    "hidden file below": (add("more/.evil"), "hidden"),
    "git directory": (add(".git/hooks/evil.py"), "hidden"),
    "empty directory": (lambda s: (s.batch / "empty").mkdir(), "empty-directory"),
    "link to a file": (link("c.parquet", FILE), "link"),
    "link to a directory": (link("other", "more"), "link"),
    "link to outside": (link("c.parquet", "/etc/hostname"), "link"),
    "link up": (link("up", ".."), "link"),
    "link to itself": (link("loop", "loop"), "link"),
    "link to nothing": (link("dangling", "nowhere"), "link"),
    "link in place of a signed file": (link(FILE, "more/b.parquet", remove=True), "link"),
    "link to the signed bytes": (link_to_itself_as_file, "link"),
    "fifo": (lambda s: os.mkfifo(s.batch / "fifo.parquet"), "special-file"),
    "socket": (bind_a_socket, "special-file"),
    "case twin": (add("A.parquet"), "name-collision"),
    "case twin of a directory": (add("MORE/b.parquet"), "name-collision"),
    "Unicode twins": (
        lambda s: (add("\u00e9.csv")(s), add("e\u0301.csv")(s)),
        "name-collision",
    ),
    "twins in folded case": (
        lambda s: (add("stra\u00dfe")(s), add("STRASSE")(s)),
        "name-collision",
    ),
    "newline": (add("a\nb.csv"), "name-unprintable"),
    "escape sequence": (add("\x1b[2Jx.csv"), "name-unprintable"),
    "DEL": (add("a\x7f.csv"), "name-unprintable"),
    "line separator": (add("a\u2028b.csv"), "name-unprintable"),
    "bytes that are no text": (raw_name(b"a\xff\xfe.csv"), "name-unprintable"),
    "bidirectional override": (add("a\u202evsc.exe"), "name-deceptive"),
    "zero width": (add("a\u200b.parquet"), "name-deceptive"),
    "soft hyphen": (add("a\u00ad.parquet"), "name-deceptive"),
    "Hangul filler": (add("a\u3164.parquet"), "name-deceptive"),
    "trailing dot": (add("a.parquet."), "name-deceptive"),
    "trailing space": (add("a.parquet "), "name-deceptive"),
    "backslash": (add("..\\x.csv"), "name-deceptive"),
    "drive letter": (add("C:x.csv"), "name-deceptive"),
}
ALL = {**CONTENT, **SHAPE}


@pytest.mark.parametrize(("attack", "code"), ALL.values(), ids=ALL.keys())
def test_verify_refuses_and_says_what_it_is(spine, attack, code):
    assert spine.codes() == []
    attack(spine)
    proof = spine.verify()
    assert not proof
    assert code in {problem.code for problem in proof.refusals}
    for problem in proof.problems:
        assert printable(str(problem)) == str(problem)
        str(problem).encode()


@pytest.mark.parametrize(("attack", "code"), ALL.values(), ids=ALL.keys())
def test_scan_blocks_and_no_gate_opens(spine, attack, code):
    clean = spine.scan().record_path
    kept = clean.rename(spine.home / "clean.json")
    attack(spine)
    scanned = spine.scan(out=spine.home / "again")
    assert scanned.verdict.decision is Decision.BLOCK
    assert code in {reason.code for reason in scanned.verdict.reasons}
    with pytest.raises(GateRefused):
        spine.gate(record=kept)
    with pytest.raises(GateRefused):
        spine.gate(record=scanned.record_path)


@pytest.mark.parametrize(("attack", "code"), SHAPE.values(), ids=SHAPE.keys())
def test_sign_does_not_vouch_for_it(spine, attack, code):
    attack(spine)
    spine.manifest.unlink()
    with pytest.raises(UnsafeTree, match=code):
        spine.sign()
    assert not spine.manifest.exists()


def test_the_verdict_on_an_unclean_tree_never_decodes_it(spine):
    flip(spine)
    scanned = spine.scan()
    told = {e.rule: e.outcome for e in scanned.examinations}
    assert set(told) == {"integrity", "provenance"}
    assert spine.verify().manifest is not None


@pytest.fixture
def holes(spine):
    """A file in the dataset that has twice the bytes of its disk, and takes none of them."""
    path, size = spine.batch / "holes.csv", 2 * (snapshot.capacity(spine.batch) or 0)
    path.touch()
    try:
        os.truncate(path, size or 1 << 44)
    except OSError:
        pytest.skip("needs a file system whose files may be larger than its disk")
    return path


def test_holes_that_nobody_claims_are_not_read_for_days(spine, holes):
    """Where a claim says how much there is, no more is read; where there is none, no hole is."""
    assert "too-large" in spine.codes()
    spine.manifest.unlink()
    assert {"too-large", "unsigned"} <= set(spine.codes())
    done = spine.scan()
    assert done.verdict.decision is Decision.BLOCK


def test_holes_fill_no_disk_where_nobody_asks_for_a_claim(spine, holes):
    with pytest.raises(UsageError, match=r"holes.csv: \d+ bytes; there is no room for them"):
        spine.scan(trust=None, policy=load_policy("explore"), key=None)


def test_many_holes_fill_no_disk_either(spine, monkeypatch):
    """Together they are counted before the first is copied beyond what is free."""
    monkeypatch.setattr(snapshot, "_room", lambda into: 1 << 20)
    for number in range(3):
        (spine.batch / f"{number}.csv").touch()
        os.truncate(spine.batch / f"{number}.csv", 1 << 19)
    with pytest.raises(UsageError, match="there is no room for them"):
        spine.scan(trust=None, policy=load_policy("explore"), key=None)


@pytest.mark.parametrize("year", [1902, 2300, 2400])
def test_times_that_nobody_lives_to_see_stop_nothing(spine, year):
    """Whoever owns a file sets its mtime, to what does not fit into 64 bits of nanoseconds, too."""
    seconds = (year - 1970) * 31_556_952
    os.utime(spine.batch / FILE, (seconds, seconds))
    for _ in range(2):
        assert spine.verify(index=spine.home / "index")
    assert spine.scan().verdict.decision is Decision.PASS


def test_a_hard_link_is_told_but_its_bytes_are_the_signed_ones(spine):
    os.link(spine.batch / FILE, spine.home / "second name")
    assert spine.codes() == ["hardlink"]
    assert spine.verify()
    scanned = spine.scan()
    assert scanned.verdict
    assert [f.code for e in scanned.examinations for f in e.findings] == ["hardlink"]
    admitted = spine.gate()
    (spine.home / "second name").write_bytes(b"through the other name")
    assert admitted.table().height == 80, "what was admitted is a copy"


def test_a_hard_link_is_refused_where_that_is_asked_for(spine, tmp_path, capsys):
    """Who has the second name may write to the file whenever they like."""
    assert spine.verify(strict=True)
    os.link(spine.batch / FILE, spine.home / "second name")
    found = spine.verify(strict=True, state=Memory(tmp_path / "state"))
    assert [problem.code for problem in found.refusals] == ["hardlink"]
    assert not found
    assert Memory(tmp_path / "state").recall(found.manifest.name) is None
    line = ["verify", str(spine.batch), "--trust", str(spine.trust_dir)]
    for more, status in ((["--strict"], 12), ([], 0)):
        assert main([*line, *more]) == status
        assert main([*line, *more, "--files", FILE]) == (status or 10)
        assert "hardlink" in capsys.readouterr().out
    assert not guards.verify(spine.batch, trust=spine.trust_dir, strict=True)
    (spine.home / "second name").unlink()
    assert guards.verify(spine.batch, trust=spine.trust_dir, strict=True)


def test_a_hard_link_within_the_dataset_is_an_extra_file(spine):
    os.link(spine.batch / FILE, spine.batch / "c.parquet")
    assert spine.codes() == ["extra-file", "hardlink"]


def test_every_attack_at_once_is_told_completely(spine):
    for plant in (add("extra.csv"), add(".hidden"), link("link", "/etc"), flip):
        plant(spine)
    assert spine.codes() == ["changed-file", "extra-file", "hidden", "link"]


def test_a_dataset_path_that_is_a_link_is_the_callers_own_choice(spine):
    (spine.home / "current").symlink_to("batch")
    assert spine.verify(dataset=spine.home / "current")


def test_a_manifest_that_is_a_fifo_does_not_hang(spine):
    spine.manifest.unlink()
    os.mkfifo(spine.manifest)
    for look in (spine.verify, spine.scan):
        with pytest.raises(UsageError, match="plain file"):
            look()


def test_a_policy_cannot_pass_a_link_by_not_asking(spine):
    """The walker's word is a rule of its own, so a policy that admits has to ask for it."""
    (spine.home / "lax.toml").write_text('rules = ["provenance"]\nrequired = ["provenance"]\n')
    with pytest.raises(UsageError, match="integrity"):
        load_policy(spine.home / "lax.toml")


def test_a_file_replaced_while_the_gate_copies_is_refused(spine, monkeypatch):
    """Whatever a concurrent writer does, what is admitted hashes to what passed."""
    spine.scan()
    real = snapshot.moved

    def meanwhile(opened):
        if opened.path == FILE:
            flip(spine)
        return real(opened)

    monkeypatch.setattr(snapshot, "moved", meanwhile)
    with pytest.raises(REFUSALS, match="changed-while-read"):
        spine.gate()
