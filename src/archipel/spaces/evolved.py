"""A space of cells, a list of its own for each block, and the JSON file it is kept in (AutoSpace, arXiv 2103.11833)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from archipel.choose import Choose, Factory
from archipel.errors import SpaceError
from archipel.nn.blocks import ConvBN, InvertedResidual, Zero, classifier, residual
from archipel.nn.initial import he_fan_out
from archipel.space import SpaceFunction
from archipel.spaces.cell import Cell, Placement
from archipel.spaces.cell_block import CellBlock
from archipel.spaces.macro import Macro, round_channels, tail_channels
from archipel.spaces.proxyless import BN_EPS

__all__ = ["Backbone", "CellSpace", "Kept", "load_space", "network", "options_of"]

_WHAT = "archipel evolved space"
_FORMAT = 1


@dataclass(frozen=True)
class Backbone:
    """What stands around the open blocks: ProxylessNAS' skeleton, its numbers of channels spelt out.

    Stem 3×3, fixed block (depthwise 3×3, 1×1), the open blocks, 1×1 to `tail`, classifier; ReLU6.
    """

    stem: int
    stem_stride: int
    fixed: int
    """Channels behind the fixed block."""
    blocks: tuple[tuple[int, int], ...]
    """(channels behind it, stride) of each open block."""
    tail: int
    eps: float = BN_EPS
    """Of every batch norm."""

    @classmethod
    def of(cls, skeleton: Macro, width: float = 1.0) -> Backbone:
        """From a macro-structure, its first stage the fixed block; channels are rounded as `proxyless` rounds them."""
        fixed, *stages = skeleton.stages
        blocks = [
            (round_channels(stage.channels * width), stage.stride if i == 0 else 1)
            for stage in stages
            for i in range(stage.layers)
        ]
        return cls(
            round_channels(skeleton.stem * width),
            skeleton.stem_stride,
            round_channels(fixed.channels * width),
            tuple(blocks),
            tail_channels(skeleton.tail, width),
        )

    def placements(self, size: int, expand: int = 6) -> tuple[Placement, ...]:
        """Where each open block stands, for images of `size` pixels a side."""
        found, c, side = [], self.fixed, -(-size // self.stem_stride)
        for channels, stride in self.blocks:
            found.append(Placement(c, channels, stride, side, expand))
            c, side = channels, found[-1].side_out
        return tuple(found)

    def madds(self, size: int, *, classes: int, channels: int = 3) -> int:
        """Multiply-adds of one image outside the open blocks."""
        side = -(-size // self.stem_stride)
        last = self.placements(size)[-1] if self.blocks else Placement(self.fixed, self.fixed, side=side)
        return (
            side**2 * (9 * channels * self.stem + 9 * self.stem + self.stem * self.fixed)
            + last.side_out**2 * last.c_out * self.tail
            + self.tail * classes
        )


@dataclass(frozen=True)
class Kept:
    """One option of a block."""

    cell: Cell
    expand: int = 6
    fitness: float | None = None
    """What the evolution made of it: above its reference where above 0; not comparable between blocks."""
    visits: int = 0
    """How often it was judged."""

    @property
    def name(self) -> str:
        return f"{self.cell}e{self.expand}"


@dataclass(frozen=True)
class CellSpace:
    """Which cells each block can be. `function` is the space function that everything else takes.

    Raises:
        SpaceError: another number of lists than of blocks, a cell that is no network's, or none at all.
    """

    backbone: Backbone
    blocks: tuple[tuple[Kept, ...], ...]
    zero: bool = True
    """Blocks that keep their shape can be left out."""
    attention: bool = False
    """Cells' mix bits are heeded."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: data, budget, seeds; plain JSON."""

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.backbone.blocks):
            raise SpaceError(f"{len(self.blocks)} lists of cells are given for {len(self.backbone.blocks)} blocks")
        for place, options in enumerate(self.blocks, 1):
            if not options and not self.may_be_left_out(place):
                raise SpaceError(f"block b{place} has no cell, and cannot be left out; give one")
            for kept in options:
                if said := kept.cell.problem():
                    raise SpaceError(f"cell {kept.cell} of block b{place} cannot be built: {said}")
                if type(kept.expand) is not int or kept.expand < 1:
                    raise SpaceError(f"a cell of block b{place} expands {kept.expand!r} times; give 1 or more")
            names = [kept.name for kept in options]
            if twice := [name for name in names if names.count(name) > 1]:
                raise SpaceError(f"cell {twice[0]} stands in block b{place} twice; give it once")

    def may_be_left_out(self, place: int) -> bool:
        """Whether block `place`, counted from 1, keeps its shape and the space lets such blocks go."""
        at = self.backbone.placements(1)[place - 1]
        return self.zero and at.stride == 1 and at.c_in == at.c_out

    @property
    def function(self) -> SpaceFunction:
        """The space function, `evolved`; choices are `b1`, `b2`, … and options are named by cell and expansion."""
        given = self

        def evolved(
            choose: Choose, *, classes: int = 10, channels: int = 3, size: int = 32, dropout: float = 0.0
        ) -> nn.Module:
            return network(given, choose, classes=classes, channels=channels, size=size, dropout=dropout)

        evolved.__doc__ = network.__doc__
        return evolved

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        backbone = asdict(self.backbone)
        backbone["blocks"] = [list(block) for block in self.backbone.blocks]
        blocks = [
            [
                {"cell": kept.cell.to_matrix(), "expand": kept.expand, "fitness": kept.fitness, "visits": kept.visits}
                for kept in options
            ]
            for options in self.blocks
        ]
        return {
            "what": _WHAT, "format": _FORMAT, "backbone": backbone, "blocks": blocks, "zero": self.zero,
            "attention": self.attention, "evidence": dict(self.evidence),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Any) -> CellSpace:
        """Inverse of `to_json`.

        Raises:
            SpaceError: it is none of those, or damaged.
        """
        if not isinstance(data, dict) or data.get("what") != _WHAT:
            raise SpaceError("it is no evolved space; 'archipel evolve' makes one")
        if data.get("format") != _FORMAT:
            raise SpaceError(f"it has the format {data.get('format')!r}; this version reads {_FORMAT}")
        try:
            return cls(
                _backbone(data["backbone"]),
                tuple(tuple(_kept(entry) for entry in options) for options in data["blocks"]),
                _typed(data["zero"], bool),
                _typed(data["attention"], bool),
                _typed(data["evidence"], dict),
            )
        except SpaceError:
            raise
        except KeyError as error:
            raise SpaceError(f"it lacks {error}") from error
        except (TypeError, ValueError) as error:
            raise SpaceError(f"it is damaged: {error}") from error

    def save(self, path: Path) -> None:
        """Write it as one JSON file."""
        path.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_space(path: Path | str) -> CellSpace:
    """A space from its JSON file.

    Raises:
        SpaceError: there is no such file, or it holds no evolved space.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpaceError(f"there is no evolved space '{path}'") from None
    except (OSError, ValueError) as error:
        raise SpaceError(f"evolved space '{path}' cannot be read ({error})") from error
    try:
        return CellSpace.from_json(data)
    except SpaceError as error:
        raise SpaceError(f"evolved space '{path}': {error}") from error


def network(
    space: CellSpace,
    choose: Choose,
    *,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,  # noqa: ARG001 - any: the network ends in an average over what is left
    dropout: float = 0.0,
) -> nn.Module:
    """An evolved space: every block one of its own cells, or absent where it keeps its shape.

    Args:
        size: side of the images in pixels.
        dropout: before the classifier.
    """
    backbone = space.backbone
    eps, c = backbone.eps, backbone.stem
    layers: list[nn.Module] = [
        ConvBN(channels, c, 3, stride=backbone.stem_stride, act=nn.ReLU6, eps=eps),
        InvertedResidual(c, backbone.fixed, expand=1, act=nn.ReLU6, eps=eps),
    ]
    c = backbone.fixed
    for place, ((c_out, stride), options) in enumerate(zip(backbone.blocks, space.blocks), 1):
        candidates = {kept.name: _cell(space, kept, c, c_out, stride) for kept in options}
        if space.may_be_left_out(place):
            candidates["zero"] = Zero
        block = choose.op(f"b{place}", candidates)
        layers.append(residual(block) if stride == 1 and c == c_out else block)
        c = c_out
    tail = ConvBN(c, backbone.tail, act=nn.ReLU6, eps=eps)
    return he_fan_out(nn.Sequential(*layers, tail, *classifier(backbone.tail, classes, dropout)))


def _cell(space: CellSpace, kept: Kept, c_in: int, c_out: int, stride: int) -> Factory:
    return lambda: CellBlock(
        kept.cell, c_in, c_out, expand=kept.expand, stride=stride, attention=space.attention, eps=space.backbone.eps
    )


def _backbone(data: Any) -> Backbone:
    eps = float(data["eps"])
    if not (math.isfinite(eps) and eps > 0):
        raise SpaceError(f"its eps is {eps:g}; give a number above 0")
    blocks = tuple((_count(channels), _count(stride)) for channels, stride in data["blocks"])
    stem, stride, fixed, tail = (_count(data[name]) for name in ("stem", "stem_stride", "fixed", "tail"))
    return Backbone(stem, stride, fixed, blocks, tail, eps)


def _kept(data: Any) -> Kept:
    fitness = data["fitness"]
    return Kept(
        Cell.from_matrix(data["cell"]),
        _count(data["expand"]),
        None if fitness is None else float(fitness),
        _typed(data["visits"], int),
    )


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise SpaceError(f"it has {value!r} where a number above 0 belongs")
    return value


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise SpaceError(f"it has {value!r} where {'yes or no' if kind is bool else f'a {kind.__name__}'} belongs")
    return value


def options_of(found: Sequence[Kept], expansions: Sequence[int], kernels: Sequence[int] = ()) -> tuple[Kept, ...]:
    """Each cell at each expansion and, where its edge 0→1 is one of `kernels`, with each of them there; every graph
    once."""
    options: dict[tuple[Cell, int], Kept] = {}
    for kept in found:
        for kernel in kernels if kept.cell.codes[0] in kernels else kept.cell.codes[:1]:
            for expand in expansions:
                cell = kept.cell.with_kernel(kernel)
                options.setdefault((cell.canonical, expand), replace(kept, cell=cell, expand=expand))
    return tuple(options.values())
