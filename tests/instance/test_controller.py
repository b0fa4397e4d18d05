"""Controllers: the published sizes, any image size, and a seed that decides."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.cost import madds, parameters
from archipel.errors import OptionError
from archipel.instance.controller import LightController, ResNetController, make_controller


@pytest.mark.parametrize(("size", "on_record", "value_head"), [(32, 80_237, 65), (64, 80_237, 65), (224, 320_433, 0)])
def test_published_parameters(size: int, on_record: int, value_head: int) -> None:
    """The totals on record count batch norms' batch counters, and a value head of 64 + 1 that nothing uses."""
    controller = ResNetController(85, size=size)
    counters = sum(isinstance(part, nn.BatchNorm2d) for part in controller.modules())
    assert parameters(controller) + counters + value_head == on_record


@pytest.mark.parametrize(("size", "millions"), [(32, 12.2), (224, 20.3)])
def test_published_multiply_adds(size: int, millions: float) -> None:
    assert madds(ResNetController(85, size=size), (3, size, size)) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("kind", ["resnet", "light"])
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (9, 3), (15, 1), (28, 1), (33, 3), (50, 3), (97, 3), (113, 1)])
def test_any_image_size_gives_a_logit_a_column(kind: str, size: int, channels: int) -> None:
    controller = make_controller(kind, 7, channels=channels, size=size, seed=0)
    assert controller(torch.randn(2, channels, size, size)).shape == (2, 7)


@pytest.mark.parametrize("size", [8, 32, 64, 128])
def test_the_light_one_costs_a_fraction(size: int) -> None:
    light, resnet = LightController(85, size=size), ResNetController(85, size=size)
    assert madds(light, (3, size, size)) < 0.15 * madds(resnet, (3, size, size))


@pytest.mark.parametrize("kind", ["resnet", "light"])
def test_the_seed_decides(kind: str) -> None:
    states = [make_controller(kind, 5, channels=1, size=8, seed=s).state_dict() for s in (1, 1, 2)]
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert not all(states[0][name].equal(states[2][name]) for name in states[0])


def test_convolutions_start_as_published() -> None:
    """N(0, sqrt(2/(k²·c_out))), so that all probabilities start near one half."""
    controller = ResNetController(85)
    weight = controller.units[2].branch[3].weight  # 3×3, 64 channels
    assert float(weight.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)
    p = controller(torch.randn(64, 3, 32, 32)).sigmoid()
    assert 0.2 < float(p.detach().mean()) < 0.8


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(OptionError, match=r"there is no controller 'lihgt'.*did you mean 'light'"):
        make_controller("lihgt", 5, channels=1, size=8, seed=0)
