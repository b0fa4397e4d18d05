"""AutoSpace: neural architecture search with less human interference (Zhou et al., ICCV 2021, arXiv 2103.11833).

Not a network is searched for but the space to search in: every block gets a population of cells, small graphs that
evolve and are judged by gradient beside a reference cell, MobileNetV2's. The best of each are the block's options in a
space like any other, a JSON file for `--space`. The authors published no program; what was not published is ours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from archipel.cost import Device
from archipel.errors import OptionError
from archipel.progress import SILENT, Progress
from archipel.recipes import job
from archipel.recipes.autospace.settings import PRESETS, Settings, preset_for
from archipel.recipes.autospace.stages import Study, backbone_of, space_file
from archipel.recipes.opening import here
from archipel.recipes.result import figure, heading
from archipel.recipes.study import open_space
from archipel.run.folder import RunFolder
from archipel.run.jobs import run_jobs
from archipel.space import SpaceFunction
from archipel.spaces import proxyless
from archipel.spaces.evolved import load_space
from archipel.tasks.classification import Classification

__all__ = ["COMMAND", "PRESETS", "Request", "Settings", "backbone_of", "prepare", "preset_for", "run"]

COMMAND = "evolve"


@dataclass(frozen=True)
class Request(job.Request):
    """What an evolution can be asked."""

    space: str = "proxyless"
    """The space whose skeleton cells stand in: proxyless."""
    device: str = "cpu"
    """Cpu, the default, or cuda:0."""
    seeds: int = 1
    """How many spaces are evolved, 1 if not given; each is a file of its own."""

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
    measured: bool,  # noqa: ARG001 - nothing is
) -> job.Prepared:
    """See `archipel.recipes.job.Recipe`."""
    if function is not proxyless:
        raise OptionError(f"cells stand in the skeleton of proxyless, not in '{request.space}'; leave out --space")
    backbone_of(settings, task.spec.input_shape[1])  # a macro-structure that does not exist is told before anything
    device = here(request.device, request.threads, progress)

    def work(folder: RunFolder, progress: Progress) -> dict[str, Any]:
        return run(folder, task, device, settings, seed=request.seed, seeds=request.seeds, progress=progress)

    return job.Prepared(replace(request, device=device.name, threads=device.threads), work)


def run(
    folder: RunFolder,
    task: Classification,
    device: Device,
    settings: Settings,
    *,
    seed: int = 0,
    seeds: int = 1,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Evolve spaces and write the run folder; a run that was stopped goes on.

    Args:
        folder: where everything is kept: `evolved-SEED.json`, and beside each a random space of the same size,
            `random-SEED.json`.
        device: what everything is trained on.
        seeds: how many spaces.

    Returns:
        The content of `result.json`.
    """
    begin = time.monotonic()
    study = Study(folder, task, device, open_space(task, proxyless, settings.network), settings, seed, progress)
    with device.use():
        run_jobs(
            study.jobs(seeds), workers=settings.jobs.side_by_side(device), progress=progress, title="evolution",
            total=float(seeds),
        )  # fmt: skip
    study.space = task.space(load_space(folder.path / space_file("evolved", 0)).function)
    preset = next((name for name, known in PRESETS.items() if known == settings), "own settings")
    rows = [study.done(f"evolution-{own}") for own in range(seeds)]
    result = heading(study, "AutoSpace", preset, time.monotonic() - begin) | {
        "method": "autospace",
        "device": {"name": device.name, "threads": device.threads},
        "points": [],
        "spaces": [
            {**row, "evolved": space_file("evolved", row["seed"]), "random": space_file("random", row["seed"])}
            for row in rows
        ],
        "madds": {kind: figure([row["madds"][kind] for row in rows]) for kind in ("evolved", "random", "reference")},
        "alarms": [
            {
                "kind": "worse than the reference",
                "stage": "evolution",
                "seed": row["seed"],
                "text": "no kept cell was judged better than the reference cell, which the space also holds"
                if settings.evolution.references.keep
                else "no kept cell was judged better than the reference cell",
            }
            for row in rows
            if row["worse_than_reference"]
        ],
    }
    folder.write_json("result.json", result)
    content: dict[str, Any] = folder.read_json("result.json")
    return content
