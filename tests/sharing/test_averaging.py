"""The running average of weights, against the recurrence written out."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from archipel.sharing.averaging import in_its_place, running_average


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_it_is_the_recurrence(decay: float) -> None:
    model = small()
    average = running_average(model, decay)
    expected: dict[str, torch.Tensor] = {}
    for n in range(6):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(n + 1)
        kept = min(decay, (1 + n) / (10 + n)) if n else 0.0
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = kept * expected.get(name, tensor) + (1 - kept) * tensor
            else:
                expected[name] = tensor.clone()
        average.update_parameters(model)
        for name, tensor in average.module.state_dict().items():
            torch.testing.assert_close(tensor, expected[name])
    assert int(expected["1.num_batches_tracked"]) == sum(range(1, 7))
    assert expected["1.running_mean"].dtype == torch.float32


def test_in_its_place_and_back_again() -> None:
    model = small()
    average = running_average(model, 0.9)
    average.update_parameters(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        model[0].weight.add_(1.0)
    moved = model[0].weight.detach().clone()
    with contextlib.suppress(KeyError), in_its_place(average, model):
        assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
        raise KeyError
    assert torch.equal(model[0].weight, moved)
    with in_its_place(None, model):
        assert torch.equal(model[0].weight, moved)
