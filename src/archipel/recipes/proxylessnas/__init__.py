"""ProxylessNAS: direct neural architecture search on the target task and hardware (Cai et al., ICLR 2019,
arXiv 1812.00332).

A distribution over the architectures of a space is learnt beside the weights they share: weights along one sampled path
at a time, gates from what the other paths would have done, latency in the loss. One search gives a network for every
latency budget; each is trained from scratch, measured on its device, and stands beside a random architecture of the
same latency and a MobileNetV2 within it. Several devices give a network each, and a table of each on all.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from archipel.cost import Device, LatencyTable
from archipel.errors import OptionError
from archipel.progress import SILENT, Progress
from archipel.recipes import job
from archipel.recipes.opening import here
from archipel.recipes.proxylessnas.deployed import manifest_of
from archipel.recipes.proxylessnas.judging import contestants, test, time_all
from archipel.recipes.proxylessnas.outcome import result_of
from archipel.recipes.proxylessnas.plan import Plan
from archipel.recipes.proxylessnas.settings import PRESETS, Settings, preset_for
from archipel.recipes.proxylessnas.stages import Aim, Study, budgets_of, mobilenets, slug
from archipel.recipes.proxylessnas.targets import COUNTED, Target, open_targets, table_for
from archipel.recipes.study import open_space
from archipel.run.folder import RunFolder
from archipel.run.jobs import run_jobs
from archipel.sharing.gates import Gates
from archipel.space import SpaceFunction
from archipel.tasks.classification import Classification

__all__ = ["COMMAND", "PRESETS", "Request", "Settings", "prepare", "preset_for", "run"]

COMMAND = "search proxylessnas"


@dataclass(frozen=True)
class Request(job.Request):
    """What a ProxylessNAS search can be asked."""

    space: str = "proxyless"
    """A search space of op choices (see "archipel spaces") or your own function, file.py:function."""
    device: tuple[str, ...] = ("cpu",)
    """What to search for: cpu, the default, onnxruntime, compile, cuda:0, each with @BATCH for another batch size than
    1; your own file.py:function; or a published table, FILE.json or FILE.json:DEVICE. Several give a network each."""
    budget_ms: tuple[float, ...] = ()
    """Milliseconds an image that networks may take. Shares of what the space can take if not given."""
    budget_madds: tuple[float, ...] = ()
    """Multiply-adds an image that networks may have, instead: nothing is measured, and the device only trains."""
    table: tuple[str, ...] = ()
    """Latency tables measured before on these devices (see "archipel latency build")."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.device:
            raise OptionError("no device is named; give one, such as --device cpu")
        if self.budget_ms and len(self.device) > 1:
            raise OptionError(
                f"--budget-ms is given for {len(self.device)} devices, whose milliseconds differ; search for one, or "
                "give shares with --derivation.budgets"
            )
        if self.budget_madds and (self.budget_ms or self.table or len(self.device) > 1):
            unwanted = "--budget-ms" if self.budget_ms else "--table" if self.table else "all devices but one"
            raise OptionError(f"--budget-madds counts and measures nothing; leave out {unwanted}")


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
    Gates(space)  # a space of other choices is a mistake that is told before anything is measured
    if request.budget_madds:
        targets = [COUNTED]
        device = here(request.device[0], request.threads, progress).for_training()
    else:
        targets = open_targets(request.device, () if measured else request.table, request.threads, space, progress)
        for target in targets:
            if target.device is None:  # a published table: what it lacks is told before a folder is made
                target.cost(space, None, task.spec.input_shape)
        trainers = [target.device for target in targets if target.device is not None and target.device.backend.trains]
        device = trainers[0] if trainers else here("cpu", request.threads, progress)
    threads = {target.device.threads for target in targets if target.device is not None} | {device.threads}

    def work(folder: RunFolder, progress: Progress) -> dict[str, Any]:
        return run(
            folder,
            task,
            targets,
            function,
            settings,
            device=device,
            seed=request.seed,
            seeds=request.seeds,
            budgets=request.budget_madds or request.budget_ms,
            progress=progress,
        )

    return job.Prepared(replace(request, threads=max(threads)), work)


def run(
    folder: RunFolder,
    task: Classification,
    targets: list[Target],
    space_function: SpaceFunction,
    settings: Settings,
    *,
    device: Device,
    seed: int = 0,
    seeds: int = 3,
    budgets: tuple[float, ...] = (),
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Search, derive, train, compare, and write the run folder; a run that was stopped goes on.

    Args:
        folder: where everything is kept; stages it already holds are not done again.
        targets: what networks are searched for.
        space_function: `proxyless`, or a user's own.
        device: what everything is trained on.
        seeds: how many searches of each target, with controls of their own: what the intervals are over.
        budgets: in the targets' unit, an image, instead of the settings' shares.

    Returns:
        The content of `result.json`.

    Raises:
        OptionError: a budget is below the cheapest architecture.
        TableError: a published table lacks an entry that the space needs.
    """
    begin = time.monotonic()
    space = open_space(task, space_function, settings.network)
    study = Study(folder, task, device, space, settings, seed, progress)
    with device.use():
        aims = [_aim(study, target, budgets) for target in targets]
        study.once("latency", dict)  # every table is in the folder
        widths = study.once("mobilenet-widths", lambda: {"found": _widths(study, aims)})["found"]
        known = {(label, int(place)): (width, ms) for label, place, width, ms in widths}
        plan = Plan(study, aims, known, seeds)
        run_jobs(plan.jobs(), workers=plan.workers, progress=progress, title="searches, training", total=plan.weight)
        everyone = contestants(plan)
        timed = study.once("timing", lambda: {"ms": time_all(study, everyone, aims)})["ms"]
        tested = study.once("test", lambda: {"rows": test(study, everyone, workers=plan.workers)})["rows"]
    preset = next((name for name, known in PRESETS.items() if known == settings), "own settings")
    result = result_of(study, aims, everyone, tested, timed, preset, seeds=seeds, seconds=time.monotonic() - begin)
    folder.write_json("result.json", result)
    manifest_of(study, aims, everyone, timed, result).write(folder)
    content: dict[str, Any] = folder.read_json("result.json")
    return content


def _aim(study: Study, target: Target, budgets: tuple[float, ...]) -> Aim:
    """The target with its table, measured once, and its budgets."""
    shape, settings = study.task.spec.input_shape, study.settings
    path = study.folder.path / "latency" / f"{slug(target.label)}.json"

    def work() -> dict[str, Any]:
        table = table_for(
            target,
            study.space,
            shape,
            settings.latency,
            seed=study.seed_of("latency", target.label),
            progress=study.progress,
        )
        if table is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            table.save(path)
        return {}

    study.once(f"latency-{slug(target.label)}", work)
    table = None
    if target.device is not None:
        table = LatencyTable.load(path, space=study.space, device=target.device, batch=target.batch)
    cost, level = target.cost(study.space, table, shape), settings.derivation.level
    if table is not None and level > table.calibration.highest:
        level = table.calibration.highest
        study.progress.say(
            f"the table of {target.label} has {len(table.calibration.residuals)} calibration networks, "
            f"so budgets hold at {100 * level:.0f} %, not {100 * settings.derivation.level:g} %"
        )
    return Aim(target, table, cost, budgets_of(cost.upper(level), settings.derivation.budgets, budgets), level)


def _widths(study: Study, aims: list[Aim]) -> list[tuple[str, int, float, float]]:
    """(target's label, budget's place, width, its cost) of the widest MobileNetV2 within each budget; none where the
    narrowest is not."""
    found = []
    for aim in aims:
        costs = mobilenets(study, aim)
        for place, budget in enumerate(aim.budgets):
            within = [(float(width), cost) for width, cost in costs.items() if cost <= budget]
            if within:
                found.append((aim.target.label, place, *max(within)))
            else:
                study.progress.say(f"no MobileNetV2 is within {aim.said(budget)} on {aim.target.label}")
    return found
