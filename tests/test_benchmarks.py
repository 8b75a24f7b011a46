"""What the benchmarks stand on: cases in shards, gone on with after a kill; attacks; bounds."""

import argparse
import math
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import figures
import planting
import power
import runs
import table_peers
import vectors

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MONTH = Path(__file__).parents[1] / "data_samples" / "flights" / "2013-01"
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


def batch(texts: bool) -> pl.DataFrame:
    if not texts:
        month = pl.read_parquet(MONTH / "*.parquet")
        return month.drop("id", "day").head(2_000).with_columns(pl.selectors.integer().cast(int))
    rng = np.random.default_rng(1)
    words = ["".join(letters) for letters in product("bdgk", "aeou", "nrst", "aeou")]
    shares = rng.permutation(1 / np.arange(2, 2 + len(words)))
    lines = [" ".join(rng.choice(words, 4, p=shares / shares.sum())) for _ in range(1_000)]
    return pl.DataFrame(
        {
            "text": lines,
            "label": rng.choice(["ham", "spam"], 1_000),
            "source": rng.choice(["a", "b"], 1_000),
        }
    )


@pytest.mark.parametrize("count", [3, 30, 100])
@pytest.mark.parametrize("attack", planting.ATTACKS)
def test_an_attack_changes_exactly_the_rows_that_it_says(attack, count):
    for texts in (False, True) if attack in power.ON_TEXTS else (False,):
        clean = batch(texts)
        planted = planting.ATTACKS[attack](clean, count, np.random.default_rng(count))
        pairs = [(clean[name], planted.frame[name]) for name in clean.columns]
        changed = np.any([old.ne_missing(new).to_numpy() for old, new in pairs], axis=0)
        assert np.flatnonzero(changed).tolist() == planted.rows.tolist()
        assert len(planted.rows) == count
        assert planted.frame.schema == clean.schema


def asked_for(**other: object) -> argparse.Namespace:
    given = {"trials": 3, "nulls": 7, "natural": 2, "first": 100, "doses": (0.01, 0.02)}
    given |= {"attacks": tuple(planting.ATTACKS), "whole": 1, "evidently": None}
    given |= {"rules": power.RULES}
    return argparse.Namespace(**given, data=Path(), **other)


def test_power_has_a_key_for_every_run_and_each_is_run_once(tmp_path, monkeypatch):
    ran: list[tuple] = []
    monkeypatch.setattr(power, "readable", lambda name, data: True)
    monkeypatch.setattr(power, "measure", lambda *told: ran.append(told[:4]) or {})
    for _ in range(2):
        runs.go(power.cases(asked_for()), options(tmp_path / "lines.jsonl"))
    assert len(ran) == len(set(ran)) == 3 * 2 * len(planting.ATTACKS) + 7 + 2
    assert len({line["key"] for line in runs.read(tmp_path / "lines.jsonl")}) == len(ran)


def test_power_holds_what_the_rules_say_against_what_was_planted(monkeypatch):
    clean = batch(texts=False)
    known = power.Split(
        reference=clean, profile=power.profile_of(clean), batch=clean, told="the same rows"
    )
    monkeypatch.setattr(power, "split", lambda *_: known)
    told = [
        {"key": "", "wall_s": 0.0}
        | power.measure("flights", attack, dose, 1, Path(), ("drift",), None)
        for attack, dose in ((power.NONE, 0.0), ("missing", 0.05))
    ]
    assert [line["verdict"] for line in told] == ["PASS", "QUARANTINE"]
    assert told[1]["named"]
    assert min(told[1]["precision"], told[1]["recall"]) > 0.5
    assert not told[0]["ks"]
    assert told[0]["psi"] == 0
    assert "| missing | 5.0% | 1 | 1.00 | 0.025 to 1.000 | 1.00 | 0.00 |" in power.tabulated(told)


def test_a_name_is_no_part_of_another_word():
    assert power.holds("rows of carrier B6, and others", "B6")
    assert not power.holds("rows of carrier_id B61", "B6")
    assert not power.holds("rows of carrier_id B61", "carrier")


def test_the_stability_index_is_that_of_its_formula():
    then = pl.DataFrame({"word": ["a"] * 50 + ["b"] * 50})
    now = pl.DataFrame({"word": ["a"] * 80 + ["b"] * 20})
    right = 0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5)
    assert table_peers.stability(then, now) == pytest.approx(right)
    assert table_peers.tested(then, now)
    assert not table_peers.tested(then, then)


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


def test_a_vector_that_is_answered_otherwise_needs_a_reason(tmp_path, monkeypatch, capsys):
    for name in ("valid/new.bundle.json", "invalid/empty.bundle.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(sys, "argv", ["vectors.py", "--oms", str(tmp_path)])
    assert vectors.main() == 1
    told = capsys.readouterr().out
    assert "oms: 1 of 2 pass" in told
    assert "UNEXPLAINED" in told
    monkeypatch.setitem(vectors.EXPLAINED, "oms valid/new.bundle.json", "because")
    assert vectors.main() == 0


def test_the_script_that_is_named_statistics_hides_no_other(tmp_path):
    """Python looks beside the script first, so all that a benchmark imports meets it."""
    script = tmp_path / "asks.py"
    script.write_text("import random, statistics\nprint(statistics.median([3, 1, 2]))")
    (tmp_path / "statistics.py").write_bytes((BENCHMARKS / "statistics.py").read_bytes())
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert ran.stdout == "2\n"


def test_the_script_that_is_named_statistics_is_the_command():
    command = [sys.executable, BENCHMARKS / "statistics.py", "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(option in ran.stdout for option in ("--evidently", "--pandera", "--large"))
