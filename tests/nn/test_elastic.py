"""Elastic layers: the plain torch layer in a child, the leading part of the largest in the meta-graph."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archipel.architecture import Architecture
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph
from archipel.nn import batch_norm2d, conv2d, linear, resize, stack
from archipel.nn.fold import fold_for_inference
from archipel.space import Space

X = torch.randn(3, 4, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def graph_of(function, enliven) -> MetaGraph:
    return enliven(MetaGraph(Space(function)))


class TestConv2d:
    def test_leading_channels_and_the_centre_of_the_kernel(self, enliven) -> None:
        graph = graph_of(
            lambda c: conv2d(4, c.value("out", [2, 6]), c.value("k", [1, 3, 5]), stride=2, bias=True), enliven
        )
        weight, bias = graph.net.full.weight, graph.net.full.bias
        assert weight.shape == (6, 4, 5, 5)
        for out in (2, 6):
            for k in (1, 3, 5):
                margin = (5 - k) // 2
                cut = weight[:out, :, margin : 5 - margin, margin : 5 - margin]
                y = F.conv2d(X, cut, bias[:out], stride=2, padding=k // 2)
                torch.testing.assert_close(graph(X, Architecture(out=out, k=k)), y)
                assert y.shape == (3, out, 4, 4)

    def test_height_width_and_stride_of_their_own(self, enliven) -> None:
        def function(choose):
            kernel = (choose.value("height", [1, 5]), choose.value("width", [1, 3]))
            return nn.Sequential(
                conv2d(4, 6, kernel, stride=choose.value("stride", [1, 3])), batch_norm2d(choose.value("out", [6]))
            )

        graph = graph_of(function, enliven)
        weight, folded = graph.net[0].full.weight, fold_for_inference(graph)
        assert weight.shape == (6, 4, 5, 3)
        for height, width, stride in ((1, 3, 3), (5, 1, 1), (5, 3, 3), (1, 1, 1)):
            above, left = (5 - height) // 2, (3 - width) // 2
            cut = weight[:, :, above : 5 - above, left : 3 - left]
            architecture = Architecture(height=height, width=width, stride=stride, out=6)
            child = graph.extract(architecture)
            y = child[1](F.conv2d(X, cut, stride=stride, padding=(height // 2, width // 2)))
            for network in (child, lambda x, a=architecture: graph(x, a), lambda x, a=architecture: folded(x, a)):
                torch.testing.assert_close(network(X), y)

    def test_depthwise(self, enliven) -> None:
        def function(choose):
            width = choose.value("width", [2, 4])
            hidden = width * 3 // 2
            return nn.Sequential(conv2d(4, hidden), conv2d(hidden, hidden, 3, groups=hidden), conv2d(hidden, width))

        graph = graph_of(function, enliven)
        first, depthwise, last = (layer.full.weight for layer in graph.net)
        assert depthwise.shape == (6, 1, 3, 3)
        for width, hidden in ((2, 3), (4, 6)):
            y = F.conv2d(X, first[:hidden])
            y = F.conv2d(y, depthwise[:hidden], padding=1, groups=hidden)
            y = F.conv2d(y, last[:width, :hidden])
            torch.testing.assert_close(graph(X, Architecture(width=width)), y)
            child = graph.extract(Architecture(width=width))
            assert (child[1].groups, child[1].in_channels) == (hidden, hidden)

    def test_groups_of_plain_sizes_with_an_open_kernel(self, enliven) -> None:
        graph = graph_of(lambda c: conv2d(4, 8, c.value("k", [1, 3]), groups=2), enliven)
        for k in (1, 3):
            torch.testing.assert_close(graph(X, Architecture(k=k)), graph.extract(Architecture(k=k))(X))

    def test_plain_numbers_are_the_plain_layer(self) -> None:
        layer = conv2d(4, 8, 3, stride=2, groups=2)
        assert type(layer) is nn.Conv2d
        assert (layer.padding, layer.stride, layer.groups, layer.bias) == ((1, 1), (2, 2), 2, None)

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda w, k: conv2d(w, w, groups=2), "has groups=1 or is depthwise; pass one and the same number"),  # noqa: ARG005
            (lambda w, k: conv2d(w * 1, w, groups=w), "has groups=1 or is depthwise"),  # noqa: ARG005
            (lambda w, k: conv2d(4, 4, groups=w), "has groups=1 or is depthwise"),  # noqa: ARG005
            (lambda w, k: conv2d(4, 4, k), "elastic kernel [2, 3] has an even size; a centred crop needs odd ones"),  # noqa: ARG005
            (lambda w, k: conv2d(4, w * 0.5), "a layer has sizes [1.0, 2.0]; give whole numbers"),  # noqa: ARG005
            (lambda w, k: batch_norm2d(w * 0.5), "a layer has sizes [1.0, 2.0]"),  # noqa: ARG005
            (lambda w, k: linear(w * 0.5, 2), "a layer has sizes [1.0, 2.0]"),  # noqa: ARG005
            (lambda w, k: stack(w * 0.5, lambda i: nn.ReLU()), "a layer has sizes [1.0, 2.0]"),  # noqa: ARG005
        ],
    )
    def test_mistakes(self, make, said: str) -> None:
        with pytest.raises(SpaceError) as caught:
            Space(lambda c: make(c.value("w", [2, 4]), c.value("k", [2, 3])))
        assert said in str(caught.value)


class TestBatchNorm2d:
    def pair(self) -> MetaGraph:
        return MetaGraph(Space(lambda c: batch_norm2d(c.value("w", [2, 4])))).double()

    @pytest.mark.parametrize("width", [2, 4])
    @pytest.mark.parametrize("momentum", [0.1, 0.3, None])
    def test_it_trains_as_the_plain_layer(self, width: int, momentum: float | None) -> None:
        graph = self.pair()
        graph.net.full.momentum = momentum
        plain = graph.extract(Architecture(w=width))
        assert type(plain) is nn.BatchNorm2d
        plain.momentum = momentum
        for i in range(3):
            x = X[:, :width] * (i + 1) + i
            torch.testing.assert_close(graph(x, Architecture(w=width)), plain(x))
        again = graph.extract(Architecture(w=width)).state_dict()
        for name, tensor in plain.state_dict().items():
            torch.testing.assert_close(again[name], tensor)
        if width == 2:
            assert graph.net.full.running_mean[2:].tolist() == [0, 0]

    def test_statistics_frozen_inside_stay(self) -> None:
        graph = self.pair()
        graph.net.full.eval()
        torch.testing.assert_close(graph(X, Architecture(w=4)), X / (1 + 1e-5) ** 0.5)
        assert not graph.net.full.running_mean.any()

    def test_plain(self) -> None:
        assert type(batch_norm2d(3)) is nn.BatchNorm2d


class TestLinear:
    @pytest.mark.parametrize("bias", [True, False])
    def test_leading_features(self, enliven, bias: bool) -> None:
        graph = graph_of(lambda c: linear(c.value("in", [3, 7]), c.value("out", [2, 5]), bias=bias), enliven)
        for n in (3, 7):
            for m in (2, 5):
                architecture = Architecture({"in": n, "out": m})
                y = F.linear(X[..., :n], graph.net.full.weight[:m, :n], graph.net.full.bias[:m] if bias else None)
                torch.testing.assert_close(graph(X[..., :n], architecture), y)
                torch.testing.assert_close(graph.extract(architecture)(X[..., :n]), y)

    def test_plain(self) -> None:
        assert type(linear(3, 2)) is nn.Linear


class TestStack:
    def test_the_first_layers_run(self, enliven) -> None:
        graph = graph_of(lambda c: stack(c.value("depth", [0, 1, 3]), lambda i: conv2d(4, 4)), enliven)  # noqa: ARG005
        y = X
        for depth in range(4):
            if depth != 2:
                torch.testing.assert_close(graph(X, Architecture(depth=depth)), y)
                child = graph.extract(Architecture(depth=depth))
                assert type(child) is nn.Sequential
                assert len(child) == depth
                torch.testing.assert_close(child(X), y)
            if depth < 3:
                y = F.conv2d(y, graph.net[depth].weight)

    def test_choices_inside_are_active_in_deeper_architectures_only(self) -> None:
        def function(choose):
            layer = {"relu": nn.ReLU, "tanh": nn.Tanh}
            return stack(choose.value("depth", [1, 3]), lambda i: choose.op(f"l{i}", layer))

        space = Space(function)
        assert space.size == 2 + 2**3
        assert set(space.unrank(0)) == {"depth", "l0"}
        assert set(space.unrank(space.size - 1)) == {"depth", "l0", "l1", "l2"}
        assert space.places == (("0", "l0"), ("1", "l1"), ("2", "l2"))

    def test_layers_beyond_the_depth_are_unused(self, enliven) -> None:
        graph = graph_of(lambda c: stack(c.value("depth", [1, 3]), lambda i: conv2d(4, 4)), enliven)  # noqa: ARG005
        assert {id(p) for p in graph.unused(Architecture(depth=1))} == {id(graph.net[i].weight) for i in (1, 2)}

    def test_a_stack_within_a_stack(self, enliven) -> None:
        def function(choose):
            def inner(i):
                depth = choose.value(f"inner{i}", [0, 2])
                return stack(depth, lambda j: choose.op(f"l{i}.{j}", {"c": lambda: conv2d(4, 4), "t": nn.Tanh}))

            return stack(choose.value("outer", [1, 2]), inner)

        graph = graph_of(function, enliven)
        one = 1 + 2 * 2
        assert graph.space.size == one + one**2
        for architecture in graph.space:
            torch.testing.assert_close(graph(X, architecture), graph.extract(architecture)(X))

    def test_plain(self) -> None:
        assert [layer.out_features for layer in stack(3, lambda i: nn.Linear(1, i + 1))] == [1, 2, 3]


class TestResize:
    def test_it_is_bilinear_and_leaves_what_fits(self) -> None:
        graph = MetaGraph(Space(lambda c: resize(c.value("side", [5, 7]))))
        assert graph(X, Architecture(side=7)) is X
        small = F.interpolate(X, size=(5, 5), mode="bilinear", antialias=True)
        torch.testing.assert_close(graph(X, Architecture(side=5)), small)
        torch.testing.assert_close(resize(5)(X), small)

    def test_samples_of_different_sizes_in_one_batch(self, enliven) -> None:
        from archipel.metagraph import PerInstance

        def function(choose):
            return nn.Sequential(resize(choose.value("side", [3, 5, 7])), conv2d(4, 2, 3), nn.AdaptiveAvgPool2d(1))

        graph = graph_of(function, enliven)
        architectures = [Architecture(side=s) for s in (7, 3, 7)]
        alone = torch.cat([graph(X[i : i + 1], a) for i, a in enumerate(architectures)])
        torch.testing.assert_close(graph(X, PerInstance(architectures)), alone)


def test_repr_shows_the_sizes() -> None:
    graph = MetaGraph(Space(lambda c: conv2d(4, c.value("w", [2, 6]), 3)))
    assert "c_in=4, c_out=2|6, height=3, width=3" in repr(graph)
