"""The user's own model: what opens, what fits, what is read, and what is refused, each by name."""

import io
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from guards.data.image_features import from_pixels
from guards.data.model import WIDEST, Blueprint, activations, build, parse_blueprint
from guards.errors import Malformed, UsageError

SOURCE = """
import torch
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
                         nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))

def colour():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

def sized(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

def headless():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.head, self.idle = nn.Linear(8, 6), nn.Linear(6, 2), nn.Linear(2, 2)
    def forward(self, x):
        return self.head(self.encode(x[:, 0]).mean(1))

def broken():
    raise RuntimeError("no luck")

number = 7

def no_module():
    return 7
"""


@pytest.fixture(autouse=True)
def architectures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toad_nets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toad_nets", raising=False)


def weights(name: str, *args: int, metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file of the network of that name, with random weights."""
    import toad_nets

    torch.manual_seed(0)
    return save(getattr(toad_nets, name)(*args).state_dict(), metadata)


def said(name: str, **more: object) -> dict[str, object]:
    return {"architecture": f"toad_nets:{name}", **more}


PIXELS = np.random.default_rng(0).integers(0, 256, (300, 1, 8, 8)).astype(np.uint8)


def test_what_enters_the_last_linear_layer_is_read_unless_a_layer_is_named() -> None:
    model = build(weights("small"), "w", said("small"))
    (last,) = activations(model, PIXELS)
    with torch.no_grad():
        slow = model.net[:6](torch.as_tensor(PIXELS).float() / 255)
    slow = slow / slow.square().mean().sqrt()
    assert last.dtype == np.float16
    np.testing.assert_allclose(last, slow.numpy(), atol=2e-3)


def test_named_layers_come_in_the_order_given_and_maps_are_averaged_over_cells() -> None:
    model = build(weights("small"), "w", said("small", layers=["5", "1"]))
    last, maps = activations(model, PIXELS)
    assert (last.shape, maps.shape) == ((300, 8), (300, 16))
    with torch.no_grad():
        slow = model.net[:3](torch.as_tensor(PIXELS).float() / 255).flatten(1)
    np.testing.assert_allclose(maps, slow / slow.square().mean().sqrt(), atol=2e-3)


def test_tokens_are_averaged_and_nothing_is_wider_than_it_may_be() -> None:
    model = build(weights("Tokens"), "w", said("Tokens", layers=["encode"]))
    assert activations(model, PIXELS)[0].shape == (300, 6)
    wide = np.zeros((2, 1, 80, 80), np.uint8)
    flat = build(weights("headless"), "w", said("headless", layers=["0"]))
    assert activations(flat, wide)[0].shape[1] <= WIDEST


def test_the_metadata_of_the_file_says_how_pictures_are_prepared_and_the_verifier_overrides() -> (
    None
):
    metadata = {"mean": "[0.5]", "std": "[0.25]", "size": "16", "note": "not for us"}
    data = weights("small", metadata=metadata)
    assert build(data, "w", said("small")).blueprint == Blueprint(
        architecture="toad_nets:small", size=(16, 16), mean=(0.5,), std=(0.25,)
    )
    over = build(data, "w", said("small", size=[8, 12], mean=[0.0]))
    assert over.blueprint.size == (8, 12)
    assert over.digest != build(data, "w", said("small")).digest
    assert activations(over, PIXELS)[0].shape == (300, 8)


def test_what_is_run_and_read_is_never_the_files_own_say() -> None:
    data = weights("small", metadata={"architecture": '"os:getcwd"', "layers": '["1"]'})
    plan = build(data, "w", said("small")).blueprint
    assert (plan.architecture, plan.layers) == ("toad_nets:small", ())


def test_classes_are_handed_on_where_they_are_asked_for() -> None:
    data = weights("sized", 5, metadata={"classes": "5"})
    assert build(data, "w", said("sized")).net[1].out_features == 5
    with pytest.raises(UsageError, match="asks for classes"):
        build(weights("sized", 5), "w", said("sized"))


def test_grey_pictures_enter_a_model_in_colour_once_it_says_three_means() -> None:
    three = {"mean": [0.5] * 3, "std": [0.2] * 3}
    model = build(weights("colour"), "w", said("colour", **three))
    assert activations(model, PIXELS)[0].shape == (300, 4)
    with pytest.raises(UsageError, match="takes no pictures of 1 x 8 x 8"):
        activations(build(weights("colour"), "w", said("colour")), PIXELS)


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (said("absent"), "toad_nets:absent: AttributeError"),
        (said("number"), "TypeError"),
        (said("broken"), "no luck"),
        (said("no_module"), "not a torch.nn.Module"),
        ({"architecture": "no_such_package:net"}, "PYTHONPATH"),
        ({"architecture": "../evil.py:net"}, "package.module:callable"),
        ({"architecture": "toad_nets"}, "package.module:callable"),
        ({}, "package.module:callable"),
        (said("colour"), "weights do not fit toad_nets:colour"),
        (said("small", layers=["conv9"]), "no layer conv9; it has 0, 1, 2"),
        (said("small", std=[0]), "std above 0"),
        (said("small", mean=[float("nan")]), "mean must be finite"),
        (said("small", size="wide"), "size, mean, std or classes"),
        (said("small", size=9_999), "1 to 1024"),
        (said("small", sizes=[1]), "unknown"),
    ],
)
def test_what_does_not_fit_says_what_and_where(plan: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("(", r"\(")):
        build(weights("small"), "w", plan)


def test_a_model_without_a_linear_layer_asks_for_a_layer() -> None:
    with pytest.raises(UsageError, match="name what is to be looked at by --layer: 0, 1"):
        build(weights("headless"), "w", said("headless"))


def test_a_layer_that_takes_no_part_is_told() -> None:
    model = build(weights("Tokens"), "w", said("Tokens", layers=["idle"]))
    with pytest.raises(UsageError, match="idle took no part"):
        activations(model, PIXELS)


def test_activations_that_are_no_numbers_are_told() -> None:
    model = build(weights("small"), "w", said("small"))
    with torch.no_grad():
        model.net[4].weight.fill_(float("inf"))
    with pytest.raises(UsageError, match="not finite"):
        activations(model, PIXELS)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was opened",))


def pickles() -> dict[str, bytes]:
    modern, old = io.BytesIO(), io.BytesIO()
    torch.save({"w": Bomb()}, modern)
    torch.save({"w": Bomb()}, old, _use_new_zipfile_serialization=False)
    return {"zip": modern.getvalue(), "old": old.getvalue(), "bare": pickle.dumps(Bomb())}


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
def test_a_pickle_under_another_name_is_refused_and_never_opened(form: str) -> None:
    with pytest.raises(Malformed, match=r"model w\.safetensors: is a pickle"):
        build(pickles()[form], "w.safetensors", said("small"))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 8, b"\xff" * 64, b"not weights", (10**12).to_bytes(8, "little") + b"{}"],
    ids=["empty", "zeros", "ones", "text", "long header"],
)
def test_bytes_that_are_no_safetensors_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed, match="no safetensors file"):
        build(data, "w", said("small"))


def test_a_file_cut_short_and_offsets_that_lie_are_refused() -> None:
    data = weights("small")
    with pytest.raises(Malformed):
        build(data[:-4], "w", said("small"))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    next(iter(header.values()))["data_offsets"] = [0, 10**9]
    lying = json.dumps(header).encode()
    with pytest.raises(Malformed):
        build(len(lying).to_bytes(8, "little") + lying + data[8 + length :], "w", said("small"))


def test_metadata_that_is_no_json_is_refused() -> None:
    with pytest.raises(Malformed, match="metadata mean"):
        build(weights("small", metadata={"mean": "0.5,"}), "w", said("small"))


def test_the_digest_names_weights_code_and_plan(tmp_path: Path) -> None:
    data = weights("small")
    one = build(data, "w", said("small"))
    assert build(data, "elsewhere", said("small")).digest == one.digest
    assert build(data, "w", said("small", layers=["1"])).digest != one.digest
    torch.manual_seed(1)
    other = save({k: v + 1 for k, v in one.net.state_dict().items()})
    assert build(other, "w", said("small")).digest != one.digest
    (tmp_path / "toad_nets.py").write_text(SOURCE + "\n# edited")
    assert build(data, "w", said("small")).digest != one.digest


def test_its_layers_take_the_place_of_the_probes() -> None:
    pixels, labels = PIXELS[:120], np.array(["a", "b", "c"])[np.arange(120) % 3]
    model = build(weights("small"), "w", said("small"))
    features = from_pixels(pixels, labels, seed=1, device="cpu", model=model)
    np.testing.assert_array_equal(features.layers[0], activations(model, pixels)[0])
    assert len(features.layers) == 1
    assert features.structure.spectral.statistic.shape == (3,)


def test_a_blueprint_is_parsed_once_and_plainly() -> None:
    plan = parse_blueprint(said("small", layers=["a", "a", "b"], size=[4, 5], classes=3), "w")
    assert (plan.layers, plan.size, plan.classes) == (("a", "b"), (4, 5), 3)
