"""Early exits of a shallow MobileNetV2."""

from __future__ import annotations

import pytest

from archipel.cost import madds
from archipel.errors import SpaceError
from archipel.space import Space
from archipel.spaces import mobilenet_exits, mobilenet_v2


@pytest.mark.parametrize(
    ("macro", "size", "heads"), [("digits", 8, 3), ("compact", 32, 3), ("cifar", 32, 3), ("imagenet", 224, 3)]
)
def test_there_are_as_many_architectures_as_heads(macro: str, size: int, heads: int) -> None:
    space = Space(mobilenet_exits, macro=macro, size=size)
    assert space.size == heads
    assert [len(architecture) for architecture in space] == [*range(1, heads), heads - 1]
    costs = [madds(space.build(architecture), (3, size, size)) for architecture in space]
    assert costs == sorted(costs)


@pytest.mark.parametrize(("macro", "size"), [("cifar", 32), ("imagenet", 224)])
def test_the_last_exit_of_a_published_structure_is_mobilenet_v2(macro: str, size: int) -> None:
    """Our own structures are shallower."""
    space = Space(mobilenet_exits, macro=macro, size=size, classes=10)
    last = space.unrank(space.size - 1)
    published = Space(mobilenet_v2, macro=macro, size=size, classes=10).build({})
    assert madds(space.build(last), (3, size, size)) == madds(published, (3, size, size))


def test_a_wrong_macro_structure_is_said() -> None:
    with pytest.raises(SpaceError, match="compact"):
        Space(mobilenet_exits, macro="compct", size=32).size  # noqa: B018
