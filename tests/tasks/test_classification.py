"""What the conformance suite does not ask: spaces and heads, reads, the last batch, options and their errors."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from archipel.errors import DataError, OptionError, SpaceError
from archipel.tasks import Batch, Classification, load
from archipel.tasks.classification import channel_moments


@pytest.fixture(scope="module")
def digits() -> Classification:
    return load("digits", images=100, test_images=20)


class Body(nn.Module):
    def __init__(self, layers: list[nn.Module], out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.out_channels = out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def body_space(choose: Any, *, channels: int = 3, width: int = 4) -> nn.Module:
    kernels = {f"k{k}": lambda k=k: nn.Conv2d(channels, width, k, padding=k // 2) for k in (1, 3)}
    return Body([choose.op("layer", kernels)], width)


def whole_space(choose: Any, *, classes: int = 7, size: int = 32) -> nn.Module:
    layers = {name: lambda: nn.Linear(size * size, classes) for name in ("one", "other")}
    return nn.Sequential(nn.Flatten(), choose.op("layer", layers))


def test_a_space_is_given_what_its_function_takes(digits: Classification) -> None:
    space = digits.space(whole_space)
    assert space.name == "whole_space"
    assert space.options == {"classes": 10, "size": 8}
    inputs = torch.zeros(2, 1, 8, 8)
    assert space.build(space.sample(random.Random(0)))(inputs).shape == (2, 10)
    assert digits.space(whole_space, classes=4).options["classes"] == 4


def test_a_body_gets_pooling_and_a_linear_layer(digits: Classification) -> None:
    space = digits.space(body_space, width=6)
    assert space.name == "body_space"
    assert space.options == {"channels": 1, "width": 6}
    child = space.build(space.sample(random.Random(0)))
    x = torch.randn(2, 1, 8, 8)
    assert torch.allclose(child(x), child.linear(child.body(x).mean((2, 3))))
    assert child(x).shape == (2, 10)


def test_a_body_without_out_channels_is_refused(digits: Classification) -> None:
    def flat(choose: Any) -> nn.Module:  # noqa: ARG001
        return nn.Sequential(nn.Flatten())

    with pytest.raises(SpaceError, match=r"flat has neither a parameter `classes` nor a body with `out_channels`"):
        digits.space(flat)


def test_a_body_with_another_map_is_refused() -> None:
    task = load("digits", images=100, test_images=20)
    model = task.attach(Body([nn.Conv2d(1, 4, 3)], 5))
    with pytest.raises(SpaceError, match=r"\[2, 4, 6, 6\]; its out_channels=5"):
        model(torch.zeros(2, 1, 8, 8))


def test_a_body_that_gives_classes_stays_as_it_is(digits: Classification) -> None:
    body = nn.Linear(3, 10)
    assert digits.attach(body) is body


def test_reads_count_iterations_not_loaders() -> None:
    task = load("digits", images=100, test_images=20)
    loader = task.loader("test", 8)
    assert task.reads["test"] == 0
    list(loader)
    next(iter(loader))
    list(task.calibration(2, 8))
    assert task.reads == {"train": 0, "arch": 0, "val": 0, "test": 2}


def test_a_last_batch_of_one_is_dropped_only_in_training() -> None:
    task = load("digits", images=100, test_images=21)
    assert task.splits["test"] == 21
    assert [len(batch.index) for batch in task.loader("test", 10)] == [10, 10, 1]
    assert [len(batch.index) for batch in task.loader("test", 10, seed=0)] == [10, 10]
    assert len(task.loader("test", 10, seed=0)) == 2
    assert len(list(task.loader("test", 1, seed=0))) == len(task.loader("test", 1, seed=0)) == 21


def test_label_smoothing_is_torch_s(digits: Classification) -> None:
    batch = next(iter(digits.loader("val", 8)))
    output = torch.randn(len(batch.targets), 10)
    loss = digits.loss(output, batch, label_smoothing=0.1)
    assert torch.allclose(loss["total"], functional.cross_entropy(output, batch.targets, label_smoothing=0.1))
    assert torch.allclose(loss["cross_entropy"], functional.cross_entropy(output, batch.targets))


def test_a_metric_is_the_same_however_it_is_batched(digits: Classification) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    results = []
    for batch_size in (1, 7, 100):
        metric = digits.metric()
        for batch in digits.loader("test", batch_size):
            metric.update(model(batch.inputs), batch)
        results.append(metric.compute())
    assert results[0]["score"] == results[1]["score"] == results[2]["score"]
    assert results[0]["cross_entropy"] == pytest.approx(results[2]["cross_entropy"], rel=1e-5)


def test_a_metric_without_samples_is_refused(digits: Classification) -> None:
    with pytest.raises(DataError, match="no sample"):
        digits.metric().compute()


def test_moments_are_those_of_all_pixels() -> None:
    images = torch.randint(0, 256, (1100, 3, 5, 4), dtype=torch.uint8)
    images[:, 2] = 9
    mean, std = channel_moments(images, torch.arange(1000))
    pixels = images[:1000].double().transpose(0, 1).flatten(1)
    assert torch.allclose(mean.double(), pixels.mean(1))
    assert torch.allclose(std[:2].double(), pixels.std(1, correction=0)[:2])
    assert std[2] == 1


@pytest.mark.parametrize(
    ("split", "batch_size", "message"),
    [("tset", 8, "did you mean 'test'"), ("test", 0, "batch_size=0")],
)
def test_a_loader_refuses(digits: Classification, split: str, batch_size: int, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        digits.loader(split, batch_size)


def test_batch_fields() -> None:
    batch = Batch(torch.zeros(1), torch.ones(1), torch.full((1,), 2))
    assert (float(batch.inputs), float(batch.targets), int(batch.index)) == (0, 1, 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digit", {}, "did you mean 'digits'"),
        ("cifar10", {}, "needs root"),
        ("digits", {"root": "."}, "needs no files"),
        ("digits", {"cutout": 4}, "takes no option cutout"),
        ("digits", {"size": 0}, "size=0"),
        ("digits", {"images": 20}, "images=20 is too few: 10 classes in 3 splits need at least 30"),
        ("digits", {"test_images": 0}, "test_images=0"),
        (Path(), {"root": "."}, "is a folder already"),
    ],
)
def test_load_refuses(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load(name, **options)


def test_load_names_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nowhere")


def test_the_size_of_pixels_can_be_chosen() -> None:
    assert load("digits", images=40, test_images=10, size=16).spec.input_shape == (1, 16, 16)


def test_repr_is_for_people(digits: Classification) -> None:
    assert repr(digits) == "Classification(digits: 10 classes, 1×8×8; train 60, arch 20, val 20, test 20)"
