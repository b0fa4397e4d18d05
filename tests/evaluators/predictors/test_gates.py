"""GATES and the graph networks: what must not change their codes, and what must."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.evaluators.predictors.cells import CellGraphs, EdgeCells, cells_of
from archipel.evaluators.predictors.gates import GatesOnEdge, GatesOnNode
from archipel.evaluators.predictors.graph_networks import GCN, GIN
from archipel.evaluators.predictors.graphs import INPUT, OUTPUT, NodeGraph, node_tensors
from archipel.space import Space
from archipel.spaces import nasbench201

SPACE = Space(nasbench201)
VIEW = cells_of(SPACE)
INDEX = {INPUT: 1, OUTPUT: 2, "a": 3, "b": 4, "c": 5}
ON_NODE = {
    "gates": lambda: GatesOnNode(5, layers=3, channels=16),
    "gates_mean": lambda: GatesOnNode(5, layers=3, channels=16, readout="mean", residual="input"),
    "gin": lambda: GIN(5, channels=16),
    "gcn": lambda: GCN(5, channels=16),
}
GRAPH = NodeGraph((INPUT, "a", "b", "c", "a", OUTPUT), ((0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (4, 5), (3, 5)))


def relabelled(graph: NodeGraph, rng: random.Random) -> NodeGraph:
    order = list(range(len(graph.kinds)))
    rng.shuffle(order)
    place = {v: i for i, v in enumerate(order)}
    return NodeGraph(tuple(graph.kinds[v] for v in order), tuple((place[u], place[v]) for u, v in graph.edges))


def codes(network: nn.Module, *graphs: NodeGraph) -> Tensor:
    with torch.no_grad():
        return network.double().eval()(
            *(t.double() if t.is_floating_point() else t for t in node_tensors(graphs, INDEX))
        )


@pytest.fixture(params=ON_NODE)
def on_node(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return ON_NODE[request.param]()


class TestOnNode:
    def test_the_order_of_nodes_changes_nothing(self, on_node: nn.Module) -> None:
        rng = random.Random(0)
        found = codes(on_node, GRAPH, *(relabelled(GRAPH, rng) for _ in range(5)))
        assert torch.allclose(found, found[:1].expand_as(found), atol=1e-9)

    def test_company_changes_nothing(self, on_node: nn.Module) -> None:
        small = NodeGraph((INPUT, "b", OUTPUT), ((0, 1), (1, 2)))
        assert torch.allclose(codes(on_node, small, GRAPH)[:1], codes(on_node, small), atol=1e-12)

    def test_an_operation_changed_an_edge_moved_or_doubled_changes_it(self, on_node: nn.Module) -> None:
        other_kind = NodeGraph((INPUT, "b", "b", "c", "a", OUTPUT), GRAPH.edges)
        moved = NodeGraph(GRAPH.kinds, (*GRAPH.edges[:4], (1, 4), *GRAPH.edges[5:]))
        doubled = NodeGraph(GRAPH.kinds, (*GRAPH.edges, (0, 1)))
        base, *others = codes(on_node, GRAPH, other_kind, moved, doubled)
        for other in others:
            assert float((base - other).abs().max()) > 1e-6

    def test_gradients_reach_every_parameter(self, on_node: nn.Module) -> None:
        on_node.float()(*node_tensors([GRAPH], INDEX)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in on_node.parameters())


def test_gates_on_node_follows_the_formula() -> None:
    """One layer, by hand: σ(EMB(op) W_o) ⊙ (Ã N W_x) + N W_x at the output."""
    torch.manual_seed(1)
    net = GatesOnNode(5, layers=1, channels=4)
    graph = NodeGraph((INPUT, OUTPUT), ((0, 1),))
    start = net.enter(torch.stack([net.source, torch.zeros_like(net.source)]))  # [V, hidden]
    moved = net.weights[0](start)
    gate = torch.sigmoid(net.gates[0](net.kinds(torch.tensor(2))))
    assert torch.allclose(net(*node_tensors([graph], INDEX))[0], gate * moved[0] + moved[1], atol=1e-6)


def test_only_what_leads_to_the_output_counts_for_gates() -> None:
    torch.manual_seed(0)
    net = GatesOnNode(5, layers=4, channels=16)
    dead_end = NodeGraph((*GRAPH.kinds, "b"), (*GRAPH.edges, (1, 6)))
    other = NodeGraph((*GRAPH.kinds, "c"), (*GRAPH.edges, (1, 6)))
    assert torch.allclose(codes(net, dead_end), codes(net, other), atol=1e-12)


@pytest.mark.parametrize("residual", ["all", "input"])
class TestOnEdge:
    def net(self, residual: str) -> GatesOnEdge:
        torch.manual_seed(0)
        return GatesOnEdge(len(VIEW.kinds), residual=residual, channels=16).double().eval()

    def codes(self, residual: str, *architectures: Architecture) -> Tensor:
        with torch.no_grad():
            return self.net(residual)(*EdgeCells(VIEW)(architectures))

    def test_relabelled_cells_have_one_code(self, residual: str) -> None:
        rng = random.Random(0)
        swap = {"e01": "e02", "e02": "e01", "e13": "e23", "e23": "e13"}
        for _ in range(10):
            a = SPACE.sample(rng).replace(e12="none")
            b = Architecture({swap.get(name, name): kind for name, kind in a.items()})
            one, other = self.codes(residual, a, b)
            assert torch.allclose(one, other, atol=1e-12)

    def test_an_edge_that_cannot_reach_the_output_changes_nothing(self, residual: str) -> None:
        base = SPACE.unrank(9000).replace(e02="nor_conv_1x1", e23="none", e13="skip_connect")
        found = self.codes(residual, *(base.replace(e02=kind) for kind in VIEW.kinds))
        assert torch.allclose(found, found[:1].expand_as(found), atol=1e-12)

    def test_every_live_edge_counts(self, residual: str) -> None:
        base = Architecture(dict.fromkeys(("e01", "e02", "e12", "e03", "e13", "e23"), "nor_conv_3x3"))
        first, *others = self.codes(residual, base, *(base.replace(**{name: "avg_pool_3x3"}) for name in base))
        for other in others:
            assert float((first - other).abs().max()) > 1e-6

    def test_none_carries_nothing(self, residual: str) -> None:
        """Without any edge the output is what it starts with, whatever the embeddings are."""
        nothing = Architecture(dict.fromkeys(("e01", "e02", "e12", "e03", "e13", "e23"), "none"))
        net = self.net(residual)
        with torch.no_grad():
            (before,) = net(*EdgeCells(VIEW)([nothing]))
            net.kinds.weight.normal_()
            (after,) = net(*EdgeCells(VIEW)([nothing]))
        assert torch.equal(before, after)


def test_gates_on_edge_follows_the_formula() -> None:
    torch.manual_seed(2)
    net = GatesOnEdge(len(VIEW.kinds), layers=1, channels=4, residual="all")
    a = Architecture(dict.fromkeys(("e01", "e02", "e12", "e03", "e13", "e23"), "none")).replace(e03="nor_conv_1x1")
    start = net.enter(torch.stack([net.source, torch.zeros_like(net.source)]))
    moved = net.weights[0](start)
    gate = torch.sigmoid(net.gates[0](net.kinds(torch.tensor(VIEW.kinds.index("nor_conv_1x1")))))
    assert torch.allclose(net(*EdgeCells(VIEW)([a]))[0], moved[1] + gate * moved[0], atol=1e-6)


def test_graphs_of_cells_that_compute_the_same_have_one_code_on_nodes() -> None:
    """Beyond relabelling: a skip connection in the way is no operation."""
    cells = CellGraphs(VIEW)
    torch.manual_seed(0)
    net = GatesOnNode(len(cells.index), channels=16).double()
    none = dict.fromkeys(("e01", "e02", "e12", "e03", "e13", "e23"), "none")
    spelt = [
        {**none, "e03": "nor_conv_3x3"},
        {**none, "e01": "skip_connect", "e13": "nor_conv_3x3"},
        {**none, "e01": "nor_conv_3x3", "e12": "skip_connect", "e23": "skip_connect"},
    ]
    with torch.no_grad():
        kinds, sizes, reaches = cells([Architecture(one) for one in spelt])
        found = net(kinds, sizes.double(), reaches.double())
    assert torch.allclose(found, found[:1].expand_as(found), atol=1e-12)
