"""Each block is its formula."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from archipel.architecture import Architecture
from archipel.metagraph import MetaGraph, Mixture, PerInstance
from archipel.nn import BasicBlock, ConvBN, InvertedResidual, Residual, Zero, classifier, residual
from archipel.space import Space

X = torch.randn(2, 8, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def normalised(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    shape = (1, -1, 1, 1)
    x = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return x * norm.weight.view(shape) + norm.bias.view(shape)


def test_conv_bn(enliven) -> None:
    for kernel, stride, act, f in [(1, 1, nn.ReLU, F.relu), (3, 2, nn.ReLU6, F.relu6), (5, 1, None, lambda y: y)]:
        block = enliven(ConvBN(8, 4, kernel, stride=stride, act=act))
        conv, norm = block[0], block[1]
        assert conv.bias is None
        y = F.conv2d(X, conv.weight, stride=stride, padding=kernel // 2)
        torch.testing.assert_close(block(X), f(normalised(y, norm)))
        assert block(X).shape == (2, 4, 6 // stride, 6 // stride)


def test_inverted_residual(enliven) -> None:
    block = enliven(InvertedResidual(8, 12, kernel=5, expand=3, stride=2))
    expand, depthwise, project = block
    y = F.relu(normalised(F.conv2d(X, expand[0].weight), expand[1]))
    assert y.shape[1] == 24
    y = F.conv2d(y, depthwise[0].weight, stride=2, padding=2, groups=24)
    y = F.relu(normalised(y, depthwise[1]))
    y = normalised(F.conv2d(y, project[0].weight), project[1])
    torch.testing.assert_close(block(X), y)
    assert (y < 0).any(), "the projection is linear"


def test_inverted_residual_of_expansion_1_has_no_first_convolution() -> None:
    block = InvertedResidual(8, 12, expand=1, act=nn.ReLU6)
    assert [type(part) for part in block] == [ConvBN, ConvBN]
    assert block[0][0].groups == 8
    assert isinstance(block[0][2], nn.ReLU6)


def test_epsilon_is_of_every_norm_in_a_block() -> None:
    for block, eps in ((InvertedResidual(8, 8, eps=1e-3), 1e-3), (InvertedResidual(8, 8), 1e-5)):
        assert [norm.eps for norm in block.modules() if isinstance(norm, nn.BatchNorm2d)] == [eps] * 3


def test_basic_block(enliven) -> None:
    block = enliven(BasicBlock(8, 12, stride=2))
    (conv1, norm1, _), (conv2, norm2, _) = block
    y = F.relu(normalised(F.conv2d(X, conv1.weight, stride=2, padding=1), norm1))
    y = F.relu6(normalised(F.conv2d(y, conv2.weight, padding=1), norm2))
    torch.testing.assert_close(block(X), y)


def test_no_block_changes_its_input(enliven) -> None:
    before = X.clone()
    for block in (ConvBN(8, 8), InvertedResidual(8, 8), BasicBlock(8, 8), Residual(ConvBN(8, 8)), Zero()):
        with torch.no_grad():
            enliven(block)(X)
        assert torch.equal(X, before)


def test_residual(enliven) -> None:
    body = enliven(ConvBN(8, 8, 3))
    torch.testing.assert_close(Residual(body)(X), X + body(X))
    assert isinstance(residual(body), Residual)
    torch.testing.assert_close(Residual(Zero())(X), residual(Zero())(X))
    assert type(residual(Zero())) is nn.Identity


def test_a_bypass_in_the_meta_graph_is_the_input_itself(enliven) -> None:
    def one(choose) -> nn.Module:
        return residual(choose.op("b", {"k3": lambda: ConvBN(8, 8, 3, act=None), "zero": Zero}))

    def several(choose) -> nn.Module:
        return residual(choose.subset("b", {"k3": lambda: ConvBN(8, 8, 3), "k1": lambda: ConvBN(8, 8)}, empty=Zero))

    for function, on, off in ((one, "k3", "zero"), (several, ("k3",), ())):
        graph = enliven(MetaGraph(Space(function)))
        assert graph(X, Architecture(b=off)) is X
        body = graph.net.body.options["k3"]
        torch.testing.assert_close(graph(X, Architecture(b=on)), X + body(X))
        both = graph(X, PerInstance([Architecture(b=off), Architecture(b=on)]))
        torch.testing.assert_close(both, torch.cat([X[:1], X[1:] + body(X[1:])]))
    graph = enliven(MetaGraph(Space(one)))
    half = Mixture({"b": torch.tensor([0.5, 0.5], dtype=torch.float64)})
    torch.testing.assert_close(graph(X, half), X + 0.5 * graph.net.body.options["k3"](X))


def test_zero() -> None:
    y = Zero()(X)
    assert y.shape == X.shape
    assert y.dtype == X.dtype
    assert not y.any()


def test_classifier(enliven) -> None:
    plain = enliven(nn.Sequential(*classifier(8, 3)))
    torch.testing.assert_close(plain(X), F.linear(X.mean((2, 3)), plain[-1].weight, plain[-1].bias))
    assert [part.p for part in classifier(8, 3, 0.2) if isinstance(part, nn.Dropout)] == [0.2]
    assert not any(isinstance(part, nn.Dropout) for part in classifier(8, 3))
