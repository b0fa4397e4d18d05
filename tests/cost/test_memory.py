"""Peak activations against hand arithmetic, and the maximum over options against each child traced whole."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from archipel.cost.memory import peak_activation_bytes, peak_activations
from archipel.errors import TableError
from archipel.nn import ConvBN
from archipel.nn.blocks import InvertedResidual, Residual, Zero, residual
from archipel.space import Space
from archipel.spaces import proxyless

PIXELS = 8 * 8


def test_a_layers_input_and_output_are_alive_together() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 2, 1))
    assert peak_activation_bytes(net, (3, 8, 8)) == 4 * PIXELS * (3 + 8)


def test_a_norm_is_folded_and_an_activation_that_is_not_in_place_needs_room() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
    assert peak_activation_bytes(net, (3, 8, 8)) == 4 * PIXELS * (8 + 8)


def test_the_branch_around_a_block_stays_alive() -> None:
    block = InvertedResidual(4, 4, kernel=3, expand=3)
    # Expansion: 4 in, 12 out; depthwise: 12 in, 12 out, and with a shortcut the 4 that wait.
    assert peak_activation_bytes(block, (4, 8, 8)) == 4 * PIXELS * (12 + 12)
    assert peak_activation_bytes(Residual(block), (4, 8, 8)) == 4 * PIXELS * (12 + 12 + 4)


def test_what_waits_for_the_end_is_alive_until_then() -> None:
    class Long(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 16, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            early = self.first(x)
            return early, self.second(x)

    assert peak_activation_bytes(Long(), (3, 8, 8)) == 4 * PIXELS * (3 + 16 + 2)


def test_views_and_weights_take_no_room() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * PIXELS, 1000, bias=False))
    assert peak_activation_bytes(net, (3, 8, 8)) == 4 * (3 * PIXELS + 1000)
    assert peak_activation_bytes(nn.Identity(), (3, 8, 8)) == 4 * 3 * PIXELS


def test_tracing_leaves_the_network_alone() -> None:
    net = Residual(InvertedResidual(4, 4)).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    peak_activation_bytes(net, (4, 8, 8))
    assert net.training
    assert not any(part._forward_hooks for part in net.modules())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


def small(choose) -> nn.Module:
    """Blocks that may vanish, a shrinking one, and an option with a choice of its own."""

    def block(c_in: int, c_out: int, stride: int = 1):
        return {
            f"k3e{e}": lambda e=e: InvertedResidual(c_in, c_out, expand=e, stride=stride, act=nn.ReLU6) for e in (3, 6)
        }

    def deep() -> nn.Module:
        return nn.Sequential(ConvBN(12, 12), choose.op("inner", {"narrow": nn.Identity, "wide": wide}))

    def wide() -> nn.Module:
        return nn.Sequential(ConvBN(12, 96), ConvBN(96, 12))

    return nn.Sequential(
        ConvBN(3, 4, 3),
        *(residual(choose.op(f"l{i}", {**block(4, 4), "zero": Zero})) for i in range(2)),
        choose.op("down", block(4, 12, 2)),
        choose.op("last", {"plain": lambda: ConvBN(12, 12), "deep": deep}),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 10),
    )


def test_the_peak_is_the_maximum_over_the_chosen_options() -> None:
    space = Space(small)
    peaks = peak_activations(space, (3, 8, 8))
    for architecture in itertools.islice(space, 0, None, 4):
        assert peaks.of(architecture) == peak_activation_bytes(space.build(architecture), (3, 8, 8))


def test_a_limit_is_a_yes_or_no_for_every_option() -> None:
    space = Space(small)
    peaks = peak_activations(space, (3, 8, 8))
    every = sorted({peaks.of(architecture) for architecture in space})
    assert len(every) >= 3
    for limit in (every[0] - 1, *every):
        allowed = peaks.allowed(limit)
        for architecture in space:
            fits = bool((allowed | ~space.encode(architecture)).all())
            assert fits == (peaks.of(architecture) <= limit)


def test_sums_of_several_outputs_have_no_peak_of_their_own() -> None:
    def bits(choose) -> nn.Module:
        options = {"k1": lambda: ConvBN(4, 4), "k3": lambda: ConvBN(4, 4, 3), "k5": lambda: ConvBN(4, 4, 5)}
        return nn.Sequential(ConvBN(3, 4), choose.subset("bits", options))

    with pytest.raises(TableError, match="peak activations of space 'bits' are no sum"):
        peak_activations(Space(bits), (3, 8, 8))


def test_the_proxyless_space_has_them() -> None:
    space = Space(proxyless, macro="digits", width=0.5, size=8, channels=1)
    peaks = peak_activations(space, (1, 8, 8))
    for architecture in map(space.unrank, (0, space.size // 3, space.size - 1)):
        assert peaks.of(architecture) == peak_activation_bytes(space.build(architecture), (1, 8, 8))
