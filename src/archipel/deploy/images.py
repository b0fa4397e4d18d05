"""Pictures of any kind, size and layout as the batch of numbers that a run's networks were trained on.

Letters: `N` images, `C` channels, `H`, `W` height and width in pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from archipel.errors import DataError
from archipel.tasks.decoding import UNREADABLE, decode, pixels_of
from archipel.tasks.pixels import resized

__all__ = ["Images", "Inputs"]

Images = Any
"""One picture or several: a path, the bytes of a picture file, a PIL image, a NumPy array or a torch tensor, or a
sequence of those. Arrays are uint8 or other whole numbers from 0 to 255, uint16 (0 to 65,535), bool, or floats from 0
to 1; one picture is `[H, W]`, `[H, W, C]` or `[C, H, W]` with C of 1, 3 or 4, several have one dimension more in front.
`[N, H, W]` are grey ones; only for a network of colour pictures is `[3, H, W]` one picture."""

COUNTS = (1, 3, 4)
"""Channels that a picture can have; the fourth is its opacity."""


@dataclass(frozen=True)
class Inputs:
    """What a task's networks expect: square pictures of one size, normalised by the training set's moments.

    A picture becomes what the task makes of its own files: turned as its EXIF orientation says, transparency laid on
    white, colour to grey or back, the largest centred square scaled to `size` (bilinear, antialiased).
    """

    channels: int
    """1 or 3."""
    size: int
    """Side in pixels."""
    mean: tuple[float, ...]
    """Of pixels from 0 to 255, each channel."""
    std: tuple[float, ...]

    def pixels(self, images: Images) -> Tensor:
        """uint8 `[N, C, size, size]`.

        Raises:
            DataError: an image cannot be read, or is no image.
        """
        if isinstance(images, np.ndarray | Tensor):
            return self._of_array(images, "the images")
        if isinstance(images, str | Path | bytes | Image.Image):
            return self._of_one(images, "the image")
        if not isinstance(images, Sequence):
            raise DataError(
                f"a {type(images).__name__} is no image; give paths, bytes, PIL images, NumPy arrays or torch tensors"
            )
        if not images:
            raise DataError("no image was given; give one or more")
        return torch.cat([self._of_one(image, f"image {i}") for i, image in enumerate(images)])

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 `[N, C, size, size]` to float32, as in training."""
        mean, std = (torch.tensor(moments, device=pixels.device)[:, None, None] for moments in (self.mean, self.std))
        return pixels.to(torch.float32).sub_(mean).mul_(1 / std)

    def __call__(self, images: Images) -> Tensor:
        """Float32 `[N, C, size, size]`, ready for a network. Raises as `pixels`."""
        return self.normalise(self.pixels(images))

    def _of_one(self, image: Images, name: str) -> Tensor:
        if isinstance(image, np.ndarray | Tensor):
            found = self._of_array(image, name)
            if len(found) != 1:
                raise DataError(f"{name} holds {len(found)} pictures; in a list each entry is one")
            return found
        if not isinstance(image, str | Path | bytes | Image.Image):
            raise DataError(f"{name} is a {type(image).__name__}; give a path, bytes, a PIL image or an array")
        try:
            if isinstance(image, Image.Image):
                pixels = pixels_of(image.copy(), channels=self.channels, size=self.size)
            elif isinstance(image, bytes):
                pixels = decode(io.BytesIO(image), channels=self.channels, size=self.size)
            else:
                name = f"'{image}'"
                pixels = decode(Path(image).expanduser(), channels=self.channels, size=self.size)
        except UNREADABLE as error:
            raise DataError(f"{name} cannot be read: {_why(error)}") from error
        return torch.from_numpy(pixels.copy())[None]

    def _of_array(self, images: np.ndarray | Tensor, name: str) -> Tensor:
        array = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
        pixels = _bytes(self._laid_out(array, name), name)  # [N, H, W, C]
        if not len(pixels):
            raise DataError("no image was given; give one or more")
        _, height, width, channels = pixels.shape
        if height == width and channels == self.channels:
            return resized(torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))), self.size)
        pictures = [Image.fromarray(one[:, :, 0] if channels == 1 else one) for one in np.ascontiguousarray(pixels)]
        made = [pixels_of(picture, channels=self.channels, size=self.size) for picture in pictures]
        return torch.from_numpy(np.stack(made))

    def _laid_out(self, array: np.ndarray, name: str) -> np.ndarray:
        """`[N, H, W, C]`"""
        shape = array.shape
        found = None
        if array.ndim == 2:
            found = array[None, :, :, None]
        elif array.ndim == 3:
            if shape[2] in COUNTS:
                found = array[None]
            elif shape[0] in COUNTS[1:] and self.channels == 3:
                found = array.transpose(1, 2, 0)[None]
            else:
                found = array[:, :, :, None]
        elif array.ndim == 4:
            exact = shape[1:] == (self.channels, self.size, self.size)
            if shape[1] in COUNTS and (exact or shape[3] not in COUNTS):
                found = array.transpose(0, 2, 3, 1)
            elif shape[3] in COUNTS:
                found = array
        if found is None or not all(found.shape[1:]):
            raise DataError(
                f"{name} have the shape {list(shape)}, which is no picture's; give [H, W], [H, W, C] or [C, H, W] with "
                "C of 1, 3 or 4, and one dimension more in front for several"
            )
        return found


def _bytes(array: np.ndarray, name: str) -> np.ndarray:
    """The same as uint8."""
    if array.dtype == np.uint8 or not array.size:
        return array.astype(np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return (array / 257.0).round().astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise DataError(f"{name} hold {array.dtype}, which is no pixel's type; give uint8, or floats from 0 to 1")
    low, high = array.min(), array.max()
    if array.dtype.kind != "f":
        if low < 0 or high > 255:
            raise DataError(f"whole-number pixels are from 0 to 255, and {name} hold {low if low < 0 else high}")
        return array.astype(np.uint8)
    if not (low >= 0.0 and high <= 1.0):  # also where one is no number
        odd = low if not low >= 0.0 else high
        raise DataError(
            f"float pixels are from 0 to 1, and {name} hold {odd:g}; divide by the largest value that there can be"
        )
    return (array.astype(np.float64) * 255.0).round().astype(np.uint8)


def _why(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, UnidentifiedImageError):  # Pillow's own sentence names an object in memory
        return "it is no picture of a known format"
    return str(error).split("\n")[0] or repr(error)
