"""InstaNAS: instance-aware neural architecture search (Cheng et al., AAAI 2020, arXiv 1811.10201).

One meta-graph is pre-trained on random children; a controller is then trained by policy gradient to pick an
architecture per image under a latency window that moves from slow to fast, in turns with the weights; a handful of
epochs spread along the validation front become the variants A (accurate) to E (fast) and are fine-tuned. The same
run trains the controls that say what this was worth.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from archipel.cost import Device, LatencyTable
from archipel.instance.controller_training import check_estimator
from archipel.progress import SILENT, Progress
from archipel.recipes import job
from archipel.recipes.instanas.cascade import cascades
from archipel.recipes.instanas.deployed import manifest_of
from archipel.recipes.instanas.exits import early_exits, exits_space
from archipel.recipes.instanas.judging import Contestant, contestants, forget_details, test
from archipel.recipes.instanas.latency import check_cost, check_target, costs_of, latency_table
from archipel.recipes.instanas.outcome import result_of
from archipel.recipes.instanas.plan import Plan
from archipel.recipes.instanas.rivals import backbone, rivals
from archipel.recipes.instanas.settings import PRESETS, Settings, preset_for
from archipel.recipes.instanas.stages import pretrained
from archipel.recipes.instanas.study import Study
from archipel.recipes.instanas.timing import time_all
from archipel.recipes.instances import write_architectures, write_exits, write_instances
from archipel.recipes.opening import open_device
from archipel.recipes.study import macro_of, open_space
from archipel.run.folder import RunFolder
from archipel.run.jobs import run_jobs
from archipel.space import SpaceFunction
from archipel.tasks.classification import Classification

__all__ = ["COMMAND", "PRESETS", "Request", "Settings", "open_space", "prepare", "preset_for", "run"]

COMMAND = "run"


@dataclass(frozen=True)
class Request(job.Request):
    """What an instance-aware search can be asked."""

    device: str = "cpu"
    """Cpu, the default, or cuda:0."""
    target_ms: float | None = None
    """Only look for networks of at most so many milliseconds."""
    table: str | None = None
    """A latency table measured before on this device (see "archipel latency build")."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Device.parse(self.device, self.threads).for_training()


def prepare(
    request: Request,
    settings: Settings,
    task: Classification,
    function: SpaceFunction,
    progress: Progress,
    *,
    measured: bool,
) -> job.Prepared:
    """See `archipel.recipes.job.Recipe`."""
    file = Path(request.table) if request.table is not None and not measured else None
    space = open_space(task, function, settings.network)
    check_cost(space, settings)
    check_estimator(space, settings.search)
    if settings.exits.any:
        exits_space(task, settings, macro_of(space, settings.network))
    if settings.baselines.which == "all":
        backbone(task, macro_of(space, settings.network), settings)
    device, table = open_device(
        request.device, request.threads, file, space=space, batch=settings.latency.batch, progress=progress
    )

    def work(folder: RunFolder, progress: Progress) -> dict[str, Any]:
        return run(
            folder,
            task,
            device,
            function,
            settings,
            seed=request.seed,
            seeds=request.seeds,
            progress=progress,
            table=table,
            target_ms=request.target_ms,
        )

    return job.Prepared(replace(request, device=device.name, threads=device.threads), work)


def run(
    folder: RunFolder,
    task: Classification,
    device: Device,
    space_function: SpaceFunction,
    settings: Settings,
    *,
    seed: int = 0,
    seeds: int = 3,
    progress: Progress = SILENT,
    table: LatencyTable | None = None,
    target_ms: float | None = None,
) -> dict[str, Any]:
    """Search, fine-tune, compare, and write the run folder; a run that was stopped goes on.

    Args:
        folder: where everything is kept; stages it already holds are not done again.
        device: what latency is measured on and everything runs on.
        space_function: `instanas`, or a user's own.
        seeds: how many controller searches, each with controls of its own: what the intervals are over.
        table: a latency table of this device to use instead of measuring one. Two runs with one table and seed agree.
        target_ms: a latency in milliseconds an image, controller included, that one variant of each search meets;
            an alarm says where a search never got there.

    Returns:
        The content of `result.json`.

    Raises:
        OptionError: `target_ms` is below the cheapest child.
        TableError: the table is not of this device, space or batch size.
    """
    begin = time.monotonic()
    space = open_space(task, space_function, settings.network)
    study = Study(folder, task, device, space, settings, seed, progress, table)
    with device.use():
        measured = latency_table(study)
        routed, static = study.cost(measured, controlled=True), study.cost(measured, controlled=False)
        costs = costs_of(study, measured)
        check_target(costs.variant, target_ms)
        against = rivals(study, seeds)
        plan = Plan(study, costs, seeds, target_ms, against)
        alone = settings.exits.alone
        if device.threads > 1 and not alone:
            pretrained(study)  # alone it may use all threads of the device; as a job it has one
        run_jobs(
            plan.jobs(),
            workers=plan.workers,
            progress=progress,
            title="training, searches, baselines",
            total=plan.weight,
        )
        searches = {} if alone else {s: study.done(f"search-{s}") for s in range(seeds)}
        everyone = []
        for s in range(seeds):
            chosen = {} if alone else searches[s]["chosen"]
            everyone += contestants(study, measured, s, chosen, plan.contrasted(chosen))
            everyone += early_exits(study, measured, s, target_ms)
        everyone += cascades(study, everyone, workers=plan.workers, target_ms=target_ms)
        left = [(rival, rival.contestants()) for rival in against]
        deciding = {one.key: one.network for _, networks in left for one in networks}
        timed = study.once("timing", lambda: time_all(study, everyone, deciding, costs.batch))

        def tested() -> dict[str, Any]:
            rows, details = test(study, everyone, routed=routed, static=static, workers=plan.workers)
            routed_by = {kind: _of_kind(everyone, details, kind) for kind in ("instanas", "early_exit")}
            if not alone:
                write_architectures(study, routed_by["instanas"])
            if settings.exits.any:
                write_exits(study, routed_by["early_exit"])
            write_instances(study, routed_by["early_exit" if alone else "instanas"])
            return {"rows": rows}

        scores = study.once("test", tested)["rows"]
        forget_details(study)
        for rival, networks in left:
            scores |= rival.test(networks, plan.workers)
    finished = [(one.key, one.kind, one.name, one.seed) for one in everyone]
    finished += [(one.key, one.kind, one.name, one.seed) for _, networks in left for one in networks]
    rows = {
        key: {"kind": kind, "name": name, "seed": own, **scores[key], **timed.get(key, {})}
        for key, kind, name, own in finished
    }
    preset = next((name for name, known in PRESETS.items() if known == settings), "own settings")
    pretraining = None if alone else study.done("pretraining")
    result = result_of(study, measured, rows, pretraining, searches, preset, seconds=time.monotonic() - begin)
    manifest_of(study, everyone, rows, result["device"], result["title"], costs.batch).write(folder)
    folder.write_json("result.json", result)
    content: dict[str, Any] = folder.read_json("result.json")
    return content


def _of_kind(
    everyone: Sequence[Contestant], details: Mapping[str, Mapping[str, Tensor]], kind: str
) -> dict[str, Mapping[str, Tensor]]:
    """What is kept of single images, by variant."""
    return {one.name: details[one.key] for one in everyone if one.kind == kind and one.key in details}
