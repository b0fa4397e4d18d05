"""Strategies on benchmarks whose truth is known: which finds how much, how soon, and is it more than random search?

Every search sees what its benchmark lets it see and is judged by the test accuracy of the architecture that looked best
to it. All of one strategy's seeds on one image set are one piece of work, kept when it is done: a stopped comparison
goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from archipel.errors import OptionError, did_you_mean
from archipel.evaluators import BENCHMARKS, Objective, Tabular, nasbench201, nasbench_macro
from archipel.evaluators.tabular import IMAGES
from archipel.progress import SILENT, Progress
from archipel.recipes.bench.judging import CONTROL, anytime, judged, mean_ranks
from archipel.recipes.bench.published import PUBLISHED
from archipel.recipes.bench.settings import DEFAULT, SECONDS, Settings
from archipel.recipes.result import figure, origin
from archipel.run.folder import RunFolder
from archipel.run.jobs import Job, run_jobs
from archipel.sharing.training import seed_of
from archipel.strategies import strategy
from archipel.trials import Budget, search

__all__ = ["DEFAULT", "Settings", "bench", "problems"]

_POINTS = 100
"""Of a curve."""


@dataclass(frozen=True)
class Problem:
    """One table to search in, and what a search may spend there."""

    name: str
    table: Tabular
    budget: Budget

    @property
    def axis(self) -> str:
        """What the curves run over."""
        return "seconds" if self.budget.seconds is not None else "trials"

    @property
    def grid(self) -> np.ndarray:
        end = self.budget.seconds or float(self.budget.trials or 0)
        return np.linspace(end / _POINTS, end, _POINTS)


def problems(benchmark: str, data: Path, images: Sequence[str], settings: Settings) -> list[Problem]:
    """The tables of a benchmark, opened.

    Raises:
        OptionError: no such benchmark or image set, or a protocol that the benchmark does not have.
        DataError: its files are not there.
    """
    limits = settings.limits
    if benchmark not in BENCHMARKS:
        raise OptionError(
            f"there is no benchmark '{benchmark}' ({', '.join(BENCHMARKS)}){did_you_mean(benchmark, BENCHMARKS)}"
        )
    if benchmark == "nasbench_macro":
        if images:
            raise OptionError("NAS-Bench-Macro has one image set, CIFAR-10; leave out --images")
        return [Problem("cifar10", nasbench_macro(data), Budget(trials=limits.trials))]
    found = []
    for name in images or tuple(IMAGES):
        if name not in IMAGES:
            raise OptionError(
                f"NAS-Bench-201 has no image set '{name}' ({', '.join(IMAGES)}){did_you_mean(name, IMAGES)}"
            )
        published = limits.protocol == "published"
        table = nasbench201(data, name, epochs=12 if published else 200)
        if limits.oracle:
            table = replace(table, objectives=(Objective(table.judged),))
        budget = (
            Budget(seconds=limits.seconds or SECONDS[name], repeats=True) if published else Budget(trials=limits.trials)
        )
        found.append(Problem(name, table, budget))
    return found


def bench(
    folder: RunFolder,
    found: Sequence[Problem],
    strategies: Sequence[str],
    settings: Settings,
    *,
    seeds: int,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Run every strategy on every problem with every seed and write the run folder; a run that was stopped goes on.

    Returns:
        The content of `result.json`.

    Raises:
        OptionError: a strategy that is none, or is named twice, or fewer than one seed.
    """
    if seeds < 1:
        raise OptionError(f"seeds is {seeds}; give 1 or more")
    for spec in strategies:
        if list(strategies).count(spec) > 1:
            raise OptionError(f"strategy '{spec}' is named twice; name it once")
        strategy(spec, found[0].table.space)  # so that a mistake ends before anything is run
    begin = time.monotonic()
    jobs = [
        Job(f"{spec} on {problem.name}", partial(_work, folder, problem, spec, seeds, seed))
        for problem in found
        for spec in strategies
        if folder.stage_done(_stage(problem, spec)) is None
    ]
    if jobs:
        run_jobs(jobs, workers=settings.jobs.workers, progress=progress, title="searches", total=float(len(jobs)))
    sets = [_judged(folder, problem, strategies) for problem in found]
    ranks = mean_ranks([{row["strategy"]: row["final"]["values"] for row in one["strategies"]} for one in sets])
    result = origin(
        folder, f"Strategies on {found[0].table.name.partition('-')[0]}", time.monotonic() - begin, threads=1
    )
    result |= {
        "method": "bench", "points": [], "alarms": [], "seeds": seeds, "control": CONTROL, "sets": sets,
        "ranks": [{"strategy": name, "rank": rank} for name, rank in ranks.items()],
    }  # fmt: skip
    folder.write_json("result.json", result)
    content: dict[str, Any] = folder.read_json("result.json")
    return content


def _stage(problem: Problem, spec: str) -> str:
    """A name for files: no sign that a folder could not hold."""
    return "search-" + problem.name + "-" + "".join(c if c.isalnum() or c in "._=" else "-" for c in spec)


def _work(folder: RunFolder, problem: Problem, spec: str, seeds: int, seed: int, progress: Progress) -> None:
    begin, table = time.perf_counter(), problem.table
    runs = []
    with progress.bar(f"{spec} on {problem.name}", seeds) as bar:
        for i in range(seeds):
            runs.append(_searched(problem, spec, seed_of(seed, "bench", i)))
            bar.advance(**{table.judged: runs[-1]["final"]})
    done = time.perf_counter() - begin
    folder.mark_done(_stage(problem, spec), {"runs": runs, "stage_seconds": done})


def _searched(problem: Problem, spec: str, seed: int) -> dict[str, Any]:
    """One search: what its best looked like and truly is, along the way and at the end."""
    table = problem.table
    own = strategy(spec, table.space, objectives=len(table.objectives), seed=seed)
    went = search(own, table, problem.budget)
    costs, values = [], []
    best, held = -np.inf, float("nan")
    for step in went.steps:
        if step.trial.metrics is not None and (score := table.objectives[0].score(step.trial.metrics)) > best:
            best, held = score, step.trial.metrics[table.judged]
        costs.append(step.seconds if problem.axis == "seconds" else float(step.trials))
        values.append(held)
    return {
        "final": held, "seen": best, "trials": len(went.steps), "seconds": went.steps[-1].seconds, "ended": went.ended,
        "curve": anytime(costs, values, problem.grid),
    }  # fmt: skip


def _judged(folder: RunFolder, problem: Problem, strategies: Sequence[str]) -> dict[str, Any]:
    table = problem.table
    runs: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, float] = {}
    for spec in strategies:
        done = folder.stage_done(_stage(problem, spec))
        assert done is not None, spec
        runs[spec], seconds[spec] = done["runs"], done["stage_seconds"]
    rows = judged({spec: [run["final"] for run in runs[spec]] for spec in strategies}, table.best(table.judged))
    return {
        "name": problem.name,
        "judged": table.judged,
        "seen": table.objectives[0].metric,
        "axis": problem.axis,
        "budget": {
            "trials": problem.budget.trials,
            "seconds": problem.budget.seconds,
            "repeats": problem.budget.repeats,
        },
        "optimum": table.best(table.judged),
        "grid": problem.grid.tolist(),
        "strategies": [
            {
                "strategy": spec,
                **rows[spec],
                "trials": figure([run["trials"] for run in runs[spec]]),
                "cpu_seconds": seconds[spec],
                "curve": _band([run["curve"] for run in runs[spec]]),
            }
            for spec in strategies
        ],
        "published": [vars(row) for row in PUBLISHED if row.images == problem.name] if _is_201(table) else [],
    }


def _is_201(table: Tabular) -> bool:
    return table.name.startswith("nasbench201")


def _band(curves: Sequence[Sequence[float | None]]) -> Mapping[str, list[float | None]]:
    """Mean and 95 % t-interval at every point where all seeds have a value."""
    columns = [None if None in column else figure(column) for column in zip(*curves)]
    return {end: [None if c is None else c[end] for c in columns] for end in ("mean", "low", "high")}
