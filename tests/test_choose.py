"""The modules a child is made of, and labels; mistakes in a space function are in test_space.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.choose import Recorder, Select, Sum


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


class TestChildModules:
    X = torch.tensor([2.0])

    def test_sum(self) -> None:
        assert Sum({"a": nn.Identity(), "b": nn.ReLU()})(self.X).item() == 4
        assert Sum({"a": nn.Identity()})(self.X) is self.X

    def test_select(self) -> None:
        tensors = [torch.tensor([1.0]), torch.tensor([10.0]), torch.tensor([100.0])]
        assert Select({"0": nn.Identity(), "2": nn.Identity()})(tensors).item() == 101


class TestLabelsOfEmpty:
    @pytest.mark.parametrize(
        ("options", "empty", "label"),
        [
            (["a"], None, None),
            (["a"], "a", "a"),
            (["a"], nn.Identity, "identity"),
            (["a"], lambda: nn.Identity(), "empty"),
            (["identity"], nn.Identity, "empty"),
            (["empty"], lambda: nn.Identity(), "(empty)"),
        ],
    )
    def test_it_never_reads_as_an_option_that_it_is_not(self, recorder: Recorder, options, empty, label) -> None:
        recorder.subset("s", dict.fromkeys(options, nn.Identity), empty=empty)
        choice = recorder.choices["s"]
        assert choice.empty == label
        assert choice.allows_empty == callable(empty)
