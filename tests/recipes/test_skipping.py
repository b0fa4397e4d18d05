"""Whole runs of the two recipes that leave out blocks, as small as they can be: what they write, repeats, kills."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import archipel
from archipel.cost import Device, LatencyTable
from archipel.deploy import Predictions
from archipel.deploy.export_alone import export_alone
from archipel.deploy.export_forms import export_routed
from archipel.deploy.stored import stored_images
from archipel.errors import OptionError
from archipel.instance.dropping import Curriculum, Joint
from archipel.instance.gated_training import Gating
from archipel.nn import ConvBN, Residual, Zero
from archipel.progress import SILENT
from archipel.recipes import METHODS, blockdrop, convnet_aig
from archipel.recipes.blockdrop.settings import Backbone
from archipel.recipes.settings import Jobs, Latency
from archipel.recipes.skipping.outcome import awareness_of
from archipel.recipes.skipping.settings import Controls, Network
from archipel.recipes.study import open_space
from archipel.run.folder import RunFolder
from archipel.spaces import fbnet, mobilenet_v2_drop, resnet_flat
from archipel.tasks import Classification, load

DEVICE = Device("cpu", 1)
SEEDS = 1
COMMON: dict[str, Any] = {
    "network": Network(blocks=1, width=0.5),
    "controls": Controls(epochs=1, batch=32, pool=2, shuffles=2),
    "latency": Latency(images=2, final_rounds=1, throughput_batch=8),
    "jobs": Jobs(workers=1),
}


@dataclass(frozen=True)
class Tried:
    """A recipe and how it is run here."""

    recipe: ModuleType
    small: Any
    short: Any
    """With one variant."""
    variants: tuple[str, ...]

    @property
    def method(self) -> str:
        return str(self.recipe.__name__).rpartition(".")[2]


DROP = blockdrop.Settings(
    backbone=Backbone(epochs=2, batch=32, lr=0.05),
    curriculum=Curriculum(epochs=3, batch=32, lr=0.01),
    joint=Joint(epochs=1, batch=32, penalties=(1.0, 5.0)),
    **COMMON,
)
GATED = convnet_aig.Settings(gating=Gating(epochs=2, batch=32, lr=0.05, targets=(0.3, 0.7)), **COMMON)
TRIED = (
    Tried(blockdrop, DROP, replace(DROP, joint=replace(DROP.joint, penalties=(1.0,))), ("gamma 1", "gamma 5")),
    Tried(
        convnet_aig, GATED, replace(GATED, gating=replace(GATED.gating, targets=(0.7,))), ("target 0.3", "target 0.7")
    ),
)


def little_task() -> Classification:
    return load("digits", images=120, test_images=40)


@pytest.fixture(scope="module")
def table(arithmetic_table) -> LatencyTable:
    return arithmetic_table(open_space(little_task(), resnet_flat, COMMON["network"]), DEVICE)


@pytest.fixture(scope="module", params=TRIED, ids=lambda tried: tried.method)
def tried(request: pytest.FixtureRequest) -> Tried:
    return request.param


def execute(
    path: Path, tried: Tried, table: LatencyTable | None, *, settings: Any = None, **more: Any
) -> dict[str, Any]:
    """A new run in `path`, or the run there gone on with, everything else made anew."""
    function, task = more.pop("function", resnet_flat), more.pop("task", None) or little_task()
    folder = RunFolder.open(path) if (path / "config.yaml").exists() else RunFolder.create(path, {}, "archipel search")
    with folder:
        return tried.recipe.run(
            folder, task, DEVICE, function, settings or tried.small, table=table, **{"seeds": SEEDS, **more}
        )


@pytest.fixture(scope="module")
def finished(tried: Tried, table: LatencyTable, tmp_path_factory) -> tuple[Path, dict[str, Any], Classification]:
    """A run that nothing disturbed: its folder, result and task."""
    path, task = tmp_path_factory.mktemp(tried.method), little_task()
    return path, execute(path, tried, table, task=task), task


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """What must repeat: everything but dates and what a wall clock said."""
    points = [{k: v for k, v in point.items() if k not in ("measured_ms", "batch_ms")} for point in result["points"]]
    return {"points": points, **{key: result[key] for key in ("awareness", "curves", "alarms", "task", "space")}}


def predicted(model: archipel.Model, task: Classification) -> tuple[float, Predictions]:
    """Accuracy on the test images, and what was said of them."""
    (batch,) = task.loader("test", 1000)
    said = model.predict(np.stack([task.image("test", int(i)) for i in batch.index]))
    return float((said.indices == batch.targets.numpy()).mean()), said


def point(result: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    return next(p for p in result["points"] if (p["kind"], p["name"]) == (kind, name))


class TestResult:
    def test_the_file_is_what_run_returns(self, finished, tried: Tried) -> None:
        path, result, _ = finished
        assert json.loads((path / "result.json").read_text()) == result
        assert result["method"] == tried.method in METHODS
        assert result["title"].endswith("on digits")

    def test_its_networks_answer_from_the_folder_alone(self, finished, tried: Tried) -> None:
        path, result, _ = finished
        task = little_task()  # the run's counts how often it was read
        for p in result["points"]:
            if p["kind"] != "random_policy":
                model = archipel.load(path, f"{p['kind']}-{p['name']}".strip("-"))
                accuracy, said = predicted(model, task)
                assert accuracy == pytest.approx(p["accuracy"]["mean"])
                assert said.latency_ms.mean() == pytest.approx(p["table_ms"]["mean"])
        model = archipel.load(path)
        assert model.kind == tried.method
        assert all(one.accuracy is not None for one in model.points)
        image = task.image("test", 0)
        alone, inputs = model.child(model.predict(image)[0].child), model.inputs(image)
        torch.testing.assert_close(alone(inputs), model.module()(inputs), rtol=1e-4, atol=1e-5)

    def test_decisions_before_the_network_are_exported_with_it(self, finished, tried: Tried, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        path, _, _ = finished
        model = archipel.load(path)
        pixels, _, _ = stored_images(path, model.inputs, 40)
        if tried.method == "blockdrop":
            found = export_routed(model, tmp_path / "network.onnx", pixels, model.at(), timed=False)
            assert found.same_decisions == found.same_answers == 1.0
            export_alone(model, tmp_path / "alone.onnx", pixels, model.at())  # raises where PyTorch says otherwise
            assert (tmp_path / "alone.onnx").is_file()
        else:
            with pytest.raises(OptionError, match=r"decides inside its blocks.*--form frequent or child"):
                export_routed(model, tmp_path / "network.onnx", pixels, model.at())

    def test_every_variant_stands_beside_its_controls(self, finished, tried: Tried) -> None:
        _, result, _ = finished
        found = [(p["kind"], p["name"]) for p in result["points"]]
        assert found == [
            *((tried.method, name) for name in tried.variants),
            ("full_network", ""),
            *(("static_child", name) for name in tried.variants),
            *(("random_policy", name) for name in tried.variants),
        ]
        for p in result["points"]:
            assert len(p["accuracy"]["values"]) == SEEDS
            assert isinstance(p["parameters"], int)
            wanted = {"table_ms", "madds", *({"measured_ms", "batch_ms"} if p["kind"] != "random_policy" else ())}
            if p["kind"] == tried.method:
                wanted |= {"kept", "shuffled_accuracy", "distinct_share", "varying_bits", "latency_spread"}
            assert all(math.isfinite(p[key]["mean"]) for key in wanted), p["name"]

    def test_controls_are_of_equal_cost(self, finished, tried: Tried) -> None:
        """Budgets are means over validation images, points over test images; children come in steps."""
        _, result, _ = finished
        for name in tried.variants:
            own = point(result, tried.method, name)["table_ms"]["values"]
            for static, random, ms in zip(
                *(point(result, kind, name)["table_ms"]["values"] for kind in ("static_child", "random_policy")), own
            ):
                assert static <= ms * 1.1
                assert random == pytest.approx(ms, rel=0.25)

    def test_the_full_network_is_the_dearest(self, finished) -> None:
        _, result, _ = finished
        dearest = point(result, "full_network", "")["madds"]["mean"]
        others = [p["madds"]["mean"] for p in result["points"] if p["kind"] in ("static_child", "random_policy")]
        assert all(madds <= dearest for madds in others)

    def test_every_network_reads_the_test_set_once(self, finished) -> None:
        _, result, task = finished
        assert task.reads["test"] == sum(len(p["accuracy"]["values"]) for p in result["points"])

    def test_rows_of_images_add_up_to_the_points(self, finished, tried: Tried, table: LatencyTable) -> None:
        path, result, task = finished
        with open(path / "architectures.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(tried.variants) * task.splits["test"]
        for name in tried.variants:
            own = [row for row in rows if row["variant"] == name]
            found = point(result, tried.method, name)
            share = sum(row["correct"] == "1" for row in own) / len(own)
            assert share == pytest.approx(found["accuracy"]["values"][0])
            kept = sum(row["architecture"].count("1") for row in own) / len(own)
            assert kept == pytest.approx(found["kept"]["values"][0])
            code = torch.tensor([bit == "1" for bit in own[0]["architecture"]])
            expected = table.predict(table.space.decode(code)) + table.controller_ms
            assert float(own[0]["latency_ms"]) == pytest.approx(expected, rel=1e-5)

    def test_curves_have_an_entry_an_epoch(self, finished, tried: Tried) -> None:
        _, result, _ = finished
        curves = result["curves"]["search"]
        assert [(c["seed"], c["name"]) for c in curves] == [(s, name) for s in range(SEEDS) for name in tried.variants]
        for c in curves:
            assert c["epoch"] == list(range(4 if tried.method == "blockdrop" else 2))
            assert {"map_ms", "val_accuracy", "distinct", "varying_bits"} <= set(c)


class TestRepeats:
    def test_the_seed_and_the_table_decide(self, finished, tried: Tried, table: LatencyTable, tmp_path: Path) -> None:
        """Also side by side in forked processes."""
        torch.seed()
        again = execute(tmp_path, tried, table, settings=replace(tried.small, jobs=Jobs(workers=2)))
        assert figures(again) == figures(finished[1])

    def test_killed_in_every_stage_and_gone_on_with_it_ends_the_same(
        self, finished, tried: Tried, table: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed
    ) -> None:
        met, task = set[str](), little_task()
        mark_done = RunFolder.mark_done

        def dying(folder: RunFolder, stage: str, result: Any) -> dict[str, Any]:
            if stage not in met and tried.variants[1].replace(" ", "-") not in stage:
                met.add(stage)
                raise killed
            return mark_done(folder, stage, result)

        monkeypatch.setattr(RunFolder, "mark_done", dying)
        while True:
            try:
                result = execute(tmp_path, tried, table, task=task)
                break
            except killed:
                assert len(met) < 40
        assert len(met) >= 10
        assert figures(result) == figures(finished[1])
        left = {file.stem for file in (tmp_path / "checkpoints").iterdir()}
        assert left == {file.stem for file in (finished[0] / "checkpoints").iterdir()}
        assert all(name.startswith(("final-", "backbone", "curriculum-0")) for name in left)


def layers(choose, *, classes: int, channels: int) -> nn.Module:
    """As InstaNAS' space: a layer that runs one candidate when none is chosen, and one that is bypassed."""
    kernels = {f"k{k}": (lambda k=k: ConvBN(8, 8, k)) for k in (1, 3)}
    first = choose.subset("l0", kernels, empty="k3", mean=True)
    return nn.Sequential(
        ConvBN(channels, 8, 3, stride=2),
        first,
        Residual(choose.subset("l1", kernels, empty=Zero, mean=True)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )


class TestSpaces:
    """Other spaces than the papers'."""

    FUNCTIONS: ClassVar[dict[str, Callable[..., nn.Module]]] = {"blockdrop": layers, "convnet_aig": mobilenet_v2_drop}

    def test_any_of_subsets(self, tried: Tried, arithmetic_table, tmp_path: Path) -> None:
        function = self.FUNCTIONS[tried.method]
        settings = replace(tried.short, network=Network(width=0.25))
        table = arithmetic_table(open_space(little_task(), function, settings.network), DEVICE)
        result = execute(tmp_path, tried, table, settings=settings, seeds=1, function=function)
        assert {p["kind"] for p in result["points"]} == {tried.method, "full_network", "static_child", "random_policy"}

    def test_others_are_refused_before_anything_is_measured(self, tried: Tried) -> None:
        request = tried.recipe.Request(threads=1)
        with pytest.raises(OptionError, match=r"switches blocks on and off, and choice .* use a space of subsets"):
            tried.recipe.prepare(request, tried.small, little_task(), fbnet, SILENT, measured=False)


class TestPresets:
    def test_all_are_there(self, tried: Tried) -> None:
        assert list(tried.recipe.PRESETS) == ["cpu", "digits", "faithful"]
        assert [tried.recipe.preset_for(data) for data in ("digits", "photos")] == ["digits", "cpu"]
        assert tried.recipe.Request().space == "resnet_flat"


def test_what_it_was_worth_is_said_in_one_sentence() -> None:
    rows = []
    for seed, own in enumerate((0.90, 0.91, 0.92)):
        rows += [
            {"kind": "blockdrop", "name": "a", "seed": seed, "accuracy": own, "shuffled_accuracy": own - 0.03},
            {"kind": "static_child", "name": "a", "seed": seed, "accuracy": own + 0.01},
            {"kind": "random_policy", "name": "a", "seed": seed, "accuracy": own - 0.1 * (seed - 1)},
        ]
    told = awareness_of("blockdrop", rows, 3)["sentence"]
    assert "was worth +3.0 points (95 % interval +3.0 to +3.0, a real effect) of test accuracy at equal latency" in told
    assert "one static network as fast, -1.0 points (95 % interval -1.0 to -1.0, a real loss)" in told
    assert "indistinguishable from none" in told
    assert "one seed tells nothing certain" in awareness_of("blockdrop", rows[:3], 1)["sentence"]
