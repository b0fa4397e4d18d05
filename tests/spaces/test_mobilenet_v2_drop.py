"""MobileNetV2 with layers that may be left out: which, and that it is MobileNetV2 where none is."""

from __future__ import annotations

import pytest
import torch

from archipel.cost import madds, parameters
from archipel.nn import Residual
from archipel.space import Space
from archipel.spaces import mobilenet_v2, mobilenet_v2_drop

HEADS = (0, 1, 3, 6, 10, 13, 16)


@pytest.mark.parametrize(("options", "side"), [({"macro": "cifar"}, 32), ({"macro": "imagenet", "classes": 1000}, 224)])
def test_all_on_it_is_mobilenet_v2(options: dict, side: int) -> None:
    space, plain = Space(mobilenet_v2_drop, **options), Space(mobilenet_v2, **options)
    with torch.device("meta"):
        whole, reference = space.build(space.unrank(space.size - 1)), plain.build({})
    shape = (3, side, side)
    assert (parameters(whole), madds(whole, shape)) == (parameters(reference), madds(reference, shape))
    # Same order and shapes: only the names of what stands in a choice differ.
    assert [t.shape for t in whole.state_dict().values()] == [t.shape for t in reference.state_dict().values()]


def test_ten_bits_of_the_published_layers() -> None:
    space = Space(mobilenet_v2_drop, macro="cifar")
    assert space.size == 2**10
    assert [choice.name for choice in space.choices] == [f"l{i}" for i in range(17) if i not in HEADS]


def test_a_layer_that_is_left_out_leaves_nothing() -> None:
    space = Space(mobilenet_v2_drop, macro="digits", size=8)
    child = space.build(space.unrank(0))
    assert not any(isinstance(module, Residual) for module in child.modules())
