"""Joules of one pass, where the machine tells: RAPL for a CPU's packages, NVML for an NVIDIA GPU.

Both are counters of everything the chip used, refreshed every millisecond (RAPL) to every 0.1 s (NVML), so a pass is
measured in windows of hundreds of milliseconds, each beside an idle window of the same length whose power is taken
off. What is left is what the passes added: `(E_busy − P_idle · t_busy) / passes`. Other work on the machine in either
window is in it; a quiet machine is on the caller.
"""

from __future__ import annotations

import importlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from archipel.errors import OptionError

__all__ = ["Energy", "EnergyReader", "Nvml", "Rapl", "energy_reader", "measure_energy"]

POWERCAP = Path("/sys/class/powercap")


class EnergyReader(Protocol):
    """A counter of joules."""

    def joules(self) -> float:
        """Used since some fixed moment; never falls."""


class Rapl:
    """The packages of the CPU, by Linux' powercap files. AMD's are read under the same names.

    Args:
        zones: folders with `energy_uj` and `max_energy_range_uj`, one a package.
    """

    def __init__(self, zones: Sequence[Path]) -> None:
        self.zones = list(zones)
        self._ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in self.zones]
        self._last = [self._raw(zone) for zone in self.zones]
        self._total = 0

    @staticmethod
    def _raw(zone: Path) -> int:
        return int((zone / "energy_uj").read_text())

    def joules(self) -> float:
        """Since this reader was made. Read it at least once a wrap of the counter, which takes minutes."""
        now = [self._raw(zone) for zone in self.zones]
        for new, old, top in zip(now, self._last, self._ranges):
            self._total += new - old if new >= old else new - old + top  # the counter starts again at its top
        self._last = now
        return self._total / 1e6


class Nvml:
    """An NVIDIA GPU (Volta or later), through nvidia-ml-py.

    Args:
        uuid: of the GPU, as torch gives it: NVML counts GPUs in another order than CUDA.

    Raises:
        OptionError: the library is not installed, or the GPU keeps no such counter.
    """

    def __init__(self, uuid: str) -> None:
        try:
            pynvml = importlib.import_module("pynvml")
        except ImportError:
            raise OptionError("energy of a GPU needs NVML; pip install nvidia-ml-py") from None
        try:
            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
            self._read: Callable[[], int] = lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            self._read()
        except pynvml.NVMLError as error:
            raise OptionError(f"energy of GPU {uuid} cannot be read here ({error})") from None

    def joules(self) -> float:
        """Since the driver was loaded."""
        return self._read() / 1e3


def energy_reader(device: torch.device | str, *, powercap: Path = POWERCAP) -> EnergyReader:
    """The counter of a device, seen to be readable here.

    Raises:
        OptionError: it is not; says why. Containers and virtual machines usually have none, and on Linux RAPL is
            readable by root alone unless its files' permissions were changed.
    """
    device = torch.device(device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise OptionError(f"energy of '{device}' cannot be read: torch {torch.__version__} finds no CUDA here")
        return Nvml(str(torch.cuda.get_device_properties(device).uuid))
    if device.type != "cpu":
        raise OptionError(f"energy of '{device}' cannot be read; there are counters for 'cpu' (RAPL) and 'cuda' (NVML)")
    # `intel-rapl:0` is a package; `intel-rapl:0:1` is a part of one and counted in it.
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    if not zones:
        raise OptionError(f"energy of the CPU cannot be read: there is no RAPL counter in {powercap}")
    try:
        return Rapl([zone for zone in zones if (zone / "name").read_text().startswith("package")])
    except OSError as error:
        raise OptionError(
            f"energy of the CPU cannot be read: {zones[0] / 'energy_uj'} ({error.strerror}); "
            "run as root, or make it readable"
        ) from None


@dataclass(frozen=True)
class Energy:
    """Joules of one pass."""

    samples: tuple[float, ...]
    """Joules a pass above idle, one a round."""
    idle_watts: float
    """Median over the idle windows."""
    passes: int
    """In a busy window."""

    @property
    def joules(self) -> float:
        """The figure to quote: the median. Other work can also fall into the idle window, so the least is no better."""
        return statistics.median(self.samples)

    @property
    def error(self) -> float:
        """Standard error of the median, from the interquartile range over the rounds."""
        low, _, high = statistics.quantiles(self.samples, n=4)
        return 1.2533 * (high - low) / 1.349 / len(self.samples) ** 0.5


def measure_energy(
    call: Callable[[], object],
    reader: EnergyReader,
    *,
    rounds: int = 10,
    seconds: float = 0.5,
    settle: Callable[[], None] = lambda: None,
    now: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Energy:
    """Joules of one `call`, less what the device uses idle.

    Args:
        call: one pass, without arguments; it leaves its work on the device.
        rounds: of an idle and a busy window each, in turns.
        seconds: length of a window; the energy of one counter refresh over it is the error to expect of a round.
        settle: waits until the device has done its work (`Device.synchronize`).
        now, sleep: another clock than the machine's own (in tests).

    Raises:
        OptionError: fewer than 2 rounds, or the counter stood still in every window.
    """
    if rounds < 2 or seconds <= 0:
        raise OptionError(f"energy needs at least 2 rounds of more than 0 s; got {rounds} of {seconds} s")
    passes, spent = 1, _run(call, 1, settle, now)
    while spent < seconds:  # how many fill a window; also warms up
        wanted = math.ceil(1.1 * passes * seconds / max(spent, 1e-9))
        passes = max(passes + 1, min(10 * passes, wanted))
        spent = _run(call, passes, settle, now)
    samples, idle = [], []
    for _ in range(rounds):
        first, start = reader.joules(), now()
        sleep(spent)
        second, between = reader.joules(), now()
        _run(call, passes, settle, now)
        third, end = reader.joules(), now()
        idle.append((second - first) / (between - start))
        samples.append((third - second - idle[-1] * (end - between)) / passes)
    if not any(samples) and not any(idle):
        raise OptionError("the energy counter stood still while the device worked; it does not count here")
    return Energy(tuple(samples), statistics.median(idle), passes)


def _run(call: Callable[[], object], passes: int, settle: Callable[[], None], now: Callable[[], float]) -> float:
    """Seconds that `passes` calls took."""
    start = now()
    for _ in range(passes):
        call()
    settle()
    return now() - start
