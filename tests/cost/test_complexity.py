"""Counts against hand arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archipel.cost.complexity import layers, madds, parameters


class Bottleneck(nn.Module):
    """A MobileNetV2 block: 1×1 expand, depthwise k×k (stride here), 1×1 project, each with batch norm."""

    def __init__(self, c_in: int, c_out: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        c = c_in * expand
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, c, kernel, stride, kernel // 2, groups=c, bias=False), nn.BatchNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, c_out, 1, bias=False), nn.BatchNorm2d(c_out),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.parametrize(("c_in", "c_out", "expand", "kernel", "stride"), [(16, 24, 6, 3, 2), (24, 24, 3, 5, 1)])
def test_bottleneck_by_formula(c_in: int, c_out: int, expand: int, kernel: int, stride: int) -> None:
    block, side = Bottleneck(c_in, c_out, expand, kernel, stride), 16
    c, out = c_in * expand, side // stride
    assert madds(block, (c_in, side, side)) == side**2 * c_in * c + out**2 * c * kernel**2 + out**2 * c * c_out
    assert parameters(block) == c_in * c + c * kernel**2 + c * c_out + 2 * (c + c + c_out)


def test_linear_counts_its_matrix_only() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    assert madds(net, (8, 4, 4)) == 80
    assert parameters(net) == 90


def test_layers_add_up_with_shared_and_own_parameters() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.mix = nn.Parameter(torch.randn(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            h = self.conv(self.conv(x)).mean((2, 3))  # [B, 3]
            return h @ self.mix.T  # [B, 4]

    net = Net()
    rows = layers(net, (3, 8, 8))
    assert sum(row.madds for row in rows) == madds(net, (3, 8, 8)) == 2 * 81 * 64 + 12
    assert sum(row.parameters for row in rows) == parameters(net)
    assert [(row.path, row.madds) for row in rows] == [("", 12), ("conv", 2 * 81 * 64)]
    assert rows[1].output_shape == (3, 8, 8)


def test_counting_leaves_the_network_alone() -> None:
    net = Bottleneck(4, 4, 2, 3, 1).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    madds(net, (4, 8, 8))
    layers(net, (4, 8, 8))
    assert net.training
    assert next(net.parameters()).device.type == "cpu"
    assert not any(part._forward_hooks for part in net.modules())
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[name])
