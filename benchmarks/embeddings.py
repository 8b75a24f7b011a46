"""Which label-free space? One table for all candidates: what each sees, and what it does not.

    python benchmarks/embeddings.py --data DIR --sets fashion cifar10 --rows 5000 --seeds 0 1

Every set is subsampled, every attack planted in it (all rows stored by one codec, JPEG where the
set is), and every candidate embeds the result with the planted rows in place. Printed as JSON
lines, and at the end as a Markdown table: neighbour accuracy on clean rows, clean rows with hardly
a neighbour of their label, and for each attack the same share of the planted rows and the AUROC of
1 - share. For a space that must not see a trigger, high is good; for the one that must, low is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sets
import torch
from torch.nn.functional import adaptive_avg_pool2d, conv2d, max_pool2d, relu

from guards.data import embedding
from guards.data.image_features import INCONSISTENT, NEIGHBOURS
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
Pixels = npt.NDArray[np.uint8]
Space = Callable[[Pixels, str], torch.Tensor]


def main() -> None:
    """Every set, seed, attack and candidate that is asked for."""
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    lines = []
    for name in asked.sets:
        whole = sets.load(name, asked.data)
        for seed in asked.seeds:
            for attack in asked.attacks:
                for line in _runs(whole, attack, seed, asked):
                    print(json.dumps(line), flush=True)
                    lines.append(line)
    print(table(lines))


def _runs(
    whole: sets.Pictures, attack: str, seed: int, asked: argparse.Namespace
) -> list[dict[str, Any]]:
    """One line a candidate, all on the same planted rows."""
    part = sets.balanced(whole, asked.rows, np.random.default_rng([seed, 1]))
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
        print(json.dumps({"set": part.name, "attack": attack, "left out": str(error)}))
        return []
    wrong, lines = planted.planted, []
    for candidate in asked.candidates:
        started = time.perf_counter()
        points = CANDIDATES[candidate](planted.pixels, asked.device)
        seconds = time.perf_counter() - started
        near = nearest(points, NEIGHBOURS)
        share, looks, _ = agreement(near, planted.labels, part.classes)
        lines.append(
            {
                "set": part.name,
                "rows": len(wrong),
                "seed": seed,
                "attack": attack,
                "rate": ATTACKS[attack],
                "candidate": candidate,
                "accuracy": round(float((looks == planted.labels)[~wrong].mean()), 4),
                "clean_inconsistent": round(float((share < INCONSISTENT)[~wrong].mean()), 4),
                "planted_inconsistent": round(float((share < INCONSISTENT)[wrong].mean()), 4),
                "auroc": round(area_under_curve(-share, wrong), 4),
                "seconds": round(seconds, 2),
                "device": asked.device,
            }
        )
    return lines


def table(lines: list[dict[str, Any]]) -> str:
    """Means over seeds; a column an attack: planted rows inconsistent, and AUROC."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        groups[line["set"], line["candidate"]].append(line)
    attacks = list(dict.fromkeys(line["attack"] for line in lines))
    head = ["set", "candidate", "accuracy", "clean inconsistent", *attacks, "seconds"]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (name, candidate), mine in groups.items():
        cells = [name, candidate, _mean(mine, "accuracy"), _mean(mine, "clean_inconsistent")]
        for attack in attacks:
            of = [line for line in mine if line["attack"] == attack]
            both = (_mean(of, "planted_inconsistent"), _mean(of, "auroc"))
            cells.append(" / ".join(both) if of else "-")
        out.append("| " + " | ".join([*cells, _mean(mine, "seconds")]) + " |")
    return "\n".join(out)


def _mean(lines: list[dict[str, Any]], key: str) -> str:
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
    "embed": lambda p, d: torch.as_tensor(embedding.embed(p, d), device=d),
    "embed_patches": lambda p, d: torch.as_tensor(embedding.embed_patches(p, 0, d), device=d),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="where sets lie that no package brings")
    parser.add_argument("--sets", nargs="+", default=["digits", "fashion"])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS), choices=list(ATTACKS))
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES))
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
