"""MobileNetV2 against its published totals."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archipel.architecture import Architecture
from archipel.space import Space
from archipel.spaces import mobilenet_v2


def totals(**options) -> tuple[int, int]:
    """(parameters, multiply-adds of one image)."""
    space = Space(mobilenet_v2, **options)
    size = options.get("size", 32)
    net = space.build(Architecture()).to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, size, size, device="meta"))
    return sum(p.numel() for p in net.parameters()), counter.get_total_flops() // 2


def test_published_totals() -> None:
    assert totals(size=224, classes=1000) == (3_504_872, 300_774_272)


@pytest.mark.parametrize(
    ("width", "parameters", "multiply_adds"),
    [(0.35, 1.66, 59), (0.5, 1.95, 97), (0.75, 2.61, 209), (1.4, 6.06, 582)],  # of the released checkpoints, millions
)
def test_published_widths(width: float, parameters: float, multiply_adds: float) -> None:
    ours = totals(size=224, classes=1000, width=width)
    assert [total / 1e6 for total in ours] == pytest.approx([parameters, multiply_adds], rel=0.015)


def test_a_wider_network_costs_more() -> None:
    costs = [totals(macro="digits", size=8, width=w) for w in (0.25, 0.5, 1.0, 1.5)]
    assert costs == sorted(set(costs))


def test_it_is_a_space_of_one() -> None:
    space = Space(mobilenet_v2)
    assert space.size == 1
    assert space.unrank(0) == Architecture()
    assert isinstance(space.build({}), nn.Sequential)
