"""Macro-structures and the rounding of channels."""

from __future__ import annotations

import pytest

from archipel.errors import SpaceError
from archipel.spaces.macro import MACROS, Macro, macro_for, round_channels, stages, tail_channels


def test_by_image_size() -> None:
    names = {8: "digits", 28: "cifar", 32: "cifar", 64: "tiny", 112: "imagenet", 224: "imagenet"}
    assert {size: macro_for(None, size) for size in names} == {size: MACROS[name] for size, name in names.items()}
    assert macro_for("compact", 32) is MACROS["compact"]


def test_rounding() -> None:
    assert [round_channels(c) for c in (1, 8, 11.9, 12, 16, 24 * 0.75, 32 * 1.4)] == [8, 8, 16, 16, 16, 24, 48]
    for tenths in range(1, 4000):
        rounded = round_channels(tenths / 10)
        assert rounded % 8 == 0
        assert rounded >= 0.9 * tenths / 10


def test_a_table_of_ones_own() -> None:
    own = {"digits": Macro(1, stages((8, 1, 1)), tail=16)}
    assert macro_for(None, 8, own) is macro_for("light", 8, own) is own["digits"]
    with pytest.raises(SpaceError, match=r"there is no macro-structure 'cifar' \(light, digits\)"):
        macro_for("cifar", 32, own)


def test_a_published_tail_does_not_shrink() -> None:
    assert [tail_channels(1280, width) for width in (0.35, 1.0, 1.4)] == [1280, 1280, 1792]
    assert [tail_channels(256, width) for width in (0.5, 1.0, 1.5)] == [128, 256, 384]


def test_mistakes() -> None:
    with pytest.raises(SpaceError, match=r"there is no macro-structure 'tini' .*; did you mean 'tiny'"):
        macro_for("tini", 32)
    with pytest.raises(SpaceError, match="a layer would have -3 channels; give a width above 0"):
        round_channels(-3)
