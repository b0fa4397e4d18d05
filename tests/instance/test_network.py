"""The found network against its meta-graph and controller, unfolded."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from archipel.errors import OptionError
from archipel.instance.conditioned import ConditionedController, Targets
from archipel.instance.controller import LightController
from archipel.instance.executors import EXECUTORS
from archipel.instance.network import InstanceNetwork
from archipel.instance.policy import CodePolicy
from archipel.metagraph import MetaGraph, PerInstance
from archipel.space import Space


@pytest.fixture
def controller(space: Space, enliven) -> nn.Module:
    """Picks different architectures for different inputs."""
    torch.manual_seed(0)
    made = enliven(LightController(space.width, channels=3, size=8), 3)
    with torch.no_grad():
        made.head.weight *= 5.0
        made.head.bias -= made.head(made.features(images(9))).mean(0)  # logits around 0
    return made


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.of_spaces(where=lambda space: space.size > 1)
def test_it_is_the_graph_along_the_controllers_modes(space: Space, graph: MetaGraph, controller: nn.Module) -> None:
    """One by one and as a batch, to 1e-5 in evaluation mode. That a graph is its children is in test_metagraph.py."""
    network = InstanceNetwork(graph, controller)
    x = images(9)[:5]
    codes = CodePolicy(space).mode(controller(x))
    assert len(codes.unique(dim=0)) > 1
    expected = graph(x, PerInstance(codes))
    assert network.codes(x).equal(codes)
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)
    alone = torch.cat([network(x[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)


class Always:
    """A cost model that knows one executor."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cheapest(self, codes: torch.Tensor) -> str:  # noqa: ARG002
        return self.name


@pytest.mark.parametrize("name", EXECUTORS)
def test_the_way_a_batch_is_run_is_the_cost_models(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setitem(EXECUTORS, name, lambda *_, way=EXECUTORS[name]: ran.append(name) or way(*_))  # type: ignore[func-returns-value]
    graph, x = MetaGraph(Space(three)), torch.cat([of_brightness(0.0), of_brightness(1.0)])
    network = InstanceNetwork(graph, ByBrightness(), routing=Always(name))  # type: ignore[arg-type]
    assert network(x).allclose(InstanceNetwork(graph, ByBrightness())(x))
    assert name in ran


def three(choose) -> nn.Module:
    acts = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
    return nn.Sequential(nn.Conv2d(1, 4, 1), choose.op("act", acts), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class ByBrightness(nn.Module):
    """Option 0, 1 or 2 for an image of brightness 0, 1 or 2."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(x.mean((1, 2, 3))[:, None] - torch.arange(3.0)).abs()


def of_brightness(b: float) -> torch.Tensor:
    return torch.full((1, 1, 4, 4), b)


class TestChildren:
    @pytest.fixture
    def extracted(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The options of the children that were taken out, in order."""
        log: list[str] = []
        extract = MetaGraph.extract

        def logged(graph: MetaGraph, architecture) -> nn.Module:
            log.append(architecture["act"])
            return extract(graph, architecture)

        monkeypatch.setattr(MetaGraph, "extract", logged)
        return log

    def test_each_is_taken_out_once(self, extracted: list[str]) -> None:
        network = InstanceNetwork(MetaGraph(Space(three)), ByBrightness())
        for b in (0.0, 1.0, 0.0, 1.0, 0.1):
            network(of_brightness(b))
        assert extracted == ["relu", "tanh"]

    def test_the_longest_unused_goes_first(self, extracted: list[str]) -> None:
        network = InstanceNetwork(MetaGraph(Space(three)), ByBrightness(), children=2)
        for b in (0.0, 1.0, 0.0, 2.0, 0.0, 1.0):  # 2 drives out 1, which then drives out 2
            network(of_brightness(b))
        assert extracted == ["relu", "tanh", "sigmoid", "tanh"]

    def test_a_batch_takes_none_out(self, extracted: list[str]) -> None:
        InstanceNetwork(MetaGraph(Space(three)), ByBrightness())(torch.cat([of_brightness(0.0), of_brightness(1.0)]))
        assert extracted == []


def test_what_it_is_made_from_stays_as_it_is() -> None:
    graph, controller = MetaGraph(Space(three)), LightController(3, channels=1, size=4)
    before = copy.deepcopy(graph.state_dict()), copy.deepcopy(controller.state_dict())
    network = InstanceNetwork(graph, controller)
    network(torch.randn(5, 1, 4, 4)), network(torch.randn(1, 1, 4, 4))
    assert graph.training
    assert controller.training
    for now, then in zip((graph.state_dict(), controller.state_dict()), before):
        assert all(now[name].equal(then[name]) for name in then)
    held = sum(p.numel() for p in network.parameters())
    weights = sum(p.numel() for p in graph.parameters())
    assert held == weights + sum(p.numel() for p in network.controller.parameters())  # the graph's once


class TestTarget:
    @staticmethod
    def network() -> InstanceNetwork:
        torch.manual_seed(0)
        controller = ConditionedController(LightController(3, channels=1, size=4), Targets(1.0, 2.0))
        for parameter in (*controller.film.parameters(), *controller.body.head.parameters()):
            torch.nn.init.normal_(parameter, std=2.0)
        return InstanceNetwork(MetaGraph(Space(three)), controller)

    def test_it_is_moved_along_the_frontier_call_by_call(self) -> None:
        network, x = self.network(), torch.randn(16, 1, 4, 4, generator=torch.Generator().manual_seed(1))
        found = {}
        for target in (1.0, 2.0):
            plain = InstanceNetwork(network._source[0], network.controller.at(target))
            found[target] = network.codes(x, target)
            assert found[target].equal(plain.codes(x))
            torch.testing.assert_close(network(x, target), plain(x))
            torch.testing.assert_close(network(x[:1], target), plain(x[:1]))
        assert not found[1.0].equal(found[2.0])
        mixed = torch.tensor([1.0, 2.0] * 8)
        expected = torch.where(mixed[:, None] == 1.0, found[1.0], found[2.0])
        assert network.codes(x, mixed).equal(expected)

    def test_a_target_is_given_where_it_is_asked_for_and_nowhere_else(self) -> None:
        x = torch.randn(2, 1, 4, 4)
        with pytest.raises(OptionError, match="target_ms is missing, and the controller is conditioned on it"):
            self.network()(x)
        with pytest.raises(OptionError, match="target_ms is given, and the controller is a plain one"):
            InstanceNetwork(MetaGraph(Space(three)), ByBrightness())(x, 1.0)
