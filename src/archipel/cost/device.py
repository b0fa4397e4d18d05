"""Where a network runs: the device, how many threads it may use, and what tells it from another device."""

from __future__ import annotations

import os
import platform
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from archipel.errors import OptionError
from archipel.nn.fold import fold_batch_norm

__all__ = ["Device", "ThreadChoice", "choose_threads"]


@dataclass(frozen=True)
class Device:
    """A torch device and the number of CPU threads that work on it.

    >>> Device.parse("cpu", threads=1)
    Device(name='cpu', threads=1)
    """

    name: str
    """`cpu` or `cuda:N`."""
    threads: int = 1
    """Intra-operator CPU threads; on CUDA the host's, which only launch kernels."""

    def __post_init__(self) -> None:
        if self.name != "cpu" and not re.fullmatch(r"cuda:\d+", self.name):
            raise OptionError(f"unknown device '{self.name}'; give 'cpu' or 'cuda:N', such as 'cuda:0'")
        if self.threads < 1:
            raise OptionError(f"device '{self.name}' was given {self.threads} threads; give at least 1")

    @classmethod
    def parse(cls, text: str, threads: int | None = None) -> Device:
        """The device a user names: `cpu`, `cuda` (the first GPU) or `cuda:N`.

        Args:
            text: the name.
            threads: CPU threads; `None` takes torch's present number on a CPU and 1 on CUDA.

        Raises:
            OptionError: the name is unknown, or this machine or this torch has no such device.
        """
        name = "cuda:0" if text == "cuda" else text
        on_cuda = name.startswith("cuda")
        device = cls(name, threads if threads is not None else 1 if on_cuda else torch.get_num_threads())
        if on_cuda:
            if not torch.cuda.is_available():
                raise OptionError(
                    f"device '{text}' needs CUDA, and torch {torch.__version__} finds none here; give 'cpu'"
                )
            if device.torch_device.index >= torch.cuda.device_count():
                last = torch.cuda.device_count() - 1
                raise OptionError(f"device '{text}' does not exist here; the last one is 'cuda:{last}'")
        return device

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.name)

    def fingerprint(self) -> dict[str, str | int]:
        """What must be equal for two latencies to be comparable. JSON-able."""
        same_everywhere: dict[str, str | int] = {
            "torch": torch.__version__,
            "machine": platform.machine(),
            "os": platform.system(),
            "dtype": "float32",
        }
        if self.torch_device.type == "cuda":
            return {
                "device": "cuda",
                "model": torch.cuda.get_device_name(self.torch_device),
                "cuda": str(torch.version.cuda),
                **same_everywhere,
            }
        return {
            "device": "cpu",
            "model": _cpu_model(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": self.threads,
            **same_everywhere,
        }

    def describe(self) -> str:
        """One phrase for a person: what it is and how many threads."""
        if self.torch_device.type == "cuda":
            return str(self.fingerprint()["model"])
        return f"{_cpu_model()}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done."""
        if self.torch_device.type == "cuda":
            torch.cuda.synchronize(self.torch_device)

    @contextmanager
    def use(self) -> Iterator[None]:
        """Within the block torch computes with this device's threads; afterwards with as many as before."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def prepare(self, module: nn.Module) -> nn.Module:
        """A copy of `module` as it would be deployed here: evaluation mode, batch norm folded, moved, channels last
        (on CPU 10 to 20 % faster at batch 1, twice as fast at 128)."""
        return fold_batch_norm(module).to(self.torch_device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _cpu_model() -> str:
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
