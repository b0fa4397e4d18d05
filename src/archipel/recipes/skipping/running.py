"""The order of things that both recipes have in common: jobs, timing, test, result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archipel.cost import LatencyTable
from archipel.recipes.instances import write_architectures, write_instances
from archipel.recipes.skipping.deployed import Deciding, manifest_of
from archipel.recipes.skipping.judging import Contestant, forget_details, test, time_all
from archipel.recipes.skipping.outcome import result_of
from archipel.recipes.skipping.study import Study
from archipel.run.jobs import Job, run_jobs

__all__ = ["conclude"]


def conclude(
    study: Study,
    table: LatencyTable,
    title: str,
    jobs: Sequence[Job],
    *,
    total: float,
    contestants: Callable[[], list[Contestant]],
    deciding: Deciding,
    curves: Callable[[], Mapping[str, Any]],
    presets: Mapping[str, Any],
    seeds: int,
    begin: float,
) -> dict[str, Any]:
    """Run the jobs, judge what they left, and write the run's files; returns the content of `result.json`.

    Args:
        total: weight of all jobs, those not yet opened included.
        contestants: every finished network; asked when the jobs are done.
        deciding: how the method's own are rebuilt.
        curves: how the trainings went.
        begin: `time.monotonic()` of the run's beginning.
    """
    workers = study.settings.jobs.side_by_side(study.device)
    run_jobs(jobs, workers=workers, progress=study.progress, title="training", total=total)
    everyone = contestants()
    timed = study.once("timing", lambda: time_all(study, everyone))

    def tested() -> dict[str, Any]:
        decided, static = study.cost(table, decided=True), study.cost(table, decided=False)
        rows, details = test(study, everyone, decided=decided, static=static, workers=workers)
        write_architectures(study, details)
        write_instances(study, details)
        return {"rows": rows}

    scores = study.once("test", tested)["rows"]
    forget_details(study)
    rows = [
        {"kind": one.kind, "name": one.name, "seed": one.seed, **scores[one.key], **timed.get(one.key, {})}
        for one in everyone
    ]
    preset = next((name for name, known in presets.items() if known == study.settings), "own settings")
    seconds = time.monotonic() - begin
    result = result_of(study, table, title, rows, curves(), preset, seeds=seeds, seconds=seconds)
    study.folder.write_json("result.json", result)
    left = manifest_of(study, everyone, scores, deciding, title=result["title"], device=result["device"])
    left.write(study.folder)
    content: dict[str, Any] = study.folder.read_json("result.json")
    return content
