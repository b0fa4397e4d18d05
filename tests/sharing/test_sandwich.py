"""The sandwich rule and in-place distillation: what a step of several routes adds up, and who learns from what."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.metagraph import MetaGraph, PerInstance, Route, Single
from archipel.nn import batch_norm2d, conv2d, linear, stack
from archipel.run.checkpoint import Checkpoint
from archipel.sharing import Distillation, Fixed, KeepSchedule, Optimisation, Sandwich, Uniform, train, weight_epoch
from archipel.sharing.training import seed_of, sgd
from archipel.tasks import Batch, Classification

OPTIONS = Optimisation(epochs=2, batch=32, lr=0.1)


def little(choose, *, classes: int, channels: int) -> nn.Module:
    """Elastic width and depth, and an option that only some children run."""
    width, depth = choose.value("width", [4, 6, 8]), choose.value("depth", [0, 1, 2])

    def layer(i: int) -> nn.Module:  # noqa: ARG001
        return nn.Sequential(conv2d(width, width, 3), batch_norm2d(width), nn.ReLU())

    return nn.Sequential(
        nn.AvgPool2d(2),
        choose.op("stem", {"plain": lambda: nn.BatchNorm2d(channels), "none": nn.Identity}),
        conv2d(channels, width),
        batch_norm2d(width),
        stack(depth, layer),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        linear(width, classes),
    )


def graph_of(digits: Classification) -> MetaGraph:
    torch.manual_seed(0)
    return MetaGraph(digits.space(little))


def sandwich(digits: Classification, graph: MetaGraph, between: int = 2) -> Sandwich:
    return Sandwich.of(graph.space, digits.spec.input_shape, Uniform(graph.space), between=between)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


class Only:
    """A step policy of the routes that are given."""

    def __init__(self, *routes: Route) -> None:
        self.given = routes

    def routes(self, batch: Batch, done: float, generator: torch.Generator) -> Sequence[Route]:  # noqa: ARG002
        return self.given


def test_the_ends_of_the_space_and_others_between(digits: Classification) -> None:
    graph = graph_of(digits)
    policy = sandwich(digits, graph, between=3)
    batch = next(iter(digits.loader("train", 8)))
    first, last, *others = policy.routes(batch, 0.5, torch.Generator().manual_seed(0))
    assert (first.architecture["width"], first.architecture["depth"]) == (8, 2)
    assert (last.architecture["width"], last.architecture["depth"]) == (4, 0)
    assert len(others) == 3
    assert len({route.architecture for route in others}) > 1
    again = policy.routes(batch, 0.5, torch.Generator().manual_seed(0))
    assert [r.architecture for r in again] == [r.architecture for r in (first, last, *others)]


def test_others_may_be_a_child_a_sample(digits: Classification) -> None:
    graph = graph_of(digits)
    policy = Sandwich.of(graph.space, digits.spec.input_shape, KeepSchedule(graph.space), between=1)
    batch = next(iter(digits.loader("train", 8)))
    kinds = [type(route) for route in policy.routes(batch, 0.5, torch.Generator().manual_seed(0))]
    assert kinds == [Single, Single, PerInstance]


@pytest.mark.parametrize("distillation", [None, Distillation(1.0)])
def test_a_step_of_the_largest_alone_is_a_plain_step(digits: Classification, distillation: Any) -> None:
    graph = graph_of(digits)
    other, largest = copy.deepcopy(graph), sandwich(digits, graph).largest
    train(graph, digits, OPTIONS, title="t", seed=0, policy=Only(Single(largest)), distillation=distillation)
    train(other, digits, OPTIONS, title="t", seed=0, policy=Fixed(largest))
    assert same(graph, other)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_gradients_of_all_routes_add_up_to_one_step(digits: Classification, weight: float) -> None:
    """Against the step written out, in which the teacher's answer is a constant."""
    graph = graph_of(digits)
    written = copy.deepcopy(graph)
    policy = sandwich(digits, graph, between=1)
    optimiser = torch.optim.SGD(written.parameters(), 0.1)
    generator, losses, count = torch.Generator().manual_seed(seed_of(5, "routes")), 0.0, 0
    written.train()
    for batch in digits.loader("train", 40, seed=5):
        routes = policy.routes(batch, 0.0, generator)
        told = None
        optimiser.zero_grad()
        for route in routes:
            y = written(batch.inputs, route)
            loss = F.cross_entropy(y, batch.targets)
            if told is not None:
                soft = -(told * y.log_softmax(1)).sum(1).mean()
                loss = (1 - weight) * loss + weight * soft
            loss.backward()
            losses += float(loss.detach()) * len(batch.targets) / len(routes)
            told = y.detach().softmax(1) if told is None else told
        optimiser.step()
        count += len(batch.targets)
    found = weight_epoch(
        graph, digits, torch.optim.SGD(graph.parameters(), 0.1), policy=policy, distillation=Distillation(weight),
        batch_size=40, seed=5,
    )  # fmt: skip
    assert found["loss"] == pytest.approx(losses / count, rel=1e-5)
    for ours, theirs in zip(graph.parameters(), written.parameters()):
        torch.testing.assert_close(ours, theirs)


def test_the_target_carries_no_gradient(digits: Classification) -> None:
    """What the largest alone runs moves as by its own loss, however much the others learn from it."""

    def gradient(distillation: Distillation | None, *routes: Route) -> Tensor:
        graph = graph_of(digits)
        optimiser = torch.optim.SGD(graph.parameters(), 0.0)
        batch = 10**6  # one step, whose gradients are still there afterwards
        weight_epoch(
            graph, digits, optimiser, policy=Only(*routes), distillation=distillation, batch_size=batch, seed=0
        )
        weight = graph.net[4][1][0].full.weight.grad  # of the second layer, which depth 1 leaves out
        assert weight is not None
        return weight

    ends = sandwich(digits, graph_of(digits))
    alone = gradient(None, Single(ends.largest))
    together = gradient(Distillation(1.0), Single(ends.largest), Single(ends.smallest), Single(ends.smallest))
    assert alone.any()
    assert torch.equal(alone, together)


def test_a_teacher_of_ones_own_teaches_every_route_and_stays_as_it_is(digits: Classification) -> None:
    graph = graph_of(digits)
    written, largest = copy.deepcopy(graph), sandwich(digits, graph).largest
    teacher = graph.extract(largest)
    before = copy.deepcopy(teacher)
    route = Single(largest)
    weight_epoch(
        graph, digits, torch.optim.SGD(graph.parameters(), 0.1), policy=Only(route),
        distillation=Distillation(0.4, teacher), batch_size=10**6, seed=0,
    )  # fmt: skip
    (batch,) = digits.loader("train", 10**6, seed=0)
    y = written.train()(batch.inputs, route)
    with torch.no_grad():
        told = before.eval()(batch.inputs).softmax(1)
    (0.6 * F.cross_entropy(y, batch.targets) - 0.4 * (told * y.log_softmax(1)).sum(1).mean()).backward()
    with torch.no_grad():
        for p in written.parameters():
            p -= 0.0 if p.grad is None else 0.1 * p.grad
    for ours, theirs in zip(graph.parameters(), written.parameters()):
        torch.testing.assert_close(ours, theirs)
    assert same(teacher, before)


def test_killed_between_epochs_and_gone_on_with_it_ends_the_same(digits: Classification, tmp_path: Path) -> None:
    def run(epochs: int, name: str) -> MetaGraph:
        graph = graph_of(digits)
        checkpoint, more = Checkpoint(tmp_path / name), {"distillation": Distillation(0.5), "title": "t", "seed": 1}
        options = Optimisation(epochs=epochs, batch=32, lr=0.1, decay="constant")
        train(graph, digits, options, policy=sandwich(digits, graph), checkpoint=checkpoint, **more)
        return graph

    whole = run(3, "whole")
    run(1, "cut")
    assert same(run(3, "cut"), whole)


def test_the_small_learn_beside_the_large(digits: Classification) -> None:
    """Of seeds 0 to 2 the smallest ends 0.11 to 0.14 nats lower than where the largest alone is trained."""
    ends = sandwich(digits, graph_of(digits))

    def loss_of_the_smallest(policy: Any) -> float:
        graph = graph_of(digits)
        train(graph, digits, Optimisation(epochs=20, batch=16, lr=0.1), title="t", seed=0, policy=policy)
        with torch.no_grad():
            (batch,) = digits.loader("train", 10**6)
            return float(F.cross_entropy(graph.train()(batch.inputs, Single(ends.smallest)), batch.targets))

    assert loss_of_the_smallest(ends) < loss_of_the_smallest(Fixed(ends.largest)) - 0.05


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_is_a_share(weight: float) -> None:
    with pytest.raises(OptionError, match=rf"distillation has weight {weight:g}; give a share from 0 to 1"):
        Distillation(weight)


def test_a_task_without_soft_targets(digits: Classification) -> None:
    class Hard:
        spec, loss, loader = digits.spec, digits.loss, digits.loader

    graph = graph_of(digits)
    with pytest.raises(OptionError, match="task 'digits' has no soft targets to learn from; set distillation to 0"):
        weight_epoch(
            graph, Hard(), sgd(graph, OPTIONS), policy=sandwich(digits, graph),  # type: ignore[arg-type]
            distillation=Distillation(0.5), batch_size=32, seed=0,
        )  # fmt: skip


def test_below_none_between(digits: Classification) -> None:
    with pytest.raises(OptionError, match="a sandwich has -1 children between its ends; give 0 or more"):
        sandwich(digits, graph_of(digits), between=-1)
