"""What a producer's data, within its claim, could do to the scanner; and what comes of it."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import polars as pl
import pytest
from PIL import Image

from guards.checks import run
from guards.data.case import Case
from guards.data.dataset import LONGEST, open_dataset, short_words
from guards.data.encoders import read_encoder
from guards.data.image_features import _columns
from guards.data.rewrite import write_without
from guards.digest import Digest
from guards.errors import UsageError
from guards.findings import Ran
from guards.history import About
from guards.provenance.ledger import append
from guards.provenance.lines import Entry
from guards.provenance.manifest import parse_name
from guards.provenance.snapshot import Snapshot
from guards.redteam.poison import poison
from guards.verdict import Decision, load_policy

NAME = parse_name("acme/flights/2013-01")


def encode(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def case_of(folder, pictures, labels, **columns):
    frame = pl.DataFrame({"image": pictures, "label": labels, **columns})
    frame.write_parquet(folder / "a.parquet")
    opened = open_dataset(folder, ["a.parquet"])
    return Case(snapshot=Snapshot(files=()), opened=opened, roles=opened.roles, seed=1)


def smooth(rows, side, seed=0):
    """Pictures of one slope each, in which no window has an edge."""
    rng = np.random.default_rng(seed)
    down, right = rng.uniform(0, 80 / side, (2, rows, 1, 1))
    ramp = np.arange(side)
    pixels = 60 + down * ramp[:, None] + right * ramp + rng.uniform(0, 40, (rows, 1, 1))
    return pixels.astype(np.uint8)


def outcome(case, rule, **settings):
    found = run(rule, case, settings).outcome
    assert isinstance(found, Ran), found
    return found.measured


@pytest.mark.parametrize("label", ["NaN", ""])
def test_a_class_that_is_taken_for_no_label_is_told(tmp_path, label):
    """The detectors leave these rows out, so that naming the target so would hide it."""
    case = case_of(tmp_path, [encode(p) for p in smooth(40, 16)], [label, "b"] * 20)
    assert {finding.code for finding in outcome(case, "quality").findings} >= {"missing-labels"}


def test_one_endless_label_does_not_fill_the_memory(tmp_path):
    """NumPy would give each of the rows the room of the longest: here 16 GB."""
    pictures = [encode(p) for p in smooth(400, 16)]
    labels = ["x" * 10_000_000 if row == 7 else "ab"[row % 2] for row in range(400)]
    sources = ["y" * 10_000_000 if row == 9 else "s" for row in range(400)]
    case = case_of(tmp_path, pictures, labels, source=sources)
    for rule in ("codec", "patches"):
        outcome(case, rule)
    assert all(max(map(len, names)) <= LONGEST for names in _columns(case.dataset, case.images))


def test_long_words_stay_apart():
    values = pl.Series(["a", None, "z" * 300 + "1", "z" * 300 + "2", "z" * 300 + "1"])
    found = short_words(values)
    assert found[:2].to_list() == ["a", None]
    assert found[2] == found[4] != found[3]


def test_a_source_for_every_row_is_no_bomb(tmp_path):
    rows = 6_000
    blank = [encode(p) for p in smooth(20, 16)]
    sources = [f"https://example.org/{row}" for row in range(rows)]
    labels = [str(row % 300) for row in range(rows)]
    case = case_of(tmp_path, [blank[row % 20] for row in range(rows)], labels, source=sources)
    started = time.process_time()
    outcome(case, "codec")
    assert time.process_time() - started < 10


def test_pictures_of_any_size_are_looked_at(tmp_path):
    """A required rule that skips blocks, and no honest dataset chose its size to please a rule."""
    pixels = smooth(120, 256)
    for row in range(0, 120, 4):
        pixels[row, 200:206, 100:106] = (
            np.kron(np.indices((3, 3)).sum(0) % 2, np.ones((2, 2))) * 255
        )
    labels = ["a" if row % 4 == 0 else "bcd"[row % 3] for row in range(120)]
    labels = ["a" if row % 8 == 1 else label for row, label in enumerate(labels)]
    case = case_of(tmp_path, [encode(p) for p in pixels], labels)
    measured = outcome(case, "patches", denied=0.0)
    marks = measured.statistics["marks"]
    assert [mark["rows"] for mark in marks] == [30]
    assert abs(marks[0]["top"] - 200) <= 6
    assert abs(marks[0]["left"] - 100) <= 6


def test_a_quote_that_never_ends_does_not_stop_a_release(tmp_path):
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    lines = 200_000
    source.write_text("x,y\n" + '1,5" pipe\n' + "2,b\n" * (lines - 1))
    started = time.process_time()
    with pytest.raises(Exception, match="no row of it can be taken out"):
        write_without(source, "csv", lines, {3}, target)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("budget", ["0", "-1", "-0.01", "1", "1e9", "nan", "inf", "-inf", "true"])
def test_a_budget_with_which_nothing_alarms_or_everything_is_no_policy(tmp_path, budget):
    path = tmp_path / "p.toml"
    text = f'rules = ["quality"]\nrequired = []\nadmits = false\nfalse_alarm_budget = {budget}\n'
    path.write_text(text)
    with pytest.raises(UsageError, match="policy"):
        load_policy(path)


def test_data_that_is_its_own_trusted_rows_is_refused(spine):
    with pytest.raises(UsageError, match="very data"):
        spine.scan(trusted_rows=spine.batch)


def test_a_seed_below_nought_is_told(tmp_path):
    case_of(tmp_path, [encode(p) for p in smooth(20, 16)], ["a", "b"] * 10)
    with pytest.raises(UsageError, match="--seed"):
        poison(tmp_path / "a.parquet", "patch", 0.1, tmp_path / "out", seed=-1)


class TestHistoryOfAPartition:
    """Somebody who may sign other partitions of a dataset, and sends them in numbers."""

    @pytest.fixture
    def candidates(self, spine):
        from guards.history import _candidates
        from guards.provenance import ledger

        def logged(*lines):
            for name, version, what, decision in lines:
                entry = Entry(
                    record=Digest.of(f"{name}{version}{what}{decision}".encode()),
                    name=parse_name(name),
                    version=version,
                    root=Digest.of(what.encode()),
                    decision=str(decision),
                    policy=spine.policy.digest,
                    time=spine.verify().manifest.created,
                )
                append(spine.home / "ledger", entry, b"{}", spine.keys.private("scanner"))
            entries = ledger.verify(spine.home / "ledger", spine.trust).entries
            about = About(name=NAME, version=9, root=Digest.of(b"new"))
            return [(str(e.name), e.version) for e in _candidates(entries, about)]

        return logged

    def test_old_bytes_under_another_partition_stay_what_they_were(self, candidates):
        own = [(str(NAME), version, f"v{version}", Decision.PASS) for version in (1, 2, 3)]
        theirs = [("acme/flights/x", v, f"v{v}", Decision.PASS) for v in (1, 2, 3)]
        assert candidates(*own, *theirs) == [(str(NAME), version) for version in (3, 2, 1)]

    def test_a_flood_of_partitions_does_not_push_a_dataset_s_own_past_out(self, candidates):
        own = [(str(NAME), version, f"v{version}", Decision.PASS) for version in (1, 2)]
        flood = [(f"acme/flights/x{n}", 10**9, f"x{n}", Decision.PASS) for n in range(15)]
        assert candidates(*own, *flood)[:2] == [(str(NAME), 2), (str(NAME), 1)]

    def test_bytes_that_were_blocked_as_another_partition_are_no_witness(self, candidates):
        lines = [(str(NAME), 1, "v1", Decision.PASS), ("acme/flights/x", 1, "v1", Decision.BLOCK)]
        assert candidates(*lines) == []


class TestHeadersOfPictures:
    """Headers are as long as who wrote the file wants them, and hold what they want."""

    @staticmethod
    def chunk(name, body=b""):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    def test_of_many_chunks_few_are_named_and_none_is_searched_for(self):
        data = encode(np.zeros((16, 16)))
        names = (bytes([65 + n % 26, 65 + n // 26 % 26, 65 + n // 676, 97]) for n in range(17_000))
        started = time.process_time()
        found = read_encoder(data + b"".join(map(self.chunk, names)) * 4)
        assert time.process_time() - started < 3
        assert len(found.settings) < 200

    def test_of_many_segments_few_are_named(self):
        buffer = io.BytesIO()
        Image.new("L", (16, 16)).save(buffer, "JPEG")
        data = buffer.getvalue()
        found = read_encoder(data[:2] + b"\xff\xfe\x00\x02" * 100_000 + data[2:])
        assert len(found.settings) < 200
        other = read_encoder(data[:2] + b"\xff\xfe\x00\x02" * 100_001 + data[2:])
        assert found.settings != other.settings

    def test_a_chunk_s_name_moves_no_cursor(self):
        found = read_encoder(encode(np.zeros((16, 16))) + self.chunk(b"\x1b[2J"))
        assert "\x1b" not in found.settings
