"""The deployment of this repository: it loads both ways, quietly, and shows a page for people."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.load import location_origins_from_yaml_paths

from guards.integrations.dagster import Toadstone
from guards.verdict import load_policy
from pipelines.resources import POLICY, TOADSTONE
from pipelines.ui import prepare

REPOSITORY = Path(__file__).resolve().parents[2]
ASSETS = {"raw", "snapshot", "verdict", "admitted", "training_set", "trained_model"}


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    from pipelines.definitions import defs

    return defs


def test_the_workspace_file_names_the_module_that_pyproject_names():
    [origin] = location_origins_from_yaml_paths([str(REPOSITORY / "workspace.yaml")])
    target = origin.loadable_target_origin
    assert target.module_name == "pipelines.definitions"
    assert target.working_directory == "."
    assert 'module_name = "pipelines.definitions"' in (REPOSITORY / "pyproject.toml").read_text()


@pytest.mark.parametrize("how", [["-w", "workspace.yaml"], []])
def test_dagster_validates_the_definitions(tmp_path, how):
    environment = {**os.environ, "DAGSTER_HOME": str(prepare(tmp_path)), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", *how]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Validation successful" in done.stderr + done.stdout


def test_the_assets_and_their_order(defs):
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == ASSETS
    order = [key.to_user_string() for key in graph.toposorted_asset_keys]
    assert order == ["raw", "snapshot", "verdict", "admitted", "training_set", "trained_model"]


def test_at_most_five_groups(defs):
    graph = defs.resolve_asset_graph()
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert groups == {"landed", "judged", "admitted", "training", "model"}


def test_every_asset_says_what_it_is(defs):
    graph = defs.resolve_asset_graph()
    assert all(graph.get(key).description for key in graph.get_all_asset_keys())


def test_every_rule_of_the_policy_is_a_blocking_check(defs):
    specs = [spec for check in defs.resolve_asset_graph().assets_defs for spec in check.check_specs]
    rules = load_policy(POLICY).rules
    for asset in ("verdict", "training_set"):
        of_asset = [spec for spec in specs if spec.asset_key == dg.AssetKey(asset)]
        assert tuple(spec.name for spec in of_asset) == rules
        assert all(spec.blocking for spec in of_asset)


def test_a_sensor_and_a_schedule_run_by_themselves(defs):
    repository = defs.get_repository_def()
    assert repository.get_sensor_def("new_batches").default_status.value == "RUNNING"
    schedule = repository.get_schedule_def("nightly_training")
    assert schedule.cron_schedule == "0 3 * * *"
    assert schedule.job.name == "train"


def test_the_schedule_asks_for_a_run(defs, tmp_path):
    schedule = defs.get_repository_def().get_schedule_def("nightly_training")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance)
        [request] = schedule.evaluate_tick(context).run_requests
    assert request.job_name in (None, "train")


def test_nothing_is_sent_anywhere_and_no_first_run_page(tmp_path):
    with dg.DagsterInstance.from_config(str(prepare(tmp_path))) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled


def test_somebodys_own_instance_is_left_as_it_is(tmp_path):
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    prepare(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == "telemetry:\n  enabled: false\n"


def test_the_library_does_not_import_dagster():
    command = [sys.executable, "-c", "import guards, sys; print('dagster' in sys.modules)"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_samples_as_they_are_shipped_make_a_model(tmp_path):
    from pipelines.assets import ASSETS

    place = Toadstone(**{**TOADSTONE.model_dump(), "work": str(tmp_path / "work")})
    with dg.DagsterInstance.ephemeral() as instance:

        def run(*selected: str, key: str | None = None) -> dg.ExecuteInProcessResult:
            return dg.materialize(
                ASSETS,
                selection=list(selected),
                resources={"toadstone": place},
                instance=instance,
                partition_key=key,
            )

        for key in ("2013-01", "2013-06"):
            instance.add_dynamic_partitions("batches", [key])
            assert run("raw", "snapshot", "verdict", "admitted", key=key).success
        assert run("training_set", "trained_model").success
    [model] = (tmp_path / "work" / "models").iterdir()
    assert json.loads(model.read_bytes())["metrics"]["rows"] == 12_000
