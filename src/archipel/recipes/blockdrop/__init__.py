"""BlockDrop: dynamic inference paths in residual networks (Wu et al., CVPR 2018, arXiv 1711.08393).

A residual network is trained with every block; a small policy network then learns by policy gradient which blocks an
image can do without, one more block free in each epoch, from the end; policy and network are trained together for each
cost γ of a wrong answer. Blocks that an image does without are not run for it. Controls say what that was worth.
"""

from __future__ import annotations

import time
from typing import Any

from archipel.cost import Device, LatencyTable
from archipel.progress import SILENT, Progress
from archipel.recipes import job
from archipel.recipes.blockdrop.settings import PRESETS, Settings, preset_for
from archipel.recipes.blockdrop.stages import METHOD, Stages, new_policy
from archipel.recipes.skipping.asking import Request, prepared
from archipel.recipes.skipping.running import conclude
from archipel.recipes.skipping.study import Study, latency_table
from archipel.recipes.study import open_space
from archipel.run.folder import RunFolder
from archipel.space import SpaceFunction
from archipel.tasks.classification import Classification

__all__ = ["COMMAND", "PRESETS", "Request", "Settings", "prepare", "preset_for", "run"]

COMMAND = "search blockdrop"


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
    return prepared(run, METHOD, request, settings, task, function, progress, measured=measured)


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
) -> dict[str, Any]:
    """Train, compare, and write the run folder; a run that was stopped goes on.

    Args:
        folder: where everything is kept; stages it already holds are not done again.
        device: what latency is measured on and everything runs on.
        space_function: `resnet_flat`, or any other whose choices are subsets.
        seeds: how many policies, each with joint trainings and controls of its own: what the intervals are over.
        table: a latency table of this device to use instead of measuring one.

    Returns:
        The content of `result.json`.

    Raises:
        OptionError: a choice of the space is no subset.
    """
    begin = time.monotonic()
    space = open_space(task, space_function, settings.network)
    study = Study(folder, task, device, space, settings, seed, progress, METHOD, table)
    with device.use():
        stages = Stages(study, latency_table(study, lambda: new_policy(study, 0)), seeds)
        return conclude(
            study,
            stages.table,
            "BlockDrop",
            stages.jobs(),
            total=stages.weight,
            contestants=stages.contestants,
            deciding=stages.deciding(),
            curves=stages.curves,
            presets=PRESETS,
            seeds=seeds,
            begin=begin,
        )
