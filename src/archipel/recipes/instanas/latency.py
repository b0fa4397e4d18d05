"""The latency table of a run: measured on its device, or given, and completed with what the run compares."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from archipel.cost import LatencyTable, TableSettings, build, measure_controller, measure_missing
from archipel.errors import OptionError
from archipel.instance.batch_cost import BatchCost, mixed_batches, time_batches
from archipel.instance.code_cost import CodeCost
from archipel.instance.routed_cost import RoutedCost
from archipel.metagraph import MetaGraph
from archipel.nn.fold import fold_for_inference
from archipel.recipes.instanas.controls import with_mobilenets
from archipel.recipes.instanas.exits import with_exits
from archipel.recipes.instanas.settings import Settings
from archipel.recipes.instanas.study import Study
from archipel.space import Space

__all__ = ["Costs", "check_cost", "check_target", "costs_of", "latency_table"]

SIZES = (8, 32)
"""Batches at which tables are measured besides the run's own and the throughput batch."""


@dataclass(frozen=True)
class Costs:
    """What a search, its windows, targets and budgets are counted in."""

    variant: CodeCost
    """Of what a controller picks for a sample of images, the controller included."""
    dealt: CodeCost
    """Of architectures that a sample of images gets without one."""
    static: CodeCost
    """Of architectures each of which is for all images."""
    batch: BatchCost | None = None
    """Of whole batches, where they were measured."""


def costs_of(study: Study, table: LatencyTable) -> Costs:
    """By the table alone, or by the share of a batch (`search.cost`)."""
    alone = study.cost(table, controlled=False)
    if study.settings.search.cost == "table":
        return Costs(study.cost(table, controlled=True), alone, alone)
    size = study.settings.latency.throughput_batch
    others = [_table_at(study, batch) for batch in sorted({*SIZES, size} - {table.batch}) if batch <= size]
    tables = {each.batch: each for each in (table, *others)}
    cost = _fitted(study, list(tables.values()))
    overhead = tables[size].controller_ms or 0.0
    static = study.cost(tables[size], controlled=False)
    return Costs(RoutedCost(cost, size, overhead=overhead), RoutedCost(cost, size), static, cost)


def _table_at(study: Study, batch: int) -> LatencyTable:
    """A table at another batch size, with the controller's entry."""
    path = Path(study.folder.path) / "latency" / "batches" / f"{batch}.json"

    def work() -> dict[str, Any]:
        table = _measured(study, batch)
        table = measure_controller(table, study.device, study.new_controller(0), seed=study.seed_of("controller"))
        table.save(path)
        return {"controller_ms": table.controller_ms}

    study.once(f"latency-{batch}", work)
    return LatencyTable.load(path, space=study.space, device=study.device, batch=batch)


def _fitted(study: Study, tables: list[LatencyTable]) -> BatchCost:
    """Of batches, with what beginning options and moving images costs on this device."""
    graph = fold_for_inference(study.new_graph())
    assert isinstance(graph, MetaGraph)  # a copy
    cost = BatchCost.of(graph, tables)
    shape, seed = study.task.spec.input_shape, study.seed_of("routing")

    def work() -> dict[str, Any]:
        batches = mixed_batches(study.space, cost.sizes[1:], 6, seed)
        timed = time_batches(graph, study.device, batches, shape, seed=seed, progress=study.progress)
        fitted = cost.fitted(timed)
        return {"weights": fitted.weights, "doubt": fitted.doubt}

    done = study.once("routing", work)
    return replace(cost, weights=done["weights"], doubt=done["doubt"])


def _measured(study: Study, batch: int) -> LatencyTable:
    options = study.settings.latency
    return build(
        study.space,
        study.device,
        input_shape=study.task.spec.input_shape,
        batch=batch,
        settings=TableSettings(**{name: getattr(options, name) for name in asdict(TableSettings())}),
        seed=study.seed_of("latency"),
        progress=study.progress,
    )


def latency_table(study: Study) -> LatencyTable:
    """The table of this very device, with the controller's entry; the given one if there is one."""
    path = Path(study.folder.path) / "latency" / "table.json"
    options = study.settings.latency

    def work() -> dict[str, Any]:
        table = study.given_table or _measured(study, options.batch)
        if any(choice.kind == "value" for choice in study.space.choices):  # one entry a layer, of any size it can have
            table = measure_missing(table, study.device, table.covering(), seed=study.seed_of("latency"))
        if table.controller_ms is None:
            table = measure_controller(table, study.device, study.new_controller(0), seed=study.seed_of("controller"))
        table = with_exits(study, with_mobilenets(study, table))
        path.parent.mkdir(parents=True, exist_ok=True)
        table.save(path)
        return {"controller_ms": table.controller_ms}

    study.once("latency", work)
    return LatencyTable.load(path, space=study.space, device=study.device, batch=options.batch)


def check_cost(space: Space, settings: Settings) -> None:
    """Raises OptionError where batches of a space have no cost."""
    values = [choice.name for choice in space.choices if choice.kind == "value"]
    if settings.search.cost == "routed" and values:
        raise OptionError(
            f"search.cost is routed, and choice '{values[0]}' is a value, which no sum over options tells the cost of; "
            "give search.cost table"
        )
    if settings.search.cost == "routed" and settings.latency.throughput_batch < 2:
        raise OptionError("search.cost is routed, and latency.throughput_batch 1 is no batch; give 2 or more")


def check_target(cost: CodeCost, target_ms: float | None) -> None:
    """Raises OptionError for a target that no architecture can meet."""
    if target_ms is None:
        return
    cheapest = cost.of(cost.cheapest())
    if target_ms < cheapest:
        raise OptionError(
            f"target latency {target_ms:g} ms is below the cheapest child with its controller ({cheapest:.3g} ms "
            f"here); give at least {cheapest * 1.001:.3g}"
        )
