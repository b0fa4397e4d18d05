"""One path's weights as the beginning of all others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.metagraph import MetaGraph
from archipel.nn.blocks import ConvBN, InvertedResidual, Zero, residual
from archipel.sharing import inherit, widest_path
from archipel.space import Space


def blocks(choose: Choose) -> nn.Module:
    def body(kernel: int, expand: int):
        return lambda: InvertedResidual(4, 4, kernel=kernel, expand=expand)

    options = {f"k{k}e{e}": body(k, e) for k in (3, 5) for e in (2, 3)}
    own = {"conv": lambda: ConvBN(4, 4, 3), "plain": lambda: nn.Sequential(nn.Conv2d(4, 4, 3, padding=1)), "zero": Zero}
    return nn.Sequential(residual(choose.op("a", {**options, "zero": Zero})), residual(choose.op("b", own)))


def nested(choose: Choose) -> nn.Module:
    def inner() -> nn.Module:
        return choose.op("inner", {"k3": lambda: ConvBN(4, 4, 3), "k1": lambda: ConvBN(4, 4, 1)})

    return choose.op(
        "outer", {"small": lambda: ConvBN(4, 4, 1), "large": lambda: nn.Sequential(inner(), ConvBN(4, 4, 3))}
    )


@pytest.fixture
def graph() -> MetaGraph:
    torch.manual_seed(0)
    graph = MetaGraph(Space(blocks))
    for parameter in graph.parameters():  # nothing may look copied by being 0 or 1 everywhere
        nn.init.uniform_(parameter)
    return graph


def options(graph: MetaGraph, choice: str) -> dict[str, nn.Module]:
    return dict(next(m for m in graph.modules() if getattr(getattr(m, "choice", None), "name", "") == choice).options)


def depthwise(option: nn.Module) -> torch.Tensor:
    return next(m.weight for m in option.modules() if isinstance(m, nn.Conv2d) and m.groups > 1)


def test_the_widest_path_has_the_most_parameters(graph: MetaGraph) -> None:
    assert dict(widest_path(graph)) == {"a": "k5e3", "b": "conv"}
    assert dict(widest_path(MetaGraph(Space(nested)))) == {"inner": "k3", "outer": "large"}


def test_an_option_is_the_overlap_of_what_it_inherits(graph: MetaGraph) -> None:
    path = widest_path(graph)
    before = {name: p.clone() for name, p in options(graph, "a")["k5e3"].named_parameters()}
    inherit(graph, path)
    found = options(graph, "a")
    for name, parameter in found["k5e3"].named_parameters():
        assert torch.equal(parameter, before[name]), "the path itself stays"
    wide = depthwise(found["k5e3"])  # [12, 1, 5, 5]
    assert torch.equal(depthwise(found["k5e2"]), wide[:8])
    assert torch.equal(depthwise(found["k3e3"]), wide[:, :, 1:4, 1:4])
    assert torch.equal(depthwise(found["k3e2"]), wide[:8, :, 1:4, 1:4])


def test_a_larger_kernel_is_zero_around_what_it_inherits(graph: MetaGraph) -> None:
    inherit(graph, Architecture({"a": "k3e2", "b": "zero"}))
    found = options(graph, "a")
    narrow, wide = depthwise(found["k3e2"]), depthwise(found["k5e2"])
    assert torch.equal(wide[:, :, 1:4, 1:4], narrow)
    assert wide.abs().sum() == narrow.abs().sum()
    # So both give the same, with the same batch norm: a path that has learnt is not forgotten.
    x = torch.randn(2, 4, 6, 6)
    graph.eval()
    one, other = (graph(x, Architecture({"a": option, "b": "zero"})) for option in ("k3e2", "k5e2"))
    torch.testing.assert_close(one, other)


def test_what_has_no_counterpart_stays(graph: MetaGraph) -> None:
    before = {name: tensor.clone() for name, tensor in graph.state_dict().items()}
    inherit(graph, Architecture({"a": "zero", "b": "conv"}))
    # `plain` has a convolution under the same name, of the same class; `a` has nothing to inherit from nothing.
    changed = {name for name, tensor in graph.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all("plain" in name for name in changed)


def test_choices_inside_options_that_are_not_on_the_path_stay() -> None:
    graph = MetaGraph(Space(nested))
    before = {name: tensor.clone() for name, tensor in graph.state_dict().items()}
    inherit(graph, Architecture({"outer": "small"}))
    assert all(torch.equal(t, before[n]) for n, t in graph.state_dict().items() if "inner" in n)
