"""The conformance suite every task must pass (items 1 to 5); a new entry of `TASKS` needs a source here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from archipel.tasks import SPLITS, TASKS, Batch, Classification, Metric, load

SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "digits": ("", {}),
    "folder": ("tiny_folder", {}),
    "cifar10": ("tiny_cifar_binary", {}),
    "cifar10 as jpeg": ("tiny_cifar_jpeg", {"cutout": 8}),
    "fashion_mnist": ("tiny_idx", {}),
    "mnist": ("tiny_idx", {}),
    "cifar10, real": ("cifar10", {"images": 400, "test_images": 100}),
    "fashion_mnist, real": ("fashion_mnist", {"images": 400, "test_images": 100}),
}

Open = Callable[..., Classification]


@pytest.fixture(scope="module", params=SOURCES)
def open_task(request: pytest.FixtureRequest) -> Open:
    where, options = SOURCES[request.param]
    name = request.param.split()[0].rstrip(",")
    if request.param.endswith("real"):
        options = options | {"root": request.getfixturevalue("real_data") / where}
    elif where:
        options = options | {"root": request.getfixturevalue(where)}
    return lambda **more: load(name, **options | more)


@pytest.fixture(scope="module")
def task(open_task: Open) -> Classification:
    return open_task()


def samples(task: Classification, split: str) -> list[bytes]:
    return [row.numpy().tobytes() for row in task.images[task.indices[split]]]


def test_every_task_is_here() -> None:
    assert {name.split()[0].rstrip(",") for name in SOURCES} == set(TASKS)


def test_every_task_says_in_one_line_what_it_is() -> None:
    for task in TASKS.values():
        assert len((inspect.getdoc(task) or "").splitlines()[0]) > 20


def test_splits_are_disjoint_and_not_empty(task: Classification) -> None:
    inputs = {split: set(samples(task, split)) for split in SPLITS}
    assert list(task.splits) == list(SPLITS)
    assert all(task.splits.values())
    for i, one in enumerate(SPLITS):
        for other in SPLITS[i + 1 :]:
            assert not inputs[one] & inputs[other], (one, other)


def test_splits_hold_every_class(task: Classification) -> None:
    for split in SPLITS:
        assert set(task.labels[task.indices[split]].tolist()) == set(range(len(task.spec.classes)))


def test_splits_are_the_same_for_equal_seeds(open_task: Open) -> None:
    one, same, other = open_task(seed=3), open_task(seed=3), open_task(seed=4)
    assert all(samples(one, split) == samples(same, split) for split in SPLITS)
    assert samples(one, "train") != samples(other, "train")


@pytest.mark.parametrize("split", SPLITS)
def test_a_loader_without_a_seed_gives_every_sample_in_order(task: Classification, split: str) -> None:
    loader = task.loader(split, 7)
    batches = list(loader)
    assert len(batches) == len(loader) == -(-task.splits[split] // 7)
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(task.splits[split]))
    assert torch.cat([batch.targets for batch in batches]).equal(task.labels[task.indices[split]])
    inputs = torch.cat([batch.inputs for batch in batches])
    assert inputs.equal(task.normalise(task.images[task.indices[split]]))
    assert inputs.shape[1:] == task.spec.input_shape
    assert inputs.dtype == torch.float32


@pytest.mark.parametrize("split", SPLITS)
def test_a_seed_alone_decides_a_loader(open_task: Open, split: str) -> None:
    task, again = open_task(), open_task()
    list(again.loader("train", 5, seed=9))
    torch.manual_seed(0)
    first = list(task.loader(split, 8, seed=1))
    torch.manual_seed(1)
    second = list(again.loader(split, 8, seed=1))
    assert all(a.inputs.equal(b.inputs) and a.index.equal(b.index) for a, b in zip(first, second))
    assert not torch.cat([a.index for a in first]).equal(torch.cat([b.index for b in task.loader(split, 8, seed=2)]))


@pytest.mark.parametrize("split", SPLITS)
def test_only_train_and_arch_are_augmented(task: Classification, split: str) -> None:
    plain = torch.cat([batch.inputs for batch in task.loader(split, 16)])
    changed = any(not batch.inputs.equal(plain[batch.index]) for batch in task.loader(split, 16, seed=0))
    assert changed == (split in ("train", "arch"))


def test_train_is_normalised(task: Classification) -> None:
    inputs = torch.cat([batch.inputs for batch in task.loader("train", 64)])
    channels = inputs.transpose(0, 1).flatten(1)
    assert channels.mean(1).abs().max() < 1e-3
    assert (channels.std(1) - 1).abs().max() < 1e-3


def test_a_small_body_overfits_one_batch(task: Classification) -> None:
    torch.manual_seed(0)
    batch = next(iter(task.loader("train", 16)))
    inputs = int(np.prod(task.spec.input_shape))
    body = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, len(task.spec.classes)))
    model = task.attach(body)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(150):
        loss = task.loss(model(batch.inputs), batch)["total"]
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < losses[0] / 10


def test_perfect_answers_have_the_highest_score(task: Classification) -> None:
    metric: Metric = task.metric()
    for batch in task.loader("test", 32):
        metric.update(50 * nn.functional.one_hot(batch.targets, len(task.spec.classes)).float(), batch)
    assert metric.compute() == {"score": 1.0, "cross_entropy": pytest.approx(0, abs=1e-6)}


def test_random_answers_score_at_chance(task: Classification) -> None:
    generator = torch.Generator().manual_seed(0)
    metric, n = task.metric(), 0
    while n < 4000:
        for batch in task.loader("test", 64):
            metric.update(torch.randn(len(batch.targets), len(task.spec.classes), generator=generator), batch)
            n += len(batch.targets)
    spread = (task.spec.chance * (1 - task.spec.chance) / n) ** 0.5
    assert abs(metric.compute()["score"] - task.spec.chance) < 4 * spread


def test_the_loss_of_nothing_is_finite_and_differentiable(task: Classification) -> None:
    output = torch.zeros(0, len(task.spec.classes), requires_grad=True)
    nothing = Batch(torch.zeros(0, *task.spec.input_shape), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    loss = task.loss(output, nothing)["total"]
    loss.backward()
    assert float(loss.detach()) == 0


def test_the_score_is_a_float_that_repeats(task: Classification) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(task.spec.input_shape)), len(task.spec.classes)))
    scores = []
    for _ in range(2):
        metric = task.metric()
        for batch in task.loader("val", 10):
            metric.update(model(batch.inputs), batch)
        scores.append(metric.compute())
    assert scores[0] == scores[1]
    assert all(type(value) is float for value in scores[0].values())


def test_calibration_gives_unlabelled_unaugmented_train_batches(task: Classification) -> None:
    n = task.splits["train"] // 10 + 2  # more than one pass
    batches = list(task.calibration(n, 10))
    assert [tuple(batch.shape) for batch in batches] == [(10, *task.spec.input_shape)] * n
    plain = torch.cat([batch.inputs for batch in task.loader("train", 64)])
    wanted = torch.arange(n * 10) % task.splits["train"]
    assert torch.cat(batches).equal(plain[wanted])


def test_pictures_can_be_looked_at(task: Classification) -> None:
    picture = task.image("test", task.splits["test"] - 1)
    assert picture.dtype == np.uint8
    assert picture.shape == (*task.spec.input_shape[1:], 3)
