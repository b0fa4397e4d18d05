"""Graphs traced from networks: every operation, whoever called it, and nothing that computes nothing."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archipel.cost import madds, parameters
from archipel.errors import SpaceError
from archipel.evaluators.predictors.graphs import INPUT, OUTPUT
from archipel.evaluators.predictors.trace import COUNT, KINDS, SIZES, ChildGraphs, child_graphs, kind_index, trace
from archipel.nn import ConvBN
from archipel.space import Space


class Branches(nn.Module):
    """relu(bn(conv(x))) + conv(x), and a branch that nobody reads."""

    def __init__(self, functional: bool) -> None:
        super().__init__()
        self.functional = functional
        self.one, self.norm, self.other = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(3, 8, 1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.one(x))
        y = F.relu(y) if self.functional else self.act(y)
        _ = torch.sigmoid(y) * 3
        return y + self.other(x)


def test_operations_and_what_flows_where() -> None:
    graph = trace(Branches(functional=True), (3, 6, 6))
    assert graph.kinds == (INPUT, "convolution+relu", "convolution", "add", OUTPUT)
    assert sorted(graph.edges) == [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)]


def test_how_it_is_written_does_not_matter() -> None:
    assert trace(Branches(functional=True), (3, 6, 6)) == trace(Branches(functional=False), (3, 6, 6))


def test_sizes() -> None:
    graph = trace(nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2, bias=False)), (3, 6, 6))
    found = dict(zip(SIZES, graph.sizes[1]))
    assert found["kernel"] == 5 / 8
    assert found["stride"] == 2 / 8
    counts = {name: round(2 ** (8 * x)) - 1 for name, x in found.items()}
    assert (counts["channels in"], counts["channels out"]) == (3, 8)
    assert counts["side"] == 3
    assert counts["parameters"] == 8 * 3 * 25
    assert counts["multiply-adds"] == 8 * 3 * 25 * 9


def test_an_activation_of_what_others_read_too_stands_alone() -> None:
    class Preactivated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x + x
            return torch.relu(y) + y

    graph = trace(Preactivated(), (3, 4, 4))
    assert graph.kinds == (INPUT, "add", "activation+relu", "add", OUTPUT)
    assert sorted(graph.edges) == [(0, 1), (0, 1), (1, 2), (1, 3), (2, 3), (3, 4)]


def test_depthwise_and_dense_are_told_apart() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3))
    assert trace(network, (4, 9, 9)).kinds[1:-1] == ("depthwise", "convolution", "convolution")


def test_an_unknown_operation_has_a_kind_of_its_own() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cumsum(x.flatten(1), 1)

    kinds = trace(Odd(), (3, 4, 4)).kinds
    assert kinds == (INPUT, "cumsum", OUTPUT)
    assert all(1 <= kind_index(kind) <= COUNT for kind in kinds)
    assert kind_index("cumsum") > len(KINDS)


def test_without_a_way_there_is_no_graph() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 4, device=x.device)

    with pytest.raises(SpaceError, match="does not depend on its input"):
        trace(Constant(), (3, 4, 4))


def test_every_space_has_graphs(space: Space) -> None:
    rng = random.Random(0)
    architecture = space.sample(rng)
    graph = ChildGraphs(space, (3, 8, 8)).graph(architecture)
    assert graph == trace(space.build(architecture), (3, 8, 8))
    assert graph.kinds.count(INPUT) == graph.kinds.count(OUTPUT) == 1
    assert all(u < v for u, v in graph.edges)
    reached = {v for _, v in graph.edges}
    feeding = {u for u, _ in graph.edges}
    for v, kind in enumerate(graph.kinds):
        assert kind == INPUT or v in reached
        assert kind == OUTPUT or v in feeding


# Networks of these two compute what nobody reads, which is in their cost and not in their graph.
@pytest.mark.of_spaces(where=lambda space: space.name not in ("cells", "nested"))
def test_networks_that_cost_differently_have_different_graphs(small_space: Space) -> None:
    children, rng = ChildGraphs(small_space, (3, 8, 8)), random.Random(0)
    costs: dict[object, set[tuple[int, int]]] = {}
    for architecture in [small_space.sample(rng) for _ in range(12)]:
        child = small_space.build(architecture)
        costs.setdefault(children.graph(architecture), set()).add((parameters(child), madds(child, (3, 8, 8))))
    assert all(len(found) == 1 for found in costs.values())
    assert len(costs) >= len(set.union(*costs.values())) > 1


def test_tensors_fit_together() -> None:
    def tiny(choose) -> nn.Module:
        return nn.Sequential(ConvBN(3, 4), choose.op("a", {"k3": lambda: ConvBN(4, 4, 3), "skip": nn.Identity}))

    children = ChildGraphs(Space(tiny), (3, 4, 4))
    kinds, sizes, reaches = children(list(children.space))
    assert kinds.shape == (2, 4)
    assert sizes.shape == (2, 4, len(SIZES))
    assert reaches.shape == (2, 4, 4)
    assert sorted((kinds > 0).sum(1).tolist()) == [3, 4]


def test_what_is_done_in_place_behind_batch_norm_is_not_done_to_what_is_before_it() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return y + nn.functional.relu(self.norm(y), inplace=True)

    graph = trace(Both(), (3, 4, 4))
    assert graph.kinds == (INPUT, "convolution", "activation+relu", "add", OUTPUT)
    assert sorted(graph.edges) == [(0, 1), (1, 2), (1, 3), (2, 3), (3, 4)]


def test_searches_in_one_space_share_its_graphs() -> None:
    space = Space(lambda choose: choose.op("a", {"k3": lambda: ConvBN(3, 4, 3), "skip": nn.Identity}))
    assert child_graphs(space, (3, 8, 8)) is child_graphs(space, (3, 8, 8))
    assert child_graphs(space, (3, 4, 4)) is not child_graphs(space, (3, 8, 8))
