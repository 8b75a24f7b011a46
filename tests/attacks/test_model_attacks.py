"""Whoever can swap the model can choose what the detectors see, so nobody may."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from guards.checks import run
from guards.cli import main
from guards.data.case import Case
from guards.digest import Digest
from guards.errors import Malformed, Untrusted, UsageError
from guards.inputs import AskedModel, load_model
from guards.provenance.snapshot import Entry, Snapshot
from guards.verdict import Policy, load_policy

NET = "toad_victim:make"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A safetensors file beside the policy, its architecture importable."""
    (tmp_path / "toad_victim.py").write_text(
        "from torch import nn\n"
        "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
        "def twin():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toad_victim", raising=False)
    torch.manual_seed(0)
    path = tmp_path / "mine.safetensors"
    path.write_bytes(save(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).state_dict()))
    return path


def pinned(weights: Path, **model: object) -> Policy:
    """A policy that pins these weights, and says how they become a network."""
    return Policy(
        name="p",
        rules=("a",),
        required=(),
        pins={"model": str(Digest.of(weights.read_bytes()))},
        files={"model": str(weights)},
        model={"architecture": NET, **model},
    )


BARE = Policy(name="p", rules=("a",), required=())
ASKED = AskedModel(architecture=NET)


def test_a_pinned_model_is_taken_whether_asked_for_or_not(weights, trust):
    policy = pinned(weights)
    one = load_model(AskedModel(), policy, trust)
    two = load_model(AskedModel(weights=weights, architecture=NET), policy, trust)
    assert one is not None
    assert two is not None
    assert one.digest == two.digest


def test_without_trust_a_model_is_taken_as_it_comes(weights):
    assert load_model(replace(ASKED, weights=weights), BARE, None)
    assert load_model(AskedModel(), BARE, None) is None


def test_an_unpinned_model_is_refused_once_there_is_trust(weights, trust):
    with pytest.raises(Untrusted, match="does not pin sha256:"):
        load_model(replace(ASKED, weights=weights), BARE, trust)
    with pytest.raises(Untrusted, match="the policy pins none"):
        load_model(AskedModel(), replace(pinned(weights), pins={}), trust)


@pytest.mark.parametrize("asked", [True, False])
def test_swapped_weights_are_refused(weights, trust, asked):
    policy = pinned(weights)
    weights.write_bytes(save({"1.weight": torch.zeros(3, 64), "1.bias": torch.zeros(3)}))
    with pytest.raises(Untrusted, match="pin"):
        load_model(AskedModel(weights=weights if asked else None), policy, trust)


def test_swapped_weights_elsewhere_are_refused(weights, trust, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(save({"1.weight": torch.zeros(3, 64), "1.bias": torch.zeros(3)}))
    with pytest.raises(Untrusted, match="does not pin"):
        load_model(AskedModel(weights=other), pinned(weights), trust)


@pytest.mark.parametrize("said", [{"architecture": "toad_victim:twin"}, {"layers": ("0",)}])
def test_another_architecture_or_layer_than_the_policys_is_refused(weights, trust, said):
    asked = AskedModel(weights=weights, **said)
    with pytest.raises(Untrusted, match=r"\[model\] does not say this"):
        load_model(asked, pinned(weights), trust)
    assert load_model(asked, pinned(weights), None), "only a scan that no gate admits"


def test_a_pickle_renamed_is_refused_though_it_is_pinned(weights, trust):
    weights.write_bytes(pickle.dumps({"1.bias": [0.0]}))
    with pytest.raises(Malformed, match="is a pickle"):
        load_model(AskedModel(), pinned(weights), trust)


def test_what_is_said_of_a_model_is_part_of_the_policys_digest(weights):
    one, two = pinned(weights), pinned(weights, layers=["0"])
    assert one.digest != two.digest
    assert replace(one, files={}).digest == one.digest


def test_half_a_request_is_told(weights, tmp_path):
    with pytest.raises(UsageError, match="need --model"):
        load_model(ASKED, BARE, None)
    with pytest.raises(UsageError, match="No such file"):
        load_model(AskedModel(weights=tmp_path / "absent"), BARE, None)
    with pytest.raises(UsageError, match=r"\[model\] needs"):
        load_model(AskedModel(), replace(BARE, model={"architecture": NET}), None)


def test_a_policy_may_pin_a_model_and_misspell_nothing(weights, tmp_path):
    path = tmp_path / "mine.toml"
    digest = Digest.of(weights.read_bytes())
    text = f"""
        rules = ["quality"]
        required = []
        admits = false
        pins = {{ model = "{digest}" }}
        files = {{ model = "{weights.name}" }}
        model = {{ architecture = "{NET}", layer = ["0"] }}
    """
    path.write_text(text)
    with pytest.raises(UsageError, match=r"unknown \['layer'\]"):
        load_model(AskedModel(), load_policy(path), None)
    path.write_text(text.replace("layer =", "layers ="))
    model = load_model(AskedModel(), load_policy(path), None)
    assert model is not None
    assert model.blueprint.layers == ("0",)


def test_an_examination_names_the_model_that_steered_it(weights):
    model = load_model(AskedModel(weights=weights, architecture=NET), BARE, None)
    assert model is not None
    snapshot = Snapshot(files=(Entry(path="a", size=1, digest=Digest.of(b"a")),))
    case = Case(snapshot=snapshot, model=model)
    assert run("spectral", case).inputs["model"] == str(model.digest)
    assert "model" not in run("quality", case).inputs


def test_the_command_line_refuses_it_before_it_looks(weights, spine, capsys):
    out = str(spine.home / "r")
    asked = ["--model", str(weights), "--architecture", NET]
    status = main(["scan", str(spine.batch), "--trust", str(spine.trust_dir), "--out", out, *asked])
    assert status == 12
    assert "does not pin" in capsys.readouterr().err
    assert not (spine.home / "r").exists()
