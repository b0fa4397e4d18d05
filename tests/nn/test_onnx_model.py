"""Modules exported together answer as they do alone; those that differ in their weights alone are exported once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archipel.nn import onnx_model

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


class Paired(nn.Module):
    """Two outputs of two inputs, with a constant and a buffer."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4, bias=False)
        self.linear.weight = weight
        self.act = nn.ReLU6(inplace=True)
        self.register_buffer("shift", torch.rand(4), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        both = self.act(self.linear(x)) + self.shift
        return both * torch.tensor([1.0, 2.0, 3.0, 4.0]), both - y


def test_parts_answer_as_their_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    common = nn.Parameter(torch.randn(4, 4))
    members = [Paired(common), Paired(common), Paired(nn.Parameter(torch.randn(4, 4)))]
    like = [nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)) for _ in range(3)]
    x = torch.randn(1, 4)
    asked: list[int] = []
    real = onnx_model._exported

    def counted(pairs: list[tuple[nn.Module, tuple[Tensor, ...]]], dynamic: bool) -> object:
        asked.append(len(pairs))
        return real(pairs, dynamic)

    monkeypatch.setattr(onnx_model, "_exported", counted)
    pairs = [*((one.eval(), (x, x)) for one in members), *((one.eval(), (x,)) for one in like)]
    known: onnx_model.Known = {}
    parts = onnx_model.onnx_parts(pairs[:-1], dynamic=True, known=known)
    parts += onnx_model.onnx_parts(pairs[-1:], dynamic=True, known=known)
    assert asked == [2]
    assert all(one[1].inplace for one in like), "in-place layers are as they were"
    assert len({name for part in parts[:-1] for name in part.outputs}) == 8
    for (module, inputs), part in zip(pairs, parts):
        session = ort.InferenceSession(part.model().SerializeToString(), providers=["CPUExecutionProvider"])
        rows = [torch.randn(3, *given.shape[1:]) for given in inputs]
        with torch.no_grad():
            own = module(*rows)
        found = session.run(None, {name: row.numpy() for name, row in zip(part.inputs, rows)})
        for mine, theirs in zip([own] if isinstance(own, Tensor) else own, found, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-5, atol=1e-6)


def test_what_keeps_runtimes_from_fusing_layers_is_not_there() -> None:
    """A cast before the limits of a ReLU6; an average over a map whose weights lie channels-last, as a gathering."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = layers.to(memory_format=torch.channels_last).eval()
    model = onnx_model.onnx_model(network, (torch.zeros(1, 3, 8, 8),), optimize=False)
    kinds = {node.op_type for node in model.graph.node}
    assert {"Conv", "Clip"} <= kinds
    assert not {"CastLike", "Cast", "Gather"} & kinds
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last), "the network itself is as it was"
