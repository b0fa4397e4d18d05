"""Backends: what each binds, what it says where it cannot, and that it computes what torch does."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archipel.cost import Device, measure
from archipel.cost import backend_compile as compiling
from archipel.cost.backend import CudaGraphs
from archipel.cost.backend_onnx import OnnxRuntime
from archipel.errors import DeviceError, OptionError
from archipel.nn.blocks import InvertedResidual, Residual

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="archipel[export] is not installed",
)
needs_compiler = pytest.mark.skipif(shutil.which(compiling._compiler()) is None, reason="there is no C++ compiler")


class Wordy(nn.Module):
    """Its path depends on the data, which no exporter follows."""

    def forward(self, x: Tensor) -> Tensor:
        return x if bool(x.sum() > 0) else -x


def net(act: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(0)
    block = InvertedResidual(4, 4, expand=2, act=act)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), Residual(block), nn.Flatten()).eval()


def one_line(error: pytest.ExceptionInfo[Exception], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert all(part in text for part in parts), text


# ---- ONNX Runtime ---------------------------------------------------------------------------------------------------


@needs_onnx
def test_onnxruntime_computes_what_torch_does() -> None:
    device = Device.parse("onnxruntime", threads=1)
    modules = [net(), nn.Identity(), net(nn.ReLU6), nn.Conv2d(3, 5, 1, stride=2), nn.Hardswish()]
    inputs = [torch.randn(2, 3, 6, 6) for _ in modules]
    inputs[2] = inputs[0]  # a tensor that two modules take
    modules[4].eval()
    prepared = [device.prepare(module) for module in modules]
    with torch.no_grad():
        for module, x, call in zip(modules, inputs, device.backend.bind(zip(prepared, inputs))):
            (found,) = call()
            torch.testing.assert_close(torch.from_numpy(found), module(x), rtol=1e-4, atol=1e-5)


@needs_onnx
def test_onnxruntime_names_the_module_it_cannot_run() -> None:
    device = Device.parse("onnxruntime", threads=1)
    pairs = [(nn.ReLU(), torch.ones(1, 3, 4, 4)), (Wordy(), torch.ones(1, 3, 4, 4))]
    calls = device.backend.bind(pairs)
    with pytest.raises(DeviceError) as error:
        list(calls)
    one_line(error, "device 'onnxruntime' cannot run Wordy", "device 'cpu'")


def test_onnxruntime_missing_is_one_command_away(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    with pytest.raises(DeviceError) as error:
        Device.parse("onnxruntime")
    one_line(error, "pip install 'archipel[export]'", "onnxruntime")


def test_modules_are_exported_together_but_not_too_many() -> None:
    from archipel.cost.backend_onnx import _groups

    small = [(nn.Conv2d(1, 1, 1), torch.zeros(1))] * 40
    assert [len(group) for group in _groups(small)] == [16, 16, 8]
    huge = nn.Linear(2**13, 2**12, device="meta")
    groups = list(_groups([small[0], (huge, torch.zeros(1)), (huge, torch.zeros(1)), (huge, torch.zeros(1))]))
    assert [len(group) for group in groups] == [2, 1, 1]
    assert list(_groups([])) == []


# ---- torch.compile --------------------------------------------------------------------------------------------------


@needs_compiler
def test_compile_computes_what_torch_does_for_many_modules_of_one_class() -> None:
    device = Device.parse("compile", threads=1)
    pairs: list[tuple[nn.Module, Tensor]] = [
        (nn.Sequential(nn.Linear(3, width)).eval(), torch.randn(2, 3)) for width in (2, 3, 4)
    ]
    pairs.append((net(), torch.randn(2, 3, 6, 6)))
    # Every one is compiled, and none again: torch keeps so many to a piece of code, eight as it comes, and no more.
    with torch._dynamo.config.patch(recompile_limit=2):
        calls = list(device.backend.bind((device.prepare(module), x) for module, x in pairs))
        torch._dynamo.utils.counters.clear()
        with torch.inference_mode():
            for (module, x), call in zip(pairs, calls):
                torch.testing.assert_close(call(), module(x), rtol=1e-4, atol=1e-5)
    assert not torch._dynamo.utils.counters["frames"]


@needs_compiler
def test_compile_names_the_module_it_cannot_run() -> None:
    device = Device.parse("compile", threads=1)
    with pytest.raises(DeviceError) as error:
        device.call(Wordy(), torch.ones(3))
    one_line(error, "device 'compile' cannot run Wordy")


def test_compile_without_a_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DeviceError) as error:
        Device.parse("compile")
    one_line(error, "C++ compiler", "'no-such-compiler'", "CXX")


# ---- a user's own function ------------------------------------------------------------------------------------------

PHONE = """
seen = []

def milliseconds(module, inputs, rounds):
    assert not module.training
    seen.append((id(module), rounds))
    return [float(inputs.shape[0]) + 0.25 * len(list(module.children()))] * rounds

def late(module, inputs, rounds):
    raise ConnectionError("no phone\\nis there")

def few(module, inputs, rounds): return [1.0] * (rounds - 1)
def words(module, inputs, rounds): return ["fast"] * rounds
def none(module, inputs, rounds): return None
def negative(module, inputs, rounds): return [-1.0] * rounds
def unknown(module, inputs, rounds): return [float("nan")] * rounds
"""


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    path = tmp_path / "phone.py"
    path.write_text(PHONE)
    return path


def test_a_function_times_every_network_in_three_visits(phone: Path) -> None:
    device = Device.parse(f"{phone}:milliseconds")
    pairs = {"a": (net(), torch.zeros(1, 3, 4, 4)), "b": (nn.ReLU(), torch.zeros(2, 3, 4, 4))}
    calls = dict(zip(pairs, device.backend.bind([(device.prepare(module), x) for module, x in pairs.values()])))
    timings = measure(calls, device, rounds=10, rng=random.Random(0))
    assert {name: timing.samples for name, timing in timings.items()} == {"a": (1.75,) * 10, "b": (2.0,) * 10}
    seen = device.backend.function.__globals__["seen"]  # type: ignore[attr-defined]
    assert sorted(rounds for _, rounds in seen) == [3, 3, 3, 3, 4, 4]
    assert len({module for module, _ in seen}) == 2
    assert calls["a"]() == [1.75]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("late", "raised ConnectionError: no phone"),
        ("few", "asked for 5 rounds and returned [1.0, 1.0, 1.0, 1.0]; return a list of 5 positive numbers"),
        ("words", "returned ['fast',"),
        ("none", "returned None"),
        ("negative", "returned [-1.0,"),
        ("unknown", "returned [nan,"),
    ],
)
def test_what_a_function_gives_is_checked(phone: Path, function: str, words: str) -> None:
    device = Device.parse(f"{phone}:{function}")
    call: Any = device.call(nn.ReLU(), torch.zeros(1))
    with pytest.raises(DeviceError) as error:
        call.milliseconds(5)
    one_line(error, f"device 'phone.py:{function}'", words)


def test_a_function_that_is_not_there_is_said(phone: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'milliseconds'"):
        Device.parse(f"{phone}:miliseconds")
    with pytest.raises(OptionError, match=r"none\.py', which does not exist"):
        Device.parse(f"{phone.parent}/none.py:f")


@pytest.mark.usefixtures("phone")
def test_a_function_is_its_file_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = Device.parse("phone.py:milliseconds")
    assert Path(here.name.rpartition(":")[0]).is_absolute()
    (tmp_path / "deep").mkdir()
    moved = Path("deep/phone.py")
    moved.write_text(PHONE)
    there = Device.parse(f"{moved}:milliseconds")
    assert here.fingerprint() == there.fingerprint()
    assert json.loads(json.dumps(here.fingerprint())) == here.fingerprint()
    moved.write_text(f"{PHONE}\n# another phone")
    assert here.fingerprint() != there.fingerprint()
    assert here.describe() == "phone.py:milliseconds"


# ---- CUDA graphs, on a torch.cuda that only notes what it is asked --------------------------------------------------


def test_a_graph_is_warmed_up_recorded_once_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []

    class Within:
        def __init__(self, what: object) -> None:
            self.what = what

        def __enter__(self) -> None:
            notes.append(f"enter {self.what}")

        def __exit__(self, *_: object) -> None:
            notes.append(f"leave {self.what}")

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            notes.append(f"{self.name} waits for {other.name}")

    class Graph:
        def replay(self) -> None:
            notes.append("replay")

    class Noted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            notes.append("pass")
            return 2 * x

    present = Stream("present")
    fake = SimpleNamespace(
        CUDAGraph=Graph,
        Stream=lambda _: Stream("beside"),
        current_stream=lambda _: present,
        device=lambda where: Within(f"device {where}"),
        stream=lambda stream: Within(stream.name),
        graph=lambda _: Within("recording"),
    )
    monkeypatch.setattr(torch, "cuda", fake)
    monkeypatch.setattr(CudaGraphs, "torch_device", property(lambda _: torch.device("cpu")))
    backend = CudaGraphs("cuda-graphs:0", 1)
    (call,) = backend.bind([(Noted(), torch.ones(2))])
    assert notes == [
        "enter device cpu", "beside waits for present", "enter beside", "pass", "pass", "pass", "leave beside",
        "present waits for beside", "enter recording", "pass", "leave recording", "leave device cpu",
    ]  # fmt: skip
    notes.clear()
    assert torch.equal(call(), torch.tensor([2.0, 2.0]))
    assert notes == ["enter device cpu", "replay", "leave device cpu"]


def test_fingerprints_tell_backends_apart() -> None:
    kinds = [Device("cpu"), Device("compile")]
    if importlib.util.find_spec("onnxruntime"):
        kinds.append(Device("onnxruntime"))
        assert OnnxRuntime("onnxruntime", 1).fingerprint() != OnnxRuntime("onnxruntime", 2).fingerprint()
    prints = [device.fingerprint() for device in kinds]
    assert len({json.dumps(each, sort_keys=True) for each in prints}) == len(kinds)
    assert [device.backend.hooks for device in kinds] == [True, False, False][: len(kinds)]
