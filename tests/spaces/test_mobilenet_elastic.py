"""Elastic MobileNetV2: the largest child is MobileNetV2, the smallest far cheaper, and what lies between is sliced."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archipel.cost import madds, parameters
from archipel.cost.extremes import extremes
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph, PerInstance
from archipel.sharing import recalibrate
from archipel.space import Space
from archipel.spaces import mobilenet_elastic, mobilenet_v2

MACROS = {"digits": 8, "compact": 32, "compact_large": 64, "cifar": 32}


def ends(space: Space) -> tuple[Any, Any]:
    """Every value at its first and at its last option."""
    low = {c.name: c.options[0] for c in space.choices}
    high = {c.name: c.options[-1] for c in space.choices}
    return space.canonical(low), space.canonical(high)


@pytest.mark.parametrize("widths", ["network", "stage"])
@pytest.mark.parametrize("macro", MACROS)
def test_from_mobilenet_v2_to_less_than_an_eighth_of_it(macro: str, widths: str) -> None:
    side = MACROS[macro]
    space = Space(mobilenet_elastic, macro=macro, size=side, widths=widths)
    with torch.device("meta"):
        small, large = (space.build(architecture) for architecture in ends(space))
        plain = Space(mobilenet_v2, macro=macro, size=side).build({})
    shape = (3, side, side)
    assert (parameters(large), madds(large, shape)) == (parameters(plain), madds(plain, shape))
    assert [t.shape for t in large.state_dict().values()] == [t.shape for t in plain.state_dict().values()]
    assert madds(small, shape) < madds(large, shape) / 8


def test_the_ends_are_found() -> None:
    space = Space(mobilenet_elastic, macro="digits", size=8)
    assert extremes(space, (3, 8, 8)) == ends(space)


def test_a_depth_leaves_layers_out() -> None:
    space = Space(mobilenet_elastic, macro="cifar")
    small, large = ends(space)
    for s, layers in enumerate((2, 3, 4, 3, 3), start=1):
        shallow = space.build({**large, f"s{s}.depth": 1})
        assert len(list(space.build(large).modules())) - len(list(shallow.modules())) >= 10 * (layers - 1)
    assert "s6.depth" not in small


def test_choices() -> None:
    names = {c.name: c.options for c in Space(mobilenet_elastic, macro="digits").choices}
    depths = {"s1.depth": (1, 2), "s2.depth": (1, 2)}
    expands = {f"s{s}.expand": (3, 6) for s in (1, 2, 3)}
    assert names == {"width": (0.25, 0.5, 1.0), **depths, **expands}
    staged = {c.name: c.options for c in Space(mobilenet_elastic, macro="digits", widths="stage").choices}
    widths = {"stem": (8, 16, 32), "s1.width": (8, 16, 24), "s2.width": (8, 16, 32), "s3.width": (16, 32, 64)}
    assert staged == {**widths, "tail": (64, 128, 256), **depths, **expands}
    more = Space(mobilenet_elastic, macro="digits", kernels=(3, 5), expansions=(4,), ratios=(1.0,))
    assert {c.name: c.options for c in more.choices} == {**depths, **{f"s{s}.kernel": (3, 5) for s in (1, 2, 3)}}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"widths": "stages"}, "widths is 'stages'; give 'network' or 'stage'"),
        ({"expansions": (0, 6)}, "an expansion is 0; give whole numbers above 0"),
        ({"kernels": (3, 4)}, r"elastic kernel \[3, 4\] has an even size"),
        ({"ratios": (0, 1)}, "would have 0 channels"),
    ],
)
def test_mistakes(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        Space(mobilenet_elastic, macro="digits", **options)


def test_a_stage_has_statistics_for_every_depth_and_expansion_before_it() -> None:
    """With one set for all depths, random children on digits were 3 points worse than by statistics of their own."""
    space = Space(mobilenet_elastic, macro="digits", size=8, width=0.5)
    _, large = ends(space)
    architectures = [space.canonical({**large, "s1.depth": depth}) for depth in (1, 2)]
    torch.manual_seed(0)
    graph, x = MetaGraph(space), torch.randn(16, 3, 8, 8)
    recalibrate(graph, [x], lambda _: PerInstance(architectures * 8))
    first, second = (graph.extract(a)[3][0][0][0][1] for a in architectures)
    assert (int(first.num_batches_tracked), int(second.num_batches_tracked)) == (1, 1)
    assert not torch.allclose(first.running_mean, second.running_mean)
    other = graph.extract(space.canonical({**large, "s1.expand": 3}))[3][0][0][0][1]
    assert int(other.num_batches_tracked) == 0
