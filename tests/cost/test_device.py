"""Devices: parsing, errors, fingerprints, threads."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn

from archipel.cost.device import Device, choose_threads
from archipel.errors import OptionError


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "", "cuda:-1", "mps", "cpu:0", "compile:1", "cuda-graphs:x"])
def test_an_unknown_device_is_refused_by_name(text: str) -> None:
    with pytest.raises(OptionError, match=f"unknown device '{text}'") as caught:
        Device.parse(text)
    assert "\n" not in str(caught.value)


def test_the_nearest_spelling_is_offered() -> None:
    with pytest.raises(OptionError, match="did you mean 'onnxruntime'") as caught:
        Device.parse("onnx-runtime")
    assert "FILE.py:function" in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("text", ["cuda", "cuda:0", "cuda-graphs", "cuda-graphs:1"])
def test_absent_cuda_is_said(text: str) -> None:
    with pytest.raises(OptionError, match="needs CUDA"):
        Device.parse(text)


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_threads_that_cannot_be_are_refused(threads: int) -> None:
    """OpenMP would end the program where it cannot start one."""
    with pytest.raises(OptionError, match=rf"given {threads} threads; give 1 to \d+"):
        Device.parse("cpu", threads=threads)


def test_frozen_and_equal_by_value() -> None:
    device = Device.parse("cpu", threads=2)
    assert device == Device("cpu", 2)
    assert device.torch_device == torch.device("cpu")
    with pytest.raises(dataclasses.FrozenInstanceError):
        device.threads = 1  # type: ignore[misc]


def test_only_eager_devices_train() -> None:
    assert Device("cpu", 2).for_training() == Device("cpu", 2)
    for name in ("compile", "onnxruntime", "cuda-graphs:0", "phone.py:milliseconds"):
        with pytest.raises(OptionError, match=f"device '{name}' only times networks"):
            Device(name).for_training()


def test_threads_are_torchs_where_they_count() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert Device.parse("cpu").threads == 1
        torch.set_num_threads(2)
        assert Device.parse("cpu").threads == 2
        assert Device.parse("cpu", threads=1).threads == 1
    finally:
        torch.set_num_threads(before)


def test_a_call_is_the_network_as_it_is_deployed() -> None:
    net, x = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train(), torch.randn(2, 3, 5, 5)
    call = Device("cpu", 1).call(net, x)
    with torch.no_grad():
        torch.testing.assert_close(call(), net.eval()(x), rtol=1e-4, atol=1e-5)


def test_fingerprint_is_plain_and_tells_thread_counts_apart() -> None:
    one, two = Device("cpu", 1).fingerprint(), Device("cpu", 2).fingerprint()
    assert json.loads(json.dumps(one)) == one
    assert {key for key in one if one[key] != two[key]} == {"threads"}
    assert one["torch"] == torch.__version__
    assert one["model"]


def test_use_sets_threads_and_puts_them_back_after_an_error() -> None:
    before = torch.get_num_threads()
    inside: list[int] = []

    def work() -> None:
        with Device("cpu", before + 1).use():
            inside.append(torch.get_num_threads())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        work()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


def test_prepare_folds_and_leaves_the_original() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    ready = Device("cpu", 1).prepare(net)
    assert not ready.training
    assert len(ready) == 1
    assert net.training
    assert len(net) == 2


def test_choose_threads_takes_one_it_measured_and_leaves_torch_alone() -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    chosen = choose_threads(batch_size=2, seconds=0.0, counts=(1, 2))
    assert chosen.threads in (1, 2)
    assert set(chosen.milliseconds) == {1, 2}
    assert all(ms > 0 for ms in chosen.milliseconds.values())
    assert f"threads: {chosen.threads}" in chosen.sentence()
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_more_threads_must_be_as_efficient_as_asked() -> None:
    assert choose_threads(efficiency=1e9, batch_size=2, seconds=0.0, counts=(1, 2)).threads == 1
    eager = choose_threads(efficiency=0.0, batch_size=2, seconds=0.0, counts=(1, 2))
    assert eager.threads == min(eager.milliseconds, key=lambda count: eager.milliseconds[count])


def test_one_processor_leaves_no_choice() -> None:
    assert choose_threads(counts=(1,)).threads == 1
