"""A controller and the meta-graph it routes through as one ONNX graph: InstaNAS' network in a file.

The network is exported with a hole at every place, and every option of the place beside it; the file holds them with a
branch for each option, which gathers the rows that take it, runs it on them and adds what comes of it to the place's
sum. A branch that no row takes is not run, so a single image runs its own architecture and nothing else.

Letters: `B` batch, `D` code columns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from archipel.choice import Choice
from archipel.choose import Place
from archipel.deploy.deciding import Deciding
from archipel.deploy.onnx_scope import Scope
from archipel.errors import OptionError
from archipel.metagraph import MetaGraph
from archipel.nn.blocks import Zero
from archipel.nn.fold import fold_for_inference
from archipel.nn.onnx_model import Known, Part, onnx_parts
from archipel.space import Space

__all__ = ["routed_options"]


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
class _Module:
    """A module to be exported, its example, and the places that its holes stand for, in the order they are run."""

    module: _Holed
    inputs: tuple[Tensor, ...]
    places: list[_Called] = field(default_factory=list)


@dataclass
class _Called:
    """A place as it is run once: how many tensors reach it, its options, what stands in for an empty selection."""

    choice: Choice
    reached: int
    shape: tuple[int, ...]
    """Of its output, without the batch."""
    options: list[_Module]
    empty: _Module | None


def routed_options(
    graph: MetaGraph, controller: nn.Module, input_shape: tuple[int, int, int], *, known: Known | None = None
) -> Any:
    """Input `images` `[B, C, H, W]`, and of a conditioned controller `target_ms` `[B]`; outputs `scores`
    `[B, classes]`, `codes` `[B, D]`, bool, and `probabilities` `[B, D]`.

    Args:
        graph: on the CPU; batch norm is folded in a copy.
        input_shape: `(C, H, W)`.
        known: what was exported before, see `onnx_parts`; another pair of the same space is then written at once.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        OptionError: the space has a `value` choice, whose layers are not options that stand side by side.
        Exception: see `archipel.nn.onnx_model`.
    """
    from onnx import TensorProto, helper

    space = graph.space
    for choice in space.choices:
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
        deciding = Deciding(controller, space).eval()
    every = list(_modules(root))
    target = (torch.ones(1),) if deciding.conditioned else ()
    exported = onnx_parts(
        [(deciding, (images, *target)), *((one.module, one.inputs) for one in every)],
        dynamic=True,
        known=known,
    )
    parts = {id(one): part for one, part in zip(every, exported[1:])}
    whole = Scope()
    codes, probabilities = whole.run(exported[0], "images", *(["target_ms"] if target else []))
    scores = _Writer(space, parts).run(whole, root, "images", _Codes.of(whole, codes))

    def value(name: str, kind: int, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, kind, ["batch", *shape])

    return whole.model(
        exported[0].source,
        [
            value("images", TensorProto.FLOAT, *input_shape),
            *([value("target_ms", TensorProto.FLOAT)] if target else []),
        ],
        {
            "scores": (scores, value("", TensorProto.FLOAT, "classes")),
            "codes": (codes, value("", TensorProto.BOOL, space.width)),
            "probabilities": (probabilities, value("", TensorProto.FLOAT, space.width)),
        },
    )


@dataclass(frozen=True)
class _Codes:
    """Codes `[B, D]` in a graph, and what is asked of them at every place; names of tensors."""

    bits: str
    """`[B, D]`, bool."""
    numbers: str
    """`[B, D]`, float32."""
    taken: str
    """`[D]`, bool: whether any row takes a column."""
    count: str
    """`[1]`: how many rows there are."""

    @classmethod
    def of(cls, scope: Scope, bits: str) -> _Codes:
        from onnx import TensorProto

        numbers = scope.node("Cast", bits, to=TensorProto.FLOAT)
        most = scope.node("ReduceMax", numbers, scope.constant([0], "int64"), keepdims=0)
        count = scope.node("Slice", scope.node("Shape", bits), *(scope.constant([i], "int64") for i in (0, 1)))
        return cls(bits, numbers, scope.node("Cast", most, to=TensorProto.BOOL), count)


@dataclass(frozen=True)
class _Writer:
    """Puts exported parts together, place by place."""

    space: Space
    parts: dict[int, Part]

    def run(self, scope: Scope, one: _Module, x: str, codes: _Codes) -> str:
        """A module on the tensor `x` for rows with `codes`; gives the name of its output."""

        def filled(called: _Called) -> tuple[Callable[..., str], int]:
            return lambda *reached: self.place(scope, called, reached, codes), called.reached

        (y,) = scope.run(self.parts[id(one)], x, holes=[filled(called) for called in one.places])
        return y

    def place(self, scope: Scope, called: _Called, reached: Sequence[str], codes: _Codes) -> str:
        """Σ over the options that a row takes, or their mean."""
        from onnx import TensorProto, helper

        choice, cut = called.choice, self.space.slices[called.choice.name]
        shape = scope.node("Concat", codes.count, scope.constant(called.shape, "int64"), axis=0)
        total = scope.node("ConstantOfShape", shape, value=helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]))
        for number, option in enumerate(called.options):
            column = scope.constant(cut.start + number, "int64")
            taken = reached[number if choice.kind == "inputs" else 0]

            def rows(inner: Scope, column: str = column) -> str:
                return inner.rows(inner.node("Gather", codes.bits, column, axis=1))

            any_row = scope.node("Gather", codes.taken, column)
            total = self._added(scope, total, any_row, rows, option, taken, codes)
        if called.empty is None and not choice.mean:
            return total
        own = scope.node("Slice", codes.numbers, *(scope.constant([i], "int64") for i in (cut.start, cut.stop, 1)))
        taking = scope.node("ReduceSum", own, scope.constant([1], "int64"))
        if called.empty is not None:
            nothing = scope.node("Equal", taking, scope.constant(0.0, "float32"))
            nothing = scope.node("Reshape", nothing, scope.constant([-1], "int64"))
            any_row = scope.any(nothing)
            total = self._added(scope, total, any_row, lambda s: s.rows(nothing), called.empty, reached[0], codes)
        if choice.mean:
            count = scope.node("Max", taking, scope.constant(1.0, "float32"))
            wide = scope.constant([-1, *[1] * len(called.shape)], "int64")
            total = scope.node("Div", total, scope.node("Reshape", count, wide))
        return total

    def _added(
        self,
        scope: Scope,
        total: str,
        any_row: str,
        rows: Callable[[Scope], str],
        option: _Module,
        taken: str,
        codes: _Codes,
    ) -> str:
        """`total`, with what an option gives added to some rows of it, where there are any."""
        from onnx import TensorProto

        def run(inner: Scope) -> list[str]:
            own = rows(inner)
            bits = _Codes.of(inner, inner.node("GatherND", codes.bits, own)) if option.places else codes
            y = self.run(inner, option, inner.node("GatherND", taken, own), bits)
            return [inner.node("ScatterND", total, own, y, reduction="add")]

        (added,) = scope.branch(any_row, run, lambda _: [total], [TensorProto.FLOAT])
        return added


def _holed(body: nn.Module, x: Tensor) -> _Module:
    """A module with its places taken out, and what stands in them, found by running it once."""
    inside = _outer_places(body)
    holes = {id(place): _Hole() for place in inside}
    bare = copy.deepcopy(body, {id(place): holes[id(place)] for place in inside})
    found = _Module(_Holed(bare, list(holes.values())), ())
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
            found.places.append(_Called(place.choice, len(reached), tuple(y.shape[1:]), options, empty))
            answers.append(y)
            return y

        return reach

    for place in inside:
        holes[id(place)].reach = called(place)
    bare.eval()(x)
    for hole in holes.values():
        hole.reach = None
    return _Module(found.module, (x, *answers), found.places)


def _answer(one: _Module) -> Tensor:
    return one.module.eval()(*one.inputs)[0]


def _outer_places(module: nn.Module) -> list[Place]:
    """The places of a module that stand in no other place of it."""
    if isinstance(module, Place):
        return [module]
    return [place for child in module.children() for place in _outer_places(child)]


def _modules(one: _Module) -> Iterator[_Module]:
    yield one
    for called in one.places:
        for option in (*called.options, *([called.empty] if called.empty is not None else [])):
            yield from _modules(option)
