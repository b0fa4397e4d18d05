"""A network as ONNX: the same answers at every batch size, and what happens where they are not."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from archipel.choose import ChildReader
from archipel.deploy import export_onnx
from archipel.errors import OptionError, RunError
from archipel.nn import ConvBN, InvertedResidual, classifier, he_fan_out
from archipel.space import Space
from archipel.spaces import proxyless_tree
from archipel.spaces.proxyless_tree import TreeBlock

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


def everything() -> nn.Module:
    """All that the published spaces' networks are made of: a tree cell with a stride and padding, shuffles, pools."""
    space = Space(proxyless_tree, blocks=1, out_channels=64)
    options = dict(enumerate(space.choices[0].options))  # each once, in the first block
    edges = {choice.name: options.get(i, "identity") for i, choice in enumerate(space.choices)}
    reader = ChildReader(space.canonical(edges))
    return nn.Sequential(
        ConvBN(3, 16, groups=1),
        TreeBlock(reader, "b1", 16, 16, 2, 0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(64, 5),
    )


def test_the_same_answers_at_every_batch_size(enliven, tmp_path: Path) -> None:
    network = enliven(everything()).float()
    images = torch.randn(9, 3, 10, 10, generator=torch.Generator().manual_seed(3))
    path = tmp_path / "net.onnx"
    found = export_onnx(network, path, input_shape=(3, 10, 10), images=[images], metadata={"classes": ["a", "b"]})
    assert found.path == path
    assert found.bytes == path.stat().st_size
    assert found.images == 7 + 1 + 2 + 9
    assert found.largest_difference < 1e-4 * found.spread
    assert found.spread > 1e-3
    assert found.same_answers == 1.0
    session = session_of(path)
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("images", ["batch", 3, 10, 10])]
    assert [o.name for o in session.get_outputs()] == ["scores"]
    for n in (1, 3, 9):
        theirs = torch.from_numpy(session.run(None, {"images": images[:n].numpy()})[0])
        torch.testing.assert_close(theirs, network(images[:n]).detach(), rtol=1e-4, atol=1e-4)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props if "archipel" in entry.key} == {
        "archipel.classes": ["a", "b"]
    }
    assert not any(node.metadata_props for node in model.graph.node)


def test_a_fresh_network_is_compared_where_its_outputs_hardly_differ(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [InvertedResidual(1 if i == 0 else 8, 8, act=nn.ReLU6) for i in range(4)]
    network = he_fan_out(nn.Sequential(*layers, *classifier(8, 3, 0.5)))
    found = export_onnx(network, tmp_path / "net.onnx", input_shape=(1, 8, 8))
    assert found.spread < 1e-2
    assert found.largest_difference < 1e-3 * found.spread
    assert network.training, "it is a copy that is exported"
    operations = Counter(node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node)
    assert operations["Conv"] == sum(isinstance(part, nn.Conv2d) for part in network.modules())
    assert not operations["BatchNormalization"], "folded"


class Restless(nn.Module):
    """Another answer every time, as a layer that forgets to be still in evaluation mode gives."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) + torch.rand_like(x[:, :, 0, 0])


def test_other_answers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"differs from PyTorch's by .*; nothing was written to .*net\.onnx"):
        export_onnx(Restless(), tmp_path / "net.onnx", input_shape=(2, 4, 4))
    assert not list(tmp_path.iterdir())


class Deciding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def test_what_cannot_be_exported_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the network cannot be exported to ONNX: ") as caught:
        export_onnx(Deciding(), tmp_path / "net.onnx", input_shape=(2, 4, 4))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OptionError, match=r"needs onnxruntime, .* run: pip install 'archipel\[export\]'"):
        export_onnx(nn.Flatten(), tmp_path / "net.onnx", input_shape=(1, 2, 2))
