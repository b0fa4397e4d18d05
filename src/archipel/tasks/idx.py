"""IDX files, the format of MNIST and its successors: `train-images-idx3-ubyte` and so on, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from archipel.errors import DataError
from archipel.tasks.augmentation import Augmentation, Shift
from archipel.tasks.classification import Classification
from archipel.tasks.pixels import classification_of_pixels

__all__ = ["find_idx", "idx", "read_idx"]


def find_idx(root: Path, part: str) -> Path | None:
    """The file of `part` (`"train-images-idx3"`, ...) in `root`, gzipped or not, or None.

    Looks where torchvision puts them too (`root/raw`, `root/MNIST/raw`, `root/FashionMNIST/raw`).
    """
    for folder in ("", "raw", "MNIST/raw", "FashionMNIST/raw"):
        for stem in (part, part.replace("-idx", ".idx")):
            for ending in ("-ubyte", "-ubyte.gz"):
                path = root / folder / f"{stem}{ending}"
                if path.is_file():
                    return path
    return None


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in one IDX file. Raises `DataError` when the file is not what its header says."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"IDX file '{path}' cannot be read: {error}") from error
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise DataError(f"'{path}' is no IDX file of bytes: it begins with 0x{data[:4].hex()}, not 0x000008")
    start = 4 + 4 * data[3]
    shape = tuple(np.frombuffer(data[4:start], dtype=">u4").tolist()) if len(data) >= start else ()
    if len(data) < start or len(data) - start != math.prod(shape):
        raise DataError(
            f"IDX file '{path}' holds {max(len(data) - start, 0)} values where its header says "
            f"{math.prod(shape)}; fetch it again"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def idx(
    name: str,
    root: str | Path,
    *,
    classes: Sequence[str] | None = None,
    augmentation: Sequence[Augmentation] = (Shift(2),),
    images: int | None = None,
    test_images: int | None = None,
    size: int | None = None,
    seed: int = 0,
) -> Classification:
    """Grey images in IDX files in the folder `root`; the `t10k` files, where they are, are the test set.

    `classes` None: the labels' own numbers.
    """
    root = Path(root).expanduser()
    arrays: list[tuple[np.ndarray, np.ndarray]] = []
    for part in ("train", "t10k"):
        paths = [find_idx(root, f"{part}-{kind}") for kind in ("images-idx3", "labels-idx1")]
        if part == "t10k" and paths == [None, None]:
            continue
        for path, kind in zip(paths, ("images-idx3", "labels-idx1")):
            if path is None:
                raise DataError(f"{name} needs the file '{root / f'{part}-{kind}-ubyte'}' (.gz or not)")
        pixels, labels = (read_idx(path) for path in paths if path is not None)
        if pixels.ndim != 3 or labels.ndim != 1 or len(pixels) != len(labels):
            raise DataError(
                f"the IDX files of {name} in '{root}' do not fit: {part} images {pixels.shape}, labels {labels.shape}"
            )
        arrays.append((pixels, labels))
    labels = np.concatenate([array[1] for array in arrays]).astype(np.int64)
    classes = classes or [str(i) for i in range(max(int(labels.max(initial=0)) + 1, 2))]
    if labels.max(initial=0) >= len(classes):
        raise DataError(f"{name} in '{root}' has label {labels.max()}; there are {len(classes)} classes")
    positions = torch.arange(len(labels)).split([len(array[1]) for array in arrays])
    return classification_of_pixels(
        name,
        torch.from_numpy(np.concatenate([array[0] for array in arrays]))[:, None],
        torch.from_numpy(labels),
        dict(zip(("train", "test"), positions)),
        classes=classes,
        augmentation=augmentation,
        images=images,
        test_images=test_images,
        size=size,
        seed=seed,
    )
