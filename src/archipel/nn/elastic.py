"""Layers whose sizes may still be open (`choose.value`): plain in a child, elastic in the meta-graph.

Each factory takes plain numbers or `Elastic` ones. With plain numbers it is the torch layer itself; with elastic
ones it holds the weights of the largest size and runs the leading channels and the centre of the kernel
(slimmable networks, Yu et al. 2019; BigNAS, Yu et al. 2020).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.choice import Choice
from archipel.elastic_value import Elastic
from archipel.errors import SpaceError
from archipel.routes import Slices, current, current_numbers, follow
from archipel.rows import Rows, assembled, lone_row_explained, rows_of

__all__ = [
    "ElasticBatchNorm2d",
    "ElasticConv2d",
    "ElasticLayer",
    "Size",
    "SwitchedBatchNorm2d",
    "batch_norm2d",
    "conv2d",
    "linear",
    "mapped",
    "reads",
    "resize",
    "stack",
]

Size: TypeAlias = "int | Elastic"


def mapped(size: Any, function: Callable[[Any], int]) -> Size:
    """A function of a number that may be open, for what +, -, * and // do not say."""
    return size.then(function) if isinstance(size, Elastic) else function(size)


def _largest(size: Size) -> int:
    values = size.values if isinstance(size, Elastic) else (size,)
    if any(not isinstance(v, int) for v in values):
        raise SpaceError(f"a layer has sizes {list(values)}; give whole numbers (`//` and int factors keep them whole)")
    return int(values[-1])


class ElasticLayer(Slices):
    """What elastic layers share: named sizes, resolved from the route under way."""

    def __init__(self, **sizes: Size) -> None:
        super().__init__()
        self.sizes = sizes
        self.choices = list(dict.fromkeys(c for s in sizes.values() if isinstance(s, Elastic) for c in s.choices))
        self.choice = self.choices[0].name

    def numbers(self, assignment: Mapping[str, Any]) -> dict[str, Any]:
        return {n: s.at(assignment) if isinstance(s, Elastic) else s for n, s in self.sizes.items()}

    def settings(self) -> Iterator[dict[str, Any]]:
        """Every way in which the choices of its sizes can be set."""
        for values in itertools.product(*(choice.options for choice in self.choices)):
            yield dict(zip((choice.name for choice in self.choices), values))

    def key(self, assignment: Mapping[str, Any]) -> str:
        """The name of such a way."""
        return "-".join(str(assignment[choice.name]) for choice in self.choices).replace(".", "_")

    def extra_repr(self) -> str:
        return ", ".join(
            f"{n}={'|'.join(map(str, s.values)) if isinstance(s, Elastic) else s}" for n, s in self.sizes.items()
        )

    def now(self) -> Mapping[str, Any]:
        return current_numbers(self.choice)


class ElasticConv2d(ElasticLayer):
    def __init__(
        self, c_in: Size, c_out: Size, kernel: tuple[Size, Size], stride: Size, groups: Size, bias: bool
    ) -> None:
        height, width = kernel
        super().__init__(c_in=c_in, c_out=c_out, height=height, width=width, stride=stride, groups=groups)
        self.full = nn.Conv2d(
            _largest(c_in), _largest(c_out), (_largest(height), _largest(width)), groups=_largest(groups), bias=bias
        )

    def tensors(self, assignment: Mapping[str, Any]) -> dict[str, Tensor]:
        n = self.numbers(assignment)
        rows, columns = (
            slice((whole - own) // 2, (whole - own) // 2 + own)
            for whole, own in zip(self.full.weight.shape[2:], (n["height"], n["width"]))
        )
        cut = {"weight": self.full.weight[: n["c_out"], : n["c_in"] // n["groups"], rows, columns]}
        return cut if self.full.bias is None else {**cut, "bias": self.full.bias[: n["c_out"]]}

    def forward(self, x: Tensor) -> Tensor:
        n, t = self.numbers(self.now()), self.tensors(self.now())
        padding = (n["height"] // 2, n["width"] // 2)
        return F.conv2d(x, t["weight"], t.get("bias"), n["stride"], padding, groups=n["groups"])


def conv2d(
    c_in: Size,
    c_out: Size,
    kernel: Size | tuple[Size, Size] = 1,
    *,
    stride: Size = 1,
    groups: Size = 1,
    bias: bool = False,
) -> nn.Module:
    """Convolution padded so that stride 1 keeps the size. Elastic: leading channels, centre of the kernel.

    Args:
        kernel: one number, or height and width.

    Raises:
        SpaceError: `groups` is neither a plain 1 nor the very number given as `c_in` and `c_out` (depthwise) while
            a size is elastic, or an elastic kernel is even.
    """
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    is_open = [isinstance(size, Elastic) for size in (c_in, c_out, groups)]
    if not any(isinstance(size, Elastic) for size in (c_in, c_out, *sides, stride, groups)):
        wide, out, height, width, step, parts = map(_largest, (c_in, c_out, *sides, stride, groups))  # plain numbers
        return nn.Conv2d(wide, out, (height, width), step, (height // 2, width // 2), groups=parts, bias=bias)
    is_depthwise = groups is c_in and groups is c_out
    if any(is_open) and not is_depthwise and (is_open[2] or groups != 1):
        raise SpaceError(
            "an elastic convolution has groups=1 or is depthwise; "
            "pass one and the same number as c_in, c_out and groups"
        )
    for side in sides:
        if isinstance(side, Elastic) and any(k % 2 == 0 for k in side.values):
            raise SpaceError(f"elastic kernel {list(side.values)} has an even size; a centred crop needs odd ones")
    return ElasticConv2d(c_in, c_out, sides, stride, groups, bias)


class ElasticBatchNorm2d(ElasticLayer):
    def __init__(self, channels: Elastic, eps: float) -> None:
        super().__init__(channels=channels)
        self.full = nn.BatchNorm2d(_largest(channels), eps)
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


class SwitchedBatchNorm2d(ElasticLayer):
    """One weight and bias, and running statistics for every way in which the choices of its sizes are set."""

    def __init__(self, channels: Size, by: Sequence[Size], eps: float) -> None:
        super().__init__(channels=channels, **{f"by{i}": size for i, size in enumerate(by)})
        self.full = nn.BatchNorm2d(_largest(channels), eps, track_running_stats=False)
        self.statistics = nn.ModuleDict()
        for assignment in self.settings():
            own = self.numbers(assignment)["channels"]
            self.statistics[self.key(assignment)] = nn.BatchNorm2d(own, eps, affine=False)

    def tensors(self, assignment: Mapping[str, Any]) -> dict[str, Tensor]:
        statistics = self.statistics[self.key(assignment)]
        c = self.numbers(assignment)["channels"]
        return {"weight": self.full.weight[:c], "bias": self.full.bias[:c], **dict(statistics.named_buffers())}

    def forward(self, x: Tensor) -> Tensor:
        own, t = self.statistics[self.key(self.now())], self.tensors(self.now())
        assert isinstance(own, nn.BatchNorm2d)
        factor = own.momentum or 0.0
        if own.training:
            t["num_batches_tracked"] += 1
            factor = 1.0 / float(t["num_batches_tracked"]) if own.momentum is None else own.momentum
        return F.batch_norm(
            x, t["running_mean"], t["running_var"], t["weight"], t["bias"], own.training, factor, own.eps
        )


def batch_norm2d(channels: Size, *, by: Sequence[Size] | None = None, eps: float = 1e-5) -> nn.Module:
    """Batch norm over the leading channels.

    Without `by` all sizes share one set of statistics, which fit one child at a time (recalibrate before use). With it
    there is a set for every way in which the choices of `channels` and `by` are set (switchable batch norm, Yu et al.,
    ICLR 2019, though weight and bias are shared), so that samples of one batch may differ in them.

    Args:
        by: sizes of what comes before, such as the channels and the kernel of the convolution; none in `()`.
    """
    if by is not None and any(isinstance(size, Elastic) for size in (channels, *by)):
        return SwitchedBatchNorm2d(channels, by, eps)
    return ElasticBatchNorm2d(channels, eps) if isinstance(channels, Elastic) else nn.BatchNorm2d(channels, eps)


class _Linear(ElasticLayer):
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
        self.choice = depth.choices[0]

    def forward(self, x: Tensor) -> Tensor:
        route = current(self.choice.name)
        if isinstance(route, Rows) and self.choice.name not in route.numbers:
            return self._ever_fewer(x, route)
        depth = int(self.depth.at(current_numbers(self.choice.name)))
        for layer in list(self)[:depth]:
            x = layer(x)
        return x

    def _ever_fewer(self, x: Tensor, route: Rows) -> Tensor:
        """Every layer on the rows that are deep enough for it."""
        depths = torch.tensor([int(self.depth.at({self.choice.name: v})) for v in route.values(self.choice)])
        rows, done = torch.arange(len(depths)), []  # of what is left, and what is through
        for i, layer in enumerate(self):
            stays = depths[rows] > i
            if not stays.any():
                break
            if not stays.all():
                left, on = ((~stays).nonzero()[:, 0], stays.nonzero()[:, 0])
                done.append((rows[left], rows_of(x, left.to(x.device))))
                x, rows, route = rows_of(x, on.to(x.device)), rows[on], route.narrowed(on)
            with follow(route), lone_row_explained(f"is deep enough for layer {i} of choice '{self.choice.name}'"):
                x = layer(x)
        return assembled([*done, (rows, x)]) if done else x


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


def reads(module: nn.Module) -> Iterator[tuple[Choice, bool]]:
    """(`value` choice, whether only as a depth) of every choice that a layer itself reads."""
    if isinstance(module, ElasticLayer):
        yield from ((choice, False) for choice in module.choices)
    elif isinstance(module, _Stack):
        yield module.choice, True
    elif isinstance(module, _Resize) and isinstance(module.size, Elastic):
        yield from ((choice, False) for choice in module.size.choices)
