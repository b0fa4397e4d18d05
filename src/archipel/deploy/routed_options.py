"""A controller and the meta-graph it routes through as one ONNX graph: InstaNAS' network in a file.

The file holds every option of every place (`archipel.deploy.apart`) with a branch for each, which gathers the rows
that take it, runs it on them and adds what comes of it to the place's sum. A branch that no row takes is not run, so a
single image runs its own architecture and nothing else.

Letters: `B` batch, `D` code columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from archipel.deploy.apart import Apart, Called, Module, apart
from archipel.deploy.onnx_scope import Scope
from archipel.metagraph import MetaGraph
from archipel.nn.onnx_model import Known

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
    scores = _Writer(pieces).run(whole, pieces.root, "images", _Codes.of(whole, codes))

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

        choice, cut = called.choice, self.pieces.space.slices[called.choice.name]
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
        option: Module,
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
