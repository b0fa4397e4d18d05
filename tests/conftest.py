"""The spaces that every contract is held against: the listed ones at tiny sizes, and tiny ones for every verb."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from archipel.metagraph import MetaGraph
from archipel.nn import ConvBN, batch_norm2d, conv2d, linear, resize, segment, stack
from archipel.space import Space
from archipel.spaces import SPACES, cell
from archipel.spaces.evolved import Backbone, CellSpace, Kept

torch.set_num_threads(1)  # for tensors this small, a second thread is mostly waiting

# The same examples everywhere, so that a red run is red for its commit; deadlines would be timings.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

C = 4  # channels of the tiny networks


def _head(classes: int, channels: int = C) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def _conv(kernel: int) -> Callable[[], nn.Module]:
    return lambda: ConvBN(C, C, kernel)


def conditional(choose, *, classes: int = 4) -> nn.Module:
    """Choices within options, two levels deep."""

    def deep() -> nn.Module:
        return nn.Sequential(ConvBN(C, C, 3), choose.op("mid.inner", {"k1": _conv(1), "k5": deeper}))

    def deeper() -> nn.Module:
        return nn.Sequential(ConvBN(C, C, 5), choose.subset("mid.inner.tail", {"a": _conv(1), "b": _conv(3)}))

    return nn.Sequential(
        ConvBN(3, C),
        choose.op("mid", {"k3": _conv(3), "deep": deep, "skip": nn.Identity}),
        choose.op("last", {"k1": _conv(1), "k3": _conv(3)}),
        *_head(classes),
    )


def subsets(choose, *, classes: int = 4) -> nn.Module:
    """Every kind of empty selection, summed and averaged; an option with a choice of its own."""

    def inner() -> nn.Module:
        return choose.op("s3.inner", {"k1": _conv(1), "skip": nn.Identity})

    return nn.Sequential(
        ConvBN(3, C),
        choose.subset("s0", {"a": _conv(1), "b": _conv(3), "c": nn.Identity}, mean=True),
        choose.subset("s1", {"a": _conv(3), "b": _conv(1)}, empty="b"),
        choose.subset("s2", {"a": _conv(1), "b": _conv(3)}, empty=nn.Identity, mean=True),
        choose.subset("s3", {"a": _conv(3), "n": inner}, empty=lambda: ConvBN(C, C, 5)),
        *_head(classes),
    )


class Cell(nn.Module):
    """node = Σ of two of (x, f(x), g(f(x))); the output is one of (x, node)."""

    def __init__(self, first: nn.Module, second: nn.Module, node: nn.Module, out: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.node, self.out = first, second, node, out

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        return self.out([x, self.node([x, first, self.second(first)])])


def cells(choose, *, classes: int = 4) -> nn.Module:
    """A cell that stands twice and takes one set of decisions; edges that hold choices."""

    def edge() -> nn.Module:
        return choose.op("cell.edge", {"k3": _conv(3), "pool": lambda: nn.AvgPool2d(3, 1, 1)})

    def cell() -> nn.Module:
        node = choose.inputs("cell.node", [edge, _conv(1), nn.Identity], k=2)
        return Cell(ConvBN(C, C), ConvBN(C, C), node, choose.inputs("cell.out", 2))

    return nn.Sequential(ConvBN(3, C), cell(), cell(), *_head(classes))


def shared(choose, *, classes: int = 4) -> nn.Module:
    """One decision in two options of an op."""

    def act() -> nn.Module:
        return choose.op("act", {"relu": nn.ReLU, "tanh": nn.Tanh})

    kinds = {
        "before": lambda: nn.Sequential(act(), ConvBN(C, C, 3)),
        "after": lambda: nn.Sequential(nn.Conv2d(C, C, 1), act()),
        "skip": nn.Identity,
    }
    return nn.Sequential(
        ConvBN(3, C),
        choose.op("kind", kinds),
        choose.op("last", {"k1": _conv(1), "k3": _conv(3)}),
        *_head(classes),
    )


def elastic(choose, *, classes: int = 4) -> nn.Module:
    """Resolution, width, expansion (a product of two values), depthwise kernel, and depth with choices inside."""
    width, kernel = choose.value("width", [2, 4]), choose.value("kernel", [1, 3])
    hidden = width * choose.value("expand", [1, 2])

    def layer(i: int) -> nn.Module:
        return nn.Sequential(
            conv2d(width, hidden),
            batch_norm2d(hidden),
            nn.ReLU(),
            conv2d(hidden, hidden, kernel, groups=hidden),
            batch_norm2d(hidden),
            conv2d(hidden, width, bias=True),
            batch_norm2d(width),
            choose.op(f"act{i}", {"relu": nn.ReLU, "tanh": nn.Tanh}),
        )

    return nn.Sequential(
        resize(choose.value("side", [6, 8])),
        conv2d(3, width, 3),
        batch_norm2d(width),
        stack(choose.value("depth", [0, 1, 2]), layer),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        linear(width, classes),
    )


class Pair(nn.Module):
    """One of (f(x), g(x))."""

    def __init__(self, pick: nn.Module) -> None:
        super().__init__()
        self.left, self.right, self.pick = ConvBN(C, C), ConvBN(C, C, 3), pick

    def forward(self, x: Tensor) -> Tensor:
        return self.pick([self.left(x), self.right(x)])


def nested(choose, *, classes: int = 4) -> nn.Module:
    """Values and subsets inside options: every verb under every other."""

    def wide() -> nn.Module:
        hidden = choose.value("block.hidden", [2, 6])
        return nn.Sequential(conv2d(C, hidden, 3), batch_norm2d(hidden), nn.ReLU(), conv2d(hidden, C))

    def either() -> nn.Module:
        return choose.op("block.either", {"wide": wide, "skip": nn.Identity})

    def pair() -> nn.Module:
        return Pair(choose.inputs("pick", [_conv(1), either]))

    block = choose.subset("block", {"k3": _conv(3), "pair": pair}, empty=nn.Identity)
    return nn.Sequential(ConvBN(3, C), block, choose.op("last", {"k1": _conv(1), "k3": _conv(3)}), *_head(classes))


def segments(choose, *, classes: int = 4) -> nn.Module:
    """Widths that pass from one segment to the next; a depth, sizes and an op inside; one segment within another."""
    first, second = choose.value("first", [2, 4]), choose.value("second", [2, 4])

    def layer(i: int) -> nn.Module:
        hidden = second * choose.value(f"expand{i}", [1, 2])
        return segment(second, ConvBN(second, hidden), ConvBN(hidden, second, 3, act=None))

    def pool(kernel: int) -> Callable[[], nn.Module]:
        return lambda: nn.AvgPool2d(kernel, 1, kernel // 2)

    return nn.Sequential(
        segment(3, ConvBN(3, first, choose.value("kernel", [1, 3]))),
        segment(first, ConvBN(first, second), choose.op("pool", {"p1": pool(1), "p3": pool(3)})),
        segment(second, stack(choose.value("depth", [0, 1, 2]), layer)),
        segment(second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(second, classes)),
    )


def _listed() -> dict[str, Space]:
    """Every listed space, as small as its options let it be."""
    tiny = {"classes": 4, "channels": 3, "size": 8, "width": 0.25, "macro": "light", "blocks": 1, "cells": 1,
            "out_channels": 64, "filters": 4}  # fmt: skip
    spaces = {}
    for name, function in SPACES.items():
        if name in LIKE_ENAS:
            continue
        parameters = inspect.signature(function).parameters
        options: dict[str, Any] = {k: v for k, v in tiny.items() if k in parameters}
        for variant in VARIANTS.get(name, ({},)):
            spaces["-".join([name, *variant.values()])] = Space(function, **options, **variant)
    return spaces


# Cells of `enas` with more operations and other rules, which tests/spaces/test_two_input.py holds.
LIKE_ENAS = ("nasnet", "pnas")

# The options of a space that change what its layers compute.
VARIANTS: dict[str, tuple[dict[str, str], ...]] = {
    "mobilenet_elastic": ({"widths": "network"}, {"widths": "stage"}),
    "instanas": ({"shortcut": "shared", "combine": "mean"}, {"shortcut": "per_op", "combine": "sum"}),
    "resnet_flat": ({"downsample": "pool"}, {"downsample": "projection"}),
}


def _evolved() -> Space:
    """Cells with the expansion at each node, strided and not, heeding mix bits; a block that can be left out."""
    cells = (
        cell.Cell((5, 3, 1, 1, 3, 2), dim=0, mix=(1, 1)),
        cell.Cell((3, 2, 0, 1, 5, 1), dim=1),
        cell.Cell((1, 1, 3, 1, 0, 3)),
    )
    options = (Kept(cells[0], 2), Kept(cells[1], 2), Kept(cells[2], 3), Kept(cell.reference(5), 3))
    backbone = Backbone(4, 1, 4, ((4, 1), (6, 2)), 8)
    return Space(CellSpace(backbone, (options, options), attention=True).function, classes=4, size=8)


ENUMERABLE = {f.__name__: Space(f) for f in (conditional, subsets, cells, shared, elastic, nested, segments)}
ENUMERABLE["evolved"] = _evolved()
SPACES_HELD = {**ENUMERABLE, **_listed()}


@pytest.fixture(scope="session", params=SPACES_HELD.values(), ids=SPACES_HELD.keys())
def space(request: pytest.FixtureRequest) -> Space:
    """Every space there is; inputs are `[B, 3, 8, 8]`, outputs `[B, 4]`."""
    return request.param


@pytest.fixture(scope="session", params=ENUMERABLE.values(), ids=ENUMERABLE.keys())
def small_space(request: pytest.FixtureRequest) -> Space:
    """A space of at most 600 architectures."""
    return request.param


@pytest.fixture(scope="session")
def enliven() -> Callable[..., nn.Module]:
    return _enlivened


def _enlivened(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and batch-norm statistics, evaluation mode, float64. Freshly made networks give nearly the
    same output for any input and any architecture, so that comparing outputs would prove nothing.
    """
    rng = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for tensor in module.parameters():
            fan_in = max(1, tensor[0].numel()) if tensor.dim() > 1 else 1
            tensor.normal_(0, fan_in**-0.5, generator=rng)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):  # an elastic one has weights and statistics apart
                if part.affine:
                    part.weight.uniform_(0.5, 1.5, generator=rng)
                    part.bias.uniform_(0.5, 1.0, generator=rng)  # enough that no narrow layer dies behind its ReLU
                if part.running_mean is not None:
                    part.running_mean.normal_(0, 0.3, generator=rng)
                    part.running_var.uniform_(0.5, 2.0, generator=rng)
    return module


@pytest.fixture(scope="session")
def graph(space: Space) -> MetaGraph:
    """The meta-graph of `space` with random weights and statistics; a test that changes it takes a copy."""
    return _enlivened(MetaGraph(space))


class Killed(BaseException):
    """What `Killer` raises: not an Exception, so that nothing can swallow it."""


class Killer:
    """A progress and a checkpoint that raise at the `at`-th time they are used, counted from 0: between any two steps
    of a training, and before and after every write."""

    def __init__(self, at: int | None = None, checkpoint: Any = None) -> None:
        self.at = at
        self.checkpoint = checkpoint
        self.count = 0

    def tick(self) -> None:
        self.count += 1
        if self.at is not None and self.count > self.at:
            raise Killed

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Killer]:  # noqa: ARG002
        yield self

    def advance(self, n: int = 1, **figures: float | str) -> None:  # noqa: ARG002
        self.tick()

    def say(self, text: str) -> None: ...

    def alarm(self, text: str) -> None: ...

    def save(self, parts: Mapping[str, Any], meta: dict[str, Any]) -> None:
        self.tick()
        self.checkpoint.save(parts, meta)
        self.tick()

    def load(self, parts: Mapping[str, Any]) -> dict[str, Any] | None:
        return self.checkpoint.load(parts)


@pytest.fixture(scope="session")
def killer() -> type[Killer]:
    return Killer


@pytest.fixture(scope="session")
def killed() -> type[Killed]:
    return Killed
