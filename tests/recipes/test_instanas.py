"""Whole runs, as small as they can be: what they write, that they repeat, and a kill in every stage."""

from __future__ import annotations

import csv
import json
import math
import operator
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from archipel.cost import Device, LatencyTable
from archipel.deploy.manifest import Manifest
from archipel.errors import OptionError, TableError
from archipel.instance.executors import EXECUTORS
from archipel.instance.options import SearchOptions
from archipel.nn import ConvBN, Residual, Zero, batch_norm2d, conv2d, linear
from archipel.progress import SILENT
from archipel.recipes import skipping
from archipel.recipes.instanas import PRESETS, Request, latency, open_space, prepare, preset_for, run
from archipel.recipes.instanas.savings import MEAN, SLOWEST
from archipel.recipes.instanas.settings import (
    Baselines,
    Exits,
    Finetuning,
    Jobs,
    Latency,
    Network,
    Pretraining,
    Settings,
)
from archipel.recipes.instanas.study import Study
from archipel.report.page import write
from archipel.run.checkpoint import Checkpoint
from archipel.run.folder import RunFolder
from archipel.sharing.distillation import Distillation
from archipel.sharing.policies import KeepSchedule
from archipel.space import Space
from archipel.spaces import instanas
from archipel.tasks import Classification, load

DEVICE = Device("cpu", 1)
SEEDS = 2

SMALL = Settings(
    network=Network(width=0.25),
    pretraining=Pretraining(epochs=2, reference=1, batch=32, lr=0.1),
    search=SearchOptions(epochs=3, batch=32, controller_batch=32, controller_passes=1),
    finetuning=Finetuning(epochs=2, batch=32, variants=2),
    exits=Exits(width=0.25, points=2, epochs=3),
    baselines=Baselines(widths=(0.25, 0.5), epochs=3, pool=2, contrasted=1, shuffles=2, cascades=2),
    latency=Latency(images=2, final_rounds=1, throughput_batch=8),
    jobs=Jobs(workers=1),
)
ALONE = replace(SMALL, exits=Exits(width=0.0), baselines=replace(SMALL.baselines, which="none"))
"""The search, and nothing that it is compared with."""


def layer(choose, name: str) -> nn.Module:
    options = {f"k{k}": (lambda k=k: ConvBN(8, 8, k)) for k in (1, 3)}
    return Residual(choose.subset(name, options, empty=Zero))


def little(choose, *, classes: int, channels: int) -> nn.Module:
    """Three layers with subsets."""
    first = choose.subset("l0", {"k3": lambda: ConvBN(channels, 8, 3, stride=2),
                                 "k5": lambda: ConvBN(channels, 8, 5, stride=2)}, empty="k3")  # fmt: skip
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)]
    return nn.Sequential(first, layer(choose, "l1"), layer(choose, "l2"), *head)


def little_task() -> Classification:
    return load("digits", images=120, test_images=40)


def little_table(arithmetic_table: Callable[..., LatencyTable], **more: Any) -> LatencyTable:
    table = arithmetic_table(open_space(little_task(), little, SMALL.network), DEVICE, **more)
    exits = {"exit 1": 0.3, "exit 2": 0.7, "exit 3": 0.9, "to exit 2": 0.75, "to exit 3": 1.0}
    return table.with_beside({"mobilenet_v2 0.25x": 0.4, "mobilenet_v2 0.5x": 1.2, **exits})


def execute(
    path: Path,
    table: LatencyTable | None,
    *,
    function: Callable[..., nn.Module] = little,
    settings: Settings = SMALL,
    seeds: int = SEEDS,
    task: Classification | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A new run in `path`, or the run there gone on with, everything else made anew."""
    folder = RunFolder.open(path) if (path / "config.yaml").exists() else RunFolder.create(path, {}, "archipel run")
    with folder:
        return run(folder, task or little_task(), DEVICE, function, settings, seeds=seeds, table=table, **more)


@pytest.fixture(scope="module")
def table(arithmetic_table) -> LatencyTable:
    return little_table(arithmetic_table)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, table: LatencyTable) -> tuple[Path, dict[str, Any], Classification]:
    """A run that nothing disturbed: its folder, result and task."""
    path, task = tmp_path_factory.mktemp("run"), little_task()
    return path, execute(path, table, task=task), task


VOLATILE = ("measured_ms", "batch_ms")


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """What must repeat: everything but dates and what a wall clock said."""
    points = [{key: value for key, value in point.items() if key not in VOLATILE} for point in result["points"]]
    kept = {
        key: result[key] for key in ("awareness", "cascades", "curves", "alarms", "fidelity", "task", "space", "device")
    }
    return {"points": points, **kept}


def is_figure(value: Any) -> bool:
    if value is None:
        return True
    return (
        set(value) == {"values", "mean", "low", "high"}
        and all(isinstance(v, float) and math.isfinite(v) for v in value["values"])
        and value["low"] <= value["mean"] <= value["high"]
    )


class TestResult:
    def test_the_file_is_what_run_returns(self, finished) -> None:
        path, result, _ = finished
        assert json.loads((path / "result.json").read_text()) == result

    def test_it_has_what_the_report_reads(self, finished) -> None:
        _, result, task = finished
        assert result["schema"] == 1
        assert result["title"] == "InstaNAS on digits"
        assert result["seconds"] > 0
        assert result["started"] <= result["finished"]
        assert all(set(stage) == {"name", "seconds"} for stage in result["stages"])
        assert {"python", "torch", "platform", "cpu", "threads", "archipel"} <= set(result["environment"])
        assert result["task"]["splits"] == task.splits
        assert result["space"]["size"] == str(3 * 4 * 4)
        assert [choice["name"] for choice in result["space"]["choices"]] == ["l0", "l1", "l2"]
        assert result["device"]["batch"] == 1
        assert len(result["awareness"]["sentence"]) > 40

    def test_every_point_is_made_of_figures(self, finished) -> None:
        _, result, _ = finished
        named = {
            "accuracy", "table_ms", "measured_ms", "batch_ms", "madds", "distinct_share", "effective_number",
            "varying_bits", "latency_spread", "shuffled_accuracy",
        }  # fmt: skip
        of_cascades = {"sent_on", "latency_spread", "shuffled_accuracy"}
        assert len(result["points"]) >= 5
        for point in result["points"]:
            assert all(is_figure(point[key]) for key in named & set(point))
            assert isinstance(point["parameters"], int)
            wanted = {"accuracy", "table_ms", "madds"}
            if point["kind"] == "instanas":
                wanted = named
            if point["kind"] == "early_exit" or point["kind"].endswith("_cascade"):
                wanted |= of_cascades
            if difficulty := point.get("difficulty"):
                assert point["kind"] in ("instanas", "early_exit", "child_cascade")  # the other is part of what judges
                assert all(-1.0 <= rho <= 1.0 for rho in difficulty["values"])
            if point["kind"] != "random_policy":  # nobody serves them
                wanted |= {"measured_ms", "batch_ms"}
            assert all(point.get(key) is not None for key in wanted), point["name"]
            assert 0.0 <= point["accuracy"]["mean"] <= 1.0

    def test_every_kind_is_there(self, finished) -> None:
        _, result, _ = finished
        kinds = [point["kind"] for point in result["points"]]
        static = {"mobilenet_v2", "static_child", "static_union", "static_exit", "random_policy"}
        assert set(kinds) == {"instanas", "early_exit", "mobilenet_cascade", "child_cascade"} | static
        assert kinds.count("static_exit") == 3
        assert kinds.count("static_child") == kinds.count("instanas")
        assert kinds.count("mobilenet_v2") == 2
        assert 1 <= kinds.count("mobilenet_cascade") <= SMALL.baselines.cascades

    def test_static_children_are_no_slower_than_what_they_control(self, finished) -> None:
        _, result, _ = finished
        latency = {(p["kind"], p["name"]): p["table_ms"]["values"] for p in result["points"]}
        for (kind, name), values in latency.items():
            if kind == "static_child":
                # The budget is the mean over validation images, that of the point over test images.
                assert all(ms <= own * 1.1 for ms, own in zip(values, latency["instanas", name]))

    def test_whatever_decides_by_image_is_shuffled_and_compared_at_equal_accuracy(self, finished) -> None:
        _, result, _ = finished
        deciding = {(p["kind"], p["name"]) for p in result["points"] if p.get("shuffled_accuracy")}
        assert {kind for kind, _ in deciding} == {"instanas", "early_exit", "child_cascade", "mobilenet_cascade"}
        assert {(row["kind"], row["name"]) for row in result["awareness"]["rows"]} == deciding
        own = {(row["kind"], row["name"]) for row in result["savings"] if row["name"] not in (MEAN, SLOWEST)}
        assert own == deciding
        for row in result["savings"]:
            for clock in ("measured_ms", "batch_ms"):  # in how many seeds something can be said, a clock decides too
                assert 0 <= row[f"{clock}_seeds"] <= row["seeds"]
                assert (row[clock] is None) == (row[f"{clock}_seeds"] == 0)

    def test_cascades_are_made_of_networks_of_their_seed(self, finished) -> None:
        """Costs lie between those of the first network alone and of both, as many as it is unsure of added."""
        _, result, _ = finished
        latency = {(p["kind"], p["name"]): p["table_ms"]["values"] for p in result["points"]}
        assert {(row["kind"], row["seed"]) for row in result["cascades"]} >= {("mobilenet_cascade", s) for s in (0, 1)}
        assert {row["seed"] for row in result["cascades"] if row["kind"] == "early_exit"} == {0, 1}
        for row in result["cascades"]:
            costs = row["costs_ms"]
            if row["kind"] == "early_exit":  # each goes on from the one before
                assert costs == pytest.approx([0.3, 0.45, 0.25])
            else:
                of = {"mobilenet_cascade": "mobilenet_v2", "child_cascade": "static_child"}[row["kind"]]
                for name, ms in zip(row["networks"], costs, strict=True):  # not every seed has a child of every name
                    assert any(ms == pytest.approx(known) for known in latency[of, name])
                assert costs == sorted(costs)
            assert isinstance(row["committee"], bool)
            assert all(len(gain["weights"]) == 3 for gain in row["gains"] or [])
            assert all(1 / 17 < temperature < 17 for temperature in row["temperatures"])
            along = [(found["val_ms"], found["val_accuracy"]) for found in row["frontier"]]
            assert along == sorted(along)
            assert all(len(found["thresholds"]) == len(row["costs_ms"]) - 1 for found in row["frontier"])
            for name, found in row["points"].items():
                looked = [sum(found["shares"][stage:]) for stage in range(len(costs))]
                assert found["val_ms"] == pytest.approx(sum(map(operator.mul, looked, costs)))
                point = next(p for p in result["points"] if (p["kind"], p["name"]) == (row["kind"], name))
                seeds = [r["seed"] for r in result["cascades"] if r["kind"] == row["kind"] and name in r["points"]]
                here = seeds.index(row["seed"])
                sent, ms = point["sent_on"]["values"][here], point["table_ms"]["values"][here]
                assert costs[0] + sent * costs[1] <= ms + 1e-9
                assert ms <= costs[0] + sent * sum(costs[1:]) + 1e-9
                assert all(network in point["note"] for network in row["networks"])

    def test_curves_have_an_entry_an_epoch(self, finished) -> None:
        _, result, _ = finished
        assert len(result["curves"]["pretraining"]["loss"]) == SMALL.pretraining.epochs
        assert {"epoch", "loss", "val_all_on", "val_random", "keep"} <= set(result["curves"]["pretraining"])
        assert [search["seed"] for search in result["curves"]["search"]] == [0, 1]
        for search in result["curves"]["search"]:
            assert all(len(v) == SMALL.search.epochs for key, v in search.items() if key not in ("seed", "chosen"))
            assert set(search["chosen"].values()) <= set(range(SMALL.search.epochs))

    def test_every_network_reads_the_test_set_once(self, finished) -> None:
        _, result, task = finished
        assert task.reads["test"] == sum(len(point["accuracy"]["values"]) for point in result["points"])


class TestFiles:
    def test_a_row_for_every_test_image_and_variant_of_the_first_seed(self, finished) -> None:
        path, result, task = finished
        with open(path / "architectures.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        variants = result["curves"]["search"][0]["chosen"]
        assert len(rows) == len(variants) * task.splits["test"]
        for name in variants:
            own = [row for row in rows if row["variant"] == name]
            point = next(p for p in result["points"] if (p["kind"], p["name"]) == ("instanas", name))
            share = sum(row["correct"] == "1" for row in own) / len(own)
            assert share == pytest.approx(point["accuracy"]["values"][0])
            mean = sum(float(row["latency_ms"]) for row in own) / len(own)
            assert mean == pytest.approx(point["table_ms"]["values"][0], rel=1e-4)
            assert len({row["architecture"] for row in own}) / len(own) == point["distinct_share"]["values"][0]
            assert all((row["label"] == row["predicted"]) == (row["correct"] == "1") for row in own)

    def test_latency_and_code_belong_together(self, finished, table: LatencyTable) -> None:
        path, _, _ = finished
        with open(path / "architectures.csv", newline="") as file:
            for row in list(csv.DictReader(file))[:10]:
                code = torch.tensor([bit == "1" for bit in row["architecture"]])
                expected = table.predict(table.space.decode(code)) + table.controller_ms
                assert float(row["latency_ms"]) == pytest.approx(expected, rel=1e-5)

    def test_of_the_searches_epochs_only_the_chosen_stay(self, finished) -> None:
        path, result, _ = finished
        kept = {file.stem for file in (path / "checkpoints").glob("search-*-epoch-*")}
        chosen = {(s["seed"], epoch) for s in result["curves"]["search"] for epoch in s["chosen"].values()}
        assert kept == {f"search-{seed}-epoch-{epoch}" for seed, epoch in chosen}

    def test_every_finished_network_stays_and_no_training_on_the_way(self, finished) -> None:
        path, result, _ = finished
        derived = ("early_exit", "static_exit", "mobilenet_cascade", "child_cascade")
        trained = [point for point in result["points"] if point["kind"] not in derived]
        final = sum(len(point["accuracy"]["values"]) for point in trained) + SEEDS  # and the exits, one file a seed
        names = [file.stem for file in (path / "checkpoints").iterdir()]
        assert len([name for name in names if name.startswith("final-")]) == final
        others = {name for name in names if not name.startswith(("final-", "search-"))}
        assert others == {"pretraining"}

    def test_pictures_and_probabilities(self, finished) -> None:
        path, result, task = finished
        tensors, _ = RunFolder.open(path, write=False).read_tensors("instances.safetensors")
        n = task.splits["test"]
        assert tensors["images"].shape == (n, 8, 8, 3)
        assert tensors["images"].dtype == torch.uint8
        assert tensors["label"].equal(task.labels[task.indices["test"]])
        for name in result["curves"]["search"][0]["chosen"]:
            p = tensors[f"probabilities/{name}"]
            assert p.shape == (n, 6)
            assert p.dtype == torch.float32
            assert 0.0 <= float(p.min()) <= float(p.max()) <= 1.0


def kind_of(stage: str) -> str:
    """A stage's or checkpoint's name without the numbers of seeds, budgets and epochs: all of a kind are done alike."""
    return re.sub(r"\d+", "", stage)


def kinds_in(path: Path) -> set[str]:
    """The kinds of stages of a finished run."""
    with RunFolder.open(path, write=False) as folder:
        return {kind_of(stage) for stage in folder.stages}


class TestRepeats:
    def test_the_seed_and_the_table_decide(
        self, finished, table: LatencyTable, tmp_path: Path, assert_first_search_is_that_of
    ) -> None:
        """Also side by side in forked processes."""
        torch.seed()
        execute(tmp_path, table, settings=replace(SMALL, jobs=Jobs(workers=2)), seeds=1)
        assert_first_search_is_that_of(finished[0], tmp_path)

    def test_another_seed_is_another_run(self, finished, table: LatencyTable, tmp_path: Path) -> None:
        other = execute(tmp_path, table, settings=ALONE, seeds=1, seed=1)
        assert other["curves"]["pretraining"] != finished[1]["curves"]["pretraining"]

    def test_killed_in_every_stage_and_gone_on_with_it_ends_the_same(
        self,
        finished,
        table: LatencyTable,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        killed,
        assert_first_search_is_that_of,
    ) -> None:
        """One run, killed again and again: before a stage of each kind is marked as done, and after the second
        checkpoint of each kind."""
        met: set[str] = set()
        taken: list[str] = []
        mark_done, save = RunFolder.mark_done, Checkpoint.save

        def dying_mark(folder: RunFolder, stage: str, result: Any) -> dict[str, Any]:
            if kind_of(stage) not in met:
                met.add(kind_of(stage))
                taken.extend([stage] if stage.startswith("test-") else [])
                raise killed
            return mark_done(folder, stage, result)

        saved: list[str] = []

        def dying_save(checkpoint: Checkpoint, parts: Any, meta: Any) -> None:
            save(checkpoint, parts, meta)
            saved.append(kind_of(checkpoint.path.stem))
            if saved.count(saved[-1]) == 2:
                taken.extend(saved[-1:] if saved[-1].startswith("test-") else [])
                raise killed

        monkeypatch.setattr(RunFolder, "mark_done", dying_mark)
        monkeypatch.setattr(Checkpoint, "save", dying_save)
        deaths = reads = 0
        result = None
        while result is None:
            task = little_task()
            try:
                result = execute(tmp_path, table, task=task, seeds=1)
            except killed:
                deaths += 1
                assert deaths < 200
            reads += task.reads["test"]
        assert met == kinds_in(tmp_path)
        assert deaths > len(met)
        assert_first_search_is_that_of(finished[0], tmp_path)
        judged = sum(len(point["accuracy"]["values"]) for point in result["points"])
        assert judged <= reads <= judged + len(taken)  # only what a kill took is judged again

    def test_a_finished_run_is_not_done_again(self, finished, table: LatencyTable) -> None:
        path, result, _ = finished
        task = little_task()
        again = execute(path, table, task=task)
        assert figures(again) == figures(result)
        assert (task.reads["train"], task.reads["test"]) == (0, 0)
        measured = [[point.get(key) for key in VOLATILE] for point in result["points"]]
        assert [[point.get(key) for key in VOLATILE] for point in again["points"]] == measured


def test_what_an_epoch_without_the_controller_did_not_sample_is_null(table: LatencyTable, tmp_path: Path) -> None:
    settings = replace(ALONE, search=replace(SMALL.search, weights_first=True))
    sampled = execute(tmp_path, table, settings=settings, seeds=1)["curves"]["search"][0]["sampled_ms"]
    assert sampled[0] is None
    assert all(ms > 0 for ms in sampled[1:])


CONDITIONED = replace(
    SMALL,
    search=replace(SMALL.search, conditioned=True, reward="constrained"),
    exits=ALONE.exits,
    baselines=replace(SMALL.baselines, widths=(0.25,), cascades=0),
)


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory, table: LatencyTable) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("conditioned")
    return path, execute(path, table, settings=CONDITIONED, seeds=1)


class TestConditioned:
    """One search and one fine-tuning for all variants."""

    def test_variants_are_targets(self, conditioned, table: LatencyTable) -> None:
        (search,) = conditioned[1]["curves"]["search"]
        asked = search["asked"]
        assert asked["target_ms"] == sorted(asked["target_ms"], reverse=True)
        cheapest = min(table.predict(architecture) for architecture in table.space) + table.controller_ms
        assert asked["target_ms"][-1] == pytest.approx(cheapest)
        assert set(search["targets"].values()) <= set(asked["target_ms"])
        assert len(search["multiplier"]) == CONDITIONED.search.epochs
        variants = {p["name"] for p in conditioned[1]["points"] if p["kind"] == "instanas"}
        assert variants == set(search["targets"])

    def test_there_is_one_network_and_every_control(self, conditioned) -> None:
        path, result = conditioned
        names = {file.stem for file in (path / "checkpoints").iterdir()}
        assert {name for name in names if name.startswith("final-instanas")} == {"final-instanas-all-0"}
        assert {name for name in names if name.startswith("search")} == {"search-0", "search-0-epoch-2"}
        kinds = [point["kind"] for point in result["points"]]
        tested = [row["kind"] for row in result["awareness"]["rows"]]
        assert kinds.count("static_child") == kinds.count("instanas") == tested.count("instanas")
        assert {"static_union", "random_policy", "mobilenet_v2"} <= set(kinds)

    def test_killed_in_the_stages_that_differ_it_ends_the_same(
        self, conditioned, table: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed
    ) -> None:
        met: set[str] = set()
        mark_done, save = RunFolder.mark_done, Checkpoint.save

        def dying_mark(folder: RunFolder, stage: str, result: Any) -> dict[str, Any]:
            if f"mark {stage}" not in met and stage.startswith(("search", "finetuning")):
                met.add(f"mark {stage}")
                raise killed
            return mark_done(folder, stage, result)

        def dying_save(checkpoint: Checkpoint, parts: Any, meta: Any) -> None:
            save(checkpoint, parts, meta)
            stage = checkpoint.path.stem
            if stage in ("search-0", "finetuning-0-all") and f"save {stage}" not in met:
                met.add(f"save {stage}")
                raise killed

        monkeypatch.setattr(RunFolder, "mark_done", dying_mark)
        monkeypatch.setattr(Checkpoint, "save", dying_save)
        deaths = 0
        while deaths < 10:
            try:
                result = execute(tmp_path, table, settings=CONDITIONED, seeds=1)
                break
            except killed:
                deaths += 1
        assert met == {f"{when} {stage}" for when in ("save", "mark") for stage in ("search-0", "finetuning-0-all")}
        assert figures(result) == figures(conditioned[1])


class TestTarget:
    def test_one_variant_meets_it(self, finished, table: LatencyTable, tmp_path: Path) -> None:
        searches = finished[1]["curves"]["search"]
        target = sorted(searches[0]["map_ms"])[0] + 1e-6
        result = execute(tmp_path, table, settings=ALONE, seeds=1, target_ms=target)
        search = result["curves"]["search"][0]
        assert search["map_ms"] == searches[0]["map_ms"]
        assert any(search["map_ms"][epoch] <= target for epoch in search["chosen"].values())
        assert "target missed" not in {alarm["kind"] for alarm in result["alarms"]}

    def test_a_search_that_never_gets_there_says_so(self, table: LatencyTable, tmp_path: Path) -> None:
        cheapest = min(table.predict(architecture) for architecture in table.space) + table.controller_ms
        result = execute(tmp_path, table, settings=ALONE, seeds=1, target_ms=cheapest * 1.0001)
        assert [alarm["kind"] for alarm in result["alarms"]].count("target missed") == 1

    def test_one_that_nothing_can_meet_is_refused_before_any_training(
        self, table: LatencyTable, tmp_path: Path
    ) -> None:
        cheapest = min(table.predict(architecture) for architecture in table.space) + table.controller_ms
        task = little_task()
        with pytest.raises(OptionError, match=r"target latency .* ms is below the cheapest child"):
            execute(tmp_path, table, task=task, target_ms=cheapest * 0.99)
        assert task.reads["train"] == 0


def test_a_table_of_another_space_is_refused(arithmetic_table, tmp_path: Path) -> None:
    def other(choose, *, classes: int, channels: int) -> nn.Module:
        return little(choose, classes=classes, channels=channels)

    foreign = arithmetic_table(open_space(little_task(), other, SMALL.network), DEVICE)
    with pytest.raises(TableError, match="is of another space"):
        execute(tmp_path, foreign)


class TestOwnSpaces:
    """A user's own function, with the other verbs; nothing is asked of it but `classes` and `channels`."""

    QUICK = replace(
        SMALL,
        pretraining=replace(SMALL.pretraining, epochs=1),
        exits=Exits(width=0.0),
        baselines=replace(SMALL.baselines, widths=(0.25,), cascades=0),
        finetuning=replace(SMALL.finetuning, epochs=1),
        latency=Latency(
            images=1, final_rounds=1, throughput_batch=4, cover=1, probed=4, calibrating=9, held_out=3, rounds=2
        ),
    )

    @staticmethod
    def ops(choose, *, classes: int, channels: int) -> nn.Module:
        def nested() -> nn.Module:
            return nn.Sequential(ConvBN(8, 8, 3), choose.op("inner", {"k1": lambda: ConvBN(8, 8), "skip": nn.Identity}))

        return nn.Sequential(
            ConvBN(channels, 8, 3, stride=2),
            choose.op("outer", {"k3": lambda: ConvBN(8, 8, 3), "nested": nested}),
            choose.op("last", {"k1": lambda: ConvBN(8, 8), "k3": lambda: ConvBN(8, 8, 3), "skip": nn.Identity}),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, classes),
        )

    @staticmethod
    def values(choose, *, classes: int, channels: int) -> nn.Module:
        first, second = choose.value("first", [4, 6, 8]), choose.value("second", [4, 6, 8])
        kernel = choose.value("kernel", [1, 3])
        block = choose.subset("block", {"k1": lambda: ConvBN(8, 8), "k3": lambda: ConvBN(8, 8, 3)}, empty=nn.Identity)
        return nn.Sequential(
            conv2d(channels, first, 3, stride=2), batch_norm2d(first), nn.ReLU(),
            conv2d(first, second, kernel), batch_norm2d(second), nn.ReLU(),
            conv2d(second, 8), nn.BatchNorm2d(8), block,
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(8, classes),
        )  # fmt: skip

    def test_op_choices(self, arithmetic_table, tmp_path: Path) -> None:
        space = little_task().space(self.ops)
        result = execute(tmp_path, arithmetic_table(space, DEVICE), function=self.ops, settings=self.QUICK, seeds=1)
        kinds = {point["kind"] for point in result["points"]}
        assert kinds == {"instanas", "static_child", "dearest_child", "random_policy", "mobilenet_v2"}
        assert result["space"]["size"] == "9"

    @pytest.mark.parametrize(("asked", "of_ops", "of_subsets"), [(None, 3, 0), (0, 0, 0), (2, 2, 2)])
    def test_the_largest_child_learns_first_where_nothing_is_ever_all_on(
        self, asked: int | None, of_ops: int, of_subsets: int, tmp_path: Path
    ) -> None:
        settings = replace(SMALL, pretraining=replace(SMALL.pretraining, epochs=6, reference=asked))
        task = little_task()
        with RunFolder.create(tmp_path / "run", {}, "archipel run") as folder:
            for function, epochs in ((self.ops, of_ops), (little, of_subsets)):
                study = Study(folder, task, DEVICE, task.space(function), settings, 0, SILENT)
                assert study.reference_epochs == epochs

    def test_value_choices_and_a_table_measured_here(self, tmp_path: Path, monkeypatch) -> None:
        """More layers can occur (18 of the second alone) than there are networks that the table is made with (16).

        And every network of a variant is fine-tuned on the same soft targets, after a pre-training of sandwiches.
        """
        learnt: Counter[tuple[float, bool, bool]] = Counter()
        plainly = Distillation.loss

        def noting(self: Distillation, task: Any, output: Any, batch: Any, soft: Any, **more: Any) -> Any:
            learnt[self.weight, self.teacher is None, soft is None] += 1
            return plainly(self, task, output, batch, soft, **more)

        monkeypatch.setattr(Distillation, "loss", noting)
        settings = replace(
            self.QUICK,
            pretraining=replace(self.QUICK.pretraining, sandwich=1, distillation=1.0),
            finetuning=replace(self.QUICK.finetuning, distillation=0.5),
        )
        result = execute(tmp_path, None, function=self.values, settings=settings, seeds=1)
        steps = math.ceil(little_task().splits["train"] / 32)
        controlled = sum(point["kind"] != "mobilenet_v2" for point in result["points"])
        assert learnt[1.0, True, True] == steps, "the largest child learns from labels"
        assert learnt[1.0, True, False] == 2 * steps, "the smallest and one between from the largest"
        assert learnt[0.5, False, False] == controlled * steps
        kinds = {point["kind"] for point in result["points"]}
        assert kinds == {"instanas", "static_child", "dearest_child", "random_policy", "mobilenet_v2"}
        assert all(point["madds"]["mean"] > 0 for point in result["points"])
        latency = {(p["kind"], p["name"]): p["table_ms"]["mean"] for p in result["points"]}
        variants = [name for kind, name in latency if kind == "dearest_child"]
        assert all(latency["dearest_child", name] <= latency["instanas", name] * 2 for name in variants)

    def test_inputs_choices(self, arithmetic_table, tmp_path: Path) -> None:
        class Cell(nn.Module):
            def __init__(self, node: nn.Module) -> None:
                super().__init__()
                self.first, self.second, self.node = ConvBN(8, 8), ConvBN(8, 8, 3), node

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                first = self.first(x)
                return self.node([x, first, self.second(first)])

        def cells(choose, *, classes: int, channels: int) -> nn.Module:
            edges = [lambda: ConvBN(8, 8), nn.Identity, nn.Identity]
            body = [Cell(choose.inputs(f"node{i}", edges, k=2)) for i in range(2)]
            head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)]
            return nn.Sequential(ConvBN(channels, 8, 3, stride=2), *body, *head)

        table = arithmetic_table(little_task().space(cells), DEVICE)
        result = execute(tmp_path, table, function=cells, settings=self.QUICK, seeds=1)
        assert {"instanas", "random_policy", "dearest_child"} <= {point["kind"] for point in result["points"]}


class TestRoutedCost:
    """`--search.cost routed`."""

    def test_what_is_searched_for_is_a_share_of_a_batch(
        self, table: LatencyTable, arithmetic_table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a machine where a batch takes no longer than an image, n images are n times as fast."""

        def build(space: Space, device: Device, *, batch: int, **_: Any) -> LatencyTable:
            return arithmetic_table(space, device, batch=batch)

        monkeypatch.setattr(latency, "build", build)
        monkeypatch.setattr(latency, "measure_controller", lambda made, *_, **__: made)
        settings = replace(TestOwnSpaces.QUICK, search=replace(SMALL.search, cost="routed"))
        result = execute(tmp_path, table, settings=settings, seeds=1)
        searched, (first, *_) = result["curves"]["search"][0], result["points"]
        dearest = max(table.predict(architecture) for architecture in table.space) + table.controller_ms
        assert 0 < max(searched["map_ms"]) < first["table_ms"]["mean"] < dearest  # points stay with the table
        kept = {file.name for file in (tmp_path / "latency" / "batches").iterdir()}
        assert kept == {"4.json"}
        assert set(json.loads((tmp_path / "stages" / "routing.json").read_text())["weights"]) == set(EXECUTORS)

    def test_sizes_have_no_such_cost(self) -> None:
        settings = replace(TestOwnSpaces.QUICK, search=replace(SMALL.search, cost="routed"))
        with pytest.raises(OptionError, match=r"search.cost is routed, and choice 'first' is a value"):
            prepare(Request(threads=1), settings, little_task(), TestOwnSpaces.values, SILENT, measured=False)


class TestBaselines:
    """`--baselines all|static|none`."""

    QUICK = replace(TestOwnSpaces.QUICK, finetuning=replace(TestOwnSpaces.QUICK.finetuning, variants=1))

    def test_none_leaves_the_search_alone(self, table: LatencyTable, tmp_path: Path) -> None:
        settings = replace(self.QUICK, baselines=replace(SMALL.baselines, which="none"))
        result = execute(tmp_path, table, settings=settings, seeds=1)
        assert {point["kind"] for point in result["points"]} == {"instanas"}
        assert "was worth" in result["awareness"]["sentence"]

    def test_early_exits_alone_leave_the_search_out(self, table: LatencyTable, tmp_path: Path) -> None:
        settings = replace(self.QUICK, exits=replace(SMALL.exits, alone=True))
        result = execute(tmp_path, table, settings=settings, seeds=1)
        kinds = {point["kind"] for point in result["points"]}
        assert kinds == {"early_exit", "static_exit", "mobilenet_v2"}
        assert not [stage for stage in kinds_in(tmp_path) if stage in ("pretraining", "search", "finetuning")]
        assert "Early exits" in result["title"]
        assert "InstaNAS" not in result["awareness"]["sentence"]
        page = write(tmp_path).read_text()
        assert 'id="exits"' in page
        assert not [words for words in ('id="distribution"', "Not in the run folder") if words in page]
        with RunFolder.open(tmp_path, write=False) as folder:
            assert {family.kind for family in Manifest.read(folder).families} == kinds

    @pytest.fixture
    def everything(self, monkeypatch: pytest.MonkeyPatch, arithmetic_table) -> Settings:
        def build(space: Space, device: Device, **_: Any) -> LatencyTable:
            return replace(arithmetic_table(space, device), controller_ms=None)

        monkeypatch.setattr(skipping.study, "build", build)
        return replace(self.QUICK, baselines=Baselines("all", "resnet_flat", (0.25,), 2, 1, 2, 0))

    def test_all_of_them_stand_in_one_table(self, everything: Settings, table: LatencyTable, tmp_path: Path) -> None:
        """Also killed in the middle of each other method, and gone on with: then nothing is trained twice."""
        met, trained = list[str](), list[str]()
        mark_done = RunFolder.mark_done

        def dying(folder: RunFolder, stage: str, result: Any) -> dict[str, Any]:
            if folder.path.name in ("blockdrop", "convnet_aig"):
                if folder.path.name not in met and stage.startswith(("joint", "gates")):
                    met.append(folder.path.name)
                    raise KeyboardInterrupt
                trained.append(f"{folder.path.name}/{stage}")
            return mark_done(folder, stage, result)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunFolder, "mark_done", dying)
            for _ in range(3):
                with suppress(KeyboardInterrupt):
                    result = execute(tmp_path, table, settings=everything, seeds=1)
        assert met == ["blockdrop", "convnet_aig"]
        assert len(trained) == len(set(trained))
        points = {(point["kind"], point["name"]): point for point in result["points"]}
        variants = {("blockdrop", f"gamma {g:g}") for g in (2, 5)} | {
            ("convnet_aig", f"target {t:g}") for t in (0.4, 0.6)
        }
        assert variants <= points.keys()
        for key in variants:
            wanted = ("accuracy", "table_ms", "measured_ms", "batch_ms", "madds", "distinct_share")
            assert all(is_figure(points[key][name]) and points[key][name] for name in wanted)
            assert points[key]["accuracy"]["values"] == points[key]["accuracy"]["values"][:1]
        assert [kind for kind, _ in points][0] == "instanas"  # noqa: RUF015
        assert not list((tmp_path / "checkpoints").glob("test-*"))

    def test_a_network_with_nothing_to_leave_out_is_refused_before_anything(self) -> None:
        settings = replace(self.QUICK, baselines=replace(SMALL.baselines, which="all"))
        words = r"baselines.skipping is mobilenet_v2_drop, which has 2 layers .* give baselines.skipping resnet_flat"
        with pytest.raises(OptionError, match=words):
            prepare(Request(threads=1), settings, little_task(), instanas, SILENT, measured=False)


class TestPresets:
    def test_the_faithful_one_is_the_released_programs(self) -> None:
        """Sections 2 to 4 of the method."""
        released = PRESETS["faithful"]
        space = Space(little, classes=10, channels=1)
        options = released.pretraining
        schedule = KeepSchedule(space, final=options.keep_final, start=options.keep_start, spread=options.keep_spread)
        assert options.epochs == 164
        assert [schedule.keep(e / options.epochs) for e in (1, 82, 123, 164)] == [1.0, 1.0, 0.75, 0.5]
        assert not schedule.spread
        assert [options.lr_at(d) for d in (0.0, 0.5, 0.75)] == pytest.approx([0.01, 0.001, 0.0001])
        search = released.search
        assert (search.alpha, search.beta, search.entropy, search.samples) == ((0.8, 0.8), (0.8, 0.8), "half", 1)
        assert (search.positive, search.negative, search.kappa, search.baseline) == (30.0, 0.0, 1.0, "self_critical")
        assert (search.epochs, search.lr, search.lr_decay_epochs, search.weight_lr) == (500, 5e-4, 100, 5e-4)
        assert (search.weight_momentum, search.weight_decay, search.diversity) == (0.0, 0.0, 0.0)
        assert (search.window, search.controller_split, search.select_split) == ("released", "train", "test")
        assert (search.controller, search.recalibrate, search.shuffle_policies) == ("resnet", False, True)
        assert (released.finetuning.epochs, released.finetuning.lr, released.finetuning.weight_decay) == (
            300,
            1e-3,
            4e-5,
        )
        assert (released.network.shortcut, released.network.width) == ("per_op", 1.0)

    @pytest.mark.parametrize("name", PRESETS)
    def test_every_other_one_selects_on_validation_images(self, name: str) -> None:
        search = PRESETS[name].search
        if name != "faithful":
            assert (search.controller_split, search.select_split) == ("arch", "val")

    def test_preset_for(self) -> None:
        assert preset_for("digits") == "digits"
        assert preset_for("some/folder") in PRESETS


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        (Pretraining, {"epochs": 0}, r"pretraining\.epochs is 0"),
        (Pretraining, {"keep_final": 1.5}, r"pretraining\.keep_final is 1\.5"),
        (Pretraining, {"sandwich": -1}, r"pretraining\.sandwich is -1; give 0 or more"),
        (Pretraining, {"reference": -1}, r"pretraining\.reference is -1; give 0 or more"),
        (
            Pretraining,
            {"distillation": 0.5},
            r"pretraining\.distillation is 0\.5, .* give pretraining\.sandwich",
        ),
        (Pretraining, {"sandwich": 2, "distillation": 1.5}, r"pretraining\.distillation is 1\.5; give a share"),
        (Finetuning, {"distillation": -1.0}, r"finetuning\.distillation is -1; give a share from 0 to 1"),
        (Finetuning, {"variants": 26}, r"finetuning\.variants is 26; give 1 to 25"),
        (Finetuning, {"batch": 1}, r"finetuning\.batch is 1"),
        (Jobs, {"workers": -1}, r"jobs\.workers is -1"),
        (Exits, {"alone": True, "width": 0.0}, r"exits\.alone leaves the search out"),
        (Baselines, {"cascades": 26}, r"baselines\.cascades is 26; give 0 to 25"),
    ],
)
def test_settings_that_cannot_be_are_named(part: type, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        part(**changes)
