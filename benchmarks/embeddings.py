"""Which label-free space? One table for all candidates: what each sees, and what it does not.

    python benchmarks/embeddings.py --data DIR --sets fashion cifar10 --seeds 3 --out F.jsonl
    python benchmarks/embeddings.py --table F.jsonl

Every set is subsampled, every attack planted in it (all rows stored by one codec, JPEG where the
set is), and every candidate embeds the result with the planted rows in place. The table gives
neighbour accuracy on clean rows, clean rows with hardly a neighbour of their label, and for each
attack the same share of the planted rows and the AUROC of 1 - share. For a space that must not see
a trigger, high is good; for the one that must, low is. *marks apart*: no row is vouched for by
those that are most like it in `embed_patches`.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import runs
import sets
import torch
from torch.nn.functional import adaptive_avg_pool2d, conv2d, max_pool2d, relu

from guards.data import embedding, pretrained
from guards.data.image_features import INCONSISTENT
from guards.errors import UsageError
from guards.numerics.discriminant import area_under_curve
from guards.numerics.neighbours import agreement, nearest
from guards.redteam.arrays import plant

ATTACKS = {
    "patch": 0.01,
    "blend": 0.01,
    "wanet": 0.05,
    "tact": 0.01,
    "all-to-all": 0.05,
    "sig": 0.05,
    "flip-pair": 0.01,
}
# Ends the name of a candidate whose neighbours are never rows of the same mark.
APART = ", marks apart"
Pixels = npt.NDArray[np.uint8]
Space = Callable[[Pixels, str], torch.Tensor]


def main() -> None:
    """Every set, seed, attack and candidate that is asked for."""
    runs.carry_out(_parser(), cases, table)


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], runs.Line]]]:
    """One attack on one drawn part of one set, seen by all candidates."""
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for name in given.sets:
            for attack in given.attacks:
                key = f"{name}/{given.rows}/{attack}/{seed}"
                yield key, partial(_seen, name, attack, seed, given)


def _seen(name: str, attack: str, seed: int, given: argparse.Namespace) -> runs.Line:
    """What each candidate makes of the same planted rows."""
    whole = sets.load(name, given.data)
    part = sets.balanced(whole, given.rows, np.random.default_rng([seed, 1]))
    line = {"set": name, "rows": len(part.labels), "seed": seed, "attack": attack}
    try:
        planted = plant(
            part.pixels,
            part.labels,
            part.classes,
            attack,
            ATTACKS[attack],
            seed=seed,
            codec=part.codec,
        )
    except UsageError as error:
        return {**line, "left_out": str(error), "candidates": {}}
    device, found = given.device, {}
    marks = torch.as_tensor(embedding.embed_patches(planted.pixels, 0, device), device=device)
    for candidate in given.candidates:
        started = time.perf_counter()
        points = CANDIDATES[candidate.removesuffix(APART)](planted.pixels, device)
        seconds = time.perf_counter() - started
        near = nearest(
            points, embedding.NEIGHBOURS, marks=marks if candidate.endswith(APART) else None
        )
        share, looks, _ = agreement(near, planted.labels, part.classes)
        wrong = planted.planted
        found[candidate] = {
            "accuracy": round(float((looks == planted.labels)[~wrong].mean()), 4),
            "clean_inconsistent": round(float((share < INCONSISTENT)[~wrong].mean()), 4),
            "planted_inconsistent": round(float((share < INCONSISTENT)[wrong].mean()), 4),
            "auroc": round(area_under_curve(-share, wrong), 4),
            "seconds": round(seconds, 2),
        }
    return {**line, "rate": ATTACKS[attack], "candidates": found}


def table(lines: list[runs.Line]) -> str:
    """Means over seeds; a column an attack: planted rows inconsistent, and AUROC."""
    groups: dict[tuple[str, str], list[tuple[str, dict[str, float]]]] = defaultdict(list)
    for line in lines:
        for candidate, found in line["candidates"].items():
            groups[line["set"], candidate].append((line["attack"], found))
    attacks = list(dict.fromkeys(line["attack"] for line in lines if line["candidates"]))
    head = ["set", "candidate", "accuracy", "clean inconsistent", *attacks, "seconds"]
    rows = []
    for (name, candidate), mine in groups.items():
        all_of = [found for _, found in mine]
        cells = [name, candidate, _mean(all_of, "accuracy"), _mean(all_of, "clean_inconsistent")]
        for attack in attacks:
            of = [found for at, found in mine if at == attack]
            both = (_mean(of, "planted_inconsistent"), _mean(of, "auroc"))
            cells.append(" / ".join(both) if of else "-")
        rows.append([*cells, _mean(all_of, "seconds")])
    return runs.table(head, rows)


def _mean(lines: list[dict[str, float]], key: str) -> str:
    return f"{np.mean([line[key] for line in lines]):.3f}" if lines else "-"


def _each(
    pixels: Pixels, device: str, change: Callable[[torch.Tensor], torch.Tensor], side: int = 28
) -> torch.Tensor:
    return torch.cat([change(part).flatten(1) for part in embedding.parts(pixels, side, device)])


def _plain(features: torch.Tensor) -> torch.Tensor:
    """Principal components that keep their spread."""
    flat = (features - features.mean(0)).double()
    _, vectors = torch.linalg.eigh(flat.T @ flat)
    return (flat @ vectors[:, -embedding.COMPONENTS :]).float()


def _random_net(part: torch.Tensor) -> torch.Tensor:
    """Three layers of random 3 x 3 filters, the same in every part."""
    draw = torch.Generator().manual_seed(0)
    for width in (32, 64, 64):
        shape = (width, part.shape[1], 3, 3)
        filters = torch.randn(shape, generator=draw).to(part.device)
        part = relu(conv2d(part, filters / (9 * part.shape[1]) ** 0.5, padding=1))
        part = max_pool2d(part, 2)
    return part


def _frequencies(part: torch.Tensor) -> torch.Tensor:
    """The 8 x 8 lowest frequencies of the cosine transform, but for the mean, of length 1."""
    lines = []
    for side in part.shape[2:]:
        places = (torch.arange(side, device=part.device) + 0.5) / side
        waves = torch.arange(8, device=part.device)[:, None]
        lines.append(torch.cos(torch.pi * waves * places) / side**0.5)
    low = (lines[0] @ part @ lines[1].T).flatten(1)[:, 1:]
    return torch.nn.functional.normalize(low, dim=1)


def _gradients(part: torch.Tensor) -> torch.Tensor:
    return embedding._oriented(part)


def _pretrained(pixels: Pixels, device: str) -> torch.Tensor:
    seen = pretrained.look(pixels, device)
    if seen is None:
        raise SystemExit("pretrained: install the extra `images`")
    return embedding.components(seen)


CANDIDATES: dict[str, Space] = {
    "raw pixels": lambda p, d: _plain(_each(p, d, lambda x: x)),
    "random net": lambda p, d: _plain(_each(p, d, _random_net)),
    "frequencies": lambda p, d: embedding.components(_each(p, d, _frequencies)),
    "layout": lambda p, d: embedding.components(_each(p, d, lambda x: adaptive_avg_pool2d(x, 14))),
    "medians": lambda p, d: _plain(_each(p, d, embedding._blunt)),
    "medians, half whitened": lambda p, d: embedding.components(_each(p, d, embedding._blunt)),
    "gradients": lambda p, d: embedding.components(_each(p, d, _gradients)),
    "gradients, blurred": lambda p, d: embedding.components(
        _each(p, d, lambda x: _gradients(embedding._blurred(x)))
    ),
    "pretrained": _pretrained,
    "embed": lambda p, d: torch.as_tensor(embedding.embed(p, d), device=d),
    "embed, pretrained": lambda p, d: torch.cat(
        [torch.as_tensor(embedding.embed(p, d), device=d), _pretrained(p, d)], 1
    ),
    "embed_patches": lambda p, d: torch.as_tensor(embedding.embed_patches(p, 0, d), device=d),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs.options(parser)
    names = [*CANDIDATES, "embed" + APART, "pretrained" + APART, "embed, pretrained" + APART]
    parser.add_argument("--sets", nargs="+", default=["digits", "fashion"])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS), choices=list(ATTACKS))
    parser.add_argument("--candidates", nargs="+", default=names, choices=names)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=100)
    return parser


if __name__ == "__main__":
    main()
