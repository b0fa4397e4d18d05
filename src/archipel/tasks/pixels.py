"""From arrays of pixels in memory to a classification task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from archipel.errors import OptionError
from archipel.tasks.augmentation import Augmentation
from archipel.tasks.classification import Classification
from archipel.tasks.splits import deal, digest, group

__all__ = ["checked_size", "classification_of_pixels", "resized"]


def classification_of_pixels(
    name: str,
    pixels: Tensor,
    labels: Tensor,
    given: Mapping[str, Tensor],
    *,
    classes: Sequence[str],
    augmentation: Sequence[Augmentation],
    images: int | None,
    test_images: int | None,
    size: int | None,
    seed: int,
) -> Classification:
    """Deal uint8 `[N, C, H, W]` into splits (`splits.deal`) and keep the images that are used, scaled to `size`."""
    checked_size(size)
    groups = group(map(digest, pixels.numpy()))
    splits = deal(labels, groups, classes=classes, given=given, images=images, test_images=test_images, seed=seed)
    used = torch.cat(list(splits.values())).unique()
    return Classification(
        name,
        resized(pixels[used], size),
        labels[used],
        {split: torch.searchsorted(used, index) for split, index in splits.items()},
        classes=classes,
        augmentation=augmentation,
    )


def resized(pixels: Tensor, size: int | None) -> Tensor:
    """uint8 `[N, C, H, W]` scaled to `[N, C, size, size]` (bilinear, antialiased); None leaves them as they are."""
    if size is None or tuple(pixels.shape[2:]) == (size, size):
        return pixels
    return torch.cat(
        [
            functional.interpolate(chunk.float(), (size, size), mode="bilinear", antialias=True)
            .round_()
            .clamp_(0, 255)
            .to(torch.uint8)
            for chunk in pixels.split(1024)
        ]
    )


def checked_size(size: int | None) -> int | None:
    """`size`, or `OptionError` if it is not a side in pixels."""
    if size is not None and size < 1:
        raise OptionError(f"size={size} is no side in pixels; give 8 or more")
    return size
