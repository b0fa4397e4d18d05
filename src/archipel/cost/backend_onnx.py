"""ONNX Runtime on the CPU: networks exported once, batch norm folded, run by its own kernels.

The exporter spends most of a second before it looks at a network. So many modules are exported together, as one graph
with an input and an output for each, which is then taken apart: 16 modules cost little more than one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from archipel.cost.backend import cannot, cpu_model, on_cpu, same_everywhere
from archipel.errors import DeviceError
from archipel.nn.fold import fold_batch_norm
from archipel.nn.onnx_model import onnx_model

__all__ = ["OnnxRuntime"]

_TOGETHER = 16
"""Modules in one export."""
_WEIGHTS = 2**26
"""Weights in one export, so that 16 large networks stay far from the 2 GiB that a model may have."""

Pair: TypeAlias = tuple[nn.Module, Tensor]


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime's CPU provider with all graph optimisations, a stated number of threads inside an operator, one
    operator at a time."""

    hooks: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    threaded: ClassVar[bool] = True
    name: str
    threads: int

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu")

    def check(self) -> None:
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
        if missing:
            raise DeviceError(
                f"device 'onnxruntime' needs {', '.join(missing)}, not installed here; run: "
                "pip install 'archipel[export]'"
            )

    def fingerprint(self) -> dict[str, str | int]:
        return {
            "device": "onnxruntime",
            "model": cpu_model(),
            "threads": self.threads,
            "onnxruntime": version("onnxruntime"),
            "onnxscript": version("onnxscript"),
            **same_everywhere(),
        }

    def describe(self) -> str:
        return f"ONNX Runtime {version('onnxruntime')}, {on_cpu(self.threads)}"

    def prepare(self, module: nn.Module) -> nn.Module:
        return fold_batch_norm(module)

    def bind(self, pairs: Iterable[Pair]) -> Iterator[Callable[[], object]]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        for group in _groups(pairs):
            for (module, inputs), model in zip(group, self._exported(group)):
                try:
                    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
                except Exception as error:
                    raise cannot(self.name, module, error) from error
                feed = {taken.name: inputs.numpy() for taken in session.get_inputs()}
                yield partial(session.run, None, feed)

    def _exported(self, group: Sequence[Pair]) -> list[bytes]:
        """A serialised model for each of a group."""
        try:
            return _apart(_export(group))
        except Exception as error:
            if len(group) == 1:
                raise cannot(self.name, group[0][0], error) from error
            return [model for pair in group for model in self._exported([pair])]  # which one it is


class _Together(nn.Module):
    """y_i = f_i(x_i)."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(member(x) for member, x in zip(self.members, inputs))


def _groups(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    group: list[Pair] = []
    weights = 0
    for module, inputs in pairs:
        own = sum(tensor.numel() for tensor in module.parameters())
        if group and (len(group) == _TOGETHER or weights + own > _WEIGHTS):
            yield group
            group, weights = [], 0
        group.append((module, inputs))
        weights += own
    if group:
        yield group


def _export(group: Sequence[Pair]) -> Any:
    """One ONNX model of all of them; its outputs are in their order. As torch writes it: what can be
    simplified, ONNX Runtime simplifies."""
    together = _Together([module for module, _ in group]).eval()
    return onnx_model(together, tuple(inputs for _, inputs in group), optimize=False)


def _apart(model: Any) -> list[bytes]:
    """The model of each output alone."""
    import onnx

    graph = model.graph
    maker = {name: i for i, node in enumerate(graph.node) for name in node.output}
    inputs = {value.name: value for value in graph.input}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    models = []
    for output in graph.output:
        seen: set[str] = set()
        nodes: set[int] = set()
        pending = [output.name]
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in maker:
                nodes.add(maker[name])
                pending += _reads(graph.node[maker[name]])
        alone = onnx.helper.make_graph(
            [graph.node[i] for i in sorted(nodes)],
            "network",
            [value for name, value in inputs.items() if name in seen],
            [output],
            [tensor for name, tensor in weights.items() if name in seen],
        )
        made = onnx.helper.make_model(alone, opset_imports=model.opset_import, functions=model.functions)
        made.ir_version = model.ir_version
        models.append(made.SerializeToString())
    return models


def _reads(node: Any) -> list[str]:
    """Names of the tensors that a node takes, in graphs inside it too."""
    inner = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    return [*node.input, *(name for graph in inner for part in graph.node for name in _reads(part))]
