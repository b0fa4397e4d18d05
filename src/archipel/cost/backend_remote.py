"""A device that Archipel cannot reach by itself, timed by a function of the user's own.

`path/to/file.py:function` is called as `function(module, inputs, rounds)`: `module` is an `nn.Module` in evaluation
mode on the CPU with batch norm folded, `inputs` a float32 tensor, and it gives back a list of `rounds` latencies in
milliseconds, warmed up, in whatever way the device is reached. Every network comes three times in a session, by turns
with the others, with a third of the rounds: the same objects each time, so what was deployed for a module may be kept
(in a `weakref.WeakKeyDictionary`, say).
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from archipel.cost.backend import same_everywhere
from archipel.errors import DeviceError, OptionError
from archipel.nn.fold import fold_for_inference
from archipel.userfile import function_in

__all__ = ["Remote", "RemoteCall"]


@dataclass(frozen=True)
class Remote:
    """A device behind a user's function."""

    hooks: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    threaded: ClassVar[bool] = False
    name: str
    """`file.py:function`."""
    threads: int

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu")

    @functools.cached_property
    def function(self) -> Callable[[nn.Module, Tensor, int], Iterable[float]]:
        return function_in(self.name, kind="device", error=OptionError, example="milliseconds")

    def check(self) -> None:
        self.function  # noqa: B018 - loads the file

    def fingerprint(self) -> dict[str, str | int]:
        path, _, function = self.name.rpartition(":")
        # The file stands for whatever it reaches: another file is another device, wherever it lies.
        return {
            "device": f"{Path(path).name}:{function}",
            "file": hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12],
            **same_everywhere(),
        }

    def describe(self) -> str:
        return str(self.fingerprint()["device"])

    def prepare(self, module: nn.Module) -> nn.Module:
        return fold_for_inference(module).to("cpu")

    def bind(self, pairs: Iterable[tuple[nn.Module, Tensor]]) -> Iterator[Callable[[], object]]:
        for module, inputs in pairs:
            yield RemoteCall(self, module, inputs)


@dataclass(frozen=True)
class RemoteCall:
    """A network that is timed where it runs. Called, it is timed once and gives that sample."""

    device: Remote
    module: nn.Module
    inputs: Tensor

    def __call__(self) -> object:
        return self.milliseconds(1)

    def milliseconds(self, rounds: int) -> list[float]:
        """`rounds` samples.

        Raises:
            DeviceError: the function raised, or gave something else than that many positive numbers.
        """
        name = self.device.describe()
        try:
            given = self.device.function(self.module, self.inputs, rounds)
        except Exception as error:
            said = (str(error).splitlines() or [""])[0]
            raise DeviceError(f"device '{name}' raised {type(error).__name__}: {said}") from error
        try:
            samples = [float(sample) for sample in given]
        except (TypeError, ValueError):
            samples = []
        if len(samples) != rounds or not all(math.isfinite(ms) and ms > 0 for ms in samples):
            shown = repr(given)
            raise DeviceError(
                f"device '{name}' was asked for {rounds} rounds and returned {shown[:60]}{'…' * (len(shown) > 60)}; "
                f"return a list of {rounds} positive numbers, milliseconds"
            )
        return samples
