"""Attack 20: files that are small until they are decoded, that never end, or that kill the decoder.

Each is a real file of the kind. The limits are lowered, so that a test takes seconds; nothing else
is different. Whatever a file does, the process that asked goes on and tells of it by name.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import guards
from guards import allowance
from guards.data import decoding, trial
from guards.data.dataset import open_dataset
from guards.data.decoding import Probed, Problem
from guards.data.trial import MIB, Limits, decode_apart
from guards.errors import Unreadable, UsageError
from guards.findings import Failed
from guards.text import printable
from guards.verdict import load_policy

LITTLE = Limits(memory=700 * MIB, most=700 * MIB)


def ordinary(home: Path) -> None:
    pl.DataFrame({"x": [1, 2], "label": ["a", "b"]}).write_parquet(home / "good.parquet")


def told(home: Path, name: str, limits: Limits = LITTLE) -> str:
    """What is said of a hostile file; the ordinary one beside it is read after it all the same."""
    ordinary(home)
    found = decode_apart(home, [name, "good.parquet"], limits)
    assert isinstance(found["good.parquet"], Probed)
    assert found["good.parquet"].rows == 2
    problem = found[name]
    assert isinstance(problem, Problem)
    assert (problem.code, problem.path) == ("unreadable-file", name)
    return problem.message


def zeros(size: int) -> pa.Table:
    """One row, whose one value is so long; its buffer is not copied."""
    data = pa.py_buffer(bytes(size))
    offsets = pa.py_buffer(b"".join(n.to_bytes(8, "little") for n in (0, size)))
    return pa.table({"x": pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])})


def bomb(path: Path) -> None:
    plain = {"use_dictionary": False, "write_statistics": False}
    pq.write_table(zeros(768 * MIB), path, compression="zstd", **plain)


def test_a_value_that_unpacks_to_more_than_the_memory_is_told(tmp_path):
    bomb(tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 2 * MIB
    assert "memory" in told(tmp_path, "bomb.parquet")


def test_a_compressed_arrow_file_is_no_way_around(tmp_path):
    table = zeros(768 * MIB)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(tmp_path / "bomb.arrow", table.schema, options=options) as file:
        file.write_table(table)
    assert (tmp_path / "bomb.arrow").stat().st_size < 2 * MIB
    assert "memory" in told(tmp_path, "bomb.arrow")


def test_what_takes_too_long_is_ended(tmp_path):
    """Sixteen gigabytes of words in some kilobytes: little memory is enough for it, time is not."""
    words = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), MIB), ["x" * 200])
    table = pa.table({"x": words})
    with pq.ParquetWriter(tmp_path / "long.parquet", table.schema, store_schema=False) as writer:
        for _ in range(80):
            writer.write_table(table)
    assert (tmp_path / "long.parquet").stat().st_size < 2 * MIB
    least = Limits(memory=LITTLE.memory, seconds=0.5, rate=1 << 40)
    assert "more than 1 seconds of the processor" in told(tmp_path, "long.parquet", least)


def test_words_at_no_place_of_their_dictionary_are_damage(tmp_path):
    """Rules read words as dictionaries, and there Arrow does not ask whether a place is one."""
    path = tmp_path / "places.parquet"
    words = pa.table({"x": [f"word {place % 5}" for place in range(1000)]})
    pq.write_table(words, path, compression="none", write_statistics=False)
    column = pq.read_metadata(path).row_group(0).column(0)
    end = column.dictionary_page_offset + column.total_compressed_size
    data = bytearray(path.read_bytes())
    data[end - 60 : end - 20] = b"\xff" * 40  # of five words the eighth
    path.write_bytes(data)
    with decoding.opened(path, ["x"]) as file:
        assert max(max(batch["x"].indices.to_pylist()) for batch in file.iter_batches()) == 7
    assert "bounds" in told(tmp_path, "places.parquet")


@pytest.mark.parametrize(
    ("columns", "text", "least", "most"),
    [
        (50, "x", 1 << 16, 1 << 16),
        (3000, "x", 1 << 10, 1 << 11),
        (2, "long text " * 1000, 1 << 10, 1 << 13),
    ],
)
def test_rows_that_are_decoded_together_hold_little(tmp_path, columns, text, least, most):
    each = pa.array([f"{text} {place}" for place in range(8)])
    pq.write_table(pa.table({f"x{n}": each for n in range(columns)}), tmp_path / "x.parquet")
    assert least <= decoding._rows_at_once(pq.read_metadata(tmp_path / "x.parquet")) <= most


def constant(path: Path, rows: int, text: str) -> None:
    """So many rows of one text, in a file of next to no bytes."""
    words = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), [text])
    pq.write_table(pa.table({"x": words}), path, store_schema=False)


def test_a_little_file_that_unpacks_to_too_much_text_is_told(tmp_path):
    """Memory and time suffice to decode it once; rules would read its words for many minutes."""
    constant(tmp_path / "long.parquet", 12_000, "x y " * 1250)
    assert (tmp_path / "long.parquet").stat().st_size < 100_000
    said = told(tmp_path, "long.parquet")
    assert "unpacks to 915 MiB as rules count it" in said
    assert f"raise {trial.MEMORY}" in said


def test_what_compresses_as_well_and_is_no_text_is_read(tmp_path):
    """Ten million equal short words and numbers, a thousand in each byte, as tables have them."""
    constant(tmp_path / "short.parquet", 10_000_000, "United States")
    frame = pl.LazyFrame({"x": [0.0]}).select(pl.col("x").repeat_by(10_000_000).explode())
    frame.sink_parquet(tmp_path / "zeros.parquet")
    assert (tmp_path / "zeros.parquet").stat().st_size < 100_000
    found = decode_apart(tmp_path, ["short.parquet", "zeros.parquet"], LITTLE)
    assert [one.rows for one in found.values() if isinstance(one, Probed)] == [10_000_000] * 2


def test_many_little_files_share_one_room(tmp_path):
    for name in "abc":
        constant(tmp_path / f"{name}.parquet", 5_000, "x y " * 1250)
    found = decode_apart(tmp_path, ["a.parquet", "b.parquet", "c.parquet"], LITTLE)
    assert isinstance(found["a.parquet"], Probed)
    last = found["c.parquet"]
    assert isinstance(last, Problem)
    assert "unpacks to 381 MiB" in last.message


def test_many_slow_files_share_one_time(tmp_path):
    """Each could be decoded in the time of one; together they would take all day."""
    for place in range(8):
        constant(tmp_path / f"{place}.parquet", 2_000_000, "x" * 200)
    short = Limits(memory=LITTLE.memory, seconds=0.2, rate=1 << 40, slow=2, most=1 << 50)
    names = [f"{place}.parquet" for place in range(8)]
    found = list(decode_apart(tmp_path, names, short).values())
    assert isinstance(found[-1], Problem)
    assert "the files before it took all the time" in found[-1].message


def test_a_file_that_is_large_may_unpack_to_more(tmp_path):
    ordinary(tmp_path)
    little = Limits(memory=LITTLE.memory, most=10, ratio=0)
    assert isinstance(decode_apart(tmp_path, ["good.parquet"], little)["good.parquet"], Problem)
    by_size = Limits(memory=LITTLE.memory, most=10, ratio=1)
    assert isinstance(decode_apart(tmp_path, ["good.parquet"], by_size)["good.parquet"], Probed)


@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        ("_GROUPS", 3, "row groups"),
        ("_UNPACKED", 10, "bytes unpacked"),
        ("_VALUES", 10, "values"),
    ],
)
def test_a_footer_that_declares_too_much_is_not_followed(tmp_path, monkeypatch, limit, value, says):
    """The real limits begin to doubt at thousands of millions, and a thousand in each byte."""
    table = pa.table({"x": pa.repeat(pa.scalar(7, pa.int64()), 1 << 22)})
    plain = {"use_dictionary": False, "compression": "zstd"} if limit == "_UNPACKED" else {}
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1 << 20, **plain)
    assert isinstance(decoding.probe(tmp_path, "a.parquet"), Probed)
    monkeypatch.setattr(decoding, limit, value)
    monkeypatch.setattr(decoding, "_RATIO", 2)
    found = decoding.probe(tmp_path, "a.parquet")
    assert isinstance(found, Problem)
    assert says in found.message


def test_a_footer_that_lies_about_its_rows_is_found_out(tmp_path):
    """The pages are read; what they hold is what counts."""
    pq.write_table(pa.table({"x": list(range(1000))}), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    lies = data.replace(b"\x16\xd0\x0f", b"\x16\xd2\x0f")  # 1000 and 1001 as zigzag varints
    assert lies != data
    (tmp_path / "a.parquet").write_bytes(lies)
    found = decode_apart(tmp_path, ["a.parquet"])["a.parquet"]
    assert isinstance(found, Problem)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_decoder_that_dies_of_a_file_takes_nothing_with_it(tmp_path, number):
    """What a fault in a decoder does, done to it from outside while it is at work."""
    rows = "1,2,3,4,5,6\n" * 4_000_000
    (tmp_path / "large.csv").write_text("a,b,c,d,e,f\n" + rows)
    ordinary(tmp_path)
    decode_apart(tmp_path, ["good.parquet"], LITTLE)
    child = trial._CHILDREN[LITTLE.memory].process
    killer = threading.Timer(0.05, os.kill, (child.pid, number))
    killer.start()
    assert told(tmp_path, "large.csv")
    killer.join()
    assert child.poll() == -number


def test_a_child_that_died_in_between_is_started_again(tmp_path):
    ordinary(tmp_path)
    decode_apart(tmp_path, ["good.parquet"], LITTLE)
    child = trial._CHILDREN[LITTLE.memory].process
    child.kill()
    child.wait()
    assert isinstance(decode_apart(tmp_path, ["good.parquet"], LITTLE)["good.parquet"], Probed)


def test_json_nested_without_end_is_a_problem_and_no_crash(tmp_path):
    (tmp_path / "deep.jsonl").write_text('{"x":' + "[" * 1_000_000 + "]" * 1_000_000 + "}\n")
    assert told(tmp_path, "deep.jsonl")


def test_the_child_can_write_no_file_and_ends_with_its_parent(tmp_path):
    """It is killed where it tries; and when nobody is there to ask any more, it goes."""
    code = (
        "import json, os, sys, time, resource\n"
        "from pathlib import Path\n"
        "from guards.data import trial\n"
        "trial.decode_apart(Path(sys.argv[1]), ['good.parquet'])\n"
        "print(next(iter(trial._CHILDREN.values())).process.pid)"
    )
    ordinary(tmp_path)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True, env=env
    )
    pid = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the child is still there")


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs Linux")
def test_the_limits_are_those_of_the_kernel(tmp_path):
    ordinary(tmp_path)
    decode_apart(tmp_path, ["good.parquet"], LITTLE)
    pid = trial._CHILDREN[LITTLE.memory].process.pid
    limits = {
        line[:25].strip(): line[26:].split()[0]
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
    }
    assert limits["Max data size"] == str(LITTLE.memory)
    assert limits["Max file size"] == "0"
    assert limits["Max cpu time"].isdigit()


def test_a_fork_has_a_child_of_its_own(tmp_path):
    ordinary(tmp_path)
    decode_apart(tmp_path, ["good.parquet"], LITTLE)
    mine = trial._CHILDREN[LITTLE.memory]
    other = trial._Child(mine.process, mine.memory, mine.parent + 1)
    trial._CHILDREN[LITTLE.memory] = other
    decode_apart(tmp_path, ["good.parquet"], LITTLE)
    assert trial._CHILDREN[LITTLE.memory].process.pid != mine.process.pid
    mine.process.kill()
    mine.process.wait()


@pytest.mark.parametrize(
    "answer",
    [
        b"[]\n",
        b"nonsense\n",
        b'{"format":1}\n',
        b"{}\n",
        b'{"rows":"x","format":"csv","schema":"AAAA"}\n',
        b'{"spent":"x"}\n',
        b'{"spent":1e999}\n',
        b'{"spent":-1e999,"rows":-1,"unpacked":-5}\n',
        b'{"spent":NaN}\n',
        b'{"code":"passed","message":"all is well"}\n',
        b'{"code":[],"message":{}}\n',
        b'{"code":"unreadable-file","message":"\\u001b[2J\\u202e' + b"x" * 9999 + b'"}\n',
    ],
)
def test_a_child_that_was_taken_over_is_a_stranger(tmp_path, answer):
    """What it says is parsed, and what does not parse is a file that harmed it."""
    ordinary(tmp_path)
    code = (
        "import sys\nsys.stdin.buffer.readline()\n"
        f"sys.stdout.buffer.write({answer!r})\nsys.stdout.flush()\nsys.stdin.buffer.readline()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    trial._CHILDREN[LITTLE.memory] = trial._Child(process, LITTLE.memory, os.getpid())
    told = told_of_good(tmp_path)
    assert told
    assert (printable(told), len(told) < 1000) == (told, True)
    process.kill()
    process.wait()


def told_of_good(home: Path) -> str:
    found = decode_apart(home, ["good.parquet"], LITTLE)["good.parquet"]
    assert isinstance(found, Problem)
    del trial._CHILDREN[LITTLE.memory]
    return found.message


@pytest.mark.parametrize("word", ["0", "-1", "many", "1.5", "٣"])
def test_a_limit_that_is_none_is_told(tmp_path, monkeypatch, word):
    ordinary(tmp_path)
    monkeypatch.setenv(trial.MEMORY, word)
    with pytest.raises(UsageError, match="whole number of MiB"):
        decode_apart(tmp_path, ["good.parquet"])


def test_a_bomb_is_not_signed_and_blocks_the_scan_that_meets_it(spine, monkeypatch):
    """An unsigned one is looked at to be told of; it is named, the other files are examined."""
    monkeypatch.setenv(trial.MEMORY, "700")
    bomb(spine.batch / "bomb.parquet")
    with pytest.raises(Unreadable, match=r"bomb\.parquet: .*memory.*nothing was signed"):
        spine.sign(version=2)
    scanned = spine.scan(policy=load_policy("explore"), trust=None, key=None)
    report = json.loads((spine.home / "run" / "report.json").read_text())
    found = [one for e in report["examinations"] for one in e.get("findings", ())]
    assert not scanned.verdict
    assert any("bomb.parquet" in json.dumps(one) for one in found)


def test_rules_that_take_too_long_have_failed_and_those_after_them_are_not_begun(
    tmp_path, monkeypatch
):
    """A second for a table at which one rule takes a dozen; the run is written all the same."""
    rng = random.Random(0)
    home = tmp_path / "wide"
    home.mkdir()
    lines = [",".join(str(rng.random()) for _ in range(1500)) + f",{'ab'[n % 2]}" for n in range(9)]
    names = ",".join(f"x{place}" for place in range(1500)) + ",label"
    (home / "a.csv").write_text("\n".join([names, *lines]) + "\n")
    monkeypatch.setattr(allowance, "RATE", 1 << 40)
    monkeypatch.setenv(allowance.SECONDS, "1")
    done = guards.scan(home, policy="default", out=tmp_path / "run")
    failed = {e.rule: e.outcome.error for e in done.examinations if isinstance(e.outcome, Failed)}
    assert allowance.SECONDS in failed["labels"]
    assert ("labels", "failed") in [(why.rule, why.code) for why in done.verdict.reasons]
    assert (tmp_path / "run" / "report.html").exists()
    assert not (tmp_path / "run" / "profile.json").exists()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_every_kind_of_column_comes_back_as_it_was(tmp_path):
    frame = pl.DataFrame(
        {
            "i": pl.Series([1], dtype=pl.Int8),
            "d": pl.Series(["1.50"]).str.to_decimal(scale=2),
            "t": pl.Series([0], dtype=pl.Datetime("ns", "Europe/Berlin")),
            "c": pl.Series(["a"], dtype=pl.Categorical),
            "e": pl.Series(["a"], dtype=pl.Enum(["a", "b"])),
            "l": pl.Series([[1.0]], dtype=pl.Array(pl.Float32, 1)),
            "s": [{"bytes": b"1", "path": "p"}],
            "n": pl.Series([None], dtype=pl.Null),
            "b": pl.Series([True]),
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ipc(tmp_path / "b.arrow")
    for name in ("a.parquet", "b.arrow"):
        assert decode_apart(tmp_path, [name])[name] == decoding.probe(tmp_path, name)
    assert open_dataset(tmp_path, ["a.parquet"]).rows == 1


def test_children_that_were_stopped_are_gone_and_counted(tmp_path):
    ordinary(tmp_path)
    decode_apart(tmp_path, ["good.parquet"], LITTLE)
    child, before = trial._CHILDREN[LITTLE.memory].process, os.times().children_user
    trial.stop()
    assert child.returncode == 0
    assert os.times().children_user > before
    assert isinstance(decode_apart(tmp_path, ["good.parquet"], LITTLE)["good.parquet"], Probed)


@pytest.mark.parametrize("module", ["json", "polars", "base64", "guards", "sitecustomize"])
def test_nothing_is_imported_from_where_it_is_run(spine, module):
    """The dataset may be the directory somebody stands in, and hold a module of any name."""
    code = f"open({str(spine.home / 'owned')!r}, 'w')\n"
    (spine.batch / f"{module}.py").write_text(code)
    script = spine.home / "toadstone.py"  # as the installed command is: its directory, not this one
    script.write_text("import sys\nfrom guards.cli import main\nsys.exit(main())\n")
    line = ["scan", ".", "--policy", "explore", "--out", str(spine.home / "explored"), "--quiet"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, str(script), *line], cwd=spine.batch, env=env, capture_output=True
    )
    assert done.returncode in (0, 11, 12), done.stderr
    assert (spine.home / "explored" / "report.json").exists()
    assert not (spine.home / "owned").exists()
