"""Tiny data sets in every format the tasks read, written anew for each test session."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def texture(rng: np.random.Generator, label: int, side: int, channels: int) -> np.ndarray:
    """uint8 `[side, side, channels]`: stripes whose period is the class, and noise, so that no two are equal."""
    stripes = 100 * (np.arange(side) // (label + 1) % 2)
    return (stripes[None, :, None] + rng.integers(0, 120, (side, side, channels))).astype(np.uint8)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("ARCHIPEL_DATA")
    if not folder:
        pytest.skip("ARCHIPEL_DATA is not set: the folder with the real data sets")
    return Path(folder)


def write_classes(
    root: Path, *, classes: int = 2, n: int = 12, side: int = 16, channels: int = 3, seed: int = 0
) -> Path:
    """`n` pictures a class as PNG, in folders `class0`, `class1` ..."""
    rng = np.random.default_rng(seed)
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(n):
            picture = texture(rng, label, side, channels)
            Image.fromarray(picture if channels == 3 else picture[..., 0]).save(folder / f"{i}.png")
    return root


@pytest.fixture(name="write_classes", scope="session")
def write_classes_fixture() -> Callable[..., Path]:
    return write_classes


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("folder"), classes=3, n=20)


def labels_and_pixels(n: int, side: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 10).astype(np.uint8)
    return labels, np.stack([texture(rng, int(label), side, channels) for label in labels])


@pytest.fixture(scope="session")
def tiny_cifar_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    folder.mkdir()
    for i, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):
        labels, pixels = labels_and_pixels(30, 32, 3, seed=i)
        records = np.concatenate([labels[:, None], pixels.transpose(0, 3, 1, 2).reshape(30, -1)], axis=1)
        (folder / name).write_bytes(records.tobytes())
    return folder.parent


@pytest.fixture(scope="session")
def tiny_cifar_jpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arrays: dict[str, np.ndarray] = {}
    for seed, (part, n) in enumerate({"train": 100, "test": 30}.items()):
        labels, pixels = labels_and_pixels(n, 32, 3, seed=seed)
        files = []
        for picture in pixels:
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=95, subsampling=0)
            files.append(buffer.getvalue())
        arrays[f"{part}_jpeg"] = np.frombuffer(b"".join(files), dtype=np.uint8)
        arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, files)]).astype(np.uint32)
        arrays[f"{part}_labels"] = labels
    folder = tmp_path_factory.mktemp("cifar_jpeg")
    np.savez(folder / "cifar10_jpeg.npz", **arrays)
    return folder


def idx_bytes(array: np.ndarray) -> bytes:
    shape = np.array(array.shape, dtype=">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + shape + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="session")
def tiny_idx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training files gzipped, test files not."""
    folder = tmp_path_factory.mktemp("mnist")
    for seed, (part, n) in enumerate({"train": 100, "t10k": 30}.items()):
        labels, pixels = labels_and_pixels(n, 28, 1, seed=seed)
        for kind, array in {"images-idx3": pixels[..., 0], "labels-idx1": labels}.items():
            data = idx_bytes(array)
            path = folder / f"{part}-{kind}-ubyte"
            if part == "train":
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
            else:
                path.write_bytes(data)
    return folder
