"""The latency table of a run: measured on its device, or given, and completed with what the run compares."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from archipel.cost import LatencyTable, TableSettings, build, measure_controller, measure_missing
from archipel.errors import OptionError
from archipel.instance.code_cost import CodeCost
from archipel.recipes.instanas.controls import with_mobilenets
from archipel.recipes.instanas.study import Study

__all__ = ["check_target", "latency_table"]


def latency_table(study: Study) -> LatencyTable:
    """The table of this very device, with the controller's entry; the given one if there is one."""
    path = Path(study.folder.path) / "latency" / "table.json"
    options = study.settings.latency

    def work() -> dict[str, Any]:
        table = study.given_table
        if table is None:
            settings = TableSettings(**{name: getattr(options, name) for name in asdict(TableSettings())})
            table = build(
                study.space,
                study.device,
                input_shape=study.task.spec.input_shape,
                batch=options.batch,
                settings=settings,
                seed=study.seed_of("latency"),
                progress=study.progress,
            )
        if any(choice.kind == "value" for choice in study.space.choices):  # one entry a layer, of any size it can have
            table = measure_missing(table, study.device, table.covering(), seed=study.seed_of("latency"))
        if table.controller_ms is None:
            table = measure_controller(table, study.device, study.new_controller(0), seed=study.seed_of("controller"))
        table = with_mobilenets(study, table)
        path.parent.mkdir(parents=True, exist_ok=True)
        table.save(path)
        return {"controller_ms": table.controller_ms}

    study.once("latency", work)
    return LatencyTable.load(path, space=study.space, device=study.device, batch=options.batch)


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
