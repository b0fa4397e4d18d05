"""One ONNX graph with everything that may run for an image, and the pieces of it that do.

Inside a graph deciding is dear: a branch takes as long as a small layer, and a runtime does not join what stands in it
with what is around it. So for a single image the decisions are taken outside, between pieces that are sessions of
their own. A piece is what some tensors need of others; where options stand side by side, only those that are taken are
in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archipel.deploy.export import session_of
from archipel.deploy.onnx_scope import Scope
from archipel.nn.onnx_model import as_model

__all__ = ["Stretch", "Uncut", "uncut"]

_KEY = "archipel.uncut"

Taken = Callable[[str], Sequence[bool]]
"""Name of a choice → which of its options are taken."""


def uncut(scope: Scope, source: Any, inputs: Mapping[str, tuple[int, ...]], told: Any) -> Any:
    """A written scope as an `onnx.ModelProto` that `Uncut` reads; the shape of every tensor is in it.

    Where options stand side by side, in a node `Sum` or `Mean`, the node has the name of the choice; behind the options
    it takes what stands in for none of them.

    Args:
        source: a model whose versions hold.
        inputs: of float32, name → shape.
        told: plain values for who cuts it, such as names of tensors.
    """
    import onnx

    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    graph = onnx.helper.make_graph(scope.nodes, "uncut", values, [], scope.weights)
    model = onnx.shape_inference.infer_shapes(as_model(graph, source), data_prop=True)
    _run_for_shapes(model, inputs)
    model.metadata_props.add(key=_KEY, value=json.dumps(told))
    return model


def _run_for_shapes(model: Any, inputs: Mapping[str, tuple[int, ...]]) -> None:
    """Shapes that could not be inferred, from a run."""
    tensors = (value for value in model.graph.value_info if value.type.HasField("tensor_type"))
    values = [value for value in tensors if not value.type.tensor_type.HasField("shape") or not all(_shape(value))]
    if not values:
        return
    probe = type(model)()
    probe.CopyFrom(model)
    probe.graph.output.extend(values)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
    for value, found in zip(values, session_of(probe.SerializeToString()).run(None, zeros), strict=True):
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in found.shape:
            shape.dim.add().dim_value = size


@dataclass(frozen=True)
class Stretch:
    """Of a network in a row, from the end of the one before to a tensor that is all that the next one needs."""

    end: str
    choices: tuple[str, ...]
    """Those made inside."""


class Uncut:
    """Pieces of what `uncut` made.

    Attributes:
        told: what was said of it.
        bytes: of all weights.
    """

    def __init__(self, model: Any) -> None:
        (told,) = (entry.value for entry in model.metadata_props if entry.key == _KEY)
        self.told: Any = json.loads(told)
        self._source = type(model)(ir_version=model.ir_version)
        self._source.opset_import.extend(model.opset_import)
        self._source.functions.extend(model.functions)
        self._nodes = list(model.graph.node)
        self._makers = {name: i for i, node in enumerate(self._nodes) for name in node.output}
        self._weights = {weight.name: weight for weight in model.graph.initializer}
        self.bytes = sum(weight.ByteSize() for weight in model.graph.initializer)
        self._values = {value.name: value for value in (*model.graph.input, *model.graph.value_info)}

    @classmethod
    def read(cls, content: bytes | Path) -> Uncut:
        import onnx

        return cls(onnx.load_model_from_string(content if isinstance(content, bytes) else content.read_bytes()))

    def kind(self, name: str) -> tuple[tuple[int, ...], Any]:
        """Shape and NumPy type of a tensor."""
        import onnx

        value = self._values[name]
        return _shape(value), onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)

    def piece(self, begin: Sequence[str], end: Sequence[str], taken: Taken | None = None) -> bytes:
        """What makes the tensors `end` out of the tensors `begin`, as a model.

        Args:
            taken: which options of each choice; all if not given.
        """
        from onnx import helper

        nodes = []
        for i in self._needed(begin, end, taken):
            node = self._nodes[i]
            nodes += _joined(node, _given(node, taken)) if node.name else [node]
        read = dict.fromkeys(name for node in nodes for name in node.input)
        graph = helper.make_graph(
            nodes,
            "piece",
            [self._values[name] for name in begin],
            [self._values[name] for name in end],
            [self._weights[name] for name in read if name in self._weights],
        )
        content: bytes = as_model(graph, self._source).SerializeToString()
        return content

    def stretches(self, begin: str, end: str) -> list[Stretch]:
        """The shortest in a row with a choice in each, from `begin` to `end`; one where the network is not in a row."""
        needed = self._needed([begin], [end], None)
        last = {name: i for i in needed for name in self._nodes[i].input} | {end: len(self._nodes)}
        open_, made, choices = {begin}, {begin}, dict[str, None]()
        found: list[Stretch] = []
        for i in needed:
            node = self._nodes[i]
            if not made.isdisjoint(node.input):
                made.update(node.output)
                open_.update(node.output)
            open_ = {name for name in open_ if last.get(name, -1) > i}
            if node.name:
                choices[node.name] = None
            if choices and len(open_) == 1:
                (name,) = open_
                found.append(Stretch(name, tuple(choices)))
                choices = {}
        behind = found.pop().choices if found else ()  # what comes behind the last choice belongs to it
        return [*found, Stretch(end, (*behind, *choices))]

    def _needed(self, begin: Sequence[str], end: Sequence[str], taken: Taken | None) -> list[int]:
        """Positions of the nodes, in order."""
        known, pending, found = set(begin), list(end), set()
        while pending:
            name = pending.pop()
            i = self._makers.get(name)
            if name in known or i is None or i in found:
                continue
            found.add(i)
            pending += _given(self._nodes[i], taken)
        return sorted(found)


def _shape(value: Any) -> tuple[int, ...]:
    """0 where a size is not known."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _joined(node: Any, given: Sequence[str]) -> list[Any]:
    """The sum or the mean of some options. A runtime joins `Add` with the layer before it, and `Mean` with none."""
    from onnx import helper

    (name,) = node.output
    if len(given) == 1:
        return [helper.make_node("Identity", given, [name])]
    is_mean = node.op_type == "Mean"
    sums = [f"{name}/{i}" for i in range(1, len(given))]
    if not is_mean:
        sums[-1] = name
    made = [helper.make_node("Add", [a, b], [y]) for a, b, y in zip((given[0], *sums), given[1:], sums)]
    if is_mean:
        share = f"{name}/share"
        made.append(helper.make_node("Constant", [], [share], value_float=1.0 / len(given)))
        made.append(helper.make_node("Mul", [sums[-1], share], [name]))
    return made


def _given(node: Any, taken: Taken | None) -> list[str]:
    """What a node takes, of options those that are taken."""
    if not node.name or taken is None:
        return list(node.input)
    *options, nothing = node.input
    return [name for name, one in zip(options, taken(node.name), strict=True) if one] or [nothing]
