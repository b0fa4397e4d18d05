"""What one search by trials does: a latency table if one is needed, the trials, and what they found trained again."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from archipel.architecture import Architecture
from archipel.cost import LatencyTable, TableSettings, build, measure_missing
from archipel.errors import EvaluationError
from archipel.evaluators import Objective, Trained, curve_of, scores_of
from archipel.evaluators.training import ACCURACY, LOSS
from archipel.progress import Progress
from archipel.recipes import study
from archipel.recipes.train import leave_manifest, train_network
from archipel.recipes.trials.settings import Settings
from archipel.run.config import to_dict
from archipel.run.folder import RunFolder
from archipel.run.jobs import Job, run_jobs
from archipel.strategies import strategy
from archipel.strategies.nsga2 import fronts
from archipel.trials import Budget, StudyLedger, Trial, search

__all__ = [
    "LATENCY", "OBJECTIVES", "STUDY", "Study", "latency_table", "network_path",
    "random_architecture", "retrain", "search_stage",
]  # fmt: skip

LATENCY = "latency_ms"
OBJECTIVES: dict[str, Objective] = {
    "accuracy": Objective(ACCURACY),
    "latency": Objective(LATENCY, maximise=False),
    "madds": Objective("madds", maximise=False),
    "parameters": Objective("parameters", maximise=False),
}
"""What a search can be for, as a user names it."""

STUDY = "trials.db"
"""The Optuna studies of a run, one a seed: `optuna-dashboard sqlite:///RUN/trials.db` shows them."""


@dataclass
class Study(study.Study):
    """One run."""

    settings: Settings
    strategy: str
    trials: int
    objectives: tuple[Objective, ...]
    seeds: int
    training: Mapping[str, Any]
    """What `archipel train` is to be told of data and space, to train one of the networks."""
    given_table: LatencyTable | None = None

    def ledger(self, seed: int, *, alone: bool = True) -> StudyLedger:
        name = f"seed-{seed}"
        return StudyLedger(self.folder.path / STUDY, self.space, self.objectives, name=name, alone=alone)


def latency_table(study: Study) -> LatencyTable:
    """Measured, given, or kept from before."""
    path = Path(study.folder.path) / "latency" / "table.json"

    def work() -> dict[str, Any]:
        options = study.settings.latency
        table = study.given_table or build(
            study.space,
            study.device,
            input_shape=study.task.spec.input_shape,
            settings=TableSettings(**{name: getattr(options, name) for name in asdict(TableSettings())}),
            seed=study.seed_of("latency"),
            progress=study.progress,
        )
        if any(choice.kind == "value" for choice in study.space.choices):  # one entry a layer, of any size it can have
            table = measure_missing(table, study.device, table.covering(), seed=study.seed_of("latency"))
        path.parent.mkdir(parents=True, exist_ok=True)
        table.save(path)
        return {}

    study.once("latency", work)
    return LatencyTable.load(path, space=study.space, device=study.device)


def search_stage(study: Study, seed: int, table: LatencyTable | None) -> dict[str, Any]:
    """All trials of one seed; those of before count.

    Raises:
        EvaluationError: not one of the networks could be trained.
    """

    def work() -> dict[str, Any]:
        workers = study.settings.jobs.workers
        if workers == 1:
            _work(study, seed, table, 0, study.progress)
        else:
            jobs = [
                Job(f"worker {worker}, seed {seed}", partial(_work, study, seed, table, worker))
                for worker in range(workers)
            ]
            run_jobs(
                jobs, workers=workers, progress=study.progress, title=f"workers, seed {seed}", total=float(workers)
            )
        trials = list(study.ledger(seed).trials())
        rows = [row_of(trial) for trial in trials]
        found = chosen(study, trials)
        return {"trials": rows, "found": found}

    return study.once(f"search-{seed}", work)


def _work(study: Study, seed: int, table: LatencyTable | None, worker: int, progress: Progress) -> None:
    """One process' part of a search: the whole of it, where it is alone."""
    ledger = study.ledger(seed, alone=study.settings.jobs.workers == 1)
    costs: dict[str, Callable[[Architecture], float]] = {} if table is None else {LATENCY: table.predict}
    evaluator = Trained(
        study.space,
        study.task,
        study.settings.training,
        objectives=study.objectives,
        device=study.device.torch_device,
        seed=study.seed_of("trials", seed),
        progress=progress,
        costs=costs,
        stopping=study.settings.stopping,
        past=lambda: [trial.metrics for trial in ledger.trials()],
    )
    own = strategy(
        study.strategy, study.space, objectives=len(study.objectives), seed=study.seed_of("strategy", seed, worker)
    )
    title = f"trials, seed {seed}"
    search(own, evaluator, Budget(trials=study.trials), ledger=ledger, progress=progress, title=title)


def row_of(trial: Trial) -> dict[str, Any]:
    """A trial in plain values."""
    metrics = dict(trial.metrics or {})
    scores = curve_of(metrics)
    kept = {name: value for name, value in metrics.items() if not name.startswith((f"{ACCURACY}_", f"{LOSS}_"))}
    return {
        "architecture": trial.architecture.to_json(), **kept, "curve": list(scores), "seconds": trial.seconds,
        "error": trial.error,
    }  # fmt: skip


def chosen(study: Study, trials: Sequence[Trial]) -> list[int]:
    """Places of what a search found, of those that were trained to their end: the best; of several objectives networks
    of the front, from the most accurate on, spread along it."""
    whole = [
        i
        for i, trial in enumerate(trials)
        if trial.metrics is not None and trial.metrics["epochs"] == study.settings.training.epochs
    ]
    if not whole:
        raise EvaluationError(
            f"none of {len(trials)} trials was trained to its end; the last: {trials[-1].error if trials else 'none'}"
        )
    scores = np.array([scores_of(trials[i].metrics or {}, study.objectives) for i in whole])
    if len(study.objectives) == 1:
        return [whole[int(scores[:, 0].argmax())]]
    front = sorted(fronts(scores)[0], key=lambda i: -scores[i, 0])
    places = np.linspace(0, len(front) - 1, min(len(front), study.settings.retraining.networks)).round().astype(int)
    return [whole[front[place]] for place in places]


def network_path(study: Study, name: str) -> Path:
    """The run folder of a network that is trained again: what `archipel train` would have made."""
    return study.folder.path / "networks" / name


def retrain(study: Study, names: Mapping[str, Architecture]) -> dict[str, dict[str, Any]]:
    """Train networks from scratch, each in a run folder of its own, side by side; those of before are kept.

    Returns:
        Name → `val` and `test` metrics, `madds`, `parameters`.
    """
    jobs = [
        Job(name, partial(_retrained, study, name, architecture))
        for name, architecture in names.items()
        if not (network_path(study, name) / "metrics.json").is_file()
    ]
    if jobs:
        workers = study.settings.jobs.workers
        run_jobs(jobs, workers=workers, progress=study.progress, title="training again", total=float(len(jobs)))
    done = {}
    for name, architecture in names.items():
        with RunFolder.open(network_path(study, name)) as folder:
            done[name] = folder.read_json("metrics.json")
            leave_manifest(  # now, because it times the network
                folder, study.task, study.device, study.space, architecture, study.training["network"]
            )
    return {name: {key: row[key] for key in ("val", "test", "madds", "parameters")} for name, row in done.items()}


def _retrained(study: Study, name: str, architecture: Architecture, progress: Progress) -> None:
    path, options = network_path(study, name), study.settings.retraining
    plain = {key: value for key, value in to_dict(options).items() if key != "networks"}
    config = {
        "recipe": "train", **study.training, "architecture": architecture.to_json(), "optimisation": plain,
    }  # fmt: skip
    begun = (path / "config.yaml").is_file()
    with RunFolder.open(path) if begun else RunFolder.create(path, config, study.folder.command) as folder:
        train_network(
            folder,
            study.task,
            study.device,
            study.space,
            architecture,
            options,
            seed=config["seed"],
            progress=progress,
        )


def random_architecture(study: Study, seed: int) -> Architecture:
    """The control of a seed: no trial chose it."""
    return study.space.sample(random.Random(study.seed_of("random architecture", seed)))
