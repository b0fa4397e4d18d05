"""The conformance suite, items 6 and 7: on every task a reference network beats chance, one search runs unchanged."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import nn

from archipel.nn import ConvBN
from archipel.sharing import Optimisation, evaluate, train
from archipel.tasks import TASKS, Classification, load

SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "digits": ("", {"images": 400, "test_images": 100}),
    "folder": ("tiny_folder", {}),
    "cifar10": ("tiny_cifar_binary", {}),
    "cifar10 as jpeg": ("tiny_cifar_jpeg", {}),
    "fashion_mnist": ("tiny_idx", {}),
    "mnist": ("tiny_idx", {}),
    "cifar10, real": ("cifar10", {"images": 600, "test_images": 200}),
    "fashion_mnist, real": ("fashion_mnist", {"images": 600, "test_images": 200}),
}


@pytest.fixture(scope="module", params=SOURCES)
def task(request: pytest.FixtureRequest) -> Classification:
    where, options = SOURCES[request.param]
    name = request.param.split()[0].rstrip(",")
    if request.param.endswith("real"):
        options = options | {"root": request.getfixturevalue("real_data") / where}
    elif where:
        options = options | {"root": request.getfixturevalue(where)}
    return load(name, **options)


def test_every_task_is_here() -> None:
    assert {name.split()[0].rstrip(",") for name in SOURCES} == set(TASKS)


def small(choose, *, classes: int, channels: int, size: int) -> nn.Module:
    """Two convolutions of open kernels on pictures of about 8 pixels a side; nothing in it knows the task."""
    shrink = max(1, size // 8)
    options = {f"k{k}": (lambda k=k: ConvBN(16, 16, k)) for k in (1, 3, 5)}
    return nn.Sequential(
        ConvBN(channels, 16, 3, stride=min(2, shrink)),
        nn.AvgPool2d(max(1, shrink // 2)),
        choose.op("first", options),
        choose.op("second", options | {"skip": nn.Identity}),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def trained(task: Classification, network: nn.Module, epochs: int) -> nn.Module:
    train(network, task, Optimisation(epochs=epochs, batch=16, lr=0.05), title="reference", seed=0)
    return network


def test_a_reference_network_beats_chance(task: Classification) -> None:
    """By four standard errors of chance, on the images of all splits it was not trained on, within seconds."""
    torch.manual_seed(0)
    network = trained(task, task.space(small).build({"first": "k3", "second": "k3"}), epochs=12)
    splits = [split for split in task.splits if split != "train"]
    n = sum(task.splits[split] for split in splits)
    score = sum(task.splits[split] * evaluate(network, task, split).score for split in splits) / n
    chance = task.spec.chance
    assert score > chance + 4 * (chance * (1 - chance) / n) ** 0.5


def test_random_search_of_four_samples_runs_unchanged(task: Classification) -> None:
    space, rng = task.space(small), random.Random(0)
    scores: dict[Any, float] = {}
    while len(scores) < 4:
        architecture = space.sample(rng)
        torch.manual_seed(0)
        scores[architecture] = evaluate(trained(task, space.build(architecture), epochs=1), task, "val").score
    best = max(scores, key=lambda architecture: scores[architecture])
    assert best in set(space)
    assert all(type(score) is float and 0.0 <= score <= 1.0 for score in scores.values())
    assert task.reads["test"] <= 1  # by the reference network only
