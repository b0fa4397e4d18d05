"""Where a network runs: the device, how many threads it may use, and what tells it from another device."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from archipel.cost.backend import Backend, CudaGraphs, Eager
from archipel.cost.backend_compile import Compiled
from archipel.cost.backend_onnx import OnnxRuntime
from archipel.cost.backend_remote import Remote
from archipel.cost.process import tune_process
from archipel.errors import OptionError, did_you_mean

__all__ = ["BACKENDS", "Device", "ThreadChoice", "choose_threads"]


BACKENDS: dict[str, Callable[[str, int], Backend]] = {
    "cpu": Eager,
    "cuda": Eager,
    "cuda-graphs": CudaGraphs,
    "compile": Compiled,
    "onnxruntime": OnnxRuntime,
}
"""By the name before the number; a user's own function is `Remote`."""

_NUMBERED = ("cuda", "cuda-graphs")
_NAMES = [f"{kind}:0" if kind in _NUMBERED else kind for kind in BACKENDS]


@dataclass(frozen=True)
class Device:
    """Where and how networks run, and the number of CPU threads that work on them.

    >>> Device.parse("cpu", threads=1)
    Device(name='cpu', threads=1)
    """

    name: str
    """`cpu`, `cuda:N`, `cuda-graphs:N`, `compile`, `onnxruntime`, or `path/to/file.py:function`."""
    threads: int = 1
    """CPU threads inside an operator; on CUDA the host's, which only launch kernels."""

    def __post_init__(self) -> None:
        kind, _, number = self.name.partition(":")
        fits = number.isdecimal() if kind in _NUMBERED else self.name in BACKENDS
        if not fits and not _is_function(self.name):
            raise OptionError(
                f"unknown device '{self.name}'; give cpu, cuda:N, cuda-graphs:N, compile, onnxruntime or your own "
                f"FILE.py:function{did_you_mean(self.name, _NAMES)}"
            )
        most = max(64, os.cpu_count() or 1)  # OpenMP ends the program where the system refuses it a thread
        if not 1 <= self.threads <= most:
            raise OptionError(f"device '{self.name}' was given {self.threads} threads; give 1 to {most}")

    @classmethod
    def parse(cls, text: str, threads: int | None = None) -> Device:
        """The device a user names, seen to be here.

        Args:
            text: `cpu`; `cuda:N` (`cuda` is the first); `compile`, torch's compiler on the CPU; `onnxruntime`, ONNX
                Runtime on the CPU; `cuda-graphs:N`; or `path/to/file.py:function` (see
                `archipel.cost.backend_remote`).
            threads: CPU threads; `None` takes torch's present number on a CPU and 1 elsewhere.

        Raises:
            OptionError: the name is unknown, or this machine or this torch has no such device.
            DeviceError: it needs a library or a compiler that is not here.
        """
        name = f"{text}:0" if text in _NUMBERED else str(Path(text).absolute()) if _is_function(text) else text
        if threads is None:
            threads = torch.get_num_threads() if cls(name).backend.threaded else 1
        device = cls(name, threads)
        device.backend.check()
        return device

    @cached_property
    def backend(self) -> Backend:
        kind = Remote if _is_function(self.name) else BACKENDS[self.name.partition(":")[0]]
        return kind(self.name, self.threads)

    @property
    def torch_device(self) -> torch.device:
        """Where its inputs lie."""
        return self.backend.torch_device

    def for_training(self) -> Device:
        """This device, if networks can be trained on it.

        Raises:
            OptionError: it only times them.
        """
        if not self.backend.trains:
            raise OptionError(f"device '{self.name}' only times networks; train on 'cpu' or 'cuda:0'")
        return self

    def fingerprint(self) -> dict[str, str | int]:
        """What must be equal for two latencies to be comparable. JSON-able."""
        return self.backend.fingerprint()

    def describe(self) -> str:
        """One phrase for a person: what it is and how many threads."""
        return self.backend.describe()

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done."""
        if self.torch_device.type == "cuda":
            torch.cuda.synchronize(self.torch_device)

    @contextmanager
    def use(self) -> Iterator[None]:
        """Within the block torch computes with this device's threads; afterwards with as many as before.

        On a CPU the process keeps freed memory and compiled convolutions from now on (`archipel.cost.process`).
        """
        if self.torch_device.type == "cpu":
            tune_process()
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def prepare(self, module: nn.Module) -> nn.Module:
        """A copy of `module` as it would be deployed here: evaluation mode, batch norm folded, placed."""
        return self.backend.prepare(module)

    def call(self, module: nn.Module, inputs: Tensor) -> Callable[[], object]:
        """Something to time: `module` as it would be deployed here, run once on `inputs` at each call.

        Whatever happens once (export, compilation, recording) has happened when it comes back.

        Raises:
            DeviceError: the module cannot run here.
        """
        return next(self.backend.bind([(self.prepare(module), inputs)]))


def _is_function(name: str) -> bool:
    return ".py:" in name


@dataclass(frozen=True)
class ThreadChoice:
    """The fastest thread count of a short trial, and the trial."""

    threads: int
    milliseconds: dict[int, float]
    """Thread count → least time of one forward and backward pass."""

    def sentence(self) -> str:
        """What was measured and what follows, for the user to read."""
        figures = ", ".join(f"{count}: {ms:.1f} ms" for count, ms in self.milliseconds.items())
        return f"threads: {self.threads} (measured on this machine, a small training step by threads: {figures})"


def choose_threads(
    *, efficiency: float = 0.9, batch_size: int = 64, seconds: float = 2.0, counts: tuple[int, ...] | None = None
) -> ThreadChoice:
    """Measure which number of CPU threads is worth taking to train a small convolutional network here.

    The counts take turns, in shuffled order, until the time is up; the least time of each is compared, since
    other work on the machine only ever adds.

    Args:
        efficiency: n threads are taken only if they are at least this × n times as fast as one. High where other
            processes can use the cores as well, as in a run with its jobs; low where one network trains alone.
        batch_size: images in the trial's step.
        seconds: the whole trial; every count runs at least three times, however long that takes.
        counts: thread counts to try; `None` is 1, 2, 4, … up to the processors this process may use.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if counts is None:
        counts = tuple(sorted({*(2**i for i in range(available.bit_length()) if 2**i <= available), available}))
    if len(counts) == 1:
        return ThreadChoice(counts[0], {})
    tune_process()
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 1), nn.BatchNorm2d(32), nn.ReLU(),
        )  # fmt: skip
        images = torch.randn(batch_size, 3, 16, 16)
    order, shuffle = list(counts), random.Random(0)
    least = dict.fromkeys(counts, float("inf"))
    end = time.perf_counter() + seconds
    visits = 0
    try:
        while visits < 4 or time.perf_counter() < end:
            shuffle.shuffle(order)
            for count in order:
                torch.set_num_threads(count)
                start = time.perf_counter()
                net(images).mean().backward()
                spent = 1e3 * (time.perf_counter() - start)
                if visits:  # the first visit only warms up
                    least[count] = min(least[count], spent)
            visits += 1
    finally:
        torch.set_num_threads(before)
    threads = counts[0]
    for count in counts[1:]:
        gain = least[counts[0]] / least[count]
        if gain >= efficiency * count / counts[0] and least[count] < least[threads]:
            threads = count
    return ThreadChoice(threads, least)
