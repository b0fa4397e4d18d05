"""Macro-structures and the rounding of channels."""

from __future__ import annotations

import pytest

from archipel.errors import SpaceError
from archipel.spaces.macro import MACROS, macro_for, round_channels


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


def test_mistakes() -> None:
    with pytest.raises(SpaceError, match=r"there is no macro-structure 'tini' .*; did you mean 'tiny'"):
        macro_for("tini", 32)
    with pytest.raises(SpaceError, match="a layer would have -3 channels; give a width above 0"):
        round_channels(-3)
