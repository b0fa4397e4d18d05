"""Any folder of pictures with one subfolder a class."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import UnidentifiedImageError
from torch import Tensor

from archipel.errors import DataError, OptionError
from archipel.progress import SILENT, Progress
from archipel.tasks.augmentation import Cutout, Flip, Shift
from archipel.tasks.classification import Classification, moments_of_sums
from archipel.tasks.decoding import UNREADABLE, EncodedImages, Skipped, decode, header, in_threads
from archipel.tasks.pixels import checked_size
from archipel.tasks.splits import deal, digest, group

__all__ = ["image_folder"]

ENDINGS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".avif",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga", ".ico",
)  # fmt: skip
PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
LARGEST_DEFAULT_SIZE = 224


def image_folder(
    root: str | Path,
    *,
    images: int | None = None,
    test_images: int | None = None,
    size: int | None = None,
    seed: int = 0,
    cutout: int = 0,
    max_damaged: float = 0.1,
    cache_bytes: int = 2**30,
    progress: Progress = SILENT,
) -> Classification:
    """Your own pictures: a folder with one subfolder a class, or train, val and test folders of such.

    Any mode and size; see `decoding.decode` for how a picture becomes `[C, size, size]`. The pictures have one
    channel if every file is grey, else three. Hidden files and files without a picture's ending are ignored.
    Augmentation: crop after padding by an eighth of the side, flip, and cutout where `cutout` is not 0.

    Args:
        root: the folder.
        images: at most so many pictures in train, arch and val together, the same number of each class as far
            as the folder's proportions allow.
        test_images: at most so many test pictures.
        size: side in pixels; None: the median side of all pictures rounded to a multiple of 8, at most 224.
        max_damaged: the share of files that may be unreadable; these are listed in `.skipped`.
        cache_bytes: decoded pictures that need more memory than this are decoded again for every batch.

    Raises:
        DataError: the folder is missing, is a file, holds no pictures or only one class; classes differ between its
            parts, or have too few pictures; too many pictures are damaged.
    """
    root = Path(root).expanduser()
    checked_size(size)
    if not 0 <= max_damaged <= 1:
        raise OptionError(f"max_damaged={max_damaged} is no share; give 0 to 1")
    listed, classes = _list(root)
    looks = in_threads(_look, [file.path for file in listed], title="looking at pictures", progress=progress)
    headers = [look for look in looks if not isinstance(look, str)]
    files = [file for file, look in zip(listed, looks) if not isinstance(look, str)]
    skipped = {file.path: look for file, look in zip(listed, looks) if isinstance(look, str)}
    _check_damage(root, skipped, len(skipped) / len(listed), max_damaged)
    channels = 1 if all(grey for grey, _, _ in headers) else 3
    side = size or _default_size(headers)

    labels = torch.tensor([file.label for file in files], dtype=torch.int64)
    reader = _Reader([file.path for file in files], channels, side, cache_bytes)
    while True:
        parts: dict[str, list[int]] = {file.part: [] for file in listed}
        for i, file in enumerate(files):
            if i not in reader.failed:
                parts[file.part].append(i)
        for part, index in parts.items():
            if not index:
                raise DataError(f"none of the {part} pictures in '{root}' can be read; mend or remove that folder")
        splits = deal(
            labels,
            reader.groups(),
            classes=classes,
            given={part: torch.tensor(index, dtype=torch.int64) for part, index in parts.items()},
            images=images,
            test_images=test_images,
            seed=seed,
        )
        used = torch.cat(list(splits.values())).unique()
        # Decoding shows which pictures are damaged or the same, which may change the deal: until nothing is new.
        if not reader.read(used, progress):
            break
        skipped |= {files[i].path: why for i, why in reader.failed.items()}
        damaged = (len(listed) - len(files) + reader.failed_share * len(files)) / len(listed)
        _check_damage(root, skipped, damaged, max_damaged)

    return Classification(
        root.resolve().name,
        reader.images(used),
        labels[used],
        {split: torch.searchsorted(used, index) for split, index in splits.items()},
        classes=classes,
        augmentation=(Shift(max(1, side // 8)), Flip(), *((Cutout(cutout),) if cutout else ())),
        moments=reader.moments(splits["train"]),
        skipped=[Skipped(str(path.relative_to(root)), why) for path, why in sorted(skipped.items())],
    )


class _File(NamedTuple):
    path: Path
    label: int
    part: str


def _list(root: Path) -> tuple[list[_File], list[str]]:
    """All picture files in a fixed shuffled order (so that the first n are a fair sample), and the classes."""
    if not root.exists():
        raise DataError(f"folder '{root}' does not exist")
    if not root.is_dir():
        raise DataError(f"'{root}' is a file; give the folder that holds one subfolder for each class")
    parts = _parts(root)
    folders = {part: _subfolders(folder) for part, folder in parts.items()}
    classes = sorted(folder.name for folder in folders["train"])
    for part, part_folders in folders.items():
        _check_classes(parts["train"], classes, parts[part], [folder.name for folder in part_folders])
    files = [
        _File(path, classes.index(folder.name), part)
        for part, part_folders in folders.items()
        for folder in part_folders
        for path in _pictures(folder)
    ]
    for part, folder in parts.items():
        if not any(file.part == part for file in files):
            loose = " but has some outside of class subfolders" if _loose_pictures(folder) else ""
            raise DataError(
                f"folder '{folder}' holds no pictures in class subfolders{loose}; put those of each class "
                "into a subfolder with its name"
            )
    if len(classes) < 2:
        raise DataError(f"folder '{root}' holds only one class ('{classes[0]}'); classification needs two")
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))
    return [files[i] for i in order.tolist()], classes


def _parts(root: Path) -> dict[str, Path]:
    """`{"train": root}`, or the train, val and test folders in it. Such a train folder has subfolders itself."""
    parts: dict[str, Path] = {}
    for folder in _subfolders(root):
        part = PARTS.get(folder.name.lower())
        if part in parts:
            raise DataError(f"'{parts[part]}' and '{folder}' are both a {part} set; keep one of them")
        if part is not None:
            parts[part] = folder
    return parts if "train" in parts and _subfolders(parts["train"]) else {"train": root}


def _check_classes(train: Path, classes: Sequence[str], folder: Path, names: Sequence[str]) -> None:
    if not names and folder != train:
        raise DataError(f"folder '{folder}' has no class subfolders like '{train}'; add them or move it away")
    for where, name in [(train, name) for name in classes if name not in names] + [
        (folder, name) for name in names if name not in classes
    ]:
        other = folder if where == train else train
        raise DataError(f"class '{name}' is in '{where}' but not in '{other}'; both need the same subfolders")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name))


def _loose_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in ENDINGS and not _hidden(path.name) for path in folder.iterdir())


def _pictures(folder: Path) -> list[Path]:
    """Picture files in `folder` and its subfolders, sorted."""
    found: list[Path] = []
    for where, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not _hidden(name)]
        found += [
            Path(where, name) for name in names if os.path.splitext(name)[1].lower() in ENDINGS and not _hidden(name)
        ]
    return sorted(found)


def _look(path: Path) -> tuple[bool, int, int] | str:
    """`decoding.header`, or why it cannot be read."""
    try:
        return header(path)
    except UNREADABLE as error:
        return _why(error)


def _why(error: BaseException) -> str:
    # Pillow's own sentence for an unknown format repeats the path, which `Skipped` has already.
    text = str(error).split("\n")[0]
    return "not a picture that can be read" if isinstance(error, UnidentifiedImageError) else text or repr(error)


def _check_damage(root: Path, skipped: Mapping[Path, str], share: float, max_damaged: float) -> None:
    if share > max_damaged or share == 1:
        path, why = min(skipped.items())
        how_many = "all pictures" if share == 1 else f"{share:.0%} of the pictures"
        raise DataError(
            f"{how_many} in '{root}' cannot be read (max_damaged={max_damaged:.0%}), the first "
            f"'{path.relative_to(root)}': {why}; mend or remove them"
        )


def _default_size(headers: Sequence[tuple[bool, int, int]]) -> int:
    median = statistics.median(side for _, width, height in headers for side in (width, height))
    return min(max(8, int(median / 8 + 0.5) * 8), LARGEST_DEFAULT_SIZE)


class _Seen(NamedTuple):
    digest: bytes
    total: np.ndarray
    """`[C]`, int64: sum of the pixels; `squares`: of their squares."""
    squares: np.ndarray


class _Reader:
    """Decodes each picture once; keeps the pixels while they fit into `cache_bytes`, and always what is in `_Seen`."""

    def __init__(self, paths: Sequence[Path], channels: int, side: int, cache_bytes: int) -> None:
        self.paths = paths
        self.channels = channels
        self.side = side
        self.cache_bytes = cache_bytes
        self.failed: dict[int, str] = {}
        self._seen: dict[int, _Seen] = {}
        self._pixels: dict[int, np.ndarray] = {}

    @property
    def failed_share(self) -> float:
        """Of the pictures that were decoded."""
        return len(self.failed) / max(len(self.failed) + len(self._seen), 1)

    def read(self, index: Tensor, progress: Progress) -> bool:
        """Decode those of `index` that were not yet; False if there were none."""
        new = [i for i in index.tolist() if i not in self._seen and i not in self.failed]
        keep = self._fits(len(self._seen) + len(new))
        if not keep:
            self._pixels.clear()

        def one(i: int) -> tuple[_Seen, np.ndarray | None] | str:
            try:
                pixels = decode(self.paths[i], channels=self.channels, size=self.side)
            except UNREADABLE as error:
                return _why(error)
            values = pixels.reshape(self.channels, -1).astype(np.int64)
            seen = _Seen(digest(pixels), values.sum(1), (values * values).sum(1))
            return seen, pixels if keep else None

        for i, result in zip(new, in_threads(one, new, title="reading pictures", progress=progress)):
            if isinstance(result, str):
                self.failed[i] = result
                continue
            self._seen[i] = result[0]
            if result[1] is not None:
                self._pixels[i] = result[1]
        return bool(new)

    def _fits(self, n: int) -> bool:
        return n * self.channels * self.side**2 <= self.cache_bytes

    def groups(self) -> Tensor:
        """`[N]`: equal numbers for pictures known to be equal."""
        return group(self._seen[i].digest if i in self._seen else i.to_bytes(8, "big") for i in range(len(self.paths)))

    def moments(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel over `index`."""
        total, squares = (
            torch.from_numpy(np.sum([getattr(self._seen[i], name) for i in index.tolist()], axis=0))
            for name in ("total", "squares")
        )
        return moments_of_sums(total, squares, len(index) * self.side**2)

    def images(self, index: Tensor) -> Tensor | EncodedImages:
        """The pictures of `index`, uint8 `[n, C, H, W]`, or what decodes them when asked."""
        if not self._fits(len(self._seen)):
            paths = [self.paths[i] for i in index.tolist()]
            return EncodedImages(paths, channels=self.channels, size=self.side)
        pixels = torch.empty(len(index), self.channels, self.side, self.side, dtype=torch.uint8)
        for row, i in enumerate(index.tolist()):
            pixels[row] = torch.from_numpy(self._pixels.pop(i).copy())  # popped, so that memory is not held twice
        return pixels
