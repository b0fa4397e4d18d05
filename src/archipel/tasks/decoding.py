"""Picture files to uint8 arrays, in threads (Pillow decodes outside Python's lock)."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from archipel.errors import DataError
from archipel.progress import SILENT, Progress

__all__ = ["UNREADABLE", "EncodedImages", "Skipped", "decode", "header", "in_threads", "pixels_of", "threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise on damaged files: besides `OSError`, whatever their parsing trips over."""

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    path: str
    why: str


def threads() -> int:
    """The CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    title: str = "",
    progress: Progress = SILENT,
) -> list[Result]:
    """`[work(item) for item in items]`, in chunks on all cores."""
    step = 64
    chunks = [items[i : i + step] for i in range(0, len(items), step)]
    results: list[Result] = []
    with warnings.catch_warnings(), ThreadPoolExecutor(threads()) as pool, progress.bar(title, len(items)) as bar:
        # Pillow warns of oddities inside files; what cannot be read raises, and that is what is reported.
        warnings.filterwarnings("ignore", module="PIL")
        for part in pool.map(lambda chunk: [work(item) for item in chunk], chunks):
            results += part
            bar.advance(len(part))
    return results


def header(path: Path) -> tuple[bool, int, int]:
    """`(is grey, width, height)` without decoding the pixels. Raises one of `UNREADABLE`.

    Grey is what the file says (its mode, or a palette of greys), not what the pixels happen to be.
    """
    with Image.open(path) as image:
        return _is_grey(image), image.width, image.height


def _is_grey(image: Image.Image) -> bool:
    if image.mode in ("P", "PA") and image.palette is not None:
        colours = np.frombuffer(bytes(image.palette.palette), dtype=np.uint8)
        depth = len(image.palette.mode)
        colours = colours[: len(colours) // depth * depth].reshape(-1, depth)
        return bool((colours[:, :1] == colours[:, 1:3]).all())
    return image.mode in GREY_MODES


def decode(file: Path | BinaryIO, *, channels: int, size: int | None = None) -> np.ndarray:
    """One picture as uint8 `[C, H, W]`; see `pixels_of`. Raises one of `UNREADABLE`."""
    with Image.open(file) as opened:
        if size is not None:
            opened.draft(None, (size, size))  # a JPEG is scaled while it is decoded, never below `size`
        return pixels_of(opened, channels=channels, size=size)


def pixels_of(picture: Image.Image, *, channels: int, size: int | None = None) -> np.ndarray:
    """An opened picture as uint8 `[C, H, W]`. Raises one of `UNREADABLE`; may turn the picture in place.

    Turned as its EXIF orientation says, transparency laid on white, 16-bit greys divided by 257, colour turned to
    grey or back as `channels` (1 or 3) asks, then the largest centred square scaled to `size` pixels (bilinear,
    antialiased). `size` None leaves the size.
    """
    picture.load()
    image = picture
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("float pixels have no stated range; save it as 8-bit or 16-bit")
    elif image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


class EncodedImages:
    """Pictures that are decoded when they are asked for: `images[index]` is uint8 `[len(index), C, H, W]`.

    For sets too big for memory. Stands where a tensor `[N, C, H, W]` stands in `Classification`.
    """

    def __init__(self, paths: Sequence[Path], *, channels: int, size: int) -> None:
        self.paths = tuple(paths)
        self.shape = (len(self.paths), channels, size, size)
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Tensor) -> Tensor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(threads())
        out = np.empty((len(index), *self.shape[1:]), dtype=np.uint8)
        for row, pixels in enumerate(self._pool.map(self._one, index.tolist())):
            out[row] = pixels
        return torch.from_numpy(out)

    def _one(self, i: int) -> np.ndarray:
        try:
            return decode(self.paths[i], channels=self.shape[1], size=self.shape[2])
        except UNREADABLE as error:
            raise DataError(f"image '{self.paths[i]}' cannot be read any more: {error}") from error
