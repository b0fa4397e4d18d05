"""Early exits of a shallow residual network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.cost import madds, parameters
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph
from archipel.nn.exits import Exits
from archipel.nn.fold import fold_for_inference
from archipel.space import Space
from archipel.spaces import resnet_exits


@pytest.mark.parametrize(("macro", "size", "heads"), [("digits", 8, 3), ("compact", 32, 3), ("compact_large", 64, 3)])
def test_there_are_as_many_architectures_as_heads(macro: str, size: int, heads: int) -> None:
    space = Space(resnet_exits, macro=macro, size=size)
    assert space.size == heads
    costs = [madds(space.build(architecture), (3, size, size)) for architecture in space]
    assert costs == sorted(costs)


def test_the_last_exit_of_the_cifar_structure_is_resnet_20() -> None:
    """0.27 M parameters (He et al., table 6); ours has three projections' worth more than its option A."""
    space = Space(resnet_exits, macro="cifar", size=32)
    last = space.build(space.unrank(space.size - 1))
    convolutions = [module for module in last.modules() if isinstance(module, nn.Conv2d)]
    assert sum(conv.kernel_size == (3, 3) for conv in convolutions) == 19
    assert parameters(last) == 272_474


def test_exits_of_one_network_and_folded_alike() -> None:
    space = Space(resnet_exits, macro="compact", size=32, width=0.25)
    torch.manual_seed(0)
    graph = MetaGraph(space)
    network = Exits.of([graph.extract(architecture) for architecture in space]).train()
    x = torch.randn(8, 3, 32, 32)
    network(x)  # statistics that are not those of a fresh network
    network.eval()
    with torch.no_grad():
        for k, answer in enumerate(network.answers(x)):
            torch.testing.assert_close(fold_for_inference(network.child(k))(x), answer, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("options", [{"macro": "compct"}, {"width": 0.0}])
def test_what_cannot_be_built_is_said(options: dict) -> None:
    with pytest.raises(SpaceError, match=r"compact|width"):
        Space(resnet_exits, size=32, **options).unrank(0)
