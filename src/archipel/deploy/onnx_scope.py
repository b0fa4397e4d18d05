"""ONNX graphs written by hand around exported parts: branches, and rows that go through one alone.

A branch is an `If`: what stands in it is computed only where it is taken. A branch for some rows of a batch gathers
them first, so that one file serves a single image, which then runs nothing but its own way, and a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from archipel.nn.onnx_model import Part, as_model, renamed

__all__ = ["Scope"]

Branch = Callable[["Scope"], Sequence[str]]
"""Writes a branch and gives the names of what comes out of it."""


class Scope:
    """A graph being written, or a branch in it, which sees the tensors around it.

    Args:
        parent: what it is a branch of.
    """

    def __init__(self, parent: Scope | None = None) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._numbers: Iterator[int] = itertools.count() if parent is None else parent._numbers

    def name(self, hint: str = "t") -> str:
        """One that no other tensor has."""
        return f"{hint}_{next(self._numbers)}"

    def constant(self, values: Any, dtype: Any) -> str:
        """Numbers known beforehand."""
        import onnx

        name = self.name("c")
        self.weights.append(onnx.numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One operation; gives the name of its output."""
        import onnx

        output = self.name(kind.lower())
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def run(self, part: Part, *inputs: str, holes: Sequence[tuple[Callable[..., str], int]] = ()) -> list[str]:
        """An exported part, fed with some tensors; gives the names of its outputs.

        Args:
            holes: what stands in its holes, in the order in which they are run: of each a function of the names of
                what reaches it, and how many these are. A part with holes takes their outputs behind its own inputs,
                and gives what reaches them behind its own outputs.
        """
        own = len(part.inputs) - len(holes)
        known: dict[str, str] = dict(zip(part.inputs[:own], inputs))
        made = set(part.inputs)
        self.weights += part.weights
        reaching = iter(part.outputs[len(part.outputs) - sum(count for _, count in holes) :])
        for filled, (fill, count) in zip(part.inputs[own:], holes):
            names = [next(reaching) for _ in range(count)]
            self._add(part.needed(names, made), known)
            known[filled] = fill(*(known.get(name, name) for name in names))
        answers = part.outputs[: len(part.outputs) - sum(count for _, count in holes)]
        self._add(part.needed(answers, made), known)
        return [known.get(name, name) for name in answers]

    def _add(self, nodes: Sequence[Any], known: Mapping[str, str]) -> None:
        self.nodes += [renamed(node, lambda name: known.get(name, name)) for node in nodes]

    def branch(self, condition: str, taken: Branch, otherwise: Branch, types: Sequence[Any]) -> list[str]:
        """What one of two branches gives, by a boolean; the other is not run.

        Args:
            types: of each output, as `onnx.TensorProto` names them.
        """
        import onnx

        outputs = [self.name("if") for _ in types]
        graphs = {}
        for key, write in (("then_branch", taken), ("else_branch", otherwise)):
            inner = Scope(self)
            given = [inner.node("Identity", name) for name in write(inner)]  # a name from outside is no output
            values = [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in zip(given, types)]
            graphs[key] = onnx.helper.make_graph(inner.nodes, key, [], values, inner.weights)
        self.nodes.append(onnx.helper.make_node("If", [condition], outputs, **graphs))
        return outputs

    def split(self, rows: str, count: int, sizes: str | None = None) -> list[str]:
        """A tensor cut along its first dimension into equal parts, or into parts of these sizes `[count]`, int64."""
        import onnx

        outputs = [self.name("split") for _ in range(count)]
        if sizes is None:
            node = onnx.helper.make_node("Split", [rows], outputs, axis=0, num_outputs=count)
        else:
            node = onnx.helper.make_node("Split", [rows, sizes], outputs, axis=0)
        self.nodes.append(node)
        return outputs

    def turned(self, tensor: str, order: Sequence[int]) -> str | None:
        """What this graph already has of a tensor with its dimensions in another order."""
        for node in self.nodes:
            perm = [size for attribute in node.attribute for size in attribute.ints]
            if node.op_type == "Transpose" and node.input[0] == tensor and perm == [*order]:
                return str(node.output[0])
        return None

    def any(self, mask: str) -> str:
        """Whether anything of a boolean tensor holds."""
        import onnx

        numbers = self.node("Cast", mask, to=onnx.TensorProto.INT32)
        most = self.node("ReduceMax", numbers, keepdims=0)
        return self.node("Cast", most, to=onnx.TensorProto.BOOL)

    def rows(self, mask: str) -> str:
        """Where numbers are not 0, in order, `[n, dimensions]`: of a boolean `[B]` the rows that it marks, `[n, 1]`, as
        `GatherND` and `ScatterND` take them."""
        return self.node("Transpose", self.node("NonZero", mask), perm=[1, 0])

    def model(self, source: Any, inputs: Sequence[Any], outputs: Mapping[str, tuple[str, Any]]) -> Any:
        """The whole as an `onnx.ModelProto`.

        Args:
            source: a model whose versions hold.
            inputs: `onnx.ValueInfoProto`s.
            outputs: name → (tensor, `onnx.ValueInfoProto` without a name).
        """
        import onnx

        for name, (tensor, value) in outputs.items():
            self.nodes.append(onnx.helper.make_node("Identity", [tensor], [name]))
            value.name = name
        values = [value for _, value in outputs.values()]
        return as_model(onnx.helper.make_graph(self.nodes, "network", inputs, values, self.weights), source)
