"""Regularisers whose strength grows with the training: ScheduledDropPath (Zoph et al., CVPR 2018, arXiv 1707.07012)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archipel.errors import SpaceError

__all__ = ["DropPath"]


class DropPath(nn.Module):
    """y = x for the samples that are kept, over how many that are; 0 for the others; x itself out of training.

    Args:
        rate: share of the samples that is dropped when the training ends; at a share `done` of it, `rate · done`.

    Raises:
        SpaceError: a rate at which nothing would be kept, or no rate.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise SpaceError(f"drop_path is {rate:g}; give a share from 0 to below 1")
        self.rate = rate
        self.done = 1.0
        """Share of the training behind us, as the loop that trains says (`archipel.sharing.training`)."""

    def extra_repr(self) -> str:
        return f"{self.rate:g}"

    def forward(self, x: Tensor) -> Tensor:
        keep = 1.0 - self.rate * self.done
        if not self.training or keep == 1.0:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) < keep
        return x * (kept.to(x.dtype) / keep)
