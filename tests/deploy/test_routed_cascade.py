"""A cascade inside one ONNX graph: the same stages answer, alone and in a batch, wherever the thresholds stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archipel.deploy.alone import CascadeAlone
from archipel.deploy.manifest import Point
from archipel.deploy.routed_cascade import routed_cascade, uncut_cascade
from archipel.deploy.uncut import Uncut
from archipel.instance.cascade import EVERYTHING, NOTHING, Cascade
from archipel.instance.escalation import Gain
from archipel.nn import ConvBN
from archipel.nn.exits import Exits
from archipel.nn.onnx_model import Known

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def head(c: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 5))


def of_exits() -> Cascade:
    network = Exits([ConvBN(3, 4, 3), ConvBN(4, 6, 3, stride=2), ConvBN(6, 8, 3)], [head(4), head(6), head(8)])
    gains = [Gain(torch.tensor([0.1, -0.1]), 0.02), Gain(torch.tensor([0.3, -0.3]), 0.0)]
    return Cascade(
        network, thresholds=[0, 0], costs_ms=[1, 1, 1], temperatures=[1.2, 0.9, 0.8], gains=gains, committee=True
    )


def of_networks() -> Cascade:
    networks = [nn.Sequential(ConvBN(3, c, 3), head(c)) for c in (4, 6)]
    return Cascade(networks, thresholds=[0], costs_ms=[1, 1], temperatures=[1.2, 0.9])


@pytest.mark.parametrize("make", [of_exits, of_networks])
def test_the_same_stages_give_the_same_answers(make) -> None:
    torch.manual_seed(0)
    cascade = make()
    images = 3 * torch.randn(24, 3, 10, 10)
    count = len(cascade.stages)
    known: Known = {}
    model = routed_cascade(cascade, (3, 10, 10), known=known)
    onnx.checker.check_model(model)
    alone = CascadeAlone(Uncut(uncut_cascade(cascade, (3, 10, 10), known=known)), cascade, 1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == ["images", "thresholds"]

    def theirs(images: Tensor, thresholds: list[float]) -> tuple[np.ndarray, np.ndarray]:
        scores, stage = session.run(
            ["scores", "stage"], {"images": images.numpy(), "thresholds": np.array(thresholds, np.float32)}
        )
        return scores, stage

    urges = [cascade.urge(k, own).sort().values for k, own in enumerate(cascade.every_answer(images)[:-1])]
    # Between two of them: at one of them rounding decides.
    middle = [float(own[11] + own[12]) / 2 for own in urges]
    everyone: set[int] = set()
    for thresholds in (middle, [EVERYTHING] * (count - 1), [NOTHING] * (count - 1)):
        ours = cascade.at(thresholds).answer(images)
        scores, stage = theirs(images, thresholds)
        assert stage.tolist() == ours.stage.tolist()
        torch.testing.assert_close(torch.from_numpy(scores), ours.output, rtol=1e-4, atol=1e-5)
        everyone |= set(stage.tolist())
        for i in range(4):
            one, point = images[i : i + 1], Point(None, 1.0, thresholds=tuple(thresholds))
            for own, who in (theirs(one, thresholds), alone.answer(one.numpy(), point)):
                assert who.tolist() == [stage[i]]
                np.testing.assert_allclose(own[0], scores[i], rtol=1e-4, atol=1e-5)
    assert everyone == set(range(count))


def test_what_lies_behind_an_exit_stands_in_its_branch() -> None:
    torch.manual_seed(0)
    graph = routed_cascade(of_exits(), (3, 10, 10)).graph
    kinds = []
    while graph is not None:
        kinds.append([node.op_type for node in graph.node].count("Conv"))
        branch = [node for node in graph.node if node.op_type == "If"]
        assert len(branch) <= 1
        graph = next((a.g for node in branch for a in node.attribute if a.name == "then_branch"), None)
    assert kinds == [1, 1, 1], "a layer of each trunk, each further in"
