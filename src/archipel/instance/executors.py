"""Ways to run a batch whose images take different architectures: equal outputs, different times.

`gathered`  at each choice, each option once on the images that take it (`PerInstance`).
`grouped`   each architecture once, on its images.
`prefix`    images that have agreed so far run together; where they part they stay apart.
`masked`    at each choice, every option that any image takes on all images, times 0 or 1: what a static union costs.

Gathering computes nothing twice and moves most; grouping moves least and begins most often. Which is fastest depends
on the device and on how alike the architectures are (`archipel.instance.batch_cost`). Letters: `B` batch, `D` code
columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from archipel.choose import Place
from archipel.errors import OptionError, did_you_mean
from archipel.metagraph import MetaGraph, PerInstance, Single
from archipel.routes import follow
from archipel.rows import rows_of
from archipel.space import Space

__all__ = ["EXECUTORS", "Executor", "Segment", "execute", "groups_of", "segments"]

Executor = Literal["gathered", "grouped", "prefix", "masked"]


def execute(graph: MetaGraph, x: Tensor, codes: Tensor, executor: Executor = "gathered") -> Tensor:
    """Each image through its own architecture, in evaluation mode.

    Args:
        x: `[B, ...]`.
        codes: `[B, D]`, bool.

    Raises:
        OptionError: there is no such executor.
        ArchitectureError: the codes do not fit the space or the batch.
    """
    if executor not in EXECUTORS:
        known = ", ".join(EXECUTORS)
        raise OptionError(f"there is no executor '{executor}' ({known}){did_you_mean(executor, EXECUTORS)}")
    return EXECUTORS[executor](graph, x, codes)


def _gathered(graph: MetaGraph, x: Tensor, codes: Tensor) -> Tensor:
    y: Tensor = graph(x, PerInstance(codes))
    return y


def _masked(graph: MetaGraph, x: Tensor, codes: Tensor) -> Tensor:
    y: Tensor = graph(x, PerInstance(codes, masked=True))
    return y


def _grouped(graph: MetaGraph, x: Tensor, codes: Tensor) -> Tensor:
    codes = graph.space.complete(codes.cpu())
    groups = groups_of(codes)
    parts = [graph(rows_of(x, rows.to(x.device)), Single(graph.space.decode(codes[rows[0]]))) for rows in groups]
    return _joined(parts, groups)


def _prefix(graph: MetaGraph, x: Tensor, codes: Tensor) -> Tensor:
    codes = graph.space.complete(codes.cpu())
    parts = segments(graph)

    def run(first: int, x: Tensor, rows: Tensor) -> Tensor:
        architecture = graph.space.decode(codes[rows[0]])
        for i in range(first, len(parts)):
            groups = groups_of(codes[rows][:, parts[i].columns])
            if len(groups) > 1:
                return _joined([run(i, rows_of(x, own.to(x.device)), rows[own]) for own in groups], groups)
            with follow(Single(architecture)):
                x = parts[i].module(x)
        return x

    return run(0, x, torch.arange(len(codes)))


EXECUTORS: dict[Executor, Callable[[MetaGraph, Tensor, Tensor], Tensor]] = {
    "gathered": _gathered,
    "grouped": _grouped,
    "prefix": _prefix,
    "masked": _masked,
}


@dataclass(frozen=True)
class Segment:
    """A module of a network that runs after the one before it and nothing else, and the choices inside it."""

    module: nn.Module
    columns: Tensor
    """Code columns that it depends on."""


def segments(graph: MetaGraph) -> list[Segment]:
    """A network as modules in a row: its plain sequences opened; a network of another form is one segment.

    `value` choices shape layers anywhere, so all of them belong to the first.
    """
    values = {choice.name for choice in graph.space.choices if choice.kind == "value"}
    found: list[Segment] = []
    for module in _in_a_row(graph.net):
        names = {part.choice.name for part in module.modules() if isinstance(part, Place)}
        found.append(Segment(module, _columns(graph.space, names | (set() if found else values))))
    return found


def _in_a_row(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is not nn.Sequential or not len(module):
        yield module
        return
    for child in module:
        yield from _in_a_row(child)


def _columns(space: Space, names: set[str]) -> Tensor:
    cuts = [torch.arange(cut.start, cut.stop) for name, cut in space.slices.items() if name in names]
    return torch.cat(cuts) if cuts else torch.arange(0)


def groups_of(codes: Tensor) -> list[Tensor]:
    """Which rows of `[B, D]` are equal, each group's in order."""
    if not codes.shape[1] or bool((codes == codes[0]).all()):
        return [torch.arange(len(codes))]
    _, group, counts = codes.unique(dim=0, return_inverse=True, return_counts=True)
    return list(group.argsort(stable=True).split(counts.tolist()))


def _joined(parts: list[Tensor], groups: list[Tensor]) -> Tensor:
    """Rows in the order of the batch again."""
    if len(parts) == 1:
        return parts[0]
    order = torch.cat(groups).argsort().to(parts[0].device)
    joined: Tensor = rows_of(torch.cat(parts), order)
    return joined
