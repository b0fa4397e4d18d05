"""Networks as ONNX models, written without the exporter's chatter.

The exporter spends most of a second before it looks at a network, and then longer than the network runs for each of its
layers. So many modules are exported together, as one graph with inputs and outputs of each, which is then taken apart,
and of modules that differ in their weights alone, as the blocks of a stage do, one is.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from archipel.nn.likeness import likeness

__all__ = ["Known", "Part", "as_model", "onnx_model", "onnx_parts", "renamed"]


def onnx_model(network: nn.Module, inputs: tuple[Any, ...], **options: Any) -> Any:
    """What `torch.onnx.export` makes of an evaluation-mode network for `inputs`: an `onnx.ModelProto` with its weights
    inside.

    Args:
        options: further ones of `torch.onnx.export` (`dynamic_shapes`, `optimize`, names).

    Raises:
        Exception: what the exporter or the network raises; `ImportError` without the packages of `archipel[export]`.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    with contextlib.ExitStack() as quietly:
        quietly.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of the exporter's own parts, and that torchvision is absent
        for logger in loggers:
            quietly.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        plain = _plain(network)
        program = torch.onnx.export(plain, inputs, dynamo=True, external_data=False, verbose=False, **options)
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # where in whose source it came from, half of the file for a network of many layers
        node.ClearField("metadata_props")
    _without_casts(model.graph)
    return model


def _without_casts(graph: Any) -> None:
    """Numbers that are cast to the type they have, such as the limits of a ReLU6, as they are: with a cast behind them
    ONNX Runtime does not fuse the activation into its layer, which then takes half as long again."""
    import onnx

    float32 = onnx.TensorProto.FLOAT
    values = {v.name for v in (*graph.input, *graph.value_info) if v.type.tensor_type.elem_type == float32}
    numbers = {
        node.output[0]
        for node in graph.node
        if node.op_type == "Constant" and [attribute.name for attribute in node.attribute] == ["value_float"]
    }
    plain = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "CastLike" and node.input[0] in numbers and node.input[1] in values
    }
    kept = [node for node in graph.node if node.output[0] not in plain]
    for node in kept:
        node.input[:] = [plain.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)


def _plain(network: nn.Module) -> nn.Module:
    """A copy that the exporter writes well: without in-place activations, which take it a hundred times as long as what
    they do; and weights not channels-last, for which it writes an average over a map as a gathering of its numbers."""
    copied = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for module in copied.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False
    return cast(nn.Module, copied)


@dataclass(frozen=True)
class Part:
    """One module's piece of a graph: what it takes and gives, its operations in order, its weights."""

    taken: tuple[Any, ...]
    given: tuple[Any, ...]
    """`onnx.ValueInfoProto`s, as the module takes and gives them."""
    nodes: tuple[Any, ...]
    """`onnx.NodeProto`s."""
    weights: tuple[Any, ...]
    """`onnx.TensorProto`s."""
    source: Any
    """An `onnx.ModelProto` without a graph: its versions hold."""

    @property
    def inputs(self) -> list[str]:
        """Names."""
        return [value.name for value in self.taken]

    @property
    def outputs(self) -> list[str]:
        """Names."""
        return [value.name for value in self.given]

    def named(self, inputs: Sequence[str], outputs: Sequence[str]) -> Part:
        """The same with other names for what it takes and gives."""
        known = dict(zip((*self.inputs, *self.outputs), (*inputs, *outputs)))

        def name(own: str) -> str:
            return known.get(own, own)

        return replace(
            self,
            taken=tuple(_named(value, name) for value in self.taken),
            given=tuple(_named(value, name) for value in self.given),
            nodes=tuple(renamed(node, name) for node in self.nodes),
        )

    def needed(self, names: Iterable[str], known: set[str]) -> list[Any]:
        """The operations that some tensors ask for and that are not `known` yet, in order; `known` grows by theirs."""
        nodes = _needed(self.nodes, names, known)
        known.update(name for node in nodes for name in node.output)
        return nodes

    def model(self) -> Any:
        """The part as an `onnx.ModelProto` of its own."""
        import onnx

        graph = onnx.helper.make_graph(self.nodes, "network", self.taken, self.given, list(self.weights))
        return as_model(graph, self.source)


def as_model(graph: Any, source: Any) -> Any:
    """An `onnx.GraphProto` as a model of the versions that another has."""
    import onnx

    made = onnx.helper.make_model(graph, opset_imports=source.opset_import, functions=source.functions)
    made.ir_version = source.ir_version
    return made


@dataclass(frozen=True)
class _Pattern:
    """What modules that differ in their weights alone have in common."""

    part: Part
    """Of one of them."""
    paths: Mapping[str, str]
    """Its weights → where a module has them; what is not here is the same in all of them."""

    def of(self, module: nn.Module, number: int) -> Part:
        """A module's own part, its names those of no other number."""
        tensors = dict(_tensors(module))
        own = [
            _weights(tensors[self.paths[weight.name]], weight) if weight.name in self.paths else weight
            for weight in self.part.weights
        ]

        def name(common: str) -> str:
            return f"{number}/{common}" if common else common

        return Part(
            tuple(_named(value, name) for value in self.part.taken),
            tuple(_named(value, name) for value in self.part.given),
            tuple(renamed(node, name) for node in self.part.nodes),
            tuple(_named(tensor, name) for tensor in own),
            self.part.source,
        )


Known: TypeAlias = dict[Hashable, _Pattern]
"""What was exported before, for `onnx_parts`."""


def onnx_parts(
    pairs: Sequence[tuple[nn.Module, tuple[Tensor, ...]]], *, dynamic: bool = False, known: Known | None = None
) -> list[Part]:
    """Several modules, each for its own inputs, exported together: a part each, no name in two of them.

    Args:
        pairs: evaluation-mode modules that give a tensor or a tuple of tensors.
        dynamic: whether the first dimension of all inputs is a batch of any size.
        known: of earlier calls: like modules are not exported again. It grows.

    Raises:
        Exception: see `onnx_model`.
    """
    known = {} if known is None else known
    keys = [(likeness(module), dynamic, *(_kind(x, dynamic) for x in inputs)) for module, inputs in pairs]
    fresh = {key: pair for key, pair in zip(keys, pairs) if key not in known}
    if fresh:
        known.update(zip(fresh, _exported(list(fresh.values()), dynamic)))
    return [known[key].of(module, number) for number, (key, (module, _)) in enumerate(zip(keys, pairs))]


def _kind(x: Tensor, dynamic: bool) -> Hashable:
    return tuple(x.shape[1:] if dynamic else x.shape), x.dtype


def _exported(pairs: Sequence[tuple[nn.Module, tuple[Tensor, ...]]], dynamic: bool) -> list[_Pattern]:
    rows = [tuple(x.clone() for x in inputs) for _, inputs in pairs]  # one tensor twice would be one input
    options: dict[str, Any] = {}
    if dynamic:
        # Batches of one size would be taken for the same batch, and a part then read it from the input of another.
        rows = [tuple(x[:1].repeat(n, *[1] * (x.dim() - 1)) for x in row) for n, row in enumerate(rows, start=2)]
        dims = [{0: torch.export.Dim(f"batch{n}", min=1)} for n in range(len(rows))]
        options["dynamic_shapes"] = ([tuple(dim for _ in row) for dim, row in zip(dims, rows)],)
    with torch.no_grad():
        tried = [module(*inputs) for (module, _), inputs in zip(pairs, rows)]
    counts = [1 if isinstance(one, Tensor) else len(one) for one in tried]
    together = _Together([module for module, _ in pairs]).eval()
    model = onnx_model(together, (rows,), optimize=False, **options)
    taken, given = iter(model.graph.input), iter(model.graph.output)
    parts = [
        _cut(model, [next(taken) for _ in inputs], [next(given) for _ in range(count)])
        for inputs, count in zip(rows, counts)
    ]
    everywhere = {name: id(tensor) for name, tensor in _tensors(together)}
    patterns = []
    for (module, _), part in zip(pairs, parts):
        own = {id(tensor): path for path, tensor in _tensors(module)}
        held = {weight.name: everywhere.get(weight.name) for weight in part.weights}
        patterns.append(_Pattern(part, {name: own[place] for name, place in held.items() if place in own}))
    return patterns


class _Together(nn.Module):
    """y_i = f_i(x_i)."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(modules)

    def forward(self, rows: Sequence[tuple[Tensor, ...]]) -> tuple[Any, ...]:
        return tuple(member(*inputs) for member, inputs in zip(self.members, rows))


def _cut(model: Any, taken: list[Any], given: list[Any]) -> Part:
    """What some outputs need."""
    nodes = _needed(model.graph.node, [value.name for value in given], {value.name for value in taken})
    read = {name for node in nodes for name in _reads(node)} | {value.name for value in given}
    weights = tuple(tensor for tensor in model.graph.initializer if tensor.name in read)
    return Part(tuple(taken), tuple(given), tuple(nodes), weights, _without_graph(model))


def _without_graph(model: Any) -> Any:
    source = type(model)(ir_version=model.ir_version)
    source.opset_import.extend(model.opset_import)
    source.functions.extend(model.functions)
    return source


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, in every place where they stand."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _weights(tensor: Tensor, like: Any) -> Any:
    """As an `onnx.TensorProto` with the name of another, which it may not differ from in type or shape."""
    import onnx

    made = onnx.numpy_helper.from_array(tensor.detach().cpu().contiguous().numpy(), like.name)
    assert (made.data_type, made.dims) == (like.data_type, like.dims), like.name
    return made


def _named(entry: Any, name: Callable[[str], str]) -> Any:
    copied = type(entry)()
    copied.CopyFrom(entry)
    copied.name = name(entry.name)
    return copied


def _needed(nodes: Sequence[Any], names: Iterable[str], known: set[str]) -> list[Any]:
    maker = {name: i for i, node in enumerate(nodes) for name in node.output}
    pending, found = list(names), set()
    while pending:
        name = pending.pop()
        if name not in known and name in maker and maker[name] not in found:
            found.add(maker[name])
            pending += _reads(nodes[maker[name]])
    return [nodes[i] for i in sorted(found)]


def renamed(node: Any, name: Callable[[str], str]) -> Any:
    """A copy of an operation with other names for its tensors, in graphs inside it too."""
    copied = _named(node, lambda _: "")
    for names in (copied.input, copied.output):
        names[:] = [name(own) for own in names]
    for attribute in copied.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            inner = [renamed(part, name) for part in graph.node]
            del graph.node[:]
            graph.node.extend(inner)
            for value in (*graph.input, *graph.output, *graph.initializer):
                value.name = name(value.name)
    return copied


def _reads(node: Any) -> list[str]:
    """Names of the tensors that a node takes, in graphs inside it too."""
    inner = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    return [*node.input, *(name for graph in inner for part in graph.node for name in _reads(part))]
