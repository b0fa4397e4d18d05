"""A search by trials: any strategy, any space, every network trained on its own.

The plainest way to search, and the one that all others are measured by: a strategy asks for an architecture, its
network is trained from scratch, and the strategy is told what it came to. Trainings that are not worth it are given up
(Baker et al., arXiv 1705.10823). What was found is trained again, longer, beside a random architecture. The trials are
in an Optuna study in the run folder.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archipel.cost import Device, LatencyTable
from archipel.errors import OptionError, did_you_mean
from archipel.evaluators import Objective, rule
from archipel.progress import SILENT, Progress
from archipel.recipes import job
from archipel.recipes.opening import open_device
from archipel.recipes.study import open_space
from archipel.recipes.trials.outcome import names_of, result_of
from archipel.recipes.trials.settings import PRESETS, Settings, preset_for
from archipel.recipes.trials.stages import LATENCY, OBJECTIVES, Study, latency_table, retrain, search_stage
from archipel.run.folder import RunFolder
from archipel.space import Space, SpaceFunction
from archipel.strategies import strategy
from archipel.tasks.classification import Classification

__all__ = ["COMMAND", "PRESETS", "Request", "Settings", "prepare", "preset_for", "run"]

COMMAND = "search trials"


@dataclass(frozen=True)
class Request(job.Request):
    """What a search by trials can be asked."""

    space: str = "nasbench201"
    """A search space (see "archipel spaces") or your own function, file.py:function."""
    strategy: str = "bayesian"
    """Who chooses what is tried: a name, with settings behind it, such as regularised_evolution,population=10; a
    sampler of Optuna, optuna:TPESampler; or a predictor in the loop, predictor:ridge."""
    trials: int = 40
    """How many architectures are tried, 40 if not given."""
    objectives: tuple[str, ...] = ("accuracy",)
    """What for: accuracy, the default, and any of latency, madds and parameters beside it."""
    device: str = "cpu"
    """What trains and what latency is of: cpu, the default, or cuda:0."""
    table: str | None = None
    """A latency table measured before on this device (see "archipel latency build")."""
    seeds: int = 1
    """How many searches are made, 1 if not given; each is a study of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Device.parse(self.device, self.threads).for_training()
        for name in self.objectives:
            if name not in OBJECTIVES:
                raise OptionError(
                    f"there is no objective '{name}' ({', '.join(OBJECTIVES)}){did_you_mean(name, OBJECTIVES)}"
                )
        if self.objectives[:1] != ("accuracy",) or len(set(self.objectives)) < len(self.objectives):
            raise OptionError(
                f"objectives are '{' '.join(self.objectives)}'; give accuracy first, and each of the others once"
            )
        if self.table is not None and "latency" not in self.objectives:
            raise OptionError("--table is of latency, which is no objective here; give --objectives accuracy latency")


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
    space = open_space(task, function, settings.network)
    objectives = tuple(OBJECTIVES[name] for name in request.objectives)
    if request.trials > space.size:
        raise OptionError(f"trials is {request.trials}, and space '{space.name}' has {space.size}; give that or fewer")
    strategy(request.strategy, space, objectives=len(objectives))  # a mistake in either is told before anything is made
    rule(settings.stopping, objectives=len(objectives))
    threads = request.threads or (1 if settings.jobs.workers > 1 else None)
    file = Path(request.table) if request.table is not None and not measured else None
    device, table = open_device(request.device, threads, file, space=space, batch=1, progress=progress)
    found = replace(request, device=device.name, threads=device.threads)

    def work(folder: RunFolder, progress: Progress) -> dict[str, Any]:
        return run(folder, task, device, space, settings, found, table=table, progress=progress)

    return job.Prepared(found, work)


def run(
    folder: RunFolder,
    task: Classification,
    device: Device,
    space: Space,
    settings: Settings,
    request: Request,
    *,
    table: LatencyTable | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Search, train again what was found, and write the run folder; a run that was stopped goes on.

    Args:
        folder: where everything is kept; stages it already holds are not done again.
        device: what everything is trained on, and what latency is of.
        request: strategy, trials, objectives, seeds, and what `archipel train` is told of the data.

    Returns:
        The content of `result.json`.

    Raises:
        EvaluationError: not one of the networks of a search could be trained.
    """
    begin = time.monotonic()
    objectives: tuple[Objective, ...] = tuple(OBJECTIVES[name] for name in request.objectives)
    known = {name: value for name, value in space.options.items() if name not in ("classes", "channels", "size")}
    training = {
        "network": request.space, "options": known, "data": request.data, "device": device.name,
        "threads": device.threads, "seed": request.seed, "images": request.images, "test_images": request.test_images,
        "size": request.size,
    }  # fmt: skip
    study = Study(
        folder, task, device, space, settings, request.seed, progress, request.strategy, request.trials, objectives,
        request.seeds, training, table,
    )  # fmt: skip
    with device.use():
        held = latency_table(study) if any(objective.metric == LATENCY for objective in objectives) else None
        searches = [search_stage(study, seed, held) for seed in range(request.seeds)]
        names = names_of(study, searches)
        trained = study.once("retraining", lambda: {"networks": retrain(study, names)})["networks"]
    preset = next((name for name, known in PRESETS.items() if known == settings), "own settings")
    result = result_of(study, searches, trained, held, preset, seconds=time.monotonic() - begin)
    folder.write_json("result.json", result)
    content: dict[str, Any] = folder.read_json("result.json")
    return content
