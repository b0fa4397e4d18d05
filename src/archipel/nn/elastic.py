"""Layers whose sizes may still be open (`choose.value`): plain in a child, elastic in the meta-graph.

Each factory takes plain numbers or `Elastic` ones. With plain numbers it is the torch layer itself; with elastic
ones it holds the weights of the largest size and runs the leading channels and the centre of the kernel
(slimmable networks, Yu et al. 2019; BigNAS, Yu et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.choose import Elastic
from archipel.errors import SpaceError
from archipel.routes import Slices, current_numbers

__all__ = ["batch_norm2d", "conv2d", "linear", "resize", "stack"]

Size: TypeAlias = "int | Elastic"


def _largest(size: Size) -> int:
    values = size.values if isinstance(size, Elastic) else (size,)
    if any(not isinstance(v, int) for v in values):
        raise SpaceError(f"a layer has sizes {list(values)}; give whole numbers (`//` and int factors keep them whole)")
    return int(values[-1])


class _Elastic(Slices):
    """What elastic layers share: named sizes, resolved from the route under way."""

    def __init__(self, **sizes: Size) -> None:
        super().__init__()
        self.sizes = sizes
        self.choice = next(s.choices[0].name for s in sizes.values() if isinstance(s, Elastic))

    def numbers(self, assignment: Mapping[str, Any]) -> dict[str, Any]:
        return {n: s.at(assignment) if isinstance(s, Elastic) else s for n, s in self.sizes.items()}

    def extra_repr(self) -> str:
        return ", ".join(
            f"{n}={'|'.join(map(str, s.values)) if isinstance(s, Elastic) else s}" for n, s in self.sizes.items()
        )

    def now(self) -> Mapping[str, Any]:
        return current_numbers(self.choice)


class _Conv2d(_Elastic):
    def __init__(self, c_in: Size, c_out: Size, kernel: Size, stride: int, groups: Size, bias: bool) -> None:
        super().__init__(c_in=c_in, c_out=c_out, kernel=kernel, groups=groups)
        self.stride = stride
        self.full = nn.Conv2d(
            _largest(c_in), _largest(c_out), _largest(kernel), stride, groups=_largest(groups), bias=bias
        )

    def tensors(self, assignment: Mapping[str, Any]) -> dict[str, Tensor]:
        n = self.numbers(assignment)
        margin = (self.full.weight.shape[-1] - n["kernel"]) // 2
        window = slice(margin, margin + n["kernel"])
        cut = {"weight": self.full.weight[: n["c_out"], : n["c_in"] // n["groups"], window, window]}
        return cut if self.full.bias is None else {**cut, "bias": self.full.bias[: n["c_out"]]}

    def forward(self, x: Tensor) -> Tensor:
        n, t = self.numbers(self.now()), self.tensors(self.now())
        return F.conv2d(x, t["weight"], t.get("bias"), self.stride, padding=n["kernel"] // 2, groups=n["groups"])


def conv2d(
    c_in: Size, c_out: Size, kernel: Size = 1, *, stride: int = 1, groups: Size = 1, bias: bool = False
) -> nn.Module:
    """Convolution padded so that stride 1 keeps the size. Elastic: leading channels, centre of the kernel.

    Raises:
        SpaceError: `groups` is neither a plain 1 nor the very number given as `c_in` and `c_out` (depthwise) while
            a size is elastic, or an elastic kernel is even.
    """
    is_open = [isinstance(size, Elastic) for size in (c_in, c_out, groups)]
    if not isinstance(kernel, Elastic) and not any(is_open):
        return nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)  # type: ignore[arg-type]
    is_depthwise = groups is c_in and groups is c_out
    if any(is_open) and not is_depthwise and (is_open[2] or groups != 1):
        raise SpaceError(
            "an elastic convolution has groups=1 or is depthwise; "
            "pass one and the same number as c_in, c_out and groups"
        )
    if isinstance(kernel, Elastic) and any(k % 2 == 0 for k in kernel.values):
        raise SpaceError(f"elastic kernel {list(kernel.values)} has an even size; a centred crop needs odd ones")
    return _Conv2d(c_in, c_out, kernel, stride, groups, bias)


class _BatchNorm2d(_Elastic):
    def __init__(self, channels: Elastic) -> None:
        super().__init__(channels=channels)
        self.full = nn.BatchNorm2d(_largest(channels))
        self._averaged: Tensor | None = None  # how many batches each channel's cumulative average is over

    def tensors(self, assignment: Mapping[str, Any]) -> dict[str, Tensor]:
        c = self.numbers(assignment)["channels"]
        named = [*self.full.named_parameters(), *self.full.named_buffers()]
        return {name: t[:c] if t.dim() else t for name, t in named}

    def forward(self, x: Tensor) -> Tensor:
        # What a caller sets on the `nn.BatchNorm2d` inside (frozen statistics, another momentum) is honoured.
        full, t = self.full, self.tensors(self.now())
        if full.training:
            t["num_batches_tracked"] += 1
            if full.momentum is None:
                return self._cumulated(x, t)
        return F.batch_norm(
            x,
            t["running_mean"],
            t["running_var"],
            t["weight"],
            t["bias"],
            full.training,
            full.momentum or 0.0,
            full.eps,
        )

    def _cumulated(self, x: Tensor, t: Mapping[str, Tensor]) -> Tensor:
        """A training pass whose statistics enter a plain mean: of each channel, over the batches that had it."""
        if self._averaged is None or int(t["num_batches_tracked"]) == 1:
            self._averaged = torch.zeros_like(self.full.weight)
        count = self._averaged[: len(t["weight"])].add_(1.0)
        mean, var = t["running_mean"].clone(), t["running_var"].clone()
        y = F.batch_norm(x, mean, var, t["weight"], t["bias"], True, 1.0, self.full.eps)
        t["running_mean"].lerp_(mean, 1.0 / count)
        t["running_var"].lerp_(var, 1.0 / count)
        return y


def batch_norm2d(channels: Size) -> nn.Module:
    """Batch norm over the leading channels; all sizes share one set of statistics (recalibrate before use)."""
    return _BatchNorm2d(channels) if isinstance(channels, Elastic) else nn.BatchNorm2d(channels)


class _Linear(_Elastic):
    def __init__(self, c_in: Size, c_out: Size, bias: bool) -> None:
        super().__init__(c_in=c_in, c_out=c_out)
        self.full = nn.Linear(_largest(c_in), _largest(c_out), bias)

    def tensors(self, assignment: Mapping[str, Any]) -> dict[str, Tensor]:
        n = self.numbers(assignment)
        cut = {"weight": self.full.weight[: n["c_out"], : n["c_in"]]}
        return cut if self.full.bias is None else {**cut, "bias": self.full.bias[: n["c_out"]]}

    def forward(self, x: Tensor) -> Tensor:
        t = self.tensors(self.now())
        return F.linear(x, t["weight"], t.get("bias"))


def linear(c_in: Size, c_out: Size, *, bias: bool = True) -> nn.Module:
    """Linear layer over the leading features."""
    if isinstance(c_in, Elastic) or isinstance(c_out, Elastic):
        return _Linear(c_in, c_out, bias)
    return nn.Linear(c_in, c_out, bias)


class _Stack(nn.Sequential):
    """A sequence of which the first `depth` run; named as the sequence of a child."""

    def __init__(self, depth: Elastic, layers: list[nn.Module]) -> None:
        super().__init__(*layers)
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        depth = int(self.depth.at(current_numbers(self.depth.choices[0].name)))
        for layer in list(self)[:depth]:
            x = layer(x)
        return x


def stack(depth: Size, make: Callable[[int], nn.Module]) -> nn.Module:
    """The first `depth` of the layers make(0), make(1), … in sequence.

    Choices asked inside `make(i)` are active only in architectures deeper than `i`.
    """
    if not isinstance(depth, Elastic):
        return nn.Sequential(*(make(i) for i in range(depth)))
    layers = []
    for i in range(_largest(depth)):
        with depth.above(i):
            layers.append(make(i))
    return _Stack(depth, layers)


class _Resize(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        size = self.size
        if isinstance(size, Elastic):
            size = int(size.at(current_numbers(size.choices[0].name)))
        if x.shape[-2:] == (size, size):
            return x
        return F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)


def resize(size: Size) -> nn.Module:
    """Images scaled to `size` × `size` (bilinear, antialiased): an elastic input resolution."""
    return _Resize(size)
