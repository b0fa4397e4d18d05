"""NAS-Bench-Graph's networks: how many there are, what is one network, and who hears of whom in a graph."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from archipel.evaluators.predictors.cells import CellGraphs, cells_of
from archipel.space import Space
from archipel.spaces.nasbench_graph import LINKS, OPERATIONS, nasbench_graph, tree

PATH = torch.diag(torch.ones(4), 1) + torch.diag(torch.ones(4), -1)  # 0 – 1 – 2 – 3 – 4


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(nasbench_graph, adjacency=PATH.tolist(), features=6, width=8, classes=3)


def test_so_many_networks_as_were_trained(space: Space) -> None:
    """26,206, and 2,021 of five operations, besides the one that does nothing."""
    assert space.size == 9**5
    for operations, count in ((tuple(OPERATIONS), 26_206), (("gcn", "sage", "arma", "fc", "skip"), 2_021)):
        every = itertools.product(LINKS, *[operations] * 4)
        assert len({tree(cell(links, *names)) for links, *names in every} - {()}) == count


def cell(links: str, *operations: str) -> dict[str, str]:
    return {"links": links, **{f"n{j}": name for j, name in enumerate(operations, 1)}}


class TestTree:
    def test_order_of_what_stands_side_by_side(self) -> None:
        assert tree(cell("0012", "gcn", "gat", "fc", "gin")) == tree(cell("0012", "gat", "gcn", "gin", "fc"))
        assert tree(cell("0012", "gcn", "gat", "fc", "gin")) != tree(cell("0012", "gcn", "gat", "gin", "fc"))

    def test_skips_hand_on(self) -> None:
        chain = tree(cell("0123", "gcn", "fc", "skip", "gat"))
        assert chain == tree(cell("0123", "skip", "gcn", "fc", "gat")) == tree(cell("0123", "gcn", "fc", "gat", "skip"))
        assert chain == (("gcn", (("fc", (("gat", ()),)),)),)

    def test_a_skip_beside_something_is_put_out_too(self) -> None:
        assert tree(cell("0111", "gcn", "gat", "skip", "fc")) == (("gcn", (("fc", ()), ("gat", ()), ("skip", ()))),)
        assert tree(cell("0000", "gcn", "gat", "skip", "skip")) == (("gat", ()), ("gcn", ())), "the input is not"


class TestNetworks:
    def test_scores_of_every_node(self, space: Space) -> None:
        x, rng = torch.randn(5, 6), random.Random(0)
        for _ in range(20):
            network = space.build(space.sample(rng))
            assert network(x).shape == (5, 3)

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_who_hears_of_whom(self, name: str) -> None:
        """After one operation a node has heard of its neighbours, or of none."""
        torch.manual_seed(0)
        x = torch.randn(5, 8, requires_grad=True)
        OPERATIONS[name](PATH, 8)(x)[1].sum().backward()
        heard = [bool(row.abs().sum() > 0) for row in x.grad]
        alone = name in ("fc", "skip")
        assert heard == ([False, True, False, False, False] if alone else [True, True, True, False, False])

    def test_graph_convolution(self) -> None:
        """ReLU(D̂^-½ (A + I) D̂^-½ X W + b)."""
        own, x = OPERATIONS["gcn"](PATH, 8), torch.randn(5, 8)
        degree = (PATH + torch.eye(5)).sum(1)
        matrix = (PATH + torch.eye(5)) / torch.sqrt(degree[:, None] * degree)
        weight = own.weights[0]
        torch.testing.assert_close(own(x), torch.relu(matrix @ x @ weight.weight.T + weight.bias))


def test_predictors_read_it_as_a_cell(space: Space) -> None:
    """Equal trees have equal graphs, up to the order of nodes."""
    graphs = CellGraphs(cells_of(space))
    spelt = ("gcn", "fc", "skip", "gat"), ("skip", "gcn", "fc", "gat")
    same = [space.canonical(cell("0123", *names)) for names in spelt]
    first, second = (graphs.graphs(architecture)[0] for architecture in same)
    assert sorted(first.kinds) == sorted(second.kinds)
    assert {"gcn", "fc", "gat"} <= set(first.kinds)
    assert "skip" not in first.kinds
