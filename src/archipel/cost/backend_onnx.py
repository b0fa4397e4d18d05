"""ONNX Runtime on the CPU: networks exported once, batch norm folded, run by its own kernels."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from archipel.cost.backend import cannot, cpu_model, on_cpu, same_everywhere
from archipel.errors import DeviceError
from archipel.nn.fold import fold_for_inference
from archipel.nn.onnx_model import onnx_parts

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
        return fold_for_inference(module)

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
            return [part.model().SerializeToString() for part in onnx_parts([(m, (x,)) for m, x in group])]
        except Exception as error:
            if len(group) == 1:
                raise cannot(self.name, group[0][0], error) from error
            return [model for pair in group for model in self._exported([pair])]  # which one it is


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
