"""Graphs of cells: what they compute, written one way only; and graphs as tensors."""

from __future__ import annotations

import itertools
import random

import torch

from archipel.architecture import Architecture
from archipel.evaluators.predictors.cells import CellGraphs, cells_of
from archipel.evaluators.predictors.graphs import (
    BETWEEN,
    INPUT,
    OUTPUT,
    EdgeGraph,
    NodeGraph,
    chain,
    function_graph,
    node_tensors,
    topological,
)
from archipel.space import Space
from archipel.spaces import nasbench201

SPACE = Space(nasbench201)


def same(a: NodeGraph, b: NodeGraph) -> bool:
    """Whether some order of the nodes of `b` makes it `a`, by trying all."""
    if sorted(a.kinds) != sorted(b.kinds) or len(a.edges) != len(b.edges):
        return False
    for order in itertools.permutations(range(len(b.kinds))):
        if tuple(b.kinds[v] for v in order) == a.kinds:
            place = {v: i for i, v in enumerate(order)}
            if sorted((place[u], place[v]) for u, v in b.edges) == sorted(a.edges):
                return True
    return False


class TestFunctionGraph:
    def test_by_hand(self) -> None:
        """x + c(x + p(x)): the identity edges vanish, and both ways into c stand."""
        cell = EdgeGraph(4, ((0, 1, "pool"), (0, 2, "skip"), (1, 2, "skip"), (0, 3, "skip"), (2, 3, "conv")))
        graph = function_graph(cell, identity="skip")
        assert graph.kinds == (INPUT, "pool", "conv", OUTPUT)
        assert sorted(graph.edges) == [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]

    def test_an_input_taken_twice_counts_twice(self) -> None:
        cell = EdgeGraph(3, ((0, 1, "skip"), (0, 2, "skip"), (1, 2, "skip")))
        assert function_graph(cell, identity="skip").edges == ((0, 1), (0, 1))

    def test_what_cannot_reach_the_output_or_be_reached_is_gone(self) -> None:
        alone = EdgeGraph(4, ((0, 3, "conv"),))
        dead_end = EdgeGraph(4, ((0, 3, "conv"), (0, 1, "pool")))
        unfed = EdgeGraph(4, ((0, 3, "conv"), (1, 3, "pool"), (1, 2, "conv")))
        assert function_graph(dead_end, identity="skip") == function_graph(alone, identity="skip")
        assert function_graph(unfed, identity="skip") == function_graph(alone, identity="skip")

    def test_relabelled_cells_are_the_same_graph(self) -> None:
        """Nodes 1 and 2 change places where no edge joins them."""
        graphs, rng = CellGraphs(cells_of(SPACE)), random.Random(0)
        swap = {"e01": "e02", "e02": "e01", "e13": "e23", "e23": "e13"}
        for _ in range(30):
            a = SPACE.sample(rng).replace(e12="none")
            b = Architecture({swap.get(name, name): kind for name, kind in a.items()})
            assert same(graphs.graphs(a)[0], graphs.graphs(b)[0])

    def test_different_functions_are_different_graphs(self) -> None:
        graphs = CellGraphs(cells_of(SPACE))
        base = dict.fromkeys(("e01", "e02", "e12", "e03", "e13", "e23"), "none")
        parallel = graphs.graphs(
            Architecture({**base, "e01": "nor_conv_3x3", "e13": "skip_connect", "e03": "avg_pool_3x3"})
        )
        in_a_row = graphs.graphs(Architecture({**base, "e01": "nor_conv_3x3", "e13": "avg_pool_3x3"}))
        assert not same(parallel[0], in_a_row[0])


def test_chain() -> None:
    one = NodeGraph((INPUT, "a", OUTPUT), ((0, 1), (1, 2)))
    two = NodeGraph((OUTPUT, INPUT, "b"), ((1, 2), (1, 0), (2, 0)))
    joined = chain([one, two])
    assert joined.kinds == (INPUT, "a", BETWEEN, "b", OUTPUT)
    assert sorted(joined.edges) == [(0, 1), (1, 2), (2, 3), (2, 4), (3, 4)]


def test_topological() -> None:
    edges = [(3, 1), (1, 0), (3, 0), (0, 2)]
    order = list(topological(4, edges))
    assert sorted(order) == [0, 1, 2, 3]
    assert all(order.index(u) < order.index(v) for u, v in edges)


def test_tensors() -> None:
    small = NodeGraph((INPUT, OUTPUT), ((0, 1), (0, 1)), ((1.0,), (2.0,)))
    large = NodeGraph((INPUT, "a", OUTPUT), ((0, 1), (1, 2)), ((3.0,), (4.0,), (5.0,)))
    kinds, sizes, reaches = node_tensors([small, large], {INPUT: 1, OUTPUT: 2, "a": 3})
    assert kinds.tolist() == [[1, 2, 0], [1, 3, 2]]
    assert sizes[..., 0].tolist() == [[1, 2, 0], [3, 4, 5]]
    assert reaches[0].tolist() == [[0, 0, 0], [2, 0, 0], [0, 0, 0]]
    assert torch.equal(reaches[1].nonzero(), torch.tensor([[1, 0], [2, 1]]))
