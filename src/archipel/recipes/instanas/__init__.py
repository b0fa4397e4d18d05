"""InstaNAS: instance-aware neural architecture search (Cheng et al., AAAI 2020, arXiv 1811.10201).

One meta-graph is pre-trained on random children; a controller is then trained by policy gradient to pick an
architecture per image under a latency window that moves from slow to fast, in turns with the weights; a handful of
epochs spread along the validation front become the variants A (accurate) to E (fast) and are fine-tuned. The same
run trains the controls that say what this was worth.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

import torch

from archipel.cost import Device, LatencyTable
from archipel.instance.code_cost import CodeCost
from archipel.metagraph import MetaGraph
from archipel.progress import SILENT, Progress
from archipel.recipes.instanas.controls import mobilenet, random_policy, static_child, union
from archipel.recipes.instanas.judging import contestants, test, time_all
from archipel.recipes.instanas.outcome import result_of, write_instances
from archipel.recipes.instanas.settings import PRESETS, Settings, preset_for
from archipel.recipes.instanas.stages import check_target, fine_tune_variant, latency_table, pretrained, search
from archipel.recipes.instanas.study import Study, open_space
from archipel.run.folder import RunFolder
from archipel.run.jobs import Job, run_jobs
from archipel.space import SpaceFunction
from archipel.tasks.classification import Classification

__all__ = ["PRESETS", "Settings", "open_space", "preset_for", "run"]


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
        check_target(routed, target_ms)
        graph, pretraining = pretrained(study)
        jobs = [job for s in range(seeds) for job in _jobs_of(study, graph, routed, static, s, target_ms)]
        run_jobs(
            sorted(jobs, key=lambda job: -job.weight),  # longest first: both cores end at about the same time
            workers=_workers(settings, device),
            progress=progress,
            title="searches and baselines",
            total=sum(job.weight for job in jobs) + seeds * settings.finetuning.variants * _weight_of_variant(settings),
        )
        del graph
        searches = {s: study.done(f"search-{s}") for s in range(seeds)}
        everyone = []
        for s, found in searches.items():
            everyone += contestants(study, s, found["chosen"], _contrasted(settings, found["chosen"]))
        timed = study.once("timing", lambda: time_all(study, everyone))
        details: dict[str, dict[str, torch.Tensor]] = {}

        def tested() -> dict[str, Any]:
            rows, found = test(study, everyone, routed=routed, static=static)
            details.update(found)
            write_instances(study, details)
            return {"rows": rows}

        scores = study.once("test", tested)["rows"]
    rows = {
        one.key: {"kind": one.kind, "name": one.name, "seed": one.seed, **scores[one.key], **timed.get(one.key, {})}
        for one in everyone
    }
    preset = next((name for name, known in PRESETS.items() if known == settings), "own settings")
    result = result_of(study, measured, rows, pretraining, searches, preset, seconds=time.monotonic() - begin)
    folder.write_json("result.json", result)
    return result


def _jobs_of(
    study: Study, graph: MetaGraph, routed: CodeCost, static: CodeCost, seed: int, target_ms: float | None
) -> list[Job]:
    """What one seed has to do: its search, then for each variant fine-tuning and controls; and MobileNetV2."""
    settings = study.settings

    def searched(progress: Progress) -> None:
        search(study.reporting_to(progress), graph, routed, seed, target_ms)

    def variant(name: str, epoch: int, is_contrasted: bool, progress: Progress) -> None:
        own = study.reporting_to(progress)
        fine_tune_variant(own, seed, name, epoch)
        static_child(own, seed, name, epoch, routed=routed, static=static)
        if is_contrasted and study.has_random_policy:
            random_policy(own, seed, name, epoch, routed=routed, static=static)
        if is_contrasted and study.has_union:
            union(own, seed, name, epoch, static=static)

    def variants() -> list[Job]:
        chosen: dict[str, int] = study.done(f"search-{seed}")["chosen"]
        contrasted = _contrasted(settings, chosen)
        weight = _weight_of_variant(settings)
        return [
            Job(f"variant {name}, seed {seed}", partial(variant, name, epoch, name in contrasted), weight)
            for name, epoch in chosen.items()
        ]

    def trained(width: float, progress: Progress) -> None:
        mobilenet(study.reporting_to(progress), width, seed)

    epochs = settings.pretraining.epochs + settings.search.epochs + settings.finetuning.epochs
    return [
        Job(f"search, seed {seed}", searched, 1.5 * settings.search.epochs, variants),
        *(
            Job(f"MobileNetV2 {width:g}×, seed {seed}", partial(trained, width), 0.2 * epochs)
            for width in settings.baselines.widths
        ),
    ]


def _weight_of_variant(settings: Settings) -> float:
    return 3.0 * settings.finetuning.epochs


def _workers(settings: Settings, device: Device) -> int:
    if settings.jobs.workers:
        return settings.jobs.workers
    return len(os.sched_getaffinity(0)) if device.torch_device.type == "cpu" else 1


def _contrasted(settings: Settings, chosen: dict[str, int]) -> list[str]:
    """The variants that are also compared with their union and with random policies: spread evenly, ends first."""
    names, count = list(chosen), settings.baselines.contrasted
    if count >= len(names):
        return names
    if count < 2:
        return names[:count]
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]
