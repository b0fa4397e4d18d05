"""The graph of any network, by watching one image of no numbers go through it.

Every operation of torch that works on what came from the input is a node, whatever module or function it was called
from, so that two spaces that spell the same network differently give the same graph. What only re-arranges numbers or
scales channels (views, dropout in evaluation, batch norm) is no node, an activation is part of what it follows, and
what does not reach the output is left out. Letters: `V` nodes, `S` sizes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from archipel.architecture import Architecture
from archipel.cost.attribution import ghost
from archipel.cost.complexity import on_meta
from archipel.errors import SpaceError
from archipel.evaluators.predictors.graphs import INPUT, OUTPUT, NodeGraph, node_tensors
from archipel.space import Space

__all__ = ["COUNT", "KINDS", "SIZES", "ChildGraphs", "child_graphs", "kind_index", "trace"]

SIZES = ("channels in", "channels out", "side", "kernel", "stride", "groups", "parameters", "multiply-adds")
"""Of each node, as log2(1 + x) / 8 or, of kernel and stride, x / 8."""

KINDS = (
    INPUT, OUTPUT, "convolution", "depthwise", "product", "add", "multiply", "concatenate", "max_pool", "avg_pool",
    "mean", "softmax", "resize", "pad", "zero", "activation",
)  # fmt: skip
_ACTIVATIONS = ("", "relu", "relu6", "swish", "hardswish", "sigmoid", "gelu", "other")
_BUCKETS = 16
"""For operations that have no name here: told apart by a hash, so that no list has to be learned first."""

_NAMED = {
    "convolution": "convolution", "addmm": "product", "mm": "product", "bmm": "product", "add": "add", "add_": "add",
    "sub": "add", "sum": "add", "mul": "multiply", "mul_": "multiply", "div": "multiply", "cat": "concatenate",
    "stack": "concatenate", "max_pool2d_with_indices": "max_pool", "avg_pool2d": "avg_pool", "mean": "mean",
    "_adaptive_avg_pool2d": "mean", "_softmax": "softmax", "constant_pad_nd": "pad",
    "_scaled_dot_product_attention_math": "product",
}  # fmt: skip
_TRANSPARENT = {
    "view", "_unsafe_view", "t", "transpose", "permute", "expand", "detach", "alias", "clone", "squeeze", "unsqueeze",
    "reshape", "_to_copy", "native_batch_norm", "_native_batch_norm_legit_no_training", "native_layer_norm",
    "native_group_norm", "cudnn_batch_norm", "native_dropout", "contiguous",
}  # fmt: skip
_ACTIVATION_OF = {
    "relu": "relu", "relu_": "relu", "hardtanh": "relu6", "hardtanh_": "relu6", "silu": "swish", "silu_": "swish",
    "hardswish": "hardswish", "hardswish_": "hardswish", "sigmoid": "sigmoid", "sigmoid_": "sigmoid",
    "hardsigmoid": "sigmoid", "gelu": "gelu", "tanh": "other", "leaky_relu": "other", "elu": "other",
}  # fmt: skip
_CONSTANT = {"zeros_like", "new_zeros", "ones_like", "new_ones", "full_like", "empty_like", "new_empty", "new_full"}


def kind_index(kind: str) -> int:
    """From 1 on: the kind of a traced node as a number, the same in every process."""
    name, _, activation = kind.partition("+")
    if name in KINDS:
        at = KINDS.index(name)
    else:
        at = len(KINDS) + int(hashlib.sha256(name.encode()).hexdigest(), 16) % _BUCKETS
    return 1 + at + _FEW * _ACTIVATIONS.index(activation)


_FEW = len(KINDS) + _BUCKETS
COUNT = _FEW * len(_ACTIVATIONS)
"""Numbers that `kind_index` gives."""


@dataclass
class _Node:
    kind: str
    sources: list[int]
    sizes: tuple[float, ...]


@dataclass
class _Watch(TorchDispatchMode):
    """Notes which operation made each tensor that came from the input."""

    nodes: list[_Node] = field(default_factory=list)
    made_by: dict[int, int] = field(default_factory=dict)  # id of a tensor → node
    kept: list[Tensor] = field(default_factory=list)  # alive, so that no id comes twice

    def __post_init__(self) -> None:
        super().__init__()

    def enter(self, tensor: Tensor) -> None:
        self._note(tensor, _Node(INPUT, [], _sizes(tensor, tensor)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        given = [t for t in _tensors(args) if id(t) in self.made_by]
        made = next((t for t in _tensors((output,))), None)
        if made is None or not given or name in _CONSTANT:
            return output
        sources = [self.made_by[id(t)] for t in given]
        if name in _TRANSPARENT:
            for tensor in _tensors((output,)):
                self._alias(tensor, sources[0])
        elif name in _ACTIVATION_OF:
            self._note(made, _Node(f"+{_ACTIVATION_OF[name]}", sources[:1], ()))
        else:
            node = _Node(_kind(name, args, made), sources, _sizes(given[0], made, name, args))
            for tensor in _tensors((output,)):
                self._note(tensor, node)
        return output

    def _note(self, tensor: Tensor, node: _Node) -> None:
        if not self.nodes or self.nodes[-1] is not node:
            self.nodes.append(node)
        self._alias(tensor, len(self.nodes) - 1)

    def _alias(self, tensor: Tensor, node: int) -> None:
        self.made_by[id(tensor)] = node
        self.kept.append(tensor)


def trace(network: nn.Module, input_shape: tuple[int, ...]) -> NodeGraph:
    """The graph of a network in evaluation mode.

    Args:
        input_shape: of one input, without batch.

    Raises:
        SpaceError: its output does not depend on its input.
    """
    return _watched(on_meta(network), input_shape)


_NORMS = frozenset({nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d})


def _watched(network: nn.Module, input_shape: tuple[int, ...]) -> NodeGraph:
    """`trace` of a network that is on the meta device, and is not used again."""
    for part in network.modules():
        if type(part) in _NORMS:  # no node, and half of the time: torch computes its shapes in Python
            part.forward = _seen
    watch = _Watch()
    image = torch.empty(1, *input_shape, device="meta")
    watch.enter(image)
    with torch.no_grad(), watch:
        outputs = _tensors((network(image),))
    ends = [watch.made_by[id(t)] for t in outputs if id(t) in watch.made_by]
    if not ends:
        raise SpaceError("the network's output does not depend on its input; there is no graph between them")
    watch.nodes.append(_Node(OUTPUT, ends, _sizes(image, outputs[0])))
    return _compact(watch.nodes)


def _seen(x: Tensor) -> Tensor:
    """The same as another tensor, so that what is done to it in place is not done to `x`."""
    return x.view_as(x)


def _compact(nodes: list[_Node]) -> NodeGraph:
    """Only what reaches the output; an activation joins what it follows, where nothing else follows that."""
    used = {len(nodes) - 1}
    for v in range(len(nodes) - 1, -1, -1):  # sources stand before what they feed
        if v in used:
            used |= set(nodes[v].sources)
    feeds: dict[int, int] = {}
    for v in used:
        for u in nodes[v].sources:
            feeds[u] = feeds.get(u, 0) + 1
    stands: dict[int, int] = {}  # node → its place in the compact graph
    kinds: list[str] = []
    sizes: list[tuple[float, ...]] = []
    edges: list[tuple[int, int]] = []
    for v in sorted(used):
        node = nodes[v]
        if node.kind.startswith("+"):
            before = stands[node.sources[0]]
            if feeds[node.sources[0]] == 1 and "+" not in kinds[before] and kinds[before] != INPUT:
                kinds[before] += node.kind
                stands[v] = before
                continue
            node = _Node(f"activation{node.kind}", node.sources, (*sizes[before][:3], *[0.0] * (len(SIZES) - 3)))
        stands[v] = len(kinds)
        edges += [(stands[u], len(kinds)) for u in node.sources]
        kinds.append(node.kind)
        sizes.append(node.sizes)
    return NodeGraph(tuple(kinds), tuple(edges), tuple(sizes))


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
        elif isinstance(value, dict):
            found += _tensors(value.values())
    return found


def _kind(name: str, args: Sequence[Any], made: Tensor) -> str:
    if name == "convolution":
        groups = args[8]
        return "depthwise" if groups > 1 and groups == made.shape[1] else name
    if name in ("mul", "mul_") and not isinstance(args[1], Tensor) and args[1] == 0:
        return "zero"
    if name.startswith("upsample"):
        return "resize"
    return _NAMED.get(name, name)


def _sizes(given: Tensor, made: Tensor, name: str = "", args: Sequence[Any] = ()) -> tuple[float, ...]:
    """See `SIZES`."""
    kernel = stride = 0.0
    groups = learned = multiplied = 0
    if name == "convolution":
        weight = args[1]
        kernel, stride, groups = float(weight.shape[-1]), float(args[3][0]), args[8]
        learned, multiplied = weight.numel(), weight.numel() * math.prod(made.shape[2:])
    elif name in ("addmm", "mm", "bmm"):
        weight = args[-1]
        learned = multiplied = weight.numel()
    elif name.startswith(("avg_pool", "max_pool")):
        kernel = float(args[1][0])
        stride = float(args[2][0]) if len(args) > 2 and args[2] else kernel
    counts = (given.shape[1] if given.dim() > 1 else 1, made.shape[1] if made.dim() > 1 else 1)
    side = made.shape[-1] if made.dim() > 2 else 1
    logs = [math.log2(1 + x) / 8 for x in (*counts, side, groups, learned, multiplied)]
    return (*logs[:3], kernel / 8, stride / 8, *logs[3:])


@dataclass(frozen=True)
class ChildGraphs:
    """The networks of any space as graphs: what GATES and graph networks take where nobody defined a cell."""

    space: Space
    input_shape: tuple[int, ...]
    """Of one input, without batch."""
    known: dict[Architecture, NodeGraph] = field(default_factory=dict, repr=False)
    """Those that were asked for: building and tracing one takes tens of milliseconds."""

    def graph(self, architecture: Architecture) -> NodeGraph:
        if architecture not in self.known:
            child = ghost(self.space, self.space.canonical(architecture))
            on_it = all(tensor.is_meta for tensor in (*child.parameters(), *child.buffers()))
            self.known[architecture] = _watched(child.eval() if on_it else on_meta(child), self.input_shape)
        return self.known[architecture]

    def plain(self, architecture: Architecture) -> NodeGraph:
        """The graph with kinds of `KINDS`: without their activations."""
        graph = self.graph(architecture)
        return replace(graph, kinds=tuple(kind.partition("+")[0] for kind in graph.kinds))

    def __call__(self, architectures: Sequence[Architecture]) -> tuple[Tensor, ...]:
        """As `node_tensors`."""
        graphs = [self.graph(architecture) for architecture in architectures]
        return node_tensors(graphs, {kind: kind_index(kind) for kind in _kinds(graphs)})


@lru_cache(maxsize=2)
def child_graphs(space: Space, input_shape: tuple[int, ...]) -> ChildGraphs:
    """Those of the last two spaces that were asked about: searches of a comparison trace each network once."""
    return ChildGraphs(space, input_shape)


def _kinds(graphs: Sequence[NodeGraph]) -> Iterator[str]:
    for graph in graphs:
        yield from graph.kinds
