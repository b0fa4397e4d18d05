"""CIFAR-10 (Krizhevsky, 2009), from its binary files or from one npz of JPEG files; never from the pickles."""

from __future__ import annotations

import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from archipel.errors import DataError
from archipel.progress import SILENT, Progress
from archipel.tasks.augmentation import Cutout, Flip, Shift
from archipel.tasks.classification import Classification
from archipel.tasks.decoding import UNREADABLE, decode, in_threads
from archipel.tasks.pixels import classification_of_pixels, resized
from archipel.tasks.splits import deal, digest, group

__all__ = ["cifar10", "find_cifar10"]

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
RECORD = 1 + 3 * 32 * 32
"""Bytes of one image in the binary files: its label, then the red, green and blue planes."""


def find_cifar10(root: Path) -> Path | None:
    """The npz of JPEG files or the folder of binary files in `root`, or None.

    Raises `DataError` when there are only the pickles of the "python version".
    """
    if (root / "cifar10_jpeg.npz").is_file():
        return root / "cifar10_jpeg.npz"
    folders = (root, root / "cifar-10-batches-bin")
    for folder in folders:
        if (folder / "data_batch_1.bin").is_file():
            return folder
    for folder in (root, root / "cifar-10-batches-py"):
        if (folder / "data_batch_1").is_file():
            raise DataError(
                f"'{folder}' holds CIFAR-10 as Python pickles, which can run code when read; get the binary "
                "version (cifar-10-binary.tar.gz, with data_batch_1.bin) from the same page"
            )
    return None


def cifar10(
    root: str | Path,
    *,
    images: int | None = None,
    test_images: int | None = None,
    size: int | None = None,
    seed: int = 0,
    cutout: int = 0,
    progress: Progress = SILENT,
) -> Classification:
    """Photographs of ten things, 60,000 colour 32×32 images, binary or JPEG files (Krizhevsky, 2009).

    Reads `data_batch_1.bin` and so on, or `cifar10_jpeg.npz`, of which only the JPEG files in use are decoded.
    Augmentation: pad-4 crop, flip, and a cutout square of `cutout` pixels (16 is usual) where that is not 0.
    """
    root = Path(root).expanduser()
    found = find_cifar10(root)
    if found is None:
        raise DataError(f"'{root}' holds no CIFAR-10: neither cifar10_jpeg.npz nor data_batch_1.bin")
    augmentation = (Shift(4), Flip(), *((Cutout(cutout),) if cutout else ()))
    if found.is_dir():
        pixels, labels, given = _read_binary(found)
        return classification_of_pixels(
            "cifar10",
            pixels,
            labels,
            given,
            classes=CLASSES,
            augmentation=augmentation,
            images=images,
            test_images=test_images,
            size=size,
            seed=seed,
        )
    files, labels, given = _read_npz(found)
    splits = deal(
        labels, group(map(digest, files)), classes=CLASSES, given=given, images=images,
        test_images=test_images, seed=seed,
    )  # fmt: skip
    used = torch.cat(list(splits.values())).unique()
    try:
        decoded = in_threads(
            lambda i: decode(io.BytesIO(files[i]), channels=3),
            used.tolist(),
            title="reading CIFAR-10",
            progress=progress,
        )
    except UNREADABLE as error:
        raise DataError(f"'{found}' holds a damaged JPEG file: {error}") from error
    return Classification(
        "cifar10",
        resized(torch.from_numpy(np.stack(decoded)), size),
        labels[used],
        {split: torch.searchsorted(used, index) for split, index in splits.items()},
        classes=CLASSES,
        augmentation=augmentation,
    )


def _read_npz(path: Path) -> tuple[list[bytes], Tensor, dict[str, Tensor]]:
    files: list[bytes] = []
    labels: list[np.ndarray] = []
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for part in ("train", "test"):
                stream, offsets = arrays[f"{part}_jpeg"].tobytes(), arrays[f"{part}_offsets"].tolist()
                files += [stream[start:end] for start, end in itertools.pairwise(offsets)]
                labels.append(arrays[f"{part}_labels"].astype(np.int64))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' is not the npz of CIFAR-10's JPEG files: {error}") from error
    if len(files) != sum(map(len, labels)):
        raise DataError(f"'{path}' holds {len(files)} images and {sum(map(len, labels))} labels")
    return files, *_labels_and_parts(path, labels)


def _read_binary(folder: Path) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        path = folder / name
        if not path.is_file():
            raise DataError(f"CIFAR-10 in '{folder}' lacks the file {name}")
        data = np.fromfile(path, dtype=np.uint8)
        if len(data) == 0 or len(data) % RECORD:
            raise DataError(f"'{path}' has {len(data)} bytes, not a multiple of {RECORD}; fetch it again")
        parts["test" if name.startswith("test") else "train"].append(data.reshape(-1, RECORD))
    train, test = (np.concatenate(parts[name]) for name in ("train", "test"))
    pixels = torch.from_numpy(np.concatenate([train, test])[:, 1:].reshape(-1, 3, 32, 32))
    return pixels, *_labels_and_parts(folder, [train[:, 0].astype(np.int64), test[:, 0].astype(np.int64)])


def _labels_and_parts(path: Path, labels: list[np.ndarray]) -> tuple[Tensor, dict[str, Tensor]]:
    joined = torch.from_numpy(np.concatenate(labels))
    if len(joined) and int(joined.max()) >= len(CLASSES):
        raise DataError(f"'{path}' has label {int(joined.max())}; CIFAR-10's labels are 0 to 9")
    train, test = torch.arange(len(joined)).split([len(part) for part in labels])
    return joined, {"train": train, "test": test}
