"""The user's own model in the place of our probe: weights that cannot run code, named layers.

Weights come as safetensors and never as a pickle, which would run what it likes when opened. The
architecture is a callable of the verifier's own Python environment, named `package.module:callable`
and called without arguments, or with `classes` where it asks for that; the weights have to fit it
exactly. Layers are named as `named_modules()` names them and read by forward hooks; when none is
named it is what enters the last linear layer.

Pictures are scaled to [0, 1]. The metadata of the safetensors file, or the verifier's policy, may
say more: `size` (a side or height, width), `mean`, `std`, `classes`, as JSON.

A model steers what the detectors see: :mod:`guards.inputs` decides whether it is vouched for.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.digest import Digest, digest_json
from guards.errors import Malformed, UsageError
from guards.text import printable

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

KEYS = frozenset({"architecture", "layers", "size", "mean", "std", "classes"})
WIDEST = 4096  # features of one layer; a wider picture of them is averaged
BATCH = 128
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """How weights become a network, and what is read from it.

    `size` is (height, width), or None for the pictures' own; `mean` and `std` are per channel, of
    pictures in [0, 1]; `classes` is None where nobody said.
    """

    architecture: str
    layers: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    classes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A network with its weights, on the CPU and in evaluation mode, and what it was made from.

    `weights` is the digest of the file, `code` that of the module that defines the architecture,
    None where that has no source.
    """

    net: nn.Module
    blueprint: Blueprint
    weights: Digest
    code: Digest | None

    @property
    def digest(self) -> Digest:
        """Names everything by which this model steers a detector."""
        plan = self.blueprint
        return digest_json(
            {
                "weights": str(self.weights),
                "code": str(self.code),
                **{key: getattr(plan, key) for key in sorted(KEYS)},
            }
        )


def build(data: bytes, where: str, said: Mapping[str, Any]) -> Model:
    """Make the model from the bytes of a safetensors file.

    Args:
        data: the whole file.
        where: what to call it in a message.
        said: the keys of `KEYS` that the verifier gave; they go before the file's own metadata.

    Raises:
        Malformed: the bytes are no safetensors file.
        UsageError: there is no such architecture or layer, or the weights do not fit.
    """
    tensors, metadata = _opened(data, where)
    plan = parse_blueprint({**metadata, **said}, where)
    net, code = _architecture(plan)
    try:
        net.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise UsageError(
            f"model {where}: its weights do not fit {plan.architecture}: "
            f"{printable(str(error))[:600]}; give the architecture that they were trained in"
        ) from error
    names = {name for name, _ in net.named_modules() if name}
    if missing := [name for name in plan.layers if name not in names]:
        raise UsageError(
            f"model {where}: {plan.architecture} has no layer {', '.join(missing)}; "
            f"it has {', '.join(sorted(names))[:1500]}"
        )
    if not plan.layers:
        _last_linear(net, plan)
    return Model(net=net.eval(), blueprint=plan, weights=Digest.of(data), code=code)


def parse_blueprint(said: Mapping[str, Any], where: str) -> Blueprint:
    """Read what a policy, the options or a file's metadata say of a model; strict."""
    if unknown := said.keys() - KEYS:
        raise UsageError(f"model {where}: unknown {sorted(unknown)}; known: {sorted(KEYS)}")
    name = said.get("architecture")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"model {where}: its architecture is {printable(str(name))[:200]!r}; give "
            "--architecture package.module:callable"
        )
    try:
        size = said.get("size")
        height, width = (size, size) if isinstance(size, int) else size or (0, 0)
        plan = Blueprint(
            architecture=name,
            layers=tuple(dict.fromkeys(map(str, said.get("layers", ())))),
            size=(int(height), int(width)) if size else None,
            mean=tuple(map(float, said.get("mean", (0.0,)))),
            std=tuple(map(float, said.get("std", (1.0,)))),
            classes=None if said.get("classes") is None else int(said["classes"]),
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"model {where}: size, mean, std or classes: {error}") from error
    if not np.isfinite(plan.mean).all() or not all(0 < each < np.inf for each in plan.std):
        raise UsageError(f"model {where}: mean must be finite and std above 0")
    if plan.size is not None and not all(1 <= side <= 1024 for side in plan.size):
        raise UsageError(f"model {where}: size must be 1 to 1024 pixels a side")
    return plan


def activations(
    model: Model, pixels: npt.NDArray[np.uint8], device: str = "cpu"
) -> tuple[npt.NDArray[np.float16], ...]:
    """What every named layer makes of pictures (n, C, H, W): (n, d_i) float16, d_i <= WIDEST.

    A layer's maps are averaged over 2 x 2 cells (or the whole), tokens over all tokens, and each
    layer divided by its root mean square, which nothing downstream sees and float16 needs.
    """
    import torch

    net = model.net.to(device)
    rows: list[list[Tensor]] = []
    with _listening(net, model.blueprint) as heard, torch.no_grad():
        for start in range(0, len(pixels), BATCH):
            heard.clear()
            _forward(net, _prepared(pixels[start : start + BATCH], model.blueprint, device), model)
            names = model.blueprint.layers or ("",)
            if silent := [name for name in names if name not in heard]:
                raise UsageError(f"model: layer {', '.join(silent)} took no part; name another one")
            rows.append([_flat(heard[name]) for name in names])
    return tuple(_half(torch.cat(layer)) for layer in zip(*rows, strict=True))


def _opened(data: bytes, where: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata that say something to us; a pickle is told as what it is."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError as error:
        raise UsageError(f"model {where}: needs safetensors: pip install safetensors") from error
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, OverflowError) as error:
        if data[:4] == b"PK\x03\x04" or (data[:1] == b"\x80" and data[1:2] in b"\2\3\4\5"):
            raise Malformed(
                "is a pickle, which can run code when it is opened; write the weights with "
                "safetensors.torch.save_file",
                f"model {where}",
            ) from error
        raise Malformed(f"no safetensors file: {printable(str(error))[:200]}", where) from error
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found: dict[str, Any] = {}
    for key, text in header.get("__metadata__", {}).items():
        if key in KEYS - {"architecture", "layers"}:  # what is run, and read, is not the file's say
            try:
                found[key] = json.loads(text)
            except ValueError as error:
                raise Malformed(f"metadata {key} is no JSON", f"model {where}") from error
    return tensors, found


def _architecture(plan: Blueprint) -> tuple[nn.Module, Digest | None]:
    from torch import nn

    module_name, _, attribute = plan.architecture.partition(":")
    try:
        module = importlib.import_module(module_name)
        make: Callable[..., object] = getattr(module, attribute)
        made = make(**_arguments(make, plan))
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"architecture {plan.architecture}: {type(error).__name__}: {printable(str(error))}; "
            "it must be importable (PYTHONPATH) and callable without arguments, or with classes"
        ) from error
    if not isinstance(made, nn.Module):
        raise UsageError(
            f"architecture {plan.architecture}: gives a {type(made).__name__}, not "
            "a torch.nn.Module"
        )
    source = getattr(sys.modules[module_name], "__file__", None)
    code = Digest.of(Path(source).read_bytes()) if source and Path(source).is_file() else None
    return made, code


def _arguments(make: Callable[..., object], plan: Blueprint) -> dict[str, int]:
    """Nothing, or `classes` where the callable asks for it."""
    asked = inspect.signature(make).parameters
    if "classes" not in asked:
        return {}
    if plan.classes is not None:
        return {"classes": plan.classes}
    if asked["classes"].default is inspect.Parameter.empty:
        raise UsageError(
            f"architecture {plan.architecture}: asks for classes; write `classes` in the metadata "
            "of the safetensors file, or under [model] in the policy"
        )
    return {}


def _last_linear(net: nn.Module, plan: Blueprint) -> nn.Module:
    from torch import nn

    linear = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        names = ", ".join(name for name, _ in net.named_modules() if name)
        raise UsageError(
            f"architecture {plan.architecture}: has no linear layer; name what is to be looked at "
            f"by --layer: {names[:1500]}"
        )
    return linear[-1]


@contextmanager
def _listening(net: nn.Module, plan: Blueprint) -> Iterator[dict[str, Tensor]]:
    """Hear the named layers, or under the name "" what enters the last linear one."""
    heard: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda layer, given, made: heard.update({name: _tensor(made, name)})

    modules = dict(net.named_modules())
    hooks = [modules[name].register_forward_hook(keep(name)) for name in plan.layers]
    if not plan.layers:
        hooks.append(
            _last_linear(net, plan).register_forward_pre_hook(
                lambda layer, given: heard.update({"": _tensor(given, "")})
            )
        )
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


def _tensor(made: object, name: str) -> Tensor:
    """A layer's output; of several tensors the first."""
    import torch

    if isinstance(made, tuple | list) and made:
        made = made[0]
    if not isinstance(made, torch.Tensor) or made.dim() < 2:
        raise UsageError(f"model: layer {name} gives no tensor of rows; name another one")
    return made


def _prepared(pixels: npt.NDArray[np.uint8], plan: Blueprint, device: str) -> Tensor:
    import torch
    from torch.nn.functional import interpolate

    given = torch.as_tensor(pixels, device=device).float() / 255
    if plan.size is not None and plan.size != tuple(given.shape[2:]):
        given = interpolate(given, plan.size, mode="bilinear", antialias=True, align_corners=False)
    mean, std = (torch.tensor(each, device=device)[:, None, None] for each in (plan.mean, plan.std))
    if given.shape[1] == 1 and len(plan.mean) == 3:
        given = given.expand(-1, 3, -1, -1)
    scaled: Tensor = (given - mean) / std
    return scaled


def _forward(net: nn.Module, inputs: Tensor, model: Model) -> None:
    try:
        net(inputs)
    except RuntimeError as error:
        raise UsageError(
            f"model {model.blueprint.architecture}: takes no pictures of "
            f"{' x '.join(map(str, inputs.shape[1:]))}: {printable(str(error))[:300]}; say size, "
            "mean and std (three of them for a model in colour) in the policy under [model]"
        ) from error


def _flat(made: Tensor) -> Tensor:
    """(n, d): maps averaged over cells, tokens over all, whatever is wider cut in equal means."""
    from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d

    made = made.detach().float()
    if made.dim() == 4:
        made = adaptive_avg_pool2d(made, 2 if made.shape[1] * 4 <= WIDEST else 1)
    elif made.dim() == 3:
        made = made.mean(1)
    flat = made.flatten(1)
    return flat if flat.shape[1] <= WIDEST else adaptive_avg_pool1d(flat[None], WIDEST)[0]


def _half(layer: Tensor) -> npt.NDArray[np.float16]:
    scale = layer.double().square().mean().sqrt().clamp(min=1e-12)
    if not bool(scale.isfinite()):
        raise UsageError("model: its activations are not finite; look at its weights and `std`")
    halved: npt.NDArray[np.float16] = (layer / scale.float()).half().cpu().numpy()
    return halved
