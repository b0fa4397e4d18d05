"""A controller and the meta-graph it routes through as one ONNX graph: InstaNAS' network in a file.

The file holds every option of every place (`archipel.deploy.apart`) with a branch for each, which gathers the rows
that take it and runs it on them; what comes of all of them is added to the place's sum. A branch that no row takes is
not run, so a single image runs its own architecture and nothing else.

Letters: `B` batch, `D` code columns, `G` choices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from archipel.deploy.apart import Apart, Called, Module, apart
from archipel.deploy.onnx_scope import Scope
from archipel.metagraph import MetaGraph
from archipel.nn.onnx_model import Known
from archipel.space import Space

__all__ = ["routed_options"]


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

    pieces = apart(graph, controller, input_shape, dynamic=True, known=known)
    width = pieces.space.width
    whole = Scope()
    codes, probabilities = whole.run(pieces.deciding, "images", *(["target_ms"] if pieces.conditioned else []))
    scores = _Writer(pieces).run(whole, pieces.root, "images", _Codes.of(whole, codes, pieces.space))

    def value(name: str, kind: int, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, kind, ["batch", *shape])

    return whole.model(
        pieces.deciding.source,
        [
            value("images", TensorProto.FLOAT, *input_shape),
            *([value("target_ms", TensorProto.FLOAT)] if pieces.conditioned else []),
        ],
        {
            "scores": (scores, value("", TensorProto.FLOAT, "classes")),
            "codes": (codes, value("", TensorProto.BOOL, width)),
            "probabilities": (probabilities, value("", TensorProto.FLOAT, width)),
        },
    )


@dataclass(frozen=True)
class _Codes:
    """Codes `[B, D]` in a graph, and what is asked of them at every place, worked out once: next to a small option each
    operation counts. Names of tensors."""

    bits: str
    """`[B, D]`, bool."""
    rows: Sequence[str]
    """Of each column which rows take it, `[n, 1]`, int64."""
    taken: Sequence[str]
    """Of each column whether any row takes it, `[1]`, bool."""
    taking: str
    """`[G, B]`, float32: how many options of each choice a row takes."""
    shares: str
    """`[G, B]`, float32: what each of them counts in a mean."""
    count: str
    """`[1]`, int64: how many rows there are."""

    @classmethod
    def of(cls, scope: Scope, bits: str, space: Space) -> _Codes:
        from onnx import TensorProto

        columns = scope.node("Transpose", scope.node("Cast", bits, to=TensorProto.FLOAT), perm=[1, 0])
        counts = scope.node("ReduceSum", columns, scope.constant([1], "int64"), keepdims=0)
        taken = scope.split(scope.node("Cast", counts, to=TensorProto.BOOL), space.width)
        members = np.zeros((len(space.choices), space.width))
        for number, choice in enumerate(space.choices):
            members[number, space.slices[choice.name]] = 1.0
        taking = scope.node("MatMul", scope.constant(members, "float32"), columns)
        shares = scope.node("Reciprocal", scope.node("Max", taking, scope.constant(1.0, "float32")))
        pairs = scope.rows(columns)  # column by column
        rows = scope.node("Slice", pairs, *(scope.constant([at], "int64") for at in (1, 2, 1)))
        parts = scope.split(rows, space.width, scope.node("Cast", counts, to=TensorProto.INT64))
        return cls(bits, parts, taken, taking, shares, scope.node("Shape", bits, end=1))


@dataclass(frozen=True)
class _Writer:
    """Puts exported parts together, place by place."""

    pieces: Apart

    def run(self, scope: Scope, one: Module, x: str, codes: _Codes) -> str:
        """A module on the tensor `x` for rows with `codes`; gives the name of its output."""

        def filled(called: Called) -> tuple[Callable[..., str], int]:
            return lambda *reached: self.place(scope, called, reached, codes), called.reached

        (y,) = scope.run(self.pieces.of(one), x, holes=[filled(called) for called in one.places])
        return y

    def place(self, scope: Scope, called: Called, reached: Sequence[str], codes: _Codes) -> str:
        """Σ over the options that a row takes, or their mean."""
        from onnx import TensorProto, helper

        choice, space = called.choice, self.pieces.space
        own = scope.constant(space.choices.index(choice), "int64")
        nothing, taking, rows = [0, *called.shape], [], []
        for number, option in enumerate(called.options):
            column = space.slices[choice.name].start + number
            x = reached[number if choice.kind == "inputs" else 0]
            rows.append(codes.rows[column])
            taking.append(self._on(scope, codes.taken[column], rows[-1], option, x, nothing, codes))
        if called.empty is not None:
            none = scope.node("Equal", scope.node("Gather", codes.taking, own, axis=0), scope.constant(0.0, "float32"))
            rows.append(scope.rows(none))
            taking.append(self._on(scope, scope.any(none), rows[-1], called.empty, reached[0], nothing, codes))
        shape = scope.node("Concat", codes.count, scope.constant(called.shape, "int64"), axis=0)
        total = scope.node("ConstantOfShape", shape, value=helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]))
        # Of all options at once: it copies what it adds to.
        parts = scope.node("Concat", *rows, axis=0), scope.node("Concat", *taking, axis=0)
        total = scope.node("ScatterND", total, *parts, reduction="add")
        if choice.mean:
            wide = scope.constant([-1, *[1] * len(called.shape)], "int64")
            share = scope.node("Reshape", scope.node("Gather", codes.shares, own, axis=0), wide)
            total = scope.node("Mul", total, share)
        return total

    def _on(
        self, scope: Scope, any_row: str, rows: str, option: Module, x: str, nothing: Sequence[int], codes: _Codes
    ) -> str:
        """What an option gives on the rows `[n, 1]` of `x` that take it; a tensor of the shape `nothing` where there
        are none."""
        from onnx import TensorProto

        def run(inner: Scope) -> list[str]:
            within = codes
            if option.places:
                within = _Codes.of(inner, inner.node("GatherND", codes.bits, rows), self.pieces.space)
            return [self.run(inner, option, inner.node("GatherND", x, rows), within)]

        def skip(inner: Scope) -> list[str]:
            return [inner.constant(np.zeros(nothing), "float32")]

        (y,) = scope.branch(any_row, run, skip, [TensorProto.FLOAT])
        return y
