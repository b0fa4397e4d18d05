"""FBNet's space: rows and columns of the published tables, its structure against one of them, what a layer is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import ChildReader
from archipel.cost.complexity import layers
from archipel.metagraph import MetaGraph
from archipel.nn import Residual
from archipel.space import Space
from archipel.spaces import fbnet

COLUMNS = ["k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip"]
# HW-NAS-Bench, FPGA, milliseconds of k3_e3 less those of k3_e1 in every layer.
FPGA_MS = [0.6144, 0.73728, *[1.29024] * 3, 0.36864, *[0.55296] * 3, 0.19968, *[0.52224] * 3, 0.70656, *[1.55904] * 3,
           0.52416, *[1.12896] * 3, 1.58976]  # fmt: skip


def child(space: Space, option: str) -> nn.Module:
    chosen = Architecture({choice.name: option for choice in space.choices})
    return space.read(ChildReader(chosen), device="meta").eval()


def test_rows_and_columns() -> None:
    space = Space(fbnet)
    assert [choice.name for choice in space.choices] == [f"l{i}" for i in range(22)]
    assert all(list(choice.options) == COLUMNS for choice in space.choices)
    assert space.size == 9**22


def test_the_structure_is_the_one_that_was_measured() -> None:
    """On the FPGA an expansion of 3 in place of 1 takes a time proportional to in × (in + out + 8) channels at the
    layer's output side: all 22 figures hold to the last digit (184 channels take the time of 192)."""
    network = child(Space(fbnet), "k3_e3")
    side, found = 32, []
    for i in range(22):
        layer = network[i + 1].body if isinstance(network[i + 1], Residual) else network[i + 1]
        side //= layer[1][0].stride[0]
        c_in, c_out = (192 if c == 184 else c for c in (layer[0][0].in_channels, layer[-1][0].out_channels))
        found.append(c_in * (c_in + c_out + 8) * side**2)
    scale = FPGA_MS[0] / found[0]
    assert [cost * scale for cost in found] == pytest.approx(FPGA_MS, rel=1e-9)


@pytest.mark.parametrize(("size", "stem", "tail"), [(32, 32, (1504, 4)), (224, 112, (1984, 7))])
def test_ends(size: int, stem: int, tail: tuple[int, int]) -> None:
    network = child(Space(fbnet, size=size, classes=7), "k3_e1")
    convolutions = [row.output_shape for row in layers(network, (3, size, size)) if row.kind == "Conv2d"]
    assert convolutions[0] == (16, stem, stem)
    assert convolutions[-1][:2] == tail
    assert network[-1].out_features == 7


def test_what_a_layer_computes(enliven) -> None:
    space = Space(fbnet, width=0.5)
    graph = enliven(MetaGraph(space))
    head, layer = graph.net[2], graph.net[3]  # l1: 8 to 16 channels; l2: 16 to 16
    x = torch.randn(2, 16, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def run(module: nn.Module, x: torch.Tensor, option: str) -> torch.Tensor:
        whole, graph.net = graph.net, module
        try:
            return graph(x, Architecture({choice.name: option for choice in space.choices}))
        finally:
            graph.net = whole

    assert torch.equal(run(layer, x, "skip"), x)
    expand, shuffle, depthwise, project = layer.body.options["k5_e1_g2"]
    h = expand(x)
    shuffled = torch.stack([h[:, :8], h[:, 8:]], 2).flatten(1, 2)
    torch.testing.assert_close(shuffle(h), shuffled)
    torch.testing.assert_close(run(layer, x, "k5_e1_g2"), x + project(depthwise(shuffled)))
    assert [part[0].groups for part in (expand, depthwise, project)] == [2, 16, 2]
    assert [part[0].kernel_size[0] for part in (expand, depthwise, project)] == [1, 5, 1]
    assert (project(depthwise(shuffled)) < 0).any(), "the projection is linear"
    skipped = run(head, x[:, :8], "skip")
    assert skipped.shape == (2, 16, 6, 6)
    torch.testing.assert_close(skipped, head.options["skip"](x[:, :8]))
    assert len(layer.body.options["k3_e6"]) == 3
    assert layer.body.options["k3_e6"][0][0].out_channels == 96
