"""NAS-Bench-201's cells: the benchmark's own parameters and multiply-adds of every cell, and what a cell computes."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from archipel.architecture import Architecture
from archipel.choose import ChildReader
from archipel.cost import madds, parameters
from archipel.metagraph import MetaGraph
from archipel.space import Space
from archipel.spaces import nasbench201
from archipel.spaces.nasbench201 import EDGES, OPERATIONS


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(nasbench201)


def cell(*operations: str) -> Architecture:
    return Architecture(dict(zip(EDGES, operations)))


def test_size(space: Space) -> None:
    assert [choice.name for choice in space.choices] == list(EDGES)
    assert all(choice.options == OPERATIONS for choice in space.choices)
    assert space.size == 15_625


@pytest.mark.parametrize(
    ("classes", "size", "base", "head"), [(10, 32, 7.78305, 0.0), (100, 32, 7.78890, 5.85), (120, 16, 1.95340, 7.15)]
)
def test_published_totals(space: Space, classes: int, size: int, base: float, head: float) -> None:
    """The formulae that the benchmark's records follow: 0.073306 M + 0.028 M a 1×1 + 0.24304 M a 3×3 convolution."""
    rng = random.Random(0)
    sized = Space(nasbench201, classes=classes)
    for _ in range(3):
        architecture = space.sample(rng)
        chosen = list(architecture.values())
        one, three = chosen.count("nor_conv_1x1"), chosen.count("nor_conv_3x3")
        network = sized.read(ChildReader(architecture), device="meta")
        assert parameters(network) == 73_306 + 28_000 * one + 243_040 * three + round(head * 1000)
        per_one = 3.93216 * (size / 32) ** 2
        assert madds(network, (3, size, size)) / 1e6 == pytest.approx(base + per_one * (one + 9 * three), abs=2e-4)


def test_the_table_of_the_benchmark(space: Space) -> None:
    folder = os.environ.get("ARCHIPEL_DATA")
    if folder is None:
        pytest.skip("ARCHIPEL_DATA is not set: the folder with the real data sets")
    table = np.load(Path(folder) / "nasbench201/nasbench201.npz")
    assert [name.decode() for name in table["op_names"]] == list(OPERATIONS)
    rng = random.Random(1)
    for row in rng.sample(range(15_625), 4):
        architecture = cell(*(OPERATIONS[op] for op in table["ops"][row]))
        text = table["arch_str"][row].decode()
        written = [part.partition("~")[0] for part in text.replace("+", "").strip("|").split("|") if part]
        assert list(architecture.values()) == written
        network = space.read(ChildReader(architecture), device="meta")
        assert parameters(network) / 1e6 == pytest.approx(table["params_M_cifar10"][row], abs=1e-9)
        assert madds(network, (3, 32, 32)) / 1e6 == pytest.approx(table["flops_M_cifar10"][row], abs=2e-5)


def test_what_a_cell_computes(enliven) -> None:
    space = Space(nasbench201, cells=1, width=0.5)
    graph = enliven(MetaGraph(space))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stem, first = graph.net[0], graph.net[1]

    def run(*operations: str) -> torch.Tensor:
        whole, graph.net = graph.net, first
        try:
            return graph(stem(x), cell(*operations))
        finally:
            graph.net = whole

    h = stem(x)
    option = {edge: first.edges[edge].options for edge in EDGES}
    one = option["e01"]["nor_conv_1x1"](h)
    two = h + option["e12"]["avg_pool_3x3"](one)
    three = option["e13"]["nor_conv_3x3"](one) + two
    found = run("nor_conv_1x1", "skip_connect", "avg_pool_3x3", "none", "nor_conv_3x3", "skip_connect")
    torch.testing.assert_close(found, three)
    assert (run(*["none"] * 6) == 0).all()
    assert (option["e01"]["nor_conv_3x3"](h) < 0).any(), "an operation ends with its batch norm"
    constant = torch.ones_like(h)
    assert torch.equal(option["e01"]["avg_pool_3x3"](constant), constant), "padding is not averaged"
