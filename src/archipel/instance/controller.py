"""Controllers: from an input to one logit per option.

`D` code columns of the space. `ResNetController` is the published one; `LightController` costs a few per cent of
the networks it chooses from instead of 12, which matters because its time is counted.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.errors import OptionError, did_you_mean

__all__ = ["LightController", "ResNetController", "make_controller"]


class _Unit(nn.Module):
    """ReLU(shortcut(x) + ReLU6(BN(conv3(ReLU(BN(conv3(x))))))): the ReLU6 is inside the branch, as released."""

    def __init__(self, c_in: int, c_out: int, stride: int, projected: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU6(inplace=True),
        )
        self.stride = stride
        self.pad = c_out - c_in
        changes = stride > 1 or c_in != c_out
        self.projection = (
            nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
            if projected and changes
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.projection is not None:
            shortcut = self.projection(x)
        else:
            shortcut = F.avg_pool2d(x, self.stride, ceil_mode=True) if self.stride > 1 else x
            if self.pad:
                shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.pad))
        return F.relu(shortcut + self.branch(x))


class ResNetController(nn.Module):
    """InstaNAS' controller: a tiny ResNet of 80,165 parameters for 32×32 and 64×64 images, 320,421 for 224×224.

    The totals on record, 80,237 and 320,433, hold the batch counter of every batch norm too (7 and 12), and the
    former a value head that nothing uses (65).

    Args:
        outputs: `D`.
        macro: which of the published three; by image size if not given.
    """

    def __init__(
        self,
        outputs: int,
        *,
        channels: int = 3,
        size: int = 32,
        macro: Literal["cifar", "tiny", "imagenet"] | None = None,
    ) -> None:
        super().__init__()
        macro = macro or ("cifar" if size < 48 else "tiny" if size < 112 else "imagenet")
        if macro == "imagenet":
            self.stem = nn.Sequential(
                nn.AvgPool2d(2),
                nn.Conv2d(channels, 16, 7, 2, 3, bias=False),
                nn.BatchNorm2d(16),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(3, 2, 1),
            )
            plan = [(16, 1), (32, 2), (64, 2), (128, 2)]
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
            )
            plan = [(16, 2 if macro == "tiny" else 1), (32, 2), (64, 2)]
        units, c = [], 16
        for c_out, stride in plan:
            units.append(_Unit(c, c_out, stride, macro == "imagenet"))
            c = c_out
        self.units = nn.Sequential(*units)
        self.head = nn.Linear(c, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                k, c_out = module.kernel_size[0], module.out_channels
                nn.init.normal_(module.weight, 0.0, (2.0 / (k * k * c_out)) ** 0.5)

    def features(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` → `[B, F]`, what `head` reads."""
        return self.units(self.stem(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` → logits `[B, D]`."""
        return self.head(self.features(x))


class LightController(nn.Module):
    """Two strided convolutions and a linear layer on a picture pooled to at most 16×16."""

    def __init__(self, outputs: int, *, channels: int = 3, size: int = 32, width: int = 16) -> None:
        super().__init__()
        pool = max(1, size // 16)
        self.features = nn.Sequential(
            *([nn.AvgPool2d(pool)] if pool > 1 else []),
            nn.Conv2d(channels, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(8 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` → logits `[B, D]`."""
        return self.head(self.features(x))


_KINDS: dict[str, type[ResNetController | LightController]] = {"resnet": ResNetController, "light": LightController}


def make_controller(
    kind: str, outputs: int, *, channels: int, size: int, seed: int
) -> ResNetController | LightController:
    """A freshly initialised controller.

    Raises:
        OptionError: there is no controller of that kind.
    """
    if kind not in _KINDS:
        raise OptionError(f"there is no controller '{kind}' ({', '.join(_KINDS)}){did_you_mean(kind, _KINDS)}")
    torch.manual_seed(seed)
    return _KINDS[kind](outputs, channels=channels, size=size)
