"""Cells of two-input blocks, and the network in which they are stacked: what NASNet, PNAS, ENAS, NAO and DARTS share.

A cell reads the outputs of the two cells before it (states 0 and 1) and adds a state a block: state j is op1 of one
earlier state and op2 of another, added up. N normal cells, a reduction cell that halves the sides and doubles the
channels, N normal ones, and so on for three stages. Letters: `B` batch, `R` rows of it, `c` channels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from archipel.choose import Choose, Factory, Place, Select
from archipel.errors import SpaceError
from archipel.nn.drop_path import DropPath
from archipel.nn.elastic import stack
from archipel.nn.operations import Halved, operation

__all__ = ["Rule", "blocks_of", "stacked", "unordered"]

_STAGES = 3
_IMAGENET = 112
"""Sides from which the stem halves them three times."""


@dataclass(frozen=True)
class Rule:
    """What the spaces of two-input blocks differ in."""

    operations: tuple[str, ...]
    """Names in `archipel.nn.operations`."""
    distinct: bool = False
    """The two inputs of a block differ, and each edge between states has an operation of its own (DARTS); else a block
    has two slots that may read one state, each with an operation, whichever state it reads."""
    combine: tuple[str, ...] = ("add",)
    """What can become of a block's two: `add` and `concat`, which a 1×1 convolution brings back to c channels."""
    unread: bool = True
    """A cell's output are the states of blocks that no other block reads (NASNet); else of all blocks (DARTS, PNAS)."""
    alike: bool = False
    """Reduction cells are the normal cell, strided (PNAS)."""
    grows: bool = False
    """How many blocks there are is open too (PNAS)."""


Part: TypeAlias = "tuple[int, Tensor, Tensor | None]"
"""Which state, its maps `[R, c, H, W]`, and of which rows of the batch they are; None: of all."""

Pair: TypeAlias = "tuple[list[Part], list[Part]]"
"""The outputs of the two cells before."""


def stacked(
    choose: Choose,
    rule: Rule,
    *,
    cells: int,
    blocks: int,
    filters: int,
    classes: int,
    channels: int,
    size: int,
    drop_path: float,
    dropout: float,
) -> nn.Module:
    """The network of a rule: stem, 3 · `cells` normal cells and two reduction cells, average over space, linear.

    Choices of block j of a cell, j counted as its state is, from 2: `normal.b2.in1 .op1 .in2 .op2`, `.combine` where
    there is more than one way; of a `distinct` rule `normal.b2.in` and, of the edge from state i, `normal.b2.e0`.

    Args:
        cells: normal cells in each stage (N).
        blocks: of a cell; the most there are where their number is open.
        filters: channels of a state in the first stage.
        size: side of the images; from 112 on, the stem halves them three times, as DARTS does on ImageNet.
        drop_path: how often the last cell leaves out an edge for a sample when the training ends (ScheduledDropPath);
            of cell i of n, i / n of that.

    Raises:
        SpaceError: no cells, blocks or channels, or a rate that is no share.
    """
    for name, value in (("cells", cells), ("blocks", blocks), ("filters", filters)):
        if value < 1:
            raise SpaceError(f"{name} is {value}; give 1 or more")
    stem = _Stem(channels, filters, deep=size >= _IMAGENET)
    layers: list[nn.Module] = [stem]
    before = last = stem.outputs
    halved = stem.deep  # whether the last cell has sides half as long as the one before it
    count, c = _STAGES * cells + _STAGES - 1, filters
    for i in range(count):
        reduces = i % (cells + 1) == cells
        c *= 2 if reduces else 1
        kind = "cell" if rule.alike else "reduction" if reduces else "normal"
        built = _Built(choose, rule, kind, c, 2 if reduces else 1, (i + 1) / count * drop_path)
        cell = _Cell(_Join(before, c, halved), _Join(last, c), built.blocks(blocks), rule, c)
        layers.append(cell)
        before, last, halved = last, cell.outputs, reduces
    return _Network(*layers, _Head(last, classes, dropout, act=not rule.distinct))


_HALF = re.compile(r"(\w+\.b\d+)\.in1")


def blocks_of(names: Iterable[str]) -> list[str]:
    """The blocks of two slots among the choices of a space or an architecture: `cell.b2`, `cell.b3` …, in order."""
    return [found[1] for name in names if (found := _HALF.fullmatch(name))]


def unordered(values: Mapping[str, Any]) -> dict[str, Any]:
    """The one spelling of architectures that differ only in which half of a block stands first: the half that reads the
    earlier state does, and of two that read one the one whose operation comes first in the alphabet."""
    found = dict(values)
    for block in blocks_of(values):
        halves = sorted((found[f"{block}.in{s}"], found[f"{block}.op{s}"]) for s in (1, 2))
        for s, (state, op) in enumerate(halves, 1):
            found[f"{block}.in{s}"], found[f"{block}.op{s}"] = state, op
    return found


@dataclass(frozen=True)
class _Built:
    """Makes the blocks of one cell."""

    choose: Choose
    rule: Rule
    kind: str
    c: int
    stride: int
    drop_path: float

    def blocks(self, most: int) -> nn.Module:
        depth = most
        if self.rule.grows:
            depth = self.choose.value(f"{self.kind}.blocks", list(range(1, most + 1)))
        return stack(depth, lambda i: self._block(i + 2))

    def _block(self, state: int) -> nn.Module:
        name = f"{self.kind}.b{state}"
        if self.rule.distinct:
            edges = [self._edge(i, f"{name}.e{i}") for i in range(state)]
            return _Block([self.choose.inputs(f"{name}.in", edges, k=2)])
        slots = [
            self.choose.inputs(f"{name}.in{s}", [self._edge(i, f"{name}.op{s}") for i in range(state)]) for s in (1, 2)
        ]
        if self.rule.combine == ("add",):
            return _Block(slots)
        ways: dict[str, Factory] = {"add": _Added, "concat": lambda: _Projected(self.c)}
        return _Block(slots, self.choose.op(f"{name}.combine", {way: ways[way] for way in self.rule.combine}))

    def _edge(self, source: int, name: str) -> Factory:
        """From a state to a block; only what comes from other cells is strided."""
        stride = self.stride if source < 2 else 1
        options = {o: _factory(o, self.c, stride) for o in self.rule.operations}

        def make() -> nn.Module:
            own = self.choose.op(name, options)
            return nn.Sequential(own, DropPath(self.drop_path)) if self.drop_path else own

        return make


def _factory(name: str, c: int, stride: int) -> Factory:
    return lambda: operation(name, c, stride)


class _Added(nn.Module):
    """[a, b] → a + b, over the halves of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return first + second


class _Network(nn.Sequential):
    """Stem, cells and head. More than one tensor goes from each to the next, so a batch cannot be parted between them,
    as executors do with a plain sequence."""


class _Projected(nn.Sequential):
    """BN(conv_1(ReLU([a, b]))), back to c channels."""

    def __init__(self, c: int) -> None:
        super().__init__(nn.ReLU(), nn.Conv2d(2 * c, c, 1, bias=False), nn.BatchNorm2d(c))


class _Block(nn.Module):
    """States → states and one more, Σ_s slot_s(states), or what `combine` makes of the two slots."""

    def __init__(self, slots: Sequence[nn.Module], combine: nn.Module | None = None) -> None:
        super().__init__()
        self.slots = nn.ModuleList(slots)
        self.combine = combine

    def forward(self, states: list[Tensor]) -> list[Tensor]:
        first, *others = [slot(states) for slot in self.slots]
        if self.combine is not None:
            return [*states, self.combine(torch.cat([first, *others], 1))]
        return [*states, first + others[0] if others else first]


class _Cell(nn.Module):
    """The outputs of the two cells before → those of the last one, and its own."""

    def __init__(self, before: nn.Module, last: nn.Module, blocks: nn.Module, rule: Rule, c: int) -> None:
        super().__init__()
        self.before, self.last, self.blocks = before, last, blocks
        made = list(blocks.children())
        self.slots = [(j, slot) for j, block in enumerate(made, 2) if isinstance(block, _Block) for slot in block.slots]
        self.rule = rule
        self.is_open = any(isinstance(slot, Place) for _, slot in self.slots)
        self.outputs: dict[int, int] = {0: c * len(made)}
        """State → channels of what the cell puts out, 0 for all of them in a row; of an open cell what it may."""
        if rule.unread or rule.grows:
            read = {int(i) for _, slot in self.slots if isinstance(slot, Select) for i in slot if rule.unread}
            self.outputs = {j: c for j in range(2, len(made) + 2) if j not in read}

    def forward(self, pair: Pair) -> Pair:
        before, last = pair
        states: list[Tensor] = self.blocks([self.before(before), self.last(last)])
        if 0 in self.outputs:
            return last, [(0, torch.cat(states[2:], 1) if len(states) > 3 else states[2], None)]
        if self.rule.unread and self.is_open:
            return last, list(self._unread_now(states))
        return last, [(j, states[j], None) for j in self.outputs if j < len(states)]

    def _unread_now(self, states: list[Tensor]) -> Iterator[Part]:
        """The states that, on the route under way, no block reads, and for which rows that is so."""
        for j in range(2, len(states)):
            rows = torch.ones(len(states[j]), dtype=torch.bool)
            for reader, slot in self.slots:
                if isinstance(slot, Place) and j < reader < len(states):
                    taken = slot.taken_by(j)
                    if isinstance(taken, Tensor):
                        rows[taken.cpu()] = False
                    elif taken:
                        rows[:] = False
            if bool(rows.all()):
                yield j, states[j], None
            elif bool(rows.any()):
                own = rows.nonzero()[:, 0].to(states[j].device)
                yield j, states[j].index_select(0, own), own


class _Join(nn.Module):
    """BN(Σ_j W_j ReLU(part_j)): the parts concatenated, and a 1×1 convolution to c channels; each W_j its columns."""

    def __init__(self, parts: Mapping[int, int], c: int, halve: bool = False) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.maps = nn.ModuleDict(
            {str(j): Halved(own, c) if halve else nn.Conv2d(own, c, 1, bias=False) for j, own in parts.items()}
        )
        self.norm = nn.BatchNorm2d(c)

    def forward(self, parts: list[Part]) -> Tensor:
        y = _summed([(self.maps[str(j)](self.act(x)), rows) for j, x, rows in parts])
        normed: Tensor = self.norm(y)
        return normed


class _Stem(nn.Module):
    """Images → what stands for the two cells before the first one."""

    def __init__(self, channels: int, filters: int, *, deep: bool) -> None:
        super().__init__()
        self.deep = deep
        if deep:
            half = max(1, filters // 2)
            self.first = nn.Sequential(*_strided(channels, half), nn.ReLU(), *_strided(half, filters))
            self.second = nn.Sequential(nn.ReLU(), *_strided(filters, filters))
        else:
            self.first = nn.Sequential(
                nn.Conv2d(channels, 3 * filters, 3, padding=1, bias=False), nn.BatchNorm2d(3 * filters)
            )
        self.outputs = {0: filters if deep else 3 * filters}

    def forward(self, x: Tensor) -> Pair:
        first = self.first(x)
        return [(0, first, None)], [(0, self.second(first) if self.deep else first, None)]


class _Head(nn.Module):
    """Σ_j W_j pool(part_j) + b: average over space and a linear layer over all parts concatenated."""

    def __init__(self, parts: Mapping[int, int], classes: int, dropout: float, *, act: bool) -> None:
        super().__init__()
        self.pool = nn.Sequential(*[nn.ReLU()] * act, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
        self.maps = nn.ModuleDict({str(j): nn.Linear(own, classes, bias=False) for j, own in parts.items()})
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, pair: Pair) -> Tensor:
        return _summed([(self.maps[str(j)](self.pool(x)), rows) for j, x, rows in pair[1]]) + self.bias


def _strided(c_in: int, c_out: int) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False), nn.BatchNorm2d(c_out)]


def _summed(terms: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Σ over the terms of all rows and those of some; the last block's are of all, since nothing reads it."""
    whole = [term for term, rows in terms if rows is None]
    y = whole[0]
    for term in whole[1:]:
        y = y + term
    for term, rows in terms:
        if rows is not None:
            y = y.index_add(0, rows, term.to(y.dtype))
    return y
