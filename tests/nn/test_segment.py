"""Segments: which layers run together in a batch whose samples differ in their sizes, and how often."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.errors import ArchitectureError
from archipel.metagraph import MetaGraph, PerInstance
from archipel.nn import ConvBN, batch_norm2d, conv2d, linear, resize, segment, stack
from archipel.nn.segment import enclosed
from archipel.space import Space

X = torch.randn(12, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def two(choose) -> nn.Module:
    """Two stages whose widths are chosen apart, the second of any depth."""
    first, second = choose.value("first", [2, 4]), choose.value("second", [2, 4, 6])
    return nn.Sequential(
        segment(3, ConvBN(3, first)),
        segment(first, ConvBN(first, second)),
        segment(second, stack(choose.value("depth", [0, 1, 2]), lambda _: ConvBN(second, second, 3))),
        segment(second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(second, 5)),
    )


def every(space: Space, count: int = len(X)) -> list[Architecture]:
    return random.Random(0).sample(list(space), count)


def alone(graph: MetaGraph, architectures: list[Architecture], x: Tensor = X) -> Tensor:
    return torch.cat([graph.extract(a)(row[None]) for row, a in zip(x, architectures)])


def test_a_layer_runs_once_for_all_that_agree_on_what_it_reads(enliven) -> None:
    graph = enliven(MetaGraph(Space(two)))
    calls: Counter[str] = Counter()
    for name, layer in graph.net.named_modules():
        if name in ("0.0.0", "1.0.0", "2.0.0", "2.0.1", "3.2"):
            layer.register_forward_pre_hook(lambda *_, name=name: calls.update({name: 1}))
    architectures = every(graph.space)
    y = graph(X, PerInstance(architectures))
    torch.testing.assert_close(y, alone(graph, architectures))
    by = lambda *names: len({tuple(a[n] for n in names) for a in architectures})  # noqa: E731
    deeper = lambda d: len({a["second"] for a in architectures if a["depth"] > d})  # noqa: E731
    expected = {
        "0.0.0": by("first"),
        "1.0.0": by("first", "second"),
        "2.0.0": deeper(0),
        "2.0.1": deeper(1),
        "3.2": by("second"),
    }
    assert calls == expected
    assert len(set(architectures)) > max(expected.values())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_both_memory_layouts_and_gradients(enliven, layout: torch.memory_format) -> None:
    graph = enliven(MetaGraph(Space(two)))
    architectures = every(graph.space)
    results = []
    for run in (lambda x: graph(x, PerInstance(architectures)), lambda x: alone_in_graph(graph, x, architectures)):
        graph.zero_grad()
        own = X.clone(memory_format=layout).requires_grad_()
        y = run(own)
        y.square().sum().backward()
        results.append([y, own.grad, *(p.grad for p in graph.parameters())])
    torch.testing.assert_close(*results)


def alone_in_graph(graph: MetaGraph, x: Tensor, architectures: list[Architecture]) -> Tensor:
    return torch.cat([graph(x[i : i + 1], a) for i, a in enumerate(architectures)])


def test_in_a_child_it_is_a_plain_sequence() -> None:
    child = Space(two).build(Architecture(first=2, second=4, depth=1))
    assert {type(part) for part in child} == {nn.Sequential}
    assert type(segment(3, nn.Conv2d(3, 4, 1))) is nn.Sequential


def test_what_is_read_outside_a_segment_groups_the_whole_batch(enliven) -> None:
    """A resolution shows everywhere; a width that leaves its segment is read by the next layer."""

    def function(choose):
        width, side, kernel = choose.value("width", [2, 4]), choose.value("side", [4, 6]), choose.value("k", [1, 3])
        return nn.Sequential(
            resize(side),
            segment(3, ConvBN(3, 4, kernel), conv2d(4, width)),
            conv2d(width, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    graph = enliven(MetaGraph(Space(function)))
    assert enclosed(graph.net) == {"k"}
    seen: list[int] = []
    graph.net[2].register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    architectures = [*graph.space, *graph.space][: len(X)]
    torch.testing.assert_close(graph(X, PerInstance(architectures)), alone(graph, architectures))
    assert len(seen) == 4


def test_a_segment_around_the_network_leaves_nothing_outside() -> None:
    def function(choose):
        width = choose.value("width", [2, 4])
        return segment(3, segment(3, ConvBN(3, width)), segment(width, nn.Flatten(), nn.Identity()))

    assert enclosed(MetaGraph(Space(function)).net) == {"width"}


def test_statistics_of_their_own_for_every_way_of_being_fed() -> None:
    """In training mode each group is normalised by itself and leaves its trace where its child finds it."""
    graph = MetaGraph(Space(two)).double()
    architectures = [Architecture(first=f, second=2, depth=0) for f in (2, 4)] * 6
    graph(X, PerInstance(architectures))
    for first in (2, 4):
        own = X[[a["first"] == first for a in architectures]]
        plain = MetaGraph(Space(two)).double()
        plain.load_state_dict(graph.state_dict())
        norm = graph.extract(Architecture(first=first, second=2, depth=0))[1][0][1]
        fed = nn.functional.conv2d(
            graph.extract(Architecture(first=first, second=2, depth=0)).train()[0](own),
            graph.net[1][0][0].full.weight[:2, :first],
        )
        torch.testing.assert_close(norm.running_mean, 0.1 * fed.mean((0, 2, 3)).detach())
        assert int(norm.num_batches_tracked) == 1
    never = graph.extract(Architecture(first=2, second=6, depth=0))[1][0][1]
    assert int(never.num_batches_tracked) == 0


@pytest.mark.parametrize("momentum", [0.1, None])
def test_switched_batch_norm_trains_as_the_plain_layer(momentum: float | None) -> None:
    space = Space(lambda c: batch_norm2d(c.value("w", [2, 4]), by=[c.value("k", [1, 3])], eps=1e-3))
    graph, architecture = MetaGraph(space).double(), Architecture(w=2, k=3)
    for norm in graph.net.statistics.values():
        norm.momentum = momentum
    plain = graph.extract(architecture)
    assert (type(plain), plain.eps) == (nn.BatchNorm2d, 1e-3)
    plain.momentum = momentum
    for i in range(3):
        x = X[:, :2] * (i + 1) + i
        torch.testing.assert_close(graph(x, architecture), plain(x))
    again = graph.extract(architecture).state_dict()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(again[name], tensor)
    assert not graph.extract(Architecture(w=2, k=1)).running_mean.any()


def test_rows_that_leave_in_maps_of_different_sizes(enliven) -> None:
    def function(choose):
        kernel = choose.value("k", [1, 3])
        return segment(3, stack(kernel, lambda _: nn.MaxPool2d(2)), ConvBN(3, kernel * 2))

    graph = enliven(MetaGraph(Space(function)))
    with pytest.raises(ArchitectureError, match=r"leave a segment as maps of \[.\, .\] and \[.\, .\]; what a segment"):
        graph(X[:2].repeat(1, 1, 2, 2), PerInstance([Architecture(k=k) for k in (1, 3)]))


def test_a_lone_row_of_1x1_maps_in_training() -> None:
    graph = MetaGraph(Space(two)).double()
    architectures = [Architecture(first=f, second=2, depth=0) for f in (2, 4, 4)]
    with pytest.raises(ArchitectureError, match="only one sample of the batch takes first=2, where maps are 1×1"):
        graph(X[:3, :, :1, :1], PerInstance(architectures))
