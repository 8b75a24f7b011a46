"""The sensor: sees what has landed whole, once, and tells why it waits for the rest."""

from __future__ import annotations

import os
import shutil

import dagster as dg
import pytest

from guards.integrations.dagster import landing_sensor
from guards.integrations.dagster.landing import PATIENCE_NS, evaluate, look, waits_for
from guards.publish import manifest_path

FIRST = "2013-01"


def tick(world, cursor=None):
    """One evaluation by Dagster itself."""
    sensor = landing_sensor("judge_batch", world.plan.batches)
    context = dg.build_sensor_context(
        instance=world.instance, cursor=cursor, resources={"toadstone": world.toadstone}
    )
    return sensor(context)


def requested(result):
    return [request.partition_key for request in result.run_requests or []]


def test_every_batch_that_has_landed_is_registered_and_run(world):
    result = tick(world)
    keys = ["2013-01", "2013-02", "2013-03"]
    assert requested(result) == keys
    [request] = result.dynamic_partitions_requests
    assert (request.partitions_def_name, list(request.partition_keys)) == ("batches", keys)


def test_a_batch_is_asked_for_once(world):
    again = tick(world, tick(world).cursor)
    assert requested(again) == []
    assert "nothing new" in again.skip_reason.skip_message


def test_a_batch_that_changed_is_asked_for_again(world):
    first = tick(world)
    world.land(FIRST, world.flights(FIRST).head(300), version=2)
    again = tick(world, first.cursor)
    assert requested(again) == [FIRST]
    assert again.run_requests[0].run_key != first.run_requests[0].run_key


def test_a_batch_swapped_under_its_old_sizes_and_times_is_seen(world):
    first = tick(world)
    path = world.batch() / "part-0.parquet"
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert requested(tick(world, first.cursor)) == [FIRST]


def test_a_batch_without_its_manifest_has_not_landed(world):
    shutil.rmtree(world.home / "landing")
    world.batch().mkdir(parents=True)
    (world.batch() / "part-0.parquet").write_bytes(b"PAR1")
    result = tick(world)
    assert requested(result) == []
    assert "no 2013-01.manifest.json yet" in result.skip_reason.skip_message


@pytest.mark.parametrize("how", ["missing", "short", "extra"])
def test_a_batch_whose_files_are_still_coming_waits(world, how):
    whole = world.batch() / "part-0.parquet"
    data = whole.read_bytes()
    target = world.batch() / "part-1.parquet" if how == "extra" else whole
    whole.unlink() if how == "missing" else target.write_bytes(data[: len(data) // 2])
    landed = look(world.batch())
    assert "not yet" in waits_for(landed, landed.newest + 1)
    assert waits_for(landed, landed.newest + PATIENCE_NS) == ""


def test_a_batch_that_stays_short_is_judged_and_told(world):
    path = world.batch() / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    later = look(world.batch()).newest + PATIENCE_NS
    result = evaluate(world.deployment, world.plan.batches, None, later)
    assert FIRST in requested(result)
    verdict = world.metadata(world.judge(), "verdict")
    assert "shorter than what was signed" in verdict["reasons"][0]


def test_a_broken_manifest_is_judged_and_not_waited_for(world):
    manifest_path(world.batch()).write_bytes(b"{}")
    assert FIRST in requested(tick(world))
    assert world.metadata(world.judge(), "verdict")["decision"] == "BLOCK"


@pytest.mark.parametrize("name", ["Upper", "a,b", "a b", "-x", "x.", "x" * 101])
def test_a_name_that_is_no_partition_key_is_told(world, name):
    shutil.rmtree(world.home / "landing")
    shutil.copytree(world.home / "trust", world.home / "landing" / name)
    result = tick(world)
    assert requested(result) == []
    assert "its name must be" in result.skip_reason.skip_message


def test_links_and_hidden_directories_are_not_batches(world):
    (world.home / "landing" / "linked").symlink_to(world.home / "keys")
    (world.home / "landing" / ".hidden").mkdir()
    assert requested(tick(world)) == ["2013-01", "2013-02", "2013-03"]


def test_an_absent_landing_directory_is_nothing_new(world):
    shutil.rmtree(world.home / "landing")
    assert "nothing new" in tick(world).skip_reason.skip_message


def test_a_tick_asks_for_so_many_and_the_next_for_the_rest(world, monkeypatch):
    monkeypatch.setattr("guards.integrations.dagster.landing.PER_TICK", 2)
    first = tick(world)
    assert requested(first) == ["2013-01", "2013-02"]
    assert requested(tick(world, first.cursor)) == ["2013-03"]
