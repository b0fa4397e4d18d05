"""What runs a network when it is timed: the contract behind `Device`, and the two ways of torch's own eager mode.

A backend takes a network in two steps. `prepare` makes the copy that would be deployed; `bind` ties such a copy to
inputs and gives a call to time, with everything that happens once (export, compilation, capture) already done.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from archipel.errors import DeviceError, OptionError
from archipel.nn.fold import fold_for_inference
from archipel.nn.layout import channels_last

__all__ = ["Backend", "CudaGraphs", "Eager", "cannot", "cpu_model", "on_cpu", "same_everywhere"]


class Backend(Protocol):
    """One way to run a network on one device. Made by name and threads; holds no network."""

    @property
    def hooks(self) -> bool:
        """Whether parts of a network can be timed in the middle of a pass. Where not, they are timed alone."""

    @property
    def trains(self) -> bool:
        """Whether a network can be trained on it."""

    @property
    def threaded(self) -> bool:
        """Whether the number of CPU threads is part of what is measured."""

    @property
    def torch_device(self) -> torch.device:
        """Where its inputs lie."""

    def check(self) -> None:
        """See that it can work here.

        Raises:
            OptionError: this machine has no such device.
            DeviceError: a library or a compiler is missing.
        """

    def fingerprint(self) -> dict[str, str | int]:
        """What must be equal for two latencies to be comparable. JSON-able."""

    def describe(self) -> str:
        """One phrase for a person."""

    def prepare(self, module: nn.Module) -> nn.Module:
        """A copy of `module` as it would be deployed here: evaluation mode, batch norm folded, placed."""

    def bind(self, pairs: Iterable[tuple[nn.Module, Tensor]]) -> Iterator[Callable[[], object]]:
        """For each module, which `prepare` made, and its inputs a call that runs it once; it gives the outputs where
        it has them. Some may be made ready together.

        Raises:
            DeviceError: a module cannot run here.
        """


@dataclass(frozen=True)
class Eager:
    """torch as it is: operator by operator, on `cpu` or `cuda:N`."""

    hooks: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    name: str
    threads: int

    @property
    def threaded(self) -> bool:
        return self.name == "cpu"

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.name)

    def check(self) -> None:
        if self.name != "cpu":
            _check_cuda(self.name, self.torch_device)

    def fingerprint(self) -> dict[str, str | int]:
        if self.name != "cpu":
            return _cuda_fingerprint("cuda", self.torch_device)
        return {
            "device": "cpu",
            "model": cpu_model(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": self.threads,
            **same_everywhere(),
        }

    def describe(self) -> str:
        return on_cpu(self.threads) if self.name == "cpu" else torch.cuda.get_device_name(self.torch_device)

    def prepare(self, module: nn.Module) -> nn.Module:
        return channels_last(fold_for_inference(module), self.torch_device)

    def bind(self, pairs: Iterable[tuple[nn.Module, Tensor]]) -> Iterator[Callable[[], object]]:
        for module, inputs in pairs:
            yield partial(module, inputs.to(self.torch_device))


@dataclass(frozen=True)
class CudaGraphs:
    """A pass recorded once as a CUDA graph and replayed: no launch of single kernels, which is most of the time of a
    small network at a small batch."""

    hooks: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    threaded: ClassVar[bool] = False
    name: str
    threads: int

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.name.replace("cuda-graphs", "cuda"))

    def check(self) -> None:
        _check_cuda(self.name, self.torch_device)

    def fingerprint(self) -> dict[str, str | int]:
        return _cuda_fingerprint("cuda-graphs", self.torch_device)

    def describe(self) -> str:
        return f"CUDA graphs, {torch.cuda.get_device_name(self.torch_device)}"

    def prepare(self, module: nn.Module) -> nn.Module:
        return channels_last(fold_for_inference(module), self.torch_device)

    def bind(self, pairs: Iterable[tuple[nn.Module, Tensor]]) -> Iterator[Callable[[], object]]:
        for module, inputs in pairs:
            yield self._recorded(module, inputs)

    def _recorded(self, module: nn.Module, inputs: Tensor) -> Callable[[], object]:
        where, still = self.torch_device, inputs.to(self.torch_device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.device(where), torch.inference_mode():
                beside = torch.cuda.Stream(where)  # libraries choose their kernels here, outside the recording
                beside.wait_stream(torch.cuda.current_stream(where))
                with torch.cuda.stream(beside):
                    for _ in range(3):
                        module(still)
                torch.cuda.current_stream(where).wait_stream(beside)
                with torch.cuda.graph(graph):
                    outputs = module(still)
        except RuntimeError as error:
            raise cannot(self.name, module, error) from error

        def replay() -> object:
            with torch.cuda.device(where):
                graph.replay()
            return outputs

        return replay


def cannot(device: str, module: nn.Module, error: BaseException) -> DeviceError:
    """The error of a network that a device cannot run: its kind and the first line of what was said."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return DeviceError(
        f"device '{device}' cannot run {type(module).__name__}: {type(error).__name__}{': ' if said else ''}{said}; "
        "device 'cpu' runs whatever torch does"
    )


def same_everywhere() -> dict[str, str | int]:
    """The part of a fingerprint that every backend has."""
    return {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "os": platform.system(),
        "dtype": "float32",
    }


def on_cpu(threads: int) -> str:
    return f"{cpu_model()}, {threads} thread{'s' if threads > 1 else ''}"


def cpu_model() -> str:
    """The processor's own name; on Linux with family and model, which tell virtual processors apart."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields: dict[str, str] = {}
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
        if "model name" in fields:
            return f"{fields['model name']} ({fields.get('cpu family', '?')}/{fields.get('model', '?')})"
    if platform.system() == "Darwin":
        told = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        if told.returncode == 0 and told.stdout.strip():
            return told.stdout.strip()
    return platform.processor() or platform.machine()


def _check_cuda(name: str, device: torch.device) -> None:
    if not torch.cuda.is_available():
        raise OptionError(f"device '{name}' needs CUDA, and torch {torch.__version__} finds none here; give 'cpu'")
    if device.index >= torch.cuda.device_count():
        last = name.replace(str(device.index), str(torch.cuda.device_count() - 1))
        raise OptionError(f"device '{name}' does not exist here; the last one is '{last}'")


def _cuda_fingerprint(kind: str, device: torch.device) -> dict[str, str | int]:
    return {
        "device": kind,
        "model": torch.cuda.get_device_name(device),
        "cuda": str(torch.version.cuda),
        **same_everywhere(),
    }
