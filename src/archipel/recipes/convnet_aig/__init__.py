"""ConvNet-AIG: convolutional networks with adaptive inference graphs (Veit and Belongie, ECCV 2018, arXiv 1711.11503).

Every block of a residual network gets a small gate that decides from the block's own input whether to run it. Gates
learn beside the network, from scratch, by straight-through Gumbel samples; a loss holds how often each block runs to a
target. Blocks whose gate is closed for an image are not run for it. Controls say what that was worth.
"""

from __future__ import annotations

import time
from typing import Any

from archipel.cost import Device, LatencyTable
from archipel.progress import SILENT, Progress
from archipel.recipes import job
from archipel.recipes.convnet_aig.settings import PRESETS, Settings, preset_for
from archipel.recipes.convnet_aig.stages import METHOD, Stages, new_gates
from archipel.recipes.skipping.asking import Request, prepared
from archipel.recipes.skipping.running import conclude
from archipel.recipes.skipping.study import Study, latency_table
from archipel.recipes.study import open_space
from archipel.run.folder import RunFolder
from archipel.space import SpaceFunction
from archipel.tasks.classification import Classification

__all__ = ["COMMAND", "PRESETS", "Request", "Settings", "prepare", "preset_for", "run"]

COMMAND = "search convnet_aig"


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
        seeds: how many networks of each target, with controls of their own: what the intervals are over.
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
        stages = Stages(study, latency_table(study, lambda: new_gates(study, study.new_graph())), seeds)
        return conclude(
            study,
            stages.table,
            "ConvNet-AIG",
            stages.jobs(),
            total=stages.weight,
            contestants=stages.contestants,
            deciding=stages.deciding(),
            curves=stages.curves,
            presets=PRESETS,
            seeds=seeds,
            begin=begin,
        )
