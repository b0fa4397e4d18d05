"""Folding changes the parts, never the outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archipel.metagraph import MetaGraph, PerInstance
from archipel.nn import ConvBN, PooledLinear, batch_norm2d, conv2d, segment
from archipel.nn.fold import fold_for_inference
from archipel.space import Space


class Residual(nn.Sequential):
    """x + f(x): a subclass with a forward of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


def conv_norm(c_in: int, c_out: int, **options: object) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False, **options), nn.BatchNorm2d(c_out), nn.ReLU())


def with_statistics(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None:
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
    return module


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize(
    ("module", "left"),
    [
        (conv_norm(3, 8), 0),
        (nn.Sequential(conv_norm(3, 8), conv_norm(8, 8, groups=8), conv_norm(8, 4, stride=2)), 0),
        (nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, affine=False)), 0),
        (
            Residual(
                nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            ),
            0,
        ),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 1), nn.ReLU(), nn.BatchNorm2d(8)), 2),
        (nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, track_running_stats=False)), 1),
    ],
    ids=["one", "nested", "no affine", "residual subclass", "not a pair", "batch statistics"],
)
def test_same_outputs_and_no_pair_left(module: nn.Module, left: int) -> None:
    original = with_statistics(module).eval()
    folded = fold_for_inference(original)
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(folded(x), original(x), rtol=1e-5, atol=1e-5)
    assert norms(folded) == left


def test_the_original_keeps_its_mode_and_norms() -> None:
    original = conv_norm(3, 8).train()
    folded = fold_for_inference(original)
    assert original.training
    assert norms(original) == 1
    assert not folded.training


def test_a_convolution_used_twice_is_left() -> None:
    shared = nn.Conv2d(3, 3, 1)
    original = with_statistics(nn.Sequential(shared, nn.BatchNorm2d(3), nn.ReLU(), shared, nn.BatchNorm2d(3))).eval()
    folded = fold_for_inference(original)
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(folded(x), original(x), rtol=1e-5, atol=1e-5)
    assert norms(folded) == 2


def test_a_convolution_with_its_own_forward_is_left() -> None:
    class Doubled(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    original = with_statistics(nn.Sequential(Doubled(3, 4, 1), nn.BatchNorm2d(4))).eval()
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(fold_for_inference(original)(x), original(x), rtol=1e-5, atol=1e-5)


def test_an_activation_used_twice_still_stands_between() -> None:
    relu = nn.ReLU()
    original = with_statistics(
        nn.Sequential(nn.Conv2d(3, 4, 1), relu, nn.Conv2d(4, 4, 1), relu, nn.BatchNorm2d(4))
    ).eval()
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(fold_for_inference(original)(x), original(x), rtol=1e-5, atol=1e-5)


def test_elastic_pairs_become_a_convolution_for_every_child(enliven) -> None:
    def function(choose):
        width, kernel = choose.value("width", [2, 4]), choose.value("kernel", [1, 3])
        hidden = width * choose.value("expand", [1, 2])
        return nn.Sequential(
            segment(
                3,
                ConvBN(3, hidden, kernel),
                ConvBN(hidden, hidden, 3, stride=2, groups=hidden),
                nn.Sequential(conv2d(hidden, width, bias=True), batch_norm2d(width), nn.Tanh()),
            ),
            segment(width, conv2d(width, 2), nn.BatchNorm2d(2)),
        )

    graph = enliven(MetaGraph(Space(function)))
    folded = fold_for_inference(graph)
    x = torch.randn(8, 3, 6, 6, dtype=torch.float64)
    for route in (*graph.space, PerInstance(list(graph.space))):
        torch.testing.assert_close(folded(x, route), graph(x, route))
    norms = [name for name, part in folded.named_modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms == ["net.1.1"], "of an elastic convolution, but no elastic norm"


@pytest.mark.parametrize(("channels", "side", "places"), [(3, 4, 4), (5, 16, 4), (2, 7, 4), (4, 3, 2), (6, 2, 4)])
def test_averages_become_part_of_the_linear_layer(channels: int, side: int, places: int) -> None:
    """Windows that reach beyond the edge average what is there."""
    torch.manual_seed(0)
    head = nn.Sequential(PooledLinear(channels, side, 5, places=places, dropout=0.5)).eval()
    folded = fold_for_inference(head)
    assert not any(isinstance(layer, nn.AvgPool2d) for layer in folded.modules())
    x = torch.randn(3, channels, side, side)
    torch.testing.assert_close(folded(x), head(x))
    torch.testing.assert_close(folded(x.to(memory_format=torch.channels_last)), head(x))


def test_a_matrix_that_would_be_large_stays_apart() -> None:
    head = nn.Sequential(PooledLinear(24, 56, 1000, places=4))
    assert isinstance(fold_for_inference(head)[0], PooledLinear)
