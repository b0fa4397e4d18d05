"""A finished run answers as it did when it was judged, from its folder alone."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import archipel
from archipel.deploy.forms import Controlled, Escalating
from archipel.deploy.loading import model_names
from archipel.deploy.manifest import FILE
from archipel.errors import ArchipelError, OptionError, RunError
from archipel.nn.exits import Exits


@pytest.fixture(scope="module")
def models(finished: Any) -> dict[str, archipel.Model]:
    """Every family of the run."""
    first = archipel.load(finished.path)
    kinds = [family.kind for family in first.manifest.families]
    return {kind: archipel.load(finished.path, kind) for kind in kinds}


@pytest.mark.parametrize(("kind", "file"), [("early_exit", "exits.csv"), ("instanas", "architectures.csv")])
def test_it_says_of_every_test_image_what_the_run_said(finished: Any, models: Any, kind: str, file: str) -> None:
    with open(finished.path / file, newline="") as lines:
        rows = list(csv.DictReader(lines))
    for name in {row["variant"] for row in rows}:
        own = sorted((row for row in rows if row["variant"] == name), key=lambda row: int(row["index"]))
        said = models[kind].predict(finished.images, name)
        assert list(said.labels) == [row["predicted"] for row in own]
        children = [f"exit {row['exit']}" if kind == "early_exit" else row["architecture"] for row in own]
        assert list(said.children) == children
        assert said.latency_ms == pytest.approx([float(row["latency_ms"]) for row in own], rel=1e-4)


def test_what_the_run_reports_first_answers_if_none_is_named(finished: Any) -> None:
    model = archipel.load(finished.path)
    assert (model.kind, model.seed, model.at().name) == ("early_exit", 0, "A")
    assert model.classes == tuple("0123456789")
    assert repr(model).startswith("Model(early_exit, seed 0: 10 classes, ")


def test_every_model_answers_and_its_children_say_the_same(finished: Any, models: Any) -> None:
    """What answered an image, taken out and asked again, gives the same answer: the answers are that network's."""
    inputs = models["early_exit"].inputs(finished.images)
    kinds = {"early_exit", "static_exit", "instanas", "static_child", "static_union", "mobilenet_v2"}
    assert kinds <= models.keys()
    for model in models.values():
        said = model.predict(finished.images)
        assert said.probabilities.shape == (40, 10)
        assert said.probabilities.sum(1) == pytest.approx(np.ones(40), abs=1e-5)
        logits = model.module()(inputs)
        assert torch.equal(logits.argmax(1), torch.from_numpy(said.indices))
        if getattr(model.family, "rule", {}).get("committee"):
            continue  # there they answer together
        for name in set(said.children):
            rows = [i for i, child in enumerate(said.children) if child == name]
            with torch.no_grad():
                alone = model.child(name)(inputs[rows])
            assert alone.argmax(1).tolist() == said.indices[rows].tolist()


def test_a_target_latency_moves_along_the_whole_frontier(models: Any, finished: Any) -> None:
    model = models["early_exit"]
    assert len(model.points) > len([point for point in model.points if point.name])
    accuracies = []
    for point in model.points:
        found = model.at(point.ms)
        assert found.ms <= point.ms
        accuracies.append(found.accuracy)
    assert accuracies == sorted(accuracies)
    fastest = model.predict(finished.images, model.points[0].ms)
    assert set(fastest.children) == {"exit 1"}
    assert fastest.latency_ms == pytest.approx(np.full(40, model.points[0].ms))


def test_a_static_familys_target_is_the_slowest_that_keeps_to_it(models: Any) -> None:
    model = models["mobilenet_v2"]
    fast, slow = model.points
    assert model.at(slow.ms) is slow
    assert model.at((fast.ms + slow.ms) / 2) is fast


def test_one_point_by_name(finished: Any) -> None:
    assert archipel.load(finished.path, "mobilenet_v2-0.25x").at().name == "0.25x"
    assert archipel.load(finished.path, "static_exit-2").predict(finished.images[:1])[0].child == "2"
    names = model_names(archipel.load(finished.path).manifest)
    assert {"early_exit", "early_exit-A", "mobilenet_v2-0.5x", "static_exit-3"} <= set(names)


def test_what_it_is_made_of_is_there_for_others(models: Any) -> None:
    exits, controlled = models["early_exit"].form, models["instanas"].form
    assert isinstance(exits, Escalating)
    assert isinstance(exits.stages, Exits)
    assert exits.rule["costs_ms"] == list(exits.cascade(models["early_exit"].at()).costs_ms)
    assert isinstance(controlled, Controlled)
    point = models["instanas"].at()
    logits, codes = controlled.network(point).answer(torch.zeros(2, 1, 8, 8))
    assert codes.shape == (2, controlled.space.width)
    assert controlled.controller(point)(torch.zeros(2, 1, 8, 8)).shape == codes.shape
    assert logits.shape == (2, 10)


def test_one_prediction(finished: Any, models: Any) -> None:
    said = models["early_exit"].predict(finished.images[:3])
    assert len(said) == len(list(said)) == 3
    assert said[1].label == said.labels[1] == said.classes[said[1].index]
    assert said[1].probability == said.probabilities[1].max()


class TestMistakes:
    @pytest.mark.parametrize(
        ("model", "seed", "said"),
        [
            ("early_exits", None, "has no model 'early_exits'.*did you mean 'early_exit'"),
            ("mobilenet_v2-1x", None, "has no model 'mobilenet_v2-1x'"),
            ("instanas", 3, "has instanas of the seeds 0; seed 3 is none"),
        ],
    )
    def test_a_wrong_name(self, finished: Any, model: str, seed: int | None, said: str) -> None:
        with pytest.raises(OptionError, match=said) as error:
            archipel.load(finished.path, model, seed)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("target", "said"),
        [(1e-9, "below the fastest point of early_exit.*give at least"), ("Z", "early_exit has no point 'Z' \\(A")],
    )
    def test_what_no_point_is(self, models: Any, target: float | str, said: str) -> None:
        with pytest.raises(OptionError, match=said):
            models["early_exit"].at(target)

    def test_a_child_that_is_none(self, models: Any) -> None:
        with pytest.raises(OptionError, match=r"no network 'exit 9' \(exit 1, exit 2"):
            models["early_exit"].child("exit 9")
        with pytest.raises(OptionError, match="give 6 digits 0 and 1"):
            models["instanas"].child("11")

    @pytest.mark.parametrize(
        ("device", "said"),
        [("cpuu", "unknown device 'cpuu'.*did you mean 'cpu'"), ("onnxruntime", "only times networks")],
    )
    def test_a_device_that_is_none(self, finished: Any, device: str, said: str) -> None:
        with pytest.raises(OptionError, match=said):
            archipel.load(finished.path, device=device)

    def test_no_run_an_old_one_and_a_damaged_one(self, finished: Any, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="there is no such folder"):
            archipel.load(tmp_path / "none")
        copy = tmp_path / "run"
        shutil.copytree(finished.path, copy, ignore=shutil.ignore_patterns("*.safetensors"))
        with pytest.raises(OptionError, match="were removed from the run"):
            archipel.load(copy)
        content = json.loads((copy / FILE).read_text())
        for changed, said in (
            ({**content, "schema": 9}, "another version"),
            ({**content, "families": [{"kind": "early_exit"}]}, "is damaged"),
        ):
            (copy / FILE).write_text(json.dumps(changed))
            with pytest.raises(RunError, match=said):
                archipel.load(copy)
        (copy / FILE).unlink()
        with pytest.raises(ArchipelError, match=r"holds no deploy.json: its run has not ended") as error:
            archipel.load(copy)
        assert "\n" not in str(error.value)

    def test_a_space_that_is_no_more_where_it_was(self, finished: Any, tmp_path: Path) -> None:
        copy = tmp_path / "run"
        shutil.copytree(finished.path, copy)
        content = (copy / FILE).read_text().replace("own.py:little", "gone.py:little")
        (copy / FILE).write_text(content)
        with pytest.raises(ArchipelError, match="gone"):
            archipel.load(copy, "instanas")
        assert archipel.load(copy).kind == "early_exit"  # which needs it not
