"""Initial weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.nn import he_fan_out


def test_he_fan_out() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(64, 128, 3), nn.Conv2d(128, 128, 5, groups=128), nn.BatchNorm2d(128), nn.Linear(128, 400)
    )
    before = network[3].weight.clone()
    assert he_fan_out(network) is network
    for conv, fan_out in ((network[0], 128 * 9), (network[1], 128 * 25)):
        assert float(conv.weight.detach().mean()) == pytest.approx(0.0, abs=3e-3)
        assert float(conv.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert not network[3].bias.any()
    assert torch.equal(network[3].weight, before)
    assert network[2].weight.eq(1).all()
    assert not network[2].bias.any()
