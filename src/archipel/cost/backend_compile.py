"""torch.compile on the CPU: networks compiled whole by torch's inductor, with their weights frozen."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from archipel.cost.backend import cannot, cpu_model, on_cpu, same_everywhere
from archipel.errors import DeviceError
from archipel.nn.fold import fold_for_inference
from archipel.nn.layout import channels_last

__all__ = ["Compiled"]


@dataclass(frozen=True)
class Compiled:
    """`torch.compile` with the inductor, as one graph, weights frozen (so that they are laid out once and
    activations fuse into convolutions). It calls a C++ compiler."""

    hooks: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    threaded: ClassVar[bool] = True
    name: str
    threads: int

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu")

    def check(self) -> None:
        if shutil.which(_compiler()) is None:
            raise DeviceError(
                f"device 'compile' needs a C++ compiler, and '{_compiler()}' is not found here; install g++ or set CXX"
            )

    def fingerprint(self) -> dict[str, str | int]:
        return {
            "device": "compile",
            "model": cpu_model(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": self.threads,
            "compiler": _version(_compiler()),
            **same_everywhere(),
        }

    def describe(self) -> str:
        return f"torch.compile, {on_cpu(self.threads)}"

    def prepare(self, module: nn.Module) -> nn.Module:
        return channels_last(fold_for_inference(module))

    def bind(self, pairs: Iterable[tuple[nn.Module, Tensor]]) -> Iterator[Callable[[], object]]:
        for module, inputs in pairs:
            yield self._compiled(module, inputs)

    def _compiled(self, module: nn.Module, inputs: Tensor) -> Callable[[], object]:
        import torch._inductor.config as inductor

        def run(x: Tensor) -> Tensor:
            return module(x)

        # Compiled code is kept by code object, eight to each and no more: every network gets one of its own.
        own = types.FunctionType(run.__code__.replace(), run.__globals__, "run", None, run.__closure__)
        compiled = torch.compile(own, fullgraph=True, dynamic=False)
        try:
            with inductor.patch(freezing=True, compile_threads=1), torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compiled(inputs)
        except Exception as error:
            raise cannot(self.name, module, error) from error
        return partial(compiled, inputs)


def _compiler() -> str:
    """What the inductor calls."""
    return os.environ.get("CXX", "clang++" if os.uname().sysname == "Darwin" else "g++")


@functools.cache
def _version(compiler: str) -> str:
    told = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return (told.stdout.splitlines() or [compiler])[0]
