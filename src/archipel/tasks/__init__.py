"""Tasks: data, head, loss and metric. `TASKS` lists them; `load` opens one by name, or any folder by what is in it."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archipel.errors import DataError, OptionError, did_you_mean
from archipel.progress import SILENT, Progress
from archipel.tasks.augmentation import Augmentation, Cutout, Flip, Shift
from archipel.tasks.cifar10 import cifar10, find_cifar10
from archipel.tasks.classification import Accuracy, Classification, Loader
from archipel.tasks.decoding import EncodedImages, Skipped
from archipel.tasks.digits import digits
from archipel.tasks.fashion_mnist import fashion_mnist
from archipel.tasks.head import PooledLinear
from archipel.tasks.idx import find_idx, idx
from archipel.tasks.image_folder import image_folder
from archipel.tasks.mnist import mnist
from archipel.tasks.task import SPLITS, Batch, Metric, Task, TaskSpec

__all__ = [
    "SPLITS",
    "TASKS",
    "Accuracy",
    "Augmentation",
    "Batch",
    "Classification",
    "Cutout",
    "EncodedImages",
    "Flip",
    "Loader",
    "Metric",
    "PooledLinear",
    "Shift",
    "Skipped",
    "Task",
    "TaskSpec",
    "load",
]

TASKS: dict[str, Callable[..., Classification]] = {
    "digits": digits,
    "folder": image_folder,
    "cifar10": cifar10,
    "fashion_mnist": fashion_mnist,
    "mnist": mnist,
}


def load(
    name_or_dir: str | Path,
    *,
    root: str | Path | None = None,
    images: int | None = None,
    test_images: int | None = None,
    size: int | None = None,
    seed: int = 0,
    cutout: int | None = None,
    max_damaged: float | None = None,
    cache_bytes: int | None = None,
    progress: Progress = SILENT,
) -> Classification:
    """Open a task: `load("digits")`, `load("cifar10", root=FOLDER)`, `load(FOLDER)`.

    A name in `TASKS` is that task (write `./digits` for a folder of that name). A folder is CIFAR-10 if
    it holds `cifar10_jpeg.npz` or `data_batch_1.bin`; Fashion-MNIST, MNIST or other IDX images if it holds
    `train-images-idx3-ubyte` (by the folder's name); else a folder of class folders.

    Args:
        root: the folder with the files of a named task.
        images: at most so many images in train, arch and val together, stratified. The test set does not change.
        test_images: at most so many test images, stratified.
        size: side in pixels to scale the images to; None: as they are (class folders: see `image_folder`).
        seed: of the splits.
        cutout: side of the cutout square in training; where flips are used too.
        max_damaged: of class folders, see `image_folder`; `cache_bytes` likewise.

    Raises:
        OptionError: there is no such task, or it does not take one of the options.
        DataError: the files are missing or unreadable.
    """
    open_task, name = _opener(name_or_dir, root)
    chosen = {"cutout": cutout, "max_damaged": max_damaged, "cache_bytes": cache_bytes}
    taken = inspect.signature(open_task).parameters
    options: dict[str, Any] = {option: value for option, value in chosen.items() if value is not None}
    for option in options:
        if option not in taken:
            raise OptionError(f"task '{name}' takes no option {option} (it takes {', '.join(taken)})")
    if "progress" in taken:
        options["progress"] = progress
    return open_task(images=images, test_images=test_images, size=size, seed=seed, **options)


def _opener(name_or_dir: str | Path, root: str | Path | None) -> tuple[Callable[..., Classification], str]:
    """The task's function with its folder filled in, and the name to call it by in an error."""
    name = str(name_or_dir)
    if isinstance(name_or_dir, str) and name in TASKS:
        needs_root = "root" in inspect.signature(TASKS[name]).parameters
        if needs_root and root is None:
            raise OptionError(f"task '{name}' needs root, the folder with its files")
        if not needs_root and root is not None:
            raise OptionError(f"task '{name}' needs no files; leave out root='{root}'")
        return functools.partial(TASKS[name], root) if needs_root else TASKS[name], name
    folder = Path(name_or_dir).expanduser()
    if not folder.exists() and not (os.sep in name or name.startswith((".", "~"))):
        raise OptionError(
            f"'{name}' is neither a task nor a folder (tasks: {', '.join(TASKS)}){did_you_mean(name, TASKS)}"
        )
    if root is not None:
        raise OptionError(f"'{folder}' is a folder already; root='{root}' goes with a task's name")
    if not folder.exists():
        raise DataError(f"folder '{folder}' does not exist")
    task, name = _recognise(folder)
    return functools.partial(task, folder), name


def _recognise(folder: Path) -> tuple[Callable[..., Classification], str]:
    if folder.is_dir() and find_cifar10(folder) is not None:
        return cifar10, "cifar10"
    images = find_idx(folder, "train-images-idx3") if folder.is_dir() else None
    if images is None:
        return image_folder, "folder"
    inside = str(images.relative_to(folder)).lower()
    called = folder.resolve().name.lower() + "/" + inside.removesuffix(images.name.lower())
    if "fashion" in called:
        return fashion_mnist, "fashion_mnist"
    if "mnist" in called:
        return mnist, "mnist"
    return functools.partial(idx, folder.resolve().name), "idx"
