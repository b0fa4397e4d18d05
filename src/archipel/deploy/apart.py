"""A network taken apart at its places: what is left with a hole at each place, and every option beside it, all of them
exported to ONNX, to be put together by branches (`routed_options`) or by architecture (`uncut_options`).

Letters: `B` batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from archipel.choice import Choice
from archipel.choose import Place
from archipel.deploy.deciding import Deciding
from archipel.errors import OptionError
from archipel.metagraph import MetaGraph
from archipel.nn.blocks import Zero
from archipel.nn.fold import fold_for_inference
from archipel.nn.onnx_model import Known, Part, onnx_parts
from archipel.space import Space

__all__ = ["Apart", "Called", "Module", "apart"]


class _Hole(nn.Module):
    """Where a place stood: notes what reaches it, and answers with what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reach: Callable[[Any], Tensor] | None = None

    def forward(self, x: Any) -> Tensor:
        assert self.reach is not None
        return self.reach(x)


class _Holed(nn.Module):
    """A module with a hole at each of its places: takes its own input and what the holes answer, gives its own output
    and what reached them."""

    def __init__(self, body: nn.Module, holes: Sequence[_Hole]) -> None:
        super().__init__()
        self.body = body
        self.holes = list(holes)

    def forward(self, x: Any, *answers: Tensor) -> tuple[Tensor, ...]:
        reached: list[Tensor] = []
        waiting = iter(answers)

        def reach(given: Any) -> Tensor:
            reached.extend([given] if isinstance(given, Tensor) else given)
            return next(waiting)

        for hole in self.holes:
            hole.reach = reach
        y: Tensor = self.body(x)
        for hole in self.holes:
            hole.reach = None
        return (y, *reached)


@dataclass
class Module:
    """A module to be exported, its example, and the places that its holes stand for, in the order they are run."""

    module: _Holed
    inputs: tuple[Tensor, ...]
    places: list[Called] = field(default_factory=list)


@dataclass
class Called:
    """A place as it is run once: how many tensors reach it, its options, what stands in for an empty selection."""

    choice: Choice
    reached: int
    shape: tuple[int, ...]
    """Of its output, without the batch."""
    options: list[Module]
    empty: Module | None


@dataclass(frozen=True)
class Apart:
    """A controller and the pieces of the network that it picks architectures of."""

    space: Space
    conditioned: bool
    """Whether the controller is asked for a latency."""
    deciding: Part
    """`images`, and of a conditioned controller `target_ms`, to codes and probabilities."""
    root: Module
    """The network without its places."""
    parts: Mapping[int, Part]
    """By the `id` of a module."""

    def of(self, module: Module) -> Part:
        return self.parts[id(module)]


def apart(
    graph: MetaGraph,
    controller: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    dynamic: bool,
    known: Known | None = None,
) -> Apart:
    """A meta-graph and its controller in ONNX, in pieces.

    Args:
        graph: on the CPU; batch norm is folded in a copy.
        input_shape: `(C, H, W)`.
        dynamic: whether batches are of any size, or of one image.
        known: what was exported before, see `onnx_parts`; another pair of the same space is then exported at once.

    Raises:
        OptionError: the space has a `value` choice, whose layers are not options that stand side by side.
        Exception: see `archipel.nn.onnx_model`.
    """
    for choice in graph.space.choices:
        if choice.kind == "value":
            raise OptionError(
                f"choice '{choice.name}' sets the size of layers, which a graph with a branch for each option cannot "
                "hold; export --form frequent instead"
            )
    net = fold_for_inference(graph)
    assert isinstance(net, MetaGraph)
    images = torch.zeros(1, *input_shape)
    with torch.no_grad():
        root = _holed(net.net, images)
        deciding = Deciding(controller, graph.space).eval()
    every = list(_modules(root))
    target = (torch.ones(1),) if deciding.conditioned else ()
    first, *others = onnx_parts(
        [(deciding, (images, *target)), *((one.module, one.inputs) for one in every)], dynamic=dynamic, known=known
    )
    return Apart(graph.space, deciding.conditioned, first, root, {id(one): part for one, part in zip(every, others)})


def _holed(body: nn.Module, x: Tensor) -> Module:
    """A module with its places taken out, and what stands in them, found by running it once."""
    inside = _outer_places(body)
    holes = {id(place): _Hole() for place in inside}
    bare = copy.deepcopy(body, {id(place): holes[id(place)] for place in inside})
    found = Module(_Holed(bare, list(holes.values())), ())
    answers: list[Tensor] = []

    def called(place: Place) -> Callable[[Any], Tensor]:
        def reach(given: Any) -> Tensor:
            reached = [given] if isinstance(given, Tensor) else list(given)
            options = [
                _holed(place.options[str(option)], reached[n if place.choice.kind == "inputs" else 0])
                for n, option in enumerate(place.choice.options)
            ]
            empty = None if place.empty is None or isinstance(place.empty, Zero) else _holed(place.empty, reached[0])
            y = _answer(options[0])
            found.places.append(Called(place.choice, len(reached), tuple(y.shape[1:]), options, empty))
            answers.append(y)
            return y

        return reach

    for place in inside:
        holes[id(place)].reach = called(place)
    bare.eval()(x)
    for hole in holes.values():
        hole.reach = None
    return Module(found.module, (x, *answers), found.places)


def _answer(one: Module) -> Tensor:
    return one.module.eval()(*one.inputs)[0]


def _outer_places(module: nn.Module) -> list[Place]:
    """The places of a module that stand in no other place of it."""
    if isinstance(module, Place):
        return [module]
    return [place for child in module.children() for place in _outer_places(child)]


def _modules(one: Module) -> Iterator[Module]:
    yield one
    for called in one.places:
        for option in (*called.options, *([called.empty] if called.empty is not None else [])):
            yield from _modules(option)
