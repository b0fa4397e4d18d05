"""Macro-structures that the mobile spaces share: stem, stages, tail.

`cifar`, `tiny` and `imagenet` are those of InstaNAS' MobileNetV2 skeleton. `compact`, `compact_large` and `digits` are
ours, for searches that fit two CPU cores: fewer layers, an early stride. A space with other stages has a table of its
own under the same names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from archipel.errors import SpaceError, did_you_mean

__all__ = ["MACROS", "Macro", "Maps", "Stage", "macro_for", "round_channels", "stages", "tail_channels"]


@dataclass(frozen=True)
class Stage:
    channels: int
    layers: int
    stride: int
    """Of the first layer."""


class Maps(NamedTuple):
    channels: int
    side: int
    """In pixels."""


@dataclass(frozen=True)
class Macro:
    stem_stride: int
    stages: tuple[Stage, ...]
    stem: int = 32
    tail: int = 1280

    def maps(self, size: int, width: float) -> list[Maps]:
        """What leaves the stem, and then each stage, for images of `size` pixels a side.

        Raises:
            SpaceError: a width of 0.
        """
        side = math.ceil(size / self.stem_stride)
        found = [Maps(round_channels(self.stem * width), side)]
        for stage in self.stages:
            side = math.ceil(side / stage.stride)
            found.append(Maps(round_channels(stage.channels * width), side))
        return found


def stages(*rows: tuple[int, int, int]) -> tuple[Stage, ...]:
    """Stages from rows of (channels, layers, first stride), as papers print them."""
    return tuple(Stage(*row) for row in rows)


_CIFAR = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
_STRIDED = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))

MACROS: dict[str, Macro] = {
    "digits": Macro(1, stages((16, 1, 1), (24, 2, 2), (32, 2, 1), (64, 1, 2)), tail=256),
    "compact": Macro(2, stages((16, 1, 1), (24, 2, 2), (32, 2, 1), (64, 3, 2), (96, 1, 1)), tail=640),
    "compact_large": Macro(2, stages((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 3, 2), (96, 2, 2)), tail=640),
    "cifar": Macro(1, stages(*_CIFAR)),
    "tiny": Macro(1, stages(*_STRIDED)),
    "imagenet": Macro(2, stages(*_STRIDED)),
}


def macro_for(name: str | None, size: int, macros: Mapping[str, Macro] = MACROS) -> Macro:
    """The macro-structure of a name, or the one that suits images of `size` pixels a side.

    `light` is the one of ours that suits the size; no name is the published one that does.

    Raises:
        SpaceError: there is none of that name.
    """
    if name is None:
        name = "digits" if size < 20 else "cifar" if size < 48 else "tiny" if size < 112 else "imagenet"
    if name == "light":
        name = "digits" if size < 20 else "compact" if size < 48 else "compact_large"
    if name not in macros:
        known = ("light", *macros)
        raise SpaceError(f"there is no macro-structure '{name}' ({', '.join(known)}){did_you_mean(name, known)}")
    return macros[name]


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, never more than 10 % below (MobileNetV2's rule).

    Raises:
        SpaceError: there are no channels to round.
    """
    if not channels > 0:
        raise SpaceError(f"a layer would have {channels:g} channels; give a width above 0")
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def tail_channels(tail: int, width: float) -> int:
    """Channels before the classifier: a published tail (1280 or more) grows with the width and does not shrink; our
    smaller ones scale with the rest, or the tail would be most of the network."""
    return round_channels(tail * (max(1.0, width) if tail >= 1280 else width))
