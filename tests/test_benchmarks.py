"""What the benchmarks stand on: cases in shards, gone on with after a kill, and exact bounds."""

import argparse
import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import figures
import runs

KEYS = [f"case-{place}" for place in range(7)]


def options(out: Path, shard: str = "0/1", seconds: float = math.inf) -> argparse.Namespace:
    return argparse.Namespace(out=out, shard=shard, device="cpu", seconds=seconds)


def cases(ran: list[str]):
    def measure(key: str):
        ran.append(key)
        return {"value": key.upper()}

    return [(key, lambda key=key: measure(key)) for key in KEYS]


@pytest.mark.parametrize("every", [1, 2, 3, 9])
def test_shards_run_every_case_once(tmp_path, every):
    ran: list[str] = []
    for first in range(every):
        runs.go(cases(ran), options(tmp_path / f"{first}.jsonl", f"{first}/{every}"))
    assert sorted(ran) == KEYS
    lines = runs.read(*tmp_path.iterdir())
    assert {line["key"]: line["value"] for line in lines} == {key: key.upper() for key in KEYS}


def test_what_is_done_is_not_run_again_and_a_torn_line_is(tmp_path):
    out, ran = tmp_path / "lines.jsonl", []
    runs.go(cases(ran), options(out))
    whole = out.read_text()
    out.write_text(whole[: whole.rindex('"value"')])  # killed while the last line was written
    again: list[str] = []
    runs.go(cases(again), options(out))
    assert again == [KEYS[-1]]
    assert [line["key"] for line in runs.read(out)] == KEYS


def test_no_case_begins_after_the_time_is_up(tmp_path):
    ran: list[str] = []
    runs.go(cases(ran), options(tmp_path / "lines.jsonl", seconds=-1))
    assert ran == []


def test_one_per_cent_takes_299_runs_without_an_alarm_or_473_with_one():
    assert runs.upper(0, 298) > 0.01 >= runs.upper(0, 299)
    assert runs.upper(1, 472) > 0.01 >= runs.upper(1, 473)


TOOK = {"cpu": 3.0, "import": 1.0, "wall": 4.0, "peak": 90.0, "grown": 10.0, "said": [1]}


def contract_work():
    return next(work for work in figures.works(False) if work.kind == "contract")


def test_a_goal_is_reached_by_the_ratio_alone():
    peer = TOOK | {"cpu": 30.0, "import": 10.0, "said": [2]}
    lines = list(figures.table_lines(contract_work(), {"Great Expectations": peer, "ours": TOOK}))
    assert len(lines[0]) == len(figures.HEAD)
    assert lines[1][-4:] == ("no", "0.100 of Great Expectations (cpu with import)", "0.1", "yes")
    slower = TOOK | {"import": 1.1}
    lines = list(figures.table_lines(contract_work(), {"Great Expectations": peer, "ours": slower}))
    assert lines[1][-1] == "no"


def test_without_the_peer_no_goal_is_told():
    (line,) = figures.table_lines(contract_work(), {"ours": TOOK})
    assert line[-4:] == ("", "", "", "")


def test_of_the_repeats_the_median_is_told():
    ran = [TOOK | {"cpu": cpu} for cpu in (9.0, 1.0, 2.0)]
    assert figures.median(ran)["cpu"] == 2.0


@pytest.mark.parametrize("kind", ["drift", "labels", "contract"])
def test_the_work_is_done_and_its_cost_told(tmp_path, kind):
    figures.MADE[kind](tmp_path, 2_000, 5)
    took = figures.measured(sys.executable, kind, "ours", tmp_path)
    assert set(took) == set(TOOK)
    assert took["peak"] >= took["grown"] > 0
