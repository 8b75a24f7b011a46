"""The sets of pictures that the benchmarks draw from, each as it is published.

    digits    8 x 8 scans, 1,797 rows, ships with scikit-learn (CC BY 4.0)
    fashion   Fashion-MNIST, 28 x 28, 70,000 rows (MIT), Debian's package dataset-fashion-mnist
    cifar10   32 x 32 in colour, from `--data`: Parquet with `image` and `label`, as JPEG
    mnist     28 x 28, 70,000 rows, from `--data`: the four idx files of the original

A set that is not on this machine is left out by :func:`available`, never replaced.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

FASHION = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """One set: pixels (n, C, H, W) uint8 and labels (n,) in range(classes); `codec` png or jpeg."""

    name: str
    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    codec: str

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(self.labels.max()) + 1

    def only(self, rows: npt.NDArray[np.int64]) -> Pictures:
        """Some of the rows, in this order."""
        return Pictures(
            name=self.name, pixels=self.pixels[rows], labels=self.labels[rows], codec=self.codec
        )


def available(data: Path | None = None) -> list[str]:
    """The names of the sets that are on this machine."""
    there = {"digits": True, "fashion": FASHION.is_dir()}
    there["cifar10"] = data is not None and any(data.rglob("train*.parquet"))
    there["mnist"] = data is not None and any(data.rglob("train-images*idx3-ubyte*"))
    return [name for name, found in there.items() if found]


@lru_cache(maxsize=2)
def load(name: str, data: Path | None = None) -> Pictures:
    """Read one of the sets; `data` is where those lie that no package brings."""
    match name:
        case "digits":
            return _digits()
        case "fashion":
            pixels, labels = _idx(FASHION)
        case "mnist" if data:
            pixels, labels = _idx(next(data.rglob("train-images*idx3-ubyte*")).parent)
        case "cifar10" if data:
            return _parquet(name, next(data.rglob("train*.parquet")))
        case _:
            raise SystemExit(f"{name}: not on this machine; available: {available(data)}")
    return Pictures(name=name, pixels=pixels, labels=labels, codec="png")


def balanced(pictures: Pictures, rows: int, rng: np.random.Generator) -> Pictures:
    """A random subsample with as many rows of each class, as far as there are."""
    each = rows // pictures.classes
    chosen = [
        rng.permutation(np.flatnonzero(pictures.labels == label))[:each]
        for label in range(pictures.classes)
    ]
    return pictures.only(rng.permutation(np.concatenate(chosen)))


def _digits() -> Pictures:
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)[:, None]
    return Pictures(name="digits", pixels=pixels, labels=found.target.astype(np.int64), codec="png")


def _idx(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """All rows of the four files of an MNIST-like set, the training rows first."""
    pixels, labels = [], []
    for part in ("train", "t10k"):
        images = _unpacked(next(folder.glob(f"{part}-images*")))
        pixels.append(np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28))
        named = _unpacked(next(folder.glob(f"{part}-labels*")))
        labels.append(np.frombuffer(named, np.uint8, offset=8))
    return np.concatenate(pixels), np.concatenate(labels).astype(np.int64)


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _parquet(name: str, path: Path) -> Pictures:
    from PIL import Image

    frame = pl.read_parquet(path)
    stored = frame["image"].struct.field("bytes").to_list()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in stored])
    codes = frame["label"].cast(pl.String).cast(pl.Categorical).to_physical().to_numpy()
    return Pictures(
        name=name,
        pixels=np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)),
        labels=codes.astype(np.int64),
        codec="jpeg",
    )
