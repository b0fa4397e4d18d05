"""NAS-Bench-101: the benchmark's keys, counts and parameters."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from archipel.choose import ChildReader
from archipel.cost.complexity import parameters
from archipel.errors import EvaluationError, SpaceError
from archipel.metagraph import MetaGraph
from archipel.space import Space
from archipel.spaces import nasbench101
from archipel.spaces.nasbench101 import OPERATIONS, Graph

# The cell that the benchmark's page shows, and the parameters that it has there.
SHOWN = Graph.of_matrix(
    [
        [0, 1, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    ["conv1x1", "conv3x3", "conv3x3", "conv3x3", "maxpool3x3"],
)
SHOWN_PARAMETERS = 2_694_282


def architecture_of(graph: Graph, space: Space):
    last = space_vertices(space) - 1
    ends = {graph.vertices - 1: last}
    values = {f"n{j}.op": OPERATIONS[0] for j in range(1, last)}
    values |= {f"n{j}.op": operation for j, operation in enumerate(graph.operations, 1)}
    inputs: dict[str, list[str]] = {f"n{j}.in": [] for j in range(1, last + 1)}
    for i, j in graph.edges:
        inputs[f"n{ends.get(j, j)}.in"].append(str(i))
    return space.canonical({**values, **inputs})


def space_vertices(space: Space) -> int:
    return 2 + sum(choice.name.endswith(".op") for choice in space.choices)


def every_graph(vertices: int):
    pairs = list(itertools.combinations(range(vertices), 2))
    for bits in itertools.product((0, 1), repeat=len(pairs)):
        edges = frozenset(pair for pair, bit in zip(pairs, bits) if bit)
        whole = Graph(edges, (OPERATIONS[0],) * (vertices - 2))
        if whole.problem() is None and whole.pruned.vertices == vertices:  # smaller ones have been there
            for operations in itertools.product(OPERATIONS, repeat=vertices - 2):
                yield Graph(edges, operations)


def published() -> dict[str, np.ndarray]:
    folder = os.environ.get("ARCHIPEL_DATA")
    if folder is None:
        pytest.skip("ARCHIPEL_DATA is not set: the folder with the real data sets")
    return dict(np.load(Path(folder) / "ec_nasbench/ec_nasbench_4epochs.npz"))


def test_size() -> None:
    assert Space(nasbench101).size == 2**21 * 3**5


def test_different_networks_of_few_vertices() -> None:
    """91 cells of at most four vertices and nine edges, and 2,532 of five, as the published sub-spaces have."""
    keys = {graph.key for vertices in (2, 3, 4) for graph in every_graph(vertices)}
    assert len(keys) == 91
    assert len(keys | {graph.key for graph in every_graph(5)}) == 2_532


def test_numbering_vertices_otherwise_changes_no_key() -> None:
    shown = SHOWN
    order = [0, 2, 1, 5, 3, 4, 6]  # still from smaller to larger along every edge
    place = {vertex: at for at, vertex in enumerate(order)}
    operations = tuple(shown.operations[v - 1] for v in order[1:-1])
    other = Graph(frozenset((place[i], place[j]) for i, j in shown.edges), operations)
    assert other != shown
    assert all(i < j for i, j in other.edges)
    assert other.key == shown.key
    changed = Graph(shown.edges, ("conv3x3", *shown.operations[1:]))
    assert changed.key != shown.key


def test_vertices_off_every_path_are_left_out() -> None:
    loose = Graph(frozenset({(0, 1), (1, 3), (0, 2)}), ("conv3x3", "conv1x1"))
    assert loose.pruned == Graph(frozenset({(0, 1), (1, 2)}), ("conv3x3",))
    assert loose.key == loose.pruned.key
    assert Graph(frozenset({(0, 1)}), ("conv3x3",)).problem() == "no path leads from its input to its output"
    full = Graph(frozenset(itertools.combinations(range(5), 2)), ("conv3x3",) * 3)
    assert full.problem() == "it has 10 edges between input and output, more than 9"


def test_parameters_of_the_cell_that_is_shown() -> None:
    space = Space(nasbench101)
    architecture = architecture_of(SHOWN, space)
    assert Graph.of(architecture) == SHOWN
    network = space.read(ChildReader(architecture), device="meta")
    assert parameters(network) == SHOWN_PARAMETERS


def test_keys_and_parameters_of_the_published_sub_space() -> None:
    table = published()
    assert len(set(table["hash"].tolist())) == 2_532
    codes = {code: operation for operation, code in zip(OPERATIONS, (0, 1, 2))}
    space = Space(nasbench101, vertices=5)
    for row in random.Random(0).sample(range(len(table["hash"])), 25):
        v = int(table["n_vertices"][row])
        operations = [codes[int(label)] for label in table["labels"][row][1 : v - 1]]
        graph = Graph.of_matrix(table["matrix"][row][:v, :v].tolist(), operations)
        key = table["hash"][row]
        assert graph.key == (key.decode() if isinstance(key, bytes) else str(key))
        network = space.read(ChildReader(architecture_of(graph, space)), device="meta")
        assert parameters(network) == table["params"][row]


def test_networks_run_and_what_is_none_says_so() -> None:
    space = Space(nasbench101, filters=7, cells=1, classes=4)
    x = torch.randn(2, 3, 9, 9)
    assert space.build(architecture_of(SHOWN, space))(x).shape == (2, 4)
    straight = Graph(frozenset({(0, 6), (0, 1), (1, 6)}), ("maxpool3x3",) * 5)
    assert space.build(architecture_of(straight, space)).eval()(x).shape == (2, 4)
    with pytest.raises(EvaluationError, match="cannot be built: no path leads from its input to its output"):
        space.build(space.unrank(0))
    with pytest.raises(SpaceError, match="has no meta-graph"):
        MetaGraph(space)(x, space.unrank(0))
    with pytest.raises(SpaceError, match="vertices is 2; give 3 or more"):
        Space(nasbench101, vertices=2)
