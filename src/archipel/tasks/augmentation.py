"""Random changes of whole uint8 batches `[B, C, H, W]`, drawn from an explicit generator.

The random numbers are drawn on the CPU, so a seed gives the same pictures on every device. No loop over images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from archipel.errors import OptionError

__all__ = ["Augmentation", "Cutout", "Flip", "Shift"]

Augmentation = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""`(images, mean, generator) -> images`: both uint8, images `[B, C, H, W]`, mean (train's mean pixel) `[C]`."""


@dataclass(frozen=True)
class Shift:
    """Move each image by up to `pixels` down or up and left or right; what comes in from outside is black.

    The same as padding with black and cropping at random: the usual "pad-4 crop" is `Shift(4)`.
    """

    pixels: int

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise OptionError(f"Shift(pixels={self.pixels}) moves nothing; give 1 or more, or leave it out")

    def __call__(self, images: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        n, _, height, width = images.shape
        padded = functional.pad(images, (self.pixels,) * 4)  # [B, C, H + 2p, W + 2p]
        offset = torch.randint(2 * self.pixels + 1, (2, n), generator=generator).to(images.device)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [B, C, 2p + 1, 2p + 1, H, W], a view
        return windows[torch.arange(n, device=images.device), :, offset[0], offset[1]]


@dataclass(frozen=True)
class Flip:
    """Mirror each image left to right with probability one half."""

    def __call__(self, images: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        mirrored = torch.rand(len(images), generator=generator).lt(0.5).to(images.device)
        return torch.where(mirrored[:, None, None, None], images.flip(3), images)


@dataclass(frozen=True)
class Cutout:
    """Fill one square of `side` pixels an image with the mean pixel (DeVries and Taylor, 2017).

    The square's centre is anywhere in the image, so that up to three quarters of the square may lie outside.
    """

    side: int

    def __post_init__(self) -> None:
        if self.side < 1:
            raise OptionError(f"Cutout(side={self.side}) covers nothing; give 1 or more, or leave it out")

    def __call__(self, images: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        device = images.device
        first = [
            (torch.randint(length, (n, 1), generator=generator) - self.side // 2).to(device)
            for length in (height, width)
        ]
        rows = torch.arange(height, device=device) - first[0]  # [B, H]
        columns = torch.arange(width, device=device) - first[1]  # [B, W]
        covered = _within(rows, self.side)[:, None, :, None] & _within(columns, self.side)[:, None, None, :]
        return torch.where(covered, mean.to(device)[:, None, None], images)


def _within(position: Tensor, side: int) -> Tensor:
    return (position >= 0) & (position < side)
