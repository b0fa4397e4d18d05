"""Energy on a machine made of arithmetic: a device of known idle power and known joules a pass."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from archipel.cost.energy import Nvml, Rapl, energy_reader, measure_energy
from archipel.errors import OptionError


class Machine:
    """20 W idle; a pass takes 3 ms and `joules` on top."""

    def __init__(self, joules: float = 0.5, idle: float = 20.0, noise: float = 0.0) -> None:
        self.time = self.used = 0.0
        self.joules_a_pass, self.idle = joules, idle
        self.rng, self.noise = random.Random(0), noise

    def pass_(self, seconds: float, extra: float) -> None:
        self.time += seconds
        self.used += self.idle * seconds * (1 + self.rng.gauss(0, self.noise)) + extra

    def call(self) -> None:
        self.pass_(0.003, self.joules_a_pass)

    def sleep(self, seconds: float) -> None:
        self.pass_(seconds, 0.0)

    def now(self) -> float:
        return self.time

    def joules(self) -> float:
        return self.used


def test_idle_power_is_taken_off() -> None:
    machine = Machine()
    energy = measure_energy(machine.call, machine, rounds=4, now=machine.now, sleep=machine.sleep)
    assert energy.joules == pytest.approx(0.5)
    assert energy.idle_watts == pytest.approx(20)
    assert energy.error == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seconds", [0.2, 0.5])
def test_a_window_is_as_long_as_asked(seconds: float) -> None:
    machine = Machine()
    energy = measure_energy(machine.call, machine, rounds=2, seconds=seconds, now=machine.now, sleep=machine.sleep)
    assert seconds <= 0.003 * energy.passes <= 1.3 * seconds


def test_its_error_is_that_of_repeated_measurements() -> None:
    machine = Machine(noise=0.2)
    found = [
        measure_energy(machine.call, machine, rounds=20, seconds=0.05, now=machine.now, sleep=machine.sleep)
        for _ in range(100)
    ]
    mean = sum(energy.joules for energy in found) / 100
    spread = (sum((energy.joules - mean) ** 2 for energy in found) / 99) ** 0.5
    assert mean == pytest.approx(0.5, abs=4 * spread / 10)
    told = sum(energy.error for energy in found) / 100
    assert told == pytest.approx(spread, rel=0.4)  # the deviation of 100 samples is known to 7 %, that of 20 to 16 %


def test_the_device_is_waited_for() -> None:
    """Work that is only queued by the call is counted in its own window."""
    machine = Machine()
    queued: list[int] = []

    def settle() -> None:
        for _ in queued:
            machine.call()
        queued.clear()

    energy = measure_energy(
        lambda: queued.append(1), machine, rounds=3, settle=settle, now=machine.now, sleep=machine.sleep
    )
    assert energy.joules == pytest.approx(0.5)


def test_a_counter_that_stands_still_is_refused() -> None:
    machine = Machine(joules=0.0, idle=0.0)
    with pytest.raises(OptionError, match="stood still"):
        measure_energy(machine.call, machine, now=machine.now, sleep=machine.sleep)
    with pytest.raises(OptionError, match="at least 2 rounds"):
        measure_energy(machine.call, machine, rounds=1)


def zone(folder: Path, name: str, kind: str, microjoules: int, top: int = 1_000_000) -> Path:
    made = folder / name
    made.mkdir()
    (made / "name").write_text(f"{kind}\n")
    (made / "energy_uj").write_text(f"{microjoules}\n")
    (made / "max_energy_range_uj").write_text(f"{top}\n")
    return made


class TestRapl:
    def test_packages_are_added_and_their_parts_are_not(self, tmp_path: Path) -> None:
        first = zone(tmp_path, "intel-rapl:0", "package-0", 100)
        second = zone(tmp_path, "intel-rapl:1", "package-1", 200)
        core = zone(tmp_path, "intel-rapl:0:0", "core", 50)
        platform = zone(tmp_path, "intel-rapl:2", "psys", 0)
        reader = energy_reader("cpu", powercap=tmp_path)
        assert reader.joules() == 0
        (first / "energy_uj").write_text("300100")
        (second / "energy_uj").write_text("500200")
        (core / "energy_uj").write_text("900000")
        (platform / "energy_uj").write_text("900000")
        assert reader.joules() == pytest.approx(0.8)

    def test_a_counter_that_wraps_goes_on(self, tmp_path: Path) -> None:
        package = zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
        reader = Rapl([package])
        for value in (950_000, 100_000, 100_000, 50_000):
            (package / "energy_uj").write_text(str(value))
            reader.joules()
        assert reader.joules() == pytest.approx(0.05 + 0.15 + 0 + 0.95)

    def test_where_it_is_not_readable_one_line_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="no RAPL counter in") as error:
            energy_reader("cpu", powercap=tmp_path / "absent")
        assert "\n" not in str(error.value)
        package = zone(tmp_path, "intel-rapl:0", "package-0", 1)
        (package / "energy_uj").unlink()
        (package / "energy_uj").mkdir()  # not readable, also for root
        with pytest.raises(OptionError, match="run as root") as error:
            energy_reader("cpu", powercap=tmp_path)
        assert "\n" not in str(error.value)

    def test_other_devices_have_no_counter(self) -> None:
        with pytest.raises(OptionError, match="'mps'"):
            energy_reader("mps")


class TestNvml:
    def test_without_the_library_the_line_says_what_to_install(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", None)
        with pytest.raises(OptionError, match="pip install nvidia-ml-py"):
            Nvml("GPU-1")

    def test_millijoules_of_the_gpu_with_that_uuid(self, monkeypatch) -> None:
        class NVMLError(Exception):
            pass

        def handle(uuid: str) -> str:
            if uuid != "GPU-abc":
                raise NVMLError("Not Found")
            return uuid

        fake = SimpleNamespace(
            NVMLError=NVMLError,
            nvmlInit=lambda: None,
            nvmlDeviceGetHandleByUUID=handle,
            nvmlDeviceGetTotalEnergyConsumption=lambda of: 2500 if of == "GPU-abc" else 0,
        )
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        assert Nvml("abc").joules() == 2.5
        with pytest.raises(OptionError, match=r"GPU other cannot be read here \(Not Found\)"):
            Nvml("other")
