"""A controller and the meta-graph it routes through as one ONNX graph: InstaNAS' network in a file.

The file holds every option of every place (`archipel.deploy.apart`) with a branch for each, which gathers the rows
that take it, runs it on them and adds what comes of it to the place's sum. A branch that no row takes is not run, so a
single image runs its own architecture and nothing else.

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
    columns: str
    """`[D, B]`, bool."""
    taken: Sequence[str]
    """Of each column whether any row takes it, `[1]`, bool."""
    taking: str
    """`[G, B]`, float32: how many options of each choice a row takes."""
    shares: str
    """`[G, B]`, float32: what each of them counts in a mean."""
    rows: str
    """`[B, 1]`, int64: 0, 1, …"""
    count: str
    """`[1]`, int64: how many rows there are."""

    @classmethod
    def of(cls, scope: Scope, bits: str, space: Space) -> _Codes:
        from onnx import TensorProto

        numbers = scope.node("Cast", bits, to=TensorProto.FLOAT)
        most = scope.node("ReduceMax", numbers, scope.constant([0], "int64"), keepdims=0)
        taken = scope.split(scope.node("Cast", most, to=TensorProto.BOOL), space.width)
        members = np.zeros((len(space.choices), space.width))
        for number, choice in enumerate(space.choices):
            members[number, space.slices[choice.name]] = 1.0
        turned = scope.node("Transpose", numbers, perm=[1, 0])
        taking = scope.node("MatMul", scope.constant(members, "float32"), turned)
        shares = scope.node("Reciprocal", scope.node("Max", taking, scope.constant(1.0, "float32")))
        columns = scope.node("Transpose", bits, perm=[1, 0])
        count = scope.node("Shape", bits, end=1)
        first, step = scope.constant(0, "int64"), scope.constant(1, "int64")
        rows = scope.node("Range", first, scope.node("Squeeze", count), step)
        rows = scope.node("Unsqueeze", rows, scope.constant([1], "int64"))
        return cls(bits, columns, taken, taking, shares, rows, count)


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
        shape = scope.node("Concat", codes.count, scope.constant(called.shape, "int64"), axis=0)
        total = scope.node("ConstantOfShape", shape, value=helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]))
        for number, option in enumerate(called.options):
            column = space.slices[choice.name].start + number
            taken = reached[number if choice.kind == "inputs" else 0]

            def mask(inner: Scope, column: int = column) -> str:
                return inner.node("Gather", codes.columns, inner.constant(column, "int64"), axis=0)

            total = self._added(scope, total, codes.taken[column], mask, option, taken, codes)
        own = scope.constant(space.choices.index(choice), "int64")
        if called.empty is not None:
            taking = scope.node("Gather", codes.taking, own, axis=0)
            nothing = scope.node("Equal", taking, scope.constant(0.0, "float32"))
            total = self._added(scope, total, scope.any(nothing), lambda _: nothing, called.empty, reached[0], codes)
        if choice.mean:
            wide = scope.constant([-1, *[1] * len(called.shape)], "int64")
            share = scope.node("Reshape", scope.node("Gather", codes.shares, own, axis=0), wide)
            total = scope.node("Mul", total, share)
        return total

    def _added(
        self,
        scope: Scope,
        total: str,
        any_row: str,
        mask: Callable[[Scope], str],
        option: Module,
        taken: str,
        codes: _Codes,
    ) -> str:
        """`total`, with what an option gives added to the rows of it that a mask `[B]` marks, where there are any."""
        from onnx import TensorProto

        def run(inner: Scope) -> list[str]:
            own = mask(inner)
            within = codes
            if option.places:
                bits = inner.node("Compress", codes.bits, own, axis=0)
                within = _Codes.of(inner, bits, self.pieces.space)
            y = self.run(inner, option, inner.node("Compress", taken, own, axis=0), within)
            rows = inner.node("Compress", codes.rows, own, axis=0)
            return [inner.node("ScatterND", total, rows, y, reduction="add")]

        (added,) = scope.branch(any_row, run, lambda _: [total], [TensorProto.FLOAT])
        return added
