"""Hierarchical motifs: counted by hand, what a motif's mutation changes, and the chain of identities."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from archipel.choose import ChildReader
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph, PerInstance
from archipel.space import Space
from archipel.spaces import hierarchical
from archipel.spaces.hierarchical import PRIMITIVES, identity_chain, level

SMALL = {"motifs": 2, "motif_nodes": 3, "nodes": 3, "filters": 2, "classes": 4}


@pytest.fixture(scope="module")
def graph(enliven) -> MetaGraph:
    return enliven(MetaGraph(Space(hierarchical, **SMALL)))


def test_size() -> None:
    """Edges of a graph of n nodes: n (n − 1) / 2; seven settings in motifs, one more than motifs in the cell."""
    assert Space(hierarchical, **SMALL).size == 7 ** (2 * 3) * 3**3
    assert Space(hierarchical, **{**SMALL, "motif_nodes": 4, "nodes": 4, "motifs": 1}).size == 7**6 * 2**6
    flat = Space(hierarchical, **{**SMALL, "motifs": 0, "nodes": 4})
    assert flat.size == 7**6
    assert {level(choice.name) for choice in flat.choices} == {3}
    assert all(choice.options == PRIMITIVES for choice in flat.choices)


def test_a_chain_of_identities_is_the_identity() -> None:
    """Once the projections of the merges are removed."""
    space = Space(hierarchical, **SMALL)
    network = space.build(identity_chain(space)).eval()
    cell = network[1]
    for part in cell.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.dirac_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 0.0
    x = torch.randn(2, 2, 4, 4)
    torch.testing.assert_close(cell(x), x)


def test_a_motif_changes_wherever_it_stands() -> None:
    space = Space(hierarchical, **SMALL)
    before = dict(space.canonical({c.name: "m1" if level(c.name) == 3 else "conv_1x1" for c in space.choices}))
    before["cell.e0_2"] = "m2"
    after = {**before, "m1.e0_1": "separable_3x3"}

    def kernels(values: dict) -> dict[str, int]:
        network = space.read(ChildReader(space.canonical(values)), device="meta")
        return {
            name: sum(isinstance(p, nn.Conv2d) and p.kernel_size == (3, 3) for p in edge.modules())
            for name, edge in network[1].edges.items()
        }

    assert kernels(before) == {"e0_1": 0, "e0_2": 0, "e1_2": 0}
    assert kernels(after) == {"e0_1": 1, "e0_2": 0, "e1_2": 1}


def test_routes(graph: MetaGraph) -> None:
    rng = random.Random(0)
    architectures = [graph.space.sample(rng) for _ in range(4)]
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = []
    for row, architecture in zip(x, architectures):
        child = graph.extract(architecture)
        torch.testing.assert_close(graph(x, architecture), child(x), rtol=0, atol=0)
        built = graph.space.build(architecture).state_dict()
        assert {n: t.shape for n, t in child.state_dict().items()} == {n: t.shape for n, t in built.items()}
        alone.append(child(row[None]))
    torch.testing.assert_close(graph(x, PerInstance(architectures)), torch.cat(alone), rtol=1e-9, atol=1e-9)
    assert (torch.cat(alone)[0] - torch.cat(alone)[1]).abs().max() > 1e-3


def test_mistakes() -> None:
    for name, least in (("motif_nodes", 2), ("nodes", 2), ("cells", 1), ("filters", 1)):
        with pytest.raises(SpaceError, match=f"{name} is 0; give {least} or more"):
            Space(hierarchical, **{**SMALL, name: 0})
