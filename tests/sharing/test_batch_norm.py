"""Recalibrated statistics against sums written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.metagraph import MetaGraph, PerInstance, Single
from archipel.nn import ConvBN, batch_norm2d, conv2d, segment, stack
from archipel.sharing import recalibrate
from archipel.space import Space


def batches(count: int = 3, n: int = 6, channels: int = 4) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(n + i, channels, 5, 5, generator=rng) * (i + 1) + i for i in range(count)]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of each channel, `[C]`."""
    flat = x.transpose(0, 1).flatten(1)
    return flat.mean(1), flat.var(1)


def mean_moments(inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
    each = [moments(x) for x in inputs]
    return torch.stack([m for m, _ in each]).mean(0), torch.stack([v for _, v in each]).mean(0)


def test_statistics_are_the_mean_over_batches() -> None:
    norm = nn.BatchNorm2d(4, momentum=0.3)
    norm.running_mean.fill_(7.0)
    recalibrate(nn.Sequential(norm), batches())
    mean, var = mean_moments(batches())
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, var)


def test_a_second_norm_sees_what_the_first_gives_in_training() -> None:
    """All norms at once: each normalises by its batch while it is being measured, as in training."""
    first, second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    recalibrate(nn.Sequential(first, second), batches())
    # var of a normalised batch is 1 up to eps and Bessel's correction, times weight².
    torch.testing.assert_close(second.running_var, torch.tensor([1.0, 4.0, 9.0, 16.0]), rtol=0.02, atol=0.0)


def test_weights_momentum_and_modes_are_untouched() -> None:
    torch.manual_seed(0)
    frozen = nn.BatchNorm2d(4).eval()
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, momentum=0.2), frozen, nn.Dropout(0.5))
    model[0].train(), model[3].train()
    before = {name: p.clone() for name, p in model.named_parameters()}
    modes = [m.training for m in model.modules()]
    recalibrate(model, batches())
    assert all(p.equal(before[name]) for name, p in model.named_parameters())
    assert [m.training for m in model.modules()] == modes
    assert (model[1].momentum, frozen.momentum) == (0.2, 0.1)


def two_paths(choose) -> nn.Module:
    return choose.op("op", {"a": lambda: nn.BatchNorm2d(4), "b": lambda: nn.BatchNorm2d(4)})


def test_layers_that_no_batch_reaches_keep_theirs() -> None:
    space = Space(two_paths)
    graph = MetaGraph(space)
    a, b = graph.net.options["a"], graph.net.options["b"]
    for norm in (a, b):
        norm.running_mean.fill_(5.0)
        norm.num_batches_tracked.fill_(9)
    recalibrate(graph, batches(), lambda inputs: Single(space.canonical({"op": "a"})))  # noqa: ARG005
    torch.testing.assert_close(a.running_mean, mean_moments(batches())[0])
    assert b.running_mean.tolist() == [5.0] * 4
    assert (a.num_batches_tracked, b.num_batches_tracked) == (3, 9)


def test_each_option_is_measured_on_the_rows_that_take_it() -> None:
    graph = MetaGraph(Space(two_paths))

    def route(inputs: Tensor) -> PerInstance:
        takes_a = torch.arange(len(inputs)) % 3 == 0
        return PerInstance(torch.stack([takes_a, ~takes_a], 1))

    recalibrate(graph, batches(), route)
    rows = [torch.arange(len(x)) % 3 == 0 for x in batches()]
    for option, taken in {"a": rows, "b": [~r for r in rows]}.items():
        mean, var = mean_moments([x[r] for x, r in zip(batches(), taken)])
        torch.testing.assert_close(graph.net.options[option].running_mean, mean)
        torch.testing.assert_close(graph.net.options[option].running_var, var)


class TestElastic:
    """Channels of an elastic norm are averaged over the batches that had them."""

    @staticmethod
    def graph() -> MetaGraph:
        def narrow(choose) -> nn.Module:
            width = choose.value("width", [2, 3, 4])
            return nn.Sequential(conv2d(4, width), batch_norm2d(width))

        graph = MetaGraph(Space(narrow))
        with torch.no_grad():
            graph.net[0].full.weight.copy_(torch.eye(4)[:, :, None, None])
        return graph

    def test_every_channel_over_the_batches_that_had_it(self) -> None:
        graph = self.graph()
        norm = graph.net[1].full
        norm.running_mean.fill_(5.0)
        norm.running_var.fill_(6.0)
        widths = iter([2, 3, 2])
        recalibrate(graph, batches(), lambda inputs: Single(graph.space.canonical({"width": next(widths)})))  # noqa: ARG005
        each = [moments(x) for x in batches()]
        for channel in (0, 1):
            assert float(norm.running_mean[channel]) == pytest.approx(sum(float(m[channel]) for m, _ in each) / 3)
            assert float(norm.running_var[channel]) == pytest.approx(sum(float(v[channel]) for _, v in each) / 3)
        assert float(norm.running_mean[2]) == pytest.approx(float(each[1][0][2]))
        assert float(norm.running_var[2]) == pytest.approx(float(each[1][1][2]))
        assert (float(norm.running_mean[3]), float(norm.running_var[3])) == (5.0, 6.0)
        assert norm.momentum == 0.1

    def test_a_second_recalibration_starts_anew(self) -> None:
        graph = self.graph()
        widest = lambda inputs: Single(graph.space.canonical({"width": 4}))  # noqa: ARG005, E731
        recalibrate(graph, [x * 100 for x in batches()], widest)
        recalibrate(graph, batches(), widest)
        torch.testing.assert_close(graph.net[1].full.running_mean, mean_moments(batches())[0])

    def test_the_child_taken_out_has_what_was_measured(self) -> None:
        graph = self.graph()
        recalibrate(graph, batches(), lambda inputs: Single(graph.space.canonical({"width": 3})))  # noqa: ARG005
        child = graph.extract(graph.space.canonical({"width": 3}))
        torch.testing.assert_close(child[1].running_mean, mean_moments(batches())[0][:3])


def test_a_meta_graph_needs_routes() -> None:
    graph = MetaGraph(Space(two_paths))
    with pytest.raises(OptionError, match="give `route`"):
        recalibrate(graph, batches())
    assert all(norm.momentum == 0.1 for norm in graph.net.options.values())
    assert graph.training


def two_widths(choose) -> nn.Module:
    """A width and what it feeds, the second of any depth."""
    width, depth = choose.value("width", [2, 4]), choose.value("depth", [0, 1])
    return nn.Sequential(
        segment(4, ConvBN(4, width, 3)),
        segment(width, ConvBN(width, 6), stack(depth, lambda _: ConvBN(6, 6, 3))),
    )


def test_in_a_mixed_batch_every_size_gets_what_its_own_child_gets_of_its_own_samples() -> None:
    space = Space(two_widths)
    graph = MetaGraph(space)
    architectures = [Architecture(width=w, depth=d) for w, d in ((2, 0), (2, 1), (4, 1))]
    kinds = [torch.arange(len(x)) % 3 for x in batches()]
    children = [graph.extract(a) for a in architectures]
    codes = torch.stack([space.encode(a) for a in architectures])
    order = iter(kinds)
    recalibrate(graph, batches(), lambda _: PerInstance(codes[next(order)]))

    def of(wanted: list[int]) -> list[Tensor]:
        return [x[torch.isin(kind, torch.tensor(wanted))] for x, kind in zip(batches(), kinds)]

    for child, own in ((0, [0, 1]), (2, [2])):  # both depths of width 2 are together up to where they part
        recalibrate(children[child], of(own))
        found = graph.extract(architectures[child]).state_dict()
        for name, tensor in children[child].state_dict().items():
            if name.startswith(("0.", "1.0.")):
                torch.testing.assert_close(found[name], tensor, msg=f"{name} of child {child}")
