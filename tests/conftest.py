"""The spaces that every contract is held against: the listed ones at tiny sizes, and tiny ones for every verb; and one
finished run for all that reads run folders."""

from __future__ import annotations

import fcntl
import inspect
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from archipel.metagraph import MetaGraph
from archipel.nn import ConvBN, batch_norm2d, conv2d, linear, resize, segment, stack
from archipel.run.folder import RunFolder
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
        if name in HELD_THERE:
            continue
        parameters = inspect.signature(function).parameters
        options: dict[str, Any] = {k: v for k, v in tiny.items() if k in parameters}
        for variant in VARIANTS.get(name, ({},)):
            spaces["-".join([name, *variant.values()])] = Space(function, **options, **variant)
    return spaces


# Cells like those of `enas`, with other operations and rules; motifs, of which many cut the output off from the input;
# cells without a meta-graph: tests/spaces/test_two_input.py, test_hierarchical.py and test_nasbench101.py hold them.
HELD_THERE = ("darts", "nasnet", "pnas", "hierarchical", "nasbench101")

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


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "of_spaces(where): held against the spaces of which that is true, and no others")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is made for the spaces that it is about: what does not apply to one is no skipped test."""
    items[:] = [item for item in items if all(mark.kwargs["where"](space) for mark, space in _conditions(item))]


def _conditions(item: pytest.Item) -> list[tuple[pytest.Mark, Space]]:
    given = getattr(item, "callspec", None)
    spaces = [given.params[name] for name in ("space", "small_space") if given and name in given.params]
    return [(mark, space) for mark in item.iter_markers("of_spaces") for space in spaces if isinstance(space, Space)]


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


OWN = """
from torch import nn

from archipel.nn import ConvBN, Residual, Zero


def little(choose, *, classes, channels):
    def layer(name):
        return Residual(choose.subset(name, {f"k{k}": (lambda k=k: ConvBN(8, 8, k)) for k in (1, 3)}, empty=Zero))

    first = {f"k{k}": (lambda k=k: ConvBN(channels, 8, k, stride=2)) for k in (3, 5)}
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)]
    return nn.Sequential(choose.subset("l0", first, empty="k3"), layer("l1"), layer("l2"), *head)
"""
SMALLEST: dict[str, Any] = {
    "network": {"width": 0.25},
    "pretraining": {"epochs": 1, "batch": 32},
    "search": {"epochs": 2, "batch": 32, "controller_batch": 32},
    "finetuning": {"epochs": 1, "batch": 32, "variants": 2},
    "exits": {"width": 0.5, "points": 2, "epochs": 6},
    "baselines": {"widths": (0.25, 0.5), "pool": 2, "contrasted": 1, "shuffles": 1, "cascades": 1},
    "latency": {
        "probed": 4, "calibrating": 8, "held_out": 3, "rounds": 3, "seconds": 0.1, "images": 1, "final_rounds": 1,
        "throughput_batch": 8,
    },
    "jobs": {"workers": 1},
}  # fmt: skip


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An `ArchipelClassifier` fitted to 200 digits, its run folder kept; made once for all processes of a session."""
    from sklearn.datasets import load_digits

    from archipel.classifier import ArchipelClassifier

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "fitted"
    folder.mkdir(exist_ok=True)
    file = folder / "classifier.pickle"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            (folder / "own.py").write_text(OWN)
            space = f"{folder / 'own.py'}:little"
            made = ArchipelClassifier(space=space, settings=SMALLEST, threads=1, out=folder / "run")
            X, y = load_digits(return_X_y=True)
            with mock.patch("archipel.classifier.write_report"):  # which takes as long as all the rest
                made.fit(X[:200], y[:200])
            file.write_bytes(pickle.dumps(made))
    return pickle.loads(file.read_bytes())


@dataclass(frozen=True)
class Finished:
    path: Path
    images: Tensor
    """Test images, uint8 `[N, H, W, 3]`, in the order of the split."""


@pytest.fixture(scope="session")
def finished(fitted: Any) -> Finished:
    """A run with early exits, InstaNAS, cascades and static networks of one seed."""
    tensors, _ = RunFolder.open(fitted.run_, write=False).read_tensors("instances.safetensors")
    return Finished(fitted.run_, tensors["images"])
