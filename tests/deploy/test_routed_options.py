"""A controller and its meta-graph inside one ONNX graph, for every kind of choice that has options side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archipel.deploy import alone
from archipel.deploy.alone import ControlledAlone
from archipel.deploy.deciding import Deciding
from archipel.deploy.manifest import Point
from archipel.deploy.routed_options import routed_options
from archipel.deploy.uncut import Uncut
from archipel.deploy.uncut_options import uncut_options
from archipel.errors import OptionError
from archipel.instance.conditioned import ConditionedController, Targets
from archipel.instance.controller import LightController
from archipel.instance.policy import CodePolicy
from archipel.metagraph import MetaGraph, PerInstance
from archipel.nn import ConvBN, conv2d
from archipel.nn.blocks import Residual, Zero
from archipel.space import Space

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def conv(kernel: int):
    return lambda: ConvBN(4, 4, kernel)


class Two(nn.Module):
    """One of (x, f(x)) or both."""

    def __init__(self, first: nn.Module, pick: nn.Module) -> None:
        super().__init__()
        self.first, self.pick = first, pick

    def forward(self, x):
        return self.pick([x, self.first(x)])


def every_kind(choose, *, classes: int = 4) -> nn.Module:
    """Empty selections that are zero, a module and forbidden; choices in an option; tensors to choose from."""

    def deep() -> nn.Module:
        return nn.Sequential(ConvBN(4, 4), choose.subset("deep.tail", {"a": conv(1), "b": conv(3)}, mean=True))

    return nn.Sequential(
        choose.subset("stem", {"k1": lambda: ConvBN(3, 4), "k3": lambda: ConvBN(3, 4, 3)}, mean=True),
        Residual(choose.subset("zero", {"a": conv(1), "b": conv(3)}, empty=Zero)),
        choose.subset("same", {"a": conv(1)}, empty=nn.Identity),
        choose.subset("default", {"a": conv(1), "b": nn.Identity}, empty="b"),
        choose.op("op", {"k3": conv(3), "deep": deep}),
        Two(ConvBN(4, 4, 3), choose.inputs("pick", [nn.Identity, conv(1)], k=1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )


class Known(NamedTuple):
    """A meta-graph, its controller, and what they say of 30 images."""

    graph: MetaGraph
    controller: ConditionedController
    images: Tensor
    target_ms: Tensor
    codes: Tensor
    scores: Tensor


@pytest.fixture
def known(enliven) -> Known:
    torch.manual_seed(20)  # with which every option is taken
    space = Space(every_kind)
    graph = enliven(MetaGraph(space)).float().eval()
    body = LightController(space.width, channels=3, size=8)
    controller = ConditionedController(body, Targets(1.0, 2.0)).eval()
    nn.init.normal_(controller.film[-1].weight)
    nn.init.normal_(body.head.weight)
    images, target_ms = 3 * torch.randn(30, 3, 8, 8), torch.linspace(1.0, 2.0, 30)
    with torch.no_grad():
        codes = CodePolicy(space).mode(controller(images, target_ms))
        scores = graph(images, PerInstance(codes))
    assert len(codes.unique(dim=0)) > 5
    assert codes.any(0).all(), "every option is taken by some image"
    zero = space.slices["zero"]
    assert not codes[:, zero].any(1).all(), "and an empty selection occurs"
    return Known(graph, controller, images, target_ms, codes, scores)


def test_the_same_architectures_give_the_same_answers(known: Known) -> None:
    graph, controller, images, target_ms, ours, outputs = known
    space = graph.space
    model = routed_options(graph, controller, (3, 8, 8))
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = ["scores", "codes", "probabilities"]
    scores, codes, probabilities = session.run(names, {"images": images.numpy(), "target_ms": target_ms.numpy()})
    with torch.no_grad():
        logits = controller(images, target_ms)
    assert (codes == ours.numpy()).all()
    torch.testing.assert_close(torch.from_numpy(scores), outputs, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(probabilities, CodePolicy(space).probabilities(logits).detach(), rtol=1e-4, atol=1e-5)
    for i in range(3):
        own = session.run(["scores"], {"images": images[i : i + 1].numpy(), "target_ms": target_ms[i : i + 1].numpy()})
        np.testing.assert_allclose(own[0][0], scores[i], rtol=1e-3, atol=1e-4)
    whole = Deciding(controller, space)
    assert whole.conditioned


def test_and_so_do_their_pieces_for_one_image_alone(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, controller, images, target_ms, ours, outputs = known
    uncut = Uncut(uncut_options(graph, controller, (3, 8, 8)))
    points = [Point(None, 1.0, asked_ms=float(ms)) for ms in target_ms]
    whole = ControlledAlone(uncut, graph.space, 1, images[:3].numpy(), points[:3])
    monkeypatch.setattr(alone, "KEPT", 5)  # fewer than there are: where they are alike they are shared
    monkeypatch.setattr(alone, "SELDOM", 1)
    cut = ControlledAlone(uncut, graph.space, 1, images.numpy(), points)
    assert len(cut._pieces) > len(whole._pieces) == 1
    for made in (whole, cut):
        for image, point, code, scores in zip(images.numpy(), points, ours, outputs):
            said = made.answer(image[None], point)
            assert said is not None
            assert said[1].tolist() == [code.tolist()]
            torch.testing.assert_close(torch.from_numpy(said[0][0]), scores, rtol=1e-3, atol=1e-4)


def test_sizes_are_no_options() -> None:
    def elastic(choose, *, classes: int = 4) -> nn.Module:
        width = choose.value("width", [2, 4])
        return nn.Sequential(conv2d(3, width), conv2d(width, classes), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    space = Space(elastic)
    with pytest.raises(OptionError, match=r"choice 'width' sets the size of layers.*--form frequent"):
        routed_options(MetaGraph(space), LightController(space.width), (3, 8, 8))
