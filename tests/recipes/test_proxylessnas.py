"""The whole of a ProxylessNAS run on little digits, with an arithmetic latency table and a published one."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import archipel
from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.cost import AdditiveCost, Device, LatencyTable, complexity_cost, madds
from archipel.errors import OptionError, SpaceError, TableError
from archipel.nn.blocks import ConvBN, InvertedResidual, Zero, residual
from archipel.progress import SILENT
from archipel.recipes import proxylessnas
from archipel.recipes.proxylessnas import PRESETS, Request, Settings, prepare, run
from archipel.recipes.proxylessnas.finished import Finished
from archipel.recipes.proxylessnas.finished import finished as named
from archipel.recipes.proxylessnas.outcome import sentence_of
from archipel.recipes.proxylessnas.settings import Baselines, Derivation, Joint, Latency, Retraining, Warming
from archipel.recipes.proxylessnas.stages import budgets_of, candidates, slug
from archipel.recipes.proxylessnas.targets import COUNTED, Target, open_targets
from archipel.recipes.study import open_space
from archipel.report import write
from archipel.report.wording import plain
from archipel.run.checkpoint import Checkpoint
from archipel.run.folder import RunFolder
from archipel.sharing import evaluate
from archipel.sharing.alternating import Alternation
from archipel.spaces import instanas
from archipel.tasks import Classification, load

DEVICE = Device("cpu", 1)
SEEDS = 2
SMALL = Settings(
    warming=Warming(epochs=1, reference=1, batch=32, lr=0.05),
    joint=Joint(epochs=2, batch=32, lr=0.05),
    alternation=Alternation(every=2, settling=0, batch=16, lr=0.05),
    derivation=Derivation(budgets=(0.4, 0.8), level=0.7, candidates=3),
    retraining=Retraining(epochs=1, batch=32, lr=0.05),
    baselines=Baselines(mobilenet=()),
    latency=Latency(rounds=2, seconds=1.0),
    penalty=PRESETS["digits"].penalty,
    jobs=replace(PRESETS["digits"].jobs, workers=1),
)


def little(choose: Choose, *, classes: int = 10, channels: int = 1, size: int = 8) -> nn.Module:  # noqa: ARG001
    def block(name: str) -> nn.Module:
        options = {
            "k3e1": lambda: InvertedResidual(8, 8, kernel=3, expand=1),
            "k5e2": lambda: InvertedResidual(8, 8, kernel=5, expand=2),
            "zero": Zero,
        }
        return residual(choose.op(name, options))

    body = [block(f"b{i}") for i in range(3)]
    return nn.Sequential(
        ConvBN(channels, 8, 3, stride=2), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)
    )


def little_task() -> Classification:
    return load("digits", images=160, test_images=40)


@pytest.fixture(scope="module")
def table(arithmetic_table) -> LatencyTable:
    return arithmetic_table(open_space(little_task(), little, SMALL.network), DEVICE)


@pytest.fixture(scope="module")
def phone(table: LatencyTable) -> Callable[..., Target]:
    """A second device at batch 2, whose figures are those of the first, upside down."""

    def make() -> Target:
        units = {key: replace(unit, ms=2 * (0.6 - unit.ms)) for key, unit in table.units.items()}
        return Target("cpu@2", 2, DEVICE, replace(table, units=units, batch=2))

    return make


def _new(path: Path) -> RunFolder:
    return RunFolder.create(path, {"space": f"{__file__}:little"}, "archipel search")


def execute(
    path: Path,
    targets: list[Target],
    *,
    settings: Settings = SMALL,
    task: Classification | None = None,
    seeds: int = 1,
    **more: Any,
) -> dict[str, Any]:
    folder = RunFolder.open(path) if (path / "config.yaml").exists() else _new(path)
    with folder:
        return run(folder, task or little_task(), targets, little, settings, device=DEVICE, seeds=seeds, **more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, table: LatencyTable, phone) -> tuple[Path, dict[str, Any], Classification]:
    path, task = tmp_path_factory.mktemp("run"), little_task()
    return path, execute(path, [Target("cpu", 1, DEVICE, table), phone()], task=task, seeds=SEEDS), task


class TestResult:
    def test_the_file_is_what_run_returns(self, finished) -> None:
        path, result, _ = finished
        assert json.loads((path / "result.json").read_text()) == result

    def test_a_network_of_every_kind_for_every_target_and_budget(self, finished) -> None:
        _, result, _ = finished
        found = {(p["kind"], p["target"], round(p["budget_ms"], 9)) for p in result["points"]}
        for table in result["tables"]:
            assert len(table["budgets_ms"]) == 2
            for budget in table["budgets_ms"]:
                for kind in ("proxylessnas", "random_architecture"):
                    assert (kind, table["target"], round(budget, 9)) in found
        for point in result["points"]:
            assert len(point["accuracy"]["values"]) == SEEDS
            assert 0.0 <= point["accuracy"]["mean"] <= 1.0
            assert point["parameters"] > 0
            assert point["measured_ms"]["mean"] > 0

    def test_budgets_hold_for_the_upper_end_of_the_interval(self, finished) -> None:
        _, result, _ = finished
        for search in result["searches"]:
            for derived in search["derived"]:
                assert derived["low_ms"] <= derived["table_ms"] <= derived["high_ms"] <= derived["budget_ms"] + 1e-9
                assert derived["likeliest"]["table_ms"] <= derived["budget_ms"]
                assert derived["likeliest"]["exact"]

    def test_what_is_derived_is_the_most_probable_within_its_budget(self, finished, table: LatencyTable) -> None:
        _, result, _ = finished
        target = Target("cpu", 1, DEVICE, table)
        space = table.space
        cost = target.cost(space, table, (1, 8, 8)).upper(SMALL.derivation.level)
        for search in (s for s in result["searches"] if s["target"] == "cpu"):
            p = {name: dict(zip(("k3e1", "k5e2", "zero"), values)) for name, values in search["probabilities"].items()}
            for derived in search["derived"]:
                within = [a for a in space if cost.of(a) <= derived["budget_ms"] + 1e-9]
                best = max(within, key=lambda a: sum(torch.tensor(p[n][o]).log().item() for n, o in a.items()))
                assert Architecture.from_json(derived["likeliest"]["architecture"]) == best
                assert derived["likeliest"]["log_probability"] >= derived["log_probability"] - 1e-9

    def test_the_pareto_set_rises(self, finished) -> None:
        _, result, _ = finished
        for search in result["searches"]:
            costs, scores = zip(*search["pareto"])
            assert sorted(costs) == list(costs)
            assert sorted(scores) == list(scores)
            assert search["pareto_size"] >= len(costs)

    def test_random_controls_are_within_their_budget(self, finished) -> None:
        _, result, _ = finished
        for point in result["points"]:
            if point["kind"] == "random_architecture":
                assert all(ms <= point["budget_ms"] for ms in point["table_ms"]["values"])

    def test_the_cross_table_has_each_network_on_each_device(self, finished) -> None:
        _, result, _ = finished
        cross = result["specialisation"]
        assert cross["targets"] == ["cpu", "cpu@2"]
        assert [row["target"] for row in cross["rows"]] == cross["targets"]
        for row in cross["rows"]:
            assert set(row["ms"]) == set(cross["targets"])
            assert all(figure["mean"] > 0 for figure in row["ms"].values())

    def test_every_network_reads_the_test_set_once(self, finished) -> None:
        _, result, task = finished
        assert task.reads["test"] == sum(len(point["accuracy"]["values"]) for point in result["points"])

    def test_curves_have_an_entry_an_epoch(self, finished) -> None:
        _, result, _ = finished
        assert len(result["searches"]) == 2 * SEEDS
        for search in result["searches"]:
            for name in ("loss", "entropy", "expected_cost", "argmax_cost", "val_accuracy"):
                assert len(search[name]) == SMALL.joint.epochs

    def test_what_is_left_is_what_was_finished(self, finished) -> None:
        path, result, _ = finished
        final = sum(len(point["accuracy"]["values"]) for point in result["points"])
        names = [file.stem for file in (path / "checkpoints").iterdir()]
        assert len([name for name in names if name.startswith("final-")]) == final
        assert {name for name in names if not name.startswith("final-")} == {f"warm-up-{s}" for s in range(SEEDS)}


class TestFinishedNetworks:
    def held(self, finished, name: str | None = None) -> Finished:
        path, _, task = finished
        return named(RunFolder.open(path, write=False), task, open_space(task, little, SMALL.network), name)

    def test_it_is_the_network_that_was_judged(self, finished) -> None:
        _, result, _ = finished
        for point in result["points"]:
            places = next(t["budgets_ms"] for t in result["tables"] if t["target"] == point["target"])
            where = min(range(len(places)), key=lambda i: abs(places[i] - point["budget_ms"]))
            label = slug(point["target"])
            for seed, accuracy in enumerate(point["accuracy"]["values"]):
                found = self.held(finished, f"{point['kind']}-{label}-{where}-{seed}")
                assert evaluate(found.network, little_task(), "test").score == pytest.approx(accuracy)
                assert found.space.build(found.architecture).state_dict().keys() == found.network.state_dict().keys()

    def test_they_answer_from_the_folder_alone(self, finished) -> None:
        path, result, _ = finished
        task = little_task()  # the run's counts how often it was read
        (batch,) = task.loader("test", 1000)
        pictures = np.stack([task.image("test", int(i)) for i in batch.index])
        for point in result["points"]:
            kind = f"{point['kind']}-{slug(point['target'])}"
            for seed, accuracy in enumerate(point["accuracy"]["values"]):
                model = archipel.load(path, kind, seed)
                near = min(model.points, key=lambda one: abs(one.ms - point["measured_ms"]["values"][seed]))
                said = model.predict(pictures, near.name)
                assert (said.indices == batch.targets.numpy()).mean() == pytest.approx(accuracy)

    def test_of_several_devices_one_has_to_be_named(self, finished) -> None:
        with pytest.raises(OptionError, match="networks for cpu, cpu@2; name one with --network, such as"):
            self.held(finished)


def kind_of(stage: str) -> str:
    """A stage's or checkpoint's name without the numbers of seeds, budgets and epochs: all of a kind are done alike."""
    return re.sub(r"\d+", "", stage)


def kinds_in(path: Path) -> set[str]:
    """The kinds of stages of a finished run."""
    with RunFolder.open(path, write=False) as folder:
        return {kind_of(stage) for stage in folder.stages}


def test_killed_again_and_again_it_ends_the_same(
    finished,
    table: LatencyTable,
    phone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed,
    assert_first_search_is_that_of,
) -> None:
    """Before a stage of each kind is marked as done, and after the second checkpoint of each kind."""
    met: set[str] = set()
    saved: list[str] = []
    mark_done, save = RunFolder.mark_done, Checkpoint.save

    def dying_mark(folder: RunFolder, stage: str, result: Any) -> dict[str, Any]:
        if kind_of(stage) not in met:
            met.add(kind_of(stage))
            raise killed
        return mark_done(folder, stage, result)

    def dying_save(checkpoint: Checkpoint, parts: Any, meta: Any) -> None:
        save(checkpoint, parts, meta)
        saved.append(kind_of(checkpoint.path.stem))
        if saved.count(saved[-1]) == 2:
            raise killed

    monkeypatch.setattr(RunFolder, "mark_done", dying_mark)
    monkeypatch.setattr(Checkpoint, "save", dying_save)
    for _ in range(300):
        try:
            execute(tmp_path, [Target("cpu", 1, DEVICE, table), phone()])
            break
        except killed:
            continue
    assert met == kinds_in(tmp_path) == kinds_in(finished[0])
    assert_first_search_is_that_of(finished[0], tmp_path)


def test_side_by_side_it_is_the_same(
    finished, table: LatencyTable, phone, tmp_path: Path, assert_first_search_is_that_of
) -> None:
    torch.seed()
    settings = replace(SMALL, jobs=replace(SMALL.jobs, workers=2))
    execute(tmp_path, [Target("cpu", 1, DEVICE, table), phone()], settings=settings)
    assert_first_search_is_that_of(finished[0], tmp_path)


def test_a_finished_run_is_not_done_again(finished, table: LatencyTable, phone) -> None:
    path, result, _ = finished
    task = little_task()
    again = execute(path, [Target("cpu", 1, DEVICE, table), phone()], task=task, seeds=SEEDS)
    assert all(again[key] == result[key] for key in ("points", "searches", "task", "space", "device"))
    assert (task.reads["train"], task.reads["test"]) == (0, 0)


def test_one_target_has_no_cross_table_and_asked_budgets_count(table: LatencyTable, tmp_path: Path) -> None:
    cost = Target("cpu", 1, DEVICE, table).cost(table.space, table, (1, 8, 8)).upper(SMALL.derivation.level)
    low, high = cost.of(cost.cheapest()), cost.of(cost.dearest())
    budget = (low + high) / 2
    settings = replace(SMALL, baselines=replace(SMALL.baselines, random=False, mobilenet=()))
    result = execute(tmp_path, [Target("cpu", 1, DEVICE, table)], settings=settings, budgets=(budget,))
    assert result["specialisation"] is None
    assert [p["budget_ms"] for p in result["points"]] == [pytest.approx(budget)]
    assert result["awareness"]["sentence"].startswith("No control was trained")


def test_a_level_that_the_table_cannot_support_is_lowered_and_said(table: LatencyTable, tmp_path: Path) -> None:
    class Listening(type(SILENT)):  # type: ignore[misc]
        said: ClassVar[list[str]] = []

        def say(self, text: str) -> None:
            self.said.append(text)

    few = replace(table, calibration=replace(table.calibration, residuals=(0.05, -0.01, 0.02)))
    settings = replace(
        SMALL,
        derivation=replace(SMALL.derivation, level=0.95),
        baselines=replace(SMALL.baselines, random=False, mobilenet=()),
    )
    result = execute(tmp_path, [Target("cpu", 1, DEVICE, few)], settings=settings, progress=Listening())
    assert any("3 calibration networks, so budgets hold at 75 %, not 95 %" in text for text in Listening.said)
    for search in result["searches"]:
        for derived in search["derived"]:
            assert derived["high_ms"] == pytest.approx(1.05 * derived["table_ms"])
            assert derived["high_ms"] <= derived["budget_ms"] + 1e-12


def test_without_candidates_the_most_probable_is_taken_as_it_is(table: LatencyTable, tmp_path: Path) -> None:
    settings = replace(
        SMALL,
        derivation=replace(SMALL.derivation, candidates=0),
        baselines=replace(SMALL.baselines, random=False, mobilenet=()),
    )
    result = execute(tmp_path, [Target("cpu", 1, DEVICE, table)], settings=settings)
    for search in result["searches"]:
        for derived in search["derived"]:
            assert derived["architecture"] == derived["likeliest"]["architecture"]
            assert derived["candidates"] == 1


def test_the_widest_mobilenet_within_the_budget_is_trained(table: LatencyTable, tmp_path: Path) -> None:
    settings = replace(SMALL, baselines=replace(SMALL.baselines, random=False, mobilenet=(0.25, 0.5)))
    result = execute(tmp_path, [Target("cpu", 1, DEVICE, table)], settings=settings, budgets=(1e6,))
    (point,) = (p for p in result["points"] if p["kind"] == "mobilenet_v2")
    assert point["width"]["values"] == [0.5]
    assert 0.0 < point["table_ms"]["mean"] < 1e6
    assert point["measured_ms"]["mean"] > 0.0
    assert "MobileNetV2 within the same latency" in result["awareness"]["sentence"]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([0.01, 0.02, 0.015], "a real gain"),
        ([-0.01, -0.02, -0.015], "a real loss"),
        ([0.01, -0.02, 0.015], "not distinguishable from none"),
        ([1e-17, 1e-17, 1e-17], "not distinguishable from none"),
    ],
)
def test_the_sentence_claims_what_the_interval_allows(values: list[float], word: str) -> None:
    def of(kind: str, accuracies: list[float]) -> dict[str, Any]:
        return {"kind": kind, "target": "cpu", "budget_ms": 1.0, "accuracy": {"values": accuracies}}

    points = [of("proxylessnas", [0.5 + v for v in values]), of("random_architecture", [0.5] * 3)]
    assert word in sentence_of(points, 3)


def test_candidates_use_their_budget_up(table: LatencyTable) -> None:
    cost = Target("cpu", 1, DEVICE, table).cost(table.space, table, (1, 8, 8))
    low, high = cost.of(cost.cheapest()), cost.of(cost.dearest())
    for share in (0.3, 0.6, 1.0):
        budget = low + share * (high - low)
        within = [cost.of(a) for a in table.space if cost.of(a) <= budget + 1e-9]
        drawn = candidates(cost, budget, None, 40, random.Random(0))
        assert len(drawn) == 40
        band = next(b for b in (0.98, 0.95, 0.9, 0.75, 0.5, 0.0) if max(within) >= b * budget)
        assert all(band * budget <= cost.of(a) <= budget + 1e-9 for a in drawn)


def test_a_budget_below_the_cheapest_is_refused(table: LatencyTable) -> None:
    cost = Target("cpu", 1, DEVICE, table).cost(table.space, table, (1, 8, 8))
    with pytest.raises(OptionError, match="below the cheapest architecture"):
        budgets_of(cost, (0.5,), (cost.of(cost.cheapest()) * 0.9,))


class TestTargets:
    def space(self):
        return open_space(little_task(), little, SMALL.network)

    def test_batch_sizes(self) -> None:
        one, two = open_targets(["cpu", "cpu@32"], [], 1, self.space(), SILENT)
        assert (one.batch, two.batch) == (1, 32)
        assert (one.label, two.label) == ("cpu", "cpu@32")

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["cpu@many"], "batch size 'many'"),
            (["cpu@0"], "batch size '0'"),
            (["cpu", "cpu"], "named twice"),
            (["cqu"], "unknown device 'cqu'"),
        ],
    )
    def test_mistakes(self, names: list[str], words: str) -> None:
        with pytest.raises(OptionError, match=words):
            open_targets(names, [], 1, self.space(), SILENT)

    def test_a_table_of_none_of_them(self, table: LatencyTable, tmp_path: Path) -> None:
        table.save(tmp_path / "t.json")
        (found,) = open_targets(["cpu"], [str(tmp_path / "t.json")], 1, table.space, SILENT)
        assert found.given is not None
        with pytest.raises(TableError, match="none of cpu@8"):
            open_targets(["cpu@8"], [str(tmp_path / "t.json")], 1, table.space, SILENT)


def test_a_space_of_subsets_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(SpaceError, match="gates are for op choices"):
        prepare(Request(), PRESETS["digits"], little_task(), instanas, SILENT, measured=False)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], AdditiveCost]:
    path = tmp_path_factory.mktemp("counted")
    settings = replace(SMALL, baselines=replace(SMALL.baselines, mobilenet=(0.25, 0.5)))
    cost = complexity_cost(open_space(little_task(), little, settings.network), "madds", (1, 8, 8))
    low, high = cost.of(cost.cheapest()), cost.of(cost.dearest())
    budgets = (low + 0.8 * (high - low), low + 0.4 * (high - low))
    return path, execute(path, [COUNTED], settings=settings, budgets=budgets), cost


class TestCounted:
    """Budgets of multiply-adds, on no device."""

    def test_every_network_is_within_its_budget_exactly(self, counted: Any) -> None:
        _, result, cost = counted
        (table,) = result["tables"]
        assert (table["unit"], table["published"], table["fidelity"]) == ("MAdds", False, None)
        found = [row for search in result["searches"] for row in search["derived"]]
        assert [row["budget_madds"] for row in found[:2]] == table["budgets_madds"] == sorted(table["budgets_madds"])
        for row in found:
            exact = cost.of(Architecture.from_json(row["architecture"]))
            assert row["table_madds"] == row["low_madds"] == row["high_madds"] == exact <= row["budget_madds"]
        own = [p for p in result["points"] if p["kind"] != "mobilenet_v2"]
        assert {p["kind"] for p in own} == {"proxylessnas", "random_architecture"}
        for point in own:
            assert max(point["madds"]["values"]) <= point["budget_madds"]
            assert point["over_budget"]["mean"] == pytest.approx(point["madds"]["mean"] / point["budget_madds"] - 1)
            assert point["measured_ms"] is point["table_ms"] is None
        assert "random architectures of the same number of multiply-adds" in result["awareness"]["sentence"]

    def test_the_page_is_about_multiply_adds(self, counted: Any) -> None:
        path, result, _ = counted
        page = write(path).read_text(encoding="utf-8")
        assert "million multiply-adds per image" in page
        assert "ms per image" not in page
        for budget in result["tables"][0]["budgets_madds"]:
            assert f"≤\u202f{plain(budget / 1e6)}\u202fM MAdds" in page

    def test_its_networks_can_be_used(self, counted: Any) -> None:
        path, result, _ = counted
        with RunFolder.open(path, write=False) as folder:
            found = named(folder, little_task(), open_space(little_task(), little, SMALL.network))
        assert found.name.startswith("proxylessnas-madds-1-")
        assert madds(found.network, (1, 8, 8)) <= result["tables"][0]["budgets_madds"][1]
        model = archipel.load(path, "proxylessnas-madds-budget-1")
        assert madds(model.module(), (1, 8, 8)) <= result["tables"][0]["budgets_madds"][1]
        assert model.at().ms > 0.0  # measured, where no table tells

    def test_nothing_is_measured(self) -> None:
        for more, word in (({"budget_ms": (1.0,)}, "--budget-ms"), ({"table": ("t.json",)}, "--table")):
            with pytest.raises(OptionError, match=f"leave out {word}"):
                Request(budget_madds=(1e6,), **more)
        with pytest.raises(OptionError, match="leave out all devices but one"):
            Request(device=("cpu", "cpu@8"), budget_madds=(1e6,))
        cost = complexity_cost(open_space(little_task(), little, SMALL.network), "madds", (1, 8, 8))
        with pytest.raises(OptionError, match=r"budget 10 MAdds is below the cheapest architecture on 'madds'"):
            budgets_of(cost, (0.5,), (10.0,))


def test_milliseconds_are_of_one_device() -> None:
    with pytest.raises(OptionError, match="--budget-ms is given for 2 devices"):
        Request(device=("cpu", "cpu@8"), budget_ms=(1.0,))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_hold_what_they_ask(preset: str) -> None:
    settings = PRESETS[preset]
    assert settings.joint.epochs >= settings.alternation.settling
    assert proxylessnas.preset_for("digits") == "digits"
